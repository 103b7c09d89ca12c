//! The time until the client detects a fault.

use std::collections::{BTreeMap, BTreeSet};

use super::{fault::RecordedFault, span::Span};
use crate::record::{Event, EventRow, Name};

/// The events on the health of servers: how the client rates them, and which of them come back from a crash. They are indexed,
/// so that the time for a fault hardly depends on how many others there are.
#[derive(Default)]
pub(super) struct HealthEvents {
    /// How the client rates each server, in order of time. The events of one microsecond are not in order: `healthy` counts as
    /// the later one, as it is declared behind `unhealthy` and so is the greater.
    ratings: BTreeMap<Name, BTreeSet<(u64, Event)>>,
    /// When the client noted that a server fails; without a server, that all do.
    marks: BTreeMap<Option<Name>, BTreeSet<u64>>,
    /// When each server came back last.
    last_back_us: BTreeMap<Name, u64>,
}

impl HealthEvents {
    /// Adds an event, if it is on the health of a server.
    pub(super) fn note(&mut self, row: &EventRow) {
        // Detection is the client's: other sources, such as a foreign log's, have no part in it.
        let is_clients = row.source == "client";
        match (row.event, &row.target) {
            (Event::Unhealthy | Event::Healthy, Some(target)) if is_clients => {
                self.ratings.entry(target.clone()).or_default().insert((row.at_us, row.event));
                if row.event == Event::Unhealthy {
                    self.mark(Some(target), row.at_us);
                }
            }
            (Event::Ejected | Event::StoreLost, Some(target)) if is_clients => self.mark(Some(target), row.at_us),
            (Event::BreakerOpened, target) if is_clients => self.mark(target.as_ref(), row.at_us),
            (Event::Listening, _) => self.note_back(&row.source, row.at_us),
            (Event::Restart, Some(target)) => self.note_back(target, row.at_us),
            _ => {}
        }
    }

    fn mark(&mut self, target: Option<&Name>, at_us: u64) {
        self.marks.entry(target.cloned()).or_default().insert(at_us);
    }

    fn note_back(&mut self, server: &Name, at_us: u64) {
        let last_us = self.last_back_us.entry(server.clone()).or_default();
        *last_us = at_us.max(*last_us);
    }

    /// Returns the time in microseconds from the fault's start until the client first marks one of its targets unhealthy,
    /// ejects it, or opens a breaker to it, where the breaker of the service is one to all targets. It is 0 if the client
    /// rates one of the targets unhealthy already, and none if nothing happens within the fault's phase `span`.
    ///
    /// Behind the phase a mark does not count: the fault does not cause it. But a server that crashed or ended and that nothing
    /// started again is still gone after the phase, which is over once the client copes without it: there, a mark counts
    /// until the run ends.
    pub(super) fn time_to_detect(&self, fault: &RecordedFault, span: Span, run_end_us: u64) -> Option<u64> {
        let targets: Vec<Name> = fault.targets.iter().map(|target| target.as_str().into()).collect();
        if targets.iter().any(|target| self.is_unhealthy(target, fault.start_us)) {
            return Some(0);
        }
        let is_crash = ["crash", "drain"].contains(&fault.kind.as_str());
        let is_open_ended = span.end_us >= run_end_us
            || is_crash && targets.iter().any(|target| !self.comes_back(target, fault.start_us));
        let until_us = if is_open_ended { u64::MAX } else { span.end_us };
        let marks = targets.into_iter().map(Some).chain([None]).filter_map(|target| self.marks.get(&target));
        let first_us = marks.filter_map(|marks| marks.range(fault.start_us..).next()).min()?;
        (*first_us < until_us).then(|| first_us - fault.start_us)
    }

    /// Returns whether the client rates `target` unhealthy at `at_us`.
    fn is_unhealthy(&self, target: &Name, at_us: u64) -> bool {
        let last = self.ratings.get(target).and_then(|ratings| ratings.range(..=(at_us, Event::Healthy)).next_back());
        last.is_some_and(|(_, rating)| *rating == Event::Unhealthy)
    }

