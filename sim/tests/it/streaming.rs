//! Calls that stream through the channel of an app: policies, faults in mid-stream, bad input.

mod numbers;

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use kernel::{
    record::{Answer, AttemptRow, Event, EventRow, Records, RequestRow},
    scenario::Scenario,
};
use sim::{App, Plan};

use self::numbers::{Client, Ending, GAP, Reply, app, number, read, undeclared};
use crate::simulated::{LINK, MS, S};

/// One request, at 500 ms, to the first of two servers that is picked; no background checks.
const SCENARIO: &str = "name = \"streams\"\nduration = \"1s\"\n[workload]\nkind = \"app\"\n[load]\nrate = 2\n[client]\n\
                        deadline = \"5s\"\n[client.load_balancing]\npolicy = \"pick_first\"\n";

/// A fault on `server-0` at the time of a message of the request that is sent at 0 s.
fn fault(at: &str, rest: &str) -> String {
    format!("{SCENARIO}[[fault]]\nat = \"{at}\"\ntarget = \"server-0\"\n{rest}\n")
}

/// Plays `app` by `text`, which violates no invariant and has the same rows again.
fn play(app: &App, text: &str, settings: &[&str]) -> Records {
    let settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
    let scenario = Scenario::parse("streams.toml", text, &settings).unwrap_or_else(|error| panic!("{error}"));
    let plan = Plan { app: Some(app.clone()), ..Plan::new(scenario, 3) };
    let run = sim::run(&plan, &AtomicU64::new(0)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(run.violations(&plan), []);
    let again = sim::run(&plan, &AtomicU64::new(0)).unwrap();
    assert_eq!(run.records, again.records, "equal plans give equal runs");
    run.records
}

fn attempts_of(records: &Records, request: u64) -> Vec<&AttemptRow> {
    records.attempts.iter().filter(|row| row.request == request).collect()
}

/// Returns the status, the number of messages and the attempts of the first request.
fn first(records: &Records) -> (&str, u64, u32) {
    let row = &records.requests[0];
    (row.status.name(), row.stream.as_ref().map_or(0, |stream| stream.messages), row.attempts)
}

fn events(records: &Records, event: Event) -> Vec<&EventRow> {
    records.events.iter().filter(|row| row.event == event).collect()
}

/// Returns how long the call of `row` took, in microseconds.
fn took(row: &RequestRow) -> u64 {
    row.done_us.unwrap() - row.sent_us.unwrap()
}

const TEN: Reply = Reply { messages: 10, bytes: 0, gap: GAP, head: Duration::ZERO, ending: Ending::Ok };

fn within(us: u64, from_us: u64) -> bool {
    (from_us..from_us + 5 * LINK).contains(&us)
}

#[test]
fn a_stream_is_a_row_with_its_messages_and_its_worker_is_occupied_to_its_end() {
    let (app, made) = app(TEN);
    let records = play(&app.load(read), SCENARIO, &[]);
    assert_eq!((first(&records), records.requests.len(), made.load(Relaxed)), (("OK", 10, 1), 2, 40));
    let row = &records.requests[0];
    let stream = row.stream.as_ref().unwrap();
    assert!(within(stream.first_us.unwrap() - row.sent_us.unwrap(), 50 * MS), "{stream:?}");
    assert!(within(stream.gap_us.unwrap(), 49 * MS), "{stream:?}");
    assert_eq!(stream.lost, None);
    // The messages, and one gap before the end.
    assert!(within(took(row), 550 * MS), "{row:?}");
    let attempt = &records.attempts[0];
    assert!(within(attempt.committed_us.unwrap(), attempt.start_us) && Some(attempt.end_us) == row.done_us);
    let finished = events(&records, Event::Finished);
    assert_eq!((finished.len(), finished[0].duration_us.unwrap() / MS), (2, 550));
}

#[test]
fn a_failure_without_headers_is_retried_and_one_behind_them_is_not() {
    let (app, _) = app(TEN);
    let text = fault("0s", "kind = \"errors\"\nrate = 1.0\nduration = \"400ms\"");
    let records = play(&app.load(read), &text, &["client.retry.initial_backoff=1ms"]);
    let own = attempts_of(&records, 0);
    assert_eq!((first(&records), own[0].committed_us), (("OK", 10, 2), None));
    assert!(own[1].committed_us.is_some() && own[1].server == "server-1");

    let (app, _) = numbers::app(Reply { messages: 3, ending: Ending::Fails, ..TEN });
    let records = play(&app.load(read), SCENARIO, &["client.retry.retryable_status_codes=[\"DATA_LOSS\"]"]);
    assert_eq!(first(&records), ("DATA_LOSS", 3, 1));
    assert_eq!(attempts_of(&records, 0)[0].cause.as_deref(), Some("the table is gone"));
    assert_eq!(events(&records, Event::Finished).len(), 2, "the service has answered");
}

#[test]
fn a_reply_that_fails_is_answered_with_the_messages_that_have_come() {
    let partial =
        ["client.fallback.kind=partial", "client.fallback.status_codes=[\"DATA_LOSS\", \"DEADLINE_EXCEEDED\"]"];
    let (broken, _) = numbers::app(Reply { messages: 3, ending: Ending::Fails, ..TEN });
    let records = play(&broken.clone().load(read), SCENARIO, &partial);
    assert_eq!(first(&records), ("DEGRADED", 3, 1));
    assert_eq!((records.requests[0].answer, &records.requests[0].server), (Some(Answer::Partial), &None));
    assert_eq!(events(&records, Event::Fallback)[0].cause.as_deref(), Some("partial"));
    assert_eq!(records.attempts[0].status.name(), "DATA_LOSS", "the attempt has failed");
    let late = [&partial[..], &["client.deadline=220ms", "client.fallback.counts_as_success=true"]].concat();
    let (long, _) = app(TEN);
    let records = play(&long.load(read), SCENARIO, &late);
    assert_eq!((first(&records), records.requests[0].answer), (("OK", 4, 1), Some(Answer::Partial)));
    assert!(within(took(&records.requests[0]), 220 * MS), "{:?}", records.requests[0]);
    // Nothing has come, or another failure than those that it is for.
    let (slow, _) = app(Reply { head: Duration::from_millis(400), ..TEN });
    assert_eq!(first(&play(&slow.load(read), SCENARIO, &late)), ("DEADLINE_EXCEEDED", 0, 1));
    let (again, _) = numbers::app(Reply { messages: 3, ending: Ending::Fails, ..TEN });
    let other = ["client.fallback.kind=partial", "client.fallback.status_codes=[\"INTERNAL\"]"];
    assert_eq!(first(&play(&again.load(read), SCENARIO, &other)), ("DATA_LOSS", 3, 1));
}

#[test]
fn tiles_that_have_come_are_a_partial_answer_that_says_how_many_there_should_be() {
    let settings = ["client.fallback.kind=partial", "expect=[]"].map(str::to_owned);
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/streaming.toml");
    let plan = Plan::new(Scenario::load(&file, &settings).unwrap(), 42);
    let run = sim::run(&plan, &AtomicU64::new(0)).unwrap();
    assert_eq!(run.violations(&plan), []);
    let partial: Vec<_> = run.records.requests.iter().filter(|row| row.answer == Some(Answer::Partial)).collect();
    assert!(!partial.is_empty() && partial.iter().all(|row| row.status.name() == "DEGRADED"));
    for row in &partial {
        let stream = row.stream.as_ref().unwrap();
        assert!(stream.messages > 0 && stream.messages + stream.lost.unwrap() == 8, "{stream:?}");
    }
    let summary = run.summary(&plan);
    assert_eq!(summary.overall.degraded, partial.len() as u64);
    let share = summary.overall.part_share.unwrap();
    assert!(share > 0.1 && share < 0.9, "{share}");
    assert!(summary.render().contains("partial answers have "), "{}", summary.render());
}

#[test]
fn the_timeout_of_an_attempt_is_that_of_the_headers() {
    let settings = ["client.attempt_timeout=100ms", "client.retry.max_attempts=2", "client.retry.initial_backoff=10ms"];
    let (slow_head, _) = app(Reply { head: Duration::from_millis(200), ..TEN });
    let settings = [&settings[..], &["client.retry.retryable_status_codes=[\"DEADLINE_EXCEEDED\"]"]].concat();
    let records = play(&slow_head.load(read), SCENARIO, &settings);
    assert_eq!(first(&records), ("DEADLINE_EXCEEDED", 0, 2));
    let (long, _) = app(TEN);
    assert_eq!(first(&play(&long.load(read), SCENARIO, &settings)), ("OK", 10, 1));
}

#[test]
fn the_deadline_ends_a_stream_that_never_ends() {
    let (app, made) = app(Reply { messages: 0, ending: Ending::Never, ..TEN });
    let records = play(&app.load(read), SCENARIO, &["client.deadline=500ms"]);
    // The ninth message is on its way at 450 ms; the tenth comes at the deadline.
    assert_eq!(first(&records), ("DEADLINE_EXCEEDED", 9, 1));
    assert_eq!(took(&records.requests[0]), 500 * MS);
    // The run ends with the second call, before its server has heard of that.
    let cancelled = events(&records, Event::Cancelled);
    assert_eq!(cancelled.len(), 1, "{cancelled:?}");
    assert!(cancelled.iter().all(|row| within(row.duration_us.unwrap(), 499 * MS)), "{cancelled:?}");
    assert!(made.load(Relaxed) <= 40, "nothing is made later");
}

#[test]
fn a_reader_that_does_not_read_holds_the_server_back_and_is_ended_by_the_deadline() {
    let endless = Reply { messages: 0, bytes: 64 * 1024, gap: Duration::ZERO, ending: Ending::Never, ..TEN };
    let (app, made) = app(endless);
    let app = app.load(|call| async move {
        let mut messages = Client::new(call.channel()).count().await?;
        messages.message().await?;
        call.host().sleep(Duration::from_secs(10)).await;
        while messages.message().await?.is_some() {}
        Ok(())
    });
    let records = play(&app, SCENARIO, &["client.deadline=2s", "load.rate=1"]);
    let (status, messages, attempts) = first(&records);
    assert_eq!((status, attempts, took(&records.requests[0])), ("DEADLINE_EXCEEDED", 1, 2 * S));
    assert!(messages < 10, "{messages}");
    // Two plays of one request. HTTP/2 has a window of 4 MiB, which is 64 messages, and what it has read ahead to send.
    assert!(made.load(Relaxed) < 2 * 80, "{}", made.load(Relaxed));
    assert_eq!(events(&records, Event::Cancelled).len(), 1);
}

#[test]
fn a_slow_reader_gets_everything() {
    let (app, _) = app(Reply { messages: 200, bytes: 64 * 1024, gap: Duration::ZERO, ..TEN });
    let app = app.load(|call| async move {
        let mut messages = Client::new(call.channel()).count().await?;
        for expected in 0..200 {
            call.host().sleep(Duration::from_millis(10)).await;
            let message = messages.message().await?.ok_or("it ends early")?;
            call.check(number(&message) == expected, "the numbers are in order");
        }
        call.check(messages.message().await?.is_none(), "it ends");
        Ok(())
    });
    let records = play(&app, SCENARIO, &["load.rate=1"]);
    assert_eq!(first(&records), ("OK", 200, 1));
    let finished = events(&records, Event::Finished)[0];
    assert!(finished.duration_us.unwrap() > S, "its worker waits for the reader: {finished:?}");
}

#[test]
fn a_message_over_the_limit_in_mid_stream_fails_the_call() {
    let (app, _) = app(Reply { messages: 2, ending: Ending::TooLong, ..TEN });
    let records = play(&app.load(read), SCENARIO, &["load.rate=1"]);
    assert_eq!(first(&records), ("RESOURCE_EXHAUSTED", 2, 1));
    let cause = records.attempts[0].cause.as_deref().unwrap();
    assert!(cause.contains("a message of") && cause.contains("the limit is"), "{cause}");
    let records = play(&numbers::app(TEN).0.load(read), SCENARIO, &["client.max_response_message_bytes=1"]);
    assert_eq!(first(&records), ("RESOURCE_EXHAUSTED", 0, 1));
}

#[test]
fn a_panic_in_mid_stream_ends_the_reply_and_not_the_worker() {
    let (app, _) = app(Reply { messages: 2, ending: Ending::Panics, ..TEN });
    let records = play(&app.load(read), SCENARIO, &["servers.workers=1"]);
    assert!(records.requests.iter().all(|row| row.status.name() == "INTERNAL"));
    assert_eq!((first(&records), events(&records, Event::Aborted).len()), (("INTERNAL", 2, 1), 2));
}

/// Returns the first request of a run with this fault at 225 ms, when four messages have come.
fn interrupted(rest: &str) -> RequestRow {
    let (app, _) = app(TEN);
    let app = app.load(|call| async move {
        call.expect_messages(10);
        read(call).await
    });
    let records = play(&app, &fault("225ms", rest), &[]);
    let attempts = attempts_of(&records, 0);
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    assert_eq!(attempts[0].server, "server-0");
    records.requests[0].clone()
}

#[test]
fn a_fault_in_mid_stream_fails_the_call_and_counts_the_messages_that_are_lost() {
    for kind in ["kind = \"reset\"", "kind = \"crash\""] {
        let row = interrupted(kind);
        let stream = row.stream.as_ref().unwrap();
        assert_eq!((row.status.name(), stream.messages, stream.lost), ("UNAVAILABLE", 4, Some(6)), "{kind}");
        assert!(within(took(&row), 225 * MS), "{row:?}");
    }
    for kind in ["kind = \"freeze\"", "kind = \"partition\""] {
        let row = interrupted(kind);
        let stream = row.stream.as_ref().unwrap();
        assert_eq!((row.status.name(), stream.messages, stream.lost), ("DEADLINE_EXCEEDED", 4, Some(6)), "{kind}");
        assert_eq!(took(&row), 5 * S, "{kind}");
    }
}

#[test]
fn a_fault_that_is_lifted_in_time_is_a_gap() {
    for kind in ["freeze", "partition"] {
        let row = interrupted(&format!("kind = \"{kind}\"\nduration = \"2s\""));
        let stream = row.stream.as_ref().unwrap();
        assert_eq!((row.status.name(), stream.messages, stream.lost), ("OK", 10, None), "{kind}");
        assert!(stream.gap_us.unwrap() > 1_900 * MS, "{stream:?}");
    }
}

#[test]
fn a_slow_server_makes_longer_gaps() {
    let (app, _) = app(TEN);
    let records = play(&app.load(read), &fault("0s", "kind = \"slow\"\nfactor = 3.0"), &[]);
    let row = &records.requests[0];
    assert!(within(row.stream.as_ref().unwrap().gap_us.unwrap(), 149 * MS), "{row:?}");
    assert!(within(took(row), 1_650 * MS), "{row:?}");
}

#[test]
fn a_stream_occupies_its_worker_and_its_place_in_a_bulkhead() {
    let (app, _) = app(TEN);
    let app = app.load(read);
    let one_worker = ["servers.workers=1", "servers.queue=0", "servers.replicas=1", "load.rate=4"];
    let settings = [&one_worker[..], &["client.retry.max_attempts=1"]].concat();
    let statuses = |records: &Records| records.requests.iter().map(|row| row.status.name()).collect::<Vec<_>>();
    // At 250 ms and 500 ms the first stream is under way; at 750 ms its worker is free.
    let expected = ["OK", "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", "OK"];
    assert_eq!(statuses(&play(&app, SCENARIO, &settings)), expected);
    let bulkhead = ["load.rate=4", "client.bulkhead.max_concurrent_calls=1"];
    let records = play(&app, SCENARIO, &bulkhead);
    assert_eq!(statuses(&records), expected);
    assert_eq!(records.requests.iter().filter(|row| row.rejected).count(), 2);
}

#[test]
fn policies_hear_of_the_headers_and_not_of_what_follows() {
    let (app, _) = app(Reply { messages: 1, ending: Ending::Fails, ..TEN });
    let breaker = ["load.rate=5", "client.circuit_breaker.consecutive_failures=1"];
    let throttling = ["client.retry_throttling.max_tokens=2", "client.outlier_detection=on"];
    let records = play(&app.load(read), SCENARIO, &[&breaker[..], &throttling].concat());
    assert!(records.requests.iter().all(|row| row.status.name() == "DATA_LOSS"));
    assert_eq!(events(&records, Event::BreakerOpened), Vec::<&EventRow>::new());
}

#[test]
fn a_stream_that_its_reader_drops_is_cancelled() {
    let (app, made) = app(TEN);
    let app = app.load(|call| async move {
        let mut messages = Client::new(call.channel()).count().await?;
        messages.message().await?;
        Ok(())
    });
    let records = play(&app, SCENARIO, &[]);
    assert_eq!(first(&records), ("CANCELLED", 1, 1));
    assert_eq!(events(&records, Event::Cancelled)[0].request, Some(0));
    assert!(made.load(Relaxed) <= 2 * 2 * 2);
}

#[test]
fn a_hedge_takes_over_only_before_the_headers() {
    let hedging = ["client.hedging.hedging_delay=20ms", "client.hedging.max_attempts=3"];
    let (app, _) = app(TEN);
    assert_eq!(first(&play(&app.load(read), SCENARIO, &hedging)), ("OK", 10, 1));
    let (slow_head, _) = numbers::app(Reply { head: Duration::from_millis(30), ..TEN });
    let records = play(&slow_head.load(read), SCENARIO, &hedging);
    assert_eq!(first(&records), ("OK", 10, 2));
    let committed: Vec<_> = attempts_of(&records, 0).into_iter().map(|row| row.committed_us.is_some()).collect();
    assert_eq!(committed, [true, false]);
}

fn paced(call: &sim::Call, numbers: u64) -> impl futures_util::Stream<Item = u64> + Send + 'static {
    let host = call.host().clone();
    stream::iter(0..numbers).then(move |number| {
        let host = host.clone();
        async move {
            host.sleep(GAP).await;
            number
        }
    })
}

