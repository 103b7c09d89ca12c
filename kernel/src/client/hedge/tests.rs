use std::time::Duration;

use crate::{
    client::{Request, Response, settings::Client as Settings},
    fuzzing::network::{Service, answering, at, failing, hanging, plain, refusing},
    policy::{Bulkhead, Hedging, Policies, RetryBudget},
    record::Event,
    server::ReplicaSettings,
    status::{Code, Outcome},
    time::Instant,
    workload::{Input, rpc},
};

/// Hedges after 100 ms, up to three attempts.
fn hedging() -> Hedging {
    Hedging {
        max_attempts: 3,
        hedging_delay: Duration::from_millis(100),
        non_fatal_status_codes: vec![Code::Unavailable, Code::ResourceExhausted],
    }
}

fn settings() -> Settings {
    Settings { policies: Policies { hedging: Some(hedging()), ..Policies::default() }, ..plain() }
}

/// Plays one call, which is cancelled at the given millisecond, and returns when its response came.
fn play(settings: Settings, replicas: Vec<ReplicaSettings>, cancelled: Option<u64>) -> (Service, u64, Response) {
    let service = Service::new(replicas.len());
    for (index, replica) in replicas.into_iter().enumerate() {
        service.serve(index, replica, Instant::NEVER);
    }
    let client = service.client(settings);
    if let Some(cancelled) = cancelled {
        let client = client.clone();
        let world = service.world.clone();
        service.world.spawn(Box::pin(async move {
            world.sleep_until(at(cancelled)).await;
            client.cancel();
        }));
    }
    let world = service.world.clone();
    let (done, response) = service.network.run(async move {
        world.sleep_until(at(0)).await;
        let response = client.call(Request { id: 0, message: rpc::message(0, &Input::Data) }).await;
        (world.now().since(at(0)).as_millis() as u64, response)
    });
    (service, done, response)
}

/// Server, start, end and status of each attempt, in the order in which they were recorded.
fn attempts(service: &Service) -> Vec<(String, i64, i64, Code)> {
    service.attempts().into_iter().map(|(server, start, end, status, _)| (server, start, end, status)).collect()
}

fn row(server: u32, start: i64, end: i64, status: Code) -> (String, i64, i64, Code) {
    (format!("server-{server}"), start, end, status)
}

#[test]
fn a_hedge_that_is_faster_ends_the_call_and_supersedes_the_first_attempt() {
    let (service, done, response) = play(settings(), vec![answering(300), answering(20)], None);
    assert_eq!((done, response.outcome, response.server.as_deref()), (120, Outcome::OK, Some("server-1")));
    assert_eq!((response.attempts, response.hedges, response.failovers), (2, 1, 0));
    assert_eq!(attempts(&service), [row(1, 100, 120, Code::Ok), row(0, 0, 120, Code::Cancelled)]);
    assert_eq!(service.attempts()[1].4.as_deref(), Some("another attempt was faster"));
    assert_eq!(service.kinds_of(0), [Event::Pick, Event::Hedge, Event::Pick, Event::AttemptFailed]);
    let hedge = &service.events_of(0)[1];
    assert_eq!((hedge.attempt, hedge.target.as_deref()), (Some(2), Some("server-1")));
    assert_eq!(service.events(Event::Unhealthy), [], "a superseded attempt is no failure of its server");
}

#[test]
fn an_answer_before_the_delay_needs_no_hedge() {
    let (service, done, response) = play(settings(), vec![answering(99), answering(20)], None);
    assert_eq!((done, response.attempts, response.hedges), (99, 1, 0));
    assert_eq!(service.attempts().len(), 1);
}

#[test]
fn each_hedge_goes_to_a_server_that_was_not_asked() {
    let (service, done, response) = play(settings(), vec![hanging(), hanging(), answering(10)], None);
    assert_eq!((done, response.attempts, response.hedges), (210, 3, 2));
    let servers: Vec<_> = attempts(&service).into_iter().map(|attempt| (attempt.0, attempt.1)).collect();
    let expected = [("server-2".to_owned(), 200), ("server-0".to_owned(), 0), ("server-1".to_owned(), 100)];
    assert_eq!(servers, expected);
}

#[test]
fn a_failure_that_is_not_fatal_sends_the_next_attempt_now() {
    let (service, done, response) = play(settings(), vec![failing(Code::Unavailable, 10), answering(20)], None);
    assert_eq!((done, response.outcome, response.hedges), (30, Outcome::OK, 1));
    assert_eq!(attempts(&service), [row(0, 0, 10, Code::Unavailable), row(1, 10, 30, Code::Ok)]);
}

