use std::{sync::Mutex, time::Duration};

use futures_util::StreamExt;

use bytes::Bytes;
use tonic::{Request, Response, Status};

use super::*;
use crate::{
    client::PlainChannel,
    fuzzing::network::{Service, answering, failing, failing_all, hanging, refusing},
    proto::{
        health::{HealthCheckRequest as Check, health_client::HealthClient},
        rehearsal::{
            GetDataReply, GetDataRequest, GetMetricsReply, GetMetricsRequest, Graph, HealthCheckReply,
            HealthCheckRequest, Image, ProcessImageReply, ProcessImageRequest, ProcessImagesRequest, SearchGraphReply,
            SearchGraphRequest, ServedBy, Tile,
            rehearsal_client::RehearsalClient,
            rehearsal_server::{self, Rehearsal, RehearsalServer},
        },
    },
    status::Code,
    time::Instant,
    world::{PeerLimits, PeerTerms, Token},
};

/// Starts a server, and calls `ask` with a channel to it and the service, on its network.
fn ask<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    service: &Service,
    settings: ReplicaSettings,
    until: u64,
    ask: impl FnOnce(PlainChannel, SharedWorld) -> F + Send + 'static,
) -> T {
    service.serve(0, settings, Instant::START + Duration::from_millis(until));
    ask_served(service, ask)
}

/// Calls `ask` with a channel to the server, which has just been started.
fn ask_served<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    service: &Service,
    ask: impl FnOnce(PlainChannel, SharedWorld) -> F + Send + 'static,
) -> T {
    let world = service.world.clone();
    service.network.run(async move {
        // The server listens from now on.
        world.sleep_until(Instant::START + Duration::from_millis(1)).await;
        let stream = world.connect("server-0").await.expect("the server listens");
        let channel = PlainChannel::over(world.clone(), stream).await.expect("the server speaks HTTP/2");
        ask(channel, world).await
    })
}

const NEVER: u64 = u64::MAX / 2_000_000;

fn stub(channel: PlainChannel) -> RehearsalClient<PlainChannel> {
    RehearsalClient::with_origin(channel, http::Uri::from_static("http://server-0"))
}

fn health(channel: PlainChannel) -> HealthClient<PlainChannel> {
    HealthClient::with_origin(channel, http::Uri::from_static("http://server-0"))
}

/// Kind, request, attempt and cause of an event.
type Recorded = (Event, Option<u64>, Option<u32>, Option<String>);

/// Returns the events that the server has recorded.
fn events(service: &Service) -> Vec<Recorded> {
    let records: &Mutex<_> = &service.server_records;
    let records = crate::sync::lock(records);
    records.events.iter().map(|row| (row.event, row.request, row.attempt, row.cause.clone())).collect()
}

fn image(width: u32, height: u32, bytes: usize) -> Option<Image> {
    Some(Image { width, height, pixels: vec![9; bytes].into() })
}

#[test]
fn a_picture_comes_back_with_its_size_and_who_served_it() {
    let service = Service::new(1);
    let settings = ReplicaSettings { service_time_min: Duration::from_millis(7), ..answering(0) };
    let reply = ask(&service, settings, NEVER, |channel, _| async move {
        stub(channel).process_image(ProcessImageRequest { request_id: 3, image: image(4, 2, 8) }).await
    });
    let reply = reply.unwrap().into_inner();
    let image = reply.image.unwrap();
    assert_eq!((image.width, image.height, image.pixels.len()), (4, 2, 8));
    let served_by = ServedBy { server_id: "server-0".to_owned(), queue_us: 0, service_us: 7_000 };
    assert_eq!(reply.served_by, Some(served_by));
    assert_eq!(events(&service)[1], (Event::Finished, Some(3), Some(1), None));
}

#[test]
fn a_graph_is_searched_from_its_start() {
    let service = Service::new(1);
    let reply = ask(&service, answering(0), NEVER, |channel, _| async move {
        let graph = Some(Graph { nodes: 5, edges: 7, seed: 1 });
        stub(channel).search_graph(SearchGraphRequest { request_id: 3, graph, start: 2 }).await
    });
    let reply = reply.unwrap().into_inner();
    let mut order = reply.order.clone();
    assert_eq!(order[0], 2);
    order.sort();
    assert_eq!(order, [0, 1, 2, 3, 4]);
    assert_eq!(reply.served_by.unwrap().server_id, "server-0");
}

