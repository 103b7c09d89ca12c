//! Work that servers finished for nothing.

use std::iter;

use super::{RunRows, span::Span};
use crate::{
    record::{AttemptRow, Event, EventRow},
    status::Code,
};

/// The intended times of the requests that were worked on in vain, ascending; a request is in it once for each
/// duplicate.
pub(super) struct Duplicates(Vec<u64>);

impl Duplicates {
    /// Finds the duplicates of a run.
    ///
    /// A server's `finished` event is a duplicate if its attempt has no row, did not end OK, or had ended before the
    /// server did. One whose request has no row, as in a file that a crash cut off, cannot be judged and is left out.
    pub(super) fn count(run: &RunRows<'_>) -> Self {
        let wasted = wasted_requests(run);
        let mut intended = Vec::with_capacity(wasted.len());
        for row in run.requests {
            let first = wasted.partition_point(|id| *id < row.id);
            let times = wasted[first..].iter().take_while(|id| **id == row.id).count();
            intended.extend(iter::repeat_n(row.intended_us, times));
        }
        intended.sort_unstable();
        Self(intended)
    }

    pub(super) fn total(&self) -> u64 {
        self.0.len() as u64
    }

    /// Counts those whose requests belong to `span` of a run that ends at `run_end_us`.
    pub(super) fn within(&self, span: Span, run_end_us: u64) -> u64 {
        span.count(&self.0, run_end_us)
    }
}

/// Returns the ids of the requests that duplicates were made for, ascending.
fn wasted_requests(run: &RunRows<'_>) -> Vec<u64> {
    let mut attempts: Vec<&AttemptRow> = run.attempts.iter().collect();
    attempts.sort_unstable_by_key(|row| (row.request, row.attempt));
    let finished = run.events.iter().filter(|row| row.event == Event::Finished);
    let mut wasted: Vec<u64> = finished.filter_map(|row| wasted_request(row, &attempts)).collect();
    wasted.sort_unstable();
    wasted
}

/// Returns the request of a `finished` event that is a duplicate.
fn wasted_request(finished: &EventRow, attempts: &[&AttemptRow]) -> Option<u64> {
    let request = finished.request?;
    let key = (request, finished.attempt?);
    let found = attempts.binary_search_by_key(&key, |row| (row.request, row.attempt));
    let is_used = found.is_ok_and(|at| attempts[at].status == Code::Ok && finished.at_us <= attempts[at].end_us);
    (!is_used).then_some(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::{Sample, attempt, finished, ok};

    #[test]
    fn work_is_wasted_when_the_attempt_failed_or_had_ended_or_has_no_row() {
        // Request 0: attempt 1 timed out at 500 but was finished at 700, attempt 2 was used. Request 1: the answer of
        // attempt 1 was there at 800 and the server says it finished at 801; attempt 2 has no row.
        let sample = Sample::of_seconds(1)
            .requests([ok(100, 900), ok(200, 600)])
            .attempts([
                attempt(0, 1, 500, Code::DeadlineExceeded),
                attempt(0, 2, 1000, Code::Ok),
                attempt(1, 1, 800, Code::Ok),
            ])
            .events([finished(0, 1, 700), finished(0, 2, 1000), finished(1, 1, 801), finished(1, 2, 750)]);
        let duplicates = Duplicates::count(&sample.run());
        assert_eq!(duplicates.total(), 3);
        // A duplicate belongs where its request was intended: one at 100, two at 200.
        assert_eq!(duplicates.within(Span { start_us: 0, end_us: 200 }, 1_000_000), 1);
        assert_eq!(duplicates.within(Span { start_us: 200, end_us: 1_000_000 }, 1_000_000), 2);
    }

    #[test]
    fn work_for_a_request_without_a_row_is_not_judged() {
        let sample = Sample::of_seconds(1).requests([ok(100, 900)]).events([finished(7, 1, 700)]);
        assert_eq!(Duplicates::count(&sample.run()).total(), 0);
    }
}
