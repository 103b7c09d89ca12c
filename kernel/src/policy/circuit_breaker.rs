//! The circuit breaker: stops asking what keeps failing, and tries again after a while.
//!
//! ```text
//! CLOSED ──(any of the conditions below)──> OPEN ──(reset_timeout)──> HALF_OPEN ──(its calls did well)──> CLOSED
//!                                            ^                            │
//!                                            └────────(they did not)──────┘
//! ```
//!
//! * CLOSED lets all pass and counts. It opens at `consecutive_failures` in a row (pybreaker's `fail_max`); or when, of the
//!   last `sliding_window_size` calls and with at least `minimum_number_of_calls` of them, `failure_rate_threshold` percent
//!   or more failed, or `slow_call_rate_threshold` percent or more took longer than `slow_call_duration_threshold`
//!   (Resilience4j). Whichever conditions the table has; the first one alone if it has none.
//! * OPEN lets nothing pass. A call that needs it is told UNAVAILABLE at once, and is not retried.
//! * HALF_OPEN lets `permitted_calls_in_half_open` pass. With a rate to judge by it waits for all of them; without, one
//!   failure is enough. It begins with the first call after the timeout.
//!
//! What was begun in one state does not count in another. With the scope `server` each server has a breaker, and one that is
//! open takes it out of the balancer's sight; a call is turned down only if no server is left.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Admission, AttemptEnd, Ending, Policy, PolicyConfig, PolicyContext, Rejection, Servers, about};
use crate::{
    record::{Event, Recorder},
    scenario::keys::{KeyTable, Named, Problem, limits, ordered, table},
    status::Code,
    time::Instant,
};

table! {
    /// `[client.circuit_breaker]`: pybreaker's and Resilience4j's.
    CircuitBreaker {
        /// Whether each server has one or the service as a whole.
        scope: Scope = Scope::Service, ();
        /// In a row.
        consecutive_failures: Option<usize> = None, limits::COUNT_SOME;
        /// Percent of the window.
        failure_rate_threshold: Option<f64> = None, limits::PERCENT_SOME;
        /// Calls that the rates are of.
        sliding_window_size: usize = 100, limits::WINDOW;
        /// Before a rate means something.
        minimum_number_of_calls: usize = 100, limits::WINDOW;
        /// From here on a call is slow, whatever it comes to.
        slow_call_duration_threshold: Option<Duration> = None, limits::DURATION;
        /// Percent of the window; 100 if only the duration is given.
        slow_call_rate_threshold: Option<f64> = None, limits::PERCENT_SOME;
        /// In the state OPEN.
        reset_timeout: Duration = Duration::from_secs(30), limits::DURATION;
        /// Calls that decide what comes after HALF_OPEN.
        permitted_calls_in_half_open: usize = 10, limits::COUNT_SOME;
        /// What is a failure; anything else counts as a success.
        failure_status_codes: Vec<Code> = vec![Code::Unavailable, Code::DeadlineExceeded, Code::Internal],
            "to have no breaker, leave the table out";
    }
    settle = settle;
}

fn settle(breaker: CircuitBreaker, raw: &<CircuitBreaker as KeyTable>::Raw) -> Result<CircuitBreaker, Problem> {
    if let (Some(setting), None) = (&raw.slow_call_rate_threshold, &raw.slow_call_duration_threshold) {
        let message = "`slow_call_rate_threshold` needs `slow_call_duration_threshold` to say which calls are slow";
        return Err(
            Problem::at(setting.span(), message).help("write, for example: slow_call_duration_threshold = \"2s\"")
        );
    }
    let window = breaker.sliding_window_size;
    // Whichever of the two is left out follows the other.
    let minimum = match &raw.minimum_number_of_calls {
        Some(_) => breaker.minimum_number_of_calls,
        None => breaker.minimum_number_of_calls.min(window),
    };
    let written = (raw.minimum_number_of_calls.as_ref(), raw.sliding_window_size.as_ref());
    ordered(("minimum_number_of_calls", minimum, written.0), ("sliding_window_size", window, written.1))?;
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

/// What one breaker stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Each server has its own.
    Server,
    /// There is one for all.
    Service,
}

impl Named for Scope {
    const WHAT: &'static str = "a scope of a circuit breaker";
    const NAMES: &'static [(Self, &'static str)] = &[(Self::Server, "server"), (Self::Service, "service")];
}

/// What a call that met an open breaker is told.
pub(crate) const CIRCUIT_OPEN: Rejection = Rejection { code: Code::Unavailable, cause: "circuit breaker open" };

