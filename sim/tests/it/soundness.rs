//! The invariants hold for every run, and are found violated in records that were manipulated.

use std::time::Duration;

use kernel::{
    invariant::{self, Evidence, Invariant, Violation},
    policy::{Policies, RetryBudget, RetryThrottling},
    record::{Event, EventRow, Records},
    scenario::Scenario,
    status::{Code, Outcome},
};

use crate::simulated::{S, SimulatedRun, scenario, simulate};

/// Panics if the run violates an invariant of `kernel::invariant`.
pub(crate) fn check(run: &SimulatedRun) {
    let violations = violations(run, &run.records);
    let lines: String = violations.iter().map(|violation| format!("{violation}\n")).collect();
    assert!(violations.is_empty(), "{lines}{}", run.report());
}

fn violations(run: &SimulatedRun, records: &Records) -> Vec<Violation> {
    let SimulatedRun { scenario, seed, .. } = run;
    let late = Some(Duration::ZERO);
    invariant::check(&Evidence {
        scenario,
        seed: *seed,
        branches: &[],
        duration: scenario.duration,
        late,
        rows: records,
    })
}

/// Manipulates the records of `run`, and returns the violations in them.
fn found(run: &SimulatedRun, manipulate: impl FnOnce(&mut Records)) -> Vec<Violation> {
    check(run);
    let mut records = run.records.clone();
    manipulate(&mut records);
    assert_ne!(records, run.records, "nothing was changed");
    records.sort();
    violations(run, &records)
}

/// Asserts that the manipulation violates this invariant and no other, for `request`.
#[track_caller]
pub(crate) fn assert_breaks(
    run: &SimulatedRun,
    invariant: Invariant,
    request: Option<u64>,
    manipulate: impl FnOnce(&mut Records),
) {
    let found = found(run, manipulate);
    assert!(!found.is_empty(), "nothing was found");
    assert!(
        found.iter().all(|violation| (violation.invariant, violation.request) == (invariant, request)),
        "{found:?}"
    );
}

/// Asserts that the manipulation violates this invariant, possibly among others, for `request`.
#[track_caller]
pub(crate) fn assert_breaks_also(
    run: &SimulatedRun,
    invariant: Invariant,
    request: Option<u64>,
    manipulate: impl FnOnce(&mut Records),
) {
    let found = found(run, manipulate);
    assert!(
        found.iter().any(|violation| (violation.invariant, violation.request) == (invariant, request)),
        "{found:?}"
    );
}

fn crash_then_freeze() -> SimulatedRun {
    simulate(scenario("crash_then_freeze"), 42)
}

fn event(records: &mut Records, is: impl Fn(&EventRow) -> bool) -> &mut EventRow {
    records.events.iter_mut().find(|row| is(row)).unwrap()
}

/// Adds a changed copy of an event.
fn add(records: &mut Records, pattern: Event, change: impl FnOnce(&mut EventRow)) {
    let mut row = records.events.iter().find(|row| row.event == pattern).unwrap().clone();
    change(&mut row);
    records.events.push(row);
}

#[test]
fn a_request_without_a_row_and_one_that_was_never_intended_are_found() {
    let run = crash_then_freeze();
    let last = run.records.requests.len() as u64 - 1;
    let missing = found(&run, |records| drop(records.requests.pop()));
    assert!(
        missing.iter().any(|violation| (violation.invariant, violation.request) == (Invariant::OneOutcome, Some(last)))
    );
    let twice = found(&run, |records| records.requests.push(records.requests[7].clone()));
    assert!(twice.iter().any(|violation| (violation.invariant, violation.request) == (Invariant::OneOutcome, Some(7))));
    assert_breaks(&run, Invariant::OneOutcome, Some(3), |records| records.requests[3].intended_us += 1);
}

#[test]
fn a_message_that_passes_a_half_open_connection_is_found() {
    let run = simulate(scenario("half_open"), 42);
    let (begun_us, _) = run.fault(0);
    let is_next = |row: &EventRow| row.event == Event::Ready && row.at_us > begun_us;
    let connected_us = run.records.events.iter().find(|row| is_next(row)).unwrap().at_us;
    let after = |start_us| connected_us < start_us && start_us < connected_us + 900_000;
    let passed = run.records.attempts.iter().find(|row| row.server == "server-0" && after(row.start_us)).unwrap();
    // As if the connection had been opened after the attempt, which then went over the old one.
    assert_breaks_also(&run, Invariant::PartitionHolds, Some(passed.request), |records| {
        event(records, is_next).at_us = passed.end_us + 1_000;
    });
}

