//! The states that a scenario's policies and servers can reach, and the events that show them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    fault::FaultKind,
    measure::us,
    policy::{ADAPTIVELY_THROTTLED, CONCURRENCY_LIMITED},
    record::{Event, EventRow},
    scenario::Scenario,
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
    /// All servers were ejected at once.
    AllEjected = "all ejected", if scenario => scenario.client.policies.outlier_detection.is_some();
    /// An ejected server got traffic again.
    EjectionEnd = "ejection over", if scenario => scenario.client.policies.outlier_detection.is_some();
    /// The traffic of a server that is back increased gradually.
    SlowStart = "slow start", if scenario => scenario.client.policies.slow_start.is_some();
    /// A call was answered from a fresh cache entry.
    CacheFresh = "cache hit", if scenario => scenario.client.policies.cache.is_some();
    /// A call was answered from a stale cache entry.
    CacheStale = "stale cache hit", if scenario => scenario.client.policies.cache.is_some();
    /// Several calls asked the servers for the same thing at once, although there is a cache.
    CacheStampede = "cache stampede", if scenario => scenario.client.policies.cache.is_some();
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
    /// A call waited for as long as a refusal said.
    PushbackObeyed = "pushback obeyed", if scenario => has_pushback(scenario) && scenario.client.retry.max_attempts > 1;
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
    pub(super) fn shown_by(row: &EventRow, scenario: &Scenario) -> Option<Self> {
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

/// Finds the states that the events of a run show, in the order of the events.
pub(super) struct Shown<'a> {
    scenario: &'a Scenario,
    /// The wait that refusals ask for, in microseconds.
    pushback_us: Option<u64>,
    /// Number of servers that are ejected.
    ejected: usize,
}

impl<'a> Shown<'a> {
    pub(super) fn new(scenario: &'a Scenario) -> Self {
        let pushback = scenario.servers.admission.as_ref().and_then(|admission| admission.retry_pushback);
        Self { scenario, pushback_us: pushback.map(us), ejected: 0 }
    }

    /// Returns the states that the next event shows.
    pub(super) fn by(&mut self, row: &EventRow) -> impl Iterator<Item = State> + use<> {
        let state = State::shown_by(row, self.scenario);
        let shows_more = match state {
            // Every refusal of a server with this setting carries it.
            Some(State::QueueFull | State::LoadShed) => self.pushback_us.is_some(),
            Some(State::Retry) => row.duration_us.is_some() && row.duration_us == self.pushback_us,
            Some(State::Ejection) => {
                self.ejected += 1;
                self.ejected == self.scenario.servers.replicas
            }
            Some(State::EjectionEnd) => {
                self.ejected = self.ejected.saturating_sub(1);
                false
            }
            _ => false,
        };
        let more = state.filter(|_| shows_more).map(more_than);
        state.into_iter().chain(more)
    }
}

/// Returns the state that an event may show besides this one.
fn more_than(state: State) -> State {
    match state {
        State::Retry => State::PushbackObeyed,
        State::Ejection => State::AllEjected,
        _ => State::Pushback,
    }
}
