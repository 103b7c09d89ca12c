//! What holds of every run, whatever the scenario and the seed.

use std::time::Duration;

use kernel::{
    entropy::Entropy,
    load::Schedule,
    record::{AttemptRow, Event, EventRow, RequestRow},
    scenario::Jitter,
    status::{Code, Outcome},
};

use crate::play::{Story, us};

/// Times are rounded down to microseconds; a difference of two is off by one.
const ROUNDING: u64 = 1;

/// Panics unless nothing was lost, made up, late or out of policy.
pub(crate) fn check(story: &Story) {
    every_arrival_has_one_row(story);
    for request in &story.records.requests {
        calls_and_attempts_agree(story, request);
        calls_and_attempts_end_in_time(story, request);
    }
    events_and_attempts_agree(story);
    backoffs_are_those_of_the_policy(story);
    no_more_runs_at_once_than_there_are_workers(story);
}

fn every_arrival_has_one_row(story: &Story) {
    let schedule = Schedule::new(&story.scenario.load, story.scenario.duration, Entropy::new(story.seed));
    let scheduled: Vec<_> = (0..).zip(schedule.map(|at| at.as_micros())).collect();
    let rows: Vec<_> = story.records.requests.iter().map(|row| (row.id, row.intended_us)).collect();
    assert_eq!(rows, scheduled, "{}", story.account());
}

fn calls_and_attempts_agree(story: &Story, request: &RequestRow) {
    let attempts = story.attempts_of(request);
    let told = || format!("{request:?}\n{attempts:?}\n{}", story.account());
    let numbers: Vec<u32> = attempts.iter().map(|row| row.attempt).collect();
    assert_eq!(numbers, (1..=request.attempts).collect::<Vec<_>>(), "{}", told());
    assert!(attempts.iter().all(|row| row.cause.is_none() == (row.status == Code::Ok)), "{}", told());
    if let Some(hedging) = &story.scenario.client.policies.hedging {
        let allowed = |row: &AttemptRow| {
            let other = row.cause.as_deref() == Some("another attempt was faster");
            other || row.status == Code::Ok || hedging.non_fatal_status_codes.contains(&row.status)
        };
        assert!(request.attempts as usize <= hedging.max_attempts && request.failovers == 0, "{}", told());
        assert_eq!(request.hedges, request.attempts.saturating_sub(1), "{}", told());
        let answered = attempts.iter().filter(|row| row.status == Code::Ok);
        assert_eq!(answered.count(), usize::from(request.status == Outcome::OK), "{}", told());
        assert!(attempts.iter().all(allowed), "{}", told());
        return;
    }
    assert!(request.attempts <= story.scenario.client.retry.max_attempts, "{}", told());
    let moves = attempts.windows(2).filter(|pair| pair[0].server != pair[1].server).count();
    assert_eq!(request.failovers as usize, moves, "{}", told());
    if !request.rejected && request.answer.is_none() {
        let last = attempts.last();
        assert_eq!(request.status, last.map_or(Outcome::Dropped, |row| Outcome::Status(row.status)), "{}", told());
        assert_eq!(request.done_us, last.map(|row| row.end_us), "{}", told());
    }
    let retryable = &story.scenario.client.retry.retryable_status_codes;
    let retried = attempts.split_last().map_or(&[][..], |(_, retried)| retried);
    assert!(retried.iter().all(|row| retryable.contains(&row.status)), "{}", told());
}

fn calls_and_attempts_end_in_time(story: &Story, request: &RequestRow) {
    let client = &story.scenario.client;
    let call = request.done_us.zip(request.sent_us).map(|(done_us, sent_us)| done_us - sent_us);
    assert!(call.is_none_or(|took| took <= us(client.deadline) + ROUNDING), "{request:?}\n{}", story.account());
    for row in story.attempts_of(request) {
        let took = row.end_us - row.start_us;
        assert!(took <= us(client.attempt_timeout) + ROUNDING, "{row:?}\n{}", story.account());
    }
}

