//! Which part of a run a phase is, and which requests and attempts count in it.

use std::ops::Range;

use super::span::Span;

/// Something that lasts from one time to another, such as a request or an attempt.
pub(super) trait Interval {
    /// Returns the first microsecond in it.
    fn start_us(&self) -> u64;

    /// Returns the microsecond in which it ends.
    fn end_us(&self) -> u64;
}

/// A part of a run, such as a phase, and the rule for what lies on its edges. Times are microseconds since the run began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The spans, ascending; they neither overlap nor touch.
    spans: Vec<Span>,
    rule: Rule,
    run_end_us: u64,
}

/// Which intervals count in a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Those that have at least a microsecond in common with it.
    Overlapping,
    /// Those that begin and end in it.
    Inside,
    /// Those that begin in it, whenever they end.
    Beginning,
}

impl Rule {
    fn admits(self, span: Span, from_us: u64, to_us: u64) -> bool {
        // What ends at the instant of a fault may have ended because of it, so its last microsecond belongs to it.
        match self {
            Self::Overlapping => from_us < span.end_us && to_us >= span.start_us,
            Self::Inside => from_us >= span.start_us && (to_us < span.end_us || span.end_us == u64::MAX),
            Self::Beginning => from_us >= span.start_us && from_us < span.end_us,
        }
    }
}

impl Extent {
    /// Returns the part in which everything counts that overlaps `times_us`.
    pub fn overlapping(times_us: Range<u64>) -> Self {
        Self::of_times(times_us, Rule::Overlapping)
    }

    /// Returns the part in which everything counts that begins and ends in `times_us`.
    pub fn inside(times_us: Range<u64>) -> Self {
        Self::of_times(times_us, Rule::Inside)
    }

    /// Returns the part in which everything counts that begins in `times_us`.
    pub fn beginning_in(times_us: Range<u64>) -> Self {
        Self::of_times(times_us, Rule::Beginning)
    }

    fn of_times(times_us: Range<u64>, rule: Rule) -> Self {
        let span = Span { start_us: times_us.start, end_us: times_us.end.max(times_us.start) };
        Self { spans: vec![span], rule, run_end_us: u64::MAX }
    }

    /// Returns the phase of a fault. What overlaps it counts, since the fault may have harmed it.
    pub(super) fn of_fault(span: Span, run_end_us: u64) -> Self {
        Self { spans: vec![span], rule: Rule::Overlapping, run_end_us }
    }

    /// Returns a phase without a fault. Only what begins and ends in one of its spans counts.
    pub(super) fn without_fault(spans: Vec<Span>, run_end_us: u64) -> Self {
        Self { spans, rule: Rule::Inside, run_end_us }
    }

    /// Returns the spans as members see them: one that reaches the end of the run holds what is at or behind that end, too, so
    /// that nothing is lost between the phases.
    fn open_spans(&self) -> impl Iterator<Item = Span> + Clone + '_ {
        self.spans
            .iter()
            .map(|span| Span { end_us: if span.end_us >= self.run_end_us { u64::MAX } else { span.end_us }, ..*span })
    }

    /// Returns the spans, ascending.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Returns the start of the first span and the end of the last one.
    pub(super) fn hull(&self) -> Span {
        let start_us = self.spans.first().map_or(0, |span| span.start_us);
        Span { start_us, end_us: self.spans.last().map_or(start_us, |span| span.end_us) }
    }

    /// Returns the length of all spans together, in microseconds.
    pub(super) fn length_us(&self) -> u64 {
        self.spans.iter().map(|span| span.length_us()).sum()
    }

    /// Returns whether what begins at `from_us` and ends at `to_us` counts in the phase.
    pub fn holds(&self, from_us: u64, to_us: u64) -> bool {
        self.open_spans().any(|span| self.rule.admits(span, from_us, to_us))
    }

    /// Counts how many of `times_us`, which are ascending, lie in the spans.
    pub(super) fn count(&self, times_us: &[u64]) -> u64 {
        self.spans.iter().map(|span| span.count(times_us, self.run_end_us)).sum()
    }
}

/// Returns the gaps between spans that come in any order and may overlap.
pub(super) fn gaps(spans: impl Iterator<Item = Span>) -> Vec<Span> {
    let mut spans: Vec<Span> = spans.collect();
    spans.sort_unstable_by_key(|span| span.start_us);
    let mut gaps = Vec::new();
    let mut end_us = spans.first().map_or(0, |span| span.end_us);
    for span in spans {
        if span.start_us > end_us {
            gaps.push(Span { start_us: end_us, end_us: span.start_us });
        }
        end_us = end_us.max(span.end_us);
    }
    gaps
}

/// Intervals ascending by their start, in which those of a phase are found without looking at all.
#[derive(Debug)]
pub(super) struct Intervals<T> {
    sorted: Vec<T>,
    longest_us: u64,
}

impl<T: Interval> Intervals<T> {
    /// Sorts intervals that come in any order.
    pub(super) fn new(mut intervals: Vec<T>) -> Self {
        intervals.sort_unstable_by_key(Interval::start_us);
        let lengths = intervals.iter().map(|interval| interval.end_us().saturating_sub(interval.start_us()));
        Self { longest_us: lengths.max().unwrap_or(0), sorted: intervals }
    }

