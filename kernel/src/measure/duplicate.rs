//! Work that servers finished for nothing.

use super::{RunRows, instants::Instants};
use crate::{
    record::{Answer, AttemptRow, EventRow},
    status::Code,
};

/// Work that a server finished: a `finished` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FinishedWork {
    request: u64,
    attempt: u32,
    at_us: u64,
}

impl FinishedWork {
    /// Returns the work of a `finished` event; none if it does not say of which attempt it is.
    pub(super) fn from_event(row: &EventRow) -> Option<Self> {
        Some(Self { request: row.request?, attempt: row.attempt?, at_us: row.at_us })
    }

    fn is_of(self, row: &AttemptRow) -> bool {
        (self.request, self.attempt) == (row.request, row.attempt)
    }
}

/// Finds the duplicates of a run in the work that its servers finished: the times at which they finished it in vain.
///
/// A server's `finished` event is a duplicate if its attempt has no row, did not end OK, or had ended before the server did. One whose
/// request has no row, as in a file that a crash cut off, cannot be judged and is left out; nor can one of a client stack of the load's
/// own, whose attempts have no rows.
pub(super) fn duplicates(run: &RunRows<'_>, finished: Vec<FinishedWork>) -> Instants {
    let wasted = wasted_work(run, finished);
    let mut times_us = Vec::with_capacity(wasted.len());
    // Without a duplicate, a pass over all requests would find nothing.
    let rows = (!wasted.is_empty()).then(|| run.rows.requests());
    for row in rows.into_iter().flatten().filter(|row| row.answer != Some(Answer::OwnStack)) {
        let first = wasted.partition_point(|work| work.request < row.id);
        let own = wasted[first..].iter().take_while(|work| work.request == row.id);
        times_us.extend(own.map(|work| work.at_us));
    }
    Instants::at(times_us)
}

/// Returns the work that no call used, ascending by request.
fn wasted_work(run: &RunRows<'_>, mut finished: Vec<FinishedWork>) -> Vec<FinishedWork> {
    finished.sort_unstable();
    let mut is_used = vec![false; finished.len()];
    for row in run.rows.attempts().filter(|row| row.status == Code::Ok) {
        let first = finished.partition_point(|work| (work.request, work.attempt) < (row.request, row.attempt));
        let own = finished[first..].iter().take_while(|work| work.is_of(&row) && work.at_us <= row.end_us).count();
        is_used[first..first + own].fill(true);
    }
    let wasted = finished.into_iter().zip(is_used).filter(|(_, is_used)| !is_used);
    wasted.map(|(work, _)| work).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{
        events::Events,
        extent::Extent,
        sample::{Sample, attempt, finished, ok},
        span::Span,
    };

    fn duplicates_of(sample: &Sample) -> Instants {
        let run = sample.run();
        duplicates(&run, Events::collect(run.rows).finished)
    }

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
        let duplicates = duplicates_of(&sample);
        assert_eq!(duplicates.total(), 3);
        // They were finished at 700, 750 and 801.
        let within = |start_us, end_us| duplicates.within(&Extent::of_fault(Span { start_us, end_us }, 1_000_000));
        assert_eq!([within(0, 700), within(700, 751), within(751, 1_000_000)], [0, 2, 1]);
    }

    #[test]
    fn work_for_a_request_without_a_row_is_not_judged() {
        let sample = Sample::of_seconds(1).requests([ok(100, 900)]).events([finished(7, 1, 700)]);
        assert_eq!(duplicates_of(&sample).total(), 0);
    }
}
