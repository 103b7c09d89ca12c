//! The results of the scenarios of Lab 3's backend, compared to what their probabilities predict.

use kernel::{
    record::{AttemptRow, Event, RequestRow},
    scenario::{self, Scenario, Workload},
    status::{Code, Outcome},
};

use crate::simulated::{MS, S, SimulatedRun, scenario, simulate};

/// Enough seeds to distinguish a formula from a similar one.
const SEEDS: std::ops::Range<u64> = 0..10;

fn simulated(scenario: &Scenario) -> Vec<SimulatedRun> {
    SEEDS.map(|seed| simulate(scenario.clone(), seed)).collect()
}

fn backend(scenario: &Scenario) -> scenario::Backend {
    let Workload::Backend(backend) = scenario.workload else { panic!("{} is not about a backend", scenario.name) };
    backend
}

/// Returns the probability that an attempt fails or hangs.
fn attempt_fails(scenario: &Scenario) -> f64 {
    let scenario::Backend { failure_rate, hang_rate, .. } = backend(scenario);
    failure_rate + hang_rate
}

fn requests(runs: &[SimulatedRun]) -> impl Iterator<Item = &RequestRow> {
    runs.iter().flat_map(|run| &run.records.requests)
}

fn attempts(runs: &[SimulatedRun]) -> impl Iterator<Item = &AttemptRow> {
    runs.iter().flat_map(|run| &run.records.attempts)
}

/// Panics unless the share of `hits` is `probability`, to five standard deviations of the binomial distribution.
#[track_caller]
fn assert_share(hits: impl Iterator<Item = bool>, probability: f64) {
    let mut count = 0_u32;
    let mut total = 0_u32;
    for hit in hits {
        count += u32::from(hit);
        total += 1;
    }
    let share = f64::from(count) / f64::from(total);
    let deviation = (probability * (1.0 - probability)).sqrt();
    let tolerance = 5.0 * deviation / f64::from(total).sqrt();
    assert!((share - probability).abs() <= tolerance, "{share} of {total}, not {probability} ± {tolerance}");
}

/// Panics unless the mean of `values` is `mean`, to five of its standard deviations.
#[track_caller]
fn assert_mean(values: &[f64], mean: f64, deviation: f64) {
    let actual = values.iter().sum::<f64>() / values.len() as f64;
    let tolerance = 5.0 * deviation / (values.len() as f64).sqrt();
    assert!((actual - mean).abs() <= tolerance, "{actual} of {}, not {mean} ± {tolerance}", values.len());
}

#[test]
fn without_a_policy_calls_fail_as_often_as_the_backend() {
    let baseline = scenario("backend_baseline");
    let scenario::Backend { failure_rate, hang_rate, .. } = backend(&baseline);
    let runs = simulated(&baseline);
    for (code, probability) in [
        (Code::Ok, 1.0 - failure_rate - hang_rate),
        (Code::Unavailable, failure_rate),
        (Code::DeadlineExceeded, hang_rate),
    ] {
        assert_share(requests(&runs).map(|row| row.status == Outcome::Status(code)), probability);
    }
    let hung = requests(&runs).filter(|row| row.status == Outcome::Status(Code::DeadlineExceeded));
    assert!(hung.into_iter().all(|row| row.latency_us == Some(5 * S)));
    let others = requests(&runs).filter(|row| row.status != Outcome::Status(Code::DeadlineExceeded));
    assert!(others.into_iter().all(|row| (20 * MS..22 * MS).contains(&row.latency_us.unwrap())));
}

#[test]
fn retries_fail_only_if_every_attempt_does() {
    for name in ["backend_retry", "backend_retry_breaker"] {
        let scenario = scenario(name);
        let fails = attempt_fails(&scenario);
        let most = scenario.client.retry.max_attempts;
        let runs = simulated(&scenario);
        assert_share(requests(&runs).map(|row| row.status == Outcome::OK), 1.0 - fails.powi(most as i32));
        let mean = moment_of_attempts(1, fails, most);
        let deviation = (moment_of_attempts(2, fails, most) - mean.powi(2)).sqrt();
        let made: Vec<_> = requests(&runs).map(|row| f64::from(row.attempts)).collect();
        assert_mean(&made, mean, deviation);
        assert_eq!(runs.iter().map(|run| run.events(Event::BreakerOpened).count()).sum::<usize>(), 0, "{name}");
    }
}

