//! The behaviour that each scenario demonstrates, beyond the bounds that its file states.

use std::time::Duration;

use kernel::{
    record::Event,
    scenario::{Direction, Fault, FaultKind},
    status::Code,
};

use crate::{
    simulated::{LINK, MS, S, SimulatedRun, for_every_run, scenario, simulate, us},
    soundness,
};

const SEEDS: [u64; 2] = [42, 7];

fn simulated(name: &str) -> impl Iterator<Item = SimulatedRun> {
    SEEDS.into_iter().map(move |seed| simulate(scenario(name), seed))
}

#[test]
fn every_scenario_holds_what_it_expects_and_loses_nothing() {
    let seeds: Vec<u64> = (1..20).chain([42]).collect();
    for_every_run(&seeds, |run| {
        assert!(run.summary.pass, "{}", run.report());
        soundness::check(run);
    });
}

#[test]
fn every_scenario_is_named_after_its_file_and_asks_and_expects_something() {
    for file in crate::simulated::files() {
        let scenario = crate::simulated::load(&file);
        assert_eq!(file.file_stem().and_then(|stem| stem.to_str()), Some(&*scenario.name));
        assert!(scenario.question.is_some_and(|question| question.ends_with('?')), "{}", scenario.name);
        assert!(!scenario.expectations.is_empty(), "{}", scenario.name);
    }
}

#[test]
fn a_crashed_server_answers_nothing_and_is_asked_nothing() {
    for run in simulated("crash") {
        let (crash, _) = run.fault(0);
        let noticed = run.events_on(Event::Unhealthy, "server-0").map(|row| row.at_us).min().unwrap();
        assert!(noticed < crash + LINK);
        assert!(run.finished_by("server-0").all(|at| at <= crash));
        // Responses that it had sent before the crash still arrive.
        assert!(run.answered_by("server-0").all(|row| row.end_us < crash + LINK));
        assert!(run.attempts_on("server-0").all(|row| row.start_us <= noticed));
        assert!(run.intended(crash + LINK, u64::MAX).all(|row| row.server.as_deref() == Some("server-1")));
    }
}

#[test]
fn every_attempt_in_flight_on_a_crashed_server_fails_over_once() {
    for run in simulated("crash") {
        let (crash, _) = run.fault(0);
        let hit: Vec<_> =
            run.attempts_on("server-0").filter(|row| (row.start_us..row.end_us).contains(&crash)).collect();
        assert!((2..=4).contains(&hit.len()), "{} in flight, not 3\n{}", hit.len(), run.report());
        for attempt in &hit {
            assert_eq!((attempt.status, attempt.cause.as_deref()), (Code::Unavailable, Some("connection reset")));
            let request = &run.records.requests[attempt.request as usize];
            assert!(request.status.is_success());
            assert_eq!((request.server.as_deref(), request.attempts, request.failovers), (Some("server-1"), 2, 1));
        }
        let moved: Vec<_> = run.events(Event::Failover).filter_map(|row| row.request).collect();
        let mut expected: Vec<_> = hit.iter().map(|row| row.request).collect();
        expected.sort_unstable_by_key(|id| moved.iter().position(|moved| moved == id));
        assert_eq!(moved, expected);
    }
}

#[test]
fn a_crash_is_over_for_the_client_within_a_second() {
    for run in simulated("crash") {
        let (crash, _) = run.fault(0);
        assert!(run.summary.faults[0].recovery_time_s.is_some_and(|s| s <= 3.0), "{}", run.report());
        // The failed ones: noticed, 100 ms of backoff, 200 ms of service.
        let hit = run.records.requests.iter().filter(|row| row.failovers > 0);
        assert!(hit.map(|row| row.done_us.unwrap()).all(|at| at < crash + 300 * MS + 2 * LINK));
        assert!(run.intended(crash, u64::MAX).all(|row| row.latency_us.unwrap() < 200 * MS + LINK));
    }
}

#[test]
fn a_frozen_server_answers_nothing_until_it_is_resumed() {
    for run in simulated("freeze") {
        let (freeze, resume) = run.fault(0);
        let frozen = freeze + LINK..resume;
        assert!(run.finished_by("server-1").all(|at| !frozen.contains(&at)));
        assert!(run.answered_by("server-1").all(|row| !frozen.contains(&row.end_us)));
        assert!(run.records.requests.iter().all(|row| row.status.is_success()));
        // Once it is marked unhealthy, it receives only health checks.
        let noticed = run.events_on(Event::Unhealthy, "server-1").map(|row| row.at_us).min().unwrap();
        assert!(run.attempts_on("server-1").all(|row| !(noticed + 1..resume).contains(&row.start_us)));
    }
}

