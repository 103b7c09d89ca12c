//! Calls of the whole client to the whole server, through faults.

use kernel::{
    record::{AttemptRow, RequestRow},
    status::{Code, Outcome},
};

use super::*;

fn attempt(records: &Records, request: u64, attempt: u32) -> &AttemptRow {
    records.attempts.iter().find(|row| (row.request, row.attempt) == (request, attempt)).unwrap()
}

/// Returns the request and the attempt of each event of that kind.
fn attempts_of(records: &Records, event: Event) -> Vec<(u64, u32)> {
    events(records, event).map(|row| (row.request.unwrap(), row.attempt.unwrap())).collect()
}

fn succeeded(row: &RequestRow) -> bool {
    row.status == Outcome::OK
}

#[test]
fn a_call_takes_a_round_trip_and_its_service_time() {
    let records = records_of("duration = '10s'\nload.rate = 10\nservers.replicas = 2");
    assert_eq!(records.requests.len(), 100);
    // The first waits for its connection: another round trip.
    assert_eq!(records.requests[0].latency_us, Some(1_020));
    assert!(records.requests[1..].iter().all(|row| row.latency_us == Some(920)));
}

/// Proportional to the pixels beyond what is calibrated: 64 times 820 µs.
#[test]
fn a_call_with_a_large_image_takes_as_many_round_trips() {
    let records = records_of_images("duration = '5s'\nload.rate = 1\nservers.replicas = 1", "512x512");
    assert!(records.requests[1..].iter().all(|row| row.latency_us == Some(64 * 820 + 100)));
}

/// Requests at 1.0, 1.1, …, 1.9 s reach a server that is frozen from 0.95 to 1.95 s; they are given 500 ms each.
#[test]
fn a_resumed_server_answers_pending_calls_and_skips_abandoned_ones() {
    let records = records_of(
        "duration = '3s'\nload.rate = 10\nservers.replicas = 1\nclient.attempt_timeout = '500ms'\n\
         client.retry.max_attempts = 1\n\
         [[fault]]\nat = '950ms'\nkind = 'freeze'\ntarget = 'server-0'\nduration = '1s'",
    );
    let given_up: Vec<_> = (10..=14).map(|request| (request, 1)).collect();
    assert_eq!(attempts_of(&records, Event::Skipped), given_up);
    assert!(events(&records, Event::Skipped).all(|row| row.at_us == 1_950_000));
    assert!(events(&records, Event::Skipped).all(|row| row.cause.as_deref() == Some("caller left")));
    let finished = attempts_of(&records, Event::Finished);
    assert!(given_up.iter().all(|attempt| !finished.contains(attempt)));
    for row in &records.requests {
        assert_eq!(succeeded(row), !(10..=14).contains(&row.id), "{row:?}");
    }
    // The server answers, two workers at a time, those that still wait.
    let dones: Vec<_> = (15..=19).map(|id| records.requests[id].done_us.unwrap() - 1_950_000).collect();
    assert_eq!(dones, [870, 870, 1_690, 1_690, 2_510]);
}

/// Two hundred calls a second that are given up after 100 ms, to a server that is frozen for a second. HTTP/2 takes more than
/// twenty streams that were reset before it treats them as an attack (CVE-2023-44487), as it does of real processes.
#[test]
fn a_resumed_server_closes_a_connection_full_of_abandoned_calls() {
    let records = records_of(
        "duration = '3s'\nload.rate = 200\nservers.replicas = 1\nclient.attempt_timeout = '100ms'\n\
         client.retry.max_attempts = 1\nservers.queue = 1000\n\
         [[fault]]\nat = '1s'\nkind = 'freeze'\ntarget = 'server-0'\nduration = '1s'",
    );
    let lost: Vec<_> = events(&records, Event::Idle).map(|row| (row.at_us, row.cause.as_deref())).collect();
    assert_eq!(lost, [(2_000_050, Some("connection closed"))]);
    assert_eq!(attempts_of(&records, Event::Skipped), []);
    for row in records.requests.iter().filter(|row| row.sent_us > Some(1_910_000)) {
        let waited = row.sent_us <= Some(2_000_000);
        assert_eq!(row.status == Outcome::Status(Code::Unavailable), waited, "{row:?}");
        assert_eq!(succeeded(row), !waited, "{row:?}");
    }
}