#[test]
fn an_interrupted_run_may_lack_the_rest_of_its_requests_and_none_before() {
    let run = crash_then_freeze();
    let SimulatedRun { scenario, seed, .. } = &run;
    let half = scenario.duration / 2;
    let violations = |records: &Records| {
        invariant::check(&Evidence { scenario, seed: *seed, branches: &[], duration: half, late: None, rows: records })
    };
    let mut records = run.records.clone();
    let kept = records.requests.len() as u64 / 2;
    records.requests.retain(|row| row.id < kept);
    records.attempts.retain(|row| row.request < kept);
    records.events.retain(|row| row.request.is_none_or(|id| id < kept));
    assert_eq!(violations(&records), []);
    records.requests.remove(5);
    assert!(violations(&records).iter().any(|violation| violation.invariant == Invariant::OneOutcome));
}

#[test]
fn a_call_and_its_attempts_that_differ_are_found() {
    let run = crash_then_freeze();
    assert_breaks(&run, Invariant::ConsistentLog, Some(9), |records| records.requests[9].failovers = 1);
    assert_breaks(&run, Invariant::ConsistentLog, Some(9), |records| {
        records.requests[9].status = Outcome::Status(Code::Internal);
    });
    assert_breaks(&run, Invariant::ConsistentLog, Some(9), |records| {
        records.attempts.retain(|row| row.request != 9);
        records.events.retain(|row| row.event != Event::Pick || row.request != Some(9));
    });
    let retried = run.records.requests.iter().find(|row| row.attempts > 1).unwrap().id;
    assert_breaks(&run, Invariant::ConsistentLog, Some(retried), |records| {
        records.events.retain(|row| row.event != Event::Backoff || row.request != Some(retried));
    });
}

#[test]
fn an_attempt_too_many_and_a_backoff_too_short_are_found() {
    let mut run = crash_then_freeze();
    let retried = run.records.requests.iter().find(|row| row.attempts > 1).unwrap().id;
    assert_breaks(&run, Invariant::WithinLimits, Some(retried), |records| {
        event(records, |row| row.event == Event::Backoff && row.request == Some(retried)).duration_us = Some(1);
    });
    assert_breaks_also(&run, Invariant::WithinLimits, Some(retried), |records| {
        let second = records.attempts.iter_mut().find(|row| (row.request, row.attempt) == (retried, 2)).unwrap();
        second.start_us -= 50_000;
    });
    run.scenario.client.retry.max_attempts = 1;
    let found = violations(&run, &run.records);
    assert!(found.iter().all(|violation| violation.invariant == Invariant::WithinLimits), "{found:?}");
    let retried: Vec<_> = run.records.requests.iter().filter(|row| row.attempts > 1).map(|row| row.id).collect();
    let mut named: Vec<_> = found.iter().filter_map(|violation| violation.request).collect();
    named.sort_unstable();
    assert_eq!(named, retried);
}

#[test]
fn an_attempt_through_an_open_breaker_is_found() {
    let run = simulate(scenario("breaker"), 42);
    let opened = run.events(Event::BreakerOpened).next().unwrap();
    let (at_us, target) = (opened.at_us + 1, opened.target.clone());
    let found = found(&run, |records| {
        add(records, Event::Pick, |row| (row.at_us, row.target) = (at_us, target.or(row.target.take())));
    });
    assert!(found.iter().any(|violation| violation.invariant == Invariant::WithinLimits), "{found:?}");
}

#[test]
fn a_deadline_and_a_timeout_that_do_not_hold_are_found() {
    let mut run = crash_then_freeze();
    let slowest = run.records.requests.iter().max_by_key(|row| row.latency_us).unwrap();
    let id = slowest.id;
    let took = slowest.latency_us.unwrap();
    run.scenario.client.deadline = Duration::from_micros(took - 2);
    let found = violations(&run, &run.records);
    assert_eq!(
        found.iter().map(|row| (row.invariant, row.request)).collect::<Vec<_>>(),
        [(Invariant::DeadlinesHold, Some(id))]
    );
    let mut run = crash_then_freeze();
    run.scenario.client.attempt_timeout = Duration::from_millis(1);
    assert!(violations(&run, &run.records).iter().any(|violation| violation.invariant == Invariant::DeadlinesHold));
}

