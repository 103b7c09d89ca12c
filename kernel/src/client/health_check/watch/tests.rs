//! The client workflow of gRPC A17, on the virtual clock, with servers whose streams of reports follow a script.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use h2::{SendStream, server::SendResponse};
use prost::Message;

use crate::{
    client::{
        Request, Response,
        settings::{Client as Settings, HealthMethod},
    },
    fuzzing::network::{Service, answering, at},
    proto::{
        health::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus},
        rehearsal::GetDataReply,
    },
    record::Event,
    scenario::Scenario,
    server::settings::server_name,
    status::{Code, Outcome},
    sync::lock,
    time::Instant,
    workload::{Input, rpc},
    world::{BoxStream, SharedWorld},
};

/// A step of a stream of reports. The stream stays open after the last step.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Time passes, in milliseconds.
    Wait(u64),
    Report(ServingStatus),
    /// The stream ends with this status.
    End(Code),
}

use ServingStatus::{NotServing, ServiceUnknown, Serving};
use Step::{End, Report, Wait};

/// The streams of reports that a server has seen: the time in milliseconds, and the service.
type Opened = Arc<Mutex<Vec<(u64, String)>>>;

/// Serves `server-N`, whose streams of reports follow `scripts`, one after the other; the last one repeats. Calls are answered with OK.
fn serve(service: &Service, index: usize, scripts: Vec<Vec<Step>>) -> Opened {
    let opened = Opened::default();
    let host = service.network.host(&server_name(index));
    let scripts = Arc::new(Mutex::new(scripts));
    let world = host.clone();
    let log = opened.clone();
    host.spawn(Box::pin(async move {
        let mut listener = world.listen().await.expect("the host can listen");
        while let Ok(stream) = listener.accept().await {
            world.spawn(Box::pin(answer_all(world.clone(), stream, scripts.clone(), log.clone())));
        }
    }));
    opened
}

async fn answer_all(world: SharedWorld, stream: BoxStream, scripts: Arc<Mutex<Vec<Vec<Step>>>>, opened: Opened) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if request.uri().path() != "/grpc.health.v1.Health/Watch" {
            let mut body = headers(&mut respond);
            send(&mut body, &GetDataReply { data: b"data".to_vec().into(), ..GetDataReply::default() });
            end(&mut body, Code::Ok);
            continue;
        }
        let script = {
            let mut scripts = lock(&scripts);
            if scripts.len() > 1 { scripts.remove(0) } else { scripts[0].clone() }
        };
        let clock = world.clone();
        let opened = opened.clone();
        world.spawn(Box::pin(async move {
            let message = request.into_body().data().await.expect("there is a message").expect("it arrives");
            let asked = HealthCheckRequest::decode(&message[5..]).expect("it is a request");
            lock(&opened).push((clock.now().as_micros() / 1_000, asked.service));
            report(clock, respond, script).await;
        }));
    }
}

/// Plays `script`, and leaves the stream open unless it ends it.
async fn report(world: SharedWorld, mut respond: SendResponse<Bytes>, script: Vec<Step>) {
    let mut body = headers(&mut respond);
    for step in script {
        match step {
            Wait(millis) => world.sleep_until(world.now() + Duration::from_millis(millis)).await,
            Report(status) => send(&mut body, &HealthCheckResponse { status: status.into() }),
            End(code) => return end(&mut body, code),
        }
    }
    std::future::pending().await
}

fn headers(respond: &mut SendResponse<Bytes>) -> SendStream<Bytes> {
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).expect("it is valid");
    respond.send_response(head, false).expect("it is open")
}

// The peer may have closed the stream in the meantime.
fn send(body: &mut SendStream<Bytes>, message: &impl Message) {
    let message = message.encode_to_vec();
    let header = [0].into_iter().chain((message.len() as u32).to_be_bytes());
    let _ = body.send_data(header.chain(message).collect(), false);
}

fn end(body: &mut SendStream<Bytes>, code: Code) {
    let trailers = [("grpc-status", (code as u32).to_string())];
    let trailers = trailers.map(|(name, value)| {
        (http::HeaderName::from_static(name), http::HeaderValue::from_str(&value).expect("it is a number"))
    });
    let _ = body.send_trailers(trailers.into_iter().collect());
}

