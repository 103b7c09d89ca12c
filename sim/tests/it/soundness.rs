//! What holds of every run is found not to hold of a record that is doctored.

use std::time::Duration;

use kernel::{
    invariant::{self, Evidence, Invariant, Violation},
    policy::{Policies, RetryBudget, RetryThrottling},
    record::{Event, EventRow, Records},
    status::{Code, Outcome},
};

use crate::play::{S, Story, play, scenario};

/// What holds is in `kernel::invariant`.
pub(crate) fn check(story: &Story) {
    let broken = broken(story, &story.records);
    let told: String = broken.iter().map(|broken| format!("{broken}\n")).collect();
    assert!(broken.is_empty(), "{told}{}", story.account());
}

fn broken(story: &Story, records: &Records) -> Vec<Violation> {
    let Story { scenario, seed, .. } = story;
    let late = Some(Duration::ZERO);
    invariant::check(&Evidence { scenario, seed: *seed, duration: scenario.duration, late, records })
}

/// What is found in the record of `story` once `doctor` has been at it.
fn found(story: &Story, doctor: impl FnOnce(&mut Records)) -> Vec<Violation> {
    check(story);
    let mut records = story.records.clone();
    doctor(&mut records);
    assert_ne!(records, story.records, "nothing was doctored");
    records.sort();
    broken(story, &records)
}

/// It is that invariant and no other, in the name of `request`.
#[track_caller]
fn assert_breaks(story: &Story, invariant: Invariant, request: Option<u64>, doctor: impl FnOnce(&mut Records)) {
    let found = found(story, doctor);
    let of: Vec<_> = found.iter().map(|broken| (broken.invariant, broken.request)).collect();
    assert!(!of.is_empty() && of.iter().all(|broken| *broken == (invariant, request)), "{found:?}");
}

/// It is that invariant, among others that what was doctored breaks, too.
#[track_caller]
fn assert_breaks_also(story: &Story, invariant: Invariant, request: Option<u64>, doctor: impl FnOnce(&mut Records)) {
    let found = found(story, doctor);
    assert!(found.iter().any(|broken| (broken.invariant, broken.request) == (invariant, request)), "{found:?}");
}

fn crash_then_freeze() -> Story {
    play(scenario("crash_then_freeze"), 42)
}

fn event(records: &mut Records, is: impl Fn(&EventRow) -> bool) -> &mut EventRow {
    records.events.iter_mut().find(|row| is(row)).unwrap()
}

/// Adds an event that another one is the pattern of.
fn add(records: &mut Records, pattern: Event, change: impl FnOnce(&mut EventRow)) {
    let mut row = records.events.iter().find(|row| row.event == pattern).unwrap().clone();
    change(&mut row);
    records.events.push(row);
}

#[test]
fn a_request_without_a_row_and_one_that_was_never_intended_are_found() {
    let story = crash_then_freeze();
    let last = story.records.requests.len() as u64 - 1;
    let missing = found(&story, |records| drop(records.requests.pop()));
    assert!(missing.iter().any(|broken| (broken.invariant, broken.request) == (Invariant::OneOutcome, Some(last))));
    let twice = found(&story, |records| records.requests.push(records.requests[7].clone()));
    assert!(twice.iter().any(|broken| (broken.invariant, broken.request) == (Invariant::OneOutcome, Some(7))));
    assert_breaks(&story, Invariant::OneOutcome, Some(3), |records| records.requests[3].intended_us += 1);
}

#[test]
fn an_interrupted_run_may_lack_the_rest_of_its_requests_and_none_before() {
    let story = crash_then_freeze();
    let Story { scenario, seed, .. } = &story;
    let half = scenario.duration / 2;
    let judge =
        |records: &Records| invariant::check(&Evidence { scenario, seed: *seed, duration: half, late: None, records });
    let mut records = story.records.clone();
    let kept = records.requests.len() as u64 / 2;
    records.requests.retain(|row| row.id < kept);
    records.attempts.retain(|row| row.request < kept);
    records.events.retain(|row| row.request.is_none_or(|id| id < kept));
    assert_eq!(judge(&records), []);
    records.requests.remove(5);
    assert!(judge(&records).iter().any(|broken| broken.invariant == Invariant::OneOutcome));
}

