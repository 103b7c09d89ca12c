//! Apps with several services, which call each other.

use std::{collections::BTreeSet, sync::atomic::AtomicU64, time::Duration};

use kernel::{
    proto::rehearsal::{
        GetDataReply, GetDataRequest, GetMetricsReply, GetMetricsRequest, HealthCheckReply, HealthCheckRequest,
        ProcessImageReply, ProcessImageRequest, ProcessImagesRequest, SearchGraphReply, SearchGraphRequest, Tile,
        rehearsal_client::RehearsalClient,
        rehearsal_server::{Rehearsal, RehearsalServer},
    },
    record::{CallRow, Event, Records},
    scenario::Scenario,
    status::{Code, Outcome},
};
use sim::{App, Call, Channel, Host, Plan};
use tonic::{Request, Response, Status};

const SCENARIO: &str = r#"
name = "services"
duration = "4s"
workload = { kind = "app", compute_time = "1ms" }
load = { rate = 20 }

[[service]]
name = "stock"
replicas = 2
restart_after = "500ms"

[[service]]
name = "gateway"
replicas = 2
workers = 8

[[service]]
name = "price"
replicas = 1

[[edge]]
from = "client"
to = "gateway"

[[edge]]
from = "gateway"
to = "stock"

[[edge]]
from = "gateway"
to = "price"
"#;

/// What a service of these apps does.
#[derive(Clone)]
enum Part {
    /// It computes, and answers.
    Leaf(Host),
    /// It asks both others, and answers with both answers.
    Gateway([Channel; 2]),
    /// It does not answer for this time.
    Slow(Host, Duration),
}

#[tonic::async_trait]
impl Rehearsal for Part {
    async fn get_data(&self, request: Request<GetDataRequest>) -> Result<Response<GetDataReply>, Status> {
        let GetDataRequest { request_id } = request.into_inner();
        let ask = |channel: Channel| async move {
            RehearsalClient::new(channel).get_data(GetDataRequest { request_id }).await.map(|it| it.into_inner().data)
        };
        let data = match self {
            Self::Leaf(host) => host.compute("leaf", 1, move || format!("{request_id} ")).await.into(),
            Self::Gateway([first, second]) => {
                let (first, second) = futures_util::future::try_join(ask(first.clone()), ask(second.clone())).await?;
                [first, second].concat().into()
            }
            Self::Slow(host, time) => {
                host.sleep(*time).await;
                "late ".into()
            }
        };
        Ok(Response::new(GetDataReply { data, served_by: None }))
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

async fn leaf(host: Host) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Ok(host.serve(RehearsalServer::new(Part::Leaf(host.clone()))).await?)
}

async fn gateway(host: Host) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let channels = [host.channel("stock")?, host.channel("price")?];
    Ok(host.serve(RehearsalServer::new(Part::Gateway(channels))).await?)
}

async fn load(call: Call) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let request = GetDataRequest { request_id: call.id() };
    let reply = RehearsalClient::new(call.channel()).get_data(request).await?.into_inner();
    call.check(*reply.data == *format!("{0} {0} ", call.id()).as_bytes(), "both answers are for the request");
    Ok(())
}

fn app() -> App {
    App::new().service("gateway", gateway).service("stock", leaf).service("price", leaf).load(load)
}

fn plan(app: App, more: &str, settings: &[&str]) -> Plan {
    let settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
    let scenario = Scenario::parse("services.toml", &format!("{SCENARIO}{more}"), &settings).unwrap();
    Plan { app: Some(app), ..Plan::new(scenario, 3) }
}

/// Plays `app` twice, and returns the records, which keep every invariant.
fn play(app: &App, more: &str, settings: &[&str]) -> Records {
    let plan = plan(app.clone(), more, settings);
    let run = sim::run(&plan, &AtomicU64::new(0)).unwrap();
    assert_eq!(run.violations(&plan), []);
    assert_eq!(run, sim::run(&plan, &AtomicU64::new(0)).unwrap(), "equal plans give equal runs");
    run.records
}

fn to<'a>(records: &'a Records, service: &'a str) -> impl Iterator<Item = &'a CallRow> {
    records.calls.iter().filter(move |row| row.service == *service)
}

fn failed(records: &Records) -> usize {
    records.requests.iter().filter(|row| row.status != Outcome::OK).count()
}