#[test]
fn a_resumed_server_is_used_again_and_skips_abandoned_calls() {
    for run in simulated("freeze") {
        let (_, resume) = run.fault(0);
        let back = run.answered_by("server-1").map(|row| row.end_us).filter(|at| *at >= resume).min().unwrap();
        assert!(
            back < resume + us(run.scenario.client.health_check.as_ref().expect("servers are checked").interval) + S,
            "{}",
            run.report()
        );
        let calm = run.intended(back, u64::MAX);
        let shared = calm.filter(|row| row.server.as_deref() == Some("server-1")).count();
        assert!(2 * shared + 1 >= run.intended(back, u64::MAX).count(), "each gets every other call");
        // It finds the requests in its socket with their cancellations behind them.
        let stale = run.attempts_on("server-1").filter(|row| row.status == Code::DeadlineExceeded).count();
        let begun = run.summary.overall.duplicates as usize;
        assert!(stale >= 20 && begun <= run.scenario.servers.workers, "{stale} stale, {begun} begun");
    }
}

#[test]
fn an_active_check_notices_a_freeze_before_a_call_does() {
    let passive = simulate(scenario("freeze"), 42);
    let mut checked = scenario("freeze");
    checked.client.health_check.as_mut().expect("servers are checked").timeout = Duration::from_secs(1);
    let active = simulate(checked, 42);
    let [passive_s, active_s] = [&passive, &active].map(|run| run.summary.faults[0].time_to_detect_s.unwrap());
    assert!(passive_s >= 10.0, "{}", passive.report());
    assert!(active_s <= 6.0, "{}", active.report());
    assert!(active.summary.overall.retries < passive.summary.overall.retries);
}

#[test]
fn while_the_last_server_is_frozen_calls_wait_and_none_is_lost() {
    for run in simulated("crash_then_freeze") {
        let (freeze, resume) = run.fault(1);
        assert!(run.succeeded(), "{}", run.report());
        let done = run.records.requests.iter().map(|row| row.done_us.unwrap());
        assert_eq!(done.filter(|at| (freeze + LINK..resume).contains(at)).count(), 0);
        assert!(run.attempts_on("server-0").all(|row| row.start_us <= run.fault(0).0 + LINK));
    }
}

#[test]
fn replicas_that_crash_in_turn_lose_no_call_and_each_serves_again() {
    for run in simulated("cascading_crash") {
        assert!(run.succeeded(), "{}", run.report());
        // For the client a server is gone from the crash until it is connected again.
        let gone = run.scenario.server_names().enumerate().map(|(index, server)| {
            let (crash, listens) = run.fault(index);
            let ready = run.events_on(Event::Ready, &server).map(|row| row.at_us).find(|at| *at > crash).unwrap();
            assert!(listens < ready && ready < crash + 7 * S, "{server} is back at {ready}");
            assert!(run.finished_by(&server).all(|at| !(crash + 1..listens).contains(&at)), "{server} is down");
            let calls = run.answered_by(&server).filter(|row| row.start_us >= ready);
            assert!(calls.count() > 40, "{server} serves again");
            (crash, ready)
        });
        assert_eq!(most_at_once(gone), 1, "{}", run.report());
    }
}

#[test]
fn an_overloaded_service_yields_its_capacity_and_its_latency_does_not_grow() {
    for run in simulated("overload") {
        let servers = &run.scenario.servers;
        let capacity = (servers.replicas * servers.workers) as f64 / servers.service_time_min.as_secs_f64();
        let goodput = run.summary.overall.goodput.unwrap();
        assert!((goodput / capacity - 1.0).abs() < 0.02, "{goodput} of {capacity}\n{}", run.report());
        // The whole queue before it and its own turn.
        let longest = us(servers.service_time_min) * (servers.queue as u64 / servers.workers as u64 + 1) + LINK;
        assert!(run.records.requests.iter().all(|row| row.latency_us.unwrap() <= longest), "{}", run.report());
    }
}

#[test]
fn every_refusal_is_recorded_by_the_server_and_by_the_client() {
    for run in simulated("overload") {
        let mut refused: Vec<_> =
            run.events(Event::Refused).map(|row| (row.request.unwrap(), row.attempt.unwrap())).collect();
        refused.sort_unstable();
        let exhausted = run.records.attempts.iter().filter(|row| row.status == Code::ResourceExhausted);
        assert_eq!(refused, exhausted.map(|row| (row.request, row.attempt)).collect::<Vec<_>>());
        assert!(!refused.is_empty());
        assert_eq!(run.events(Event::Unhealthy).count(), 0, "a full queue does not make a server unhealthy");
    }
}

