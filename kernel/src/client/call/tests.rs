mod balancing;
mod breaker;

use std::time::Duration;

use crate::{
    client::{
        Request, Response,
        settings::{Balancing, Client as Settings, Retry},
    },
    fuzzing::network::{Attempt, Service, answering, at, failing, failing_all, hanging, plain, refusing},
    grpc::Reply,
    policy::{
        Bulkhead, Cache, CircuitBreaker, Fallback, FallbackKind, Hedging, Policies, RateLimit, RetryBudget,
        RetryThrottling,
    },
    record::{Answer, Event},
    server::{Injection, ReplicaSettings},
    status::{Code, Outcome},
    time::Instant,
    workload::{Input, Output, rpc},
};

const DATA: &[u8] = b"data of the backend";

/// Starts servers and a client, makes the calls at the given milliseconds, waits for their responses, and returns these with
/// the milliseconds at which they came.
fn play(settings: Settings, replicas: Vec<ReplicaSettings>, calls: &[u64]) -> (Service, Vec<(u64, Response)>) {
    play_with(settings, replicas, calls, |_, _| {})
}

/// Does the same, and starts `also` with the client before the calls.
fn play_with(
    settings: Settings,
    replicas: Vec<ReplicaSettings>,
    calls: &[u64],
    also: impl FnOnce(&Service, &crate::client::Client),
) -> (Service, Vec<(u64, Response)>) {
    let service = Service::new(replicas.len());
    for (index, replica) in replicas.into_iter().enumerate() {
        service.serve(index, replica, Instant::NEVER);
    }
    let client = service.client(settings);
    also(&service, &client);
    let calls: Vec<_> = (0..)
        .zip(calls)
        .map(|(id, millis)| {
            let client = client.clone();
            let world = service.world.clone();
            let begin = at(*millis);
            async move {
                world.sleep_until(begin).await;
                let response = client.call(Request { id, message: rpc::message(id, &Input::Data) }).await;
                // What went wrong is compared by the rows of the record.
                let response = Response { cause: None, ..response };
                (world.now().since(at(0)).as_millis() as u64, response)
            }
        })
        .collect();
    let responses = service.network.run(futures_util::future::join_all(calls));
    (service, responses)
}

/// Plays one call at the start, and returns the millisecond of its response, too.
fn play_one(settings: Settings, replicas: Vec<ReplicaSettings>) -> (Service, u64, Response) {
    let (service, mut responses) = play(settings, replicas, &[0]);
    let (millis, response) = responses.remove(0);
    (service, millis, response)
}

fn attempt(server: u32, start: i64, end: i64, status: Code, cause: &str) -> Attempt {
    let cause = (!cause.is_empty()).then(|| cause.to_owned());
    (format!("server-{server}"), start, end, status, cause)
}

fn failed(server: u32, start: i64, end: i64, status: Code) -> Attempt {
    attempt(server, start, end, status, "the backend fails on purpose")
}