#[test]
fn a_call_and_its_attempts_that_differ_are_found() {
    let story = crash_then_freeze();
    assert_breaks(&story, Invariant::ConsistentLog, Some(9), |records| records.requests[9].failovers = 1);
    assert_breaks(&story, Invariant::ConsistentLog, Some(9), |records| {
        records.requests[9].status = Outcome::Status(Code::Internal);
    });
    assert_breaks(&story, Invariant::ConsistentLog, Some(9), |records| {
        records.attempts.retain(|row| row.request != 9);
        records.events.retain(|row| row.event != Event::Pick || row.request != Some(9));
    });
    let retried = story.records.requests.iter().find(|row| row.attempts > 1).unwrap().id;
    assert_breaks(&story, Invariant::ConsistentLog, Some(retried), |records| {
        records.events.retain(|row| row.event != Event::Backoff || row.request != Some(retried));
    });
}

#[test]
fn an_attempt_too_many_and_a_backoff_too_short_are_found() {
    let mut story = crash_then_freeze();
    let retried = story.records.requests.iter().find(|row| row.attempts > 1).unwrap().id;
    assert_breaks(&story, Invariant::WithinLimits, Some(retried), |records| {
        let is_it = |row: &EventRow| row.event == Event::Backoff && row.request == Some(retried);
        event(records, is_it).duration_us = Some(1);
    });
    assert_breaks_also(&story, Invariant::WithinLimits, Some(retried), |records| {
        let second = records.attempts.iter_mut().find(|row| (row.request, row.attempt) == (retried, 2)).unwrap();
        second.start_us -= 50_000;
    });
    story.scenario.client.retry.max_attempts = 1;
    let found = broken(&story, &story.records);
    assert!(found.iter().all(|broken| broken.invariant == Invariant::WithinLimits), "{found:?}");
    let retried: Vec<_> = story.records.requests.iter().filter(|row| row.attempts > 1).map(|row| row.id).collect();
    let mut named: Vec<_> = found.iter().filter_map(|broken| broken.request).collect();
    named.sort_unstable();
    assert_eq!(named, retried);
}

#[test]
fn an_attempt_through_an_open_breaker_is_found() {
    let story = play(scenario("breaker"), 42);
    let opened = story.events(Event::BreakerOpened).next().unwrap();
    let (at_us, target) = (opened.at_us + 1, opened.target.clone());
    let found = found(&story, |records| {
        add(records, Event::Pick, |row| (row.at_us, row.target) = (at_us, target.or(row.target.take())));
    });
    assert!(found.iter().any(|broken| broken.invariant == Invariant::WithinLimits), "{found:?}");
}

#[test]
fn a_deadline_and_a_timeout_that_do_not_hold_are_found() {
    let mut story = crash_then_freeze();
    let slowest = story.records.requests.iter().max_by_key(|row| row.latency_us).unwrap();
    let (id, took) = (slowest.id, slowest.latency_us.unwrap());
    story.scenario.client.deadline = Duration::from_micros(took - 2);
    let found = broken(&story, &story.records);
    assert_eq!(
        found.iter().map(|row| (row.invariant, row.request)).collect::<Vec<_>>(),
        [(Invariant::DeadlinesHold, Some(id))]
    );
    let mut story = crash_then_freeze();
    story.scenario.client.attempt_timeout = Duration::from_millis(1);
    assert!(broken(&story, &story.records).iter().any(|broken| broken.invariant == Invariant::DeadlinesHold));
}

#[test]
fn an_answer_of_a_dead_or_frozen_server_or_of_none_is_found() {
    let story = crash_then_freeze();
    let (crash, freeze) = (story.fault(0).0, story.fault(1).0);
    for (server, at) in [("server-0", crash + S), ("server-1", freeze + S)] {
        assert_breaks_also(&story, Invariant::NoResponseFromDeadServer, Some(4), |records| {
            let is_it = |row: &EventRow| row.event == Event::Finished && row.request == Some(4);
            let row = records.events.iter().find(|row| is_it(row)).unwrap().clone();
            records.events.push(EventRow { at_us: at, source: server.into(), ..row });
        });
    }
    assert_breaks(&story, Invariant::NoResponseFromDeadServer, Some(4), |records| {
        records.events.retain(|row| row.event != Event::Finished || row.request != Some(4));
    });
}

