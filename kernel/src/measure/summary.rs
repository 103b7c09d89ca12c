//! The content of `summary.json`.

use std::{collections::BTreeMap, mem};

use serde::{Deserialize, Serialize};

use super::{
    CheckedExpectation, EdgeSummary, Lateness, Metrics, RunRows, Script, Verdict,
    attempts::Attempts,
    duplicate::duplicates,
    edges::edges,
    events::Events,
    extent::{Extent, gaps},
    instants::Instants,
    phase::{Episode, Timeline},
    ratio,
    requests::Requests,
    seconds,
    span::Span,
    wrong_result::WrongResult,
};
use crate::{client::settings::Profile, measure::expectation::Phase};

/// Which run a summary is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLabel<'a> {
    /// The scenario's name.
    pub scenario: &'a str,
    /// The root seed.
    pub seed: u64,
    /// The world: `sim` or `real`.
    pub world: &'a str,
    /// The client's profile; none if it is not known, as of a foreign log.
    pub profile: Option<Profile>,
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
    /// The phases: `before`, then the faults by index, then `between`, then `after`. A phase that the run does not have is
    /// left out.
    pub phases: Vec<PhaseSummary>,
    /// The faults by index. A fault that never began is left out.
    pub faults: Vec<FaultSummary>,
    /// Number of requests by the status that they ended with, `DROPPED` among them.
    pub statuses: BTreeMap<String, u64>,
    /// Number of requests by the server that gave the final answer, whatever it was; 0 for one that gave none.
    pub servers: BTreeMap<String, u64>,
    /// The expectations in the scenario's order.
    pub expectations: Vec<CheckedExpectation>,
    /// True if every expectation holds, the run came to its end, a request succeeded or the scenario expects that none does, and no result
    /// is wrong or the scenario says how many may be.
    pub pass: bool,
    /// Why the run was stopped before its end, in a sentence; left out if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The lateness of faults and sends.
    #[serde(default)]
    pub lateness: Lateness,
    /// True if nothing was later than the scenario allows, so that the figures are of the scenario and not of a machine that
    /// was too busy to play it.
    #[serde(default = "of_older_folders")]
    pub trusted: bool,
    /// The client's profile; left out if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The changes of settings, in order of time; left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangeSummary>,
    /// The first of the wrong results, by time; left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrong_results: Vec<WrongResult>,
    /// Why the first attempt failed, if no request succeeded; left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<String>,
    /// The calls between services, by edge; left out if they made no calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<EdgeSummary>,
}

/// Returns what is true of a run whose folder is of a version that measured no lateness.
fn of_older_folders() -> bool {
    true
}

/// A phase of the run and its figures. Which requests count in it is in [`Metrics`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseSummary {
    /// The phase's name: `before`, `fault-N`, `between` or `after`.
    pub phase: String,
    /// The time at which the phase starts; of `between`, the first of its parts.
    pub start_us: u64,
    /// The time at which the phase ends; of `between`, the last of its parts.
    pub end_us: u64,
    /// The metrics of the phase.
    pub metrics: Metrics,
}

/// A change of a setting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChangeSummary {
    /// The time of the change.
    pub at_us: u64,
    /// The setting and its values, such as `client.retry.max_attempts from 3 to 1`.
    pub change: String,
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
    /// Success rate that recovery is measured by: that of the requests that are over before the fault and outside of
    /// the phases of others.
    pub baseline_success_rate: Option<f64>,
    /// 95th percentile of the latency that recovery is measured by, from the same requests.
    pub baseline_latency_p95_s: Option<f64>,
}

