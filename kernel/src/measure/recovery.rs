//! The time that the client takes to recover from a fault.

use super::{
    SECOND_US,
    extent::Interval,
    fault::RecordedFault,
    latency::{Latencies, nearest_rank},
    requests::{Request, Requests},
    span::Span,
    window::{Window, windows},
};

/// The time for which the service must stay as good as before a fault to count as recovered.
pub(super) const HOLD_US: u64 = 3 * SECOND_US;

/// The success rate and the latency of requests before a fault, undisturbed by other faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Baseline {
    /// Number of requests, at least 1.
    pub(super) requests: u64,
    pub(super) successes: u64,
    pub(super) p95_us: u64,
}

impl Baseline {
    /// Returns whether a window is as good as before the fault: its success rate is at least 99 % of the baseline's, and
    /// its p95 at most twice the baseline's. A window in which nothing was sent is not.
    fn is_met_by(&self, window: Window<'_>) -> bool {
        let p95 = Latencies::new(window.requests.iter().filter_map(Request::latency_us)).percentile(950);
        // Multiplied crosswise, so that no rounding decides.
        let rate = 100 * u128::from(window.successes()) * u128::from(self.requests);
        let wanted = 99 * u128::from(self.successes) * window.requests.len() as u128;
        rate >= wanted && p95.is_some_and(|p95_us| p95_us <= self.p95_us.saturating_mul(2))
    }
}

/// The requests that are over before a fault and that no phase of an earlier fault holds. Faults come in order of their start, so that each request
/// is looked at once, however many faults there are.
pub(super) struct CalmRequests<'a> {
    /// The requests that are behind the last fault.
    rest: &'a [Request],
    requests: u64,
    successes: u64,
    latencies: RankedLatencies,
}

impl<'a> CalmRequests<'a> {
    /// Starts before the first fault of a run with these requests, which are ascending by `intended_us`.
    pub(super) fn new(requests: &'a [Request]) -> Self {
        let latencies = RankedLatencies::among(requests.iter().filter_map(Request::latency_us));
        Self { rest: requests, requests: 0, successes: 0, latencies }
    }

    /// Returns the baseline of a fault that begins at `start_us`; none if there is no request that was sent, and so nothing to
    /// compare with.
    pub(super) fn baseline_before(&mut self, start_us: u64) -> Option<Baseline> {
        // A call that is under way when the fault begins may be harmed by it. It belongs to the phase of this fault, and so is in no
        // later baseline either.
        for request in self.take_before(start_us).iter().filter(|request| request.end_us() < start_us) {
            self.requests += 1;
            self.successes += u64::from(request.is_success());
            request.latency_us().into_iter().for_each(|latency_us| self.latencies.add(latency_us));
        }
        let p95_us = self.latencies.percentile(950)?;
        Some(Baseline { requests: self.requests, successes: self.successes, p95_us })
    }

    /// Leaves out the requests of a fault's phase.
    pub(super) fn leave_out(&mut self, phase: Span) {
        self.take_before(phase.end_us);
    }

    fn take_before(&mut self, at_us: u64) -> &'a [Request] {
        let (taken, rest) = self.rest.split_at(self.rest.partition_point(|request| request.intended_us < at_us));
        self.rest = rest;
        taken
    }
}

/// Latencies that are added one after another, with their percentiles at any time: a Fenwick tree of counts.
struct RankedLatencies {
    /// All latencies that can be added, ascending and each once.
    values: Vec<u64>,
    /// At `index`, counted from 1, the number of latencies that were added of the values from `index` down, as many of them as
    /// the lowest binary digit of `index` says.
    counts: Vec<u64>,
    added: u64,
}

impl RankedLatencies {
    /// Returns no latencies yet, of which all that will be added are among `latencies_us`.
    fn among(latencies_us: impl Iterator<Item = u64>) -> Self {
        let mut values: Vec<u64> = latencies_us.collect();
        values.sort_unstable();
        values.dedup();
        Self { counts: vec![0; values.len() + 1], values, added: 0 }
    }

    fn add(&mut self, latency_us: u64) {
        let mut index = self.values.partition_point(|value| *value < latency_us) + 1;
        while let Some(count) = self.counts.get_mut(index) {
            *count += 1;
            index += lowest_digit(index);
        }
        self.added += 1;
    }

    /// Returns the percentile that [`Latencies::percentile`] would return.
    fn percentile(&self, per_mille: usize) -> Option<u64> {
        let mut rank = nearest_rank(self.added, per_mille).checked_sub(1)?;
        let mut index = 0;
        let mut step = self.values.len().checked_ilog2().map_or(0, |digits| 1 << digits);
        // Binary search: `index` is the number of values that are less than the one at the rank.
        while step > 0 {
            if let Some(count) = self.counts.get(index + step).filter(|count| **count <= rank) {
                rank -= count;
                index += step;
            }
            step /= 2;
        }
        self.values.get(index).copied()
    }
}

/// Returns `index` with no binary digit but the lowest of those that are set.
fn lowest_digit(index: usize) -> usize {
    index & index.wrapping_neg()
}