#[test]
fn a_fatal_failure_ends_the_call_and_supersedes_the_others() {
    let (service, done, response) = play(settings(), vec![failing(Code::NotFound, 150), hanging()], None);
    assert_eq!((done, response.outcome, response.attempts), (150, Outcome::Status(Code::NotFound), 2));
    assert_eq!(response.server.as_deref(), Some("server-0"));
    assert_eq!(attempts(&service), [row(0, 0, 150, Code::NotFound), row(1, 100, 150, Code::Cancelled)]);
}

#[test]
fn a_call_whose_attempts_all_fail_ends_with_the_last_failure() {
    let replicas =
        vec![failing(Code::Unavailable, 10), failing(Code::ResourceExhausted, 10), failing(Code::Unavailable, 30)];
    let (service, done, response) = play(settings(), replicas, None);
    assert_eq!((done, response.attempts, response.outcome), (50, 3, Outcome::Status(Code::Unavailable)));
    assert_eq!(response.server.as_deref(), Some("server-2"));
    assert_eq!(service.kinds_of(0).last(), Some(&Event::GiveUp));
}

#[test]
fn no_attempt_is_sent_at_the_deadline_but_one_is_just_before_it() {
    for (deadline, attempts) in [(100, 1), (101, 2)] {
        let settings = Settings { deadline: Duration::from_millis(deadline), ..settings() };
        let (_, done, response) = play(settings, vec![hanging(), hanging()], None);
        assert_eq!((done, response.attempts), (deadline, attempts));
        assert_eq!(response.outcome, Outcome::Status(Code::DeadlineExceeded));
    }
}

#[test]
fn without_a_permit_the_call_waits_for_the_attempts_under_way() {
    let budget = RetryBudget { percent: 0.0, min_retry_concurrency: Some(0), ..RetryBudget::default() };
    let policies = Policies { retry_budget: Some(budget), hedging: Some(hedging()), ..Policies::default() };
    let (service, done, response) = play(Settings { policies, ..plain() }, vec![answering(300), answering(20)], None);
    assert_eq!((done, response.outcome, response.attempts), (300, Outcome::OK, 1));
    assert_eq!(service.kinds_of(0), [Event::Pick, Event::Throttled]);
}

#[test]
fn a_hedge_holds_its_permit_until_it_ends() {
    let budget = RetryBudget { percent: 0.0, min_retry_concurrency: Some(1), ..RetryBudget::default() };
    let policies = Policies { retry_budget: Some(budget), hedging: Some(hedging()), ..Policies::default() };
    let replicas = vec![hanging(), answering(150), answering(1)];
    let (service, done, response) = play(Settings { policies, ..plain() }, replicas, None);
    assert_eq!((done, response.attempts), (250, 2), "the third attempt has no permit");
    assert_eq!(service.kinds_of(0).iter().filter(|event| **event == Event::Throttled).count(), 1);
}

#[test]
fn a_server_that_asks_to_wait_delays_the_next_attempt() {
    let (service, done, response) = play(settings(), vec![refusing(250), answering(20)], None);
    assert_eq!((done, response.outcome), (270, Outcome::OK));
    assert_eq!(attempts(&service)[1], row(1, 250, 270, Code::Ok));
}

#[test]
fn a_call_that_waits_with_no_attempt_under_way_is_cancelled_at_once() {
    let (_, done, response) = play(settings(), vec![refusing(250)], Some(30));
    assert_eq!((done, response.outcome, response.attempts), (30, Outcome::Status(Code::Cancelled), 1));
    assert_eq!(response.server, None);
}

#[test]
fn a_cancelled_call_ends_the_attempts_under_way() {
    let (service, done, response) = play(settings(), vec![hanging(), hanging()], Some(130));
    assert_eq!((done, response.outcome, response.attempts), (130, Outcome::Status(Code::Cancelled), 2));
    assert_eq!(attempts(&service), [row(0, 0, 130, Code::Cancelled), row(1, 100, 130, Code::Cancelled)]);
    let causes: Vec<_> = service.attempts().into_iter().map(|attempt| attempt.4.unwrap()).collect();
    assert_eq!(causes, ["cancelled", "another attempt was faster"]);
}

#[test]
fn a_rejected_hedge_stops_the_sending_and_the_failure_of_a_sent_attempt_is_the_result() {
    let bulkhead = Bulkhead { max_concurrent_calls: 1, ..Bulkhead::default() };
    let policies = Policies { bulkhead: Some(bulkhead), hedging: Some(hedging()), ..Policies::default() };
    let settings = Settings { policies, ..plain() };
    let (service, done, response) = play(settings.clone(), vec![failing(Code::Unavailable, 300), answering(1)], None);
    assert_eq!((done, response.attempts, response.rejected), (300, 1, true));
    assert_eq!(response.outcome, Outcome::Status(Code::Unavailable));
    assert_eq!(service.events(Event::Rejected).len(), 1);
    let (_, done, response) = play(settings, vec![answering(300), answering(1)], None);
    assert_eq!((done, response.outcome, response.hedges), (300, Outcome::OK, 0));
}