#[test]
fn a_client_streams_in_one_attempt() {
    let (app, _) = app(TEN);
    let app = app.load(|call| async move {
        let sum = Client::new(call.channel()).sum(paced(&call, 5)).await?;
        call.check(number(&sum) == 10, "the sum is that of the numbers");
        Ok(())
    });
    let records = play(&app, SCENARIO, &[]);
    assert_eq!(first(&records), ("OK", 1, 1));
    assert!(within(took(&records.requests[0]), 300 * MS), "{:?}", records.requests[0]);
    let text = fault("0s", "kind = \"errors\"\nrate = 1.0\nduration = \"400ms\"");
    assert_eq!(first(&play(&app, &text, &[])), ("UNAVAILABLE", 0, 1), "it is not retried");
    let text = fault("120ms", "kind = \"crash\"");
    assert_eq!(first(&play(&app, &text, &[])), ("UNAVAILABLE", 0, 1), "two numbers are gone");
}

#[test]
fn a_message_over_the_limit_of_the_server_in_mid_stream_fails_the_call() {
    let (app, made) = app(TEN);
    let app = app.load(|call| async move {
        Client::new(call.channel()).sum_with_too_long(paced(&call, 3)).await?;
        Ok(())
    });
    let records = play(&app, SCENARIO, &["load.rate=1"]);
    assert_eq!(first(&records), ("RESOURCE_EXHAUSTED", 0, 1));
    let cause = records.attempts[0].cause.as_deref().unwrap();
    assert!(cause.contains("a message of") && cause.contains("the limit is"), "{cause}");
    assert_eq!(made.load(Relaxed), 2 * 3, "the service has read what came before, in both plays");
    assert_eq!(events(&records, Event::Finished).len(), 1, "it has answered");
}

