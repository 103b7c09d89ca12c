//! Times and budgets that follow what the client observes, in scenarios in which a fixed one is too long, too short or too generous.

use kernel::{
    invariant::Invariant,
    record::{Event, EventRow, Records},
    scenario::Scenario,
    status::{Code, Outcome},
};

use crate::{
    simulated::{MS, S, SimulatedRun, simulate},
    soundness::{assert_breaks_also, check},
};

const SEEDS: [u64; 5] = [1, 2, 3, 7, 42];

/// Two servers of four workers that each need 50 ms for a request, 40 requests per second for ten seconds, and these lines.
fn played(lines: &str, seed: u64) -> SimulatedRun {
    let text = format!(
        "name = \"adaptive\"\nduration = \"10s\"\n[workload]\nsizes = [\"8x8\"]\n[load]\nrate = 40\n[servers]\nworkers = 4\n\
         service_time_min = \"50ms\"\n{lines}"
    );
    let scenario = Scenario::parse("adaptive.toml", &text, &[]).unwrap_or_else(|error| panic!("{error}"));
    let run = simulate(scenario, seed);
    check(&run);
    run
}

/// Returns the recorded values of a time that adapts, each with the time from which on it was in force, in microseconds.
fn values(records: &Records, name: &str) -> Vec<(u64, u64)> {
    let is_of = |row: &&EventRow| {
        row.event == Event::LimitChanged && row.cause.as_deref().is_some_and(|cause| cause.starts_with(name))
    };
    records.events.iter().filter(is_of).map(|row| (row.at_us, row.duration_us.unwrap())).collect()
}

/// Returns the longest latency of the requests that were intended in the seconds `from` to `to`, in microseconds.
fn longest(run: &SimulatedRun, from_s: u64, to_s: u64) -> u64 {
    let rows = run.records.requests.iter().filter(|row| (from_s * S..to_s * S).contains(&row.intended_us));
    rows.filter_map(|row| row.latency_us).max().unwrap()
}

const TIMEOUT: &str = "[client.adaptive_timeout]\nwindow = \"2s\"\nminimum_samples = 20\n";

#[test]
fn a_frozen_server_is_left_after_the_observed_timeout_and_not_after_the_fixed_one() {
    let freeze = "[[fault]]\nat = \"5s\"\nkind = \"freeze\"\ntarget = \"server-1\"\nduration = \"3s\"\n";
    for seed in SEEDS {
        let fixed = played(freeze, seed);
        assert!(longest(&fixed, 4, 6) > 2 * S, "{}", longest(&fixed, 4, 6));
        let adaptive = played(&format!("{TIMEOUT}{freeze}"), seed);
        assert!(longest(&adaptive, 4, 6) < S, "{}", longest(&adaptive, 4, 6));
        let (at_us, timeout_us) = values(&adaptive.records, "attempt timeout from 10s")[0];
        assert!(at_us < S && (100 * MS..110 * MS).contains(&timeout_us), "{timeout_us} at {at_us}");
    }
}

#[test]
fn a_timeout_that_cuts_off_too_much_grows_until_it_does_not() {
    let slower = "[client.retry]\nmax_attempts = 2\n[[change]]\nat = \"5s\"\nsetting = \"servers.service_time_min\"\nto = \"120ms\"\n";
    for seed in SEEDS {
        let run = played(&format!("{TIMEOUT}{slower}"), seed);
        let last = run.records.requests.iter().filter(|row| row.intended_us > 8 * S);
        assert!(last.clone().count() > 70 && last.clone().all(|row| row.status == Outcome::OK && row.attempts == 1));
        let cut_off = run.records.attempts.iter().filter(|row| row.status == Code::DeadlineExceeded).count();
        assert!(cut_off > 0);
        assert!(values(&run.records, "attempt timeout").last().unwrap().1 > 200 * MS);
    }
}

