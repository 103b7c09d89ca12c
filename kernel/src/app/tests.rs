use std::time::Duration;

use rand::Rng;
use tonic::{Request, Response, Status};
use tower_service::Service as _;

use super::*;
use crate::{
    client::{Client, PlainChannel, settings::Retry},
    fuzzing::network::{CALLS_BEGIN, Service, answering, plain},
    load::{LoadError, LoadGenerator, settings::Load as LoadSettings},
    policy::{Cache, Policies},
    proto::rehearsal::{
        GetDataReply, GetDataRequest, GetMetricsReply, GetMetricsRequest, HealthCheckReply, HealthCheckRequest,
        ProcessImageReply, ProcessImageRequest, ProcessImagesRequest, SearchGraphReply, SearchGraphRequest, Tile,
        rehearsal_client::RehearsalClient,
        rehearsal_server::{Rehearsal, RehearsalServer},
    },
    record::{Answer, Event, RequestRow},
    status::{Code, Outcome},
    sync::lock,
    time::Instant,
    workload::settings::Backend,
};

/// A service of a user, under the names of this project's messages.
struct Data(Host);

#[tonic::async_trait]
impl Rehearsal for Data {
    async fn get_data(&self, request: Request<GetDataRequest>) -> Result<Response<GetDataReply>, Status> {
        let id = request.into_inner().request_id;
        self.0.sleep(Duration::from_millis(10)).await;
        let doubled = self.0.compute("double", 1, move || 2 * id).await;
        if id == 13 {
            panic!("planted");
        }
        Ok(Response::new(GetDataReply { data: doubled.to_string().into(), served_by: None }))
    }

    async fn process_image(&self, _: Request<ProcessImageRequest>) -> Result<Response<ProcessImageReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    type ProcessImagesStream = futures_util::stream::Empty<Result<Tile, Status>>;

    async fn process_images(
        &self,
        _: Request<ProcessImagesRequest>,
    ) -> Result<Response<Self::ProcessImagesStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn search_graph(&self, _: Request<SearchGraphRequest>) -> Result<Response<SearchGraphReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn health_check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_metrics(&self, _: Request<GetMetricsRequest>) -> Result<Response<GetMetricsReply>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

fn data() -> App {
    App::new().service("data", |host| async move { host.serve(RehearsalServer::new(Data(host.clone()))).await })
}

async fn get(call: &Call, request_id: u64) -> Result<String, Status> {
    let reply = RehearsalClient::new(call.channel()).get_data(GetDataRequest { request_id }).await?;
    Ok(String::from_utf8_lossy(&reply.into_inner().data).into_owned())
}

/// The result of a load on one server of an app.
struct Played {
    service: Service,
    rows: Vec<RequestRow>,
    ended: Result<(), LoadError>,
}

impl Played {
    fn causes(&self, event: Event) -> Vec<String> {
        self.service.events(event).into_iter().filter_map(|row| row.cause).collect()
    }
}

/// Offers ten requests a second to one server, from [`CALLS_BEGIN`] on for half a second.
fn play(app: App, client: client::settings::Client) -> Played {
    let service = Service::new(1);
    let server = service.network.host("server-0");
    let recorder = Recorder::new(server.clone(), "server-0", service.server_records.clone());
    let serving = app.clone();
    let injector = service.injectors[0].clone();
    let world = server.clone();
    server.spawn(Box::pin(async move {
        let stop = std::future::pending();
        serving.serve(process(world, recorder, "server-0", injector), None, stop).await.expect("it serves");
    }));
    let recorder = service.recorder();
    let client: Client = service.client(App::client_settings(client));
    let load = LoadGenerator {
        world: service.world.clone(),
        entropy: Entropy::new(1),
        recorder: recorder.clone(),
        client,
        requests: app.requests(service.world.clone(), recorder, Entropy::new(1), &scenario(), &service.links),
        settings: LoadSettings::at(10.0),
        duration: CALLS_BEGIN + Duration::from_millis(500),
    };
    let ended = service.network.run(load.run());
    let mut rows = lock(&service.records).requests.clone();
    rows.sort_by_key(|row| row.id);
    Played { service, rows, ended }
}

fn no_replicas() -> Callee {
    Callee::of_load("data", Vec::new())
}

/// A process that calls no service.
fn process(world: SharedWorld, recorder: Recorder, name: &str, injector: Arc<Injector>) -> Process {
    Process { world, recorder, name: name.to_owned(), settings: answering(0), injector, callees: Vec::new() }
}

/// A scenario of an app with one service.
fn scenario() -> Scenario {
    let text = "name = \"app\"\nduration = \"1s\"\nworkload = { kind = \"app\" }\nload = { rate = 1 }\n";
    Scenario::parse("app.toml", text, &[]).unwrap()
}

fn once() -> client::settings::Client {
    client::settings::Client { retry: Retry { max_attempts: 1, ..Retry::default() }, ..plain() }
}

#[test]
fn a_call_of_the_load_is_a_row_with_what_the_service_computed() {
    let played = play(
        data().load(|call| async move {
            let doubled = get(&call, call.id()).await?;
            call.check(doubled == (2 * call.id()).to_string(), "the data are twice the id");
            Ok(())
        }),
        once(),
    );
    assert_eq!(played.ended, Ok(()));
    let ids: Vec<u64> = played.rows.iter().map(|row| row.id).collect();
    assert_eq!(ids, (0..15).collect::<Vec<_>>());
    let statuses: Vec<&str> = played.rows.iter().map(|row| row.status.name()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == "OK").count(), 14, "{statuses:?}");
    assert_eq!(statuses[13], "INTERNAL", "the service panics");
    assert_eq!(played.causes(Event::WrongResult), Vec::<String>::new());
    assert!(played.rows.iter().all(|row| (row.attempts, &*row.size) == (1, "app")));
    // Rows of the server name the request, by the metadata of its call.
    let server = lock(&played.service.server_records);
    let finished = server.events.iter().filter(|row| row.event == Event::Finished);
    assert_eq!(finished.filter_map(|row| row.request).max(), Some(14));
    drop(server);
}