#[test]
fn inputs_that_are_invalid_or_missing_are_refused_and_counted() {
    let service = Service::new(1);
    let (statuses, metrics) = ask(&service, answering(0), NEVER, |channel, _| async move {
        let mut stub = stub(channel);
        let mut statuses = Vec::new();
        for image in [None, image(4, 2, 7)] {
            let request = ProcessImageRequest { request_id: 1, image };
            statuses.push(stub.process_image(request).await.unwrap_err());
        }
        let request = SearchGraphRequest { request_id: 2, graph: None, start: 0 };
        statuses.push(stub.search_graph(request).await.unwrap_err());
        (statuses, stub.get_metrics(GetMetricsRequest {}).await.unwrap().into_inner())
    });
    let invalid = tonic::Code::InvalidArgument;
    assert!(statuses.iter().all(|status| status.code() == invalid), "{statuses:?}");
    assert_eq!(statuses[0].message(), "the request holds no image");
    assert_eq!(statuses[2].message(), "the request holds no graph");
    assert_eq!((metrics.received, metrics.invalid, metrics.finished), (3, 3, 0));
    let refused = (Event::Refused, Some(2), Some(1), Some("the request holds no graph".to_owned()));
    assert_eq!(events(&service).last(), Some(&refused));
}

#[test]
fn an_injected_error_comes_before_the_check_of_the_input() {
    let service = Service::new(1);
    service.injectors[0].set(failing_all(Code::Aborted));
    let (status, metrics) = ask(&service, answering(0), NEVER, |channel, _| async move {
        let mut stub = stub(channel);
        let request = ProcessImageRequest { request_id: 1, image: image(4, 2, 7) };
        let status = stub.process_image(request).await.unwrap_err();
        (status, stub.get_metrics(GetMetricsRequest {}).await.unwrap().into_inner())
    });
    assert_eq!((status.code(), status.message()), (tonic::Code::Aborted, "fault injected"));
    assert_eq!((metrics.received, metrics.invalid, metrics.aborted), (1, 0, 1));
    assert_eq!(events(&service)[1], (Event::Aborted, Some(1), Some(1), Some("ABORTED".to_owned())));
}

#[test]
fn a_refusal_asks_to_wait_and_is_counted_and_recorded() {
    let service = Service::new(1);
    let (status, metrics) = ask(&service, refusing(300), NEVER, |channel, _| async move {
        let mut stub = stub(channel);
        let status = stub.get_data(GetDataRequest { request_id: 5 }).await.unwrap_err();
        (status, stub.get_metrics(GetMetricsRequest {}).await.unwrap().into_inner())
    });
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert_eq!(status.metadata().get(crate::policy::PUSHBACK).unwrap().as_encoded_bytes(), b"300");
    assert_eq!((metrics.received, metrics.refused, metrics.running, metrics.queued), (1, 1, 0, 0));
    let cause = "0 requests are in progress, as many as are admitted";
    assert_eq!(status.message(), cause);
    assert_eq!(events(&service)[1], (Event::Refused, Some(5), Some(1), Some(cause.to_owned())));
}

#[test]
fn the_metrics_say_what_runs_and_waits_and_since_when() {
    let service = Service::new(1);
    let settings = ReplicaSettings { workers: 1, ..hanging() };
    let (metrics, checked) = ask(&service, settings, NEVER, |channel, world| async move {
        for request_id in 0..3 {
            let mut stub = stub(channel.clone());
            world.spawn(Box::pin(async move {
                let _ = stub.get_data(GetDataRequest { request_id }).await;
            }));
        }
        world.sleep_until(Instant::START + Duration::from_millis(50)).await;
        let mut stub = stub(channel);
        let checked = stub.health_check(HealthCheckRequest {}).await.unwrap().into_inner();
        (stub.get_metrics(GetMetricsRequest {}).await.unwrap().into_inner(), checked)
    });
    assert_eq!((metrics.running, metrics.queued, metrics.uptime_us), (1, 2, 50_000));
    assert_eq!(metrics.server_id, "server-0");
    let expected = HealthCheckReply { healthy: true, server_id: "server-0".to_owned(), running: 1, queued: 2 };
    assert_eq!(checked, expected);
}

