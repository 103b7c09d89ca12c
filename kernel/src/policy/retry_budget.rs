//! Retry budgets: retries and hedges in proportion to the calls there are.
//!
//! Two kinds are in use, and the keys of `[client.retry_budget]` select one of them:
//!
//! * Envoy's budget limits the retries under way: to `percent` of the attempts under way, but at least to
//!   `min_retry_concurrency`. A retry counts from the decision for it, through its backoff, to its end.
//! * Finagle's budget, which is tower's too, limits the retries of the last `ttl`: to `percent` of the calls in that time, plus
//!   `min_per_second` for each second of it. Time advances in tenths of `ttl`, as in both libraries.
//!
//! With `deposit = "success"` the second kind counts attempts that are OK in place of calls, so that a service that fails earns no retries,
//! whatever load it gets: the retry quota of the AWS SDKs is refilled by successes, and so are gRPC's tokens. A reply that streams is OK at
//! its headers.
//!
//! If the settings change, what is under way and what was counted stays so, and the next retry is permitted by the new share of it.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use super::{Admission, AttemptEnd, Ending, Policy, PolicyConfig, PolicyContext, Rejection};
use crate::{
    client::settings::Client,
    planted::planted,
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
};

table! {
    /// `[client.retry_budget]`: a bound on retries, Envoy's by default, Finagle's if one of its keys is there.
    RetryBudget {
        /// Retries in percent of the attempts under way (Envoy), or of the calls in `ttl` (Finagle).
        percent: f64 = 20.0, limits::BUDGET_PERCENT, &["0.0", "20.0", "200.0"];
        /// Envoy: retries that may be under way in any case; 3 unless given.
        min_retry_concurrency: Option<usize> = None, limits::COUNT, &["0", "1", "3"];
        /// Finagle: time for which a call counts; 10s unless given.
        ttl: Option<Duration> = None, limits::DURATION, samples::TIMES;
        /// Finagle: retries that may be made in any case; 10 unless given.
        min_per_second: Option<f64> = None, limits::AMOUNT, &["0.0", "0.3", "10.0"];
        /// Finagle: what earns the right to retry; calls unless given.
        deposit: Option<Deposit> = None, (), NOT_DRAWN;
    }
    draw = &[&["percent", "min_retry_concurrency"], &["percent", "ttl", "min_per_second"]];
    settle = settle;
}

/// The event that earns the right to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Deposit {
    /// Each call (Finagle, tower).
    Call,
    /// Each attempt that is OK (the retry quota of the AWS SDKs).
    Success,
}

named!(Deposit, "a deposit");

fn settle(budget: RetryBudget, table: &TableReader<'_, '_>) -> Result<RetryBudget, Problem> {
    const HELP: &str = "`min_retry_concurrency` is of Envoy's budget, `ttl`, `min_per_second` and `deposit` are of Finagle's: keep one";
    for key in ["ttl", "min_per_second", "deposit"] {
        table.excludes("min_retry_concurrency", key, HELP)?;
    }
    if budget.ttl.is_none() && budget.min_per_second.is_none() && budget.deposit.is_none() {
        let min_retry_concurrency = budget.min_retry_concurrency.or(Some(3));
        return Ok(RetryBudget { min_retry_concurrency, ..budget });
    }
    Ok(RetryBudget {
        ttl: budget.ttl.or(Some(Duration::from_secs(10))),
        min_per_second: budget.min_per_second.or(Some(10.0)),
        ..budget
    })
}

const BUDGET_SPENT: Rejection = Rejection { code: Code::Unavailable, cause: "retry budget spent" };

impl PolicyConfig for RetryBudget {
    type Policy = Budget;