#[test]
fn a_check_that_fails_and_an_error_after_a_success_are_wrong_results() {
    let played = play(
        data().load(|call| async move {
            let doubled = get(&call, 7).await?;
            call.check(call.id() != 3, "the id is not 3");
            call.check(call.id() != 3, "a second check");
            let error = if call.id() == 5 { Err("it cannot be used") } else { Ok(()) };
            error.map_err(|error| format!("{error}: {doubled}").into())
        }),
        once(),
    );
    assert_eq!(played.ended, Ok(()));
    let wrong = played.causes(Event::WrongResult);
    assert_eq!(wrong.len(), 2);
    assert_eq!(wrong[0], "this does not hold: the id is not 3");
    assert!(
        wrong[1].starts_with("the call succeeded, and the load failed:") && wrong[1].contains("it cannot be used: 14")
    );
    assert!(played.rows.iter().all(|row| row.status.is_success()), "the call itself has succeeded");
}

#[test]
fn the_error_of_a_call_that_failed_is_no_wrong_result() {
    let played = play(
        data().load(|call| async move {
            let mut stub = RehearsalClient::new(call.channel());
            stub.health_check(HealthCheckRequest::default()).await?;
            Ok(())
        }),
        once(),
    );
    assert_eq!((played.ended.clone(), played.causes(Event::WrongResult)), (Ok(()), Vec::new()));
    assert!(played.rows.iter().all(|row| row.status.name() == "UNIMPLEMENTED"));
}

/// Returns the mistake of the load of `app` in its request 2.
fn mistake(app: App) -> String {
    let LoadError { request, what } = play(app, once()).ended.unwrap_err();
    assert_eq!(request, 2);
    what
}

#[test]
fn a_load_that_makes_no_call_or_two_or_drops_its_call_or_panics_ends_with_the_remedy() {
    let none = mistake(data().load(|call| async move {
        if call.id() != 2 {
            get(&call, 1).await?;
        }
        Ok(())
    }));
    assert!(none.contains("it makes no call; make one with a generated client over `call.channel()`"), "{none}");
    let two = mistake(data().load(|call| async move {
        get(&call, 1).await?;
        if call.id() == 2 {
            get(&call, 1).await?;
        }
        Ok(())
    }));
    assert!(two.contains("a second call, `/rehearsal.v1.Rehearsal/GetData`"), "{two}");
    let dropped = mistake(data().load(|call| async move {
        if call.id() == 2 {
            let timeout = std::pin::pin!(call.host().sleep(Duration::from_millis(1)));
            futures_util::future::select(std::pin::pin!(get(&call, 1)), timeout).await;
            return Ok(());
        }
        get(&call, 1).await?;
        Ok(())
    }));
    assert!(dropped.contains("set a timeout of the request or `client.deadline`"), "{dropped}");
    let panicked = mistake(data().load(|call| async move {
        assert!(call.id() != 2, "planted");
        get(&call, 1).await?;
        Ok(())
    }));
    assert!(panicked.contains("it panicked"), "{panicked}");
}

