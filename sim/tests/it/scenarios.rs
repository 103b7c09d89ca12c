//! What each scenario is there to show, beyond the bounds that its file states.

use std::time::Duration;

use kernel::{
    record::Event,
    scenario::{Direction, Fault, FaultKind},
    status::Code,
};

use crate::{
    play::{LINK, MS, S, Story, for_every_story, play, scenario, us},
    soundness,
};

const SEEDS: [u64; 2] = [42, 7];

fn played(name: &str) -> impl Iterator<Item = Story> {
    SEEDS.into_iter().map(move |seed| play(scenario(name), seed))
}

#[test]
fn every_scenario_holds_what_it_expects_and_loses_nothing() {
    let seeds: Vec<u64> = (1..20).chain([42]).collect();
    for_every_story(&seeds, |story| {
        assert!(story.summary.pass, "{}", story.account());
        soundness::check(story);
    });
}

#[test]
fn every_scenario_is_named_after_its_file_and_asks_and_expects_something() {
    for file in crate::play::files() {
        let scenario = crate::play::load(&file);
        assert_eq!(file.file_stem().and_then(|stem| stem.to_str()), Some(&*scenario.name));
        assert!(scenario.question.is_some_and(|question| question.ends_with('?')), "{}", scenario.name);
        assert!(!scenario.expectations.is_empty(), "{}", scenario.name);
    }
}

#[test]
fn a_crashed_server_answers_nothing_and_is_asked_nothing() {
    for story in played("crash") {
        let (crash, _) = story.fault(0);
        let noticed = story.events_on(Event::Unhealthy, "server-0").map(|row| row.at_us).min().unwrap();
        assert!(noticed < crash + LINK);
        assert!(story.finished_by("server-0").all(|at| at <= crash));
        // What it had sent before it died still arrives.
        assert!(story.answered_by("server-0").all(|row| row.end_us < crash + LINK));
        assert!(story.attempts_on("server-0").all(|row| row.start_us <= noticed));
        assert!(story.intended(crash + LINK, u64::MAX).all(|row| row.server.as_deref() == Some("server-1")));
    }
}

#[test]
fn every_attempt_in_flight_on_a_crashed_server_fails_over_once() {
    for story in played("crash") {
        let (crash, _) = story.fault(0);
        let hit: Vec<_> =
            story.attempts_on("server-0").filter(|row| (row.start_us..row.end_us).contains(&crash)).collect();
        assert!((2..=4).contains(&hit.len()), "{} in flight, not 3\n{}", hit.len(), story.account());
        for attempt in &hit {
            assert_eq!((attempt.status, attempt.cause.as_deref()), (Code::Unavailable, Some("connection reset")));
            let request = &story.records.requests[attempt.request as usize];
            assert!(request.status.is_success());
            assert_eq!((request.server.as_deref(), request.attempts, request.failovers), (Some("server-1"), 2, 1));
        }
        let moved: Vec<_> = story.events(Event::Failover).filter_map(|row| row.request).collect();
        let mut expected: Vec<_> = hit.iter().map(|row| row.request).collect();
        expected.sort_unstable_by_key(|id| moved.iter().position(|moved| moved == id));
        assert_eq!(moved, expected);
    }
}

#[test]
fn a_crash_is_over_for_the_client_within_a_second() {
    for story in played("crash") {
        let (crash, _) = story.fault(0);
        assert!(story.summary.faults[0].recovery_time_s.is_some_and(|s| s <= 3.0), "{}", story.account());
        // The failed ones: noticed, 100 ms of backoff, 200 ms of service.
        let hit = story.records.requests.iter().filter(|row| row.failovers > 0);
        assert!(hit.map(|row| row.done_us.unwrap()).all(|at| at < crash + 300 * MS + 2 * LINK));
        assert!(story.intended(crash, u64::MAX).all(|row| row.latency_us.unwrap() < 200 * MS + LINK));
    }
}

#[test]
fn a_frozen_server_answers_nothing_until_it_goes_on() {
    for story in played("freeze") {
        let (freeze, resume) = story.fault(0);
        let frozen = freeze + LINK..resume;
        assert!(story.finished_by("server-1").all(|at| !frozen.contains(&at)));
        assert!(story.answered_by("server-1").all(|row| !frozen.contains(&row.end_us)));
        assert!(story.records.requests.iter().all(|row| row.status.is_success()));
        // Once it is known to stand still it is asked nothing but its health.
        let noticed = story.events_on(Event::Unhealthy, "server-1").map(|row| row.at_us).min().unwrap();
        assert!(story.attempts_on("server-1").all(|row| !(noticed + 1..resume).contains(&row.start_us)));
    }
}