#[test]
fn both_sides_stream_in_turns() {
    let (app, _) = app(TEN);
    let app = app.load(|call| async move {
        call.expect_messages(5);
        let mut doubled = Client::new(call.channel()).echo(paced(&call, 5)).await?;
        for expected in 0..5 {
            let message = doubled.message().await?.ok_or("it ends early")?;
            call.check(number(&message) == 2 * expected, "each number is doubled");
        }
        call.check(doubled.message().await?.is_none(), "it ends");
        Ok(())
    });
    let records = play(&app, SCENARIO, &[]);
    assert_eq!((first(&records), events(&records, Event::Finished).len()), (("OK", 5, 1), 2));
    let records = play(&app, &fault("120ms", "kind = \"reset\""), &[]);
    assert_eq!(first(&records), ("UNAVAILABLE", 2, 1));
    assert_eq!(records.requests[0].stream.as_ref().unwrap().lost, Some(3));
    let records = play(&app, &fault("120ms", "kind = \"freeze\"\nduration = \"1s\""), &[]);
    assert_eq!(first(&records), ("OK", 5, 1));
}

#[test]
fn a_method_that_is_not_declared_says_how_to_declare_it() {
    let (app, _) = undeclared(TEN);
    let records = play(&app.load(read), SCENARIO, &[]);
    assert_eq!(first(&records), ("UNIMPLEMENTED", 0, 1));
    let cause = records.attempts[0].cause.as_deref().unwrap();
    assert!(cause.contains("a second message") && cause.contains("App::described_by"), "{cause}");

    let (app, _) = undeclared(TEN);
    let app = app.load(|call| async move {
        Client::new(call.channel()).sum(paced(&call, 5)).await?;
        Ok(())
    });
    let scenario = Scenario::parse("streams.toml", SCENARIO, &[]).unwrap();
    let plan = Plan { app: Some(app), ..Plan::new(scenario, 3) };
    let error = sim::run(&plan, &AtomicU64::new(0)).unwrap_err().to_string();
    assert!(
        error.contains("`test.v1.Numbers/Sum` is not declared to stream") && error.contains("App::streaming"),
        "{error}"
    );
}