#[test]
fn a_hedge_follows_after_the_observed_delay_and_few_calls_hedge() {
    let late = "[client.hedging]\nhedging_delay = \"2s\"\n[[fault]]\nat = \"0s\"\nkind = \"errors\"\n\
                target = [\"server-0\", \"server-1\"]\nrate = 0.03\ndelay = \"900ms\"\n";
    let adaptive = "[client.adaptive_hedging]\nwindow = \"5s\"\nminimum_samples = 40\n";
    for seed in SEEDS {
        let fixed = played(late, seed);
        assert!(longest(&fixed, 3, 10) > 900 * MS);
        let run = played(&format!("{late}{adaptive}"), seed);
        let slow = |row: &&kernel::record::RequestRow| row.intended_us > 3 * S && row.latency_us > Some(200 * MS);
        // A hedge may be late itself.
        assert!(run.records.requests.iter().filter(slow).count() <= 2);
        let hedges: u32 = run.records.requests.iter().map(|row| row.hedges).sum();
        assert!((3..40).contains(&hedges), "{hedges} of {}", run.records.requests.len());
        let delays = values(&run.records, "hedging delay");
        assert!((50 * MS..53 * MS).contains(&delays[0].1), "{delays:?}");
    }
}

#[test]
fn a_budget_by_success_permits_no_retries_of_a_service_that_fails_and_one_by_calls_does() {
    let failing = "[[fault]]\nat = \"2s\"\nkind = \"errors\"\ntarget = [\"server-0\", \"server-1\"]\nrate = 1.0\n\
                   [client.retry]\ninitial_backoff = \"10ms\"\n[client.retry_budget]\npercent = 50.0\nttl = \"2s\"\nmin_per_second = 0.0\n";
    for seed in SEEDS {
        let retries = |deposit: &str| {
            let run = played(&format!("{failing}deposit = \"{deposit}\"\n"), seed);
            let count = |from_s: u64, to_s: u64| {
                run.events(Event::Backoff).filter(|row| (from_s * S..to_s * S).contains(&row.at_us)).count()
            };
            (count(2, 4), count(5, 10))
        };
        let (first, later) = retries("call");
        assert!(first > 20 && later > 50, "{first}, {later}");
        let (first, later) = retries("success");
        assert!(first > 20 && later == 0, "{first}, {later}");
    }
}

#[test]
fn a_change_of_a_factor_and_of_the_fixed_timeout_are_in_force_at_once() {
    let changes = "[[change]]\nat = \"4s\"\nsetting = \"client.adaptive_timeout.factor\"\nto = 4.0\n\
                   [[change]]\nat = \"6s\"\nsetting = \"client.attempt_timeout\"\nto = \"150ms\"\n";
    let run = played(&format!("{TIMEOUT}{changes}"), 7);
    let values = values(&run.records, "attempt timeout");
    let in_force = |at_us: u64| values.iter().rfind(|(from_us, _)| *from_us <= at_us).unwrap().1;
    assert!((100 * MS..110 * MS).contains(&in_force(4 * S - 1)));
    assert!((200 * MS..220 * MS).contains(&in_force(4 * S + MS)), "{values:?}");
    assert_eq!(in_force(6 * S + MS), 150 * MS, "it is the longest");
}

#[test]
fn an_attempt_beyond_the_observed_timeout_and_a_hedge_before_the_observed_delay_are_found() {
    let run = played(TIMEOUT, 7);
    let late = run.records.attempts.iter().position(|row| row.start_us > 5 * S).unwrap();
    let request = run.records.attempts[late].request;
    // It is far less than the fixed timeout of 10 s.
    assert_breaks_also(&run, Invariant::DeadlinesHold, Some(request), |records| {
        records.attempts[late].end_us += 300 * MS;
        let row = records.requests.iter_mut().find(|row| row.id == request).unwrap();
        row.done_us = row.done_us.map(|done_us| done_us + 300 * MS);
    });
    let hedging = "[client.hedging]\nhedging_delay = \"1ms\"\n[client.adaptive_hedging]\npercentile = 50.0\nminimum_samples = 40\n\
                   [[change]]\nat = \"5s\"\nsetting = \"servers.service_time_min\"\nto = \"80ms\"\n";
    let run = played(hedging, 7);
    let is_late = |row: &EventRow| row.event == Event::Hedge && row.at_us > 5_500 * MS;
    let hedge = run.records.events.iter().find(|row| is_late(row)).unwrap();
    let (at_us, request) = (hedge.at_us, hedge.request);
    assert_breaks_also(&run, Invariant::WithinLimits, request, |records| {
        let is_same = |row: &&mut EventRow| row.at_us == at_us && row.request == request;
        records.events.iter_mut().filter(is_same).for_each(|row| row.at_us -= 20 * MS);
    });
}