/// Returns the expectation of a power of the number of attempts, each of which fails with probability `fails`. An attempt
/// follows if all before it have failed, up to `most`.
fn moment_of_attempts(power: i32, fails: f64, most: u32) -> f64 {
    let probability_of_exactly = (1..=most).map(|made| {
        let all_before_fail = fails.powi(made as i32 - 1);
        if made < most { all_before_fail * (1.0 - fails) } else { all_before_fail }
    });
    (1..=most).zip(probability_of_exactly).map(|(made, probability)| f64::from(made).powi(power) * probability).sum()
}

#[test]
fn variants_have_the_same_failures() {
    assert_eq!(first_attempts("backend_baseline"), first_attempts("backend_retry"));
}

fn first_attempts(name: &str) -> Vec<(u64, Code)> {
    let run = simulate(scenario(name), 7);
    run.records.attempts.iter().filter(|row| row.attempt == 1).map(|row| (row.request, row.status)).collect()
}

/// The share of successful attempts does not depend on how a policy chooses what to send (Wald's identity): a breaker that
/// opens at random failures rejects as many good calls as bad ones.
#[test]
fn a_breaker_alone_does_not_know_which_calls_would_fail() {
    let breaker = scenario("backend_breaker");
    let runs = simulated(&breaker);
    assert_share(attempts(&runs).map(|row| row.status == Code::Ok), 1.0 - attempt_fails(&breaker));
    let rejected = requests(&runs).filter(|row| row.rejected);
    assert!(rejected.into_iter().all(|row| row.latency_us.unwrap() < MS), "they are rejected at once");
}

#[test]
fn a_breaker_alone_opens_as_often_as_the_probabilities_predict() {
    let breaker = scenario("backend_breaker");
    let settings = breaker.client.policies.circuit_breaker.as_ref().expect("it has a breaker");
    let in_a_row = settings.consecutive_failures.expect("it counts failures in a row");
    let (mean, deviation) = calls_until_open(&breaker, in_a_row);
    let runs: Vec<_> = (0..40).map(|seed| simulate(breaker.clone(), seed)).collect();
    let gap = 1e6 / breaker.load.rate;
    let opened = runs.iter().map(|run| run.events(Event::BreakerOpened).next().expect("it opens").at_us as f64 / gap);
    assert_mean(&opened.collect::<Vec<_>>(), mean, deviation);
}

/// Returns the mean and the standard deviation of the number of gaps between arrivals until `in_a_row` outcomes in a row
/// have been failures.
///
/// In each gap one call succeeds, fails or hangs; and a call that hung a timeout earlier ends. So the state is the number of
/// failures in a row, and whether calls can have timed out by now.
fn calls_until_open(scenario: &Scenario, in_a_row: usize) -> (f64, f64) {
    let scenario::Backend { failure_rate, hang_rate, .. } = backend(scenario);
    let timeout = (scenario.client.attempt_timeout.as_secs_f64() * scenario.load.rate).round() as usize;
    let mut state = vec![0.0; in_a_row + 1];
    state[0] = 1.0;
    let mut mean = 0.0;
    let mut square = 0.0;
    // The probability that is left after a hundred thousand gaps is negligible.
    for gap in 0..100_000 {
        let before = state[in_a_row];
        // The earlier one ends as the call of this gap begins, 20 ms before that has its outcome.
        let late = if gap >= timeout { hang_rate } else { 0.0 };
        state = step(&state, late, 0.0);
        state = step(&state, failure_rate, 1.0 - failure_rate - hang_rate);
        let opens = state[in_a_row] - before;
        mean += opens * gap as f64;
        square += opens * (gap as f64).powi(2);
    }
    (mean, (square - mean.powi(2)).sqrt())
}