#[test]
fn more_work_at_once_than_there_are_workers_and_work_too_short_are_found() {
    let story = play(scenario("overload"), 42);
    let first = story.events(Event::Finished).next().unwrap().request;
    assert_breaks_also(&story, Invariant::Capacity, None, |records| {
        let is_it = |row: &EventRow| row.event == Event::Finished && row.request != first;
        let row = event(records, is_it);
        let twin = EventRow { at_us: row.at_us - 1, ..row.clone() };
        records.events.push(twin);
    });
    assert_breaks(&story, Invariant::Capacity, first, |records| {
        event(records, |row| row.event == Event::Finished).duration_us = Some(1);
    });
}

#[test]
fn a_client_that_never_learns_that_a_server_is_back_or_gone_is_found() {
    let story = crash_then_freeze();
    assert_breaks_also(&story, Invariant::HealthConverges, None, |records| {
        records.events.retain(|row| row.event != Event::Unhealthy || row.target.as_deref() != Some("server-0"));
    });
    let mut long = scenario("cascading_crash");
    long.duration *= 2;
    let story = play(long, 42);
    let last = story.events_on(Event::Unhealthy, "server-0").last().unwrap().at_us;
    assert_breaks_also(&story, Invariant::HealthConverges, None, |records| {
        let is_later = |row: &EventRow| row.at_us >= last && row.target.as_deref() == Some("server-0");
        records.events.retain(|row| row.event != Event::Healthy || !is_later(row));
    });
}

#[test]
fn an_attempt_and_a_call_that_never_end_are_found() {
    let story = crash_then_freeze();
    assert_breaks(&story, Invariant::Drains, Some(11), |records| {
        add(records, Event::Pick, |row| (row.request, row.attempt) = (Some(11), Some(2)));
    });
    let never = found(&story, |records| records.requests[11].done_us = None);
    assert!(never.iter().any(|broken| (broken.invariant, broken.request) == (Invariant::Drains, Some(11))));
}

#[test]
fn an_answer_that_is_not_the_kernels_is_found() {
    let story = crash_then_freeze();
    assert_breaks(&story, Invariant::CorrectResult, Some(2), |records| {
        add(records, Event::Pick, |row| (row.event, row.request) = (Event::WrongResult, Some(2)));
    });
}

#[test]
fn attempts_outside_of_their_call_and_ends_that_were_not_told_are_found() {
    let story = crash_then_freeze();
    assert_breaks(&story, Invariant::ConsistentLog, Some(9), |records| {
        let row = records.attempts.iter_mut().find(|row| row.request == 9).unwrap();
        row.start_us = row.end_us + 1;
    });
    assert_breaks(&story, Invariant::ConsistentLog, Some(9), |records| records.requests[9].server = None);
    assert_breaks(&story, Invariant::ConsistentLog, Some(9), |records| records.requests[9].hedges = 1);
    assert_breaks(&story, Invariant::ConsistentLog, Some(9), |records| {
        add(records, Event::Pick, |row| (row.event, row.request, row.attempt) = (Event::GiveUp, Some(9), None));
    });
    assert_breaks(&story, Invariant::ConsistentLog, Some(9), |records| {
        let is_it = |row: &EventRow| row.event == Event::Pick && row.request == Some(9);
        event(records, is_it).target = Some("server-7".into());
        records.events.retain(|row| row.event != Event::Finished || row.request != Some(9));
        records.attempts.iter_mut().filter(|row| row.request == 9).for_each(|row| row.status = Code::Unavailable);
    });
}

#[test]
fn a_request_that_is_sent_late_or_dropped_for_nothing_is_found() {
    let story = crash_then_freeze();
    assert_breaks_also(&story, Invariant::DeadlinesHold, Some(9), |records| {
        records.requests[9].sent_us = records.requests[9].sent_us.map(|at| at + 10);
    });
    assert_breaks(&story, Invariant::WithinLimits, Some(9), |records| {
        records.attempts.retain(|row| row.request != 9);
        records.events.retain(|row| row.request != Some(9));
        let row = &mut records.requests[9];
        (row.sent_us, row.done_us, row.latency_us, row.server, row.attempts) = (None, None, None, None, 0);
        row.status = Outcome::Dropped;
    });
}

