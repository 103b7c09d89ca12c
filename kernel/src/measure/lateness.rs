//! Lateness: by how much faults and sends came later than the scenario says.
//!
//! A machine that is too busy, or a process that was stopped, plays another scenario than the file describes, and its
//! figures say nothing about the scenario. So the lateness of everything with a scripted instant is measured: the start of
//! each fault on each of its targets; its end or, after a crash, the restart; and the first send of each request. Retries and
//! hedges have no scripted instant, and a dropped request is not sent.
//!
//! A fault that the run should have played and did not is as late as the last call that ended after its instant. What was
//! due after that call is no part of the run.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::{Script, ranks::percentiles, seconds, us};
use crate::{
    fault::{Fault, FaultKind, target_name},
    record::{Event, EventRow, Name, RequestRow},
    server::settings::ServerNames,
};

/// The lateness of a run's faults and sends, and the bound on both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lateness {
    /// The lateness that the scenario allows, `max_lateness` of its `[run]`; null if there is no scenario.
    pub allowed_s: Option<f64>,
    /// The lateness of the starts and ends of faults, an entry for each target.
    pub faults: LatenessFigures,
    /// The lateness of the first sends of requests.
    pub sends: LatenessFigures,
}

/// The distribution of one kind of lateness.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatenessFigures {
    /// Number of instants that were scripted and reached.
    pub count: u64,
    /// Number of instants that were later than allowed.
    pub too_late: u64,
    /// Median of the lateness; null if there is no instant.
    pub p50_s: Option<f64>,
    /// 99th percentile of the lateness; null if there is no instant.
    pub p99_s: Option<f64>,
    /// The greatest lateness; null if there is no instant.
    pub max_s: Option<f64>,
    /// The event that was the latest, such as `the start of fault-0 on server-1`; null if nothing was late.
    pub latest: Option<String>,
}

impl Lateness {
    /// Measures the lateness of `sends` and `faults`, which should have followed `script`.
    pub(super) fn measure(sends: &SendTimes, faults: &FaultTimes, script: &Script<'_>) -> Self {
        let allowed_us = script.max_lateness.map(us);
        let mut late_faults = LateInstants::default();
        faults.compare(script, sends.last_done_us, &mut late_faults);
        Self {
            allowed_s: allowed_us.map(seconds),
            faults: late_faults.figures(allowed_us, |instant| instant.text(&script.names)),
            sends: sends.late.figures(allowed_us, |id| format!("request {id}")),
        }
    }

    /// Returns the lateness of the sends of a log, which has no script, with its [`PERCENTILES`].
    pub(super) fn of_log(sends: &SendTimes, percentiles_us: [Option<u64>; 2]) -> Self {
        let sends = sends.late.with_percentiles(percentiles_us, |id| format!("request {id}"));
        Self { sends, ..Self::default() }
    }

    /// Returns the greatest lateness of all; none if nothing had a scripted instant.
    pub fn max_s(&self) -> Option<f64> {
        [self.faults.max_s, self.sends.max_s].into_iter().flatten().reduce(f64::max)
    }

    /// Returns whether nothing was later than allowed.
    pub(super) fn is_within_bound(&self) -> bool {
        self.faults.too_late == 0 && self.sends.too_late == 0
    }
}

/// The percentiles of a lateness, in thousandths.
pub(super) const PERCENTILES: [u32; 2] = [500, 990];

/// Instants with their lateness, 8 bytes each.
struct LateInstants<T> {
    late_us: Vec<u64>,
    count: u64,
    /// The greatest lateness, and what was that late: the least of several, so that the order of the rows does not matter.
    latest: Option<(u64, Reverse<T>)>,
}

impl<T> Default for LateInstants<T> {
    fn default() -> Self {
        Self { late_us: Vec::new(), count: 0, latest: None }
    }
}

impl<T: Ord> LateInstants<T> {
    fn add(&mut self, instant: T, late_us: u64) {
        self.late_us.push(late_us);
        self.count(instant, late_us);
    }

    /// Counts an instant, without keeping its lateness.
    fn count(&mut self, instant: T, late_us: u64) {
        self.count += 1;
        self.latest = self.latest.take().max(Some((late_us, Reverse(instant))));
    }

