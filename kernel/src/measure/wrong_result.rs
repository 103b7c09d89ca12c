//! Wrong results: replies with the status OK whose content was not as it should be.

use serde::{Deserialize, Serialize};

use crate::record::EventRow;

/// Most wrong results that a summary has in full.
const KEPT_MAX: usize = 10;

/// A reply with the status OK whose content was wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WrongResult {
    /// The time at which it was found, in microseconds since the run began.
    pub at_us: u64,
    /// The request's id.
    pub request: u64,
    /// The mistake, in a sentence.
    pub what: String,
}

impl WrongResult {
    /// Adds the wrong result of `row` to the first ones, in order, of which there are some at most.
    pub(super) fn keep(first: &mut Vec<Self>, row: EventRow) {
        let new =
            Self { at_us: row.at_us, request: row.request.unwrap_or_default(), what: row.cause.unwrap_or_default() };
        let place = first.partition_point(|other| *other <= new);
        first.insert(place, new);
        first.truncate(KEPT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::{
            Verdict,
            sample::{Sample, event, ok},
        },
        record::Event,
        scenario::{Expectation, Metric},
    };

    fn wrong(request: u64) -> EventRow {
        let row = event(request, "client", Event::WrongResult, None);
        EventRow { request: Some(request), cause: Some("the price is negative".to_owned()), ..row }
    }

    #[test]
    fn a_wrong_result_fails_a_run_that_does_not_say_how_many_may_be_wrong() {
        let sample = || Sample::of_seconds(2).requests([ok(0, 1), ok(1, 1)]).events([wrong(1)]);
        let summary = sample().summary(&[]);
        assert_eq!((summary.verdict(), summary.overall.wrong_results), (Verdict::Fail, 1));
        assert!(summary.render().contains("1 wrong result, request 1 at"), "{}", summary.render());
        assert!(summary.render().contains("the price is negative"), "{}", summary.render());
        let at_most = |max| Expectation { metric: Metric::WrongResults, during: None, min: None, max: Some(max) };
        assert_eq!(sample().summary(&[at_most(1.0)]).verdict(), Verdict::Pass);
        assert_eq!(sample().summary(&[at_most(0.0)]).verdict(), Verdict::Fail);
    }

    #[test]
    fn the_first_ones_are_kept_in_order_whatever_the_order_of_the_rows() {
        let mut first = Vec::new();
        (0..30).rev().for_each(|request| WrongResult::keep(&mut first, wrong(request)));
        assert_eq!(first.iter().map(|wrong| wrong.request).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }
}
