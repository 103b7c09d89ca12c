//! Tests of a gRPC channel on the virtual clock.
//!
//! Inputs and outcomes are derived from gRPC's specifications: A6 (retries, hedging, transparent retries), A50 (outlier detection),
//! A61 and the document on load balancing (`pick_first`), the documents on wait-for-ready, connection backoff, "HTTP to gRPC
//! Status Code Mapping" and "gRPC over HTTP/2". Where its implementations disagree, C-core is followed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    client::{Request, Response, settings::Client as Settings},
    fuzzing::network::{Service, answering, at, failing, hanging},
    link::{LinkEffect, LinkShape, Selection, Shape},
    proto::rehearsal::GetDataReply,
    record::Event,
    scenario::Scenario,
    server::{ReplicaSettings, settings::server_name},
    status::{Code, Outcome},
    sync::lock,
    time::Instant,
    transport::ATTEMPTS_BEFORE,
    workload::{Input, rpc},
    world::BoxStream,
};

/// Returns a client with these keys in `[client]`, and the profile `grpc`.
fn grpc(keys: &str) -> Settings {
    client(&format!("profile = \"grpc\"\n{keys}\n"))
}

/// Returns a client with these keys in `[client]`.
fn client(keys: &str) -> Settings {
    let text = format!("name = \"x\"\nduration = \"9s\"\n[load]\nrate = 1\n[client]\n{keys}");
    Scenario::parse("x.toml", &text, &[]).unwrap_or_else(|error| panic!("{error}")).client
}

/// Makes a call at each of these milliseconds, and returns the responses with the milliseconds at which they came.
fn play(service: &Service, settings: Settings, calls: &[u64]) -> Vec<(u64, Response)> {
    let client = service.client(settings);
    let calls = (0..).zip(calls).map(|(id, millis)| {
        let client = client.clone();
        let world = service.world.clone();
        let begin = at(*millis);
        async move {
            world.sleep_until(begin).await;
            let response = client.call(Request { id, message: rpc::message(id, &Input::Data) }).await;
            (world.now().since(at(0)).as_millis() as u64, response)
        }
    });
    let calls: Vec<_> = calls.collect();
    service.network.run(futures_util::future::join_all(calls))
}

/// Plays one call of a client with these keys.
fn play_one(service: &Service, keys: &str) -> (u64, Response) {
    play(service, grpc(keys), &[0]).remove(0)
}

/// Number of responses with this status.
fn count(responses: &[(u64, Response)], code: Code) -> usize {
    responses.iter().filter(|(_, response)| response.outcome == Outcome::Status(code)).count()
}

/// Number of attempts that were sent to each of two servers.
fn attempts(service: &Service) -> [usize; 2] {
    let rows = service.attempts();
    [0, 1].map(|server| rows.iter().filter(|row| row.0 == server_name(server)).count())
}

/// A call every ten milliseconds.
fn calls(number: u64) -> Vec<u64> {
    (0..number).map(|call| call * 10).collect()
}

const ROUND_ROBIN: &str = "load_balancing = { policy = \"round_robin\" }";

#[test]
fn round_robin_keeps_asking_a_server_that_fails() {
    for code in [Code::Internal, Code::Unavailable] {
        let service = Service::new(2);
        service.serve(0, failing(code, 1), Instant::NEVER);
        service.serve(1, answering(1), Instant::NEVER);
        let responses = play(&service, grpc(ROUND_ROBIN), &calls(40));
        assert_eq!((count(&responses, code), count(&responses, Code::Ok)), (20, 20));
        assert!(service.events(Event::Unhealthy).is_empty());
    }
}

#[test]
fn pick_first_stays_at_its_server_whatever_that_answers() {
    let service = Service::new(2);
    service.serve(0, failing(Code::Internal, 1), Instant::NEVER);
    service.serve(1, answering(1), Instant::NEVER);
    let responses = play(&service, grpc(""), &calls(20));
    assert_eq!((count(&responses, Code::Internal), attempts(&service)), (20, [20, 0]));
}

