//! Checks that circuit breakers make only valid state transitions, and that nothing is sent past them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Attempts, Evidence, Findings, InForce, Invariant, ROUNDING_US, is_given_up, us, waits};
use crate::{
    policy::{CircuitBreaker, Scope},
    record::{Event, EventRow, Name},
};

/// The state of a circuit breaker.
#[derive(Debug, Default)]
enum BreakerState {
    #[default]
    Closed,
    /// The breaker has been open since this time, for this long.
    Open(u64, u64),
    /// The breaker is half open for so many calls; these attempts were let pass and not given up.
    HalfOpen(usize, BTreeSet<(u64, u32)>),
}

pub(super) fn check(evidence: &Evidence<'_>, (attempts, in_force): (&Attempts, &InForce), findings: &mut Findings) {
    let policies = &evidence.scenario.client.policies;
    // The order of events is what is checked: only virtual time orders those of several tasks as they happened.
    let Some(settings) = policies.circuit_breaker.as_ref().filter(|_| evidence.is_virtual()) else { return };
    // An attempt that has passed the breaker of the service and then waits, for a rate limit or a bulkhead, is sent
    // whatever happens to the breaker meanwhile; when it passed is not recorded. The breaker of a server is asked when
    // the attempt is sent.
    let is_asked_when_sent = settings.scope == Scope::Server || !waits(policies);
    // `None` is the breaker of the service.
    let mut states: BTreeMap<Option<Name>, BreakerState> = BTreeMap::new();
    for row in evidence.rows.events() {
        let target = || row.target.clone().filter(|_| settings.scope == Scope::Server);
        match row.event {
            Event::BreakerOpened | Event::BreakerHalfOpened | Event::BreakerClosed => {
                let state = states.entry(row.target.clone()).or_default();
                if let Some(what) = state.follow(&row, in_force) {
                    findings.add(Invariant::ValidStateTransitions, None, row.at_us, what);
                }
            }
            Event::Pick if is_asked_when_sent => {
                let state = states.entry(target()).or_default();
                if let Some(what) = state.pass(&row) {
                    findings.add(Invariant::WithinLimits, row.request, row.at_us, what);
                }
            }
            // The breaker has the probe back before the attempt is sent again, which may be to another server.
            Event::TransparentRetry => {
                if let Some(BreakerState::HalfOpen(_, probes)) = states.get_mut(&target()) {
                    probes.remove(&attempt_key(&row));
                }
            }
            // A probe that is given up, or whose status says nothing, makes room for another.
            Event::AttemptFailed if is_given_up(row.cause.as_deref()) || is_ignored(&row, settings, attempts) => {
                if let Some(BreakerState::HalfOpen(_, probes)) = states.get_mut(&target()) {
                    probes.remove(&attempt_key(&row));
                }
            }
            _ => {}
        }
    }
}

/// Returns whether the failed attempt of `row` has a status that the breakers ignore.
fn is_ignored(row: &EventRow, settings: &CircuitBreaker, attempts: &Attempts) -> bool {
    settings.ignored_status_codes.as_ref().is_some_and(|ignored| {
        let attempt = attempts.find(row.request.unwrap_or_default(), row.attempt.unwrap_or_default());
        attempt.is_some_and(|attempt| ignored.contains(&attempt.status))
    })
}

fn attempt_key(row: &EventRow) -> (u64, u32) {
    (row.request.unwrap_or_default(), row.attempt.unwrap_or_default())
}

