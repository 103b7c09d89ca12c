//! The client's policies, in whole calls to the whole server: one test for each.

use kernel::{
    record::{Answer, RequestRow},
    status::{Code, Outcome},
};

use super::*;

const ONE_TRY: &str = "client.retry.max_attempts = 1\n";

fn at_us(records: &Records, event: Event) -> Vec<u64> {
    events(records, event).map(|row| row.at_us).collect()
}

fn refused(row: &RequestRow, code: Code) -> bool {
    row.status == Outcome::Status(code) && row.rejected && row.attempts == 0
}

/// Plays one replica that is killed at 545 ms and called ten times a second.
fn outage(more: &str) -> Records {
    let records = records_of(&format!(
        "duration = '3s'\nload.rate = 10\nservers.replicas = 1\n{more}\n\
         [[fault]]\nat = '545ms'\nkind = 'crash'\ntarget = 'server-0'"
    ));
    assert_eq!(records.requests.len(), 30);
    records
}

#[test]
fn a_hedge_answers_for_a_frozen_server() {
    let records = records_of(
        "duration = '3s'\nload.rate = 10\nservers.replicas = 2\nclient.hedging.hedging_delay = '50ms'\n\
         [[fault]]\nat = '1.05s'\nkind = 'freeze'\ntarget = 'server-1'\nduration = '930ms'",
    );
    // Request 11 is server-1's turn, and a hedge to server-0 makes the next turn that of server-1 again.
    for row in &records.requests[1..] {
        let hedged = (11..=19).contains(&row.id);
        assert_eq!((row.hedges, row.attempts), (u32::from(hedged), 1 + u32::from(hedged)), "{row:?}");
        assert_eq!((row.latency_us, row.failovers), (Some(if hedged { 50_920 } else { 920 }), 0), "{row:?}");
    }
    let given_up: Vec<_> = records.attempts.iter().filter(|row| row.status != Code::Ok).collect();
    assert_eq!(given_up.len(), 9);
    assert!(given_up.iter().all(|row| row.status == Code::Cancelled && row.server == "server-1"));
    assert!(given_up.iter().all(|row| row.cause.as_deref() == Some("another attempt was faster")));
}

#[test]
fn a_breaker_opens_half_opens_and_closes_on_time() {
    let records = records_of(&format!(
        "duration = '3s'\nload.rate = 100\nservers.replicas = 1\nclient.attempt_timeout = '20ms'\n{ONE_TRY}\
         [client.circuit_breaker]\nconsecutive_failures = 3\nreset_timeout = '300ms'\npermitted_calls_in_half_open = 1\n\
         [[fault]]\nat = '945ms'\nkind = 'freeze'\ntarget = 'server-0'\nduration = '1s'"
    ));
    // Requests of 950, 960 and 970 ms time out; then one call every 300 ms does, the last one's answer is in time.
    assert_eq!(at_us(&records, Event::BreakerOpened), [990_000, 1_310_000, 1_630_000]);
    assert_eq!(at_us(&records, Event::BreakerHalfOpened), [1_290_000, 1_610_000, 1_930_000]);
    assert_eq!(at_us(&records, Event::BreakerClosed), [1_945_000 + 820 + 50]);
    let meanwhile = &records.requests[100..129];
    assert!(meanwhile.iter().all(|row| refused(row, Code::Unavailable) && row.latency_us == Some(0)));
    assert!(records.requests[195..].iter().all(|row| row.status == Outcome::OK));
}

#[test]
fn breakers_of_servers_reject_a_call_only_when_all_are_open() {
    let records = records_of(&format!(
        "duration = '3s'\nload.rate = 10\nservers.replicas = 2\nclient.attempt_timeout = '20ms'\n{ONE_TRY}\
         [client.circuit_breaker]\nscope = 'server'\nconsecutive_failures = 1\nreset_timeout = '10s'\n\
         [[fault]]\nat = '950ms'\nkind = 'freeze'\ntarget = 'server-0'\n\
         [[fault]]\nat = '1950ms'\nkind = 'freeze'\ntarget = 'server-1'"
    ));
    let opened: Vec<_> = events(&records, Event::BreakerOpened).map(|row| row.target.clone().unwrap()).collect();
    assert_eq!(opened, ["server-0", "server-1"]);
    assert!(records.requests[..20].iter().all(|row| row.attempts == 1));
    assert_eq!(records.requests.iter().filter(|row| row.status == Outcome::Status(Code::DeadlineExceeded)).count(), 2);
    assert!(records.requests[21..].iter().all(|row| refused(row, Code::Unavailable)));
}

