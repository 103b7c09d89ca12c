//! The time until the client detects a fault.

use super::{fault::RecordedFault, span::Span};
use crate::record::{Event, EventRow};

/// The events on the health of servers: how the client rates them, and which of them come back from a crash. They are few
/// among a run's events, and so are picked out once.
#[derive(Default)]
pub(super) struct HealthEvents(Vec<EventRow>);

impl HealthEvents {
    /// Adds an event, if it is on the health of a server.
    pub(super) fn note(&mut self, row: &EventRow) {
        if is_about_health(row) {
            self.0.push(row.clone());
        }
    }

    /// Returns the time in microseconds from the fault's start until the client first marks one of its targets unhealthy,
    /// ejects it, or opens a breaker to it, where the breaker of the service is one to all targets. It is 0 if the client
    /// rates one of the targets unhealthy already, and none if nothing happens within the fault's phase `span`.
    ///
    /// Behind the phase a mark does not count: the fault does not cause it. But a server that crashed and that nothing
    /// started again is still gone after the phase, which is over once the client copes without it: there, a mark counts
    /// until the run ends.
    pub(super) fn time_to_detect(&self, fault: &RecordedFault, span: Span, run_end_us: u64) -> Option<u64> {
        if fault.targets.iter().any(|target| self.is_unhealthy(target, fault.start_us)) {
            return Some(0);
        }
        let is_open_ended = span.end_us >= run_end_us || self.stays_gone(fault);
        let until_us = if is_open_ended { u64::MAX } else { span.end_us };
        let marks = self.0.iter().filter(|row| is_mark(row, &fault.targets));
        let first_us = marks.map(|row| row.at_us).filter(|at_us| (fault.start_us..until_us).contains(at_us)).min()?;
        Some(first_us - fault.start_us)
    }

    /// Returns whether the client rates `target` unhealthy at `at_us`. The events of one microsecond are not in order:
    /// `healthy` counts as the later one.
    fn is_unhealthy(&self, target: &str, at_us: u64) -> bool {
        let ratings = self.0.iter().filter(|row| matches!(row.event, Event::Unhealthy | Event::Healthy));
        let until = ratings.filter(|row| row.at_us <= at_us && row.target.as_deref() == Some(target));
        // `Healthy` is declared behind `Unhealthy`, and so is the greater.
        until.map(|row| (row.at_us, row.event)).max().is_some_and(|(_, rating)| rating == Event::Unhealthy)
    }

    /// Returns whether the fault is a crash from which one target never comes back.
    fn stays_gone(&self, fault: &RecordedFault) -> bool {
        fault.kind == "crash" && fault.targets.iter().any(|target| !self.comes_back(target, fault.start_us))
    }

    fn comes_back(&self, target: &str, since_us: u64) -> bool {
        self.0.iter().filter(|row| row.at_us >= since_us).any(|row| match row.event {
            Event::Listening => row.source == *target,
            Event::Restart => row.target.as_deref() == Some(target),
            _ => false,
        })
    }
}

fn is_about_health(row: &EventRow) -> bool {
    match row.event {
        // Detection is the client's: other sources, such as a foreign log's, have no part in it.
        Event::Unhealthy | Event::Healthy | Event::Ejected | Event::BreakerOpened => row.source == "client",
        Event::Listening | Event::Restart => true,
        _ => false,
    }
}

fn concerns(row: &EventRow, targets: &[String]) -> bool {
    row.target.as_ref().is_some_and(|target| targets.iter().any(|known| target == known))
}

/// Returns whether the client detects with this event that one of `targets` fails.
fn is_mark(row: &EventRow, targets: &[String]) -> bool {
    match row.event {
        Event::Unhealthy | Event::Ejected => concerns(row, targets),
        Event::BreakerOpened => row.target.is_none() || concerns(row, targets),
        _ => false,
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
}
