//! The whole server, called without the client's policies: requests that it refuses, and its graceful stop.

use futures_util::future::{join, join_all};
use kernel::{
    client::PlainChannel,
    proto::{
        health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
        rehearsal::{
            GetDataRequest, GetMetricsReply, GetMetricsRequest, Graph, Image, ProcessImageReply, ProcessImageRequest,
            SearchGraphRequest, rehearsal_client::RehearsalClient,
        },
    },
    scenario,
    server::{self, MESSAGE_BYTES_MAX, ReplicaSettings},
    workload::dfs::{self, GraphSpec},
};
use tonic::{Code, Request, Status};

use super::*;

fn settings() -> ReplicaSettings {
    let servers = scenario::Servers { workers: 1, queue: 2, ..Default::default() };
    let backend = scenario::Backend { failure_rate: 0.0, hang_rate: 1.0, ..Default::default() };
    ReplicaSettings::new(&servers, &scenario::Workload::Backend(backend))
}

/// Returns the whole server, stopped gracefully at `stop`.
fn serving_until(stop: Duration) -> Software {
    Software::new(move |ReplicaProcess { world, recorder, name, injector, .. }| {
        Box::pin(async move {
            let stopped = world.sleep_until(at(stop));
            server::serve(world.clone(), recorder.clone(), &name, settings(), injector, stopped).await?;
            // The event shows when it was done. The process must not end, as the simulation has only processes that are
            // killed.
            recorder.event(Event::Healthy).record();
            pending().await
        })
    })
}

fn serving() -> Software {
    serving_until(secs(1_000))
}

/// A client without policies, over one connection.
#[derive(Clone)]
struct Caller {
    world: SharedWorld,
    channel: PlainChannel,
}

impl Caller {
    async fn connect(hosts: &Hosts) -> Self {
        let stream = hosts.links[0].connect().await.unwrap();
        Self { world: hosts.world.clone(), channel: PlainChannel::over(hosts.world.clone(), stream).await.unwrap() }
    }

    fn origin() -> tonic::codegen::http::Uri {
        "http://server-0".parse().unwrap()
    }

