//! The circuit breaker: stops the calls to a service that keeps failing, and tries again after a while.
//!
//! ```text
//! CLOSED ──(any of the conditions below)──> OPEN ──(reset_timeout)──> HALF_OPEN ──(its calls succeeded)─> CLOSED
//!                                            ^                            │
//!                                            └────────(they did not)──────┘
//! ```
//!
//! * CLOSED admits all calls and counts them. It opens after `consecutive_failures` in a row (pybreaker's `fail_max`); or when,
//!   of the last `sliding_window_size` calls, or of the calls of the last `sliding_window_duration`, and with at least
//!   `minimum_number_of_calls` of them, `failure_rate_threshold` percent or more failed, or `slow_call_rate_threshold` percent or
//!   more took longer than `slow_call_duration_threshold` (Resilience4j). The conditions are those whose keys the table has, and
//!   the first one alone if it has none.
//! * OPEN admits no call. A call that is rejected fails with UNAVAILABLE at once, and is not retried.
//! * HALF_OPEN admits `permitted_calls_in_half_open` calls. With a threshold for a rate the first `minimum_number_of_calls` of
//!   them decide, or all of them if they are fewer (Resilience4j); without, one failure is enough, and all have to succeed. It
//!   begins with the first call after the timeout, and ends in OPEN if nothing is decided within
//!   `max_wait_duration_in_half_open`.
//!
//! A call with one of `ignored_status_codes` counts neither as a failure nor as a success, even if `failure_status_codes` has the
//! code, too (Resilience4j's `ignoreExceptions`).
//!
//! A call that began in one state does not count in another, unlike in Resilience4j, where it counts in the state in which it ends:
//! a late failure from before the breaker opened says nothing about the server that is probed. With the scope `server` each server
//! has a breaker, and an open one removes its server from the balancer's candidates; a call is rejected only if no server is left.
//!
//! If the settings change, the breaker stays in its state, with what it has counted. One that is OPEN stays so for as long as it said when
//! it opened, and one that is HALF_OPEN is decided by as many calls as the settings had when it became so.

mod breaker;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Admission, AttemptEnd, Ending, Policy, PolicyConfig, PolicyContext, Rejection, Servers, about};
use crate::{
    client::settings::Client,
    planted::planted,
    record::{Event, Recorder},
    settings::{
        limits,
        named::named,
        problem::Problem,
        samples,
        table::TableReader,
        table_macro::{NOT_DRAWN, table},
    },
    status::Code,
    sync::lock,
    time::Instant,
    world::SharedWorld,
};
use breaker::{Breaker, Transition};