impl PolicyConfig for CircuitBreaker {
    type Policy = Breakers;

    fn build(&self, context: &PolicyContext<'_>) -> Option<Breakers> {
        let count = if self.scope == Scope::Server { context.servers.len() } else { 1 };
        let breakers = (0..count).map(|_| Breaker::new(self.clone())).collect();
        let group = Mutex::new(Group { breakers, not_closed: Servers::NONE });
        Some(Breakers {
            scope: self.scope,
            recorder: context.recorder.clone(),
            servers: context.servers.clone(),
            group,
        })
    }
}

pub(crate) struct Breakers {
    scope: Scope,
    recorder: Recorder,
    servers: Arc<[String]>,
    group: Mutex<Group>,
}

/// Breakers by server, or that of the service as the first one.
struct Group {
    breakers: Vec<Breaker>,
    /// The others need not be looked at for an attempt, and most are closed most of the time.
    not_closed: Servers,
}

impl Group {
    fn admit(&mut self, server: usize, now: Instant) -> (bool, Option<Change>) {
        if !self.not_closed.contains(server) {
            return (true, None);
        }
        self.breakers[server].admit(now)
    }

    fn end(&mut self, server: usize, began: Instant, end: &AttemptEnd) -> Option<Change> {
        let breaker = &mut self.breakers[server];
        let change = match end.ending {
            Ending::Status(code, _) => breaker.record(began, end.now, code, end.took),
            Ending::Abandoned => {
                breaker.withdraw(began);
                None
            }
        };
        if change.is_some() {
            self.not_closed.set(server, breaker.state != State::Closed);
        }
        change
    }
}

impl Breakers {
    fn admit(&self, server: usize, now: Instant) -> bool {
        let mut group = self.group();
        let (admitted, change) = group.admit(server, now);
        self.record(server, change);
        admitted
    }

    /// With the group locked, so that the record has the changes in their order.
    fn record(&self, server: usize, change: Option<Change>) {
        if let Some(change) = change {
            self.record_change(server, change);
        }
    }

    #[cold]
    fn record_change(&self, server: usize, change: Change) {
        let name = (self.scope == Scope::Server).then(|| &*self.servers[server]);
        match change {
            Change::Opened { cause, reset_timeout } => {
                about(&self.recorder, Event::BreakerOpened, name).cause(cause).duration(reset_timeout).record();
            }
            Change::HalfOpened => about(&self.recorder, Event::BreakerHalfOpened, name).record(),
            Change::Closed => about(&self.recorder, Event::BreakerClosed, name).record(),
        }
    }

    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Policy for Breakers {
    fn admit(&self, now: Instant, _: Instant) -> Admission<'_> {
        if self.scope == Scope::Server || Self::admit(self, 0, now) {
            return Admission::Granted;
        }
        Admission::Rejected(CIRCUIT_OPEN)
    }

    fn blocked(&self, now: Instant) -> Servers {
        #[cfg(feature = "canaries")]
        if crate::bug::is(crate::bug::Bug::LeakyBreaker) {
            return Servers::NONE;
        }
        if self.scope == Scope::Service {
            return Servers::NONE;
        }
        let group = self.group();
        group.not_closed.iter().filter(|server| !group.breakers[*server].would_admit(now)).collect()
    }

    fn on_pick(&self, server: usize, now: Instant) {
        if self.scope == Scope::Server {
            // It does not block, or it would not have been picked.
            Self::admit(self, server, now);
        }
    }

    fn on_attempt_end(&self, end: &AttemptEnd) {
        // To a breaker of a server it began when it was sent; the same instant is in the same state.
        let (breaker, began) = match (self.scope, end.server) {
            (Scope::Service, _) => (0, end.entered),
            (Scope::Server, Some(server)) => (server, end.sent()),
            (Scope::Server, None) => return,
        };
        let mut group = self.group();
        let change = group.end(breaker, began, end);
        self.record(breaker, change);
    }
}

/// One breaker.
struct Breaker {
    settings: CircuitBreaker,
    state: State,
    /// When the state began; what began earlier is not its own.
    since: Instant,
    tally: Tally,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open,
    /// With calls that may still be made.
    HalfOpen {
        permits: usize,
    },
}

#[derive(Debug, Clone, PartialEq)]
enum Change {
    Opened { cause: String, reset_timeout: Duration },
    HalfOpened,
    Closed,
}

/// The last calls of the state.
#[derive(Debug, Default)]
struct Tally {
    /// Failed, slow.
    calls: VecDeque<(bool, bool)>,
    failed: usize,
    slow: usize,
    failed_in_a_row: usize,
}