#[test]
fn a_replica_never_holds_more_than_its_workers_and_its_queue() {
    for run in simulated("overload") {
        let room = run.scenario.servers.workers + run.scenario.servers.queue;
        for server in run.scenario.server_names() {
            // A request is there a moment after it was sent, until a moment before its answer has arrived.
            let held = run.answered_by(&server).map(|row| (row.start_us + LINK, row.end_us - LINK));
            assert_eq!(most_at_once(held), room, "{server} is full at times, and never fuller");
        }
    }
}

#[test]
fn retrying_refusals_costs_attempts_and_gains_nothing() {
    let plain = simulate(scenario("overload"), 42);
    let mut stubborn = scenario("overload");
    stubborn.client.retry.retryable_status_codes.push(Code::ResourceExhausted);
    let stubborn = simulate(stubborn, 42);
    let [plain_goodput, goodput] = [&plain, &stubborn].map(|run| run.summary.overall.goodput.unwrap());
    assert!(goodput < plain_goodput * 1.01, "{}", stubborn.report());
    assert!(stubborn.summary.overall.attempts_per_call.unwrap() > 1.3, "{}", stubborn.report());
}

#[test]
fn a_delay_is_paid_once_each_way_and_nothing_overtakes() {
    let way = 2 * S;
    let service = 100 * MS;
    for run in simulated("network_delay") {
        let (start, lifted) = run.fault(0);
        for row in &run.records.requests {
            let sent = row.intended_us;
            let latency = row.latency_us.unwrap();
            let expected = if sent + service < start || sent >= lifted + way {
                service..service + LINK
            } else if (start..lifted - way - service).contains(&sent) {
                2 * way + service..2 * way + service + LINK
            } else if sent < lifted {
                // The request has the delay, its response has not, but does not overtake the responses before it.
                way + service..2 * way + service + LINK
            } else {
                // It waits for the requests before it, which have all arrived 2 s after the delay was lifted.
                service..lifted + way - sent + service + LINK
            };
            assert!(expected.contains(&latency), "{latency} is not in {expected:?}: {row:?}\n{}", run.report());
        }
        // All servers are marked unhealthy, which makes no difference.
        assert_eq!(run.summary.overall.retries, 0);
        assert!(run.events(Event::Unhealthy).count() >= 2);
    }
}

#[test]
fn a_partition_holds_requests_and_answers_but_loses_no_call() {
    for run in simulated("partition") {
        assert!(run.succeeded(), "{}", run.report());
        for (index, server) in ["server-0", "server-1"].into_iter().enumerate() {
            let (cut, healed) = run.fault(index);
            let cut_off = cut + LINK..healed;
            assert!(run.answered_by(server).all(|row| !cut_off.contains(&row.end_us)), "{server} answers");
            let marks: Vec<_> = run.events_on(Event::Unhealthy, server).map(|row| row.at_us).collect();
            assert!(marks.len() == 1 && cut_off.contains(&marks[0]), "{server} is noticed once: {marks:?}");
            let back = run.events_on(Event::Healthy, server).map(|row| row.at_us).next().unwrap();
            assert!((healed..healed + 3 * S).contains(&back), "{server} is taken back at {back}");
            let timed_out = run.attempts_on(server).filter(|row| row.status != Code::Ok).count();
            assert!((1..=7).contains(&timed_out), "{timed_out} attempts on {server} ran into the cut");
        }
    }
}

#[test]
fn requests_reach_a_server_whose_responses_are_cut_off() {
    for run in simulated("partition") {
        assert_eq!(finished_during(&run, 0, "server-0"), 0, "cut both ways");
        let in_vain = run.attempts_on("server-1").filter(|row| row.status != Code::Ok).count();
        assert_eq!(finished_during(&run, 1, "server-1"), in_vain, "cut on the way back");
    }
}

/// Returns how many requests `server` finished during a fault, without those that reached it before.
fn finished_during(run: &SimulatedRun, fault: usize, server: &str) -> usize {
    let (start, lifted) = run.fault(fault);
    run.finished_by(server).filter(|at| (start + LINK..lifted).contains(at)).count()
}

#[test]
fn a_reset_costs_each_call_in_flight_one_retry() {
    for run in simulated("reset") {
        let (reset, _) = run.fault(0);
        let hit: Vec<_> =
            run.records.attempts.iter().filter(|row| (row.start_us..=row.end_us).contains(&reset)).collect();
        assert!(hit.iter().all(|row| row.cause.as_deref() == Some("connection reset")), "{}", run.report());
        assert_eq!(hit.len() as u64, run.summary.overall.retries);
        for server in run.scenario.server_names() {
            let ready = run.events_on(Event::Ready, &server).map(|row| row.at_us).find(|at| *at > reset);
            assert!(ready.is_some_and(|at| at < reset + LINK), "{server} is connected again at once");
        }
        assert!(run.intended(reset, u64::MAX).all(|row| row.attempts == 1));
    }
}