    fn figures(&self, allowed_us: Option<u64>, name: impl Fn(&T) -> String) -> LatenessFigures {
        let percentiles = percentiles(self.late_us.clone(), PERCENTILES);
        let allowed_us = allowed_us.unwrap_or(u64::MAX);
        let too_late = self.late_us.iter().filter(|late_us| **late_us > allowed_us).count() as u64;
        LatenessFigures { too_late, ..self.with_percentiles(percentiles, name) }
    }

    /// Returns the figures of instants of which none is too late, with percentiles that were computed elsewhere.
    fn with_percentiles(&self, [p50_us, p99_us]: [Option<u64>; 2], name: impl Fn(&T) -> String) -> LatenessFigures {
        LatenessFigures {
            count: self.count,
            too_late: 0,
            p50_s: p50_us.map(seconds),
            p99_s: p99_us.map(seconds),
            max_s: self.latest.as_ref().map(|(late_us, _)| seconds(*late_us)),
            latest: self.latest.as_ref().filter(|(late_us, _)| *late_us > 0).map(|(_, Reverse(instant))| name(instant)),
        }
    }
}

/// The lateness of the first sends of requests, and when the last call ended.
#[derive(Default)]
pub(super) struct SendTimes {
    late: LateInstants<u64>,
    last_done_us: u64,
}

impl SendTimes {
    /// Adds a request.
    pub(super) fn keep(&mut self, row: &RequestRow) {
        late_send_us(row).into_iter().for_each(|late_us| self.late.add(row.id, late_us));
        self.last_done_us = self.last_done_us.max(row.done_us.unwrap_or(0));
    }

    /// Counts a request of a log, without keeping its lateness.
    pub(super) fn count(&mut self, row: &RequestRow) {
        late_send_us(row).into_iter().for_each(|late_us| self.late.count(row.id, late_us));
    }
}

/// Returns the lateness of the first send of a request; none if it was dropped.
pub(super) fn late_send_us(row: &RequestRow) -> Option<u64> {
    row.sent_us.map(|sent_us| sent_us.saturating_sub(row.intended_us))
}

/// A scripted instant of a fault on one of its targets. Of those that are equally late, an earlier one is named.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct FaultInstant {
    scripted_us: u64,
    fault: usize,
    target: usize,
    what: &'static str,
}

impl FaultInstant {
    fn text(&self, names: &ServerNames) -> String {
        format!("the {} of fault-{} on {}", self.what, self.fault, target_name(self.target, names))
    }
}

/// The recorded times of each fault on each of its targets.
#[derive(Default)]
pub(super) struct FaultTimes(BTreeMap<(usize, Name), Seen>);

/// The recorded times of one fault on one of its targets.
#[derive(Default)]
struct Seen {
    start_us: Option<u64>,
    restart_us: Option<u64>,
    end_us: Option<u64>,
    had_no_effect: bool,
}

impl FaultTimes {
    /// Adds an event, if it is one of a fault.
    pub(super) fn note(&mut self, row: &EventRow) {
        let (Some(fault), Some(target)) = (row.fault, row.target.as_ref()) else { return };
        let seen = self.0.entry((fault, target.clone())).or_default();
        match row.event {
            Event::FaultStart => seen.start_us = seen.start_us.into_iter().chain([row.at_us]).min(),
            Event::Restart => seen.restart_us = seen.restart_us.max(Some(row.at_us)),
            Event::FaultEnd => seen.end_us = seen.end_us.max(Some(row.at_us)),
            Event::NoEffect => seen.had_no_effect = true,
            _ => {}
        }
    }

    /// Adds the lateness of the starts and ends of `faults` to `late`. The last call ended at `last_us`.
    fn compare(&self, script: &Script<'_>, last_us: u64, late: &mut LateInstants<FaultInstant>) {
        let nothing = Seen::default();
        for (index, fault) in script.faults.iter().enumerate() {
            for &target in &fault.targets {
                let seen = self.0.get(&(index, target_name(target, &script.names).as_str().into())).unwrap_or(&nothing);
                let mut add = |what, scripted_us, late_us| {
                    late.add(FaultInstant { scripted_us, fault: index, target, what }, late_us);
                };
                if let Some(late_us) = late_us(seen.start_us, us(fault.at), last_us) {
                    add("start", us(fault.at), late_us);
                }
                if let Some((what, scripted_us, late_us)) = seen.late_end(fault, last_us) {
                    add(what, scripted_us, late_us);
                }
            }
        }
    }
}