fn fault(text: &str) -> String {
    format!("[[fault]]\nat = \"1s\"\n{text}\n")
}

#[test]
fn each_request_has_its_inner_calls_with_their_attempts() {
    for app in [app(), app().on_shared_runtime()] {
        let records = play(&app, "", &[]);
        assert_eq!((records.requests.len(), failed(&records)), (80, 0));
        assert_eq!(records.calls.len(), 160);
        for row in &records.calls {
            let request = &records.requests[row.request.unwrap() as usize];
            assert_eq!((Some(&row.caller), row.parent, row.parent_attempt), (request.server.as_ref(), None, Some(1)));
            assert_eq!((row.status, row.attempts.len()), (Outcome::OK, 1));
            let [sent_us, done_us] = [request.sent_us, request.done_us].map(Option::unwrap);
            assert!(sent_us < row.sent_us && row.done_us < done_us);
            // That of the attempt which the gateway answers.
            assert!((10_000_000..10_001_000).contains(&(row.deadline_us - sent_us)), "{row:?}");
            assert_eq!(row.server, Some(row.attempts[0].server.clone()));
        }
        let finished = |row: &&kernel::record::EventRow| row.event == Event::Finished && row.source == "price-0";
        let finished: BTreeSet<_> = records.events.iter().filter(finished).map(|row| (row.request, row.call)).collect();
        assert_eq!(finished, to(&records, "price").map(|row| (row.request, Some(row.call))).collect());
        let servers: BTreeSet<_> = to(&records, "stock").filter_map(|row| row.server.as_deref()).collect();
        assert_eq!(servers, BTreeSet::from(["stock-0", "stock-1"]));
        assert!(records.attempts.iter().all(|row| row.server.starts_with("gateway-")), "those of the load alone");
    }
}

#[test]
fn the_policies_of_an_edge_hide_the_crash_of_a_replica_and_without_them_it_shows() {
    let crash = fault("kind = \"crash\"\ntarget = \"stock-0\"\nrestart_after = \"1s\"");
    let busy = ["workload.compute_time=20ms", "load.rate=150", "service.0.workers=8", "service.2.workers=8"];
    let records = play(&app(), &crash, &busy);
    assert_eq!(failed(&records), 0);
    assert!(to(&records, "stock").any(|row| row.attempts.len() == 2), "an attempt that met the crash is retried");
    // The gateway retries no more, and neither does the load: what meets the crash fails.
    let none = ["edge.1.client.retry.max_attempts=1", "client.retry.max_attempts=1"];
    let records = play(&app(), &crash, &[&busy[..], &none].concat());
    let inner = to(&records, "stock").filter(|row| row.status != Outcome::OK).count();
    assert!(inner > 0 && failed(&records) == inner, "{inner}");
}

#[test]
fn retries_at_two_tiers_multiply() {
    let errors = fault("kind = \"errors\"\ntarget = \"stock\"\nrate = 1.0\nduration = \"1s\"");
    let settings =
        ["client.retry.max_attempts=3", "client.retry.initial_backoff=10ms", "client.retry.max_backoff=10ms"];
    let bound = "[[expect]]\nmetric = \"amplification\"\nmax = 2\n";
    let plan = plan(app(), &format!("{errors}{bound}"), &settings);
    let summary = sim::run(&plan, &AtomicU64::new(0)).unwrap().summary(&plan);
    let stock = summary.edges.iter().find(|edge| edge.to == "stock").unwrap();
    assert!(!summary.pass && summary.overall.amplification == stock.amplification, "{:?}", summary.edges);
    assert!(stock.amplification > Some(2.5) && stock.attempts_per_call < Some(2.6), "{stock:?}");
    let records = play(&app(), &errors, &settings);
    // In the second of the fault each request has three attempts, and each of them makes a call of three attempts.
    let of_one = |id: u64| to(&records, "stock").filter(move |row| row.request == Some(id));
    let in_fault = records.requests.iter().find(|row| row.sent_us > Some(1_200_000)).unwrap().id;
    assert_eq!((of_one(in_fault).count(), of_one(in_fault).map(|row| row.attempts.len()).sum::<usize>()), (3, 9));
    let parents: Vec<_> = of_one(in_fault).map(|row| row.parent_attempt.unwrap()).collect();
    assert_eq!(parents, [1, 2, 3]);
    let paths: BTreeSet<_> = of_one(in_fault).map(|row| row.call).collect();
    assert_eq!(paths.len(), 3, "each is a call of its own");
}

