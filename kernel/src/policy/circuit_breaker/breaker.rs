//! The state machine of one circuit breaker: "CircuitBreaker" in Resilience4j's documentation (states, windows, slow calls), and
//! pybreaker's failures in a row.

mod window;

use std::time::Duration;

use super::CircuitBreaker;
use crate::{planted::planted, settings::duration, status::Code, time::Instant};
use window::{CallResult, CallWindow, Counts};

/// One breaker.
pub(super) struct Breaker {
    settings: CircuitBreaker,
    state: BreakerState,
    /// The time at which the state began. A call that began earlier does not count in it.
    since: Instant,
    /// The time for which it opened last, and the calls that decide since it was half open last.
    reset_timeout: Duration,
    permitted: usize,
    /// Number of times that it has been half open.
    half_opened: u64,
    window: CallWindow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BreakerState {
    Closed,
    Open,
    /// `permits` is the number of calls that may still be made.
    HalfOpen {
        permits: usize,
    },
}

/// A change of state.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Transition {
    Opened { cause: String, reset_timeout: Duration },
    HalfOpened,
    Closed,
}

impl Breaker {
    pub(super) fn new(settings: CircuitBreaker) -> Self {
        let window = closed_window(&settings);
        Self {
            state: BreakerState::Closed,
            since: Instant::START,
            reset_timeout: settings.reset_timeout,
            permitted: settings.permitted_calls_in_half_open,
            settings,
            half_opened: 0,
            window,
        }
    }

    /// Goes on with these settings, in its present state.
    pub(super) fn change(&mut self, settings: CircuitBreaker) {
        self.settings = settings;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == BreakerState::Closed
    }

    /// Returns true if [`admit`](Self::admit) would admit a call, `now`.
    pub(super) fn would_admit(&self, now: Instant) -> bool {
        let reset_timeout = self.reset_timeout;
        let reset_timeout = planted!(Bug::HastyBreaker, reset_timeout / 2, else reset_timeout);
        match self.state {
            BreakerState::Closed => true,
            BreakerState::Open => now >= self.since + reset_timeout,
            BreakerState::HalfOpen { permits } => permits > 0,
        }
    }

    /// Admits a call that begins `now`, or not, and returns the transition that it causes.
    pub(super) fn admit(&mut self, now: Instant) -> (bool, Option<Transition>) {
        if !self.would_admit(now) {
            return (false, None);
        }
        match &mut self.state {
            BreakerState::Closed => (true, None),
            BreakerState::HalfOpen { permits } => {
                *permits -= 1;
                // Of two threads, the one that read the clock first may get here second. Its call has to count in this state,
                // too, or its permit would never be given back. No other call can be that old: none began while it was open.
                self.since = self.since.min(now);
                (true, None)
            }
            BreakerState::Open => {
                // The call that half-opens the breaker uses the first permit.
                let permits = self.settings.permitted_calls_in_half_open - 1;
                let permits = planted!(Bug::ManyProbes, permits + 1, else permits);
                self.half_opened += 1;
                self.enter(BreakerState::HalfOpen { permits }, now);
                (true, Some(Transition::HalfOpened))
            }
        }
    }

    /// Counts a call that was admitted when it `began` and has ended with `code` after `took`. Returns the transition that it
    /// causes.
    pub(super) fn record(&mut self, began: Instant, now: Instant, code: Code, took: Duration) -> Option<Transition> {
        // A call that began in an earlier state says nothing about this one, and OPEN ends by time alone.
        if began < self.since || self.state == BreakerState::Open {
            return None;
        }
        // The permit of a call that says nothing is for another one, as that of an abandoned call is.
        if self.settings.ignored_status_codes.as_ref().is_some_and(|ignored| ignored.contains(&code)) {
            self.withdraw(began);
            return None;
        }
        let failed = self.settings.failure_status_codes.contains(&code);
        let slow = self.settings.slow_call_duration_threshold.is_some_and(|threshold| took > threshold);
        let probing = matches!(self.state, BreakerState::HalfOpen { .. });
        self.window.add(CallResult { failed, slow }, now);
        let cause = if probing { self.reason_to_reopen() } else { self.reason_to_open() };
        if let Some(cause) = cause {
            self.enter(BreakerState::Open, now);
            return Some(Transition::Opened { cause, reset_timeout: self.settings.reset_timeout });
        }
        if probing && self.window.counts().calls >= self.calls_to_decide() {
            self.enter(BreakerState::Closed, now);
            return Some(Transition::Closed);
        }
        None
    }