fn retrying(codes: &[Code], max_attempts: u32) -> Settings {
    Settings { retry: Retry { max_attempts, retryable_status_codes: codes.to_vec(), ..Retry::default() }, ..plain() }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn with(policies: Policies) -> Settings {
    Settings { policies, retry: Retry { max_attempts: 1, ..Retry::default() }, ..plain() }
}

/// Returns the output in `response`.
fn output(response: &Response) -> Option<Output> {
    response.reply.as_ref().map(|reply| rpc::output(&Input::Data, reply).expect("it is an output of the backend"))
}

/// A response without an answer.
fn ended(code: Code, attempts: u32) -> Response {
    Response {
        outcome: Outcome::Status(code),
        reply: None,
        cause: None,
        server: None,
        attempts,
        failovers: 0,
        hedges: 0,
        rejected: false,
        answer: None,
        stream: None,
    }
}

#[test]
fn an_answer_of_the_first_attempt_ends_the_call() {
    let (service, done, response) = play_one(plain(), vec![answering(20)]);
    assert_eq!((done, output(&response)), (20, Some(Output::Data(DATA.into()))));
    let expected = Response { server: Some("server-0".into()), ..ended(Code::Ok, 1) };
    assert_eq!(Response { reply: None, ..response }, expected);
    assert_eq!(service.attempts(), [attempt(0, 0, 20, Code::Ok, "")]);
    assert_eq!(service.kinds_of(0), [Event::Pick]);
    let pick = &service.events_of(0)[0];
    assert_eq!((pick.attempt, pick.target.as_deref()), (Some(1), Some("server-0")));
}

#[test]
fn a_retry_waits_for_the_backoff_and_goes_to_another_server() {
    let (service, done, response) = play_one(plain(), vec![failing(Code::Unavailable, 10), answering(20)]);
    assert_eq!((done, response.outcome, response.attempts, response.failovers), (130, Outcome::OK, 2, 1));
    assert_eq!((output(&response), response.server), (Some(Output::Data(DATA.into())), Some("server-1".into())));
    assert_eq!(service.attempts(), [failed(0, 0, 10, Code::Unavailable), attempt(1, 110, 130, Code::Ok, "")]);
    let events = [Event::Pick, Event::AttemptFailed, Event::Backoff, Event::Failover, Event::Pick];
    assert_eq!(service.kinds_of(0), events);
    let rows = service.events_of(0);
    assert_eq!(rows[1].cause.as_deref(), Some("the backend fails on purpose"));
    assert_eq!((rows[2].attempt, rows[2].duration_us), (Some(1), Some(100_000)));
    assert_eq!((rows[3].attempt, rows[3].target.as_deref()), (Some(2), Some("server-1")));
}

#[test]
fn a_server_that_the_call_failed_on_is_avoided_only_if_the_settings_say_so() {
    for (prefer_other_server, second) in [(true, "server-1"), (false, "server-0")] {
        // ABORTED leaves the server healthy, so the balancer has no reason to leave it.
        let mut settings = retrying(&[Code::Aborted], 2);
        settings.retry.prefer_other_server = prefer_other_server;
        settings.load_balancing = Balancing::PickFirst;
        let (service, _, response) = play_one(settings, vec![failing(Code::Aborted, 1), failing(Code::Aborted, 1)]);
        assert_eq!(service.attempts()[1].0, second);
        assert_eq!(response.failovers, u32::from(prefer_other_server));
    }
}

#[test]
fn a_status_that_is_not_retryable_ends_the_call_with_the_server_that_gave_it() {
    let (service, done, response) = play_one(plain(), vec![failing(Code::NotFound, 10), answering(1)]);
    assert_eq!((done, response), (10, Response { server: Some("server-0".into()), ..ended(Code::NotFound, 1) }));
    assert_eq!(service.kinds_of(0), [Event::Pick, Event::AttemptFailed, Event::GiveUp]);
    assert_eq!(service.events_of(0)[2].cause.as_deref(), Some("NOT_FOUND"));
}

#[test]
fn attempts_end_at_their_maximum_and_backoffs_grow_between_them() {
    let (service, done, response) = play_one(plain(), vec![failing(Code::Unavailable, 10)]);
    assert_eq!((done, response.attempts, response.failovers), (330, 3, 0));
    let starts: Vec<_> = service.attempts().iter().map(|attempt| attempt.1).collect();
    assert_eq!(starts, [0, 110, 320]);
    assert_eq!(response.server, Some("server-0".into()));
}

#[test]
fn no_attempt_starts_at_the_deadline_but_one_does_just_before_it() {
    let settings = |deadline| Settings { deadline: millis(deadline), ..plain() };
    let (_, done, response) = play_one(settings(110), vec![failing(Code::Unavailable, 10)]);
    assert_eq!((done, response.attempts, response.outcome), (10, 1, Outcome::Status(Code::Unavailable)));
    let (service, done, response) = play_one(settings(111), vec![failing(Code::Unavailable, 10)]);
    assert_eq!((done, response), (111, ended(Code::DeadlineExceeded, 2)));
    assert_eq!(service.attempts()[1], attempt(0, 110, 111, Code::DeadlineExceeded, "call deadline"));
}

#[test]
fn an_attempt_ends_at_its_timeout_or_at_the_deadline_whichever_is_first() {
    for (attempt_timeout, deadline, cause) in
        [(50, 51, "attempt timeout"), (51, 50, "call deadline"), (50, 50, "call deadline")]
    {
        let settings = Settings {
            attempt_timeout: millis(attempt_timeout),
            deadline: millis(deadline),
            ..retrying(&[Code::Unavailable], 1)
        };
        let (service, done, response) = play_one(settings, vec![hanging()]);
        assert_eq!((done, response), (50, ended(Code::DeadlineExceeded, 1)));
        assert_eq!(service.attempts(), [attempt(0, 0, 50, Code::DeadlineExceeded, cause)]);
    }
}

#[test]
fn a_wait_that_the_server_asks_for_replaces_the_backoff_and_restarts_the_backoffs() {
    let settings = retrying(&[Code::Aborted, Code::ResourceExhausted], 4);
    let (service, _, response) = play_one(settings, vec![failing(Code::Aborted, 1), refusing(300)]);
    assert_eq!(response.attempts, 4);
    let events = service.events_of(0);
    let backoffs: Vec<_> = events.iter().filter(|row| row.event == Event::Backoff).map(|row| row.duration_us).collect();
    // Without the restart, the third one would be 200 ms.
    assert_eq!(backoffs, [Some(100_000), Some(300_000), Some(100_000)]);
}

#[test]
fn a_cancelled_call_ends_at_once_and_says_nothing_about_its_server() {
    // Sent and without an answer; in the backoff, after which an attempt is sent and cancelled; before the call.
    for (cancelled, ends, attempts, status) in
        [(5, 5, 1, Code::Unavailable), (50, 50, 2, Code::Unavailable), (0, 10, 1, Code::Ok)]
    {
        let breaker = CircuitBreaker { consecutive_failures: Some(9), ..CircuitBreaker::default() };
        let settings =
            Settings { policies: Policies { circuit_breaker: Some(breaker), ..Policies::default() }, ..plain() };
        let begin = if status == Code::Ok { 10 } else { 0 };
        let (service, responses) =
            play_with(settings, vec![failing(Code::Unavailable, 10)], &[begin], |service, client| {
                let client = client.clone();
                let world = service.world.clone();
                service.world.spawn(Box::pin(async move {
                    world.sleep_until(at(cancelled)).await;
                    client.cancel();
                }));
            });
        let (done, response) = &responses[0];
        assert_eq!((*done, response), (ends, &ended(Code::Cancelled, attempts)));
        let last = service.attempts().pop().unwrap();
        assert_eq!((last.2, last.3, last.4.as_deref()), (ends as i64, Code::Cancelled, Some("cancelled")));
        assert_eq!(service.events(Event::Unhealthy).len(), usize::from(attempts == 2));
    }
}

#[test]
fn a_cancelled_attempt_is_neither_a_failure_nor_a_success_of_its_server() {
    // The breaker opens at the first failure of a status, which CANCELLED is here.
    let breaker = CircuitBreaker {
        consecutive_failures: Some(1),
        failure_status_codes: vec![Code::Cancelled],
        ..CircuitBreaker::default()
    };
    let settings = with(Policies { circuit_breaker: Some(breaker), ..Policies::default() });
    let (service, _) = play_with(settings, vec![hanging()], &[0], |service, client| {
        let client = client.clone();
        let world = service.world.clone();
        service.world.spawn(Box::pin(async move {
            world.sleep_until(at(5)).await;
            client.cancel();
        }));
    });
    assert_eq!(service.events(Event::BreakerOpened), []);
}

#[test]
fn a_cancelled_call_is_not_retried_even_if_its_status_is_retryable() {
    let (service, responses) = play_with(retrying(&[Code::Cancelled], 3), vec![hanging()], &[0], |service, client| {
        let client = client.clone();
        let world = service.world.clone();
        service.world.spawn(Box::pin(async move {
            world.sleep_until(at(5)).await;
            client.cancel();
        }));
    });
    assert_eq!(responses, [(5, ended(Code::Cancelled, 1))]);
    assert!(!service.kinds_of(0).contains(&Event::Backoff));
}

/// Returns the numbers of attempts of two calls that fail, the second one a second after the first.
fn attempts_with_budget(budget: RetryBudget) -> Vec<u32> {
    let policies = Policies { retry_budget: Some(budget), ..Policies::default() };
    let settings = Settings { policies, ..plain() };
    let (_, responses) = play(settings, vec![failing(Code::Unavailable, 10)], &[0, 1_000]);
    responses.into_iter().map(|(_, response)| response.attempts).collect()
}

#[test]
fn a_call_adds_to_the_budget_of_its_own_retry_and_an_attempt_that_has_ended_does_not() {
    // Finagle's: a retry for each call. Envoy's: one for each attempt under way, and there is none when a call asks.
    let finagle =
        RetryBudget { percent: 100.0, ttl: Some(millis(10_000)), min_per_second: Some(0.0), ..RetryBudget::default() };
    assert_eq!(attempts_with_budget(finagle), [2, 2]);
    let envoy = RetryBudget { percent: 100.0, min_retry_concurrency: Some(0), ..RetryBudget::default() };
    assert_eq!(attempts_with_budget(envoy), [1, 1]);
}

#[test]
fn an_attempt_waits_for_a_token_as_long_as_it_may_and_not_longer() {
    for (max_wait, is_sent) in [(200, true), (199, false)] {
        let rate_limit =
            RateLimit { limit: 1, refresh_period: millis(200), burst: Some(1), max_wait: millis(max_wait) };
        let policies = Policies { rate_limit: Some(rate_limit), ..Policies::default() };
        let (service, responses) = play(with(policies), vec![answering(10)], &[0, 0]);
        assert_eq!((service.attempts().len() == 2, responses[1].1.rejected), (is_sent, !is_sent));
    }
}

#[test]
fn a_call_waits_for_a_server_only_if_the_settings_say_so() {
    let play_unserved = |wait_for_ready| {
        let service = Service::new(1);
        let client = service.client(Settings { wait_for_ready, deadline: millis(3_000), ..retrying(&[], 1) });
        let world = service.world.clone();
        let response = service.network.run(async move {
            world.sleep_until(at(1)).await;
            client.call(Request { id: 0, message: rpc::message(0, &Input::Data) }).await
        });
        (service, response)
    };
    let (service, response) = play_unserved(false);
    let cause = Some("connection refused".to_owned());
    assert_eq!(response, Response { cause: cause.clone(), ..ended(Code::Unavailable, 1) });
    assert_eq!(service.attempts()[0].4, cause);
    let (service, response) = play_unserved(true);
    let cause = Some("no server was ready".to_owned());
    assert_eq!(response, Response { rejected: true, cause, ..ended(Code::DeadlineExceeded, 0) });
    assert_eq!(service.kinds_of(0), [Event::Queued, Event::Rejected, Event::GiveUp]);
    assert_eq!(service.events_of(0)[1].cause.as_deref(), Some("no server was ready"));
}

#[test]
fn a_call_that_waits_is_sent_when_a_server_is_ready() {
    let service = Service::new(2);
    let client = service.client(Settings { wait_for_ready: true, ..plain() });
    let world = service.world.clone();
    service.network.run(async move { world.sleep_until(at(1)).await });
    // The client has been refused at the start and a second later. It tries again after 1.6 s, give or take a fifth.
    service.serve(1, answering(20), Instant::NEVER);
    let world = service.world.clone();
    let (now, response) = service.network.run(async move {
        let response = client.call(Request { id: 0, message: rpc::message(0, &Input::Data) }).await;
        (world.now(), response)
    });
    assert_eq!((response.outcome, response.server, response.attempts), (Outcome::OK, Some("server-1".into()), 1));
    assert!(!response.rejected);
    assert!((1_300..=1_940).contains(&now.since(at(0)).as_millis()), "{now}");
}

#[test]
fn a_cached_answer_is_used_while_it_is_fresh_and_renewed_once_it_is_stale() {
    let cache = Cache { ttl: millis(1_000), stale_while_revalidate: millis(1_000), ..Cache::default() };
    let settings = with(Policies { cache: Some(cache), ..Policies::default() });
    let (service, responses) = play(settings, vec![answering(20)], &[0, 1_019, 1_020, 1_030, 2_039, 5_000]);
    let seen: Vec<_> = responses
        .iter()
        .map(|(done, response)| (*done, response.outcome, response.answer, response.attempts))
        .collect();
    let expected = [
        (20, Outcome::OK, None, 1),
        (1_019, Outcome::OK, Some(Answer::Cached), 0),
        (1_020, Outcome::Degraded, Some(Answer::Stale), 0),
        (1_030, Outcome::Degraded, Some(Answer::Stale), 0),
        // The call at 1020 ms has renewed it at 1040 ms.
        (2_039, Outcome::OK, Some(Answer::Cached), 0),
        (5_020, Outcome::OK, None, 1),
    ];
    assert_eq!(seen, expected);
    assert!(responses.iter().all(|(_, response)| output(response) == Some(Output::Data(DATA.into()))));
    let starts: Vec<_> = service.attempts().iter().map(|attempt| attempt.1).collect();
    assert_eq!(starts, [0, 1_020, 5_000], "one call renews it");
    assert_eq!(service.events_of(1)[0].cause.as_deref(), Some("fresh"));
    assert_eq!(service.events_of(2)[0].cause.as_deref(), Some("stale"));
}

#[test]
fn a_renewal_that_fails_leaves_the_next_to_another_call() {
    let cache = Cache { ttl: millis(100), stale_while_revalidate: millis(10_000), ..Cache::default() };
    let settings = with(Policies { cache: Some(cache), ..Policies::default() });
    let (service, responses) = play_with(settings, vec![answering(20)], &[0, 200, 300, 500], |service, _| {
        let world = service.world.clone();
        let injector = service.injectors[0].clone();
        service.world.spawn(Box::pin(async move {
            world.sleep_until(at(150)).await;
            injector.set(failing_all(Code::Unavailable));
            world.sleep_until(at(250)).await;
            injector.set(Injection::default());
        }));
    });
    let starts: Vec<_> = service.attempts().iter().map(|attempt| (attempt.1, attempt.3)).collect();
    assert_eq!(starts, [(0, Code::Ok), (200, Code::Unavailable), (300, Code::Ok)]);
    assert!(responses[1..].iter().all(|(_, response)| response.answer == Some(Answer::Stale)));
}

/// Plays a call whose only attempt fails with this status.
fn play_fallback(kind: FallbackKind, counts_as_success: bool, code: Code) -> (Service, u64, Response) {
    let fallback = Fallback { kind, counts_as_success, ..Fallback::default() };
    let policies = Policies { fallback: Some(fallback), ..Policies::default() };
    play_one(with(policies), vec![failing(code, 10)])
}

#[test]
fn a_fallback_replaces_the_failures_that_it_is_for() {
    let (service, _, response) = play_fallback(FallbackKind::Default, false, Code::Unavailable);
    let blank = Response { reply: Some(Reply::empty()), answer: Some(Answer::Fallback), ..ended(Code::Ok, 1) };
    assert_eq!(response, Response { outcome: Outcome::Degraded, ..blank.clone() });
    assert_eq!(service.kinds_of(0), [Event::Pick, Event::AttemptFailed, Event::GiveUp, Event::Fallback]);
    assert_eq!(service.events_of(0)[3].cause.as_deref(), Some("default"));
    let (_, _, response) = play_fallback(FallbackKind::Default, true, Code::Unavailable);
    assert_eq!(response, blank);
    let (_, _, response) = play_fallback(FallbackKind::Default, false, Code::NotFound);
    assert_eq!((response.outcome, response.answer), (Outcome::Status(Code::NotFound), None));
    // Without a cache there is no last known answer.
    let (_, _, response) = play_fallback(FallbackKind::Stale, false, Code::Unavailable);
    assert_eq!((response.outcome, response.answer), (Outcome::Status(Code::Unavailable), None));
}

#[test]
fn a_stale_fallback_is_the_last_known_answer() {
    let cache = Cache { ttl: millis(10), ..Cache::default() };
    let fallback = Fallback { kind: FallbackKind::Stale, ..Fallback::default() };
    let settings = with(Policies { cache: Some(cache), fallback: Some(fallback), ..Policies::default() });
    let (service, responses) = play_with(settings, vec![answering(20)], &[0, 200], |service, _| {
        let world = service.world.clone();
        let injector = service.injectors[0].clone();
        service.world.spawn(Box::pin(async move {
            world.sleep_until(at(150)).await;
            injector.set(failing_all(Code::Unavailable));
        }));
    });
    let response = &responses[1].1;
    assert_eq!((response.outcome, response.answer), (Outcome::Degraded, Some(Answer::Stale)));
    assert_eq!(output(response), Some(Output::Data(DATA.into())));
    assert_eq!(service.events_of(1).pop().unwrap().cause.as_deref(), Some("stale"));
}

#[test]
fn a_policy_that_rejects_an_attempt_ends_the_call_without_a_retry() {
    let bulkhead = Bulkhead { max_concurrent_calls: 1, ..Bulkhead::default() };
    let settings = Settings {
        policies: Policies { bulkhead: Some(bulkhead), ..Policies::default() },
        ..retrying(&[Code::ResourceExhausted], 3)
    };
    let (service, responses) = play(settings, vec![answering(20)], &[0, 10, 21]);
    let rejected = Response { rejected: true, ..ended(Code::ResourceExhausted, 0) };
    assert_eq!(responses[1], (10, rejected));
    assert_eq!(service.kinds_of(1), [Event::Rejected, Event::GiveUp]);
    assert_eq!(service.events_of(1)[0].cause.as_deref(), Some("bulkhead full"));
    assert_eq!((responses[0].1.outcome, responses[2].1.outcome), (Outcome::OK, Outcome::OK));
}

/// Plays two calls, of which the second waits for the slot of the first, for up to `max_wait` milliseconds.
fn play_waiting(max_wait: u64) -> (Service, Vec<(u64, Response)>) {
    let bulkhead = Bulkhead { max_concurrent_calls: 1, max_wait: millis(max_wait) };
    play(with(Policies { bulkhead: Some(bulkhead), ..Policies::default() }), vec![answering(20)], &[0, 5])
}

#[test]
fn an_attempt_that_waits_for_a_slot_gets_the_next_one_or_is_rejected_after_the_wait() {
    let (service, responses) = play_waiting(16);
    assert_eq!((responses[1].0, responses[1].1.outcome), (40, Outcome::OK));
    assert_eq!(service.attempts()[1].1, 20);
    let (_, responses) = play_waiting(14);
    assert_eq!((responses[1].0, responses[1].1.rejected), (19, true));
}

#[test]
fn the_timeout_of_an_attempt_includes_the_wait_for_a_slot_and_not_the_wait_for_a_token() {
    let settings = |policies| Settings { attempt_timeout: millis(100), ..with(policies) };
    let bulkhead = Bulkhead { max_concurrent_calls: 1, max_wait: millis(1_000) };
    let policies = Policies { bulkhead: Some(bulkhead), ..Policies::default() };
    let (service, _) = play(settings(policies), vec![hanging()], &[0, 50]);
    assert_eq!(service.attempts()[1], attempt(0, 100, 150, Code::DeadlineExceeded, "attempt timeout"));
    let rate_limit = RateLimit { limit: 1, refresh_period: millis(200), burst: Some(1), max_wait: millis(1_000) };
    let policies = Policies { rate_limit: Some(rate_limit), ..Policies::default() };
    let (service, _) = play(settings(policies), vec![hanging()], &[0, 50]);
    assert_eq!(service.attempts()[1], attempt(0, 200, 300, Code::DeadlineExceeded, "attempt timeout"));
}

#[test]
fn a_retry_without_a_permit_is_not_made() {
    let budget = RetryBudget { percent: 0.0, min_retry_concurrency: Some(0), ..RetryBudget::default() };
    let policies = Policies { retry_budget: Some(budget), ..Policies::default() };
    let (service, done, response) = play_one(Settings { policies, ..plain() }, vec![failing(Code::Unavailable, 10)]);
    assert_eq!((done, response.attempts, response.rejected), (10, 1, false));
    assert_eq!(service.kinds_of(0), [Event::Pick, Event::AttemptFailed, Event::Throttled, Event::GiveUp]);
    assert_eq!(service.events_of(0)[2].cause.as_deref(), Some("retry budget spent"));
}

#[test]
fn a_call_holds_one_permit_at_a_time_and_gives_it_back() {
    let budget = RetryBudget { percent: 0.0, min_retry_concurrency: Some(1), ..RetryBudget::default() };
    let policies = Policies { retry_budget: Some(budget), ..Policies::default() };
    let (_, responses) = play(Settings { policies, ..plain() }, vec![failing(Code::Unavailable, 10)], &[0, 1_000]);
    assert_eq!(responses.iter().map(|(_, response)| response.attempts).collect::<Vec<_>>(), [3, 3]);
}

#[test]
fn throttling_counts_the_failures_of_attempts() {
    let policies = Policies { retry_throttling: Some(RetryThrottling::default()), ..Policies::default() };
    let calls: Vec<u64> = (0..8).map(|call| call * 1_000).collect();
    let (_, responses) = play(Settings { policies, ..plain() }, vec![failing(Code::Unavailable, 10)], &calls);
    let attempts: u32 = responses.iter().map(|(_, response)| response.attempts).sum();
    assert!((9..24).contains(&attempts), "{attempts} attempts of 8 calls");
    assert_eq!(responses[7].1.attempts, 1, "no token is left");
}