/// The recovery of the client from a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recovery {
    /// There is no baseline to compare with, or no request after the fault began.
    Unknown,
    /// The client was disturbed, and there are no 3 s without a disturbance before the load ends.
    Never,
    /// The client is as good as before after this many microseconds from the fault's start; 0 if it was never disturbed.
    After(u64),
}

impl Recovery {
    /// Measures the recovery from `fault`, with load offered until `load_end_us`.
    ///
    /// The windows are the whole seconds of the run; the one that holds the fault's start is judged by the requests
    /// from that start on. The client is disturbed if a window that starts until the fault is lifted, and until 3 s
    /// after its start at least, is worse than the baseline. It has then recovered at the start of the first row of
    /// good windows behind that bad one which spans 3 s, from the start of its first window to the end of its last. A
    /// second without load neither ends such a row nor is a first or last window of it; nor is a window that the end of
    /// the load cuts short.
    pub(super) fn measure(
        fault: &RecordedFault,
        baseline: Option<&Baseline>,
        requests: &Requests,
        load_end_us: u64,
    ) -> Self {
        let since = requests.since(fault.start_us);
        let Some(baseline) = baseline.filter(|_| !since.is_empty()) else { return Self::Unknown };
        let watched_until = fault.lifted_us.map_or(u64::MAX, |at| at.max(fault.start_us.saturating_add(HOLD_US)));
        let mut windows = windows(since);
        let is_disturbed = windows
            .by_ref()
            .take_while(|window| window.start_us <= watched_until)
            .any(|window| !baseline.is_met_by(window));
        if !is_disturbed {
            return Self::After(0);
        }
        let whole = windows.take_while(|window| window.end_us() <= load_end_us);
        first_hold(whole, baseline).map_or(Self::Never, |at| Self::After(at - fault.start_us))
    }

    /// Returns the time from the fault's start, in microseconds.
    pub(super) fn time_us(self) -> Option<u64> {
        match self {
            Self::After(us) => Some(us),
            Self::Unknown | Self::Never => None,
        }
    }

    /// Returns whether the client recovers; none if that cannot be determined.
    pub(super) fn recovered(self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Never => Some(false),
            Self::After(_) => Some(true),
        }
    }
}