#[test]
fn a_server_that_stands_still_keeps_its_calls_until_their_deadlines() {
    let service = Service::new(2);
    service.serve(0, hanging(), Instant::NEVER);
    service.serve(1, answering(1), Instant::NEVER);
    let responses = play(&service, grpc("deadline = \"1s\""), &calls(4));
    assert_eq!(count(&responses, Code::DeadlineExceeded), 4);
    let service = Service::new(2);
    service.serve(0, hanging(), Instant::NEVER);
    service.serve(1, answering(1), Instant::NEVER);
    let responses = play(&service, grpc(&format!("deadline = \"1s\"\n{ROUND_ROBIN}")), &calls(16));
    assert_eq!((count(&responses, Code::DeadlineExceeded), count(&responses, Code::Ok)), (8, 8));
}

#[test]
fn pick_first_takes_the_next_server_when_it_cannot_connect_to_the_first() {
    let service = Service::new(2);
    service.serve(1, answering(1), Instant::NEVER);
    let responses = play(&service, grpc(""), &calls(10));
    assert_eq!((count(&responses, Code::Ok), attempts(&service)), (10, [0, 10]));
}

#[test]
fn a_call_fails_when_no_server_can_be_connected_to_unless_it_waits_for_one() {
    let service = Service::new(2);
    let (done, response) = play_one(&service, "");
    assert_eq!((done, response.outcome), (0, Outcome::Status(Code::Unavailable)));
    assert_eq!((response.attempts, response.rejected), (0, true));
    let rejected = &service.events(Event::Rejected)[0];
    assert_eq!(rejected.cause.as_deref(), Some("no server can be connected to"));

    let service = Service::new(1);
    let (done, response) = play_one(&service, "wait_for_ready = true\ndeadline = \"3s\"");
    assert_eq!((done, response.outcome), (3_000, Outcome::Status(Code::DeadlineExceeded)));
}

/// The retry policy is above the balancer: an attempt without a server is an attempt.
#[test]
fn an_attempt_without_a_server_is_retried_as_often_as_others() {
    let service = Service::new(2);
    let retry =
        "retry = { max_attempts = 3, initial_backoff = \"100ms\", backoff_multiplier = 1.0, jitter = \"none\" }";
    let (done, response) = play_one(&service, retry);
    assert_eq!((done, response.outcome, response.attempts), (200, Outcome::Status(Code::Unavailable), 0));
    let kinds = [Event::Rejected, Event::Backoff, Event::Rejected, Event::Backoff, Event::Rejected, Event::GiveUp];
    assert_eq!(service.kinds_of(0), kinds);
}

#[test]
fn retries_go_where_the_balancer_sends_them() {
    let service = Service::new(2);
    service.serve(0, failing(Code::Unavailable, 1), Instant::NEVER);
    service.serve(1, answering(1), Instant::NEVER);
    let keys = format!("{ROUND_ROBIN}\nretry = {{ max_attempts = 3, initial_backoff = \"1ms\" }}");
    // One call at a time: the retry of one that failed goes to the next server.
    let responses = play(&service, grpc(&keys), &(0..20).map(|call| call * 100).collect::<Vec<_>>());
    assert_eq!(count(&responses, Code::Ok), 20);
    // The retry is a turn of its own, so every call begins at server 0 again.
    assert_eq!(attempts(&service), [20, 20]);
}

/// A50: an ejected server is in TRANSIENT_FAILURE, and the balancer fails calls when every server is.
#[test]
fn calls_fail_while_every_server_is_ejected_or_ask_one_anyway() {
    for (all_ejected, unavailable, ejected_asked) in [("fail", 10, false), ("ask_anyway", 0, true)] {
        let service = Service::new(2);
        (0..2).for_each(|server| service.serve(server, failing(Code::Internal, 1), Instant::NEVER));
        let keys = format!(
            "{ROUND_ROBIN}\noutlier_detection = {{ consecutive_errors = 1, max_ejection_percent = 100.0, \
             all_ejected = \"{all_ejected}\" }}"
        );
        let responses = play(&service, grpc(&keys), &calls(12));
        assert_eq!(count(&responses, Code::Unavailable), unavailable, "{all_ejected}");
        assert_eq!(attempts(&service).iter().sum::<usize>() > 2, ejected_asked, "{all_ejected}");
    }
}