    fn build(&self, _: &PolicyContext<'_>) -> Option<Budget> {
        Some(match (self.ttl, self.min_per_second) {
            (Some(ttl), Some(min_per_second)) => {
                let deposit = self.deposit.unwrap_or(Deposit::Call);
                Budget::Finagle(deposit, Mutex::new(FinagleBudget::new(self.percent, ttl, min_per_second)))
            }
            _ => Budget::Envoy(Mutex::new(EnvoyBudget::new(self.percent, self.min_retry_concurrency.unwrap_or(0)))),
        })
    }

    fn change(&self, policy: &Budget, _: &Client, _: Instant) {
        match policy {
            Budget::Envoy(budget) => {
                let mut budget = lock(budget);
                (budget.percent, budget.min) = (self.percent, self.min_retry_concurrency.unwrap_or(0));
            }
            Budget::Finagle(_, budget) => {
                let (Some(ttl), Some(min_per_second)) = (self.ttl, self.min_per_second) else { return };
                lock(budget).change(self.percent, ttl, min_per_second);
            }
        }
    }
}

/// The state of the budget, of either kind.
pub(crate) enum Budget {
    Envoy(Mutex<EnvoyBudget>),
    Finagle(Deposit, Mutex<FinagleBudget>),
}

impl Policy for Budget {
    fn on_call_start(&self, now: Instant) {
        if let Self::Finagle(Deposit::Call, budget) = self {
            lock(budget).deposit(now);
        }
    }

    fn permit_retry(&self, now: Instant) -> Result<(), Rejection> {
        let is_permitted = match self {
            Self::Envoy(budget) => lock(budget).begin_retry(),
            Self::Finagle(_, budget) => lock(budget).withdraw(now),
        };
        if is_permitted { Ok(()) } else { Err(BUDGET_SPENT) }
    }

    fn on_retry_end(&self) {
        if let Self::Envoy(budget) = self {
            lock(budget).retries -= 1;
        }
    }

    fn admit(&self, _: Instant, _: Instant) -> Admission<'_> {
        if let Self::Envoy(budget) = self {
            lock(budget).attempts += 1;
        }
        Admission::Granted
    }

    fn on_attempt_end(&self, end: &AttemptEnd) {
        match (self, end.ending) {
            (Self::Envoy(budget), _) => lock(budget).attempts -= 1,
            (Self::Finagle(Deposit::Success, budget), Ending::Status(Code::Ok, _)) => lock(budget).deposit(end.now),
            _ => {}
        }
    }
}

/// Envoy's budget.
pub(crate) struct EnvoyBudget {
    percent: f64,
    /// Number of retries that may be under way in any case.
    min: usize,
    /// Number of attempts under way.
    attempts: usize,
    /// Number of retries under way, including those in their backoff.
    retries: usize,
}

impl EnvoyBudget {
    fn new(percent: f64, min: usize) -> Self {
        Self { percent, min, attempts: 0, retries: 0 }
    }

    /// Counts a retry as under way, unless the budget is spent. Returns true if it was not.
    fn begin_retry(&mut self) -> bool {
        let max = (self.attempts as f64 * self.percent / 100.0).max(self.min as f64);
        let max = planted!(Bug::LargeBudget, max + 1.0, else max);
        let enough = self.retries as f64 + 1.0 <= max;
        self.retries += usize::from(enough);
        enough
    }
}

/// Finagle's budget: a window that slides over the last calls and retries.
pub(crate) struct FinagleBudget {
    /// Number of retries for each call.
    share: f64,
    /// Number of retries in a window without calls.
    reserve: f64,
    slot_nanos: u64,
    /// The slots of the window in which something was counted, in order of their numbers.
    slots: VecDeque<Slot>,
}

/// The counts of a `SLOTS`-th of the window.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Number of slots between the start of the run and this one.
    number: u64,
    deposits: u64,
    withdrawals: u64,
}

/// Number of slots that `ttl` is divided into.
const SLOTS: u64 = 10;

impl FinagleBudget {
    fn new(percent: f64, ttl: Duration, min_per_second: f64) -> Self {
        // A slot is a nanosecond at least, so that the number of a slot can be computed by division.
        let slot_nanos = (ttl.as_nanos() as u64 / SLOTS).max(1);
        let reserve = min_per_second * ttl.as_secs_f64();
        Self { share: percent / 100.0, reserve, slot_nanos, slots: VecDeque::new() }
    }

