//! The verdict on a run: every expectation compared with its metric, and whether the comparison means anything.

use serde::{Deserialize, Serialize};

use super::{FaultSummary, Metrics, PhaseSummary};
use crate::measure::expectation::{Expectation, Phase};
use crate::measure::metric::Metric;

/// The verdict on a run. Of several that apply, the first is the run's: it says why those after it mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The run violates an invariant: a bug of this project.
    Broken,
    /// The run ended before its scenario did.
    Interrupted,
    /// A fault or a send was later than the scenario allows: what was played is another scenario.
    Untrusted,
    /// An expectation does not hold, or no request succeeded and the scenario does not expect that.
    Fail,
    /// The scenario expects nothing, and a request succeeded.
    NoExpectations,
    /// Every expectation holds.
    Pass,
}

impl Verdict {
    /// Returns the word that reports begin with.
    pub fn word(self) -> &'static str {
        match self {
            Self::Broken => "BROKEN",
            Self::Interrupted => "INTERRUPTED",
            Self::Untrusted => "UNTRUSTED",
            Self::Fail => "FAIL",
            Self::NoExpectations => "NO EXPECTATIONS",
            Self::Pass => "PASS",
        }
    }
}

/// An expectation, the metric that it is about, and whether it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckedExpectation {
    /// The metric's name, as the scenario writes it.
    pub metric: String,
    /// The phase: `before`, `fault-N`, `between` or `after`; null for the whole run.
    pub during: Option<String>,
    /// The lower bound, inclusive, in the metric's base unit.
    pub min: Option<f64>,
    /// The upper bound, inclusive, in the metric's base unit.
    pub max: Option<f64>,
    /// The metric; null if it could not be computed.
    pub actual: Option<f64>,
    /// True if there is an `actual` and both bounds hold.
    pub pass: bool,
    /// Why there is no `actual`, in a few words.
    pub text: Option<String>,
}

impl CheckedExpectation {
    /// Compares an expectation with its metric.
    ///
    /// Without `during`, the metric is that of the whole run; for a time that each fault has, it is the longest. A metric
    /// that could not be computed does not pass: nothing shows that the expectation holds.
    pub(super) fn new(
        expected: &Expectation,
        overall: &Metrics,
        phases: &[PhaseSummary],
        faults: &[FaultSummary],
    ) -> Self {
        let during = expected.during.map(|phase| phase.to_string());
        let metrics = match &during {
            None => Some(overall),
            Some(name) => phases.iter().find(|phase| phase.phase == *name).map(|phase| &phase.metrics),
        };
        let actual = metrics.and_then(|metrics| metrics.get(expected.metric));
        Self {
            metric: expected.metric.name().to_owned(),
            during,
            min: expected.min,
            max: expected.max,
            actual,
            pass: actual.is_some_and(|actual| holds(expected, actual)),
            text: actual.is_none().then(|| why_missing(expected, metrics, faults)),
        }
    }

    /// Returns the expectation of a run that was stopped: what would have come later is not known.
    pub(super) fn unchecked(expected: &Expectation) -> Self {
        Self {
            metric: expected.metric.name().to_owned(),
            during: expected.during.map(|phase| phase.to_string()),
            min: expected.min,
            max: expected.max,
            actual: None,
            pass: false,
            text: Some("the run was stopped".to_owned()),
        }
    }

    /// Returns whether the scenario expects that requests fail: it bounds successes from above, or the time without any from
    /// below.
    pub(super) fn allows_no_success(&self) -> bool {
        match self.metric.parse() {
            Ok(Metric::SuccessRate | Metric::Availability | Metric::Goodput) => self.max.is_some_and(|max| max < 1.0),
            Ok(Metric::UnavailableFor) => self.min.is_some_and(|min| min > 0.0),
            _ => false,
        }
    }

    /// Returns whether the scenario says how many results may be wrong.
    pub(super) fn is_of_wrong_results(&self) -> bool {
        self.metric.parse() == Ok(Metric::WrongResults)
    }
}