table! {
    /// `[client.circuit_breaker]`: pybreaker's and Resilience4j's circuit breaker.
    CircuitBreaker {
        /// Each server has a breaker, or the service as a whole has one.
        scope: Scope = Scope::Service, (), &["\"server\"", "\"service\""];
        /// Failures in a row that open the breaker; 5 if no rate is given.
        consecutive_failures: Option<usize> = None, limits::COUNT_SOME, &["1", "2", "5"];
        /// Percent of failures in the window that opens the breaker.
        failure_rate_threshold: Option<f64> = None, limits::PERCENT_SOME, samples::SOME_PERCENTS;
        /// Number of calls that the rates are computed of.
        sliding_window_size: usize = 100, limits::WINDOW, &["10", "50"];
        /// Number of calls before a rate has a meaning; at most the window's size, which it follows unless given.
        minimum_number_of_calls: usize = 100, limits::WINDOW, &["1", "5", "10"];
        /// Duration from which on a call is slow, whatever its status.
        slow_call_duration_threshold: Option<Duration> = None, limits::DURATION, samples::TIMES;
        /// Percent of slow calls in the window that opens the breaker; 100 if only the duration is given.
        slow_call_rate_threshold: Option<f64> = None, limits::PERCENT_SOME, NOT_DRAWN;
        /// Time in the state OPEN.
        reset_timeout: Duration = Duration::from_secs(30), limits::DURATION, samples::TIMES;
        /// Calls that decide what follows HALF_OPEN.
        permitted_calls_in_half_open: usize = 10, limits::COUNT_SOME, &["1", "2", "10"];
        /// Statuses that are failures; anything else counts as a success.
        failure_status_codes: Vec<Code> = vec![Code::Unavailable, Code::DeadlineExceeded, Code::Internal],
            "to have no breaker, leave the table out", samples::CODES;
        /// Time whose calls the rates are computed of, in whole seconds if it is longer than one; in place of a number of calls.
        sliding_window_duration: Option<Duration> = None, limits::BREAKER_WINDOW,
            &["\"200ms\"", "\"5s\""];
        /// Time in the state HALF_OPEN after which the breaker opens again; without it, it waits for its calls.
        max_wait_duration_in_half_open: Option<Duration> = None, limits::DURATION, &["\"50ms\"", "\"1s\""];
        /// Statuses that count neither as failures nor as successes.
        ignored_status_codes: Option<Vec<Code>> = None, "to ignore nothing, leave the key out",
            &["[\"RESOURCE_EXHAUSTED\"]", "[\"DEADLINE_EXCEEDED\"]"];
    }
    draw = &[
        &["scope", "consecutive_failures", "reset_timeout", "permitted_calls_in_half_open", "failure_status_codes"],
        &[
            "scope",
            "failure_rate_threshold",
            "sliding_window_size",
            "minimum_number_of_calls",
            "slow_call_duration_threshold",
            "reset_timeout",
            "permitted_calls_in_half_open",
        ],
    ];
    settle = settle;
}

fn settle(breaker: CircuitBreaker, table: &TableReader<'_, '_>) -> Result<CircuitBreaker, Problem> {
    if let (Some(span), None) = (table.span("slow_call_rate_threshold"), table.span("slow_call_duration_threshold")) {
        let message = "`slow_call_rate_threshold` needs `slow_call_duration_threshold` to say which calls are slow";
        return Err(Problem::at(span, message).help("write, for example: slow_call_duration_threshold = \"2s\""));
    }
    let minimum = minimum_number_of_calls(&breaker, table)?;
    let by_rate = breaker.failure_rate_threshold.is_some() || breaker.slow_call_duration_threshold.is_some();
    Ok(CircuitBreaker {
        minimum_number_of_calls: minimum,
        consecutive_failures: breaker.consecutive_failures.or((!by_rate).then_some(5)),
        slow_call_rate_threshold: breaker
            .slow_call_rate_threshold
            .or(breaker.slow_call_duration_threshold.map(|_| 100.0)),
        ..breaker
    })
}

/// Returns the minimum number of calls, after a check against the window.
fn minimum_number_of_calls(breaker: &CircuitBreaker, table: &TableReader<'_, '_>) -> Result<usize, Problem> {
    let CircuitBreaker { sliding_window_size: window, minimum_number_of_calls: minimum, .. } = *breaker;
    if breaker.sliding_window_duration.is_none() {
        // Whichever of the two is left out follows the other.
        let is_given = table.span("minimum_number_of_calls").is_some();
        let minimum = if is_given { minimum } else { minimum.min(window) };
        table.ordered(("minimum_number_of_calls", minimum), ("sliding_window_size", window))?;
        return Ok(minimum);
    }
    // The default is in every resolved scenario.
    match table.span("sliding_window_size").filter(|_| window != CircuitBreaker::default().sliding_window_size) {
        None => Ok(minimum),
        Some(span) => {
            let message = "`sliding_window_size` and `sliding_window_duration` exclude each other";
            Err(Problem::at(span, message).help("a window is of calls or of time: leave one of them out"))
        }
    }
}

/// The scope of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Each server has a breaker of its own.
    Server,
    /// The service has one breaker for all servers.
    Service,
}

named!(Scope, "a scope of a circuit breaker");

/// The rejection of a call by an open breaker.
pub(crate) const CIRCUIT_OPEN: Rejection = Rejection { code: Code::Unavailable, cause: "circuit breaker open" };