/// A50 with A61: `pick_first` by itself sees connections alone, and no ejection.
#[test]
fn an_ejection_does_not_concern_pick_first() {
    let service = Service::new(2);
    (0..2).for_each(|server| service.serve(server, failing(Code::Internal, 1), Instant::NEVER));
    let keys = "outlier_detection = { consecutive_errors = 1, max_ejection_percent = 100.0 }";
    let responses = play(&service, grpc(keys), &calls(12));
    assert_eq!((count(&responses, Code::Internal), attempts(&service)), (12, [12, 0]));
}

#[test]
fn a_call_whose_backoff_outlasts_its_deadline_waits_for_the_deadline() {
    let retry = "deadline = \"500ms\"\nretry = { max_attempts = 2, initial_backoff = \"2s\", jitter = \"none\"";
    for (rest, done, code) in
        [(" }", 500, Code::DeadlineExceeded), (", past_deadline = \"last_status\" }", 1, Code::Unavailable)]
    {
        let service = Service::new(1);
        service.serve(0, failing(Code::Unavailable, 1), Instant::NEVER);
        let (at, response) = play_one(&service, &format!("{retry}{rest}"));
        assert_eq!((at, response.outcome, response.attempts), (done, Outcome::Status(code), 1));
    }
}

/// The answers of a foreign server to the streams of its connections, in order; the last entry repeats.
#[derive(Clone)]
enum Answer {
    Ok,
    /// RST_STREAM with this reason.
    Reset(h2::Reason),
    /// Headers, and RST_STREAM then.
    ResetAfterHeaders(h2::Reason),
    /// Another HTTP response than gRPC's.
    Http(u16, &'static str, &'static str),
}

/// The values of `grpc-previous-rpc-attempts` that a foreign server has seen.
type Seen = Arc<Mutex<Vec<Option<String>>>>;

/// Serves `server-N` with h2, and answers the streams as `answers` say.
fn serve_foreign(service: &Service, index: usize, answers: Vec<Answer>) -> Seen {
    let seen = Seen::default();
    let host = service.network.host(&server_name(index));
    let world = host.clone();
    let log = seen.clone();
    let answers = Arc::new(Mutex::new(answers));
    host.spawn(Box::pin(async move {
        let mut listener = world.listen().await.expect("the host can listen");
        while let Ok(stream) = listener.accept().await {
            world.spawn(Box::pin(answer_all(stream, answers.clone(), log.clone())));
        }
    }));
    seen
}

fn head(status: u16, content_type: &str) -> http::Response<()> {
    let builder = http::Response::builder().status(status).header("content-type", content_type);
    builder.body(()).expect("it is valid")
}

async fn answer_all(stream: BoxStream, answers: Arc<Mutex<Vec<Answer>>>, seen: Seen) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let header = request.headers().get(ATTEMPTS_BEFORE);
        lock(&seen).push(header.map(|value| value.to_str().expect("it is a number").to_owned()));
        let next = {
            let mut answers = lock(&answers);
            if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
        };
        match next {
            Answer::Reset(reason) => respond.send_reset(reason),
            Answer::ResetAfterHeaders(reason) => {
                let mut body = respond.send_response(head(200, "application/grpc"), false).expect("it is open");
                // The headers leave before the reset: h2 would drop what is queued.
                futures_util::future::poll_fn(|cx| {
                    let _ = connection.poll_closed(cx);
                    std::task::Poll::Ready(())
                })
                .await;
                body.send_reset(reason);
            }
            Answer::Http(status, content_type, text) => {
                let mut body = respond.send_response(head(status, content_type), false).expect("it is open");
                body.send_data(Bytes::from_static(text.as_bytes()), true).expect("it is open");
            }
            Answer::Ok => {
                let mut body = respond.send_response(head(200, "application/grpc+proto"), false).expect("it is open");
                let reply = GetDataReply { data: b"data".to_vec().into(), ..GetDataReply::default() }.encode_to_vec();
                let length = (reply.len() as u32).to_be_bytes();
                let message: Vec<u8> = [0].into_iter().chain(length).chain(reply).collect();
                body.send_data(message.into(), false).expect("it is open");
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                body.send_trailers(trailers).expect("it is open");
            }
        }
    }
}