#[test]
fn retries_beyond_either_kind_of_budget_and_beyond_throttling_are_found() {
    let story = crash_then_freeze();
    let budget = RetryBudget { percent: 0.0, min_retry_concurrency: None, ttl: None, min_per_second: None };
    let policies = [
        Policies {
            retry_budget: Some(RetryBudget { min_retry_concurrency: Some(0), ..budget.clone() }),
            ..Policies::default()
        },
        Policies {
            retry_budget: Some(RetryBudget { ttl: Some(Duration::from_secs(5)), min_per_second: Some(0.1), ..budget }),
            ..Policies::default()
        },
        Policies {
            retry_throttling: Some(RetryThrottling { max_tokens: 1.0, token_ratio: 0.5 }),
            ..Policies::default()
        },
    ];
    for policies in policies {
        let mut story = crash_then_freeze();
        story.scenario.client.policies = policies;
        let found = broken(&story, &story.records);
        assert!(
            !found.is_empty() && found.iter().all(|broken| broken.invariant == Invariant::WithinLimits),
            "{found:?}"
        );
    }
    check(&story);
}

#[test]
fn states_that_do_not_follow_each_other_are_found() {
    let story = crash_then_freeze();
    for twice in [Event::Connecting, Event::Ready, Event::Idle, Event::Unhealthy, Event::Healthy] {
        assert_breaks_also(&story, Invariant::ValidStateTransitions, None, |records| add(records, twice, |_| {}));
    }
    let story = play(scenario("breaker"), 42);
    for twice in [Event::BreakerOpened, Event::BreakerHalfOpened, Event::BreakerClosed] {
        assert_breaks_also(&story, Invariant::ValidStateTransitions, None, |records| add(records, twice, |_| {}));
    }
    let story = play(scenario("ejection"), 42);
    assert_breaks_also(&story, Invariant::ValidStateTransitions, None, |records| add(records, Event::Ejected, |_| {}));
}

#[test]
fn a_server_that_is_asked_although_a_better_one_is_known_is_found() {
    let story = crash_then_freeze();
    let (crash, _) = story.fault(0);
    assert_breaks_also(&story, Invariant::PicksBestServer, Some(7), |records| {
        let to_the_dead = |row: &mut EventRow| {
            (row.at_us, row.request, row.attempt) = (crash + 3 * S, Some(7), Some(2));
            row.target = Some("server-0".into());
        };
        add(records, Event::Pick, to_the_dead);
    });
}

#[test]
fn faults_that_do_not_go_as_scripted_are_found() {
    let story = crash_then_freeze();
    for event in [Event::FaultStart, Event::FaultEnd] {
        assert_breaks_also(&story, Invariant::FaultsFollowSchedule, None, |records| add(records, event, |_| {}));
        assert_breaks_also(&story, Invariant::FaultsFollowSchedule, None, |records| {
            records.events.retain(|row| row.event != event || row.fault != Some(1));
        });
    }
}

#[test]
fn in_real_time_no_instant_is_held_against_another() {
    let story = crash_then_freeze();
    let mut records = story.records.clone();
    let slowest = records.requests.iter().max_by_key(|row| row.latency_us).unwrap().id;
    let late_us = 60 * S;
    let row = &mut records.requests[slowest as usize];
    (row.done_us, row.latency_us) = (row.done_us.map(|at| at + late_us), row.latency_us.map(|took| took + late_us));
    let Story { scenario, seed, .. } = &story;
    let judge = |late| {
        let evidence = Evidence { scenario, seed: *seed, duration: scenario.duration, late, records: &records };
        invariant::check(&evidence).into_iter().map(|broken| broken.invariant).collect::<Vec<_>>()
    };
    assert_eq!(judge(None), []);
    assert!(judge(Some(Duration::ZERO)).contains(&Invariant::DeadlinesHold));
    assert!(
        !judge(Some(Duration::from_micros(late_us))).contains(&Invariant::DeadlinesHold),
        "a timer may be that late"
    );
}