/// Returns a gRPC channel that watches its servers, with these keys in `[client]`, too.
fn watching(keys: &str) -> Settings {
    let text = format!(
        "name = \"x\"\nduration = \"9s\"\n[load]\nrate = 1\n[client]\nprofile = \"grpc\"\n\
         load_balancing = {{ policy = \"round_robin\" }}\n{keys}\n[client.health_check]\nmethod = \"watch\"\n\
         service = \"shop.Cart\"\n"
    );
    let settings = Scenario::parse("x.toml", &text, &[]).unwrap_or_else(|error| panic!("{error}")).client;
    assert_eq!(settings.health_check.as_ref().and_then(|check| check.method), Some(HealthMethod::Watch));
    settings
}

/// Makes a call at each of these milliseconds, and returns when they ended, and their statuses.
fn play(service: &Service, settings: Settings, calls: &[u64]) -> Vec<(u64, Outcome)> {
    let client = service.client(settings);
    let calls: Vec<_> = (0..)
        .zip(calls)
        .map(|(id, millis)| {
            let client = client.clone();
            let world = service.world.clone();
            let begin = at(*millis);
            async move {
                world.sleep_until(begin).await;
                let Response { outcome, .. } =
                    client.call(Request { id, message: rpc::message(id, &Input::Data) }).await;
                (world.now().since(at(0)).as_millis() as u64, outcome)
            }
        })
        .collect();
    service.network.run(futures_util::future::join_all(calls))
}

/// Runs a client until this many milliseconds after the start.
fn run(service: &Service, settings: Settings, millis: u64) {
    let _client = service.client(settings);
    run_until(service, millis);
}

fn run_until(service: &Service, millis: u64) {
    let world = service.world.clone();
    let end = Instant::START + Duration::from_millis(millis);
    service.network.run(async move { world.sleep_until(end).await });
}

/// Returns the milliseconds of the start at which streams were opened.
fn times(opened: &Opened) -> Vec<u64> {
    lock(opened).iter().map(|(millis, _)| *millis).collect()
}

/// Returns the ratings of servers as the client recorded them, with their causes.
fn ratings(service: &Service) -> Vec<(Event, Option<String>)> {
    let mut rows = service.events(Event::Unhealthy);
    rows.extend(service.events(Event::Healthy));
    rows.sort_by_key(|row| row.at_us);
    rows.into_iter().map(|row| (row.event, row.cause.map(|cause| cause.to_string()))).collect()
}

const OK: Outcome = Outcome::Status(Code::Ok);
const UNAVAILABLE: Outcome = Outcome::Status(Code::Unavailable);

#[test]
fn a_server_gets_calls_while_it_reports_that_it_serves() {
    let service = Service::new(2);
    // Calls begin after a second.
    let first = vec![Report(Serving), Wait(1_500), Report(NotServing), Wait(500), Report(Serving)];
    let opened = serve(&service, 0, vec![first]);
    serve(&service, 1, vec![vec![Report(Serving)]]);
    let calls: Vec<u64> = (0..15).map(|call| call * 100 + 10).collect();
    let played = play(&service, watching(""), &calls);
    assert!(played.iter().all(|(_, outcome)| *outcome == OK), "{played:?}");
    let on_first: Vec<_> = service.attempts().into_iter().filter(|row| row.0 == "server-0").map(|row| row.1).collect();
    assert!(on_first.iter().all(|millis| !(500..1_000).contains(millis)), "{on_first:?}");
    assert!(on_first.iter().any(|millis| *millis < 500) && on_first.iter().any(|millis| *millis > 1_000));
    assert_eq!(*lock(&opened), [(0, "shop.Cart".to_owned())], "one stream for as long as the connection lasts");
    let not_serving = (Event::Unhealthy, Some("NOT_SERVING".to_owned()));
    assert_eq!(ratings(&service), [not_serving, (Event::Healthy, None)]);
}

#[test]
fn calls_wait_for_the_first_report() {
    let service = Service::new(1);
    serve(&service, 0, vec![vec![Wait(1_700), Report(Serving)]]);
    assert_eq!(play(&service, watching(""), &[0, 800]), [(700, OK), (800, OK)]);
    assert_eq!(ratings(&service), []);
}

#[test]
fn calls_fail_while_no_server_serves() {
    for status in [NotServing, ServiceUnknown] {
        let service = Service::new(1);
        serve(&service, 0, vec![vec![Report(status), Wait(1_700), Report(Serving)]]);
        assert_eq!(play(&service, watching(""), &[0, 800]), [(0, UNAVAILABLE), (800, OK)]);
    }
}