/// Returns the rows of a scenario whose replies are images in tiles.
fn in_tiles(rest: &str, settings: &[&str]) -> Records {
    let text = format!(
        "name = \"tiles\"\nduration = \"1s\"\n[workload]\nsizes = [\"64x64\"]\ntiles = 8\n[servers]\nservice_time_min = \"400ms\"\n\
         [load]\nrate = 2\n[client]\ndeadline = \"5s\"\n[client.load_balancing]\npolicy = \"pick_first\"\n{rest}"
    );
    let settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
    let scenario = Scenario::parse("tiles.toml", &text, &settings).unwrap_or_else(|error| panic!("{error}"));
    let plan = Plan::new(scenario, 3);
    let run = sim::run(&plan, &AtomicU64::new(0)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(run.violations(&plan), []);
    assert_eq!(run.records, sim::run(&plan, &AtomicU64::new(0)).unwrap().records, "equal plans give equal runs");
    run.records
}

#[test]
fn an_image_comes_in_tiles_as_they_are_done() {
    let records = in_tiles("", &[]);
    assert_eq!(first(&records), ("OK", 8, 1));
    let row = &records.requests[0];
    let stream = row.stream.as_ref().unwrap();
    assert!(within(stream.first_us.unwrap() - row.sent_us.unwrap(), 50 * MS), "{stream:?}");
    assert!(within(stream.gap_us.unwrap(), 49 * MS) && within(took(row), 400 * MS), "{row:?}");
    assert_eq!(events(&records, Event::WrongResult), Vec::<&EventRow>::new());
    assert_eq!(first(&in_tiles("", &["workload.tiles=1"])), ("OK", 1, 1));
    assert_eq!(first(&in_tiles("", &["workload.tiles=256"])), ("OK", 64, 1), "at most one tile for each row");
}

#[test]
fn tiles_that_a_fault_stops_are_lost_behind_the_first_one_and_retried_before_it() {
    let crash = |at: &str| format!("[[fault]]\nat = \"{at}\"\nkind = \"crash\"\ntarget = \"server-0\"\n");
    let records = in_tiles(&crash("225ms"), &[]);
    assert_eq!((first(&records), records.requests[0].stream.as_ref().unwrap().lost), (("UNAVAILABLE", 4, 1), Some(4)));
    let records = in_tiles(&crash("25ms"), &[]);
    assert_eq!((first(&records), records.requests[0].stream.as_ref().unwrap().lost), (("OK", 8, 2), None));
    let slow = "[[fault]]\nat = \"0s\"\nkind = \"slow\"\nfactor = 2.0\ntarget = \"server-0\"\n";
    let records = in_tiles(slow, &[]);
    assert!(within(took(&records.requests[0]), 800 * MS), "{:?}", records.requests[0]);
}