    /// Returns all of them, ascending by their start.
    pub(super) fn all(&self) -> &[T] {
        &self.sorted
    }

    /// Returns those that begin in a span.
    pub(super) fn beginning_in(&self, span: Span) -> &[T] {
        let from = self.position(span.start_us);
        &self.sorted[from..self.position(span.end_us).max(from)]
    }

    /// Returns those that count in a phase.
    pub(super) fn within<'a>(&'a self, extent: &'a Extent) -> impl Iterator<Item = &'a T> + Clone {
        let rule = extent.rule;
        extent.open_spans().flat_map(move |span| {
            let reach = match rule {
                Rule::Overlapping => Span { start_us: span.start_us.saturating_sub(self.longest_us), ..span },
                Rule::Inside | Rule::Beginning => span,
            };
            let members = self.beginning_in(reach).iter();
            members.filter(move |interval| rule.admits(span, interval.start_us(), interval.end_us()))
        })
    }

    fn position(&self, at_us: u64) -> usize {
        // Nothing begins behind the last microsecond that there is.
        if at_us == u64::MAX {
            return self.sorted.len();
        }
        self.sorted.partition_point(|interval| interval.start_us() < at_us)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::sample::crash_then_freeze;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Stretch(u64, u64);

    impl Interval for Stretch {
        fn start_us(&self) -> u64 {
            self.0
        }

        fn end_us(&self) -> u64 {
            self.1
        }
    }

    fn span(start_us: u64, end_us: u64) -> Span {
        Span { start_us, end_us }
    }

    #[test]
    fn a_phase_of_a_fault_holds_what_overlaps_it() {
        let phase = Extent::of_fault(span(100, 200), 1_000);
        // Under way at the start; begun in it; around it.
        assert!(phase.holds(50, 100) && phase.holds(199, 500) && phase.holds(50, 500));
        // Over before the fault begins; begun when the phase is over.
        assert!(!phase.holds(50, 99) && !phase.holds(200, 300));
    }

    #[test]
    fn a_phase_without_a_fault_holds_what_begins_and_ends_in_it() {
        let between = Extent::without_fault(vec![span(100, 200), span(300, 400)], 1_000);
        assert!(between.holds(100, 199) && between.holds(350, 360));
        assert!(!between.holds(99, 150) && !between.holds(150, 200) && !between.holds(150, 350));
        assert_eq!((between.length_us(), between.hull()), (200, span(100, 400)));
    }

    #[test]
    fn what_takes_no_time_counts_where_it_happens() {
        let before = Extent::without_fault(vec![span(0, 100)], 1_000);
        let during = Extent::of_fault(span(100, 200), 1_000);
        let holding = |at_us| [&before, &during].map(|phase| phase.holds(at_us, at_us));
        assert_eq!([99, 100, 199, 200].map(holding), [[true, false], [false, true], [false, true], [false, false]]);
    }

    #[test]
    fn a_phase_at_the_end_of_the_run_holds_what_comes_later() {
        let last = Extent::without_fault(vec![span(900, 1_000)], 1_000);
        assert!(last.holds(1_000, 1_000) && last.holds(1_200, 1_300) && last.holds(950, 1_300));
        assert!(!Extent::without_fault(vec![span(800, 900)], 1_000).holds(850, 1_300));
    }

    #[test]
    fn the_phases_of_a_summary_are_where_its_requests_count() {
        let summary = crash_then_freeze().summary(&[]);
        let requests = crash_then_freeze().records.requests;
        for (phase, extent) in summary.phases.iter().zip(summary.extents()) {
            let members =
                requests.iter().filter(|row| extent.holds(row.intended_us, row.done_us.unwrap_or(row.intended_us)));
            assert_eq!(members.count() as u64, phase.metrics.requests, "{}", phase.phase);
        }
    }

    proptest! {
        #[test]
        fn sorted_intervals_find_what_the_phase_holds(
            drawn in prop::collection::vec((0..60_u64, 0..30_u64), 0..50),
            edges in prop::collection::btree_set(0..70_u64, 2..6),
            is_fault in any::<bool>(),
        ) {
            let edges: Vec<u64> = edges.into_iter().collect();
            let spans: Vec<Span> = edges.chunks_exact(2).map(|pair| span(pair[0], pair[1])).collect();
            let extent = if is_fault { Extent::of_fault(spans[0], 65) } else { Extent::without_fault(spans, 65) };
            let all: Vec<Stretch> = drawn.into_iter().map(|(start, length)| Stretch(start, start + length)).collect();
            let intervals = Intervals::new(all.clone());
            let mut found: Vec<Stretch> = intervals.within(&extent).copied().collect();
            let mut expected: Vec<Stretch> = all.into_iter().filter(|it| extent.holds(it.0, it.1)).collect();
            found.sort_unstable_by_key(|it| (it.0, it.1));
            expected.sort_unstable_by_key(|it| (it.0, it.1));
            prop_assert_eq!(found, expected);
        }
    }
}