    /// Withdraws a call that was admitted when it `began` and then abandoned: its permit is for another call.
    pub(super) fn withdraw(&mut self, began: Instant) {
        // Only a call of this state has taken one of its permits.
        if let BreakerState::HalfOpen { permits } = &mut self.state
            && began >= self.since
        {
            *permits += 1;
        }
    }

    /// Returns how often it has been half open, which names the current time of that for [`expire`](Self::expire).
    pub(super) fn half_opened(&self) -> u64 {
        self.half_opened
    }

    /// Opens the breaker again if it is half open for the `half_opened`th time: its calls have not decided in time.
    pub(super) fn expire(&mut self, half_opened: u64, now: Instant) -> Option<Transition> {
        if half_opened != self.half_opened || !matches!(self.state, BreakerState::HalfOpen { .. }) {
            return None;
        }
        let waited = self.settings.max_wait_duration_in_half_open.unwrap_or_default();
        self.enter(BreakerState::Open, now);
        let cause = format!("half open for {}", duration::text(waited));
        Some(Transition::Opened { cause, reset_timeout: self.settings.reset_timeout })
    }

    fn enter(&mut self, state: BreakerState, now: Instant) {
        self.state = state;
        self.since = now;
        match state {
            BreakerState::Open => self.reset_timeout = self.settings.reset_timeout,
            BreakerState::HalfOpen { .. } => self.permitted = self.settings.permitted_calls_in_half_open,
            BreakerState::Closed => {}
        }
        self.window = match state {
            // Resilience4j counts calls while half open, whatever the window of the closed state is.
            BreakerState::HalfOpen { .. } => CallWindow::of_calls(self.permitted),
            BreakerState::Closed | BreakerState::Open => closed_window(&self.settings),
        };
    }

    /// Returns how many calls decide while it is half open.
    fn calls_to_decide(&self) -> usize {
        let CircuitBreaker { failure_rate_threshold: rate, slow_call_duration_threshold: slow, .. } = self.settings;
        let permitted = self.permitted;
        // A rate has a meaning from the minimum on, and Resilience4j decides at once then.
        if rate.is_some() || slow.is_some() { permitted.min(self.settings.minimum_number_of_calls) } else { permitted }
    }

    /// Returns why it has to open while it is closed, if it has to.
    fn reason_to_open(&self) -> Option<String> {
        let in_a_row = self.window.failed_in_a_row();
        if self.settings.consecutive_failures.is_some_and(|most| in_a_row >= most) {
            return Some(format!("{in_a_row} failures in a row"));
        }
        self.rate_over_threshold(self.settings.minimum_number_of_calls)
    }

    /// Returns why it has to open again while it is half open, if it has to.
    fn reason_to_reopen(&self) -> Option<String> {
        let CircuitBreaker { failure_rate_threshold: rate, slow_call_duration_threshold: slow, .. } = self.settings;
        let failed = self.window.counts().failed;
        // Without a threshold for a rate, one failure is enough.
        if rate.is_none() && slow.is_none() {
            return (failed > 0).then(|| "it still fails".to_owned());
        }
        // A threshold for slow calls alone does not replace the limit of failures in a row.
        if rate.is_none() && failed > 0 && self.settings.consecutive_failures.is_some() {
            return Some("it still fails".to_owned());
        }
        self.rate_over_threshold(self.calls_to_decide())
    }

    /// Describes the rate of failed or slow calls that has reached its threshold, if one has, and there are `minimum` calls.
    fn rate_over_threshold(&self, minimum: usize) -> Option<String> {
        let Counts { calls, failed, slow } = self.window.counts();
        // The usual case needs no division.
        let all_succeeded = failed == 0 && slow == 0;
        if all_succeeded || calls < minimum {
            return None;
        }
        let failed = percent(failed, calls);
        if self.settings.failure_rate_threshold.is_some_and(|threshold| failed >= threshold) {
            return Some(format!("{failed:.0} % of {calls} calls failed"));
        }
        let slow = percent(slow, calls);
        if self.settings.slow_call_rate_threshold.is_some_and(|threshold| slow >= threshold) {
            return Some(format!("{slow:.0} % of {calls} calls were slow"));
        }
        None
    }
}

