//! The requests of a run in order of their intended time, so that any stretch of the run is a slice of them.

use super::{RunRows, span::Span};
use crate::record::RequestRow;

/// Every request of a run, ascending by `intended_us`. No figure depends on the order of requests that are intended at
/// the same microsecond.
pub(super) struct Requests<'a> {
    rows: Vec<&'a RequestRow>,
    end_us: u64,
}

impl<'a> Requests<'a> {
    pub(super) fn sorted(run: &RunRows<'a>) -> Self {
        let mut rows: Vec<&RequestRow> = run.requests.iter().collect();
        rows.sort_unstable_by_key(|row| row.intended_us);
        Self { rows, end_us: run.end_us() }
    }

    pub(super) fn all(&self) -> &[&'a RequestRow] {
        &self.rows
    }

    /// Returns when the run ends.
    pub(super) fn end_us(&self) -> u64 {
        self.end_us
    }

    /// Returns the requests that are intended at `at_us` or later.
    pub(super) fn since(&self, at_us: u64) -> &[&'a RequestRow] {
        &self.rows[self.position(at_us)..]
    }

    /// Returns the requests that are intended from the span's start to just before its end. A span that reaches the end
    /// of the run holds those at its very end, too, so that no request is lost between the phases.
    pub(super) fn within(&self, span: Span) -> &[&'a RequestRow] {
        let from = self.position(span.start_us);
        let to = if span.end_us >= self.end_us { self.rows.len() } else { self.position(span.end_us) };
        &self.rows[from..to.max(from)]
    }

    fn position(&self, at_us: u64) -> usize {
        self.rows.partition_point(|row| row.intended_us < at_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::{Sample, ok};

    #[test]
    fn a_span_holds_its_start_and_not_its_end_unless_the_run_ends_there() {
        let sample = Sample::of_seconds(3).requests([2_000_000, 0, 1_000_000, 3_000_000].map(|at| ok(at, 0)));
        let requests = Requests::sorted(&sample.run());
        let intended = |start_us, end_us| -> Vec<u64> {
            requests.within(Span { start_us, end_us }).iter().map(|row| row.intended_us).collect()
        };
        assert_eq!(intended(0, 2_000_000), [0, 1_000_000]);
        assert_eq!(intended(1_000_000, 3_000_000), [1_000_000, 2_000_000, 3_000_000]);
        assert!(intended(1_000_000, 1_000_000).is_empty());
    }

    #[test]
    fn the_run_ends_with_its_last_call_or_its_load_whichever_is_later() {
        // Intended at 2 s and answered 2.5 s later: over at 4.5 s, although the load ended at 3 s.
        let slow = Sample::of_seconds(3).requests([ok(2_000_000, 2_500_000)]);
        assert_eq!(Requests::sorted(&slow.run()).end_us(), 4_500_000);
        let quick = Sample::of_seconds(3).requests([ok(2_000_000, 1_000)]);
        assert_eq!(Requests::sorted(&quick.run()).end_us(), 3_000_000);
    }
}