#[test]
fn an_inner_call_ends_with_the_deadline_of_its_caller_unless_the_edge_says_otherwise() {
    let slow = |host: Host| async move {
        let part = Part::Slow(host.clone(), Duration::from_secs(1));
        host.serve(RehearsalServer::new(part)).await
    };
    let app = App::new().service("gateway", gateway).service("stock", slow).service("price", leaf).load(load);
    let settings = ["client.deadline=300ms", "client.retry.max_attempts=1", "load.rate=2"];
    let records = play(&app, "", &settings);
    assert_eq!(failed(&records), 8);
    for row in to(&records, "stock") {
        let sent_us = records.requests[row.request.unwrap() as usize].sent_us.unwrap();
        assert!((300_000..301_000).contains(&(row.deadline_us - sent_us)), "that of the call of the load: {row:?}");
        assert!(row.status != Outcome::OK && row.done_us <= row.deadline_us, "{row:?}");
    }
    let apart = [&settings[..], &["edge.1.propagate_deadline=false", "edge.1.client.deadline=2s"]].concat();
    for row in to(&play(&app, "", &apart), "stock") {
        // The caller has gone, and the handler with it.
        assert_eq!((row.status, row.deadline_us), (Outcome::Status(Code::Cancelled), row.sent_us + 2_000_000));
    }
}

#[test]
fn faults_of_links_act_between_services_also_on_processes_that_start_later() {
    let delay = fault("kind = \"delay\"\ntarget = \"price-0\"\nlatency = \"50ms\"");
    let crash = "[[fault]]\nat = \"2s\"\nkind = \"crash\"\ntarget = [\"gateway-0\", \"gateway-1\"]\nrestart_after = \"200ms\"\n";
    for app in [app(), app().on_shared_runtime()] {
        let records = play(&app, &format!("{delay}{crash}"), &[]);
        let took = |row: &CallRow| row.done_us - row.sent_us;
        for row in to(&records, "price").filter(|row| row.status == Outcome::OK) {
            let is_delayed = row.sent_us > 1_000_000;
            assert_eq!(took(row) > 100_000, is_delayed, "{row:?}");
        }
        assert!(to(&records, "price").any(|row| row.status == Outcome::OK && row.sent_us > 2_500_000));
        assert!(to(&records, "stock").all(|row| row.status != Outcome::OK || took(row) < 50_000));
        let restarts: Vec<_> = records.events.iter().filter(|row| row.event == Event::Restart).collect();
        assert_eq!(
            restarts.iter().map(|row| row.target.as_deref().unwrap()).collect::<Vec<_>>(),
            ["gateway-0", "gateway-1"]
        );
    }
}

/// The price is called by both; a fault of the links of one of them leaves the other alone.
#[test]
fn a_fault_may_act_on_the_links_of_one_caller() {
    let edges = "[[service]]\nname = \"cart\"\n[[edge]]\nfrom = \"gateway\"\nto = \"cart\"\n[[edge]]\nfrom = \"cart\"\nto = \"price\"\n";
    let cart = |host: Host| async move {
        let channels = [host.channel("price")?, host.channel("price")?];
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
            host.serve(RehearsalServer::new(Part::Gateway(channels))).await?,
        )
    };
    let gateway = |host: Host| async move {
        let channels = [host.channel("cart")?, host.channel("price")?];
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
            host.serve(RehearsalServer::new(Part::Gateway(channels))).await?,
        )
    };
    let load = |call: Call| async move {
        let reply = RehearsalClient::new(call.channel()).get_data(GetDataRequest { request_id: call.id() }).await?;
        call.check(*reply.into_inner().data == *format!("{0} {0} {0} ", call.id()).as_bytes(), "three prices");
        Ok(())
    };
    let app =
        App::new().service("gateway", gateway).service("stock", leaf).service("price", leaf).service("cart", cart);
    let delay = fault("kind = \"delay\"\ntarget = \"price\"\nfrom = \"cart\"\nlatency = \"50ms\"");
    let records = play(&app.load(load), &format!("{edges}{delay}"), &[]);
    for row in to(&records, "price").filter(|row| row.sent_us > 1_000_000) {
        assert_eq!(row.done_us - row.sent_us > 100_000, row.caller.starts_with("cart-"), "{row:?}");
        assert_eq!(
            row.parent.is_some(),
            row.caller.starts_with("cart-"),
            "a call of the cart is within one of the gateway"
        );
    }
}