fn events_and_attempts_agree(story: &Story) {
    let failed = story.records.attempts.iter().filter(|row| row.status != Code::Ok).count();
    let counted = |event| story.events(event).count();
    assert_eq!(counted(Event::Pick), story.records.attempts.len(), "{}", story.account());
    assert_eq!(counted(Event::AttemptFailed), failed, "{}", story.account());
    assert_eq!(counted(Event::Failover) as u64, story.summary.overall.failovers, "{}", story.account());
    assert_eq!(counted(Event::Hedge) as u64, story.summary.overall.hedges, "{}", story.account());
    // What a policy turns down after its backoff is no retry.
    let turned_down = story.records.requests.iter().filter(|row| row.rejected && row.attempts > 0).count() as u64;
    let (backoffs, retries) = (counted(Event::Backoff) as u64, story.summary.overall.retries);
    assert!((retries..=retries + turned_down).contains(&backoffs), "{}", story.account());
}

/// And the next attempt begins when its backoff ends.
fn backoffs_are_those_of_the_policy(story: &Story) {
    let retry = &story.scenario.client.retry;
    let (low, high) = match retry.jitter {
        Jitter::None => (1.0, 1.0),
        Jitter::Proportional => (0.8, 1.2),
        Jitter::Full => (0.0, 1.0),
        Jitter::Equal => (0.5, 1.0),
    };
    for row in story.events(Event::Backoff) {
        let (request, attempt) = row.request.zip(row.attempt).expect("it is of an attempt");
        let grown = retry.initial_backoff.mul_f64(retry.backoff_multiplier.powi(attempt as i32 - 1));
        let grown = grown.min(retry.max_backoff);
        let bounds = us(grown.mul_f64(low))..=us(grown.mul_f64(high)) + ROUNDING;
        assert!(bounds.contains(&span(row)), "{row:?}\n{}", story.account());
        if story.records.requests[request as usize].rejected {
            continue;
        }
        let next = find(story, request, attempt + 1);
        assert!(next.start_us.abs_diff(row.at_us + span(row)) <= ROUNDING, "{row:?}, {next:?}");
    }
}

fn find(story: &Story, request: u64, attempt: u32) -> &AttemptRow {
    let found = story.records.attempts.iter().find(|row| (row.request, row.attempt) == (request, attempt));
    found.unwrap_or_else(|| panic!("request {request} has no attempt {attempt}\n{}", story.account()))
}

/// Work that ends as other work begins does not overlap with it.
fn no_more_runs_at_once_than_there_are_workers(story: &Story) {
    for server in story.scenario.server_names() {
        let finished = story.events(Event::Finished).filter(|row| row.source == server);
        let held = finished.map(|row| (row.at_us - span(row) + ROUNDING, row.at_us));
        let most = most_at_once(held);
        assert!(most <= story.scenario.servers.workers, "{most} at once on {server}\n{}", story.account());
        let least = us(story.scenario.servers.service_time_min.saturating_sub(Duration::from_micros(ROUNDING)));
        assert!(story.events(Event::Finished).all(|row| span(row) >= least), "{}", story.account());
    }
}

fn span(row: &EventRow) -> u64 {
    row.duration_us.expect("an event of this kind says how long it takes")
}

/// The largest number of `spans`, from a start to just before an end, that hold one instant.
pub(crate) fn most_at_once(spans: impl Iterator<Item = (u64, u64)>) -> usize {
    let mut changes: Vec<(u64, i32)> = spans.flat_map(|(start, end)| [(start, 1), (end, -1)]).collect();
    changes.sort_unstable();
    let levels = changes.iter().scan(0, |level, (_, change)| {
        *level += change;
        Some(*level)
    });
    levels.max().unwrap_or(0).try_into().expect("no more spans end than have begun")
}