#[test]
fn a_resumed_server_is_taken_back_and_does_not_do_what_nobody_waits_for() {
    for story in played("freeze") {
        let (_, resume) = story.fault(0);
        let back = story.answered_by("server-1").map(|row| row.end_us).filter(|at| *at >= resume).min().unwrap();
        assert!(back < resume + us(story.scenario.client.health_check.interval) + S, "{}", story.account());
        let calm = story.intended(back, u64::MAX);
        let shared = calm.filter(|row| row.server.as_deref() == Some("server-1")).count();
        assert!(2 * shared + 1 >= story.intended(back, u64::MAX).count(), "each gets every other call");
        // It finds the requests in its socket with their cancellations behind them.
        let stale = story.attempts_on("server-1").filter(|row| row.status == Code::DeadlineExceeded).count();
        let begun = story.summary.overall.duplicates as usize;
        assert!(stale >= 20 && begun <= story.scenario.servers.workers, "{stale} stale, {begun} begun");
    }
}

#[test]
fn an_active_check_notices_a_freeze_before_a_call_does() {
    let passive = play(scenario("freeze"), 42);
    let mut checked = scenario("freeze");
    checked.client.health_check.timeout = Duration::from_secs(1);
    let active = play(checked, 42);
    let detected = |story: &Story| story.summary.faults[0].time_to_detect_s.unwrap();
    assert!(detected(&passive) >= 10.0, "{}", passive.account());
    assert!(detected(&active) <= 6.0, "{}", active.account());
    assert!(active.summary.overall.retries < passive.summary.overall.retries);
}

#[test]
fn while_the_last_server_is_frozen_calls_wait_and_none_is_lost() {
    for story in played("crash_then_freeze") {
        let (freeze, resume) = story.fault(1);
        assert!(story.succeeded(), "{}", story.account());
        let done = story.records.requests.iter().map(|row| row.done_us.unwrap());
        assert_eq!(done.filter(|at| (freeze + LINK..resume).contains(at)).count(), 0);
        assert!(story.attempts_on("server-0").all(|row| row.start_us <= story.fault(0).0 + LINK));
    }
}

#[test]
fn replicas_that_fall_in_turn_lose_no_call_and_each_serves_again() {
    for story in played("cascading_crash") {
        assert!(story.succeeded(), "{}", story.account());
        // Gone for the client: from the crash until it is connected again.
        let gone = story.scenario.server_names().enumerate().map(|(index, server)| {
            let (crash, listens) = story.fault(index);
            let ready = story.events_on(Event::Ready, &server).map(|row| row.at_us).find(|at| *at > crash).unwrap();
            assert!(listens < ready && ready < crash + 7 * S, "{server} is back at {ready}");
            assert!(story.finished_by(&server).all(|at| !(crash + 1..listens).contains(&at)), "{server} is down");
            let calls = story.answered_by(&server).filter(|row| row.start_us >= ready);
            assert!(calls.count() > 40, "{server} serves again");
            (crash, ready)
        });
        assert_eq!(most_at_once(gone), 1, "{}", story.account());
    }
}

#[test]
fn an_overloaded_service_yields_its_capacity_and_its_latency_does_not_grow() {
    for story in played("overload") {
        let servers = &story.scenario.servers;
        let capacity = (servers.replicas * servers.workers) as f64 / servers.service_time_min.as_secs_f64();
        let goodput = story.summary.overall.goodput.unwrap();
        assert!((goodput / capacity - 1.0).abs() < 0.02, "{goodput} of {capacity}\n{}", story.account());
        // The whole queue before it and its own turn.
        let longest = us(servers.service_time_min) * (servers.queue as u64 / servers.workers as u64 + 1) + LINK;
        assert!(story.records.requests.iter().all(|row| row.latency_us.unwrap() <= longest), "{}", story.account());
    }
}

#[test]
fn every_refusal_is_told_by_the_server_and_by_the_client() {
    for story in played("overload") {
        let told = |row: &kernel::record::EventRow| (row.request.unwrap(), row.attempt.unwrap());
        let mut refused: Vec<_> = story.events(Event::Refused).map(told).collect();
        refused.sort_unstable();
        let exhausted = story.records.attempts.iter().filter(|row| row.status == Code::ResourceExhausted);
        assert_eq!(refused, exhausted.map(|row| (row.request, row.attempt)).collect::<Vec<_>>());
        assert!(!refused.is_empty());
        assert_eq!(story.events(Event::Unhealthy).count(), 0, "a full queue is no illness");
    }
}