#[test]
fn an_answer_of_a_dead_or_frozen_server_or_of_none_is_found() {
    let run = crash_then_freeze();
    let crash = run.fault(0).0;
    let freeze = run.fault(1).0;
    for (server, at) in [("server-0", crash + S), ("server-1", freeze + S)] {
        assert_breaks_also(&run, Invariant::NoResponseFromDeadServer, Some(4), |records| {
            let is_it = |row: &EventRow| row.event == Event::Finished && row.request == Some(4);
            let row = records.events.iter().find(|row| is_it(row)).unwrap().clone();
            records.events.push(EventRow { at_us: at, source: server.into(), ..row });
        });
    }
    assert_breaks(&run, Invariant::NoResponseFromDeadServer, Some(4), |records| {
        records.events.retain(|row| row.event != Event::Finished || row.request != Some(4));
    });
}

#[test]
fn more_work_at_once_than_there_are_workers_and_work_too_short_are_found() {
    let run = simulate(scenario("overload"), 42);
    let first = run.events(Event::Finished).next().unwrap().request;
    assert_breaks_also(&run, Invariant::Capacity, None, |records| {
        let row = event(records, |row| row.event == Event::Finished && row.request != first);
        let twin = EventRow { at_us: row.at_us - 1, ..row.clone() };
        records.events.push(twin);
    });
    assert_breaks(&run, Invariant::Capacity, first, |records| {
        event(records, |row| row.event == Event::Finished).duration_us = Some(1);
    });
}

#[test]
fn a_client_that_never_learns_that_a_server_is_back_or_gone_is_found() {
    let run = crash_then_freeze();
    assert_breaks_also(&run, Invariant::HealthConverges, None, |records| {
        records.events.retain(|row| row.event != Event::Unhealthy || row.target.as_deref() != Some("server-0"));
    });
    let mut long = scenario("cascading_crash");
    long.duration *= 2;
    let run = simulate(long, 42);
    let last = run.events_on(Event::Unhealthy, "server-0").last().unwrap().at_us;
    assert_breaks_also(&run, Invariant::HealthConverges, None, |records| {
        let is_later = |row: &EventRow| row.at_us >= last && row.target.as_deref() == Some("server-0");
        records.events.retain(|row| row.event != Event::Healthy || !is_later(row));
    });
}

#[test]
fn an_attempt_and_a_call_that_never_end_are_found() {
    let run = crash_then_freeze();
    assert_breaks(&run, Invariant::Drains, Some(11), |records| {
        add(records, Event::Pick, |row| (row.request, row.attempt) = (Some(11), Some(2)));
    });
    let never = found(&run, |records| records.requests[11].done_us = None);
    assert!(never.iter().any(|violation| (violation.invariant, violation.request) == (Invariant::Drains, Some(11))));
}

#[test]
fn an_answer_that_the_workload_function_does_not_compute_is_found() {
    let run = crash_then_freeze();
    assert_breaks(&run, Invariant::CorrectResult, Some(2), |records| {
        add(records, Event::Pick, |row| (row.event, row.request) = (Event::WrongResult, Some(2)));
    });
}

#[test]
fn attempts_outside_of_their_call_and_ends_that_were_not_recorded_are_found() {
    let run = crash_then_freeze();
    assert_breaks(&run, Invariant::ConsistentLog, Some(9), |records| {
        let row = records.attempts.iter_mut().find(|row| row.request == 9).unwrap();
        row.start_us = row.end_us + 1;
    });
    assert_breaks(&run, Invariant::ConsistentLog, Some(9), |records| records.requests[9].server = None);
    assert_breaks(&run, Invariant::ConsistentLog, Some(9), |records| records.requests[9].hedges = 1);
    assert_breaks(&run, Invariant::ConsistentLog, Some(9), |records| {
        add(records, Event::Pick, |row| (row.event, row.request, row.attempt) = (Event::GiveUp, Some(9), None));
    });
    assert_breaks(&run, Invariant::ConsistentLog, Some(9), |records| {
        event(records, |row| row.event == Event::Pick && row.request == Some(9)).target = Some("server-7".into());
        records.events.retain(|row| row.event != Event::Finished || row.request != Some(9));
        records.attempts.iter_mut().filter(|row| row.request == 9).for_each(|row| row.status = Code::Unavailable);
    });
}

#[test]
fn a_request_that_is_sent_late_or_dropped_for_nothing_is_found() {
    let run = crash_then_freeze();
    assert_breaks_also(&run, Invariant::DeadlinesHold, Some(9), |records| {
        records.requests[9].sent_us = records.requests[9].sent_us.map(|at| at + 10);
    });
    assert_breaks(&run, Invariant::WithinLimits, Some(9), |records| {
        records.attempts.retain(|row| row.request != 9);
        records.events.retain(|row| row.request != Some(9));
        let row = &mut records.requests[9];
        (row.sent_us, row.done_us, row.latency_us, row.server, row.attempts) = (None, None, None, None, 0);
        row.status = Outcome::Dropped;
    });
}