impl PolicyConfig for CircuitBreaker {
    type Policy = Arc<Breakers>;

    fn build(&self, context: &PolicyContext<'_>) -> Option<Arc<Breakers>> {
        let count = if self.scope == Scope::Server { context.servers.len() } else { 1 };
        let breakers = (0..count).map(|_| Breaker::new(self.clone())).collect();
        let group = Mutex::new(Group { breakers, not_closed: Servers::NONE });
        Some(Arc::new(Breakers {
            scope: self.scope,
            max_half_open: self.max_wait_duration_in_half_open,
            world: context.world.clone(),
            recorder: context.recorder.clone(),
            servers: context.servers.clone(),
            group,
        }))
    }

    fn change(&self, policy: &Arc<Breakers>, _: &Client, _: Instant) {
        lock(&policy.group).breakers.iter_mut().for_each(|breaker| breaker.change(self.clone()));
    }
}

/// The breakers of a client. The client and the tasks that end HALF_OPEN in time share them.
pub(crate) struct Breakers {
    scope: Scope,
    max_half_open: Option<Duration>,
    world: SharedWorld,
    recorder: Recorder,
    servers: Arc<[String]>,
    group: Mutex<Group>,
}

/// The breakers by server, or that of the service as the only one.
struct Group {
    breakers: Vec<Breaker>,
    /// The breakers that are not closed. The others need no look for an attempt, and most are closed most of the time.
    not_closed: Servers,
}

impl Group {
    fn admit(&mut self, server: usize, now: Instant) -> (bool, Option<Transition>) {
        if !self.not_closed.contains(server) {
            return (true, None);
        }
        self.breakers[server].admit(now)
    }

    fn end(&mut self, server: usize, began: Instant, end: &AttemptEnd) -> Option<Transition> {
        let breaker = &mut self.breakers[server];
        let transition = match end.ending {
            Ending::Status(code, _) => breaker.record(began, end.now, code, end.took),
            // An abandoned call says nothing about the service.
            Ending::Abandoned => {
                breaker.withdraw(began);
                None
            }
        };
        if transition.is_some() {
            self.not_closed.set(server, !breaker.is_closed());
        }
        transition
    }
}

impl Breakers {
    fn admit_at(self: &Arc<Self>, server: usize, now: Instant) -> bool {
        let mut group = lock(&self.group);
        let (admitted, transition) = group.admit(server, now);
        if let (Some(Transition::HalfOpened), Some(longest)) = (&transition, self.max_half_open) {
            self.end_half_open(server, group.breakers[server].half_opened(), now + longest);
        }
        self.record(server, transition);
        admitted
    }

    /// Starts a task that opens a breaker again, `at` this time, if it is still half open for the `half_opened`th time then.
    #[cold]
    fn end_half_open(self: &Arc<Self>, server: usize, half_opened: u64, at: Instant) {
        let breakers = self.clone();
        self.world.spawn(Box::pin(async move {
            breakers.world.sleep_until(at).await;
            let mut group = lock(&breakers.group);
            // It stays in `not_closed`.
            let transition = group.breakers[server].expire(half_opened, breakers.world.now());
            breakers.record(server, transition);
        }));
    }

    /// Records a transition, if there is one. The group is locked meanwhile, so that the record has them in their order.
    fn record(&self, server: usize, transition: Option<Transition>) {
        if let Some(transition) = transition {
            self.record_transition(server, transition);
        }
    }

    // Out of line, so that the usual path of an attempt stays short.
    #[cold]
    fn record_transition(&self, server: usize, transition: Transition) {
        let name = (self.scope == Scope::Server).then(|| &*self.servers[server]);
        match transition {
            Transition::Opened { cause, reset_timeout } => {
                about(&self.recorder, Event::BreakerOpened, name).cause(cause).duration(reset_timeout).record();
            }
            Transition::HalfOpened => about(&self.recorder, Event::BreakerHalfOpened, name).record(),
            Transition::Closed => about(&self.recorder, Event::BreakerClosed, name).record(),
        }
    }
}