#[test]
fn a_stream_whose_caller_leaves_frees_its_worker_and_is_counted() {
    let service = Service::new(1);
    let settings = ReplicaSettings { workers: 1, service_time_min: Duration::from_millis(400), ..answering(0) };
    let (tile, metrics) = ask(&service, settings, NEVER, |channel, world| async move {
        let mut stub = stub(channel);
        let request = ProcessImagesRequest { request_id: 5, tiles: 4, image: image(8, 8, 64) };
        let mut tiles = stub.process_images(request).await.unwrap().into_inner();
        let tile = tiles.message().await.unwrap().unwrap();
        drop(tiles);
        world.sleep_until(Instant::START + Duration::from_millis(150)).await;
        (tile, stub.get_metrics(GetMetricsRequest {}).await.unwrap().into_inner())
    });
    assert_eq!((tile.row, tile.image.unwrap().height), (0, 2));
    let counted = (metrics.received, metrics.cancelled, metrics.finished, metrics.running);
    assert_eq!(counted, (1, 1, 0, 0));
    assert_eq!(events(&service)[1..], [(Event::Cancelled, Some(5), Some(1), None)]);
}

#[test]
fn a_backend_that_fails_gives_its_status() {
    let service = Service::new(1);
    let status = ask(&service, failing(Code::DataLoss, 1), NEVER, |channel, _| async move {
        stub(channel).get_data(GetDataRequest { request_id: 5 }).await.unwrap_err()
    });
    assert_eq!((status.code(), status.message()), (tonic::Code::DataLoss, "the backend fails on purpose"));
}

#[test]
fn a_call_is_answered_when_its_time_is_up_and_one_with_a_malformed_time_is_refused() {
    let service = Service::new(1);
    let (late, now, malformed) = ask(&service, hanging(), NEVER, |channel, world| async move {
        let mut stub = stub(channel);
        let mut request = Request::new(GetDataRequest { request_id: 5 });
        request.metadata_mut().insert("grpc-timeout", "49m".parse().unwrap());
        let late = stub.get_data(request).await.unwrap_err();
        let now = world.now();
        let mut request = Request::new(GetDataRequest { request_id: 6 });
        request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
        (late, now, stub.get_data(request).await.unwrap_err())
    });
    assert_eq!((late.code(), late.message()), (tonic::Code::DeadlineExceeded, "the call's deadline has passed"));
    assert_eq!(now, Instant::START + Duration::from_millis(50));
    assert_eq!(malformed.code(), tonic::Code::Internal);
}

#[test]
fn a_call_without_the_token_is_refused_before_anything_else() {
    let service = Service::new(1);
    let token = Token::new("0123456789abcdef").unwrap();
    service.network.demand("server-0", PeerTerms { limits: None, token: Some(token) });
    let (refused, answered) = ask(&service, answering(0), NEVER, |channel, _| async move {
        let mut stub = stub(channel);
        let refused = stub.get_data(GetDataRequest { request_id: 5 }).await.unwrap_err();
        let mut request = Request::new(GetDataRequest { request_id: 6 });
        request.metadata_mut().insert("authorization", "Bearer 0123456789abcdef".parse().unwrap());
        (refused, stub.get_data(request).await.is_ok())
    });
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    assert!(answered);
    assert_eq!(events(&service).len(), 2, "the server has listened and finished one");
}

#[test]
fn the_health_service_knows_the_server_and_its_service_and_no_other() {
    let service = Service::new(1);
    let statuses = ask(&service, answering(0), NEVER, |channel, _| async move {
        let mut statuses = Vec::new();
        for name in ["", rehearsal_server::SERVICE_NAME, "other"] {
            let checked = health(channel.clone()).check(Check { service: name.to_owned() }).await;
            statuses.push(checked.map(|reply| reply.into_inner().status).map_err(|status| status.code()));
        }
        statuses
    });
    assert_eq!(statuses, [Ok(1), Ok(1), Err(tonic::Code::NotFound)]);
}

#[test]
fn a_watch_reports_that_the_server_serves_and_that_it_stops_and_ends_then() {
    for (name, expected) in [("", vec![(1, 1), (2, 100)]), ("other", vec![(3, 1)])] {
        let service = Service::new(1);
        let (updates, end) = ask(&service, answering(0), 100, move |channel, world| async move {
            let watch = health(channel.streaming()).watch(Check { service: name.to_owned() }).await;
            let mut stream = watch.unwrap().into_inner();
            let mut updates = Vec::new();
            while let Some(update) = stream.next().await {
                updates.push((update.unwrap().status, world.now().as_nanos() / 1_000_000));
            }
            (updates, world.now().as_nanos() / 1_000_000)
        });
        assert_eq!((updates, end), (expected, 100));
    }
}

#[test]
fn a_server_that_stops_finishes_what_it_has_begun_and_accepts_nothing_more() {
    let service = Service::new(1);
    let (answer, now, after) = ask(&service, answering(50), 30, |channel, world| async move {
        let answer = stub(channel).get_data(GetDataRequest { request_id: 5 }).await;
        let now = world.now();
        (answer.is_ok(), now, world.connect("server-0").await.is_err())
    });
    assert_eq!((answer, now, after), (true, Instant::START + Duration::from_millis(51), true));
}