#[test]
fn a_call_does_not_wait_for_a_connection_that_is_being_opened() {
    // server-0's connection is reset while it is cut off, so that it cannot be opened again; nothing is in flight.
    let mut scenario = scenario("baseline");
    let partition =
        FaultKind::Partition { direction: Direction::Both, duration: Some(Duration::from_secs(10)), share: None };
    for (at_ms, kind) in [(10_080, partition), (10_090, FaultKind::Reset { duration: None, share: None })] {
        scenario.faults.push(Fault { at: Duration::from_millis(at_ms), targets: vec![0], kind, caller: None });
    }
    let run = simulate(scenario, 42);
    assert_eq!(run.summary.overall.attempts_per_call, Some(1.0), "{}", run.report());
    assert!(run.summary.overall.latency_max.unwrap() < 0.1, "{}", run.report());
    assert!(run.events_on(Event::Ready, "server-0").count() == 2, "it is connected again in the end");
}

#[test]
fn a_link_that_is_too_narrow_builds_a_queue_until_it_is_widened() {
    for run in simulated("slow_link") {
        let (start, lifted) = run.fault(0);
        let first = latencies(&run, start, start + S);
        let last = latencies(&run, lifted - S, lifted);
        assert!(first.iter().max() < last.iter().min(), "{first:?}, then {last:?}\n{}", run.report());
        // The queue takes no longer to empty than it took to build.
        assert!(latencies(&run, lifted + 5 * S, u64::MAX).iter().all(|at| *at < 200 * MS), "{}", run.report());
    }
}

/// Returns the latencies of the requests that were intended from `from` to just before `to`.
fn latencies(run: &SimulatedRun, from: u64, to: u64) -> Vec<u64> {
    run.intended(from, to).map(|row| row.latency_us.unwrap()).collect()
}

#[test]
fn losses_cost_retransmission_timeouts_and_no_call() {
    for run in simulated("loss_and_jitter") {
        let (start, lifted) = run.fault(0);
        assert!(run.succeeded() && run.summary.overall.retries == 0, "{}", run.report());
        // At most 100 ms, without a loss; a loss adds 200 ms to at least 80 ms.
        let calm = [latencies(&run, 0, start - S), latencies(&run, lifted + 5 * S, u64::MAX)].concat();
        assert!(calm.iter().all(|latency| *latency <= 250 * MS), "{}", run.report());
        let late = latencies(&run, start, lifted).iter().filter(|latency| **latency > 250 * MS).count();
        assert!(late >= 10, "{}", run.report());
    }
}

/// Task 2 defines recovery as the time from an attempt that failed to the success that follows.
#[test]
fn a_search_that_fails_is_tried_on_the_other_replica_at_once() {
    for (name, server) in [("dfs_crash", "server-0"), ("dfs_suspend", "server-1")] {
        for run in simulated(name) {
            let failed: Vec<_> = run.records.attempts.iter().filter(|row| row.status != Code::Ok).collect();
            assert!((1..=4).contains(&failed.len()), "{}", run.report());
            for attempt in failed {
                let request = &run.records.requests[attempt.request as usize];
                let [_, retry] = run.attempts_of(request) else { panic!("{}", run.report()) };
                assert_eq!((&*attempt.server, retry.start_us), (server, attempt.end_us));
                assert_ne!(retry.server, attempt.server);
                assert!(request.status.is_success() && request.done_us.unwrap() < attempt.end_us + S);
            }
        }
    }
}

#[test]
fn a_suspended_replica_gets_no_calls_until_it_is_resumed_and_then_its_share() {
    for run in simulated("dfs_suspend") {
        let (start, resumed) = run.fault(0);
        let noticed = run.events_on(Event::Unhealthy, "server-1").map(|row| row.at_us).min().unwrap();
        assert!(noticed < start + S, "{}", run.report());
        assert!(run.attempts_on("server-1").all(|row| !(noticed + 1..resumed).contains(&row.start_us)));
        let back = run.answered_by("server-1").map(|row| row.start_us).find(|at| *at >= resumed).unwrap();
        assert!(back < resumed + 2 * S, "{}", run.report());
    }
}

/// Returns the largest number of `spans`, each from its start to just before its end, that contain one instant.
fn most_at_once(spans: impl Iterator<Item = (u64, u64)>) -> usize {
    let mut changes: Vec<(u64, i32)> = spans.flat_map(|(start, end)| [(start, 1), (end, -1)]).collect();
    changes.sort_unstable();
    let levels = changes.iter().scan(0, |level, (_, change)| {
        *level += change;
        Some(*level)
    });
    levels.max().unwrap_or(0).try_into().unwrap()
}
