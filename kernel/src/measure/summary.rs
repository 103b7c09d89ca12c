//! The content of `summary.json`.

use std::{collections::BTreeMap, mem};

use serde::{Deserialize, Serialize};

use super::{
    CheckedExpectation, Lateness, Metrics, RunRows, Script, Verdict,
    duplicate::Duplicates,
    ejection::Ejections,
    events::Events,
    phase::{Episode, Timeline},
    ratio,
    requests::Requests,
    seconds,
    span::Span,
};
use crate::measure::expectation::Phase;

/// Which run a summary is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLabel<'a> {
    /// The scenario's name.
    pub scenario: &'a str,
    /// The root seed.
    pub seed: u64,
    /// The world: `sim` or `real`.
    pub world: &'a str,
}

/// The metrics and the verdict of a run. Times named `_us` are microseconds since the run began, those named `_s` are
/// seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The scenario's name.
    pub scenario: String,
    /// The root seed.
    pub seed: u64,
    /// The world: `sim` or `real`.
    pub world: String,
    /// The time at which the load ended.
    pub duration_us: u64,
    /// The time at which the run ended: after the load, and after the last call.
    pub end_us: u64,
    /// The metrics of the whole run.
    pub overall: Metrics,
    /// The phases: `before`, then the faults by index, then `after`. A phase that the run does not have is left out.
    pub phases: Vec<PhaseSummary>,
    /// The faults by index. A fault that never began is left out.
    pub faults: Vec<FaultSummary>,
    /// Number of requests by the status that they ended with, `DROPPED` among them.
    pub statuses: BTreeMap<String, u64>,
    /// Number of requests by the server that gave the final answer, whatever it was; 0 for one that gave none.
    pub servers: BTreeMap<String, u64>,
    /// The expectations in the scenario's order.
    pub expectations: Vec<CheckedExpectation>,
    /// True if every expectation holds, and the run came to its end.
    pub pass: bool,
    /// Why the run was stopped before its end, in a sentence; left out if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// By how much faults and sends were late.
    #[serde(default)]
    pub lateness: Lateness,
    /// True if nothing was later than the scenario allows, so that the figures are of the scenario and not of a machine that
    /// was too busy to play it.
    #[serde(default = "of_older_folders")]
    pub trusted: bool,
}

/// Returns what is true of a run whose folder is of a version that measured no lateness.
fn of_older_folders() -> bool {
    true
}

/// A stretch of the run and its figures. It holds the requests that are intended from its start to just before its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseSummary {
    /// The phase's name: `before`, `fault-N` or `after`.
    pub phase: String,
    /// The time at which the phase starts.
    pub start_us: u64,
    /// The time at which the phase ends.
    pub end_us: u64,
    /// The metrics of the phase.
    pub metrics: Metrics,
}

/// One fault and its effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultSummary {
    /// The fault's index in the scenario, from 0.
    pub index: usize,
    /// The fault's kind as a scenario writes it, such as `crash`.
    pub kind: String,
    /// The servers that it began on.
    pub targets: Vec<String>,
    /// The time at which it began on the first of its targets.
    pub start_us: u64,
    /// The time at which it was lifted from the last of its targets; null if the run ended first.
    pub lifted_us: Option<u64>,
    /// True if the client recovered; null if there is nothing to compare with, before the fault or since.
    pub recovered: Option<bool>,
    /// Time from the fault's start to recovery; 0 if it had no effect, null unless `recovered` is true.
    pub recovery_time_s: Option<f64>,
    /// Time from the fault's start until the client detected it; null if it never did.
    pub time_to_detect_s: Option<f64>,
    /// Success rate that recovery is measured by: that of the requests before the fault and outside of the phases of
    /// others.
    pub baseline_success_rate: Option<f64>,
    /// 95th percentile of the latency that recovery is measured by, from the same requests.
    pub baseline_latency_p95_s: Option<f64>,
}

