use std::{sync::Arc, time::Duration};

use http::header::USER_AGENT;
use tonic::body::Body;

use crate::{
    client::{
        Failure, Request,
        failure::Cause,
        probe,
        settings::{Client as Settings, HealthCheck},
    },
    fuzzing::{
        host::over,
        network::{Network, Service, answering, at, failing, failing_all, plain},
    },
    link::Shape,
    record::{Event, EventRow},
    server::Injection,
    status::Code,
    time::Instant,
    workload::{Input, rpc},
};

/// Runs everything until `end`.
fn run_until(service: &Service, end: Instant) {
    let world = service.world.clone();
    service.network.run(async move { world.sleep_until(end).await });
}

fn seconds(seconds: u64) -> Instant {
    Instant::START + Duration::from_secs(seconds)
}

/// Returns the seconds between the events.
fn gaps(rows: &[EventRow]) -> Vec<f64> {
    rows.windows(2).map(|pair| (pair[1].at_us - pair[0].at_us) as f64 / 1e6).collect()
}

/// Returns the kinds of events about connections, in order.
fn kinds(service: &Service) -> Vec<Event> {
    let kinds = [Event::Connecting, Event::Ready, Event::TransientFailure, Event::Idle];
    let records = crate::sync::lock(&service.records);
    records.events.iter().map(|row| row.event).filter(|event| kinds.contains(event)).collect()
}

#[test]
fn a_refused_connection_is_tried_again_after_backoffs_that_grow_to_two_minutes() {
    let service = Service::new(1);
    let _client = service.client(plain());
    run_until(&service, seconds(1_200));
    let failures = service.events(Event::TransientFailure);
    assert!(failures.iter().all(|row| row.cause.as_deref() == Some("connection refused")));
    let gaps = gaps(&failures);
    assert_eq!(gaps[0], 1.0, "the first backoff has no jitter");
    let mut expected: f64 = 1.0;
    let mut jittered = 0;
    for (row, gap) in failures.iter().zip(&gaps).skip(1) {
        expected = (expected * 1.6).min(120.0);
        assert!((expected * 0.8..=expected * 1.2).contains(gap), "{gap} s for {expected} s");
        jittered += usize::from((gap - expected).abs() > 0.02 * expected);
        // Both times are rounded down to a microsecond.
        let recorded = row.duration_us.expect("the record says how long it waits") as f64;
        assert!((recorded - gap * 1e6).abs() < 1.5, "{recorded} µs");
    }
    assert!(gaps.len() > 12 && jittered > gaps.len() / 2, "{gaps:?}");
    assert_eq!(service.events(Event::Connecting).len(), failures.len());
}

#[test]
fn a_lost_connection_is_opened_again_at_once() {
    let service = Service::new(1);
    service.serve(0, answering(20), Instant::NEVER);
    let _client = service.client(plain());
    run_until(&service, at(0));
    assert_eq!(kinds(&service), [Event::Connecting, Event::Ready]);
    service.links[0].reset();
    run_until(&service, at(1));
    assert_eq!(kinds(&service)[2..], [Event::Idle, Event::Connecting, Event::Ready]);
    let idle = &service.events(Event::Idle)[0];
    assert_eq!((idle.cause.as_deref(), idle.at_us), (Some("connection reset"), at(0).as_micros()));
}

#[test]
fn a_connection_that_was_ready_restarts_the_backoffs() {
    let service = Service::new(1);
    let _client = service.client(plain());
    // Refused at 0, 1 and about 2.6 s; the server comes up after that, and goes at 10 s.
    run_until(&service, seconds(3));
    let failures = service.events(Event::TransientFailure).len();
    service.serve(0, answering(20), seconds(10));
    run_until(&service, seconds(14));
    assert_eq!(service.events(Event::Ready).len(), 1);
    let after = service.events(Event::TransientFailure).split_off(failures);
    assert_eq!(after[0].at_us, seconds(10).as_micros());
    assert_eq!(gaps(&after)[0], 1.0);
}

#[test]
fn a_connection_that_does_not_open_in_twenty_seconds_fails_the_calls_that_wait_for_it() {
    let service = Service::new(1);
    service.serve(0, answering(20), Instant::NEVER);
    service.links[0].set_shape(Shape { cut_to: true, ..Shape::default() });
    let client = service.client(Settings {
        attempt_timeout: Duration::from_secs(60),
        deadline: Duration::from_secs(60),
        ..plain()
    });
    let world = service.world.clone();
    let (now, response) = service.network.run(async move {
        let response = client.call(Request { id: 0, message: rpc::message(0, &Input::Data) }).await;
        (world.now(), response)
    });
    assert_eq!(response.outcome, crate::status::Outcome::Status(Code::Unavailable));
    assert!(now >= seconds(20));
    let failure = &service.events(Event::TransientFailure)[0];
    assert_eq!((failure.at_us, failure.cause.as_deref()), (seconds(20).as_micros(), Some("connect timeout")));
    assert_eq!(service.events(Event::Unhealthy)[0].cause.as_deref(), Some("connect timeout"));
}

fn checked(interval: u64) -> Settings {
    let health_check = HealthCheck {
        interval: Duration::from_millis(interval),
        timeout: Duration::from_millis(300),
        ..HealthCheck::default()
    };
    Settings { health_check: Some(health_check), ..plain() }
}