    fn rehearsal(&self) -> RehearsalClient<PlainChannel> {
        RehearsalClient::with_origin(self.channel.clone(), Self::origin()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn health(&self) -> HealthClient<PlainChannel> {
        HealthClient::with_origin(self.channel.clone().streaming(), Self::origin())
    }

    /// Calls for an image, and returns the reply and its time.
    async fn process(&self, request: Request<ProcessImageRequest>) -> (Result<ProcessImageReply, Status>, Instant) {
        let reply = self.rehearsal().process_image(request).await;
        (reply.map(tonic::Response::into_inner), self.world.now())
    }

    async fn code_of(&self, request: ProcessImageRequest) -> (Code, Instant) {
        let (reply, time) = self.process(Request::new(request)).await;
        (reply.map_or_else(|status| status.code(), |_| Code::Ok), time)
    }

    async fn metrics(&self) -> GetMetricsReply {
        self.rehearsal().get_metrics(GetMetricsRequest {}).await.unwrap().into_inner()
    }
}

fn image(width: u32, height: u32, bytes: usize) -> ProcessImageRequest {
    let image = Image { width, height, pixels: vec![7; bytes].into() };
    ProcessImageRequest { request_id: 0, image: Some(image) }
}

fn good() -> ProcessImageRequest {
    image(64, 64, 64 * 64)
}

fn within(timeout: Duration, request: ProcessImageRequest) -> Request<ProcessImageRequest> {
    let mut request = Request::new(request);
    request.set_timeout(timeout);
    request
}

#[test]
fn malformed_images_are_invalid_arguments_that_say_why() {
    let messages = simulate(&serving(), |hosts| async move {
        let caller = Caller::connect(&hosts).await;
        let mut messages = Vec::new();
        for request in [image(3, 2, 5), image(0, 5, 0), ProcessImageRequest::default()] {
            let status = caller.process(Request::new(request)).await.0.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            messages.push(status.message().to_owned());
        }
        let metrics = caller.metrics().await;
        assert_eq!((metrics.received, metrics.invalid), (3, 3));
        messages
    });
    let expected = [
        "picture is 3x2 = 6 pixels of one byte each, but 5 bytes arrived",
        "picture is 0x5: width and height must be at least 1",
        "the request holds no image",
    ];
    assert_eq!(messages, expected);
}

#[test]
fn a_message_over_the_limit_is_refused_and_the_connection_lives() {
    simulate(&serving(), |hosts| async move {
        let caller = Caller::connect(&hosts).await;
        let status = caller.process(Request::new(image(4096, 4096, MESSAGE_BYTES_MAX))).await.0.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.message().contains("limit"), "{status:?}");
        assert_eq!(caller.code_of(good()).await.0, Code::Ok);
    });
}

#[test]
fn beyond_workers_and_queue_a_request_is_refused_at_once() {
    let answers = simulate(&serving(), |hosts| async move {
        let caller = Caller::connect(&hosts).await;
        hosts.sleep(ms(1)).await;
        join_all((0..4).map(|_| caller.code_of(good()))).await
    });
    let round_trip = ms(1) + LINK * 2;
    let expected = [1, 2, 3].map(|turn| (Code::Ok, at(round_trip + SERVICE * turn)));
    assert_eq!(answers[..3], expected);
    assert_eq!(answers[3], (Code::ResourceExhausted, at(round_trip)));
}

#[test]
fn metrics_add_up() {
    let (busy, idle) = simulate(&serving(), |hosts| async move {
        let caller = Caller::connect(&hosts).await;
        hosts.sleep(ms(1)).await;
        let hurried = caller.process(within(us(500), good()));
        let calls = async {
            // One runs, one is given up while it waits, one waits, and two are refused, whatever they hold.
            let first = caller.code_of(good());
            let rest = join(caller.code_of(good()), caller.code_of(good()));
            let (_hurried, _rest) = join(join(first, hurried), join(rest, caller.code_of(image(1, 1, 2)))).await;
        };
        let look = async {
            hosts.sleep(us(1_100)).await;
            caller.metrics().await
        };
        let busy = join(calls, look).await.1;
        caller.code_of(image(1, 1, 2)).await;
        (busy, caller.metrics().await)
    });
    for (metrics, received) in [(&busy, 5), (&idle, 6)] {
        let settled = metrics.finished + metrics.refused + metrics.invalid + metrics.skipped;
        let in_progress = u64::from(metrics.running + metrics.queued);
        assert_eq!(metrics.received, settled + in_progress, "{metrics:?}");
        assert_eq!(metrics.received, received);
    }
    assert_eq!((busy.running, busy.queued, busy.refused, busy.invalid), (1, 2, 2, 0));
    assert_eq!((idle.finished, idle.skipped, idle.refused, idle.invalid), (2, 1, 2, 1));
    assert_eq!((idle.service_us_total, idle.queue_us_total), (2 * 820, 820));
}

#[test]
fn a_deadline_is_honoured_to_the_instant_and_late_work_is_not_begun() {
    let ((answers, metrics), records) = simulate_seeded(1, &serving(), |hosts| async move {
        let caller = Caller::connect(&hosts).await;
        hosts.sleep(ms(1)).await;
        let busy = caller.code_of(good());
        let late = caller.process(within(us(300), good()));
        let (busy, late) = join(busy, late).await;
        hosts.sleep(ms(10)).await;
        ((busy, (late.0.unwrap_err().code(), late.1)), caller.metrics().await)
    });
    let (busy, late) = answers;
    assert_eq!(late, (Code::DeadlineExceeded, at(ms(1) + LINK + us(300) + LINK)));
    assert_eq!(busy, (Code::Ok, at(ms(1) + LINK + SERVICE + LINK)));
    assert_eq!((metrics.finished, metrics.skipped), (1, 1));
    assert_eq!(events(&records, Event::Finished).count(), 1);
    let skipped: Vec<_> = events(&records, Event::Skipped).map(|row| row.at_us).collect();
    assert_eq!(skipped, [1_000 + 50 + 820]);
}

#[test]
fn a_malformed_timeout_is_an_internal_error() {
    simulate(&serving(), |hosts| async move {
        let caller = Caller::connect(&hosts).await;
        let mut request = Request::new(good());
        request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
        let status = caller.process(request).await.0.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert!(status.message().contains("grpc-timeout"), "{status:?}");
    });
}

#[test]
fn a_health_check_distinguishes_known_services_from_unknown_ones() {
    simulate(&serving(), |hosts| async move {
        let mut health = Caller::connect(&hosts).await.health();
        for known in ["", "rehearsal.v1.Rehearsal"] {
            let reply = health.check(HealthCheckRequest { service: known.to_owned() }).await.unwrap();
            assert_eq!(reply.into_inner().status(), ServingStatus::Serving);
        }
        let unknown = HealthCheckRequest { service: "payments".to_owned() };
        assert_eq!(health.check(unknown.clone()).await.unwrap_err().code(), Code::NotFound);
        let mut watched = health.watch(unknown).await.unwrap().into_inner();
        assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    });
}

#[test]
fn a_graceful_stop_finishes_what_it_has_begun_and_refuses_what_is_new() {
    let stop = us(1_500);
    let ((begun, queued, refused), records) = simulate_seeded(1, &serving_until(stop), |hosts| async move {
        let caller = Caller::connect(&hosts).await;
        hosts.sleep(ms(1)).await;
        let calls = join(caller.code_of(good()), caller.code_of(good()));
        let connect = async {
            hosts.sleep(stop + us(100)).await;
            hosts.links[0].connect().await.map(drop).map_err(|error| error.kind())
        };
        let ((begun, queued), refused) = join(calls, connect).await;
        hosts.sleep(secs(1)).await;
        (begun, queued, refused)
    });
    assert_eq!(begun, (Code::Ok, at(ms(1) + LINK * 2 + SERVICE)));
    assert_eq!(queued, (Code::Ok, at(ms(1) + LINK * 2 + SERVICE * 2)));
    assert_eq!(refused, Err(io::ErrorKind::ConnectionRefused));
    let stopped: Vec<_> = events(&records, Event::Healthy).map(|row| row.at_us).collect();
    assert!(stopped.len() == 1 && (2_690..2_900).contains(&stopped[0]), "{stopped:?}");
}

#[test]
fn a_call_on_an_open_connection_after_the_stop_is_unavailable() {
    let code = simulate(&serving_until(ms(2)), |hosts| async move {
        let caller = Caller::connect(&hosts).await;
        assert_eq!(caller.code_of(good()).await.0, Code::Ok);
        hosts.sleep(ms(3)).await;
        caller.code_of(good()).await.0
    });
    assert_eq!(code, Code::Unavailable);
}

#[test]
fn watchers_are_notified_of_the_stop_and_do_not_delay_it() {
    let (seen, records) = simulate_seeded(1, &serving_until(ms(5)), |hosts| async move {
        let mut health = Caller::connect(&hosts).await.health();
        let mut unknown =
            health.watch(HealthCheckRequest { service: "payments".to_owned() }).await.unwrap().into_inner();
        let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        let mut seen = Vec::new();
        while let Ok(Some(update)) = watched.message().await {
            seen.push((hosts.world.now(), update.status()));
        }
        while let Ok(Some(_)) = unknown.message().await {}
        hosts.sleep(secs(1)).await;
        seen
    });
    assert_eq!(
        seen.iter().map(|(_, status)| *status).collect::<Vec<_>>(),
        [ServingStatus::Serving, ServingStatus::NotServing]
    );
    assert_eq!(seen[1].0, at(ms(5) + LINK));
    let stopped: Vec<_> = events(&records, Event::Healthy).map(|row| row.at_us).collect();
    assert!(stopped.len() == 1 && (5_000..5_300).contains(&stopped[0]), "{stopped:?}");
}

fn graph(nodes: u32, edges: u32) -> Option<Graph> {
    Some(Graph { nodes, edges, seed: 5 })
}

#[test]
fn a_graph_is_searched_as_the_workload_does_it() {
    let (order, messages) = simulate(&serving(), |hosts| async move {
        let mut stub = Caller::connect(&hosts).await.rehearsal();
        let mut messages = Vec::new();
        for (graph, start) in [(None, 0), (graph(10, 3), 0), (graph(10, 20), 10)] {
            let status = stub.search_graph(SearchGraphRequest { request_id: 0, graph, start }).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            messages.push(status.message().to_owned());
        }
        let asked = SearchGraphRequest { request_id: 0, graph: graph(10, 20), start: 3 };
        (stub.search_graph(asked).await.unwrap().into_inner().order, messages)
    });
    assert_eq!(order, dfs::Graph::generate(GraphSpec { nodes: 10, edges: 20, seed: 5 }).depth_first(3));
    let expected = [
        "the request holds no graph",
        "graph of 10 nodes has 3 edges: 9 to 8000000 are accepted",
        "start is node 10, but the last one is 9",
    ];
    assert_eq!(messages, expected);
}

/// The call occupies the only worker until then, and the next call runs afterwards.
#[test]
fn a_call_that_hangs_keeps_its_worker_until_its_caller_gives_up() {
    let (answers, metrics) = simulate(&serving(), |hosts| async move {
        let caller = Caller::connect(&hosts).await;
        hosts.sleep(ms(1)).await;
        let mut stub = caller.rehearsal();
        let mut hanging = Request::new(GetDataRequest { request_id: 1 });
        hanging.set_timeout(ms(50));
        let hung = async { (stub.get_data(hanging).await.unwrap_err().code(), hosts.world.now()) };
        (join(hung, caller.code_of(good())).await, caller.metrics().await)
    });
    let gives_up = ms(1) + LINK + ms(50);
    assert_eq!(answers.0, (Code::DeadlineExceeded, at(gives_up + LINK)));
    assert_eq!(answers.1, (Code::Ok, at(gives_up + SERVICE + LINK)));
    assert_eq!((metrics.received, metrics.finished, metrics.aborted), (2, 1, 1));
}