    fn comes_back(&self, target: &Name, since_us: u64) -> bool {
        self.last_back_us.get(target).is_some_and(|at_us| *at_us >= since_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::{event, healthy, unhealthy};

    const S: u64 = 1_000_000;
    const RUN_END: u64 = 90 * S;

    /// Returns a fault at 10 s on server-0 and server-1 with a phase until 20 s.
    fn detected(kind: &str, events: &[EventRow]) -> Option<u64> {
        let targets = vec!["server-0".into(), "server-1".into()];
        let fault = RecordedFault { index: 0, kind: kind.into(), targets, start_us: 10 * S, lifted_us: Some(12 * S) };
        let mut health = HealthEvents::default();
        events.iter().for_each(|row| health.note(row));
        health.time_to_detect(&fault, Span { start_us: 10 * S, end_us: 20 * S }, RUN_END)
    }

    #[test]
    fn the_first_mark_of_any_target_counts() {
        let events = [unhealthy("server-1", 13 * S), unhealthy("server-0", 12 * S), unhealthy("server-2", 11 * S)];
        assert_eq!(detected("freeze", &events), Some(2 * S));
    }

    #[test]
    fn only_the_client_detects() {
        let other = event(11 * S, "supervisor", Event::Unhealthy, Some("server-0"));
        assert_eq!(detected("freeze", &[other]), None);
    }

    #[test]
    fn an_open_breaker_and_an_ejection_are_marks_too() {
        let mark = |kind, target| event(12 * S, "client", kind, target);
        assert_eq!(detected("freeze", &[mark(Event::BreakerOpened, None)]), Some(2 * S));
        assert_eq!(detected("freeze", &[mark(Event::BreakerOpened, Some("server-2"))]), None);
        assert_eq!(detected("freeze", &[mark(Event::Ejected, Some("server-1"))]), Some(2 * S));
    }

    #[test]
    fn a_mark_outside_the_phase_does_not_count() {
        let recovered = [unhealthy("server-0", 8 * S), healthy("server-0", 9 * S)];
        assert_eq!(detected("freeze", &recovered), None);
        assert_eq!(detected("freeze", &[unhealthy("server-0", 20 * S)]), None);
        assert_eq!(detected("freeze", &[unhealthy("server-0", 20 * S - 1)]), Some(10 * S - 1));
    }

    #[test]
    fn a_target_rated_unhealthy_already_is_detected_at_once() {
        let events = [healthy("server-0", 7 * S), unhealthy("server-0", 8 * S), healthy("server-0", 11 * S)];
        assert_eq!(detected("freeze", &events), Some(0));
    }

    #[test]
    fn a_crash_that_nothing_restarts_may_be_detected_until_the_run_ends() {
        let late = unhealthy("server-0", 25 * S);
        let back = |target: &str| event(12 * S, target, Event::Listening, None);
        assert_eq!(detected("crash", std::slice::from_ref(&late)), Some(15 * S));
        assert_eq!(detected("crash", &[late, back("server-0"), back("server-1")]), None);
    }

    #[test]
    fn an_ejection_or_an_open_breaker_in_another_log_is_no_mark() {
        for kind in [Event::BreakerOpened, Event::Ejected, Event::Unhealthy, Event::Healthy] {
            let foreign = event(12 * S, "proxy", kind, Some("server-0"));
            assert_eq!(detected("freeze", &[foreign]), None, "{kind:?}");
        }
        // Nor does it change what the client thinks.
        let foreign = event(9 * S, "proxy", Event::Healthy, Some("server-0"));
        assert_eq!(detected("freeze", &[unhealthy("server-0", 8 * S), foreign]), Some(0));
    }

    #[test]
    fn a_crashed_server_that_is_restarted_is_back_whenever_it_listens() {
        let late = unhealthy("server-0", 25 * S);
        let restart = |target: &str| event(12 * S, "client", Event::Restart, Some(target));
        assert_eq!(detected("crash", &[late.clone(), restart("server-0")]), Some(15 * S), "the other one is gone");
        assert_eq!(detected("crash", &[late, restart("server-0"), restart("server-1")]), None);
    }
}