const RETRY: &str = "retry = { max_attempts = 2, initial_backoff = \"100ms\", jitter = \"none\", \
                     retryable_status_codes = [\"UNAVAILABLE\", \"INTERNAL\"]";

/// A6: "If the RPC reaches the gRPC server library, but has never been seen by the server application logic, it is retried once",
/// at once, without a policy, and without a count in `grpc-previous-rpc-attempts`.
#[test]
fn a_refused_stream_is_sent_again_once_outside_the_policy() {
    let refused = Answer::Reset(h2::Reason::REFUSED_STREAM);
    let service = Service::new(1);
    let seen = serve_foreign(&service, 0, vec![refused.clone(), Answer::Ok]);
    let (done, response) = play_one(&service, "");
    assert_eq!((done, response.outcome, response.attempts), (0, Outcome::OK, 1));
    assert_eq!(*lock(&seen), [None, None]);
    assert_eq!(service.kinds_of(0), [Event::Pick, Event::TransparentRetry, Event::Pick]);
    assert_eq!(service.attempts().len(), 1);

    // The second refusal is a failure like any other: the policy's retry has its number.
    let service = Service::new(1);
    let seen = serve_foreign(&service, 0, vec![refused.clone(), refused.clone(), Answer::Ok]);
    let (done, response) = play_one(&service, &format!("{RETRY} }}"));
    assert_eq!((done, response.outcome, response.attempts), (100, Outcome::OK, 2));
    assert_eq!(*lock(&seen), [None, None, Some("1".to_owned())]);

    let service = Service::new(1);
    serve_foreign(&service, 0, vec![refused, Answer::Ok]);
    let (_, response) = play_one(&service, "retry = { transparent = false }");
    assert_eq!((response.outcome, response.attempts), (Outcome::Status(Code::Unavailable), 1));
}

/// A6: any other reset may have been seen by the application.
#[test]
fn another_reset_is_not_sent_again() {
    for reason in [h2::Reason::INTERNAL_ERROR, h2::Reason::CANCEL, h2::Reason::NO_ERROR] {
        let service = Service::new(1);
        let seen = serve_foreign(&service, 0, vec![Answer::Reset(reason), Answer::Ok]);
        let (_, response) = play_one(&service, "");
        assert_ne!(response.outcome, Outcome::OK, "{reason}");
        assert_eq!(lock(&seen).len(), 1);
    }
}

/// A6: "the RPC is committed when the client receives response headers".
#[test]
fn headers_commit_a_call_to_its_attempt() {
    for (commit, attempts, code) in [("headers", 1, Code::Internal), ("reply", 2, Code::Ok)] {
        let service = Service::new(1);
        serve_foreign(&service, 0, vec![Answer::ResetAfterHeaders(h2::Reason::INTERNAL_ERROR), Answer::Ok]);
        let (_, response) = play_one(&service, &format!("{RETRY}, commit = \"{commit}\" }}"));
        assert_eq!((response.outcome, response.attempts), (Outcome::Status(code), attempts), "{commit}");
    }
    // A reply of trailers alone is no header: the status of a server that fails at once is retried.
    let service = Service::new(1);
    service.serve(0, failing(Code::Internal, 1), Instant::NEVER);
    let (_, response) = play_one(&service, &format!("{RETRY} }}"));
    assert_eq!((response.outcome, response.attempts), (Outcome::Status(Code::Internal), 2));
}

/// Serves raw HTTP/2 as `server-0`: at the first request, GOAWAY with 0 as the last stream id; later connections are h2's.
fn serve_goaway(service: &Service) -> Seen {
    let seen = Seen::default();
    let host = service.network.host("server-0");
    let world = host.clone();
    let log = seen.clone();
    host.spawn(Box::pin(async move {
        let mut listener = world.listen().await.expect("the host can listen");
        let mut first = listener.accept().await.expect("the client connects");
        world.spawn(Box::pin(async move {
            const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            first.write_all(&SETTINGS).await.expect("it is open");
            let mut preface = [0; 24];
            first.read_exact(&mut preface).await.expect("HTTP/2 begins with it");
            loop {
                let mut head = [0; 9];
                first.read_exact(&mut head).await.expect("a frame follows");
                let length = usize::from(head[1]) << 8 | usize::from(head[2]);
                first.read_exact(&mut vec![0; length]).await.expect("it is whole");
                // HEADERS.
                if head[3] == 1 {
                    break;
                }
            }
            first.write_all(&GOAWAY).await.expect("it is open");
            // It stays open until the client closes it.
            let _ = first.read_to_end(&mut Vec::new()).await;
        }));
        while let Ok(stream) = listener.accept().await {
            world.spawn(Box::pin(answer_all(stream, Arc::new(Mutex::new(vec![Answer::Ok])), log.clone())));
        }
    }));
    seen
}