impl Policy for Arc<Breakers> {
    fn admit(&self, now: Instant, _: Instant) -> Admission<'_> {
        if self.scope == Scope::Server || self.admit_at(0, now) {
            return Admission::Granted;
        }
        Admission::Rejected(CIRCUIT_OPEN)
    }

    fn blocked(&self, now: Instant) -> Servers {
        if self.scope == Scope::Service || planted!(Bug::LeakyBreaker) {
            return Servers::NONE;
        }
        let group = lock(&self.group);
        group.not_closed.iter().filter(|server| !group.breakers[*server].would_admit(now)).collect()
    }

    fn on_pick(&self, server: usize, now: Instant) {
        if self.scope == Scope::Server {
            // The breaker admits it, as a server whose breaker blocks is not picked.
            self.admit_at(server, now);
        }
    }

    fn on_attempt_end(&self, end: &AttemptEnd) {
        // For a breaker of a server the attempt began when it was sent, which is when the breaker has admitted it.
        let (breaker, began) = match (self.scope, end.server) {
            (Scope::Service, _) => (0, end.entered),
            (Scope::Server, Some(server)) => (server, end.sent()),
            // It was rejected before it had a server.
            (Scope::Server, None) => return,
        };
        let mut group = lock(&self.group);
        let transition = group.end(breaker, began, end);
        self.record(breaker, transition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the table from the text of its keys.
    fn read(keys: &str) -> Result<CircuitBreaker, String> {
        let text = format!("name = \"x\"\nduration = \"1s\"\n[load]\nrate = 1\n[client.circuit_breaker]\n{keys}\n");
        let read = crate::scenario::Scenario::parse("x.toml", &text, &[]);
        read.map(|scenario| scenario.client.policies.circuit_breaker.expect("the table is there"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_conditions_are_those_that_the_table_has_and_five_failures_in_a_row_without_one() {
        let conditions = |keys| {
            let read = read(keys).unwrap();
            (read.consecutive_failures, read.failure_rate_threshold, read.slow_call_rate_threshold)
        };
        assert_eq!(conditions(""), (Some(5), None, None));
        assert_eq!(conditions("consecutive_failures = 2"), (Some(2), None, None));
        assert_eq!(conditions("failure_rate_threshold = 50.0"), (None, Some(50.0), None));
        assert_eq!(conditions("slow_call_duration_threshold = \"1s\""), (None, None, Some(100.0)));
        let both = "slow_call_duration_threshold = \"1s\"\nslow_call_rate_threshold = 30.0\nconsecutive_failures = 3";
        assert_eq!(conditions(both), (Some(3), None, Some(30.0)));
        assert!(read("slow_call_rate_threshold = 30.0").unwrap_err().contains("slow_call_duration_threshold"));
    }

    #[test]
    fn the_minimum_of_calls_follows_the_window_unless_it_is_given() {
        let minimum = |keys| read(keys).map(|read| read.minimum_number_of_calls);
        assert_eq!(minimum("sliding_window_size = 10"), Ok(10));
        assert_eq!(minimum("sliding_window_size = 200"), Ok(100));
        assert_eq!(minimum("sliding_window_size = 10\nminimum_number_of_calls = 10"), Ok(10));
        assert!(minimum("sliding_window_size = 10\nminimum_number_of_calls = 11").is_err());
    }

    #[test]
    fn a_window_is_of_calls_or_of_time() {
        let by_time =
            read("failure_rate_threshold = 50.0\nsliding_window_duration = \"10s\"\nminimum_number_of_calls = 500");
        assert_eq!(by_time.map(|breaker| breaker.minimum_number_of_calls), Ok(500));
        let both = read("sliding_window_duration = \"10s\"\nsliding_window_size = 10").unwrap_err();
        assert!(both.contains("`sliding_window_size` and `sliding_window_duration` exclude each other"), "{both}");
    }
}