impl Tally {
    fn add(&mut self, failed: bool, slow: bool, window: usize) {
        self.failed_in_a_row = if failed { self.failed_in_a_row + 1 } else { 0 };
        if self.calls.len() == window
            && let Some((failed, slow)) = self.calls.pop_front()
        {
            self.failed -= usize::from(failed);
            self.slow -= usize::from(slow);
        }
        self.calls.push_back((failed, slow));
        self.failed += usize::from(failed);
        self.slow += usize::from(slow);
    }
}

impl Breaker {
    fn new(settings: CircuitBreaker) -> Self {
        Self { settings, state: State::Closed, since: Instant::START, tally: Tally::default() }
    }

    fn would_admit(&self, now: Instant) -> bool {
        let reset_timeout = self.settings.reset_timeout;
        #[cfg(feature = "canaries")]
        let reset_timeout =
            if crate::bug::is(crate::bug::Bug::HastyBreaker) { reset_timeout / 2 } else { reset_timeout };
        match self.state {
            State::Closed => true,
            State::Open => now >= self.since + reset_timeout,
            State::HalfOpen { permits } => permits > 0,
        }
    }

    fn admit(&mut self, now: Instant) -> (bool, Option<Change>) {
        if !self.would_admit(now) {
            return (false, None);
        }
        match &mut self.state {
            State::Closed => (true, None),
            State::HalfOpen { permits } => {
                *permits -= 1;
                // Of two threads the one that looked at the clock first may come second. Its call is of this state, too, or its
                // permit would never come back; while it was open nobody began anything.
                self.since = self.since.min(now);
                (true, None)
            }
            State::Open => {
                let permits = self.settings.permitted_calls_in_half_open - 1;
                #[cfg(feature = "canaries")]
                let permits = permits + usize::from(crate::bug::is(crate::bug::Bug::ManyProbes));
                self.enter(State::HalfOpen { permits }, now);
                (true, Some(Change::HalfOpened))
            }
        }
    }

    /// A call that was admitted when it `began` came to `code` after it `took` as long as that.
    fn record(&mut self, began: Instant, now: Instant, code: Code, took: Duration) -> Option<Change> {
        if began < self.since || self.state == State::Open {
            return None;
        }
        let failed = self.settings.failure_status_codes.contains(&code);
        let slow = self.settings.slow_call_duration_threshold.is_some_and(|threshold| took > threshold);
        let probing = matches!(self.state, State::HalfOpen { .. });
        let permitted = self.settings.permitted_calls_in_half_open;
        self.tally.add(failed, slow, if probing { permitted } else { self.settings.sliding_window_size });
        let cause = if probing { self.fault_of_probes() } else { self.fault() };
        if let Some(cause) = cause {
            self.enter(State::Open, now);
            return Some(Change::Opened { cause, reset_timeout: self.settings.reset_timeout });
        }
        if probing && self.tally.calls.len() == permitted {
            self.enter(State::Closed, now);
            return Some(Change::Closed);
        }
        None
    }

    /// A call that was admitted when it `began` came to nothing.
    fn withdraw(&mut self, began: Instant) {
        if let State::HalfOpen { permits } = &mut self.state
            && began >= self.since
        {
            *permits += 1;
        }
    }

    fn enter(&mut self, state: State, now: Instant) {
        (self.state, self.since, self.tally) = (state, now, Tally::default());
    }

    /// Why it has to open, while it is closed.
    fn fault(&self) -> Option<String> {
        let in_a_row = self.tally.failed_in_a_row;
        if self.settings.consecutive_failures.is_some_and(|most| in_a_row >= most) {
            return Some(format!("{in_a_row} failures in a row"));
        }
        self.rates(self.settings.minimum_number_of_calls)
    }

    /// Why it has to open again, while it is half open.
    fn fault_of_probes(&self) -> Option<String> {
        let CircuitBreaker { failure_rate_threshold: rate, slow_call_duration_threshold: slow, .. } = self.settings;
        if rate.is_none() && slow.is_none() {
            return (self.tally.failed > 0).then(|| "it still fails".to_owned());
        }
        if rate.is_none() && self.tally.failed > 0 && self.settings.consecutive_failures.is_some() {
            return Some("it still fails".to_owned());
        }
        self.rates(self.settings.permitted_calls_in_half_open)
    }