fn holds(expected: &Expectation, actual: f64) -> bool {
    expected.min.is_none_or(|min| actual >= min) && expected.max.is_none_or(|max| actual <= max)
}

/// Returns why a metric could not be computed. `metrics` are those of the phase, if the run has that phase.
fn why_missing(expected: &Expectation, metrics: Option<&Metrics>, faults: &[FaultSummary]) -> String {
    match (expected.metric, expected.during, metrics) {
        (_, Some(phase), None) => why_no_phase(phase, faults),
        (Metric::RecoveryTime | Metric::TimeToDetect, Some(Phase::Before | Phase::Between | Phase::After), _) => {
            "only faults have one".to_owned()
        }
        (Metric::RecoveryTime | Metric::TimeToDetect, None, _) if faults.is_empty() => "no fault began".to_owned(),
        (Metric::RecoveryTime, during, _) => why_no_recovery(during, faults),
        (Metric::TimeToDetect, during, _) => why_not_detected(during, faults),
        (Metric::Throughput | Metric::Goodput, ..) => "the phase took no time".to_owned(),
        (Metric::PartShare, _, Some(_)) => "no answer was partial".to_owned(),
        (metric, _, Some(metrics)) if metrics.completed > 0 && metric.is_of_streams() => "no reply streamed".to_owned(),
        (Metric::Amplification, _, Some(_)) => "no service called another one".to_owned(),
        (_, _, Some(metrics)) if metrics.requests > 0 => "every request was dropped".to_owned(),
        _ => "no request was offered".to_owned(),
    }
}

fn why_no_phase(phase: Phase, faults: &[FaultSummary]) -> String {
    match phase {
        Phase::Before => "a fault began at once".to_owned(),
        Phase::Fault(_) => "the fault never began".to_owned(),
        Phase::Between | Phase::After if faults.is_empty() => "no fault began".to_owned(),
        Phase::Between => "no time lies between faults".to_owned(),
        Phase::After => "a fault lasted to the end".to_owned(),
    }
}

fn why_no_recovery(during: Option<Phase>, faults: &[FaultSummary]) -> String {
    let missing: Vec<_> = concerned(during, faults).filter(|fault| fault.recovery_time_s.is_none()).collect();
    // A fault that the client never recovers from says more than one that could not be judged.
    let worst = missing.iter().find(|fault| fault.recovered == Some(false)).or(missing.first());
    match worst {
        Some(fault) if fault.recovered == Some(false) => format!("fault-{} never recovered", fault.index),
        Some(fault) if fault.baseline_latency_p95_s.is_some() => format!("no request since fault-{}", fault.index),
        Some(fault) => format!("no data before fault-{}", fault.index),
        None => "no data".to_owned(),
    }
}

fn why_not_detected(during: Option<Phase>, faults: &[FaultSummary]) -> String {
    match concerned(during, faults).find(|fault| fault.time_to_detect_s.is_none()) {
        Some(fault) => format!("fault-{} never detected", fault.index),
        None => "no data".to_owned(),
    }
}