#[test]
fn retries_beyond_either_kind_of_budget_and_beyond_throttling_are_found() {
    let run = crash_then_freeze();
    let budget =
        RetryBudget { percent: 0.0, min_retry_concurrency: None, ttl: None, min_per_second: None, deposit: None };
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
        let mut run = crash_then_freeze();
        run.scenario.client.policies = policies;
        let found = violations(&run, &run.records);
        assert!(
            !found.is_empty() && found.iter().all(|violation| violation.invariant == Invariant::WithinLimits),
            "{found:?}"
        );
    }
    check(&run);
}

#[test]
fn states_that_do_not_follow_each_other_are_found() {
    let run = crash_then_freeze();
    for twice in [Event::Connecting, Event::Ready, Event::Idle, Event::Unhealthy, Event::Healthy] {
        assert_breaks_also(&run, Invariant::ValidStateTransitions, None, |records| add(records, twice, |_| {}));
    }
    let run = simulate(scenario("breaker"), 42);
    for twice in [Event::BreakerOpened, Event::BreakerHalfOpened, Event::BreakerClosed] {
        assert_breaks_also(&run, Invariant::ValidStateTransitions, None, |records| add(records, twice, |_| {}));
    }
    let run = simulate(scenario("ejection"), 42);
    assert_breaks_also(&run, Invariant::ValidStateTransitions, None, |records| add(records, Event::Ejected, |_| {}));
}

#[test]
fn a_pick_of_a_worse_server_is_found() {
    let run = crash_then_freeze();
    let (crash, _) = run.fault(0);
    assert_breaks_also(&run, Invariant::PicksBestServer, Some(7), |records| {
        add(records, Event::Pick, |row| {
            (row.at_us, row.request, row.attempt) = (crash + 3 * S, Some(7), Some(2));
            row.target = Some("server-0".into());
        });
    });
}

#[test]
fn faults_that_do_not_follow_the_schedule_are_found() {
    let run = crash_then_freeze();
    for event in [Event::FaultStart, Event::FaultEnd] {
        assert_breaks_also(&run, Invariant::FaultsFollowSchedule, None, |records| add(records, event, |_| {}));
        assert_breaks_also(&run, Invariant::FaultsFollowSchedule, None, |records| {
            records.events.retain(|row| row.event != event || row.fault != Some(1));
        });
    }
}

#[test]
fn in_real_time_instants_are_not_compared() {
    let run = crash_then_freeze();
    let mut records = run.records.clone();
    let slowest = records.requests.iter().max_by_key(|row| row.latency_us).unwrap().id;
    let late_us = 60 * S;
    let row = &mut records.requests[slowest as usize];
    (row.done_us, row.latency_us) = (row.done_us.map(|at| at + late_us), row.latency_us.map(|took| took + late_us));
    let SimulatedRun { scenario, seed, .. } = &run;
    let violated = |late| {
        let evidence =
            Evidence { scenario, seed: *seed, branches: &[], duration: scenario.duration, late, rows: &records };
        invariant::check(&evidence).into_iter().map(|violation| violation.invariant).collect::<Vec<_>>()
    };
    assert_eq!(violated(None), []);
    assert!(violated(Some(Duration::ZERO)).contains(&Invariant::DeadlinesHold));
    assert!(
        !violated(Some(Duration::from_micros(late_us))).contains(&Invariant::DeadlinesHold),
        "a timer may be that late"
    );
}

#[test]
fn a_process_that_replaces_a_drained_one_does_not_stand_still() {
    // The freeze outlasts the process, which is killed while it stands still: 1 s and 500 ms after the start.
    let text = "name = \"drained\"\nduration = \"6s\"\n[load]\nrate = 20\n\
        [[fault]]\nat = \"900ms\"\nkind = \"freeze\"\ntarget = \"server-0\"\nduration = \"5s\"\n\
        [[fault]]\nat = \"1s\"\nkind = \"drain\"\ntarget = \"server-0\"\ngrace = \"500ms\"\nrestart_after = \"1s\"\n";
    let run = simulate(Scenario::parse("drained.toml", text, &[]).unwrap(), 42);
    check(&run);
    let after = run.records.attempts.iter().filter(|row| row.server == "server-0" && row.start_us > 3 * S);
    assert!(after.filter(|row| row.status == Code::Ok).count() > 10, "{}", run.report());
    let dead = |row: &&EventRow| row.source == "server-0" && (1_500_000..2 * S).contains(&row.at_us);
    assert_eq!(run.records.events.iter().filter(dead).count(), 0, "nothing comes from a process that is gone");
}