#[test]
fn a_cached_reply_is_checked_as_one_of_a_server_is() {
    let policies = Policies { cache: Some(Cache::default()), ..Policies::default() };
    let played = play(
        data().load(|call| async move {
            let doubled = get(&call, 4).await?;
            call.check(doubled == "8", "the data are twice the id");
            Ok(())
        }),
        client::settings::Client { policies, ..once() },
    );
    assert_eq!((played.ended, played.service.events(Event::CacheHit).len()), (Ok(()), 14));
}

#[test]
fn random_numbers_depend_on_the_process_the_name_and_the_call() {
    let world = Service::new(1).world.clone();
    let recorder = Recorder::new(world.clone(), "x", Arc::new(std::sync::Mutex::<crate::record::Records>::default()));
    let host = |name: &str, seed| {
        let injector = Arc::new(Injector::new(Entropy::new(seed)));
        let stop = Box::pin(std::future::pending());
        let process = process(world.clone(), recorder.clone(), name, injector);
        Host::of_service(process, "data", (&Methods::default(), &[]), stop)
    };
    let draw = |host: &Host, name| host.rng(name).next_u64();
    let first = draw(&host("server-0", 1), "price");
    assert_eq!(first, draw(&host("server-0", 1), "price"));
    let others =
        [draw(&host("server-1", 1), "price"), draw(&host("server-0", 2), "price"), draw(&host("server-0", 1), "x")];
    assert!(others.iter().all(|other| *other != first), "{others:?}");
    let attempt = crate::record::AttemptId::of_request(7, 1);
    let of_call = crate::context::within(crate::context::Context::of_attempt(attempt), async {
        draw(&host("server-0", 1), "price")
    });
    assert_ne!(futures_util::FutureExt::now_or_never(of_call), Some(first));
}

/// Runs the service of `app` alone, and returns its error.
fn error_of(app: &App) -> String {
    let service = Service::new(1);
    let world = service.network.host("server-0");
    let recorder = Recorder::new(world.clone(), "server-0", service.server_records.clone());
    let injector = service.injectors[0].clone();
    let app = app.clone();
    let process = process(world, recorder, "server-0", injector);
    let served = async move { app.serve(process, None, std::future::pending()).await };
    service.network.run(served).unwrap_err().to_string()
}

#[test]
fn a_service_that_is_not_served_or_fails_says_so() {
    let forgotten = App::new().service("stock", |_| async { Ok::<_, Status>(()) });
    assert_eq!(
        error_of(&forgotten),
        "the service `stock` of server-0 ended without having served; it has to await `host.serve(…)`"
    );
    let failing = App::new().service("stock", |_| async { Err("no table") });
    assert_eq!(error_of(&failing), "the service `stock` of server-0 failed: no table");
    let panicking = App::new().service("stock", |_| async { panic!("planted") as Result<(), Status> });
    assert!(error_of(&panicking).starts_with("the service `stock` of server-0 panicked"));
    assert_eq!(error_of(&App::new()), AppError::NoService.to_string());
}

#[test]
fn an_app_is_played_by_a_scenario_that_says_so_if_it_is_complete() {
    let app = scenario();
    let backend = Scenario { workload: Workload::Backend(Backend::default()), ..scenario() };
    let whole = data().load(|call| async move { get(&call, 1).await.map(drop).map_err(Into::into) });
    let for_scenario = |known: Option<&App>, scenario| App::for_scenario(known, scenario).map(|app| app.is_some());
    assert_eq!(for_scenario(Some(&whole), &app), Ok(true));
    assert_eq!(for_scenario(None, &backend), Ok(false));
    assert_eq!(for_scenario(None, &app), Err(AppError::NoApp));
    assert_eq!(for_scenario(Some(&whole), &backend), Err(AppError::OtherWorkload("backend")));
    assert_eq!(for_scenario(Some(&App::new()), &app), Err(AppError::NoService));
    assert_eq!(for_scenario(Some(&data()), &app), Err(AppError::NoLoad));
    let two = whole.clone().service("price", |_| async { Ok::<_, Status>(()) });
    assert_eq!(for_scenario(Some(&two), &app), Err(AppError::SeveralServices("`data`, `price`".to_owned())));
    assert!(format!("{two:?}").contains("price"));
}

#[test]
fn a_process_serves_once_and_that_of_the_load_not_at_all() {
    let twice = App::new().service("stock", |host: Host| async move {
        let first = host.serve(RehearsalServer::new(Data(host.clone())));
        let second = host.serve(RehearsalServer::new(Data(host.clone())));
        match futures_util::future::select(std::pin::pin!(first), std::pin::pin!(second)).await {
            futures_util::future::Either::Left((first, _)) => first,
            futures_util::future::Either::Right((second, _)) => second,
        }
    });
    assert!(error_of(&twice).contains("it serves already"));
    let service = Service::new(1);
    let load =
        Host::of_load(service.world.clone(), service.recorder(), Entropy::new(1), no_replicas(), &Methods::default());
    let served = service.network.run(async move { load.serve(RehearsalServer::new(Data(load.clone()))).await });
    assert!(matches!(served, Err(ServeError::Load)));
}

