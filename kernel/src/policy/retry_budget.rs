//! Retry budgets: retries and hedges in proportion to the calls there are.
//!
//! Two of them are in use, and `[client.retry_budget]` is whichever its keys are those of:
//!
//! * Envoy's, of what is under way: as many retries at once as `percent` of the attempts under way, and
//!   `min_retry_concurrency` in any case. A retry counts from the decision for it, through its backoff, to its end.
//! * Finagle's, which is tower's too, of what was in the last `ttl`: every call deposits, and a retry may be made while
//!   those of that time are no more than `percent` of its calls and `min_per_second` for each of its seconds. Time goes in
//!   tenths of `ttl`, as in both.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Admission, AttemptEnd, Policy, PolicyConfig, PolicyContext, Rejection};
use crate::{
    scenario::keys::{KeyTable, Problem, excluded, limits, table},
    status::Code,
    time::Instant,
};

table! {
    /// `[client.retry_budget]`: Envoy's by default, Finagle's if one of its keys is there.
    RetryBudget {
        /// Of the attempts under way (Envoy), or of the calls in `ttl` (Finagle).
        percent: f64 = 20.0, limits::BUDGET_PERCENT;
        /// Envoy: retries that may be under way in any case.
        min_retry_concurrency: Option<usize> = None, limits::COUNT;
        /// Finagle: how long a call counts.
        ttl: Option<Duration> = None, limits::DURATION;
        /// Finagle: retries that may be made in any case.
        min_per_second: Option<f64> = None, limits::AMOUNT;
    }
    settle = settle;
}

fn settle(budget: RetryBudget, raw: &<RetryBudget as KeyTable>::Raw) -> Result<RetryBudget, Problem> {
    const HELP: &str =
        "`min_retry_concurrency` is of Envoy's budget, `ttl` and `min_per_second` are of Finagle's: keep one";
    let envoy = ("min_retry_concurrency", raw.min_retry_concurrency.as_ref());
    excluded(envoy, ("ttl", raw.ttl.as_ref()), HELP)?;
    excluded(envoy, ("min_per_second", raw.min_per_second.as_ref()), HELP)?;
    if budget.ttl.is_none() && budget.min_per_second.is_none() {
        let min_retry_concurrency = budget.min_retry_concurrency.or(Some(3));
        return Ok(RetryBudget { min_retry_concurrency, ..budget });
    }
    Ok(RetryBudget {
        ttl: budget.ttl.or(Some(Duration::from_secs(10))),
        min_per_second: budget.min_per_second.or(Some(10.0)),
        ..budget
    })
}

const SPENT: Rejection = Rejection { code: Code::Unavailable, cause: "retry budget spent" };

impl PolicyConfig for RetryBudget {
    type Policy = Budget;

    fn build(&self, _: &PolicyContext<'_>) -> Option<Budget> {
        Some(match (self.ttl, self.min_per_second) {
            (Some(ttl), Some(min_per_second)) => {
                Budget::Finagle(Mutex::new(Window::new(self.percent, ttl, min_per_second)))
            }
            _ => Budget::Envoy(Mutex::new(UnderWay::new(self.percent, self.min_retry_concurrency.unwrap_or(0)))),
        })
    }
}

/// Whose budget it is.
pub(crate) enum Budget {
    Envoy(Mutex<UnderWay>),
    Finagle(Mutex<Window>),
}

