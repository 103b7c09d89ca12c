//! The attempts of a run, as phases count them.

use super::{
    RunRows,
    extent::{Extent, Interval, Intervals},
};

/// An attempt: its request and its number within the call, from 1.
pub(super) type AttemptId = (u64, u32);

/// The attempts of a run: 16 bytes each, and 8 more for a retry, a hedge or a failover.
pub(super) struct Attempts {
    all: Intervals<AttemptTimes>,
    /// The starts of retries, ascending.
    retries: Vec<u64>,
    /// The starts of hedges, ascending.
    hedges: Vec<u64>,
    /// The starts of attempts at another server than the call's previous attempt, ascending.
    failovers: Vec<u64>,
}

/// The times at which an attempt was sent and ended.
struct AttemptTimes {
    start_us: u64,
    end_us: u64,
}

impl Interval for AttemptTimes {
    fn start_us(&self) -> u64 {
        self.start_us
    }

    fn end_us(&self) -> u64 {
        self.end_us
    }
}

/// The attempts that events say are hedges or failovers, in any order.
#[derive(Default)]
pub(super) struct NamedAttempts {
    pub(super) hedges: Vec<AttemptId>,
    pub(super) failovers: Vec<AttemptId>,
}

impl Attempts {
    /// Collects the attempts of a run in one pass.
    pub(super) fn collect(run: &RunRows<'_>, mut named: NamedAttempts) -> Self {
        named.hedges.sort_unstable();
        named.failovers.sort_unstable();
        let mut all = Vec::new();
        let mut retries = Vec::new();
        let mut hedges = Vec::new();
        let mut failovers = Vec::new();
        for row in run.rows.attempts() {
            all.push(AttemptTimes { start_us: row.start_us, end_us: row.end_us });
            let id = (row.request, row.attempt);
            if named.failovers.binary_search(&id).is_ok() {
                failovers.push(row.start_us);
            }
            if named.hedges.binary_search(&id).is_ok() {
                hedges.push(row.start_us);
            } else if row.attempt > 1 {
                retries.push(row.start_us);
            }
        }
        [&mut retries, &mut hedges, &mut failovers].into_iter().for_each(|times_us| times_us.sort_unstable());
        Self { all: Intervals::new(all), retries, hedges, failovers }
    }

    /// Counts the attempts of a phase.
    pub(super) fn within(&self, extent: &Extent) -> u64 {
        self.all.within(extent).count() as u64
    }

    /// Counts the retries that were sent in a phase.
    pub(super) fn retries_within(&self, extent: &Extent) -> u64 {
        extent.count(&self.retries)
    }

    /// Counts the hedges that were sent in a phase.
    pub(super) fn hedges_within(&self, extent: &Extent) -> u64 {
        extent.count(&self.hedges)
    }

    /// Counts the attempts of a phase that were sent to another server than the call's previous attempt.
    pub(super) fn failovers_within(&self, extent: &Extent) -> u64 {
        extent.count(&self.failovers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::{
            sample::{Sample, attempt},
            span::Span,
        },
        record::AttemptRow,
        status::Code,
    };

    fn sent(request: u64, number: u32, start_us: u64, end_us: u64) -> AttemptRow {
        AttemptRow { start_us, ..attempt(request, number, end_us, Code::Ok) }
    }

    #[test]
    fn an_attempt_counts_where_it_was_under_way_and_a_retry_where_it_was_sent() {
        // Call 0 fails at 100 and fails over at 150; call 1 is hedged at 90.
        let rows = [sent(0, 1, 50, 100), sent(0, 2, 150, 190), sent(1, 1, 80, 120), sent(1, 2, 90, 120)];
        let sample = Sample::of_seconds(1).attempts(rows);
        let named = NamedAttempts { hedges: vec![(1, 2)], failovers: vec![(0, 2)] };
        let attempts = Attempts::collect(&sample.run(), named);
        let counts = |start_us, end_us| {
            let phase = Extent::of_fault(Span { start_us, end_us }, 1_000_000);
            [
                attempts.within(&phase),
                attempts.retries_within(&phase),
                attempts.hedges_within(&phase),
                attempts.failovers_within(&phase),
            ]
        };
        assert_eq!(counts(0, 100), [3, 0, 1, 0]);
        assert_eq!(counts(100, 200), [4, 1, 0, 1]);
        assert_eq!(counts(100, 150), [3, 0, 0, 0]);
        assert_eq!(counts(0, 1_000_000), [4, 1, 1, 1]);
    }
}