impl Summary {
    /// Computes everything from the rows, in O(n log n). It reads the rows of each kind in one pass, those of requests in
    /// a second one if work was duplicated, and keeps about 72 bytes of each request.
    pub fn compute(label: RunLabel<'_>, run: &RunRows<'_>, script: &Script<'_>) -> Self {
        let requests = Requests::sorted(run);
        let mut events = Events::collect(run.rows);
        let duplicates = Duplicates::find(run, mem::take(&mut events.finished));
        let timeline = Timeline::compute(&events, &requests, run.duration_us());
        let ejections = &events.ejections;
        let overall = Metrics { ejections: ejections.total(), ..overall(&requests, &duplicates, &timeline) };
        let source = PhaseSource { requests: &requests, duplicates: &duplicates, ejections };
        let phases = source.phases(&timeline);
        let faults: Vec<FaultSummary> = timeline.episodes.iter().map(FaultSummary::new).collect();
        let expectations = script.expectations.iter();
        let expectations: Vec<CheckedExpectation> =
            expectations.map(|expected| CheckedExpectation::new(expected, &overall, &phases, &faults)).collect();
        let lateness = Lateness::measure(&requests.sends, &events.fault_times, script);
        Self {
            scenario: label.scenario.to_owned(),
            seed: label.seed,
            world: label.world.to_owned(),
            duration_us: run.duration_us(),
            end_us: requests.end_us(),
            overall,
            phases,
            faults,
            statuses: statuses(&requests),
            servers: servers(&requests, run.servers),
            pass: expectations.iter().all(|checked| checked.pass),
            expectations,
            stopped: None,
            trusted: lateness.is_within_bound(),
            lateness,
        }
    }

    /// Returns the verdict on the run by its rows. That an invariant is violated is not in them.
    pub fn verdict(&self) -> Verdict {
        if self.stopped.is_some() {
            Verdict::Interrupted
        } else if !self.trusted {
            Verdict::Untrusted
        } else if self.pass {
            Verdict::Pass
        } else {
            Verdict::Fail
        }
    }
}

impl FaultSummary {
    fn new(episode: &Episode) -> Self {
        let fault = &episode.fault;
        let baseline = episode.baseline;
        Self {
            index: fault.index,
            kind: fault.kind.clone(),
            targets: fault.targets.clone(),
            start_us: fault.start_us,
            lifted_us: fault.lifted_us,
            recovered: episode.recovery.recovered(),
            recovery_time_s: episode.recovery.time_us().map(seconds),
            time_to_detect_s: episode.detected_us.map(seconds),
            baseline_success_rate: baseline.and_then(|baseline| ratio(baseline.successes, baseline.requests)),
            baseline_latency_p95_s: baseline.map(|baseline| seconds(baseline.p95_us)),
        }
    }
}

fn overall(requests: &Requests, duplicates: &Duplicates, timeline: &Timeline) -> Metrics {
    Metrics {
        duplicates: duplicates.total(),
        recovery_time: worst(timeline.episodes.iter().map(|episode| episode.recovery.time_us())).map(seconds),
        time_to_detect: worst(timeline.episodes.iter().map(|episode| episode.detected_us)).map(seconds),
        ..Metrics::compute(requests.all(), timeline.run)
    }
}

/// Returns the longest of the faults' times; none without faults, or if one of them has none.
fn worst(times_us: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    times_us.collect::<Option<Vec<u64>>>()?.into_iter().max()
}

/// The parts of a run from which its phases are summarized.
struct PhaseSource<'a> {
    requests: &'a Requests,
    duplicates: &'a Duplicates,
    ejections: &'a Ejections,
}