#[test]
fn a_connection_beyond_the_limit_takes_the_place_of_one_without_calls() {
    let service = Service::new(1);
    let limits = PeerLimits { connections: 1, held_bytes: 1 << 20, patience: None };
    service.network.demand("server-0", PeerTerms { limits: Some(limits), token: None });
    let (first, second) = ask(&service, answering(0), NEVER, |channel, world| async move {
        let mut old = stub(channel);
        old.get_data(GetDataRequest { request_id: 1 }).await.expect("it has the only place");
        let stream = world.connect("server-0").await.expect("the server listens");
        let new = PlainChannel::over(world.clone(), stream).await.expect("the server speaks HTTP/2");
        let second = stub(new).get_data(GetDataRequest { request_id: 2 }).await.is_ok();
        (old.get_data(GetDataRequest { request_id: 3 }).await.is_ok(), second)
    });
    assert_eq!((first, second), (false, true));
}

/// A service of a user, which has the protocol of the workloads and nothing else of them.
#[derive(Clone)]
struct OfAUser(SharedWorld);

#[tonic::async_trait]
impl Rehearsal for OfAUser {
    async fn process_image(&self, _: Request<ProcessImageRequest>) -> Result<Response<ProcessImageReply>, Status> {
        Err(Status::not_found("no such image"))
    }

    type ProcessImagesStream = futures_util::stream::Empty<Result<Tile, Status>>;

    async fn process_images(
        &self,
        _: Request<ProcessImagesRequest>,
    ) -> Result<Response<Self::ProcessImagesStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn search_graph(&self, _: Request<SearchGraphRequest>) -> Result<Response<SearchGraphReply>, Status> {
        panic!("this handler has a bug")
    }

    async fn get_data(&self, request: Request<GetDataRequest>) -> Result<Response<GetDataReply>, Status> {
        self.0.sleep_until(self.0.now() + Duration::from_millis(20)).await;
        let data =
            request.metadata().get("color").map_or(Bytes::new(), |value| value.as_encoded_bytes().to_vec().into());
        Ok(Response::new(GetDataReply { data, served_by: None }))
    }

    async fn health_check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckReply>, Status> {
        Err(Status::unimplemented("no health"))
    }

    async fn get_metrics(&self, _: Request<GetMetricsRequest>) -> Result<Response<GetMetricsReply>, Status> {
        Err(Status::unimplemented("no metrics"))
    }
}

/// Starts a server of [`OfAUser`] with one worker, and calls `ask` with a channel to it.
fn ask_user<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    service: &Service,
    ask: impl FnOnce(PlainChannel, SharedWorld) -> F + Send + 'static,
) -> T {
    let host = service.network.host("server-0");
    let recorder = Recorder::new(host.clone(), "server-0", service.server_records.clone());
    let settings = ReplicaSettings { workers: 1, ..answering(0) };
    let services = |process: &Process| Services::default().with(RehearsalServer::new(OfAUser(process.world.clone())));
    let injector = service.injectors[0].clone();
    let world = host.clone();
    host.spawn(Box::pin(async move {
        serve_services(world, recorder, "server-0", settings, services, injector, std::future::pending())
            .await
            .unwrap();
    }));
    ask_served(service, ask)
}

fn called<T>(message: T, call: &'static str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("rehearsal-call", call.parse().unwrap());
    request.metadata_mut().insert("color", "green".parse().unwrap());
    request
}

#[test]
fn a_service_of_a_user_is_behind_workers_and_recorded_by_the_metadata_of_a_call() {
    let service = Service::new(1);
    let (reply, status) = ask_user(&service, |channel, _| async move {
        let mut stub = stub(channel);
        let reply = stub.get_data(called(GetDataRequest { request_id: 99 }, "7")).await.unwrap();
        let image = stub.process_image(called(ProcessImageRequest::default(), "8")).await;
        (reply.into_inner(), image.unwrap_err())
    });
    assert_eq!(reply, GetDataReply { data: "green".into(), served_by: None });
    assert_eq!((status.code(), status.message()), (tonic::Code::NotFound, "no such image"));
    let finished = |request| (Event::Finished, Some(request), Some(1), None);
    assert_eq!(events(&service)[1..], [finished(7), finished(8)]);
}