#[test]
fn a_server_without_reports_counts_as_healthy_and_is_not_asked_again() {
    let service = Service::new(1);
    let opened = serve(&service, 0, vec![vec![End(Code::Unimplemented)]]);
    assert_eq!(play(&service, watching(""), &[0, 60_000]), [(0, OK), (60_000, OK)]);
    assert_eq!(times(&opened), [0]);
    assert_eq!(ratings(&service), []);
}

#[test]
fn another_end_makes_a_server_unhealthy_and_is_followed_by_a_growing_backoff() {
    for code in [Code::Unavailable, Code::NotFound, Code::Ok] {
        let service = Service::new(1);
        let opened = serve(&service, 0, vec![vec![End(code)]]);
        assert_eq!(play(&service, watching(""), &[500, 20_000])[0], (500, UNAVAILABLE));
        let gaps: Vec<u64> = times(&opened).windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.len() >= 4 && gaps[0] == 1_000, "{gaps:?}");
        for (nth, gap) in gaps.iter().enumerate().skip(1) {
            let expected = 1_000.0 * 1.6_f64.powi(nth as i32);
            assert!((expected * 0.8 - 1.0..=expected * 1.2 + 1.0).contains(&(*gap as f64)), "{gaps:?}");
        }
        assert_eq!(ratings(&service).len(), 1);
    }
}

#[test]
fn a_report_restarts_the_backoff() {
    let service = Service::new(1);
    let failing = || vec![End(Code::Unavailable)];
    let reporting = vec![Report(Serving), Wait(7_000), End(Code::Unavailable)];
    let opened = serve(&service, 0, vec![failing(), failing(), reporting, failing(), failing()]);
    run(&service, watching(""), 14_000);
    let times = times(&opened);
    // The stream that reported had lasted for longer than the first backoff.
    assert_eq!(times[3], times[2] + 7_000, "{times:?}");
    let gap = times[4] - times[3];
    assert!((1_280..=1_920).contains(&gap), "{times:?}");
}

#[test]
fn a_new_connection_is_asked_and_a_lost_one_is_no_report() {
    let service = Service::new(1);
    let opened = serve(&service, 0, vec![vec![Report(Serving)], vec![Wait(300), Report(Serving)]]);
    let _client = service.client(watching(""));
    run_until(&service, 1_000);
    service.links[0].reset();
    run_until(&service, 2_000);
    assert_eq!(times(&opened), [0, 1_000]);
    assert_eq!(ratings(&service), []);
}

#[test]
fn a_server_of_ours_reports_that_it_stops() {
    let service = Service::new(2);
    service.serve(0, answering(1), at(500));
    service.serve(1, answering(1), Instant::NEVER);
    let settings = watching("");
    let health_check =
        settings.health_check.map(|check| crate::client::settings::HealthCheck { service: None, ..check });
    let calls: Vec<u64> = (0..20).map(|call| call * 50 + 10).collect();
    let played = play(&service, Settings { health_check, ..settings }, &calls);
    assert!(played.iter().all(|(_, outcome)| *outcome == OK), "{played:?}");
    assert_eq!(ratings(&service)[0], (Event::Unhealthy, Some("NOT_SERVING".to_owned())));
}

#[test]
fn pick_first_does_not_watch() {
    let service = Service::new(1);
    let opened = serve(&service, 0, vec![vec![Report(NotServing)]]);
    let settings = watching("");
    let load_balancing = crate::client::settings::Balancing::PickFirst;
    assert_eq!(play(&service, Settings { load_balancing, ..settings }, &[0]), [(0, OK)]);
    assert!(lock(&opened).is_empty());
}

/// Its stream has nothing new to report, and other servers get the calls.
#[test]
fn a_server_that_an_attempt_has_made_unhealthy_is_asked_again_after_the_interval() {
    let service = Service::new(2);
    service.serve(0, crate::fuzzing::network::failing(Code::Unavailable, 1), Instant::NEVER);
    service.serve(1, answering(1), Instant::NEVER);
    let text = "name = \"x\"\nduration = \"9s\"\n[load]\nrate = 1\n[client.health_check]\nmethod = \"watch\"\n\
                interval = \"2s\"\n";
    let settings = Scenario::parse("x.toml", text, &[]).unwrap_or_else(|error| panic!("{error}")).client;
    play(&service, settings, &[0, 2_500]);
    let times = |event| service.events(event).iter().map(|row| row.at_us / 1_000).collect::<Vec<_>>();
    assert_eq!(times(Event::Unhealthy)[0], 1_001);
    assert_eq!(times(Event::Healthy)[0], 3_001);
}