#[test]
fn a_bulkhead_admits_as_many_attempts_as_it_has_slots() {
    // A call takes 100.1 ms, and one comes every 50 ms.
    let load = "duration = '3s'\nload.rate = 20\nservers.replicas = 1\nservers.service_time_min = '100ms'\n";
    let full = records_of(&format!("{load}{ONE_TRY}[client.bulkhead]\nmax_concurrent_calls = 1"));
    for row in &full.requests {
        assert_eq!((row.status == Outcome::OK, row.rejected), (row.id % 3 == 0, row.id % 3 != 0), "{row:?}");
        assert!(!row.rejected || refused(row, Code::ResourceExhausted));
    }
    let queued = records_of(&format!("{load}{ONE_TRY}[client.bulkhead]\nmax_concurrent_calls = 1\nmax_wait = '60ms'"));
    assert_eq!(queued.requests[1].latency_us, Some(50_200 + 100_100), "it waits for the first, which connects first");
    assert_eq!(queued.requests[2].latency_us, Some(60_000));
    assert!(refused(&queued.requests[2], Code::ResourceExhausted));
}

#[test]
fn a_rate_limit_admits_a_call_for_each_token() {
    let load = "duration = '2s'\nload.rate = 20\nservers.replicas = 1\n[client.rate_limit]\nlimit = 10\nburst = 1\n";
    let limited = records_of(&format!("{load}max_wait = '0s'"));
    assert!(limited.requests.iter().all(|row| (row.status == Outcome::OK) == (row.id % 2 == 0)));
    assert!(limited.requests.iter().all(|row| row.id % 2 == 0 || refused(row, Code::ResourceExhausted)));
    // Request n comes at 50n ms and gets the token of 100n ms, until it would have to wait longer than half a second.
    let waiting = records_of(&format!("{load}max_wait = '500ms'"));
    let waits: Vec<_> = waiting.requests[1..11].iter().map(|row| row.latency_us.unwrap()).collect();
    assert_eq!(waits, (1..11).map(|n| n * 50_000 + 920).collect::<Vec<_>>());
    assert!(refused(&waiting.requests[11], Code::ResourceExhausted));
}

#[test]
fn throttled_calls_are_not_retried() {
    let records = outage("client.retry.initial_backoff = '0s'\nclient.retry_throttling.max_tokens = 4");
    // Two failures leave 2 of 4 tokens, which is not over half of them.
    assert_eq!(records.requests[6].attempts, 2);
    assert!(records.requests[7..].iter().all(|row| row.attempts == 1));
    assert_eq!(events(&records, Event::Throttled).count(), 24);
    assert_eq!(outage("client.retry.initial_backoff = '0s'").requests[29].attempts, 3);
}

#[test]
fn a_spent_retry_budget_ends_calls_with_their_failure() {
    let budget =
        "client.retry.initial_backoff = '0s'\n[client.retry_budget]\nttl = '10s'\nmin_per_second = 0\npercent = 50";
    let records = outage(budget);
    // 50 % of the seven calls until request 6 are three and a half retries: it makes the two that it may. Of the eight until
    // request 7 they are four, so it makes two, too; of nine four and a half, of ten five.
    let attempts: Vec<_> = records.requests[6..10].iter().map(|row| row.attempts).collect();
    assert_eq!(attempts, [3, 3, 1, 2]);
    assert_eq!(records.requests.iter().map(|row| row.attempts - 1).sum::<u32>(), 15);
}

#[test]
fn a_retry_waits_for_the_servers_pushback() {
    let records = records_of(
        "duration = '200ms'\nload.rate = 10\nclient.retry.retryable_status_codes = ['RESOURCE_EXHAUSTED']\n\
         [servers]\nreplicas = 1\nworkers = 1\nqueue = 0\nservice_time_min = '300ms'\n\
         [servers.admission]\nretry_pushback = '250ms'",
    );
    let waits: Vec<_> = events(&records, Event::Backoff).map(|row| row.duration_us.unwrap()).collect();
    assert_eq!(waits, [250_000]);
    assert_eq!(records.requests[1].latency_us, Some(100 + 250_000 + 300_000 + 100));
}