/// Returns an empty window of a breaker that is closed.
fn closed_window(settings: &CircuitBreaker) -> CallWindow {
    match settings.sliding_window_duration {
        Some(duration) => CallWindow::of_time(duration),
        None => CallWindow::of_calls(settings.sliding_window_size),
    }
}

fn percent(count: usize, total: usize) -> f64 {
    count as f64 * 100.0 / total as f64
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

    /// Returns the breaker of Lab 3: five failures in a row, thirty seconds, one call while half open.
    fn lab_3() -> Breaker {
        breaker(CircuitBreaker {
            consecutive_failures: Some(5),
            permitted_calls_in_half_open: 1,
            ..CircuitBreaker::default()
        })
    }

    #[test]
    fn a_call_that_read_the_clock_before_the_breaker_half_opened_counts() {
        let mut breaker = breaker(CircuitBreaker {
            consecutive_failures: Some(1),
            permitted_calls_in_half_open: 2,
            ..CircuitBreaker::default()
        });
        breaker.record(at(0), at(0), Code::Unavailable, QUICK);
        assert_eq!(breaker.admit(at(41)), (true, Some(Transition::HalfOpened)));
        assert_eq!(breaker.admit(at(40)), (true, None));
        assert_eq!(breaker.record(at(40), at(42), Code::Ok, QUICK), None);
        assert_eq!(breaker.record(at(41), at(42), Code::Ok, QUICK), Some(Transition::Closed));
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
        /// Makes a call that ends with `code` at once, if it is admitted. Returns true if it was.
        fn call(&mut self, second: u64, code: Code) -> bool {
            let admitted = self.admit(at(second)).0;
            if admitted {
                self.record(at(second), at(second), code, QUICK);
            }
            admitted
        }

        /// Makes a call that succeeds after `seconds`.
        fn slow_call(&mut self, seconds: u64) -> Option<Transition> {
            self.admit(at(0));
            self.record(at(0), at(0), OK, Duration::from_secs(seconds))
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
        assert_eq!(breaker.state, BreakerState::Closed, "a success restarts the row");
        breaker.calls(1, &[BAD]);
        assert_eq!(breaker.state, BreakerState::Open);
        assert!(!breaker.call(30, OK));
        assert!(breaker.call(31, OK));
        assert_eq!(breaker.state, BreakerState::Closed);
    }

    /// Slow calls alone have a threshold here, which two of two calls have to reach while it is half open.
    fn by_slow_calls(consecutive_failures: Option<usize>) -> Breaker {
        let mut breaker = breaker(CircuitBreaker {
            consecutive_failures,
            sliding_window_size: 2,
            minimum_number_of_calls: 2,
            slow_call_duration_threshold: Some(Duration::from_secs(1)),
            slow_call_rate_threshold: Some(100.0),
            permitted_calls_in_half_open: 2,
            ..CircuitBreaker::default()
        });
        assert_eq!(breaker.slow_call(2), None);
        let opened = breaker.slow_call(2);
        assert!(matches!(opened, Some(Transition::Opened { .. })), "{opened:?}");
        breaker
    }

    #[test]
    fn a_threshold_for_slow_calls_does_not_replace_the_limit_of_failures_while_half_open() {
        let mut limited = by_slow_calls(Some(5));
        limited.calls(30, &[OK]);
        assert_eq!(limited.state, BreakerState::HalfOpen { permits: 1 }, "a success does not open it again");
        limited.calls(30, &[BAD]);
        assert_eq!(limited.state, BreakerState::Open);
        let mut unlimited = by_slow_calls(None);
        unlimited.calls(30, &[BAD, BAD]);
        assert_eq!(unlimited.state, BreakerState::Closed, "failures that are not slow have no limit");
    }

    #[test]
    fn a_failure_while_half_open_opens_it_for_as_long_again() {
        let mut breaker = lab_3();
        breaker.calls(0, &[BAD; 5]);
        breaker.calls(30, &[BAD]);
        assert_eq!((breaker.state, breaker.since), (BreakerState::Open, at(30)));
        assert!(!breaker.call(59, OK) && breaker.call(60, OK));
    }

    #[test]
    fn half_open_admits_the_permitted_calls_only_and_reuses_the_permit_of_an_abandoned_call() {
        let mut breaker = breaker(CircuitBreaker { permitted_calls_in_half_open: 2, ..lab_3().settings });
        breaker.calls(0, &[BAD; 5]);
        assert_eq!(breaker.admit(at(30)), (true, Some(Transition::HalfOpened)));
        assert_eq!([breaker.admit(at(30)).0, breaker.admit(at(30)).0], [true, false]);
        breaker.withdraw(at(30));
        assert!(breaker.admit(at(31)).0, "the permit of the abandoned call");
        assert_eq!(breaker.record(at(30), at(32), OK, QUICK), None);
        assert_eq!(breaker.record(at(31), at(32), OK, QUICK), Some(Transition::Closed));
    }

    #[test]
    fn a_call_that_began_in_another_state_does_not_count() {
        let mut breaker = lab_3();
        breaker.calls(0, &[BAD; 5]);
        assert!(breaker.admit(at(30)).0);
        assert_eq!(breaker.record(at(0), at(30), BAD, QUICK), None, "a call from before it opened");
        assert_eq!(breaker.state, BreakerState::HalfOpen { permits: 0 });
    }

    /// Resilience4j's documentation: "if the failure rate is equal or greater than the threshold", once there is the
    /// minimum number of calls: with a minimum of 10, nine failures do not open it.
    #[test]
    fn a_rate_does_not_count_before_the_minimum_number_of_calls() {
        let mut breaker = breaker(by_rate(100, 10));
        breaker.calls(0, &[BAD; 9]);
        assert_eq!(breaker.state, BreakerState::Closed);
        breaker.calls(0, &[OK]);
        assert_eq!(breaker.state, BreakerState::Open, "9 of 10 failed");
    }

    #[test]
    fn the_window_slides() {
        let mut breaker = breaker(by_rate(4, 4));
        breaker.calls(0, &[OK, OK, OK, BAD, OK, OK, OK, BAD]);
        assert_eq!(breaker.state, BreakerState::Closed, "never two of four");
        breaker.calls(0, &[OK, OK, OK, BAD]);
        assert_eq!(breaker.state, BreakerState::Closed);
        breaker.calls(0, &[BAD]);
        assert_eq!(breaker.state, BreakerState::Open, "OK, OK, BAD, BAD");
    }

    #[test]
    fn slow_calls_that_succeed_open_it_too() {
        let settings = CircuitBreaker {
            failure_rate_threshold: None,
            slow_call_duration_threshold: Some(Duration::from_secs(2)),
            slow_call_rate_threshold: Some(100.0),
            ..by_rate(3, 3)
        };
        let mut breaker = breaker(settings);
        for seconds in [3, 2, 3] {
            assert_eq!(breaker.slow_call(seconds), None);
        }
        breaker.slow_call(3);
        let opened = breaker.slow_call(3);
        let cause = "100 % of 3 calls were slow".to_owned();
        assert_eq!(opened, Some(Transition::Opened { cause, reset_timeout: Duration::from_secs(30) }));
    }

    /// Resilience4j's `CircuitBreakerMetrics.forHalfOpen`: the minimum number of calls, or the permitted ones if they are fewer.
    #[test]
    fn half_open_with_a_rate_decides_after_the_minimum_number_of_calls() {
        let mut breaker = breaker(by_rate(2, 2));
        breaker.calls(0, &[BAD, BAD]);
        breaker.calls(30, &[OK]);
        assert_eq!(breaker.state, BreakerState::HalfOpen { permits: 3 });
        breaker.calls(30, &[BAD]);
        assert_eq!(breaker.state, BreakerState::Open, "half of two failed");
        breaker.calls(60, &[OK, OK]);
        assert_eq!(breaker.state, BreakerState::Closed, "two of the four permitted calls are enough");
    }

    /// Resilience4j's documentation of `ignoreExceptions`: "neither count as a failure nor success"; the permission is released.
    #[test]
    fn an_ignored_status_counts_neither_way_and_gives_its_permit_back() {
        let ignored_status_codes = Some(vec![Code::NotFound, Code::Unavailable]);
        let mut row = breaker(CircuitBreaker {
            failure_status_codes: vec![Code::Internal, Code::Unavailable],
            ignored_status_codes,
            consecutive_failures: Some(2),
            permitted_calls_in_half_open: 1,
            ..CircuitBreaker::default()
        });
        row.calls(0, &[Code::Internal, Code::NotFound, BAD]);
        assert_eq!(row.state, BreakerState::Closed, "being ignored comes before being a failure");
        row.calls(0, &[Code::Internal]);
        assert_eq!(
            row.state,
            BreakerState::Open,
            "the second failure in a row, as what was ignored is not between them"
        );
        row.calls(30, &[Code::NotFound]);
        assert_eq!(row.state, BreakerState::HalfOpen { permits: 1 });
        row.calls(31, &[OK]);
        assert_eq!(row.state, BreakerState::Closed);
    }

    /// Resilience4j's documentation of `slidingWindowType`: TIME_BASED, "the calls of the last slidingWindowSize seconds are
    /// recorded and aggregated".
    #[test]
    fn a_window_by_time_forgets_what_is_older() {
        let settings = CircuitBreaker { sliding_window_duration: Some(Duration::from_secs(10)), ..by_rate(100, 4) };
        let mut forgotten = breaker(settings.clone());
        forgotten.calls(0, &[BAD, BAD]);
        forgotten.calls(10, &[BAD, BAD]);
        assert_eq!(forgotten.state, BreakerState::Closed, "two calls in the seconds 1 to 10");
        let mut kept = breaker(settings);
        kept.calls(0, &[BAD, BAD]);
        kept.calls(9, &[BAD, BAD]);
        assert_eq!(kept.state, BreakerState::Open, "four calls in the seconds 0 to 9");
    }

    /// Resilience4j's documentation of `maxWaitDurationInHalfOpenState`: "the longest amount of time a CircuitBreaker could stay in
    /// Half Open state before it switches to open".
    #[test]
    fn a_breaker_that_is_half_open_for_too_long_opens_again() {
        let settings =
            CircuitBreaker { max_wait_duration_in_half_open: Some(Duration::from_secs(5)), ..lab_3().settings };
        let mut breaker = breaker(settings);
        breaker.calls(0, &[BAD; 5]);
        assert!(breaker.admit(at(30)).0);
        let cause = "half open for 5s".to_owned();
        let opened = Some(Transition::Opened { cause, reset_timeout: Duration::from_secs(30) });
        assert_eq!(breaker.expire(breaker.half_opened(), at(35)), opened);
        assert_eq!(breaker.record(at(30), at(36), OK, QUICK), None, "the call is too late");
        assert!(!breaker.admit(at(64)).0 && breaker.admit(at(65)).0);
        assert_eq!(breaker.expire(1, at(66)), None, "that was the time before");
        breaker.record(at(65), at(67), OK, QUICK);
        assert_eq!((breaker.state, breaker.expire(2, at(70))), (BreakerState::Closed, None));
    }

    #[test]
    fn half_open_with_a_rate_waits_for_all_permitted_calls_if_the_minimum_is_more() {
        let mut breaker = breaker(by_rate(4, 4));
        breaker.calls(0, &[BAD; 4]);
        breaker.calls(30, &[BAD, OK, OK]);
        assert_eq!(breaker.state, BreakerState::HalfOpen { permits: 1 });
        breaker.calls(30, &[OK]);
        assert_eq!(breaker.state, BreakerState::Closed, "a quarter failed");
        breaker.calls(31, &[BAD; 4]);
        breaker.calls(61, &[BAD, OK, OK, BAD]);
        assert_eq!(breaker.state, BreakerState::Open, "half failed");
    }

    proptest! {
        /// A breaker follows the diagram in any sequence of steps, and never admits more calls than are permitted while half open.
        #[test]
        fn it_follows_the_diagram(
            steps in proptest::collection::vec((0..20_u64, 0..3_u8, 0..4_usize), 1..300), permitted in 1..4_usize,
        ) {
            let mut breaker = breaker(CircuitBreaker { permitted_calls_in_half_open: permitted, ..lab_3().settings });
            let mut second = 0;
            let mut under_way = Vec::new();
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
                    (BreakerState::Closed, BreakerState::HalfOpen { .. }) | (BreakerState::Open, BreakerState::Closed) => false,
                    (_, BreakerState::HalfOpen { permits }) => permits < permitted + under_way.len() + 1 && permits <= permitted,
                    _ => true,
                };
                prop_assert!(allowed, "{before:?} to {:?}", breaker.state);
            }
        }
    }
}