/// Returns the next state: one more failure in a row with probability `fails`, none with probability `works`, else no
/// change. The last state is final.
fn step(state: &[f64], fails: f64, works: f64) -> Vec<f64> {
    let last = state.len() - 1;
    let mut next = vec![0.0; state.len()];
    next[last] = state[last];
    for (row, share) in state[..last].iter().enumerate() {
        next[row + 1] += share * fails;
        next[0] += share * works;
        next[row] += share * (1.0 - fails - works);
    }
    next
}

/// Lab 3's breaker counts five failed calls of four attempts each, which are not five failed attempts.
#[test]
fn a_breaker_of_five_failed_attempts_opens_too_early() {
    let mut hasty = scenario("backend_retry_breaker");
    let breaker = hasty.client.policies.circuit_breaker.as_mut().expect("it has a breaker");
    (breaker.failure_rate_threshold, breaker.consecutive_failures) = (None, Some(5));
    for seed in [42, 7] {
        let hasty = simulate(hasty.clone(), seed);
        assert!(hasty.summary.overall.success_rate.unwrap() < 0.5, "{}", hasty.report());
    }
}

#[test]
fn in_an_outage_calls_are_rejected_at_once_and_served_soon_after_it() {
    let outage = scenario("backend_outage");
    for seed in [42, 7] {
        let run = simulate(outage.clone(), seed);
        let (gone, back) = run.fault(0);
        let opened: Vec<_> = run.events(Event::BreakerOpened).map(|row| row.at_us).collect();
        assert!(opened.len() == 1 && (gone + 5 * S..gone + 6 * S).contains(&opened[0]), "{opened:?}");
        let rejected = run.records.requests.iter().filter(|row| row.rejected);
        assert!(rejected.into_iter().all(|row| row.latency_us.unwrap() < MS));
        let meanwhile: Vec<_> = run.intended(opened[0] + MS, back).collect();
        assert!(meanwhile.iter().all(|row| row.rejected && row.attempts == 0) && meanwhile.len() > 250);
        let served = run.records.requests.iter().filter(|row| row.status == Outcome::OK && row.sent_us > Some(gone));
        let first = served.filter_map(|row| row.done_us).min().expect("it is back");
        assert!((back..back + 5 * S).contains(&first), "{first}");
        assert!(run.intended(first, u64::MAX).all(|row| row.status == Outcome::OK), "{}", run.report());
    }
}

#[test]
fn half_of_the_calls_fail_while_one_of_two_pods_does() {
    for seed in [42, 7] {
        let run = simulate(scenario("backend_partial"), seed);
        let (start, lifted) = run.fault(0);
        let meanwhile: Vec<_> = run.intended(start, lifted).collect();
        let failed = meanwhile.iter().filter(|row| row.status == Outcome::Status(Code::Unknown)).count();
        assert_eq!((meanwhile.len(), failed), (200, 100), "{}", run.report());
        assert!(meanwhile.iter().all(|row| (row.status == Outcome::OK) == (row.server.as_deref() == Some("server-0"))));
        assert_eq!(run.events(Event::BreakerOpened).count(), 0);
        let failures = run.records.requests.iter().filter(|row| row.status != Outcome::OK);
        assert_eq!(failures.count(), 100, "none before and none after");
    }
}

#[test]
fn a_client_that_notices_the_bad_pod_loses_next_to_nothing() {
    let mut noticed = scenario("backend_partial");
    let scenario::FaultKind::Errors { status, .. } = &mut noticed.faults[0].kind else { panic!("it is of errors") };
    *status = Some(Code::Unavailable);
    // One as the fault begins, and one after each of the four checks in 20 s that the pod passes.
    assert!((1..=5).contains(&failed_requests(&noticed)), "{}", failed_requests(&noticed));
    noticed.client.retry.max_attempts = 2;
    assert_eq!(failed_requests(&noticed), 0);
}

fn failed_requests(scenario: &Scenario) -> usize {
    let run = simulate(scenario.clone(), 42);
    run.records.requests.iter().filter(|row| row.status != Outcome::OK).count()
}