/// Plays one replica that is killed at 545 ms, restarted 500 ms later and called ten times a second.
fn restarted(more: &str) -> Records {
    records_of(&format!(
        "duration = '3s'\nload.rate = 10\nservers.replicas = 1\n{ONE_TRY}{more}\n\
         [[fault]]\nat = '545ms'\nkind = 'crash'\ntarget = 'server-0'\nrestart_after = '500ms'"
    ))
}

#[test]
fn a_call_that_waits_for_ready_survives_an_outage_of_connections() {
    let waiting = restarted("client.wait_for_ready = true");
    assert!(waiting.requests.iter().all(|row| row.status == Outcome::OK && row.attempts == 1));
    // The first call is there before the first connection; then those of 0.6 to 1.5 s, as the connection is tried again 1 s
    // after it was lost.
    let queued: Vec<_> = events(&waiting, Event::Queued).map(|row| row.request.unwrap()).collect();
    assert_eq!(queued, [0].into_iter().chain(6..=15).collect::<Vec<_>>());
    let failing = restarted("");
    let failed = failing.requests.iter().filter(|row| row.status != Outcome::OK).map(|row| row.id);
    assert_eq!(failed.collect::<Vec<_>>(), (6..=15).collect::<Vec<_>>());
}

#[test]
fn a_fallback_answers_for_a_failure_and_is_marked() {
    let records = outage(&format!("{ONE_TRY}[client.fallback]"));
    for row in &records.requests {
        let degraded = row.id > 5;
        assert_eq!(row.status, if degraded { Outcome::Degraded } else { Outcome::OK });
        assert_eq!((row.answer, row.server.is_none()), (degraded.then_some(Answer::Fallback), degraded));
    }
    let counted = outage(&format!("{ONE_TRY}[client.fallback]\ncounts_as_success = true"));
    assert!(counted.requests.iter().all(|row| row.status == Outcome::OK));
}

#[test]
fn a_cached_answer_needs_no_attempt() {
    let records = records_of("duration = '20s'\nload.rate = 10\nservers.replicas = 1\n[client.cache]\nttl = '60s'");
    let asked = records.requests.iter().filter(|row| row.answer.is_none()).count();
    assert!(asked < 50 && asked == records.attempts.len(), "{asked}");
    let cached = records.requests.iter().filter(|row| row.answer == Some(Answer::Cached));
    assert!(cached.clone().all(|row| row.latency_us == Some(0) && row.status == Outcome::OK && row.attempts == 0));
    assert_eq!(cached.count() + asked, 200);
}

#[test]
fn a_stale_answer_is_returned_at_once_while_one_call_revalidates_it() {
    let records = records_of(
        "duration = '20s'\nload.rate = 10\nservers.replicas = 1\n\
         [client.cache]\nttl = '2s'\nstale_while_revalidate = '1m'",
    );
    let stale: Vec<_> = records.requests.iter().filter(|row| row.answer == Some(Answer::Stale)).collect();
    assert!(!stale.is_empty() && stale.iter().all(|row| row.status == Outcome::Degraded && row.latency_us == Some(0)));
    // Calls are 100 ms apart and renewing takes 1 ms, so each stale answer is renewed before the next call.
    // The run is over before the last one is.
    let renewed = stale.iter().filter(|row| row.id < 199);
    assert!(renewed.into_iter().all(|row| records.attempts.iter().any(|attempt| attempt.request == row.id)));
}

#[test]
fn a_stale_fallback_returns_the_last_known_answer() {
    let records = outage(&format!(
        "{ONE_TRY}[client.cache]\nttl = '1ms'\n[client.fallback]\nkind = 'stale'\ncounts_as_success = true"
    ));
    let (known, unknown): (Vec<_>, Vec<_>) = records.requests[6..].iter().partition(|row| row.answer.is_some());
    assert!(known.iter().all(|row| row.answer == Some(Answer::Stale) && row.status == Outcome::OK));
    assert!(unknown.iter().all(|row| row.status == Outcome::Status(Code::Unavailable)));
    assert!(!known.is_empty() && !unknown.is_empty());
}