    fn rates(&self, minimum: usize) -> Option<String> {
        let calls = self.tally.calls.len();
        let all_is_well = self.tally.failed == 0 && self.tally.slow == 0;
        if all_is_well || calls < minimum {
            return None;
        }
        let exceeded = |count: usize, threshold: Option<f64>| {
            let percent = count as f64 * 100.0 / calls as f64;
            threshold.is_some_and(|threshold| percent >= threshold).then_some(percent)
        };
        let failed = exceeded(self.tally.failed, self.settings.failure_rate_threshold);
        let slow = exceeded(self.tally.slow, self.settings.slow_call_rate_threshold);
        failed
            .map(|percent| format!("{percent:.0} % of {calls} calls failed"))
            .or(slow.map(|percent| format!("{percent:.0} % of {calls} calls were slow")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUICK: Duration = Duration::from_millis(1);

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    fn breaker(settings: CircuitBreaker) -> Breaker {
        Breaker::new(settings)
    }

    /// Lab 3's: five failures, thirty seconds, one call to try.
    fn lab_3() -> Breaker {
        breaker(CircuitBreaker {
            consecutive_failures: Some(5),
            permitted_calls_in_half_open: 1,
            ..CircuitBreaker::default()
        })
    }

    #[test]
    fn a_call_that_looked_at_the_clock_before_the_breaker_half_opened_counts() {
        let mut breaker = breaker(CircuitBreaker {
            consecutive_failures: Some(1),
            permitted_calls_in_half_open: 2,
            ..CircuitBreaker::default()
        });
        breaker.record(at(0), at(0), Code::Unavailable, QUICK);
        assert_eq!(breaker.admit(at(41)), (true, Some(Change::HalfOpened)));
        assert_eq!(breaker.admit(at(40)), (true, None));
        assert_eq!(breaker.record(at(40), at(42), Code::Ok, QUICK), None);
        assert_eq!(breaker.record(at(41), at(42), Code::Ok, QUICK), Some(Change::Closed));
    }

    fn by_rate(window: usize, minimum: usize) -> CircuitBreaker {
        CircuitBreaker {
            failure_rate_threshold: Some(50.0),
            sliding_window_size: window,
            minimum_number_of_calls: minimum,
            permitted_calls_in_half_open: 4,
            ..CircuitBreaker::default()
        }
    }

    impl Breaker {
        /// A call at that second which comes to `code` at once; whether it was admitted.
        fn call(&mut self, second: u64, code: Code) -> bool {
            let admitted = self.admit(at(second)).0;
            if admitted {
                self.record(at(second), at(second), code, QUICK);
            }
            admitted
        }

        fn calls(&mut self, second: u64, codes: &[Code]) {
            for code in codes {
                assert!(self.call(second, *code), "it is open before {code}");
            }
        }
    }

    const OK: Code = Code::Ok;
    const BAD: Code = Code::Unavailable;

    #[test]
    fn five_failures_in_a_row_open_it_for_thirty_seconds_and_a_success_closes_it() {
        let mut breaker = lab_3();
        breaker.calls(0, &[BAD, BAD, BAD, BAD, OK, BAD, BAD, BAD, BAD]);
        assert_eq!(breaker.state, State::Closed, "a success begins the row anew");
        breaker.calls(1, &[BAD]);
        assert_eq!(breaker.state, State::Open);
        assert!(!breaker.call(30, OK));
        assert!(breaker.call(31, OK));
        assert_eq!(breaker.state, State::Closed);
    }

    #[test]
    fn a_failure_half_open_opens_it_for_as_long_again() {
        let mut breaker = lab_3();
        breaker.calls(0, &[BAD; 5]);
        breaker.calls(30, &[BAD]);
        assert_eq!((breaker.state, breaker.since), (State::Open, at(30)));
        assert!(!breaker.call(59, OK) && breaker.call(60, OK));
    }

    #[test]
    fn half_open_lets_no_more_pass_than_are_permitted_and_takes_back_what_is_abandoned() {
        let mut breaker = breaker(CircuitBreaker { permitted_calls_in_half_open: 2, ..lab_3().settings });
        breaker.calls(0, &[BAD; 5]);
        assert_eq!(breaker.admit(at(30)), (true, Some(Change::HalfOpened)));
        assert_eq!([breaker.admit(at(30)).0, breaker.admit(at(30)).0], [true, false]);
        breaker.withdraw(at(30));
        assert!(breaker.admit(at(31)).0, "the one that came to nothing is made good");
        assert_eq!(breaker.record(at(30), at(32), OK, QUICK), None);
        assert_eq!(breaker.record(at(31), at(32), OK, QUICK), Some(Change::Closed));
    }

    #[test]
    fn what_was_begun_in_another_state_does_not_count() {
        let mut breaker = lab_3();
        breaker.calls(0, &[BAD; 5]);
        assert!(breaker.admit(at(30)).0);
        assert_eq!(breaker.record(at(0), at(30), BAD, QUICK), None, "a call from before it opened");
        assert_eq!(breaker.state, State::HalfOpen { permits: 0 });
    }

    /// Resilience4j's documentation: "if the failure rate is equal or greater than the threshold", once there is the
    /// minimum number of calls: with a minimum of 10, nine failures do not open it.
    #[test]
    fn a_rate_is_not_judged_before_its_minimum_number_of_calls() {
        let mut breaker = breaker(by_rate(100, 10));
        breaker.calls(0, &[BAD; 9]);
        assert_eq!(breaker.state, State::Closed);
        breaker.calls(0, &[OK]);
        assert_eq!(breaker.state, State::Open, "9 of 10 failed");
    }

    #[test]
    fn the_window_slides() {
        let mut breaker = breaker(by_rate(4, 4));
        breaker.calls(0, &[OK, OK, OK, BAD, OK, OK, OK, BAD]);
        assert_eq!(breaker.state, State::Closed, "never two of four");
        breaker.calls(0, &[OK, OK, OK, BAD]);
        assert_eq!(breaker.state, State::Closed);
        breaker.calls(0, &[BAD]);
        assert_eq!(breaker.state, State::Open, "OK, OK, BAD, BAD");
    }

    #[test]
    fn calls_that_succeed_slowly_open_it_too() {
        let settings = CircuitBreaker {
            failure_rate_threshold: None,
            slow_call_duration_threshold: Some(Duration::from_secs(2)),
            slow_call_rate_threshold: Some(100.0),
            ..by_rate(3, 3)
        };
        let mut breaker = breaker(settings);
        let slow = |breaker: &mut Breaker, seconds| {
            breaker.admit(at(0));
            breaker.record(at(0), at(0), OK, Duration::from_secs(seconds))
        };
        assert_eq!([slow(&mut breaker, 3), slow(&mut breaker, 2), slow(&mut breaker, 3)], [None, None, None]);
        slow(&mut breaker, 3);
        let opened = slow(&mut breaker, 3);
        let cause = "100 % of 3 calls were slow".to_owned();
        assert_eq!(opened, Some(Change::Opened { cause, reset_timeout: Duration::from_secs(30) }));
    }

    #[test]
    fn half_open_by_rate_waits_for_all_its_calls() {
        let mut breaker = breaker(by_rate(2, 2));
        breaker.calls(0, &[BAD, BAD]);
        breaker.calls(30, &[BAD, OK, OK]);
        assert_eq!(breaker.state, State::HalfOpen { permits: 1 });
        breaker.calls(30, &[OK]);
        assert_eq!(breaker.state, State::Closed, "a quarter failed");
        breaker.calls(31, &[BAD, BAD]);
        breaker.calls(61, &[BAD, OK, OK, BAD]);
        assert_eq!(breaker.state, State::Open, "half failed");
    }

    proptest! {
        /// Whatever happens in whatever order: it follows the diagram, and half open it never lets more pass.
        #[test]
        fn it_follows_the_diagram(
            steps in proptest::collection::vec((0..20_u64, 0..3_u8, 0..4_usize), 1..300), permitted in 1..4_usize,
        ) {
            let mut breaker = breaker(CircuitBreaker { permitted_calls_in_half_open: permitted, ..lab_3().settings });
            let (mut second, mut under_way) = (0, Vec::new());
            for (gap, what, which) in steps {
                second += gap;
                let before = breaker.state;
                match what {
                    0 => {
                        if breaker.admit(at(second)).0 {
                            under_way.push(at(second));
                        }
                    }
                    _ if under_way.is_empty() => {}
                    1 => {
                        let began = under_way.remove(which % under_way.len());
                        let code = if which == 0 { OK } else { BAD };
                        breaker.record(began, at(second), code, QUICK);
                    }
                    _ => {
                        let began = under_way.remove(which % under_way.len());
                        breaker.withdraw(began);
                    }
                }
                let allowed = match (before, breaker.state) {
                    (State::Closed, State::HalfOpen { .. }) | (State::Open, State::Closed) => false,
                    (_, State::HalfOpen { permits }) => permits < permitted + under_way.len() + 1 && permits <= permitted,
                    _ => true,
                };
                prop_assert!(allowed, "{before:?} to {:?}", breaker.state);
            }
        }
    }
}