#[test]
fn the_time_of_a_run_is_that_of_its_world() {
    let service = Service::new(1);
    let host =
        Host::of_load(service.world.clone(), service.recorder(), Entropy::new(1), no_replicas(), &Methods::default());
    let slept = service.network.run(async move {
        let (sender, woken) = futures_util::future::join(async { host.now() }, async {
            host.sleep(Duration::from_secs(3)).await;
            host.now()
        })
        .await;
        woken.since(sender)
    });
    assert_eq!(slept, Duration::from_secs(3));
    let _ = Instant::START;
}

/// Makes a request over a connection of its own, without a policy.
async fn get_directly(call: Call, mut connector: Connector) -> Result<(), BoxError> {
    let origin = http::Uri::from_static("http://data");
    let stream = connector.call(origin.clone()).await?.into_inner();
    let channel =
        PlainChannel::over(call.host().world().clone(), stream).await.map_err(|failed| failed.cause.to_string())?;
    let request = call.request(GetDataRequest { request_id: call.id() });
    let reply = RehearsalClient::with_origin(channel, origin).get_data(request).await?;
    let expected = (2 * call.id()).to_string();
    call.check(*reply.into_inner().data == *expected.as_bytes(), "the data are twice the id");
    call.check(call.id() != 4, "the id is not 4");
    if call.id() == 5 { Err("it is not used".into()) } else { Ok(()) }
}

#[test]
fn a_request_of_a_stack_of_the_loads_own_has_a_row_and_no_attempts() {
    let played = play(
        data().load_with(|host| {
            let connector = host.connector("data", 0)?;
            Ok(move |call: Call| get_directly(call, connector.clone()))
        }),
        once(),
    );
    assert_eq!(played.ended, Ok(()));
    assert_eq!(played.rows.len(), 15);
    let causes = played.causes(Event::GiveUp);
    assert!(causes.len() == 2 && causes[0] == "it is not used" && causes[1].contains("panicked"), "{causes:?}");
    for row in &played.rows {
        let status = match row.id {
            5 => Code::Unknown,
            13 => Code::Internal,
            _ => Code::Ok,
        };
        assert_eq!((row.status, row.attempts, row.answer), (Outcome::Status(status), 0, Some(Answer::OwnStack)));
        assert_eq!((&row.server, row.latency_us.is_some_and(|latency_us| latency_us >= 10_000)), (&None, true));
    }
    assert_eq!(played.causes(Event::WrongResult), ["this does not hold: the id is not 4"]);
    // Rows of the server name the request, by the metadata of its call.
    let server = lock(&played.service.server_records);
    let finished = server.events.iter().filter(|row| row.event == Event::Finished).filter_map(|row| row.request);
    assert_eq!(finished.collect::<Vec<_>>(), (0..15).filter(|id| *id != 13).collect::<Vec<_>>());
}

#[test]
fn a_load_that_cannot_begin_ends_the_run_with_the_reason() {
    for (service, replica, reason) in [
        (
            "prices",
            0,
            "load does not call `prices`: it calls `data`; add to the scenario: [[edge]], from = \"client\", to = \"prices\"",
        ),
        ("data", 1, "`data` has 1 replica(s), numbered from 0, and none is 1"),
    ] {
        let app = data().load_with(move |host| {
            assert_eq!(host.replicas(), 1);
            host.connector(service, replica)?;
            Ok(|_: Call| async { Ok(()) })
        });
        let what = format!("`App::load_with` failed before it: {reason}");
        assert_eq!(play(app, once()).ended, Err(LoadError { request: 0, what }));
    }
}

#[test]
fn a_process_of_the_service_has_no_connector() {
    let found = Arc::<std::sync::Mutex<Vec<(usize, String)>>>::default();
    let notes = found.clone();
    let app = App::new().service("data", move |host: Host| {
        let refused = host.connector("data", 0).expect_err("it is not the load").to_string();
        notes.lock().unwrap().push((host.replicas(), refused));
        async move { host.serve(RehearsalServer::new(Data(host.clone()))).await }
    });
    play(app.load(|call| async move { get(&call, call.id()).await.map(drop).map_err(Into::into) }), once());
    assert_eq!(
        *found.lock().unwrap(),
        [(0, "server-0 does not call `data`: it calls none; add to the scenario: [[edge]], from = \"data\", to = \"data\"".to_owned())]
    );
}