/// Returns the share of `server-1` in the attempts of the second that begins at `from_us`.
fn share_of_server_1(records: &Records, from_us: u64) -> f64 {
    let span = from_us..from_us + 1_000_000;
    let attempts: Vec<_> = records.attempts.iter().filter(|row| span.contains(&row.start_us)).collect();
    attempts.iter().filter(|row| row.server == "server-1").count() as f64 / attempts.len() as f64
}

#[test]
fn a_server_that_comes_back_gets_its_share_gradually() {
    let records = records_of(
        "duration = '20s'\nload.rate = 200\nservers.replicas = 2\n[client.slow_start]\nslow_start_window = '10s'\n\
         [[fault]]\nat = '1s'\nkind = 'crash'\ntarget = 'server-1'\nrestart_after = '100ms'",
    );
    let back = events(&records, Event::SlowStart).map(|row| row.at_us).next().unwrap();
    let shares = [0, 5, 12].map(|second| share_of_server_1(&records, back + second * 1_000_000));
    // Its share is w / (1 + w) at a weight of w: 9 % at 0.1, 35 % at 0.55 on average, 50 % at 1. Five standard deviations
    // of 200 draws are at most 17 %.
    assert!((shares[0] - 0.09).abs() < 0.11, "{shares:?}");
    assert!((shares[1] - 0.35).abs() < 0.17, "{shares:?}");
    assert!((shares[2] - 0.5).abs() < 0.01, "{shares:?}");
}

/// Plays one worker that is called twice as often as it can compute, with this admission control.
fn overload(admission: &str) -> Records {
    records_of(&format!(
        "duration = '3s'\nload.rate = 20\n\
         [servers]\nreplicas = 1\nworkers = 1\nqueue = 10\nservice_time_min = '100ms'\n[servers.admission]\n{admission}"
    ))
}

/// Returns the causes of all refusals, without repetitions in a row.
fn refusal_causes(records: &Records) -> Vec<String> {
    let mut causes: Vec<_> = events(records, Event::Refused).map(|row| row.cause.clone().unwrap()).collect();
    causes.dedup();
    causes
}

fn longest_success_us(records: &Records) -> u64 {
    let successes = records.requests.iter().filter(|row| row.status == Outcome::OK);
    successes.map(|row| row.latency_us.unwrap()).max().unwrap()
}

#[test]
fn a_replica_sheds_requests_that_waited_too_long_and_admits_no_more_than_its_limit() {
    let shed = overload("max_queue_time = '150ms'");
    assert_eq!(refusal_causes(&shed), ["the request waited for a worker too long"]);
    assert!(longest_success_us(&shed) <= 150_000 + 100_000 + 200);
    let limited = overload("max_concurrent_requests = 2");
    assert_eq!(refusal_causes(&limited), ["2 requests are in progress, as many as are admitted"]);
    assert!(longest_success_us(&limited) <= 200_000 + 200);
}

#[test]
fn a_failing_server_is_ejected_for_a_while() {
    let records = records_of(
        "duration = '3s'\nload.rate = 100\nservers.replicas = 3\nclient.attempt_timeout = '20ms'\n\
         [client.outlier_detection]\nconsecutive_errors = 1\ninterval = '200ms'\nbase_ejection_time = '500ms'\n\
         [[fault]]\nat = '995ms'\nkind = 'freeze'\ntarget = 'server-1'\nduration = '200ms'",
    );
    let ejected: Vec<_> = events(&records, Event::Ejected).collect();
    assert_eq!(ejected.len(), 1);
    assert_eq!((ejected[0].target.as_deref(), ejected[0].duration_us), (Some("server-1"), Some(500_000)));
    let back = at_us(&records, Event::Unejected);
    assert_eq!(back, [1_600_000], "the first sweep 500 ms after 1.02 s");
    let meanwhile = ejected[0].at_us + 1..back[0];
    assert!(records.attempts.iter().all(|row| row.server != "server-1" || !meanwhile.contains(&row.start_us)));
}