impl Summary {
    /// Computes everything from the rows, in O(n log n). It reads the rows of each kind in one pass, those of requests in
    /// a second one if work was duplicated, and keeps about 72 bytes of each request and, if there are faults, 16 of each attempt.
    pub fn compute(label: RunLabel<'_>, run: &RunRows<'_>, script: &Script<'_>) -> Self {
        let requests = Requests::sorted(run);
        let mut events = Events::collect(run.rows);
        let duplicates = duplicates(run, mem::take(&mut events.finished));
        let timeline = Timeline::compute(&events, &requests, run.duration_us());
        let overall = overall(&requests, &duplicates, &timeline);
        let edges = edges(run, overall.requests - overall.dropped);
        let overall = Metrics {
            amplification: edges.iter().filter_map(|edge| edge.amplification).reduce(f64::max),
            ejections: events.ejections.total(),
            wrong_results: events.wrong_results.total(),
            store_failures: events.store_failures.total(),
            ..overall
        };
        // Without faults the only phase is the whole run, whose requests say how many attempts it has.
        let named = mem::take(&mut events.named_attempts);
        let attempts = (!timeline.episodes.is_empty()).then(|| Attempts::collect(run, named));
        let source = PhaseSource {
            requests: &requests,
            attempts: attempts.as_ref(),
            duplicates: &duplicates,
            ejections: &events.ejections,
            wrong_results: &events.wrong_results,
            store_failures: &events.store_failures,
        };
        let phases = source.phases(&timeline);
        let faults = timeline.episodes.iter().map(FaultSummary::new);
        let faults: Vec<FaultSummary> = match script.stopped {
            None => faults.collect(),
            Some(_) => faults.map(FaultSummary::without_what_may_come).collect(),
        };
        let expectations = script.expectations.iter();
        let expectations: Vec<CheckedExpectation> = match script.stopped {
            None => {
                expectations.map(|expected| CheckedExpectation::new(expected, &overall, &phases, &faults)).collect()
            }
            Some(_) => expectations.map(CheckedExpectation::unchecked).collect(),
        };
        let first_failure = events.first_failure.take().and_then(|(.., cause)| cause);
        let first_failure = first_failure.filter(|_| overall.succeeded == 0);
        let lateness = Lateness::measure(&requests.sends, &events.fault_times, script);
        let summary = Self {
            scenario: label.scenario.to_owned(),
            seed: label.seed,
            world: label.world.to_owned(),
            duration_us: run.duration_us(),
            end_us: requests.end_us(),
            overall,
            phases,
            faults,
            statuses: statuses(&requests),
            servers: servers(&requests, run.servers, run.names),
            pass: script.stopped.is_none() && expectations.iter().all(|checked| checked.pass),
            expectations,
            stopped: script.stopped.map(ToOwned::to_owned),
            trusted: lateness.is_within_bound(),
            lateness,
            profile: label.profile.map(|profile| profile.name().to_owned()),
            changes: events.changes,
            wrong_results: events.wrong,
            first_failure,
            edges,
        };
        Self { pass: summary.pass && !summary.is_dead() && !summary.has_wrong_results(), ..summary }
    }

    /// Returns the verdict on the run by its rows. That an invariant is violated is not in them.
    pub fn verdict(&self) -> Verdict {
        if self.stopped.is_some() {
            Verdict::Interrupted
        } else if !self.trusted {
            Verdict::Untrusted
        } else if !self.pass {
            Verdict::Fail
        } else if self.expectations.is_empty() {
            Verdict::NoExpectations
        } else {
            Verdict::Pass
        }
    }

    /// Returns whether a result is wrong, although the scenario does not say how many may be.
    pub fn has_wrong_results(&self) -> bool {
        self.overall.wrong_results > 0 && !self.expectations.iter().any(CheckedExpectation::is_of_wrong_results)
    }

    /// Returns whether replies have streamed, and there is something to show of them.
    pub fn has_streams(&self) -> bool {
        self.overall.messages > 0 || self.overall.messages_lost > 0
    }

    /// Returns whether no request succeeded, although the scenario does not expect that.
    pub fn is_dead(&self) -> bool {
        self.overall.succeeded == 0 && !self.expectations.iter().any(CheckedExpectation::allows_no_success)
    }
}

impl Summary {
    /// Returns which part of the run each of its phases is, in their order.
    pub fn extents(&self) -> Vec<Extent> {
        let spans = self.phases.iter().map(|phase| Span { start_us: phase.start_us, end_us: phase.end_us });
        let of_faults = self.phases.iter().zip(spans.clone()).filter(|(phase, _)| is_of_a_fault(&phase.phase));
        let faults: Vec<Span> = of_faults.map(|(_, span)| span).collect();
        let between = Phase::Between.to_string();
        let extents = self.phases.iter().zip(spans).map(|(phase, span)| match &phase.phase {
            name if is_of_a_fault(name) => Extent::of_fault(span, self.end_us),
            name if *name == between => Extent::without_fault(gaps(faults.iter().copied()), self.end_us),
            _ => Extent::without_fault(vec![span], self.end_us),
        });
        extents.collect()
    }
}

/// Returns whether a phase of this name is that of a fault.
fn is_of_a_fault(phase: &str) -> bool {
    matches!(phase.parse(), Ok(Phase::Fault(_)))
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

    /// Removes what is true of a run that was stopped only because it was: a client that had no time to recover may have
    /// recovered later.
    fn without_what_may_come(self) -> Self {
        Self { recovered: self.recovered.filter(|recovered| *recovered), ..self }
    }
}

fn overall(requests: &Requests, duplicates: &Instants, timeline: &Timeline) -> Metrics {
    Metrics {
        duplicates: duplicates.total(),
        recovery_time: worst(timeline.episodes.iter().map(|episode| episode.recovery.time_us())).map(seconds),
        time_to_detect: worst(timeline.episodes.iter().map(|episode| episode.detected_us)).map(seconds),
        ..Metrics::compute(requests, &timeline.whole())
    }
}

/// Returns the longest of the faults' times; none without faults, or if one of them has none.
fn worst(times_us: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    times_us.collect::<Option<Vec<u64>>>()?.into_iter().max()
}

/// The parts of a run from which its phases are summarized.
struct PhaseSource<'a> {
    requests: &'a Requests,
    attempts: Option<&'a Attempts>,
    duplicates: &'a Instants,
    ejections: &'a Instants,
    wrong_results: &'a Instants,
    store_failures: &'a Instants,
}

