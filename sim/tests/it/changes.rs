//! Settings that change in a run: what is under way keeps what it began with, and what comes later goes by the new value.

use kernel::{
    invariant::Invariant,
    record::{Event, Records},
    scenario::Scenario,
    status::{Code, Outcome},
};

use crate::{
    simulated::{MS, S, simulate},
    soundness::{assert_breaks, check},
};

fn scenario(text: &str) -> Scenario {
    Scenario::parse("changes.toml", text, &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// Two servers of four workers that each need 50 ms for a request, 20 requests per second for ten seconds, and these lines.
fn played(lines: &str) -> (Scenario, Records) {
    let text = format!(
        "name = \"changes\"\nduration = \"10s\"\n[workload]\nsizes = [\"8x8\"]\n[load]\nrate = 20\n[servers]\nworkers = 4\n\
         service_time_min = \"50ms\"\n{lines}"
    );
    let run = simulate(scenario(&text), 7);
    check(&run);
    (run.scenario, run.records)
}

fn change(at: &str, setting: &str, to: &str) -> String {
    format!("[[change]]\nat = \"{at}\"\nsetting = \"{setting}\"\nto = {to}\n")
}

/// Returns the largest of a figure of the requests that were intended in the seconds `from` to `to`, in microseconds.
fn latencies(records: &Records, from_s: u64, to_s: u64) -> Vec<u64> {
    let rows = records.requests.iter().filter(|row| (from_s * S..to_s * S).contains(&row.intended_us));
    rows.filter_map(|row| row.latency_us).collect()
}

#[test]
fn a_change_is_an_event_with_the_setting_and_both_values() {
    let lines = change("4s", "client.retry.max_attempts", "1") + &change("6s", "client.retry.max_attempts", "2");
    let (_, records) = played(&lines);
    let events = records.events.iter().filter(|row| row.event == Event::SettingChanged);
    let events: Vec<_> =
        events.map(|row| (row.at_us, &*row.source, row.cause.as_deref().unwrap_or_default())).collect();
    assert_eq!(
        events,
        [
            (4 * S, "operator", "client.retry.max_attempts from 3 to 1"),
            (6 * S, "operator", "client.retry.max_attempts from 1 to 2"),
        ]
    );
}

#[test]
fn the_rate_of_the_load_changes_and_the_arrivals_before_stay_as_they_were() {
    let (_, before) = played("");
    let (_, after) = played(&(change("5s", "load.rate", "60") + &change("8s", "load.rate", "0")));
    let of = |records: &Records, from_s: u64, to_s: u64| latencies(records, from_s, to_s).len();
    assert_eq!([of(&after, 0, 5), of(&after, 5, 8), of(&after, 8, 10)], [100, 180, 0]);
    let same = before.requests.iter().zip(&after.requests).take(100);
    same.for_each(|(one, other)| assert_eq!(one.intended_us, other.intended_us));
}

#[test]
fn users_come_and_go_by_changes() {
    let text = "name = \"users\"\nduration = \"9s\"\n[load]\nusers = 2\nthink_time = \"100ms\"\n[workload]\nsizes = [\"8x8\"]\n";
    let text = text.to_owned() + &change("3s", "load.users", "6") + &change("6s", "load.users", "0");
    let run = simulate(scenario(&text), 7);
    check(&run);
    let users = |from_s: u64, to_s: u64| {
        let rows = run.records.requests.iter().filter(|row| (from_s * S..to_s * S).contains(&row.intended_us));
        rows.filter_map(|row| row.user).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!([users(0, 3), users(3, 6), users(6, 9)], [2, 6, 0]);
}

#[test]
fn the_network_is_slower_from_the_change_on_and_a_fault_adds_to_it() {
    let lines = change("3s", "network.latency", "\"20ms\"")
        + "[[fault]]\nat = \"6s\"\nkind = \"delay\"\ntarget = \"*\"\nlatency = \"30ms\"\nduration = \"2s\"\n";
    let (_, records) = played(&lines);
    let least = |from_s, to_s| latencies(&records, from_s, to_s).into_iter().min().unwrap();
    assert!(least(0, 3) < 60 * MS);
    assert!((90 * MS..100 * MS).contains(&least(3, 6)), "{}", least(3, 6));
    assert!((150 * MS..160 * MS).contains(&least(6, 7)), "{}", least(6, 7));
    assert!((90 * MS..100 * MS).contains(&least(9, 10)), "{}", least(9, 10));
}

#[test]
fn fewer_workers_finish_what_they_began_and_more_take_what_waits() {
    let overloaded = "[client.retry]\nmax_attempts = 1\n[client]\nattempt_timeout = \"9s\"\n";
    let lines = overloaded.to_owned()
        + &change("2s", "load.rate", "200")
        + &change("4s", "servers.workers", "1")
        + &change("5s", "servers.workers", "8")
        + &change("6s", "load.rate", "20");
    let (_, records) = played(&lines);
    let finished = |from_s: u64, to_s: u64| {
        let rows = records.events.iter().filter(|row| row.event == Event::Finished);
        rows.filter(|row| (from_s * S..to_s * S).contains(&row.at_us)).count()
    };
    // Two servers, each worker with 20 requests a second.
    assert!((155..=165).contains(&finished(3, 4)), "{}", finished(3, 4));
    assert!((40..=48).contains(&finished(4, 5)), "{}", finished(4, 5));
    assert!((280..=322).contains(&finished(5, 6)), "{}", finished(5, 6));
}

#[test]
fn a_server_that_is_started_again_has_the_settings_of_its_time() {
    let lines = change("2s", "servers.service_time_min", "\"200ms\"")
        + "[[fault]]\nat = \"4s\"\nkind = \"crash\"\ntarget = \"server-0\"\nrestart_after = \"1s\"\n";
    let (_, records) = played(&lines);
    let of_new = records.attempts.iter().filter(|row| &*row.server == "server-0" && row.start_us > 6 * S);
    let mut took = of_new.map(|row| row.end_us - row.start_us);
    assert!(took.by_ref().all(|took_us| took_us >= 200 * MS));
}

#[test]
fn a_shorter_queue_refuses_and_keeps_those_that_wait() {
    let lines = "[client.retry]\nmax_attempts = 1\n".to_owned()
        + &change("2s", "load.rate", "400")
        + &change("2.2s", "servers.queue", "0")
        + &change("3s", "load.rate", "20");
    let (_, records) = played(&lines);
    let refused = |from_us: u64, to_us: u64| {
        let rows = records.events.iter().filter(|row| row.event == Event::Refused);
        rows.filter(|row| (from_us..to_us).contains(&row.at_us)).count()
    };
    assert_eq!(refused(0, 2_200 * MS), 0);
    assert!(refused(2_200 * MS, 3 * S) > 100);
    let waiting = records.requests.iter().filter(|row| (2 * S..2_200 * MS).contains(&row.intended_us));
    assert!(waiting.clone().count() > 70 && waiting.clone().all(|row| row.status == Outcome::OK));
}

#[test]
fn a_call_keeps_its_deadline_and_an_attempt_its_timeout() {
    let lines = "[client]\ndeadline = \"5s\"\nattempt_timeout = \"5s\"\n[client.retry]\nmax_attempts = 1\n".to_owned()
        + &change("2s", "servers.service_time_min", "\"1s\"")
        + &change("2.5s", "client.attempt_timeout", "\"100ms\"")
        + &change("3.5s", "servers.service_time_min", "\"50ms\"")
        + &change("6s", "load.rate", "1");
    let (_, records) = played(&lines);
    let of = |from_us: u64, to_us: u64| {
        records.requests.iter().filter(move |row| (from_us..to_us).contains(&row.intended_us))
    };
    assert!(of(2 * S, 2_500 * MS).all(|row| row.status == Outcome::OK), "they have five seconds");
    assert!(of(2_600 * MS, 3 * S).all(|row| row.status == Outcome::Status(Code::DeadlineExceeded)));
    assert!(of(2_600 * MS, 3 * S).all(|row| row.latency_us < Some(110 * MS)));
}

#[test]
fn retries_follow_the_limit_of_the_moment_in_which_an_attempt_fails() {
    let lines =
        "[client.retry]\nmax_attempts = 4\ninitial_backoff = \"10ms\"\n[[fault]]\nat = \"1s\"\nkind = \"errors\"\n\
                 target = [\"server-0\", \"server-1\"]\nrate = 1.0\n"
            .to_owned()
            + &change("4s", "client.retry.max_attempts", "2")
            + &change("7s", "client.retry.initial_backoff", "\"100ms\"");
    let (_, records) = played(&lines);
    let attempts = |from_s: u64, to_s: u64| {
        let rows = records.requests.iter().filter(|row| (from_s * S..to_s * S).contains(&row.intended_us));
        rows.map(|row| row.attempts).max()
    };
    assert_eq!([attempts(2, 3), attempts(5, 6), attempts(8, 9)], [Some(4), Some(2), Some(2)]);
    let backoffs = records.events.iter().filter(|row| row.event == Event::Backoff);
    let backoffs: Vec<u64> = backoffs.filter(|row| row.at_us > 8 * S).filter_map(|row| row.duration_us).collect();
    assert!(!backoffs.is_empty() && backoffs.iter().all(|backoff_us| *backoff_us == 100 * MS));
}

#[test]
fn a_breaker_keeps_its_state_and_the_time_for_which_it_opened() {
    let lines = "[client.circuit_breaker]\nconsecutive_failures = 5\nreset_timeout = \"3s\"\npermitted_calls_in_half_open = 1\n\
                 [client.retry]\nmax_attempts = 1\n[[fault]]\nat = \"1s\"\nkind = \"errors\"\ntarget = [\"server-0\", \"server-1\"]\n\
                 rate = 1.0\nduration = \"4500ms\"\n"
        .to_owned()
        + &change("2s", "client.circuit_breaker.reset_timeout", "\"500ms\"");
    let (_, records) = played(&lines);
    let states = records
        .events
        .iter()
        .filter(|row| matches!(row.event, Event::BreakerOpened | Event::BreakerHalfOpened | Event::BreakerClosed));
    let states: Vec<_> = states.map(|row| (row.event, row.at_us / (100 * MS), row.duration_us)).collect();
    assert_eq!(states[0], (Event::BreakerOpened, 12, Some(3 * S)));
    assert_eq!(states[1].0, Event::BreakerHalfOpened);
    assert!((42..=43).contains(&states[1].1), "it was open for three seconds, as it said: {states:?}");
    assert_eq!((states[2].0, states[2].2), (Event::BreakerOpened, Some(S / 2)), "{states:?}");
    assert_eq!(states.last().map(|state| state.0), Some(Event::BreakerClosed));
}

#[test]
fn policies_go_on_with_their_states_and_other_limits() {
    let lines = "[client.bulkhead]\nmax_concurrent_calls = 20\n[client.rate_limit]\nlimit = 1000\nmax_wait = \"0ms\"\n\
                 [client.retry_budget]\nttl = \"2s\"\npercent = 100.0\nmin_per_second = 0.0\n[client.retry_throttling]\n\
                 max_tokens = 1000.0\n[client.retry]\nmax_attempts = 3\ninitial_backoff = \"10ms\"\n[[fault]]\nat = \"1s\"\n\
                 kind = \"errors\"\ntarget = [\"server-0\", \"server-1\"]\nrate = 0.3\n"
        .to_owned()
        + &change("3s", "client.retry_budget.percent", "0.0")
        + &change("5s", "client.retry_budget.percent", "100.0")
        + &change("6s", "client.rate_limit.limit", "10")
        + &change("7s", "client.rate_limit.limit", "1000")
        + &change("8s", "client.bulkhead.max_concurrent_calls", "1")
        + &change("9s", "client.retry_throttling.max_tokens", "1.0");
    let (_, records) = played(&lines);
    let count = |event: Event, cause: &str, from_s: u64, to_s: u64| {
        let rows = records.events.iter().filter(|row| row.event == event && row.cause.as_deref() == Some(cause));
        rows.filter(|row| (from_s * S..to_s * S).contains(&row.at_us)).count()
    };
    let spent = |from_s, to_s| count(Event::Throttled, "retry budget spent", from_s, to_s) > 0;
    assert_eq!([spent(1, 3), spent(3, 5), spent(5, 6)], [false, true, false]);
    let limited = |from_s, to_s| count(Event::Rejected, "rate limited", from_s, to_s) > 0;
    assert_eq!([limited(1, 6), limited(6, 7), limited(8, 10)], [false, true, false]);
    let full = |from_s, to_s| count(Event::Rejected, "bulkhead full", from_s, to_s) > 0;
    assert_eq!([full(1, 8), full(8, 10)], [false, true]);
}

#[test]
fn a_change_that_the_record_does_not_have_or_has_at_another_time_is_found() {
    let text = "name = \"changes\"\nduration = \"5s\"\n[load]\nrate = 20\n[workload]\nsizes = [\"8x8\"]\n".to_owned()
        + &change("2s", "client.retry.max_attempts", "1");
    let run = simulate(scenario(&text), 7);
    check(&run);
    assert_breaks(&run, Invariant::FaultsFollowSchedule, None, |records| {
        records.events.retain(|row| row.event != Event::SettingChanged);
    });
    assert_breaks(&run, Invariant::FaultsFollowSchedule, None, |records| {
        records.events.iter_mut().filter(|row| row.event == Event::SettingChanged).for_each(|row| row.at_us += S);
    });
}
