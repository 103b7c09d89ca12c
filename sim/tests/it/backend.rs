//! What the scenarios of Lab 3's backend come to, held against what their probabilities say.

use kernel::{
    record::{AttemptRow, Event, RequestRow},
    scenario::{self, Scenario, Workload},
    status::{Code, Outcome},
};

use crate::play::{MS, S, Story, play, scenario};

/// As many as it takes to tell a formula from its neighbours.
const SEEDS: std::ops::Range<u64> = 0..10;

fn played(scenario: &Scenario) -> Vec<Story> {
    SEEDS.map(|seed| play(scenario.clone(), seed)).collect()
}

fn backend(scenario: &Scenario) -> scenario::Backend {
    let Workload::Backend(backend) = scenario.workload else { panic!("{} is not about a backend", scenario.name) };
    backend
}

/// The probability that an attempt comes to nothing.
fn attempt_fails(scenario: &Scenario) -> f64 {
    let scenario::Backend { failure_rate, hang_rate, .. } = backend(scenario);
    failure_rate + hang_rate
}

fn requests(stories: &[Story]) -> impl Iterator<Item = &RequestRow> {
    stories.iter().flat_map(|story| &story.records.requests)
}

fn attempts(stories: &[Story]) -> impl Iterator<Item = &AttemptRow> {
    stories.iter().flat_map(|story| &story.records.attempts)
}