/// Returns the fault whose phase `during` is, or all faults for the whole run.
fn concerned(during: Option<Phase>, faults: &[FaultSummary]) -> impl Iterator<Item = &FaultSummary> {
    faults.iter().filter(move |fault| during.is_none_or(|phase| phase == Phase::Fault(fault.index)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::{Sample, dropped, expect, failed, fault_end, fault_start, ok};

    const S: u64 = 1_000_000;

    fn check(sample: &Sample, expected: Expectation) -> CheckedExpectation {
        sample.summary(&[expected]).expectations.remove(0)
    }

    fn text(sample: &Sample, metric: Metric, during: Option<Phase>) -> String {
        let checked = check(sample, Expectation { during, ..expect(metric, None, Some(1e9)) });
        assert!(!checked.pass);
        checked.text.expect("a missing metric is explained")
    }

    /// Returns a request a second for 10 s that fails from `from_s` to `to_s`, with a fault over that time.
    fn outage(from_s: u64, to_s: u64) -> Sample {
        let rows = (0..10).map(|s| if (from_s..to_s).contains(&s) { failed(s * S, 1) } else { ok(s * S, 1) });
        let events = [fault_start(0, "crash", "server-0", from_s * S), fault_end(0, "server-0", to_s * S)];
        Sample::of_seconds(10).requests(rows).events(events)
    }

    #[test]
    fn bounds_are_inclusive() {
        let sample = Sample::of_seconds(2).requests([ok(0, 1), failed(S, 1)]);
        for (min, max, pass) in [
            (Some(0.5), None, true),
            (None, Some(0.5), true),
            (Some(0.5), Some(0.5), true),
            (Some(0.500_001), None, false),
            (None, Some(0.499_999), false),
        ] {
            assert_eq!(check(&sample, expect(Metric::SuccessRate, min, max)).pass, pass, "{min:?} to {max:?}");
        }
    }

    #[test]
    fn one_failed_expectation_fails_the_run() {
        let sample = Sample::of_seconds(1).requests([ok(0, 1)]);
        let good = expect(Metric::SuccessRate, Some(1.0), None);
        let bad = expect(Metric::Retries, Some(1.0), None);
        assert!(sample.summary(std::slice::from_ref(&good)).pass);
        assert!(!sample.summary(&[good, bad]).pass);
    }

    #[test]
    fn during_narrows_it_to_the_phase() {
        // 3 of 10 fail, all of them in the fault's phase, 2 s to 5 s.
        let sample = outage(2, 5);
        let rate = |during| check(&sample, Expectation { during, ..expect(Metric::SuccessRate, Some(1.0), None) });
        assert_eq!(rate(None).actual, Some(0.7));
        assert_eq!(rate(Some(Phase::Before)).actual, Some(1.0));
        assert_eq!(rate(Some(Phase::Fault(0))).actual, Some(0.0));
        assert_eq!(rate(Some(Phase::After)).actual, Some(1.0));
    }

    #[test]
    fn a_missing_metric_fails_and_says_why() {
        let calm = Sample::of_seconds(2).requests([dropped(0)]);
        assert_eq!(text(&calm, Metric::LatencyP95, None), "every request was dropped");
        assert_eq!(text(&calm, Metric::RecoveryTime, None), "no fault began");
        assert_eq!(text(&calm, Metric::Dropped, Some(Phase::After)), "no fault began");
        assert_eq!(text(&calm, Metric::Dropped, Some(Phase::Fault(3))), "the fault never began");
        assert_eq!(text(&Sample::of_seconds(2), Metric::SuccessRate, None), "no request was offered");
        assert_eq!(text(&Sample::of_seconds(0), Metric::Goodput, None), "the phase took no time");
    }

    #[test]
    fn a_fault_without_a_time_says_which_and_why() {
        assert_eq!(text(&outage(4, 10), Metric::RecoveryTime, None), "fault-0 never recovered");
        assert_eq!(text(&outage(4, 10), Metric::Retries, Some(Phase::After)), "a fault lasted to the end");
        assert_eq!(text(&outage(0, 4), Metric::RecoveryTime, Some(Phase::Fault(0))), "no data before fault-0");
        let unused = Sample::of_seconds(10)
            .requests((0..4).map(|s| ok(s * S, 1)))
            .events([fault_start(0, "crash", "server-0", 4 * S), fault_end(0, "server-0", 6 * S)]);
        assert_eq!(text(&unused, Metric::RecoveryTime, None), "no request since fault-0");
        assert_eq!(text(&outage(0, 4), Metric::SuccessRate, Some(Phase::Before)), "a fault began at once");
        assert_eq!(text(&outage(4, 5), Metric::TimeToDetect, None), "fault-0 never detected");
        assert_eq!(text(&outage(4, 5), Metric::TimeToDetect, Some(Phase::Before)), "only faults have one");
    }
}