#[test]
fn a_check_that_is_not_answered_in_time_makes_a_server_unhealthy_until_one_is() {
    let service = Service::new(1);
    service.serve(0, answering(20), Instant::NEVER);
    let _client = service.client(checked(1_000));
    run_until(&service, at(500));
    assert_eq!(service.events(Event::Unhealthy), []);
    // It holds the check of the second that follows.
    service.links[0].set_shape(Shape { cut_to: true, ..Shape::default() });
    run_until(&service, at(2_500));
    let unhealthy = service.events(Event::Unhealthy);
    assert_eq!(unhealthy.len(), 1, "it is recorded once");
    assert_eq!(
        (unhealthy[0].cause.as_deref(), unhealthy[0].at_us),
        (Some("health check timeout"), at(1_300).as_micros())
    );
    service.links[0].set_shape(Shape::default());
    run_until(&service, at(9_000));
    assert_eq!(service.events(Event::Healthy).len(), 1);
}

#[test]
fn the_next_check_makes_a_server_healthy_that_an_attempt_has_failed_on() {
    let service = Service::new(1);
    service.serve(0, failing(Code::Unavailable, 10), Instant::NEVER);
    let client = service.client(Settings {
        retry: crate::client::settings::Retry { max_attempts: 1, ..Default::default() },
        ..checked(1_000)
    });
    let world = service.world.clone();
    service.network.run(async move {
        world.sleep_until(at(500)).await;
        client.call(Request { id: 0, message: rpc::message(0, &Input::Data) }).await
    });
    assert_eq!(service.events(Event::Unhealthy)[0].at_us, at(510).as_micros());
    run_until(&service, at(1_500));
    assert_eq!(service.events(Event::Healthy)[0].at_us, at(1_000).as_micros());
}

#[test]
fn a_new_connection_is_checked_at_once() {
    let service = Service::new(1);
    service.serve(0, failing(Code::Unavailable, 10), Instant::NEVER);
    let mut settings = checked(86_400_000);
    settings.retry.max_attempts = 1;
    let client = service.client(settings);
    let world = service.world.clone();
    service.network.run(async move {
        world.sleep_until(at(0)).await;
        client.call(Request { id: 0, message: rpc::message(0, &Input::Data) }).await
    });
    assert_eq!(service.events(Event::Healthy), []);
    service.links[0].reset();
    run_until(&service, at(50));
    assert_eq!(service.events(Event::Healthy).len(), 1);
}

#[test]
fn a_server_that_was_never_connected_is_unhealthy_and_its_calls_fail_at_once() {
    let service = Service::new(1);
    let mut settings = plain();
    settings.retry.max_attempts = 1;
    let client = service.client(settings);
    run_until(&service, seconds(0));
    assert_eq!(service.events(Event::Unhealthy).len(), 1, "no call is needed for that");
    let world = service.world.clone();
    let now = service.network.run(async move {
        world.sleep_until(at(0)).await;
        client.call(Request { id: 0, message: rpc::message(0, &Input::Data) }).await;
        world.now()
    });
    assert_eq!(now, at(0));
    assert_eq!(service.events(Event::Unhealthy)[0].cause.as_deref(), Some("connection refused"));
}

/// Probes the server until a second from the start.
fn probed(service: &Service) -> (Instant, Result<(), Failure>) {
    let world = service.world.clone();
    service.network.run(async move {
        let probed = probe(&world, "server-0", seconds(1)).await;
        (world.now(), probed)
    })
}

#[test]
fn a_probe_says_whether_a_server_serves() {
    let service = Service::new(1);
    service.serve(0, answering(20), Instant::NEVER);
    // Faults of requests do not affect health checks.
    service.injectors[0].set(failing_all(Code::Unavailable));
    service.injectors[0].set(Injection { slow: 100.0, ..failing_all(Code::Unavailable) });
    assert_eq!(probed(&service), (Instant::START, Ok(())));
}

#[test]
fn a_probe_fails_without_a_server_and_is_late_without_an_answer() {
    let service = Service::new(1);
    assert_eq!(probed(&service), (Instant::START, Err(Failure::new(Code::Unavailable, Cause::ConnectionRefused))));
    // It listens and accepts nothing.
    let host = service.network.host("server-0");
    let listening = host.clone();
    host.spawn(Box::pin(async move {
        let listener = listening.listen().await.expect("the host can listen");
        std::future::pending::<()>().await;
        drop(listener);
    }));
    run_until(&service, Instant::START);
    let late = Failure::new(Code::DeadlineExceeded, Cause::HealthCheckTimeout);
    assert_eq!(probed(&service), (seconds(1), Err(late)));
}

#[test]
fn each_request_has_the_user_agent_of_this_client_unless_it_has_another_one() {
    let network = Arc::new(Network::default());
    let world = network.host("client");
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let client = world.clone();
    world.spawn(Box::pin(async move {
        let (mut sender, carries) =
            super::handshake(&client, over(ours), None).await.expect("the server speaks HTTP/2");
        client.spawn(Box::pin(async move { drop(carries.await) }));
        for user_agent in [None, Some("shop/2.0 grpc-java/1.0")] {
            let builder = http::Request::post("http://server/call");
            let builder = user_agent.iter().fold(builder, |builder, value| builder.header(USER_AGENT, *value));
            let request = builder.body(Body::empty()).expect("it is valid");
            drop(sender.send(request).await);
        }
    }));
    let seen = network.run(async move {
        let mut server = h2::server::handshake(theirs).await.expect("the client speaks HTTP/2");
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let (request, mut answer) = server.accept().await.expect("there are two").expect("they arrive");
            let value = request.headers()[USER_AGENT].to_str().expect("it is text");
            seen.push(value.to_owned());
            answer.send_reset(h2::Reason::CANCEL);
        }
        seen
    });
    let own = concat!("grpc-rust-rehearsal/", env!("CARGO_PKG_VERSION"));
    assert_eq!(seen, [own, "shop/2.0 grpc-java/1.0"]);
}