#[test]
fn a_partition_between_services_ends_by_the_policies_of_the_edge() {
    let cut = fault("kind = \"partition\"\ntarget = \"stock-1\"\nduration = \"1s\"");
    let records = play(&app(), &cut, &["edge.1.client.attempt_timeout=100ms"]);
    assert_eq!(failed(&records), 0);
    assert!(to(&records, "stock").any(|row| row.attempts.len() > 1));
}

#[test]
fn a_frozen_process_makes_no_calls() {
    let freeze = fault("kind = \"freeze\"\ntarget = \"gateway-0\"\nduration = \"1s\"");
    let records = play(&app(), &freeze, &[]);
    let of_frozen = records.calls.iter().filter(|row| row.caller == "gateway-0");
    assert!(of_frozen.clone().count() > 10);
    assert!(of_frozen.clone().all(|row| !(1_000_001..2_000_000).contains(&row.sent_us)));
}

#[test]
fn two_processes_have_draws_of_their_own() {
    let errors = fault("kind = \"errors\"\ntarget = \"price\"\nrate = 1.0\nduration = \"2s\"");
    let records = play(&app(), &errors, &["client.retry.jitter=full"]);
    let backoffs = |source: &str| -> BTreeSet<_> {
        let of_source = records.events.iter().filter(|row| row.event == Event::Backoff && row.source == *source);
        of_source.filter_map(|row| row.duration_us).collect()
    };
    let [first, second] = ["gateway-0", "gateway-1"].map(backoffs);
    // Of a hundred draws in 100 ms few are the same microsecond.
    let same = first.intersection(&second).count();
    assert!(first.len() > 50 && second.len() > 50 && same < 5, "{first:?} {second:?}");
}

#[test]
fn code_that_runs_for_no_request_makes_calls_of_its_own() {
    let ticking = |host: Host| async move {
        let price = host.channel("price")?;
        let ticker = host.clone();
        host.spawn(async move {
            loop {
                ticker.sleep(Duration::from_millis(100)).await;
                let _ = RehearsalClient::new(price.clone()).get_data(GetDataRequest { request_id: 7 }).await;
            }
        });
        gateway(host).await
    };
    let app = App::new().service("gateway", ticking).service("stock", leaf).service("price", leaf).load(load);
    let records = play(&app, "", &[]);
    let own: Vec<_> = records.calls.iter().filter(|row| row.request.is_none()).collect();
    assert!((70..=80).contains(&own.len()), "{}", own.len());
    assert!(own.iter().all(|row| (row.status, row.parent_attempt) == (Outcome::OK, None)));
    assert_eq!(own.iter().map(|row| row.call).collect::<BTreeSet<_>>().len(), own.len());
}

#[test]
fn what_an_app_and_its_scenario_do_not_share_is_said_with_the_remedy() {
    let refused = |app: App| sim::run(&plan(app, "", &[]), &AtomicU64::new(0)).unwrap_err().to_string();
    let without = refused(App::new().service("gateway", gateway).service("stock", leaf).load(load));
    assert!(without.contains("the scenario has the service `price`") && without.contains("App::service"), "{without}");
    let more = refused(app().service("cart", leaf));
    assert!(more.contains("the app has the service `cart`") && more.contains("[[service]]"), "{more}");
    let lost = |host: Host| async move { host.channel("cart").map(drop) };
    let lost = App::new().service("gateway", lost).service("stock", leaf).service("price", leaf).load(load);
    let lost = refused(lost);
    assert!(lost.contains("gateway-0 does not call `cart`: it calls `stock`, `price`"), "{lost}");
    assert!(lost.contains("[[edge]], from = \"gateway\", to = \"cart\""), "{lost}");
    let plain = "name = \"x\"\nduration = \"1s\"\nworkload = { kind = \"app\" }\nload = { rate = 1 }\n";
    let scenario = Scenario::parse("x.toml", plain, &[]).unwrap();
    let plan = Plan { app: Some(app()), ..Plan::new(scenario, 1) };
    let none = sim::run(&plan, &AtomicU64::new(0)).unwrap_err().to_string();
    assert!(none.contains("`gateway`, `stock`, `price`") && none.contains("[[service]]"), "{none}");
}