impl PhaseSource<'_> {
    fn summarize(&self, phase: Phase, span: Span) -> PhaseSummary {
        let run_end_us = self.requests.end_us();
        PhaseSummary {
            phase: phase.to_string(),
            start_us: span.start_us,
            end_us: span.end_us,
            metrics: Metrics {
                duplicates: self.duplicates.within(span, run_end_us),
                ejections: self.ejections.within(span, run_end_us),
                ..Metrics::compute(self.requests.within(span), span)
            },
        }
    }

    fn phases(&self, timeline: &Timeline) -> Vec<PhaseSummary> {
        let mut phases = Vec::with_capacity(timeline.episodes.len() + 2);
        phases.extend(timeline.before.map(|span| self.summarize(Phase::Before, span)));
        for episode in &timeline.episodes {
            let mut phase = self.summarize(Phase::Fault(episode.fault.index), episode.span);
            phase.metrics.recovery_time = episode.recovery.time_us().map(seconds);
            phase.metrics.time_to_detect = episode.detected_us.map(seconds);
            phases.push(phase);
        }
        phases.extend(timeline.after.map(|span| self.summarize(Phase::After, span)));
        phases
    }
}

pub(super) fn statuses(requests: &Requests) -> BTreeMap<String, u64> {
    requests.statuses.iter().map(|(outcome, count)| (outcome.name().to_owned(), *count)).collect()
}