/// Returns the start of the first row of good windows that spans [`HOLD_US`].
fn first_hold<'a>(windows: impl Iterator<Item = Window<'a>>, baseline: &Baseline) -> Option<u64> {
    let mut good_since_us = None;
    for window in windows {
        if !baseline.is_met_by(window) {
            good_since_us = None;
            continue;
        }
        let start_us = *good_since_us.get_or_insert(window.start_us);
        if window.end_us() - start_us >= HOLD_US {
            return Some(start_us);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::sample::{Sample, failed, ok};

    const MS: u64 = 1_000;
    const S: u64 = 1_000_000;

    /// All of 100 requests well, at 10 ms.
    const WELL: Baseline = Baseline { requests: 100, successes: 100, p95_us: 10 * MS };

    proptest! {
        #[test]
        fn latencies_that_are_added_one_by_one_have_the_percentiles_of_sorted_ones(
            values in prop::collection::vec(0..50_u64, 0..80),
            per_mille in 1..=1000_usize,
        ) {
            let mut ranked = RankedLatencies::among(values.iter().copied());
            prop_assert_eq!(ranked.percentile(per_mille), None);
            for (index, value) in values.iter().enumerate() {
                ranked.add(*value);
                let sorted = Latencies::new(values[..=index].iter().copied());
                prop_assert_eq!(ranked.percentile(per_mille), sorted.percentile(per_mille));
            }
        }
    }

    fn fault(start_us: u64, lifted_us: Option<u64>) -> RecordedFault {
        RecordedFault { index: 0, kind: "crash".into(), targets: vec!["server-0".into()], start_us, lifted_us }
    }

    /// Returns one request in the middle of each second: `.` good, `x` failed, `s` slow (21 ms, over twice 10), `2` at twice
    /// the baseline, ` ` none.
    fn recovery_in(seconds: &str, fault: RecordedFault) -> Recovery {
        let rows = seconds.chars().zip(0..).filter_map(|(what, second)| {
            let at = second * S + 500 * MS;
            match what {
                '.' => Some(ok(at, 10 * MS)),
                '2' => Some(ok(at, 20 * MS)),
                's' => Some(ok(at, 21 * MS)),
                'x' => Some(failed(at, MS)),
                _ => None,
            }
        });
        let sample = Sample::of_seconds(seconds.len() as u64).requests(rows);
        Recovery::measure(&fault, Some(&WELL), &Requests::sorted(&sample.run()), sample.run().duration_us())
    }

    #[test]
    fn it_lasts_to_the_start_of_the_first_three_good_seconds() {
        // Fault at 2.0 s; seconds 2 and 3 fail, 4 and 5 are good, 6 is not, 7 to 9 are: recovered at 7 s, 5 s later.
        assert_eq!(recovery_in("..xx..x...", fault(2 * S, Some(3 * S))), Recovery::After(5 * S));
        // The same, begun at 2.25 s.
        assert_eq!(recovery_in("..xx..x...", fault(2 * S + 250 * MS, Some(3 * S))), Recovery::After(4_750 * MS));
    }

    #[test]
    fn slowness_counts_from_over_twice_the_baseline() {
        assert_eq!(recovery_in("..ss....", fault(2 * S, Some(3 * S))), Recovery::After(2 * S));
        assert_eq!(recovery_in("..22....", fault(2 * S, Some(3 * S))), Recovery::After(0));
    }

    #[test]
    fn never_disturbed_is_zero() {
        assert_eq!(recovery_in("........", fault(2 * S, Some(3 * S))), Recovery::After(0));
    }

    #[test]
    fn a_bad_second_counts_until_it_is_lifted_and_three_seconds_at_least() {
        // Lifted at once at 2 s, watched until 5 s: the window starting at 5 s counts, the one at 6 s does not.
        assert_eq!(recovery_in(".....x...", fault(2 * S, Some(2 * S))), Recovery::After(4 * S));
        assert_eq!(recovery_in("......x..", fault(2 * S, Some(2 * S))), Recovery::After(0));
        // Lifted at 6 s, the second counts; so it does when it is never lifted.
        assert_eq!(recovery_in("......x...", fault(2 * S, Some(6 * S))), Recovery::After(5 * S));
        assert_eq!(recovery_in("......x...", fault(2 * S, None)), Recovery::After(5 * S));
    }

    #[test]
    fn seconds_without_load_neither_end_a_good_run_nor_lengthen_it() {
        // Good at 3 s and 5 s, nothing between: 3 s to 6 s are the three seconds.
        assert_eq!(recovery_in("..x. .", fault(2 * S, Some(2 * S))), Recovery::After(S));
        // Good at 3 s and then nothing: no later second confirms it.
        assert_eq!(recovery_in("..x.   ", fault(2 * S, Some(2 * S))), Recovery::Never);
        // A bad second ends the run all the same.
        assert_eq!(recovery_in("..x. x...", fault(2 * S, Some(2 * S))), Recovery::After(4 * S));
    }

    #[test]
    fn two_good_seconds_before_the_load_ends_are_not_enough() {
        assert_eq!(recovery_in("..xx..", fault(2 * S, Some(3 * S))), Recovery::Never);
    }

    #[test]
    fn a_last_second_cut_by_the_end_of_the_load_does_not_count() {
        // Good from 3 s on and the load ends at 5.75 s: only 3 s to 5 s are whole.
        let sample = Sample::of_seconds(6).requests([failed(2 * S, MS), ok(3 * S, MS), ok(4 * S, MS), ok(5 * S, MS)]);
        let requests = Requests::sorted(&sample.run());
        let until = |load_end_us| Recovery::measure(&fault(2 * S, Some(2 * S)), Some(&WELL), &requests, load_end_us);
        assert_eq!(until(5_750 * MS), Recovery::Never);
        assert_eq!(until(6 * S), Recovery::After(S));
    }

    #[test]
    fn the_second_that_holds_the_start_is_judged_from_the_start_on() {
        // A failure at 2.1 s precedes the fault at 2.2 s.
        let rows = [failed(2_100 * MS, MS), ok(2_500 * MS, MS), ok(3 * S, MS)];
        let sample = Sample::of_seconds(4).requests(rows);
        let requests = Requests::sorted(&sample.run());
        let recovery = Recovery::measure(&fault(2_200 * MS, Some(2_200 * MS)), Some(&WELL), &requests, 4 * S);
        assert_eq!(recovery, Recovery::After(0));
    }

    #[test]
    fn without_a_baseline_or_later_requests_it_is_unknown() {
        let sample = Sample::of_seconds(4).requests([ok(S, MS)]);
        let requests = Requests::sorted(&sample.run());
        assert_eq!(Recovery::measure(&fault(0, Some(S)), None, &requests, 4 * S), Recovery::Unknown);
        assert_eq!(Recovery::measure(&fault(2 * S, Some(2 * S)), Some(&WELL), &requests, 4 * S), Recovery::Unknown);
        assert_eq!(Recovery::Unknown.recovered(), None);
    }

    #[test]
    fn the_success_rate_must_reach_99_percent_of_the_baseline_exactly() {
        // 98 of 100 before; 99 % of that is 97.02 %. 98 of 101 is 97.03 %, 97 of 100 only 97 %.
        let baseline = Baseline { requests: 100, successes: 98, p95_us: 10 * MS };
        let is_met = |successes: u64, of: u64| {
            let rows = (0..of).map(|id| if id < successes { ok(id, MS) } else { failed(id, MS) });
            let requests: Vec<_> = rows.map(|row| Request::from(&row)).collect();
            baseline.is_met_by(Window { start_us: 0, requests: &requests })
        };
        assert!(is_met(98, 101));
        assert!(!is_met(97, 100));
    }
}