#[test]
fn a_call_whose_connection_is_reset_is_retried_elsewhere() {
    let records = records_of(
        "duration = '3s'\nload.rate = 1\nservers.replicas = 2\n\
         [[fault]]\nat = '1.0003s'\nkind = 'reset'\ntarget = '*'",
    );
    let first = attempt(&records, 1, 1);
    let second = attempt(&records, 1, 2);
    assert_eq!((first.status, first.cause.as_deref()), (Code::Unavailable, Some("connection reset")));
    assert_eq!((first.server.as_str(), first.end_us), ("server-1", 1_000_300));
    assert_eq!((second.server.as_str(), second.status), ("server-0", Code::Ok));
    assert!(records.requests.iter().all(succeeded));
    // Both connections were lost and opened again at once.
    let ready: Vec<_> = events(&records, Event::Ready).map(|row| row.at_us).collect();
    assert_eq!(ready, [100, 100, 1_000_400, 1_000_400]);
}

#[test]
fn a_call_to_a_killed_server_fails_after_the_links_delay() {
    let records = records_of(
        "duration = '3s'\nload.rate = 1\nservers.replicas = 2\n\
         [[fault]]\nat = '1.0003s'\nkind = 'crash'\ntarget = 'server-1'",
    );
    let first = attempt(&records, 1, 1);
    assert_eq!((first.server.as_str(), first.status), ("server-1", Code::Unavailable));
    assert_eq!(first.end_us, 1_000_350);
    assert!(records.requests.iter().all(succeeded));
}

#[test]
fn an_answer_sent_before_the_server_was_killed_counts() {
    // Computed at 1.00087 s, received at 1.00092 s.
    let records = records_of(
        "duration = '3s'\nload.rate = 1\nservers.replicas = 2\n\
         [[fault]]\nat = '1.0009s'\nkind = 'crash'\ntarget = 'server-1'",
    );
    assert_eq!(records.requests[1].latency_us, Some(920));
    assert_eq!((records.requests[1].attempts, succeeded(&records.requests[1])), (1, true));
}

/// Little's law: four users whose calls take 100 ms and who think for 300 ms make 4 / 400 ms = 10 calls per second.
#[test]
fn users_make_as_many_calls_as_a_cycle_allows() {
    let records = records_of(
        "duration = '10s'\nservers.replicas = 2\nservers.service_time_min = '99900us'\n\
         load = { users = 4, think_time = '300ms' }",
    );
    assert_eq!(records.requests.len(), 100);
    for user in 0..4 {
        let calls: Vec<_> = records.requests.iter().filter(|row| row.user == Some(user)).collect();
        // The first waits for its connection: another round trip.
        let latencies: Vec<_> = calls.iter().map(|row| row.latency_us.unwrap()).collect();
        assert_eq!((latencies[0], &latencies[1..]), (100_100, &[100_000; 24][..]));
        let due: Vec<_> = (0..25).map(|call| call * 400_000 + if call > 0 { 100 } else { 0 }).collect();
        assert_eq!(calls.iter().map(|row| row.intended_us).collect::<Vec<_>>(), due);
    }
}

/// 10 per second for a second, a ramp to 30 in two seconds, then 5.
#[test]
fn the_load_of_stages_is_the_integral_of_its_rate() {
    let records = records_of(
        "duration = '5s'\nservers.replicas = 2\n[load]\nrate = 10\n[[load.stage]]\nduration = '1s'\n\
         [[load.stage]]\nduration = '2s'\nrate = 30\n[[load.stage]]\nduration = '1s'\nrate = 5\nshape = 'step'",
    );
    let until = |second: u64| records.requests.partition_point(|row| row.intended_us < second * 1_000_000);
    assert_eq!([1, 3, 4, 5].map(until), [10, 50, 55, 60]);
    assert!(records.requests.iter().all(|row| succeeded(row) && row.sent_us == Some(row.intended_us)));
}

/// Kinds of a backend differ in how it treats them, and the server and the client agree on the kind of each request.
#[test]
fn a_backend_treats_each_kind_of_requests_as_it_says() {
    let scenario = "name = 'kinds'\nduration = '10s'\nworkload.kind = 'backend'\nworkload.failure_rate = 0.0\n\
                    client.retry.max_attempts = 1\n[load]\nrate = 20\n[[load.request]]\nname = 'good'\nweight = 3\n\
                    [[load.request]]\nname = 'bad'\nfailure_rate = 1.0\ndelay = '40ms'\n";
    let scenario = Scenario::parse("kinds.toml", scenario, &[]).unwrap();
    let records = run(&Plan::new(scenario, 1), &Default::default()).unwrap().records;
    let kinds: Vec<_> = records.requests.iter().map(|row| row.kind.clone().unwrap()).collect();
    assert!((20..80).contains(&kinds.iter().filter(|kind| kind.as_str() == "bad").count()), "a quarter of 200");
    for (row, kind) in records.requests.iter().zip(kinds) {
        assert_eq!(succeeded(row), kind.as_str() == "good", "{row:?}");
        assert_eq!(row.latency_us.unwrap() >= 40_000, kind.as_str() == "bad", "{row:?}");
    }
}