pub(super) fn servers(requests: &Requests, servers: usize) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = (0..servers).map(|index| (format!("server-{index}"), 0)).collect();
    counts.extend(requests.servers.iter().map(|(server, count)| (server.as_str().to_owned(), *count)));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::sample::{LABEL, Sample, crash_then_freeze, event, failed, fault_end, fault_start, ok},
        record::Event,
    };

    const S: u64 = 1_000_000;

    fn phase_names(summary: &Summary) -> Vec<&str> {
        summary.phases.iter().map(|phase| phase.phase.as_str()).collect()
    }

    #[test]
    fn an_empty_run_has_no_figures_and_passes_without_expectations() {
        let summary = Sample::of_seconds(1).summary(&[]);
        assert_eq!((summary.overall.success_rate, summary.overall.latency_max), (None, None));
        assert_eq!(phase_names(&summary), ["before"]);
        assert!(summary.pass);
    }

    #[test]
    fn one_request_is_the_whole_run() {
        // One success after 4 ms in a run of 2 s: half a request a second, in the one window that has load.
        let summary = Sample::of_seconds(2).requests([ok(S, 4_000)]).summary(&[]);
        assert_eq!((summary.overall.success_rate, summary.overall.availability), (Some(1.0), Some(1.0)));
        assert_eq!((summary.overall.throughput, summary.overall.latency_p999), (Some(0.5), Some(0.004)));
    }

    #[test]
    fn the_length_of_a_run_includes_its_drain() {
        // The second request ends at 4 s, two after the load: 2 completed in 4 s.
        let summary = Sample::of_seconds(2).requests([ok(0, 1), failed(S, 3 * S)]).summary(&[]);
        assert_eq!((summary.duration_us, summary.end_us), (2 * S, 4 * S));
        assert_eq!((summary.overall.throughput, summary.overall.goodput), (Some(0.5), Some(0.25)));
    }

    #[test]
    fn the_worst_fault_stands_for_the_run_and_one_without_a_time_leaves_none() {
        assert_eq!(worst([Some(2), Some(5), Some(3)].into_iter()), Some(5));
        assert_eq!(worst([Some(2), None].into_iter()), None);
        assert_eq!(worst([].into_iter()), None);
    }

    #[test]
    fn statuses_and_servers_are_counted_and_an_idle_server_is_listed() {
        let summary = Sample::of_seconds(1).requests([ok(0, 1), ok(0, 1), failed(0, 1)]).summary(&[]);
        assert_eq!(summary.statuses, BTreeMap::from([("OK".into(), 2), ("UNAVAILABLE".into(), 1)]));
        assert_eq!(summary.servers, BTreeMap::from([("server-0".into(), 2), ("server-1".into(), 0)]));
    }

    #[test]
    fn all_failed_before_and_during_a_fault_counts_as_undisturbed_but_not_as_success() {
        let rows = (0..10).map(|second| failed(second * S, 1_000));
        let events = [fault_start(0, "crash", "server-0", 4 * S), fault_end(0, "server-0", 5 * S)];
        let summary = Sample::of_seconds(10).requests(rows).events(events).summary(&[]);
        assert_eq!((summary.overall.success_rate, summary.overall.unavailable_for), (Some(0.0), Some(10.0)));
        assert_eq!(summary.faults[0].recovery_time_s, Some(0.0));
        assert_eq!(summary.faults[0].baseline_success_rate, Some(0.0));
    }

    #[test]
    fn a_crash_then_a_freeze_is_summarized_phase_by_phase() {
        let summary = crash_then_freeze().summary(&[]);
        // The run is in `crash_then_freeze`: 5 requests a second, 25 s = 125 before; the crash is felt in its first
        // second and lifted at 27.4 s, but a phase lasts 3 s at least (15 requests: 25.0, 25.2 … 27.8 s); the freeze
        // from 45 s to 55 s is felt in its first two seconds but lasts 10 s (50 requests); after it 175 of 35 s
        // remain. Between 28 s and 45 s there is no phase: 450 - 125 - 15 - 50 - 175 = 85 = 17 s of requests.
        let counts: Vec<u64> = summary.phases.iter().map(|phase| phase.metrics.requests).collect();
        assert_eq!(phase_names(&summary), ["before", "fault-0", "fault-1", "after"]);
        assert_eq!(counts, [125, 15, 50, 175]);
        let recoveries: Vec<Option<f64>> = summary.faults.iter().map(|fault| fault.recovery_time_s).collect();
        assert_eq!(recoveries, [Some(1.0), Some(2.0)]);
        assert_eq!((summary.overall.recovery_time, summary.overall.time_to_detect), (Some(2.0), Some(3.0)));
    }

    #[test]
    fn the_fields_of_the_file_keep_their_order() {
        let summary = Sample::of_seconds(2)
            .requests([ok(0, 4_000), failed(S, 8_000)])
            .events([fault_start(0, "crash", "server-0", S)])
            .summary(&[]);
        let json = serde_json::to_string_pretty(&summary).expect("a summary is plain data");
        insta::assert_snapshot!(json);
        assert_eq!(serde_json::from_str::<Summary>(&json).expect("it reads what it wrote"), summary);
        assert_eq!((summary.scenario.as_str(), summary.seed), (LABEL.scenario, LABEL.seed));
    }

    #[test]
    fn ejections_count_in_their_phase_and_are_left_out_while_there_are_none() {
        let ejected = |at_us| event(at_us, "client", Event::Ejected, Some("server-0"));
        let fault = [fault_start(0, "crash", "server-0", 4 * S), fault_end(0, "server-0", 6 * S)];
        let rows = || (0..10).map(|second| ok(second * S, 1));
        let summary = Sample::of_seconds(10)
            .requests(rows())
            .events(fault.into_iter().chain([ejected(S), ejected(5 * S)]))
            .summary(&[]);
        assert_eq!(summary.overall.ejections, 2);
        assert_eq!(summary.phases.iter().map(|phase| phase.metrics.ejections).sum::<u64>(), 2);
        assert_eq!(summary.phases[0].metrics.ejections, 1, "{:?}", summary.phases[0]);
        assert!(summary.render().contains(", 2 ejections\n"));
        let written = serde_json::to_value(&summary.overall).expect("it can be written");
        assert_eq!((written.get("ejections"), written.get("hedges")), (Some(&2.into()), None));
    }

    #[test]
    fn the_summary_of_a_version_without_lateness_is_trusted() {
        let mut written = serde_json::to_value(Sample::of_seconds(1).summary(&[])).expect("it can be written");
        let removed = written.as_object_mut().and_then(|fields| fields.remove("trusted"));
        assert_eq!(removed, Some(true.into()));
        let read: Summary = serde_json::from_value(written).expect("it can be read");
        assert!(read.trusted);
    }
}