    /// Goes on with another share and another reserve.
    fn change(&mut self, percent: f64, ttl: Duration, min_per_second: f64) {
        (self.share, self.reserve) = (percent / 100.0, min_per_second * ttl.as_secs_f64());
    }

    /// Counts what earns the right to retry.
    fn deposit(&mut self, now: Instant) {
        self.slot(now).deposits += 1;
    }

    /// Counts a retry, unless the budget is spent. Returns true if it was not.
    fn withdraw(&mut self, now: Instant) -> bool {
        self.slot(now);
        let deposits = self.slots.iter().map(|slot| slot.deposits).sum::<u64>() as f64;
        let withdrawals = self.slots.iter().map(|slot| slot.withdrawals).sum::<u64>() as f64;
        // A share such as 0.2 is not an exact number, and five calls at 20 % have to permit one retry.
        let balance = deposits * self.share + self.reserve - withdrawals + 1e-9;
        let balance = planted!(Bug::LargeBudget, balance + 1.0, else balance);
        let enough = balance >= 1.0;
        self.slot(now).withdrawals += u64::from(enough);
        enough
    }

    /// Returns the slot of `now`, after removing those that have left the window.
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

    /// Reads the table from the text of its keys.
    fn read(keys: &str) -> Result<RetryBudget, String> {
        let text = format!("name = \"x\"\nduration = \"1s\"\n[load]\nrate = 1\n[client.retry_budget]\n{keys}\n");
        let read = crate::scenario::Scenario::parse("x.toml", &text, &[]);
        read.map(|scenario| scenario.client.policies.retry_budget.expect("the table is there"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_keys_select_the_kind_of_budget_and_the_others_of_its_kind_have_defaults() {
        let keys = |keys: &str| {
            let read = read(keys).unwrap();
            (read.percent, read.min_retry_concurrency, read.ttl, read.min_per_second)
        };
        let ten_seconds = Some(Duration::from_secs(10));
        assert_eq!(keys(""), (20.0, Some(3), None, None));
        assert_eq!(keys("percent = 7.0\nmin_retry_concurrency = 1"), (7.0, Some(1), None, None));
        assert_eq!(keys("ttl = \"2s\""), (20.0, None, Some(Duration::from_secs(2)), Some(10.0)));
        assert_eq!(keys("min_per_second = 1.0"), (20.0, None, ten_seconds, Some(1.0)));
        assert_eq!(keys("deposit = \"success\""), (20.0, None, ten_seconds, Some(10.0)));
        for both in ["ttl = \"2s\"", "min_per_second = 1.0", "deposit = \"call\""] {
            assert!(read(&format!("min_retry_concurrency = 1\n{both}")).is_err());
        }
    }

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    /// Returns a budget with a time to live of a second.
    fn finagle(percent: f64, min_per_second: f64) -> FinagleBudget {
        FinagleBudget::new(percent, Duration::from_secs(1), min_per_second)
    }

    /// tower's documentation: "if 0.1 is used, then for every 10 calls to deposit, 1 retry will be allowed".
    #[test]
    fn ten_percent_permit_one_retry_for_every_ten_calls() {
        let mut budget = finagle(10.0, 0.0);
        assert!(!budget.withdraw(at(0)), "nothing was deposited");
        (0..9).for_each(|_| budget.deposit(at(0)));
        assert!(!budget.withdraw(at(0)));
        budget.deposit(at(0));
        assert!(budget.withdraw(at(0)) && !budget.withdraw(at(0)));
    }

    /// tower's documentation: "if 2.0 is used, then every deposit allows for 2 retries".
    #[test]
    fn two_hundred_percent_permit_two_retries_per_call() {
        let mut budget = finagle(200.0, 0.0);
        budget.deposit(at(0));
        assert!(budget.withdraw(at(0)) && budget.withdraw(at(0)) && !budget.withdraw(at(0)));
    }

    #[test]
    fn calls_and_retries_count_for_the_time_to_live() {
        let mut budget = finagle(100.0, 0.0);
        budget.deposit(at(50));
        budget.deposit(at(50));
        assert!(budget.withdraw(at(150)));
        assert!(budget.withdraw(at(999)), "within the ttl");
        budget.deposit(at(1_020));
        assert!(!budget.withdraw(at(1_040)), "the two calls have expired, their retries still count");
        budget.deposit(at(2_100));
        assert!(budget.withdraw(at(2_100)));
    }

    #[test]
    fn the_reserve_permits_retries_without_any_call() {
        let mut budget = finagle(20.0, 2.0);
        assert!(budget.withdraw(at(0)) && budget.withdraw(at(0)) && !budget.withdraw(at(0)));
        assert!(budget.withdraw(at(1_000)), "retries expire after the ttl");
    }

    #[test]
    fn retries_under_way_are_limited_to_a_share_of_the_attempts_under_way_but_at_least_to_the_minimum() {
        let budget = Budget::Envoy(Mutex::new(EnvoyBudget::new(20.0, 1)));
        assert!(budget.permit_retry(at(0)).is_ok(), "the minimum");
        assert_eq!(budget.permit_retry(at(0)), Err(BUDGET_SPENT));
        (0..9).for_each(|_| assert!(matches!(budget.admit(at(0), at(0)), Admission::Granted)));
        assert_eq!(budget.permit_retry(at(0)), Err(BUDGET_SPENT), "20 % of 9 is not 2");
        budget.admit(at(0), at(0));
        assert!(budget.permit_retry(at(0)).is_ok(), "20 % of 10 is");
        budget.on_retry_end();
        assert!(budget.permit_retry(at(0)).is_ok(), "a retry that has ended makes room");
    }

    #[test]
    fn with_deposits_by_success_calls_and_failures_earn_nothing() {
        let budget = Budget::Finagle(Deposit::Success, Mutex::new(finagle(100.0, 0.0)));
        let ends = |ending| {
            let end = AttemptEnd { server: Some(0), entered: at(0), now: at(0), took: Duration::ZERO, ending };
            budget.on_attempt_end(&end);
        };
        budget.on_call_start(at(0));
        ends(Ending::Status(Code::Unavailable, None));
        ends(Ending::Abandoned);
        assert_eq!(budget.permit_retry(at(0)), Err(BUDGET_SPENT));
        ends(Ending::Status(Code::Ok, None));
        assert!(budget.permit_retry(at(0)).is_ok());
        assert_eq!(budget.permit_retry(at(0)), Err(BUDGET_SPENT));
    }

    /// Counts the `times` in the last `span` before `now`.
    fn count_since(times: &[u64], now: u64, span: u64) -> f64 {
        times.iter().filter(|time| **time + span > now).count() as f64
    }

    proptest! {
        #[test]
        fn retries_within_any_ttl_never_exceed_their_share_and_the_reserve(
            steps in proptest::collection::vec((0..120_u64, any::<bool>()), 1..300), percent in 1..100_u32,
        ) {
            let mut budget = finagle(f64::from(percent), 3.0);
            let mut now = 0;
            let mut calls = Vec::new();
            let mut retries = Vec::new();
            for (gap, call) in steps {
                now += gap;
                if call {
                    budget.deposit(at(now));
                    calls.push(now);
                } else if budget.withdraw(at(now)) {
                    retries.push(now);
                    // The window of whole slots is between 900 ms and 1 s long.
                    let retries = count_since(&retries, now, 900);
                    let most = count_since(&calls, now, 1_000) * f64::from(percent) / 100.0 + 3.0;
                    prop_assert!(retries <= most + 1e-6, "{retries} of {most}");
                }
            }
        }
    }
}