/// A6: a stream beyond the last id of a GOAWAY was not processed.
#[test]
fn a_call_beyond_the_last_stream_of_a_goaway_is_sent_again_on_a_new_connection() {
    let service = Service::new(1);
    let seen = serve_goaway(&service);
    let (done, response) = play_one(&service, "");
    assert_eq!((done, response.outcome, response.attempts), (0, Outcome::OK, 1));
    assert_eq!(*lock(&seen), [None]);
}

/// A server that ends lets the calls under way finish, and refuses no call that it has not accepted.
#[test]
fn no_call_is_lost_when_a_server_stops_and_another_one_is_there() {
    for policy in ["pick_first", "round_robin"] {
        let service = Service::new(2);
        service.serve(0, answering(30), at(105));
        service.serve(1, answering(30), Instant::NEVER);
        let keys = format!("load_balancing = {{ policy = \"{policy}\" }}");
        let responses = play(&service, grpc(&keys), &calls(40));
        assert_eq!(count(&responses, Code::Ok), 40, "{policy}: {responses:?}");
        assert!(service.attempts().iter().all(|row| row.3 == Code::Ok));
    }
}

/// A9: a connection that is too old ends with a GOAWAY, after which its calls finish.
#[test]
fn no_call_is_lost_when_connections_reach_their_age() {
    let aged = ReplicaSettings { max_connection_age: Some(Duration::from_millis(200)), ..answering(30) };
    for profile in ["", "profile = \"resilient\"\nretry = { max_attempts = 1 }\n"] {
        let service = Service::new(1);
        service.serve(0, aged.clone(), Instant::NEVER);
        let settings = if profile.is_empty() { grpc("") } else { client(profile) };
        let responses = play(&service, settings, &calls(100));
        let lost = count(&responses, Code::Unavailable);
        assert_eq!(count(&responses, Code::Ok) + lost, 100);
        // The resilient client has no transparent retries: a call that meets the end of the connection fails, if it has no other try.
        assert_eq!(lost == 0, profile.is_empty(), "{lost} lost");
        // Two seconds, the first of which is before the calls, at 180 to 220 ms each.
        let ended = service.events(Event::Idle).len();
        assert!((8..=11).contains(&ended), "{ended}");
    }
}

/// A9: what is left of the calls when the grace is over ends with the connection.
#[test]
fn the_grace_of_an_old_connection_ends_its_calls() {
    let age = Some(Duration::from_secs(2));
    let grace = Some(Duration::from_millis(50));
    let aged = ReplicaSettings { max_connection_age: age, max_connection_age_grace: grace, ..hanging() };
    let service = Service::new(1);
    service.serve(0, aged, Instant::NEVER);
    let (done, response) = play_one(&service, "deadline = \"20s\"");
    assert_eq!(response.outcome, Outcome::Status(Code::Unavailable));
    // Between 1.8 and 2.2 s after it was opened, a second before the call.
    assert!((850..=1_250).contains(&done), "{done}");
}