impl PhaseSource<'_> {
    fn phases(&self, timeline: &Timeline) -> Vec<PhaseSummary> {
        let mut phases: Vec<PhaseSummary> =
            timeline.phases().iter().map(|(phase, extent)| self.summarize(*phase, extent)).collect();
        let first = usize::from(timeline.before.is_some());
        for (phase, episode) in phases[first..].iter_mut().zip(&timeline.episodes) {
            phase.metrics.recovery_time = episode.recovery.time_us().map(seconds);
            phase.metrics.time_to_detect = episode.detected_us.map(seconds);
        }
        phases
    }

    fn summarize(&self, phase: Phase, extent: &Extent) -> PhaseSummary {
        let span = extent.hull();
        let metrics = Metrics {
            duplicates: self.duplicates.within(extent),
            ejections: self.ejections.within(extent),
            wrong_results: self.wrong_results.within(extent),
            store_failures: self.store_failures.within(extent),
            ..Metrics::compute(self.requests, extent)
        };
        let metrics = match self.attempts {
            Some(attempts) => metrics.with_attempts(attempts, extent),
            None => metrics,
        };
        PhaseSummary { phase: phase.to_string(), start_us: span.start_us, end_us: span.end_us, metrics }
    }
}

pub(super) fn statuses(requests: &Requests) -> BTreeMap<String, u64> {
    requests.statuses.iter().map(|(outcome, count)| (outcome.name().to_owned(), *count)).collect()
}

/// Returns the number of requests that each server answered. Those that `names` lacks are `server-0` and so on.
pub(super) fn servers(requests: &Requests, servers: usize, names: &[String]) -> BTreeMap<String, u64> {
    let name = |index| names.get(index).cloned().unwrap_or_else(|| format!("server-{index}"));
    let mut counts: BTreeMap<String, u64> = (0..servers).map(|index| (name(index), 0)).collect();
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
    fn an_empty_run_has_no_figures_and_does_not_pass() {
        let summary = Sample::of_seconds(1).summary(&[]);
        assert_eq!((summary.overall.success_rate, summary.overall.latency_max), (None, None));
        assert_eq!(phase_names(&summary), ["before"]);
        assert!(!summary.pass && summary.verdict() == Verdict::Fail);
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
        // The run is in `crash_then_freeze`: 5 requests a second, 25 s = 125 before; the crash is felt in its first second and
        // lifted at 27.4 s, but a phase lasts 3 s at least (15 requests: 25.0, 25.2 … 27.8 s); the freeze from 45 s to 55 s is felt
        // in its first two seconds but lasts 10 s (50 requests), and the last of its calls end at 57 s, after the phase; after it
        // 175 of 35 s remain. Between 28 s and 45 s are 17 s of requests, 85.
        let counts: Vec<u64> = summary.phases.iter().map(|phase| phase.metrics.requests).collect();
        assert_eq!(phase_names(&summary), ["before", "fault-0", "fault-1", "between", "after"]);
        assert_eq!(counts, [125, 15, 50, 85, 175]);
        // Two calls of the crash are retried elsewhere at once; five of the freeze after 9.9 s, when its phase is over.
        let retries: Vec<u64> = summary.phases.iter().map(|phase| phase.metrics.retries).collect();
        let failovers: Vec<u64> = summary.phases.iter().map(|phase| phase.metrics.failovers).collect();
        assert_eq!((&retries, retries == failovers), (&vec![0, 2, 0, 0, 5], true));
        // The two calls of the crash have two attempts each, the others one.
        let attempts = |phase: usize| summary.phases[phase].metrics.attempts_per_call;
        assert_eq!([attempts(0), attempts(1), attempts(3)], [Some(1.0), Some(17.0 / 15.0), Some(1.0)]);
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
    fn the_harm_of_a_fault_is_in_its_phase_though_its_calls_began_before() {
        // A call a second takes 2 s. The server is reset at 10.1 s, when those of 9 s and 10 s are under way.
        let harmed = |second: u64| second == 9 || second == 10;
        let row = |second: u64| {
            let at_us = second * S;
            if harmed(second) { failed(at_us, 10 * S + S / 10 - at_us) } else { ok(at_us, 2 * S) }
        };
        let reset = [fault_start(0, "reset", "server-0", 10 * S + S / 10), fault_end(0, "server-0", 10 * S + S / 10)];
        let sample = Sample::of_seconds(20).requests((0..20).map(row)).events(reset);
        let summary = sample.summary(&[]);
        // Before: 0 s to 8 s, the last of which ends at 10 s. During, until 13.1 s: those of 9 s to 13 s, of which two fail.
        let rates: Vec<Option<f64>> = summary.phases.iter().map(|phase| phase.metrics.success_rate).collect();
        assert_eq!(rates, [Some(1.0), Some(3.0 / 5.0), Some(1.0)]);
        let counts: Vec<u64> = summary.phases.iter().map(|phase| phase.metrics.requests).collect();
        assert_eq!(counts, [9, 5, 6]);
        assert_eq!(summary.faults[0].baseline_success_rate, Some(1.0));
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