impl BreakerState {
    /// Changes to the state that `row` records, and returns what is wrong with that.
    fn follow(&mut self, row: &EventRow, in_force: &InForce) -> Option<String> {
        let now =
            || in_force.during(row.at_us, row.at_us).filter_map(|then| then.client.policies.circuit_breaker.as_ref());
        let resets_us: Vec<u64> = now().map(|settings| us(settings.reset_timeout)).collect();
        let reset_us = row.duration_us.unwrap_or_else(|| resets_us.last().copied().unwrap_or_default());
        let permitted = now().map(|settings| settings.permitted_calls_in_half_open).max().unwrap_or_default();
        let half_open = || Self::HalfOpen(permitted, BTreeSet::new());
        let (next, wrong) = match (row.event, &*self) {
            (Event::BreakerOpened, Self::Closed | Self::HalfOpen(..)) => {
                let other = Some(reset_us).filter(|reset_us| !resets_us.contains(reset_us));
                let wrong =
                    other.map(|us| format!("it opens for {us} µs instead of {} µs", resets_us.last().unwrap_or(&0)));
                (Self::Open(row.at_us, reset_us), wrong)
            }
            (Event::BreakerHalfOpened, Self::Open(since_us, reset_us)) => {
                let is_early = row.at_us + ROUNDING_US < since_us.saturating_add(*reset_us);
                let wrong =
                    is_early.then(|| format!("it opened at {since_us} µs, for {reset_us} µs, and is half open"));
                (half_open(), wrong)
            }
            (Event::BreakerClosed, Self::HalfOpen(..)) => (Self::Closed, None),
            (event, state) => {
                let next = match event {
                    Event::BreakerOpened => Self::Open(row.at_us, reset_us),
                    Event::BreakerHalfOpened => half_open(),
                    _ => Self::Closed,
                };
                (next, Some(format!("a breaker that is {} says `{}`", state.name(), <&str>::from(event))))
            }
        };
        *self = next;
        wrong
    }

    /// Counts the attempt of `row`, and returns why it should not have passed.
    fn pass(&mut self, row: &EventRow) -> Option<String> {
        let attempt = row.attempt.unwrap_or_default();
        match self {
            Self::Closed => None,
            Self::Open(..) => Some(format!("attempt {attempt} is sent through an open breaker")),
            Self::HalfOpen(permitted, probes) => {
                probes.insert(attempt_key(row));
                let is_too_many = probes.len() > *permitted;
                is_too_many
                    .then(|| format!("attempt {attempt} is sent through a half-open breaker that permits {permitted}"))
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open(..) => "open",
            Self::HalfOpen(..) => "half open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record::Records, scenario::Scenario};

    const RESET_US: u64 = 1_000_000;

    /// An event of the first attempt of `request` at `server-0`, whose breaker has been half open since `RESET_US`.
    fn event(event: Event, request: Option<u64>) -> EventRow {
        let at_us = if event == Event::BreakerOpened { 0 } else { RESET_US };
        let attempt = request.map(|_| 1);
        let target = Some(Name::from("server-0"));
        let source = Name::from("client");
        EventRow {
            at_us,
            source,
            event,
            target,
            cause: None,
            fault: None,
            request,
            call: None,
            attempt,
            duration_us: None,
        }
    }

    /// Returns what is wrong with these events of a breaker that permits one call.
    fn wrong(events: Vec<EventRow>) -> Vec<String> {
        let text = "name = \"x\"\nduration = \"5s\"\n[load]\nrate = 1\n[client.circuit_breaker]\nscope = \"server\"\n\
                    reset_timeout = \"1s\"\npermitted_calls_in_half_open = 1\n";
        let scenario = Scenario::parse("x.toml", text, &[]).expect("it is valid");
        let records = Records { events, ..Records::default() };
        let evidence = Evidence {
            scenario: &scenario,
            seed: 1,
            branches: &[],
            duration: scenario.duration,
            late: Some(std::time::Duration::ZERO),
            rows: &records,
        };
        let mut findings = Findings { is_virtual: true, violations: Vec::new() };
        check(&evidence, (&Attempts::collect(&records), &InForce::collect(&evidence)), &mut findings);
        findings.violations.into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn a_probe_that_is_sent_again_makes_room_for_another() {
        let opened = [event(Event::BreakerOpened, None), event(Event::BreakerHalfOpened, None)];
        let one = event(Event::Pick, Some(1));
        let again = event(Event::TransparentRetry, Some(1));
        let elsewhere = EventRow { target: Some(Name::from("server-1")), ..one.clone() };
        let other = event(Event::Pick, Some(2));
        let with = |events: &[EventRow]| wrong([&opened, events].concat());
        assert_eq!(with(&[one.clone(), again.clone(), elsewhere.clone(), other.clone()]), [""; 0]);
        assert_eq!(with(&[one.clone(), again.clone(), one.clone()]), [""; 0]);
        let too_many = "attempt 1 is sent through a half-open breaker that permits 1";
        assert_eq!(with(&[one.clone(), elsewhere, other.clone()]), [too_many]);
        assert_eq!(with(&[one.clone(), again, one, other]), [too_many], "the second time it is a probe again");
    }
}