#[test]
fn the_faults_of_a_scenario_reach_a_service_of_a_user() {
    let service = Service::new(1);
    service.injectors[0].set(Injection { slow: 3.0, ..Injection::default() });
    let took = ask_user(&service, |channel, world| async move {
        let begun = world.now();
        stub(channel).get_data(GetDataRequest { request_id: 0 }).await.unwrap();
        world.now().since(begun)
    });
    assert_eq!(took, Duration::from_millis(60));
    service.injectors[0].set(failing_all(Code::Aborted));
    let failed = Service { injectors: service.injectors.clone(), ..Service::new(1) };
    let status = ask_user(&failed, |channel, _| async move {
        stub(channel).get_data(called(GetDataRequest { request_id: 0 }, "3")).await.unwrap_err()
    });
    assert_eq!(status.code(), tonic::Code::Aborted);
    assert_eq!(events(&failed)[1], (Event::Aborted, Some(3), Some(1), Some("ABORTED".to_owned())));
}

#[test]
fn a_call_of_a_user_whose_caller_leaves_is_dropped_and_frees_its_worker() {
    let service = Service::new(1);
    let reply = ask_user(&service, |channel, world| async move {
        let mut other = stub(channel.clone());
        let leaves = std::pin::pin!(world.sleep_until(world.now() + Duration::from_millis(5)));
        select(std::pin::pin!(other.get_data(called(GetDataRequest { request_id: 0 }, "1"))), leaves).await;
        stub(channel).get_data(called(GetDataRequest { request_id: 0 }, "2")).await
    });
    assert!(reply.is_ok());
    let kinds: Vec<_> = events(&service).into_iter().map(|(event, request, ..)| (event, request)).collect();
    assert_eq!(kinds[1..], [(Event::Cancelled, Some(1)), (Event::Finished, Some(2))]);
}

#[test]
fn a_call_of_a_service_that_is_not_served_says_so() {
    let service = Service::new(1);
    let status = ask(&service, answering(0), NEVER, |channel, _| async move {
        let mut grpc = tonic::client::Grpc::with_origin(channel, http::Uri::from_static("http://server-0"));
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/shop.v1.Stock/Reserve");
        let codec = tonic_prost::ProstCodec::<GetDataRequest, GetDataReply>::default();
        grpc.unary(Request::new(GetDataRequest { request_id: 0 }), path, codec).await.unwrap_err()
    });
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    assert_eq!(
        status.message(),
        "nothing here implements `/shop.v1.Stock/Reserve`: the server has `rehearsal.v1.Rehearsal`"
    );
}

#[test]
fn a_service_of_a_user_that_panics_answers_internal_and_its_worker_stays() {
    let service = Service::new(1);
    let (statuses, reply) = ask_user(&service, |channel, _| async move {
        let mut stub = stub(channel);
        let mut statuses = Vec::new();
        for call in ["1", "2"] {
            let request = called(SearchGraphRequest { request_id: 0, graph: None, start: 0 }, call);
            statuses.push(stub.search_graph(request).await.unwrap_err().code());
        }
        (statuses, stub.get_data(called(GetDataRequest { request_id: 0 }, "3")).await)
    });
    assert_eq!(statuses, [tonic::Code::Internal; 2]);
    assert!(reply.is_ok());
    let panicked = |request| (Event::Aborted, Some(request), Some(1), Some("panicked".to_owned()));
    assert_eq!(events(&service)[1..], [panicked(1), panicked(2), (Event::Finished, Some(3), Some(1), None)]);
}

#[test]
fn a_call_that_a_fault_delays_waits_before_its_worker() {
    let service = Service::new(1);
    let delay = Duration::from_millis(30);
    let late = InjectedErrors { fault: 0, rate: 1.0, status: None, delay };
    for (errors, took, is_ok) in [
        (vec![late], 50, true),
        (vec![late, InjectedErrors { fault: 1, status: Some(Code::Aborted), ..late }], 60, false),
    ] {
        let service = Service { injectors: service.injectors.clone(), ..Service::new(1) };
        service.injectors[0].set(Injection { errors, ..Injection::default() });
        let (reply, millis) = ask_user(&service, |channel, world| async move {
            let begun = world.now();
            let reply = stub(channel).get_data(called(GetDataRequest { request_id: 0 }, "4")).await;
            (reply, world.now().since(begun).as_millis())
        });
        assert_eq!((reply.is_ok(), millis), (is_ok, took));
        let kind = if is_ok { Event::Finished } else { Event::Aborted };
        assert_eq!(events(&service).pop().map(|(event, ..)| event), Some(kind));
    }
}