#[test]
fn a_replica_never_holds_more_than_its_workers_and_its_queue() {
    for story in played("overload") {
        let room = story.scenario.servers.workers + story.scenario.servers.queue;
        for server in story.scenario.server_names() {
            // A request is there a moment after it was sent, until a moment before its answer has arrived.
            let held = story.answered_by(&server).map(|row| (row.start_us + LINK, row.end_us - LINK));
            assert_eq!(most_at_once(held), room, "{server} is full at times, and never fuller");
        }
    }
}

#[test]
fn retrying_refusals_costs_attempts_and_gains_nothing() {
    let plain = play(scenario("overload"), 42);
    let mut stubborn = scenario("overload");
    stubborn.client.retry.retryable_status_codes.push(Code::ResourceExhausted);
    let stubborn = play(stubborn, 42);
    let goodput = |story: &Story| story.summary.overall.goodput.unwrap();
    assert!(goodput(&stubborn) < goodput(&plain) * 1.01, "{}", stubborn.account());
    assert!(stubborn.summary.overall.attempts_per_call.unwrap() > 1.3, "{}", stubborn.account());
}

#[test]
fn a_delay_is_paid_once_each_way_and_nothing_overtakes() {
    let (way, service) = (2 * S, 100 * MS);
    for story in played("network_delay") {
        let (start, lifted) = story.fault(0);
        for row in &story.records.requests {
            let (sent, latency) = (row.intended_us, row.latency_us.unwrap());
            let expected = if sent + service < start || sent >= lifted + way {
                service..service + LINK
            } else if (start..lifted - way - service).contains(&sent) {
                2 * way + service..2 * way + service + LINK
            } else if sent < lifted {
                // There with the delay, back without it, but not before what was sent back ahead of it.
                way + service..2 * way + service + LINK
            } else {
                // Behind what was sent ahead of it, which is all there 2 s after the delay was lifted.
                service..lifted + way - sent + service + LINK
            };
            assert!(expected.contains(&latency), "{latency} is not in {expected:?}: {row:?}\n{}", story.account());
        }
        // Nobody is believed healthy, and it makes no difference.
        assert_eq!(story.summary.overall.retries, 0);
        assert!(story.events(Event::Unhealthy).count() >= 2);
    }
}

#[test]
fn a_partition_holds_requests_and_answers_but_loses_no_call() {
    for story in played("partition") {
        assert!(story.succeeded(), "{}", story.account());
        for (index, server) in ["server-0", "server-1"].into_iter().enumerate() {
            let (cut, healed) = story.fault(index);
            let cut_off = cut + LINK..healed;
            assert!(story.answered_by(server).all(|row| !cut_off.contains(&row.end_us)), "{server} answers");
            let marks: Vec<_> = story.events_on(Event::Unhealthy, server).map(|row| row.at_us).collect();
            assert!(marks.len() == 1 && cut_off.contains(&marks[0]), "{server} is noticed once: {marks:?}");
            let back = story.events_on(Event::Healthy, server).map(|row| row.at_us).next().unwrap();
            assert!((healed..healed + 3 * S).contains(&back), "{server} is taken back at {back}");
            let timed_out = story.attempts_on(server).filter(|row| row.status != Code::Ok).count();
            assert!((1..=7).contains(&timed_out), "{timed_out} attempts on {server} ran into the cut");
        }
    }
}

#[test]
fn requests_reach_a_server_whose_answers_are_held() {
    for story in played("partition") {
        let worked = |server, (cut, healed): (u64, u64)| {
            story.finished_by(server).filter(|at| (cut + LINK..healed).contains(at)).count()
        };
        assert_eq!(worked("server-0", story.fault(0)), 0, "cut both ways");
        let in_vain = story.attempts_on("server-1").filter(|row| row.status != Code::Ok).count();
        assert_eq!(worked("server-1", story.fault(1)), in_vain, "cut on the way back");
    }
}

#[test]
fn a_reset_costs_each_call_in_flight_one_retry() {
    for story in played("reset") {
        let (reset, _) = story.fault(0);
        let in_flight = |row: &&kernel::record::AttemptRow| (row.start_us..=row.end_us).contains(&reset);
        let hit: Vec<_> = story.records.attempts.iter().filter(in_flight).collect();
        assert!(hit.iter().all(|row| row.cause.as_deref() == Some("connection reset")), "{}", story.account());
        assert_eq!(hit.len() as u64, story.summary.overall.retries);
        for server in story.scenario.server_names() {
            let ready = story.events_on(Event::Ready, &server).map(|row| row.at_us).find(|at| *at > reset);
            assert!(ready.is_some_and(|at| at < reset + LINK), "{server} is connected again at once");
        }
        assert!(story.intended(reset, u64::MAX).all(|row| row.attempts == 1));
    }
}