impl Seen {
    /// Returns the name, the scripted time and the lateness of the instant at which the fault should have ended; none if it
    /// has no such instant, or if the fault ended before, as one without effect does.
    fn late_end(&self, fault: &Fault, last_us: u64) -> Option<(&'static str, u64, u64)> {
        // Before its start the end of a fault is not due: that the start is missing is counted already.
        self.start_us?;
        let scripted_us = us(fault.at + fault.kind.lasts()?);
        let (what, at_us) = match fault.kind {
            // A crash or a drain ends when the new process listens, which takes its time and is not late; its restart has an instant.
            FaultKind::Crash { .. } | FaultKind::Drain { .. } => ("restart", self.restart_us),
            _ => ("end", self.end_us),
        };
        // A server that was down when the fault began has nothing to end, and a process that died took the fault with it.
        let is_over = at_us.is_none() && self.had_no_effect || at_us.is_some_and(|at_us| at_us < scripted_us);
        if is_over {
            return None;
        }
        late_us(at_us, scripted_us, last_us).map(|late_us| (what, scripted_us, late_us))
    }
}

/// Returns by how much what happened at `at_us` is late. What did not happen is as late as the end of the last call, and none
/// if it was due after that.
fn late_us(at_us: Option<u64>, scripted_us: u64, last_us: u64) -> Option<u64> {
    match at_us {
        Some(at_us) => Some(at_us.saturating_sub(scripted_us)),
        None => last_us.checked_sub(scripted_us).filter(|late_us| *late_us > 0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::{
        Summary, Verdict,
        sample::{Sample, dropped, event, failed, fault_end, fault_start, ok},
    };

    const MS: u64 = 1_000;
    const S: u64 = 1_000_000;

    fn fault(at_ms: u64, kind: FaultKind) -> Fault {
        Fault { at: Duration::from_millis(at_ms), targets: vec![0], kind, caller: None }
    }

    fn freeze(at_ms: u64, duration_ms: u64) -> Fault {
        fault(at_ms, FaultKind::Freeze { duration: Some(Duration::from_millis(duration_ms)) })
    }

    fn crash(at_ms: u64, restart_ms: u64) -> Fault {
        fault(at_ms, FaultKind::Crash { restart_after: Some(Duration::from_millis(restart_ms)) })
    }

    fn of_server_0(event_kind: Event, at_us: u64) -> EventRow {
        EventRow { fault: Some(0), ..event(at_us, "nemesis", event_kind, Some("server-0")) }
    }

    /// Returns the summary of ten seconds with a request in each, by a script that allows 250 ms.
    fn summary(faults: &[Fault], events: impl IntoIterator<Item = EventRow>) -> Summary {
        let rows = (0..10).map(|second| ok(second * S, 900 * MS));
        Sample::of_seconds(10).requests(rows).events(events).summary_by(&script(faults))
    }

    fn script(faults: &[Fault]) -> Script<'_> {
        Script { faults, max_lateness: Some(Duration::from_millis(250)), ..Script::default() }
    }

    fn late_s(summary: &Summary) -> (u64, u64, Option<f64>, Option<&str>) {
        let LatenessFigures { count, too_late, max_s, latest, .. } = &summary.lateness.faults;
        (*count, *too_late, *max_s, latest.as_deref())
    }

    #[test]
    fn a_run_on_time_is_not_late_and_is_trusted() {
        let events = [fault_start(0, "freeze", "server-0", 2 * S), fault_end(0, "server-0", 3 * S)];
        let summary = summary(&[freeze(2_000, 1_000)], events);
        assert_eq!(late_s(&summary), (2, 0, Some(0.0), None));
        assert_eq!(summary.lateness.sends.count, 10);
        assert_eq!((summary.verdict(), summary.trusted), (Verdict::NoExpectations, true));
    }

    #[test]
    fn the_start_and_the_end_of_a_fault_are_each_compared_with_their_own_instant() {
        let events = [fault_start(0, "freeze", "server-0", 4_384 * MS), fault_end(0, "server-0", 5_384 * MS)];
        let summary = summary(&[freeze(2_000, 1_000)], events);
        assert_eq!(late_s(&summary), (2, 2, Some(2.384), Some("the start of fault-0 on server-0")));
        assert_eq!(summary.verdict(), Verdict::Untrusted);
        let end_only = [fault_start(0, "freeze", "server-0", 2 * S), fault_end(0, "server-0", 3_251 * MS)];
        let summary = self::summary(&[freeze(2_000, 1_000)], end_only);
        assert_eq!(late_s(&summary), (2, 1, Some(0.251), Some("the end of fault-0 on server-0")));
    }

    #[test]
    fn the_bound_is_inclusive_and_the_time_of_a_new_process_to_listen_is_not_late() {
        let events = [
            fault_start(0, "crash", "server-0", 2 * S),
            of_server_0(Event::Restart, 3_250 * MS),
            fault_end(0, "server-0", 9 * S),
        ];
        let summary = summary(&[crash(2_000, 1_000)], events);
        assert_eq!(late_s(&summary), (2, 0, Some(0.25), Some("the restart of fault-0 on server-0")));
        assert!(summary.trusted);
    }

    #[test]
    fn what_was_due_and_never_came_is_as_late_as_the_last_call() {
        // The last call ends at 9.9 s.
        let missing = summary(&[freeze(2_000, 1_000)], []);
        assert_eq!(late_s(&missing), (1, 1, Some(7.9), Some("the start of fault-0 on server-0")));
        let not_lifted = summary(&[freeze(2_000, 1_000)], [fault_start(0, "freeze", "server-0", 2 * S)]);
        assert_eq!(late_s(&not_lifted), (2, 1, Some(6.9), Some("the end of fault-0 on server-0")));
        let not_restarted = summary(&[crash(2_000, 1_000)], [fault_start(0, "crash", "server-0", 2 * S)]);
        assert_eq!(late_s(&not_restarted), (2, 1, Some(6.9), Some("the restart of fault-0 on server-0")));
        let after_the_end = summary(&[freeze(9_950, 10)], []);
        assert_eq!((late_s(&after_the_end), after_the_end.trusted), ((0, 0, None, None), true));
    }

    #[test]
    fn a_fault_without_effect_or_without_an_end_has_no_end_that_could_be_late() {
        let no_effect = |kind| {
            [
                fault_start(0, kind, "server-0", 2 * S),
                of_server_0(Event::NoEffect, 2 * S),
                fault_end(0, "server-0", 2 * S),
            ]
        };
        assert_eq!(late_s(&summary(&[freeze(2_000, 1_000)], no_effect("freeze"))).0, 1);
        assert_eq!(late_s(&summary(&[crash(2_000, 1_000)], no_effect("crash"))).0, 1);
        let forever = fault(2_000, FaultKind::Freeze { duration: None });
        assert_eq!(late_s(&summary(&[forever], [fault_start(0, "freeze", "server-0", 2 * S)])).0, 1);
        assert_eq!(
            late_s(&summary(&[fault(2_000, FaultKind::Reset { duration: None, share: None })], no_effect("reset"))).0,
            1
        );
    }

    #[test]
    fn sends_are_late_by_their_first_attempt_and_dropped_requests_are_not_sent() {
        let late = RequestRow { sent_us: Some(4 * S), attempts: 3, ..failed(S, 5 * S) };
        let rows = [ok(0, MS), late, dropped(2 * S)];
        let summary = Sample::of_seconds(3).requests(rows).summary_by(&script(&[]));
        let LatenessFigures { count, too_late, p50_s, max_s, latest, .. } = &summary.lateness.sends;
        assert_eq!((*count, *too_late, *p50_s, *max_s), (2, 1, Some(0.0), Some(3.0)));
        assert_eq!(latest.as_deref(), Some("request 1"));
        assert_eq!(summary.verdict(), Verdict::Untrusted);
        insta::assert_snapshot!(summary.render());
    }

    #[test]
    fn without_a_scenario_nothing_is_too_late() {
        let late = RequestRow { sent_us: Some(9 * S), ..ok(0, 10 * S) };
        let summary = Sample::of_seconds(1).requests([late]).summary(&[]);
        assert_eq!((summary.lateness.sends.max_s, summary.lateness.allowed_s), (Some(9.0), None));
        assert!(summary.trusted);
    }

    #[test]
    fn what_did_not_happen_is_late_once_the_run_goes_on_behind_its_time() {
        assert_eq!([4, 5, 7].map(|last_us| late_us(None, 5, last_us)), [None, None, Some(2)]);
        assert_eq!([4, 5, 7].map(|at_us| late_us(Some(at_us), 5, 9)), [Some(0), Some(0), Some(2)]);
    }
}