/// Panics unless the share of `hits` is `probability`, to five standard deviations of the binomial distribution.
#[track_caller]
fn assert_share(hits: impl Iterator<Item = bool>, probability: f64) {
    let (mut count, mut total) = (0_u32, 0_u32);
    for hit in hits {
        count += u32::from(hit);
        total += 1;
    }
    let (share, deviation) = (f64::from(count) / f64::from(total), (probability * (1.0 - probability)).sqrt());
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
fn without_a_policy_callers_get_what_the_backend_gives() {
    let baseline = scenario("backend_baseline");
    let scenario::Backend { failure_rate, hang_rate, .. } = backend(&baseline);
    let stories = played(&baseline);
    let told = |code| requests(&stories).map(move |row| row.status == Outcome::Status(code));
    assert_share(told(Code::Ok), 1.0 - failure_rate - hang_rate);
    assert_share(told(Code::Unavailable), failure_rate);
    assert_share(told(Code::DeadlineExceeded), hang_rate);
    let hung = requests(&stories).filter(|row| row.status == Outcome::Status(Code::DeadlineExceeded));
    assert!(hung.into_iter().all(|row| row.latency_us == Some(5 * S)));
    let others = requests(&stories).filter(|row| row.status != Outcome::Status(Code::DeadlineExceeded));
    assert!(others.into_iter().all(|row| (20 * MS..22 * MS).contains(&row.latency_us.unwrap())));
}

#[test]
fn retries_fail_only_if_every_attempt_does() {
    for name in ["backend_retry", "backend_retry_breaker"] {
        let scenario = scenario(name);
        let (fails, most) = (attempt_fails(&scenario), scenario.client.retry.max_attempts);
        let stories = played(&scenario);
        assert_share(requests(&stories).map(|row| row.status == Outcome::OK), 1.0 - fails.powi(most as i32));
        // An attempt after `made` is made if all of those have failed.
        let share = |made: u32| {
            if made < most { fails.powi(made as i32 - 1) * (1.0 - fails) } else { fails.powi(made as i32 - 1) }
        };
        let moment = |power: i32| (1..=most).map(|made| f64::from(made).powi(power) * share(made)).sum::<f64>();
        let (mean, deviation) = (moment(1), (moment(2) - moment(1).powi(2)).sqrt());
        let made: Vec<_> = requests(&stories).map(|row| f64::from(row.attempts)).collect();
        assert_mean(&made, mean, deviation);
        assert_eq!(stories.iter().map(|story| story.events(Event::BreakerOpened).count()).sum::<usize>(), 0, "{name}");
    }
}

#[test]
fn variants_meet_the_same_failures() {
    let first = |name| {
        let story = play(scenario(name), 7);
        let first: Vec<_> = story.records.attempts.iter().filter(|row| row.attempt == 1).cloned().collect();
        first.into_iter().map(|row| (row.request, row.status)).collect::<Vec<_>>()
    };
    assert_eq!(first("backend_baseline"), first("backend_retry"));
}

/// However a policy chooses what to send, of what it sends as much succeeds as ever (Wald's identity): a breaker that opens
/// at failures that mean nothing turns down as many good calls as bad ones.
#[test]
fn a_breaker_alone_does_not_know_which_calls_would_fail() {
    let breaker = scenario("backend_breaker");
    let stories = played(&breaker);
    assert_share(attempts(&stories).map(|row| row.status == Code::Ok), 1.0 - attempt_fails(&breaker));
    let rejected = requests(&stories).filter(|row| row.rejected);
    assert!(rejected.into_iter().all(|row| row.latency_us.unwrap() < MS), "they are told at once");
}

#[test]
fn a_breaker_alone_opens_when_chance_would_have_it() {
    let breaker = scenario("backend_breaker");
    let settings = breaker.client.policies.circuit_breaker.as_ref().expect("it has a breaker");
    let in_a_row = settings.consecutive_failures.expect("it counts failures in a row");
    let (mean, deviation) = calls_until_open(&breaker, in_a_row);
    let stories: Vec<_> = (0..40).map(|seed| play(breaker.clone(), seed)).collect();
    let gap = 1e6 / breaker.load.rate;
    let opened = |story: &Story| story.events(Event::BreakerOpened).next().expect("it opens").at_us as f64 / gap;
    assert_mean(&stories.iter().map(opened).collect::<Vec<_>>(), mean, deviation);
}

/// Mean and standard deviation of the number of gaps between arrivals until `in_a_row` outcomes have been failures.
///
/// In a gap one call is answered, or told of its failure, or hangs; and one that hung a timeout earlier ends. So the state is
/// how many failures were in a row, and whether calls can have timed out by now.
fn calls_until_open(scenario: &Scenario, in_a_row: usize) -> (f64, f64) {
    let scenario::Backend { failure_rate, hang_rate, .. } = backend(scenario);
    let timeout = (scenario.client.attempt_timeout.as_secs_f64() * scenario.load.rate).round() as usize;
    let mut state = vec![0.0; in_a_row + 1];
    state[0] = 1.0;
    let (mut mean, mut square) = (0.0, 0.0);
    // Beyond a hundred thousand gaps nothing is left to count.
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

/// One more failure in a row with probability `fails`, none with probability `works`, else no change. The last state stays.
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

/// Lab 3's five failures around calls of four attempts are not five failed attempts inside of them.
#[test]
fn five_failed_attempts_in_a_row_are_no_reason_to_open() {
    let mut hasty = scenario("backend_retry_breaker");
    let breaker = hasty.client.policies.circuit_breaker.as_mut().expect("it has a breaker");
    (breaker.failure_rate_threshold, breaker.consecutive_failures) = (None, Some(5));
    for seed in [42, 7] {
        let hasty = play(hasty.clone(), seed);
        assert!(hasty.summary.overall.success_rate.unwrap() < 0.5, "{}", hasty.account());
    }
}

#[test]
fn in_an_outage_callers_are_told_at_once_and_served_soon_after_it() {
    let outage = scenario("backend_outage");
    for seed in [42, 7] {
        let story = play(outage.clone(), seed);
        let (gone, back) = story.fault(0);
        let opened: Vec<_> = story.events(Event::BreakerOpened).map(|row| row.at_us).collect();
        assert!(opened.len() == 1 && (gone + 5 * S..gone + 6 * S).contains(&opened[0]), "{opened:?}");
        let rejected = story.records.requests.iter().filter(|row| row.rejected);
        assert!(rejected.into_iter().all(|row| row.latency_us.unwrap() < MS));
        let meanwhile: Vec<_> = story.intended(opened[0] + MS, back).collect();
        assert!(meanwhile.iter().all(|row| row.rejected && row.attempts == 0) && meanwhile.len() > 250);
        let served = story.records.requests.iter().filter(|row| row.status == Outcome::OK && row.sent_us > Some(gone));
        let first = served.filter_map(|row| row.done_us).min().expect("it is back");
        assert!((back..back + 5 * S).contains(&first), "{first}");
        assert!(story.intended(first, u64::MAX).all(|row| row.status == Outcome::OK), "{}", story.account());
    }
}

#[test]
fn half_of_the_calls_fail_while_one_of_two_pods_does() {
    for seed in [42, 7] {
        let story = play(scenario("backend_partial"), seed);
        let (start, lifted) = story.fault(0);
        let meanwhile: Vec<_> = story.intended(start, lifted).collect();
        let failed = meanwhile.iter().filter(|row| row.status == Outcome::Status(Code::Unknown)).count();
        assert_eq!((meanwhile.len(), failed), (200, 100), "{}", story.account());
        assert!(meanwhile.iter().all(|row| (row.status == Outcome::OK) == (row.server.as_deref() == Some("server-0"))));
        assert_eq!(story.events(Event::BreakerOpened).count(), 0);
        let failures = story.records.requests.iter().filter(|row| row.status != Outcome::OK);
        assert_eq!(failures.count(), 100, "none before and none after");
    }
}

#[test]
fn a_client_that_notices_the_bad_pod_loses_next_to_nothing() {
    let mut noticed = scenario("backend_partial");
    let scenario::FaultKind::Errors { status, .. } = &mut noticed.faults[0].kind else { panic!("it is of errors") };
    *status = Code::Unavailable;
    let lost = |scenario: &Scenario| {
        let story = play(scenario.clone(), 42);
        story.records.requests.iter().filter(|row| row.status != Outcome::OK).count()
    };
    // One as the fault begins, and one after each of the four checks in 20 s that the pod passes.
    assert!((1..=5).contains(&lost(&noticed)), "{}", lost(&noticed));
    noticed.client.retry.max_attempts = 2;
    assert_eq!(lost(&noticed), 0);
}