#[test]
fn a_call_does_not_wait_for_a_connection_that_is_being_opened() {
    // server-0's connection is reset while it is cut off, so that it cannot be opened again; nothing is in flight.
    let mut story = scenario("baseline");
    let on_server_0 = |at, kind| Fault { at, targets: vec![0], kind };
    let partition = FaultKind::Partition { direction: Direction::Both, duration: Some(Duration::from_secs(10)) };
    story.faults.push(on_server_0(Duration::from_millis(10_080), partition));
    story.faults.push(on_server_0(Duration::from_millis(10_090), FaultKind::Reset));
    let story = play(story, 42);
    assert_eq!(story.summary.overall.attempts_per_call, Some(1.0), "{}", story.account());
    assert!(story.summary.overall.latency_max.unwrap() < 0.1, "{}", story.account());
    assert!(story.events_on(Event::Ready, "server-0").count() == 2, "it is connected again in the end");
}

#[test]
fn a_link_that_is_too_narrow_builds_a_queue_until_it_is_widened() {
    for story in played("slow_link") {
        let (start, lifted) = story.fault(0);
        let latencies = |from, to| story.intended(from, to).map(|row| row.latency_us.unwrap()).collect::<Vec<_>>();
        let (first, last) = (latencies(start, start + S), latencies(lifted - S, lifted));
        assert!(first.iter().max() < last.iter().min(), "{first:?}, then {last:?}\n{}", story.account());
        // Within the time that the queue took to build, it is gone.
        assert!(latencies(lifted + 5 * S, u64::MAX).iter().all(|latency| *latency < 200 * MS), "{}", story.account());
    }
}

#[test]
fn losses_cost_retransmission_timeouts_and_no_call() {
    for story in played("loss_and_jitter") {
        let (start, lifted) = story.fault(0);
        assert!(story.succeeded() && story.summary.overall.retries == 0, "{}", story.account());
        // At most 100 ms, without a loss; a loss adds 200 ms to at least 80 ms.
        let late = |from, to| story.intended(from, to).filter(|row| row.latency_us.unwrap() > 250 * MS).count();
        assert_eq!(late(0, start - S) + late(lifted + 5 * S, u64::MAX), 0, "{}", story.account());
        assert!(late(start, lifted) >= 10, "{}", story.account());
    }
}

/// Task 2's definition of recovery: from an attempt that failed to the success that follows.
#[test]
fn a_search_that_fails_is_tried_on_the_other_replica_at_once() {
    for (name, server) in [("dfs_crash", "server-0"), ("dfs_suspend", "server-1")] {
        for story in played(name) {
            let failed: Vec<_> = story.records.attempts.iter().filter(|row| row.status != Code::Ok).collect();
            assert!((1..=4).contains(&failed.len()), "{}", story.account());
            for attempt in failed {
                let request = &story.records.requests[attempt.request as usize];
                let [_, retry] = story.attempts_of(request) else { panic!("{}", story.account()) };
                assert_eq!((&*attempt.server, retry.start_us), (server, attempt.end_us));
                assert_ne!(retry.server, attempt.server);
                assert!(request.status.is_success() && request.done_us.unwrap() < attempt.end_us + S);
            }
        }
    }
}

#[test]
fn a_suspended_replica_is_asked_nothing_until_it_goes_on_and_then_its_share() {
    for story in played("dfs_suspend") {
        let (start, resumed) = story.fault(0);
        let noticed = story.events_on(Event::Unhealthy, "server-1").map(|row| row.at_us).min().unwrap();
        assert!(noticed < start + S, "{}", story.account());
        assert!(story.attempts_on("server-1").all(|row| !(noticed + 1..resumed).contains(&row.start_us)));
        let back = story.answered_by("server-1").map(|row| row.start_us).find(|at| *at >= resumed).unwrap();
        assert!(back < resumed + 2 * S, "{}", story.account());
    }
}

/// The largest number of `spans`, from a start to just before an end, that hold one instant.
fn most_at_once(spans: impl Iterator<Item = (u64, u64)>) -> usize {
    let mut changes: Vec<(u64, i32)> = spans.flat_map(|(start, end)| [(start, 1), (end, -1)]).collect();
    changes.sort_unstable();
    let levels = changes.iter().scan(0, |level, (_, change)| {
        *level += change;
        Some(*level)
    });
    levels.max().unwrap_or(0).try_into().unwrap()
}