/// A8: a connection whose ping is not answered is closed, its calls fail with UNAVAILABLE, and the next one is opened at once.
#[test]
fn keepalive_ends_a_connection_that_answers_nothing() {
    let keepalive = "deadline = \"20s\"\nkeepalive = { time = \"2s\", timeout = \"1s\" }";
    // The last message of the server came when the connection was opened, a second before the call.
    for (keys, done, code) in
        [(keepalive, 2_000, Code::Unavailable), ("deadline = \"20s\"", 20_000, Code::DeadlineExceeded)]
    {
        let service = Service::new(1);
        // It accepts the connection and reads, and says nothing but HTTP/2's settings.
        let host = service.network.host("server-0");
        let world = host.clone();
        host.spawn(Box::pin(async move {
            let mut listener = world.listen().await.expect("the host can listen");
            let mut open = Vec::new();
            while let Ok(mut stream) = listener.accept().await {
                stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("it is open");
                open.push(stream);
            }
        }));
        let (at, response) = play_one(&service, keys);
        assert_eq!((at, response.outcome), (done, Outcome::Status(code)));
        let connections = service.events(Event::Connecting).len();
        assert_eq!(connections, if code == Code::Unavailable { 2 } else { 1 });
    }
}

/// A server that works answers pings while a call takes long.
#[test]
fn keepalive_leaves_a_slow_call_alone() {
    let service = Service::new(1);
    service.serve(0, answering(5_000), Instant::NEVER);
    let (done, response) =
        play_one(&service, "keepalive = { time = \"1s\", timeout = \"100ms\", without_calls = true }");
    assert_eq!((done, response.outcome), (5_000, Outcome::OK));
    assert_eq!(service.events(Event::Connecting).len(), 1);
}

/// A18: a connection whose bytes nothing acknowledges fails after the user timeout, and the next one is opened at once.
#[test]
fn a_user_timeout_ends_a_connection_whose_packets_vanish() {
    let keys = "deadline = \"20s\"\nkeepalive = { time = \"1m\", user_timeout = \"3s\" }";
    for (keys, done, code) in [(keys, 3_000, Code::Unavailable), ("deadline = \"20s\"", 20_000, Code::DeadlineExceeded)]
    {
        let service = Service::new(1);
        service.serve(0, answering(0), Instant::NEVER);
        let link = service.links[0].clone();
        let world = service.world.clone();
        service.world.spawn(Box::pin(async move {
            world.sleep_until(Instant::START + Duration::from_millis(500)).await;
            let vanish = Shape { cut_to: true, cut_from: true, ..Shape::default() };
            let mut shape = LinkShape::default();
            let connections = Selection { open_at_start: true, ..Selection::default() };
            shape.add(0, LinkEffect { connections, ..vanish.into() });
            link.set_shape(shape);
        }));
        let responses = play(&service, grpc(keys), &[0, 5_000]);
        assert_eq!((responses[0].0, responses[0].1.outcome), (done, Outcome::Status(code)));
        // The fault lasts, and the new connection works.
        let is_new = code == Code::Unavailable;
        assert_eq!(responses[1].1.outcome == Outcome::OK, is_new);
        assert_eq!(service.events(Event::Connecting).len(), if is_new { 2 } else { 1 });
    }
}

/// gRPC's document "HTTP to gRPC Status Code Mapping".
#[test]
fn a_reply_that_is_not_grpcs_has_the_status_of_its_http_status() {
    const HTML: &str = "<html><body>Service Unavailable</body></html>";
    let cases = [
        (400, Code::Internal),
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::Unimplemented),
        (429, Code::Unavailable),
        (502, Code::Unavailable),
        (503, Code::Unavailable),
        (504, Code::Unavailable),
        (500, Code::Unknown),
        (200, Code::Unknown),
    ];
    for (http, code) in cases {
        for text in ["", HTML] {
            let service = Service::new(1);
            serve_foreign(&service, 0, vec![Answer::Http(http, "text/html", text)]);
            let (_, response) = play_one(&service, "");
            assert_eq!(response.outcome, Outcome::Status(code), "{http} {text}");
            let cause = service.attempts().remove(0).4.expect("it failed");
            let expected =
                if http == 200 { "content type is \"text/html\"".to_owned() } else { format!("HTTP status {http}") };
            assert!(cause.contains(&expected), "{cause}");
        }
    }
}

