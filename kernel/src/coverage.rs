//! Coverage: which states of a scenario's policies and servers were ever reached, as in Antithesis's "sometimes" assertions.
//!
//! A sweep in which the breaker never opened says nothing about the breaker. So a sweep and a hunt list the states that the
//! scenario can reach, with the number of runs that reached each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    fault::FaultKind,
    policy::{ADAPTIVELY_THROTTLED, CONCURRENCY_LIMITED},
    record::{Event, EventRow, Rows},
    scenario::Scenario,
    status::Outcome,
};

macro_rules! states {
    ($($(#[doc = $doc:literal])* $state:ident = $name:literal, if $scenario:ident => $applies:expr;)+) => {
        /// A state that a run may reach.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum State {
            $( $(#[doc = $doc])* $state, )+
        }

        impl State {
            /// Every state, in the order of reports.
            pub const ALL: &[Self] = &[$( Self::$state, )+];

            /// Returns the name of the state, as reports show it.
            pub fn name(self) -> &'static str {
                match self {
                    $( Self::$state => $name, )+
                }
            }

            /// Returns whether a run of `scenario` can reach the state: whether the policy is on that has it.
            pub fn applies_to(self, scenario: &Scenario) -> bool {
                match self {
                    $( Self::$state => { let $scenario = scenario; $applies } )+
                }
            }
        }
    };
}

states! {
    /// A call waited for its next attempt.
    Retry = "retry", if scenario => scenario.client.retry.max_attempts > 1;
    /// An attempt went to another server than the one before it.
    Failover = "failover", if scenario => scenario.client.retry.max_attempts > 1 && scenario.servers.replicas > 1;
    /// A second attempt was sent before the first had ended.
    Hedge = "hedge", if scenario => scenario.client.policies.hedging.is_some();
    /// A retry or a hedge was not sent, because of throttling or a budget.
    RetryThrottled = "retry throttled", if scenario => {
        scenario.client.policies.retry_throttling.is_some() || scenario.client.policies.retry_budget.is_some()
    };
    /// A circuit breaker opened.
    BreakerOpen = "breaker open", if scenario => scenario.client.policies.circuit_breaker.is_some();
    /// A circuit breaker let a few calls pass.
    BreakerHalfOpen = "breaker half-open", if scenario => scenario.client.policies.circuit_breaker.is_some();
    /// A circuit breaker closed again.
    BreakerClosed = "breaker closed again", if scenario => scenario.client.policies.circuit_breaker.is_some();
    /// A call was rejected by the rate limit.
    RateLimited = "rate limited", if scenario => scenario.client.policies.rate_limit.is_some();
    /// A call was rejected by the bulkhead.
    BulkheadFull = "bulkhead full", if scenario => scenario.client.policies.bulkhead.is_some();
    /// A call was rejected by adaptive throttling.
    AdaptivelyThrottled = "adaptively throttled", if scenario => scenario.client.policies.adaptive_throttling.is_some();
    /// A call was rejected by an adaptive concurrency limit.
    ConcurrencyLimited = "concurrency limited", if scenario => scenario.client.policies.adaptive_concurrency.is_some();
    /// A server was ejected.
    Ejection = "ejection", if scenario => scenario.client.policies.outlier_detection.is_some();
    /// An ejected server got traffic again.
    EjectionEnd = "ejection over", if scenario => scenario.client.policies.outlier_detection.is_some();
    /// The traffic of a server that is back increased gradually.
    SlowStart = "slow start", if scenario => scenario.client.policies.slow_start.is_some();
    /// A call was answered from a fresh cache entry.
    CacheFresh = "cache hit", if scenario => scenario.client.policies.cache.is_some();
    /// A call was answered from a stale cache entry.
    CacheStale = "stale cache hit", if scenario => scenario.client.policies.cache.is_some();
    /// A call got a fallback.
    Fallback = "fallback", if scenario => scenario.client.policies.fallback.is_some();
    /// The queue of a server was full.
    QueueFull = "queue full", if _scenario => true;
    /// A server refused a request although its queue had room.
    LoadShed = "load shed", if scenario => {
        scenario.servers.admission.is_some() || scenario.servers.adaptive_queue.is_some()
    };
    /// A refusal said how long to wait.
    Pushback = "pushback", if scenario => has_pushback(scenario);
    /// A server dropped work unstarted.
    WorkSkipped = "work skipped", if _scenario => true;
    /// An attempt timed out.
    AttemptTimeout = "attempt timeout", if _scenario => true;
    /// A call reached its deadline.
    Deadline = "deadline exceeded", if _scenario => true;
    /// A connection was refused.
    ConnectionRefused = "connection refused", if scenario => can_crash(scenario);
    /// A connection broke.
    ConnectionReset = "connection reset", if scenario => can_crash(scenario);
    /// The client rated a server unhealthy.
    Unhealthy = "unhealthy", if _scenario => true;
    /// The client rated a server healthy again.
    HealthyAgain = "healthy again", if _scenario => true;
    /// A request was dropped, because too many were in flight.
    Dropped = "request dropped", if _scenario => true;
    /// A fault had no effect.
    NoEffect = "fault without effect", if scenario => !scenario.faults.is_empty() || scenario.nemesis.is_some();
}

fn has_pushback(scenario: &Scenario) -> bool {
    scenario.servers.admission.as_ref().is_some_and(|admission| admission.retry_pushback.is_some())
}

/// Returns whether a fault of the scenario ends connections.
fn can_crash(scenario: &Scenario) -> bool {
    let ends_connections =
        |kind: &FaultKind| matches!(kind, FaultKind::Crash { .. } | FaultKind::Drain { .. } | FaultKind::Reset { .. });
    scenario.nemesis.is_some() || scenario.faults.iter().any(|fault| ends_connections(&fault.kind))
}

impl State {
    /// Returns the states that an event shows in a run of `scenario`.
    fn shown_by(row: &EventRow, scenario: &Scenario) -> Option<Self> {
        let cause = row.cause.as_deref().unwrap_or_default();
        match row.event {
            Event::Backoff => Some(Self::Retry),
            Event::Failover => Some(Self::Failover),
            Event::Hedge => Some(Self::Hedge),
            Event::Throttled => Some(Self::RetryThrottled),
            Event::BreakerOpened => Some(Self::BreakerOpen),
            Event::BreakerHalfOpened => Some(Self::BreakerHalfOpen),
            Event::BreakerClosed => Some(Self::BreakerClosed),
            Event::Rejected if cause == "rate limited" => Some(Self::RateLimited),
            Event::Rejected if cause == "bulkhead full" => Some(Self::BulkheadFull),
            Event::Rejected if cause == ADAPTIVELY_THROTTLED => Some(Self::AdaptivelyThrottled),
            Event::Rejected if cause == CONCURRENCY_LIMITED => Some(Self::ConcurrencyLimited),
            Event::Ejected => Some(Self::Ejection),
            Event::Unejected => Some(Self::EjectionEnd),
            Event::SlowStart => Some(Self::SlowStart),
            Event::CacheHit if cause == "stale" => Some(Self::CacheStale),
            Event::CacheHit => Some(Self::CacheFresh),
            Event::Fallback => Some(Self::Fallback),
            Event::Refused if cause.contains("queue of") => Some(Self::QueueFull),
            Event::Refused if Self::LoadShed.applies_to(scenario) => Some(Self::LoadShed),
            Event::Skipped => Some(Self::WorkSkipped),
            Event::AttemptFailed => match cause {
                "attempt timeout" => Some(Self::AttemptTimeout),
                "call deadline" => Some(Self::Deadline),
                "connection refused" => Some(Self::ConnectionRefused),
                "connection reset" | "connection closed" => Some(Self::ConnectionReset),
                _ => None,
            },
            Event::Unhealthy => Some(Self::Unhealthy),
            Event::Healthy => Some(Self::HealthyAgain),
            Event::NoEffect => Some(Self::NoEffect),
            _ => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The states that a run reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Coverage(BTreeSet<State>);

impl Coverage {
    /// Returns the states that a run of `scenario` with these rows reached, in one pass over its requests and one over its
    /// events.
    pub fn of_run(scenario: &Scenario, rows: &dyn Rows) -> Self {
        let mut reached = BTreeSet::new();
        for row in rows.events() {
            let state = State::shown_by(&row, scenario);
            reached.extend(state);
            // Every refusal of a server with this setting carries it.
            if matches!(state, Some(State::QueueFull | State::LoadShed)) && has_pushback(scenario) {
                reached.insert(State::Pushback);
            }
        }
        if rows.requests().any(|row| row.status == Outcome::Dropped) {
            reached.insert(State::Dropped);
        }
        Self(reached)
    }

    /// Returns whether the state was reached.
    pub fn has(&self, state: State) -> bool {
        self.0.contains(&state)
    }
}

/// The number of runs that reached each state.
///
/// ```
/// use kernel::{coverage::{Coverage, CoverageTally}, scenario::Scenario};
///
/// let scenario = Scenario::load("../scenarios/breaker.toml".as_ref(), &[])?;
/// let mut tally = CoverageTally::default();
/// tally.add(&scenario, &Coverage::default());
/// assert!(tally.text().contains("breaker half-open"));
/// # Ok::<(), kernel::scenario::ScenarioError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CoverageTally {
    /// Number of runs.
    pub runs: u64,
    /// The states that the scenarios can reach, or that were reached, each with the number of runs; 0 for one that none reached.
    pub states: BTreeMap<State, u64>,
}

impl CoverageTally {
    /// Adds a run of `scenario` with this coverage.
    pub fn add(&mut self, scenario: &Scenario, coverage: &Coverage) {
        self.runs += 1;
        for state in State::ALL.iter().filter(|state| coverage.has(**state) || state.applies_to(scenario)) {
            *self.states.entry(*state).or_default() += u64::from(coverage.has(*state));
        }
    }

    /// Returns lines of at most 100 columns: the states that were reached, each with its number of runs, and those that never
    /// were. They are empty if there is no run.
    pub fn text(&self) -> String {
        if self.runs == 0 {
            return String::new();
        }
        let reached = self.states.iter().filter(|(_, runs)| **runs > 0);
        let reached: Vec<String> = reached.map(|(state, runs)| format!("{state} {runs}")).collect();
        let never = self.states.iter().filter(|(_, runs)| **runs == 0);
        let never: Vec<String> = never.map(|(state, _)| state.to_string()).collect();
        list("  states reached, by runs: ", &reached) + &list("  states never reached: ", &never)
    }
}

/// Returns a list as lines of at most 100 columns; nothing if it is empty.
fn list(head: &str, items: &[String]) -> String {
    let mut text = String::new();
    let mut line = head.to_owned();
    for (index, item) in items.iter().enumerate() {
        let end = if index + 1 < items.len() { ", " } else { "" };
        if line.len() + item.len() + end.len() > 100 {
            text += line.trim_end();
            text += "\n";
            line = "    ".to_owned();
        }
        line += item;
        line += end;
    }
    if items.is_empty() { text } else { text + line.trim_end() + "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Name, Records};

    fn scenario(text: &str) -> Scenario {
        let text = format!("name = \"x\"\nduration = \"1s\"\n[load]\nrate = 1\n{text}");
        Scenario::parse("x.toml", &text, &[]).expect("a valid scenario")
    }

    fn event(event: Event, cause: &str) -> EventRow {
        EventRow {
            at_us: 0,
            source: Name::from("client"),
            event,
            target: None,
            cause: Some(cause.to_owned()),
            fault: None,
            request: None,
            attempt: None,
            duration_us: None,
        }
    }

    fn coverage(scenario: &Scenario, events: Vec<EventRow>) -> Coverage {
        Coverage::of_run(scenario, &Records { events, ..Records::default() })
    }

    #[test]
    fn only_states_of_policies_that_are_on_can_be_missing() {
        let plain = scenario("");
        let breaker = scenario("[client.circuit_breaker]\n");
        assert!(!State::BreakerHalfOpen.applies_to(&plain) && State::BreakerHalfOpen.applies_to(&breaker));
        let mut tally = CoverageTally::default();
        tally.add(&breaker, &coverage(&breaker, vec![event(Event::BreakerOpened, "5 failures in a row")]));
        tally.add(&breaker, &Coverage::default());
        assert_eq!((tally.states[&State::BreakerOpen], tally.states[&State::BreakerHalfOpen]), (1, 0));
        assert!(!tally.states.contains_key(&State::Hedge));
        assert!(tally.text().starts_with("  states reached, by runs: breaker open 1\n  states never reached: "));
    }

    #[test]
    fn a_refusal_is_a_full_queue_or_shed_load_and_a_pushback_if_it_says_how_long_to_wait() {
        let shedding = scenario("[servers.admission]\nmax_queue_time = \"1s\"\nretry_pushback = \"1s\"\n");
        let full = || vec![event(Event::Refused, "all workers are busy and the queue of 64 is full")];
        let shed = vec![event(Event::Refused, "the request waited for a worker too long")];
        let reached = coverage(&shedding, full());
        assert!(reached.has(State::QueueFull) && reached.has(State::Pushback) && !reached.has(State::LoadShed));
        assert!(coverage(&shedding, shed).has(State::LoadShed));
        assert!(!coverage(&scenario(""), full()).has(State::Pushback));
    }

    #[test]
    fn a_long_list_is_broken_at_100_columns() {
        let items: Vec<String> = (0..40).map(|index| format!("state {index}")).collect();
        let text = list("  never: ", &items);
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.len() <= 100 && !line.ends_with(' ')));
        assert!(text.contains("state 0,") && text.ends_with("state 39\n"));
        assert_eq!(list("  never: ", &[]), "");
    }
}