impl Budget {
    fn envoy(&self) -> Option<MutexGuard<'_, UnderWay>> {
        let Self::Envoy(under_way) = self else { return None };
        Some(under_way.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn finagle(&self) -> Option<MutexGuard<'_, Window>> {
        let Self::Finagle(window) = self else { return None };
        Some(window.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Policy for Budget {
    fn on_call_start(&self, now: Instant) {
        if let Some(mut window) = self.finagle() {
            window.deposit(now);
        }
    }

    fn permit_retry(&self, now: Instant) -> Result<(), Rejection> {
        let allowed = self.envoy().is_some_and(|mut under_way| under_way.begin_retry())
            || self.finagle().is_some_and(|mut window| window.withdraw(now));
        if allowed { Ok(()) } else { Err(SPENT) }
    }

    fn on_retry_end(&self) {
        if let Some(mut under_way) = self.envoy() {
            under_way.retries -= 1;
        }
    }

    fn admit(&self, _: Instant, _: Instant) -> Admission<'_> {
        if let Some(mut under_way) = self.envoy() {
            under_way.attempts += 1;
        }
        Admission::Granted
    }

    fn on_attempt_end(&self, _: &AttemptEnd) {
        if let Some(mut under_way) = self.envoy() {
            under_way.attempts -= 1;
        }
    }
}

/// What is under way.
pub(crate) struct UnderWay {
    percent: f64,
    min: usize,
    attempts: usize,
    retries: usize,
}

impl UnderWay {
    fn new(percent: f64, min: usize) -> Self {
        Self { percent, min, attempts: 0, retries: 0 }
    }

    fn begin_retry(&mut self) -> bool {
        let max = (self.attempts as f64 * self.percent / 100.0).max(self.min as f64);
        #[cfg(feature = "canaries")]
        let max = max + f64::from(u8::from(crate::bug::is(crate::bug::Bug::LargeBudget)));
        let enough = self.retries as f64 + 1.0 <= max;
        self.retries += usize::from(enough);
        enough
    }
}

/// What was deposited and withdrawn of late.
pub(crate) struct Window {
    share: f64,
    /// Retries that are always there.
    reserve: f64,
    slot_nanos: u64,
    /// By number since the start, ascending; those older than `SLOTS` are gone.
    slots: VecDeque<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    number: u64,
    deposits: u64,
    withdrawals: u64,
}

/// That `ttl` is divided into.
const SLOTS: u64 = 10;

impl Window {
    fn new(percent: f64, ttl: Duration, min_per_second: f64) -> Self {
        let slot_nanos = (ttl.as_nanos() as u64 / SLOTS).max(1);
        let reserve = min_per_second * ttl.as_secs_f64();
        Self { share: percent / 100.0, reserve, slot_nanos, slots: VecDeque::new() }
    }

    fn deposit(&mut self, now: Instant) {
        self.slot(now).deposits += 1;
    }

    fn withdraw(&mut self, now: Instant) -> bool {
        self.slot(now);
        let sum = |of: fn(&Slot) -> u64| self.slots.iter().map(of).sum::<u64>() as f64;
        // A share such as 0.2 is no exact number, and five calls at 20 % are one retry.
        let balance = sum(|slot| slot.deposits) * self.share + self.reserve - sum(|slot| slot.withdrawals) + 1e-9;
        #[cfg(feature = "canaries")]
        let balance = balance + f64::from(u8::from(crate::bug::is(crate::bug::Bug::LargeBudget)));
        let enough = balance >= 1.0;
        self.slot(now).withdrawals += u64::from(enough);
        enough
    }

    fn slot(&mut self, now: Instant) -> &mut Slot {
        let number = now.as_nanos() / self.slot_nanos;
        while self.slots.front().is_some_and(|slot| slot.number + SLOTS <= number) {
            self.slots.pop_front();
        }
        if self.slots.back().is_none_or(|slot| slot.number != number) {
            self.slots.push_back(Slot { number, deposits: 0, withdrawals: 0 });
        }
        self.slots.back_mut().expect("it has just been added")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    fn window(percent: f64, min_per_second: f64) -> Window {
        Window::new(percent, Duration::from_secs(1), min_per_second)
    }

    /// tower's documentation: "if 0.1 is used, then for every 10 calls to deposit, 1 retry will be allowed".
    #[test]
    fn ten_percent_is_a_retry_for_every_ten_calls() {
        let mut window = window(10.0, 0.0);
        assert!(!window.withdraw(at(0)), "nothing was deposited");
        (0..9).for_each(|_| window.deposit(at(0)));
        assert!(!window.withdraw(at(0)));
        window.deposit(at(0));
        assert!(window.withdraw(at(0)) && !window.withdraw(at(0)));
    }

    /// tower's documentation: "if 2.0 is used, then every deposit allows for 2 retries".
    #[test]
    fn two_hundred_percent_is_two_retries_a_call() {
        let mut window = window(200.0, 0.0);
        window.deposit(at(0));
        assert!(window.withdraw(at(0)) && window.withdraw(at(0)) && !window.withdraw(at(0)));
    }

    #[test]
    fn a_call_counts_for_the_time_to_live_and_a_retry_no_longer() {
        let mut window = window(100.0, 0.0);
        window.deposit(at(50));
        window.deposit(at(50));
        assert!(window.withdraw(at(150)));
        assert!(window.withdraw(at(999)), "within the ttl");
        window.deposit(at(1_020));
        assert!(!window.withdraw(at(1_040)), "the two calls are gone, their retries count on");
        window.deposit(at(2_100));
        assert!(window.withdraw(at(2_100)));
    }

    #[test]
    fn the_reserve_is_there_without_any_call() {
        let mut window = window(20.0, 2.0);
        assert!(window.withdraw(at(0)) && window.withdraw(at(0)) && !window.withdraw(at(0)));
        assert!(window.withdraw(at(1_000)), "what was withdrawn is forgotten after the ttl");
    }

    #[test]
    fn retries_under_way_are_a_share_of_the_attempts_under_way_but_never_less_than_the_minimum() {
        let budget = Budget::Envoy(Mutex::new(UnderWay::new(20.0, 1)));
        assert!(budget.permit_retry(at(0)).is_ok(), "the minimum");
        assert_eq!(budget.permit_retry(at(0)), Err(SPENT));
        (0..9).for_each(|_| assert!(matches!(budget.admit(at(0), at(0)), Admission::Granted)));
        assert_eq!(budget.permit_retry(at(0)), Err(SPENT), "20 % of 9 is not 2");
        budget.admit(at(0), at(0));
        assert!(budget.permit_retry(at(0)).is_ok(), "20 % of 10 is");
        budget.on_retry_end();
        assert!(budget.permit_retry(at(0)).is_ok(), "what is over makes room");
    }

    proptest! {
        #[test]
        fn within_any_ttl_retries_are_no_more_than_their_share_and_the_reserve(
            steps in proptest::collection::vec((0..120_u64, any::<bool>()), 1..300), percent in 1..100_u32,
        ) {
            let mut window = window(f64::from(percent), 3.0);
            let (mut now, mut calls, mut retries) = (0, Vec::new(), Vec::new());
            for (gap, call) in steps {
                now += gap;
                if call {
                    window.deposit(at(now));
                    calls.push(now);
                } else if window.withdraw(at(now)) {
                    retries.push(now);
                    // Whole slots make up between 900 ms and the whole second.
                    let recent = |times: &[u64], span| times.iter().filter(|time| **time + span > now).count() as f64;
                    let most = recent(&calls, 1_000) * f64::from(percent) / 100.0 + 3.0;
                    prop_assert!(recent(&retries, 900) <= most + 1e-6, "{} of {most}", recent(&retries, 900));
                }
            }
        }
    }
}