/// A6: when headers arrive, the other hedges are cancelled.
#[test]
fn headers_of_one_hedge_supersede_the_others() {
    let service = Service::new(2);
    service.serve(0, hanging(), Instant::NEVER);
    serve_foreign(&service, 1, vec![Answer::ResetAfterHeaders(h2::Reason::INTERNAL_ERROR)]);
    let keys = format!(
        "{ROUND_ROBIN}\nhedging = {{ max_attempts = 3, hedging_delay = \"100ms\", \
                        non_fatal_status_codes = [\"INTERNAL\", \"UNAVAILABLE\"] }}"
    );
    let (done, response) = play_one(&service, &keys);
    // INTERNAL is not fatal, but after the headers it ends the call.
    assert_eq!((done, response.outcome, response.attempts), (100, Outcome::Status(Code::Internal), 2));
    let superseded = service.attempts().into_iter().find(|row| row.0 == "server-0").expect("it was sent first");
    assert_eq!((superseded.3, superseded.2), (Code::Cancelled, 100));
}

/// A6: hedges go where the balancer sends them.
#[test]
fn hedges_with_pick_first_go_to_one_server() {
    let service = Service::new(2);
    (0..2).for_each(|server| service.serve(server, answering(250), Instant::NEVER));
    let (_, response) = play_one(&service, "hedging = { max_attempts = 3, hedging_delay = \"100ms\" }");
    assert_eq!((response.outcome, attempts(&service)), (Outcome::OK, [3, 0]));
}

#[test]
fn a_frozen_moment_of_connecting_is_waited_for_in_order() {
    // `server-1` is connected long before `server-0`, whose link is slow: pick_first gives it 250 ms (A61).
    let service = Service::new(2);
    service.serve(0, answering(1), Instant::NEVER);
    service.serve(1, answering(1), Instant::NEVER);
    service.links[0].set_shape(Shape { latency: Duration::from_millis(100), ..Default::default() });
    let client = service.client(grpc(""));
    let world = service.world.clone();
    let caller = client.clone();
    let response = service.network.run(async move {
        let response = caller.call(Request { id: 0, message: rpc::message(0, &Input::Data) }).await;
        (world.now().since(Instant::START).as_millis() >= 100, response)
    });
    assert!(response.0 && response.1.outcome == Outcome::OK);
    assert_eq!(attempts(&service), [1, 0]);
}

/// A call with the id 0 has an empty message, one with another id has two bytes. A reply has more than one.
#[test]
fn a_message_over_its_limit_fails_with_resource_exhausted_and_is_retried_only_where_that_is_configured() {
    for (limit, code, commit, failed, attempts, retries) in [
        ("max_request_message_bytes = 2", "RESOURCE_EXHAUSTED", "headers", 0, 3, 0),
        ("max_request_message_bytes = 1", "UNAVAILABLE", "headers", 2, 3, 0),
        ("max_request_message_bytes = 1", "RESOURCE_EXHAUSTED", "headers", 2, 7, 4),
        ("max_response_message_bytes = 1000", "RESOURCE_EXHAUSTED", "headers", 0, 3, 0),
        ("max_response_message_bytes = 1", "UNAVAILABLE", "headers", 3, 3, 0),
        // The headers of a reply commit the call (gRPC A6).
        ("max_response_message_bytes = 1", "RESOURCE_EXHAUSTED", "headers", 3, 3, 0),
        ("max_response_message_bytes = 1", "RESOURCE_EXHAUSTED", "reply", 3, 9, 6),
    ] {
        let service = Service::new(1);
        service.serve(0, answering(1), Instant::NEVER);
        let codes = format!("retryable_status_codes = [\"{code}\"]");
        let retry = format!("max_attempts = 3, initial_backoff = \"10ms\", commit = \"{commit}\", {codes}");
        let responses = play(&service, grpc(&format!("{limit}\nretry = {{ {retry} }}")), &calls(3));
        let case = format!("{limit}, {code}, {commit}: {responses:?}");
        assert_eq!(count(&responses, Code::ResourceExhausted), failed, "{case}");
        assert_eq!(count(&responses, Code::Ok), 3 - failed, "{case}");
        assert_eq!(service.attempts().len(), attempts, "{case}");
        assert_eq!(service.events(Event::Backoff).len(), retries, "{case}");
        let at_once = responses.iter().zip(calls(3)).filter(|((done, _), begun)| done == begun).count();
        let is_sent = limit.contains("response") || failed == 0 || retries > 0;
        assert_eq!(at_once, if is_sent { 0 } else { failed }, "a request that is too large is not sent: {case}");
    }
}
