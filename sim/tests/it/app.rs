//! Apps in the simulation: their times, and what a program without an app says about them.

use std::{fs, sync::atomic::AtomicU64, time::Duration};

use kernel::{
    coverage::{Coverage, CoverageTally},
    proto::rehearsal::{
        GetDataReply, GetDataRequest, GetMetricsReply, GetMetricsRequest, HealthCheckReply, HealthCheckRequest,
        ProcessImageReply, ProcessImageRequest, ProcessImagesRequest, SearchGraphReply, SearchGraphRequest, Tile,
        rehearsal_client::RehearsalClient,
        rehearsal_server::{Rehearsal, RehearsalServer},
    },
    record::Event,
    scenario::Scenario,
};
use sim::{App, Host, Plan, calibration::Calibration, sometimes};
use tonic::{Request, Response, Status};

use crate::command::program;

const SCENARIO: &str = "name = \"app\"\nduration = \"2s\"\n[workload]\nkind = \"app\"\n[load]\nrate = 10\n";

/// A service of a user, which computes three units of `price` and answers.
struct Prices(Host);

#[tonic::async_trait]
impl Rehearsal for Prices {
    async fn get_data(&self, _: Request<GetDataRequest>) -> Result<Response<GetDataReply>, Status> {
        let price = self.0.compute("price", 3, || 42).await;
        Ok(Response::new(GetDataReply { data: price.to_string().into(), served_by: None }))
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

fn app() -> App {
    App::new()
        .service("prices", |host| async move { host.serve(RehearsalServer::new(Prices(host.clone()))).await })
        .load(|call| async move {
            let reply = RehearsalClient::new(call.channel()).get_data(GetDataRequest::default()).await?.into_inner();
            call.check(&*reply.data == b"42", "the price is 42");
            Ok(())
        })
}

/// Returns the time in microseconds for which each call occupied its worker, with these service times in the calibration.
fn occupied(settings: &[&str], service_times: &str) -> Vec<u64> {
    let settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
    let scenario = Scenario::parse("app.toml", SCENARIO, &settings).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calibration.toml");
    let built_in = include_str!("../../calibration.toml");
    fs::write(&file, format!("{built_in}\n{service_times}")).unwrap();
    let plan = Plan { calibration: Calibration::load(&file).unwrap(), app: Some(app()), ..Plan::new(scenario, 3) };
    let run = sim::run(&plan, &AtomicU64::new(0)).unwrap();
    assert_eq!(run.violations(&plan), []);
    assert_eq!(run, sim::run(&plan, &AtomicU64::new(0)).unwrap(), "equal plans give equal runs");
    let finished = run.records.events.iter().filter(|row| row.event == Event::Finished);
    finished.map(|row| row.duration_us.unwrap()).collect()
}

fn always(name: &str, units: u64, us: f64) -> String {
    format!("[[service_time]]\nworkload = \"{name}\"\nunits = {units}\nus = [[0.0, {us:?}], [1.0, {us:?}]]\n")
}

#[test]
fn a_computation_takes_the_time_of_the_calibration_or_that_of_the_scenario() {
    let by_scenario = occupied(&["workload.compute_time=2ms"], "");
    assert_eq!(by_scenario, vec![6_000; 20]);
    let by_calibration = occupied(&["workload.compute_time=2ms"], &always("price", 3, 500.0));
    assert_eq!(by_calibration, vec![500; 20]);
    // Between the sizes that were measured it is interpolated, as for workloads.
    let between = occupied(&[], &(always("price", 2, 500.0) + &always("price", 4, 700.0)));
    assert_eq!(between, vec![600; 20]);
}

#[test]
fn a_method_whose_own_time_was_measured_takes_it_before_its_computations() {
    let own = always("rehearsal.v1.Rehearsal/GetData", 1, 300.0) + &always("price", 3, 500.0);
    assert_eq!(occupied(&[], &own), vec![800; 20]);
}

/// A state is recorded once in a process, and again by the process that comes after a crash.
#[test]
fn a_state_that_code_names_is_an_event_and_a_part_of_the_coverage() {
    let prices = |host: Host| async move {
        host.reached("started");
        host.serve(RehearsalServer::new(Prices(host.clone()))).await
    };
    let app = App::new().service("prices", prices).load(|call| async move {
        sometimes!(call.host(), call.id() > 4, "many calls");
        sometimes!(call.host(), call.id() > 400, "very many calls");
        RehearsalClient::new(call.channel()).get_data(GetDataRequest::default()).await?;
        Ok(())
    });
    let crash = "fault=[{ at = \"1s\", kind = \"crash\", target = \"server-0\", restart_after = \"100ms\" }]";
    let settings = [crash, "workload.compute_time=1ms"].map(str::to_owned);
    let scenario = Scenario::parse("app.toml", SCENARIO, &settings).unwrap();
    let plan = Plan { app: Some(app), ..Plan::new(scenario, 3) };
    let run = sim::run(&plan, &AtomicU64::new(0)).unwrap();
    assert_eq!(run.violations(&plan), []);
    let reached = run.records.events.iter().filter(|row| row.event == Event::Reached);
    let reached: Vec<_> = reached.map(|row| (row.source.as_str(), row.cause.as_deref().unwrap())).collect();
    let replicas = plan.scenario.servers.replicas;
    assert_eq!(reached.iter().filter(|row| row.1 == "started").count(), replicas + 1, "{reached:?}");
    assert_eq!(reached.iter().filter(|row| row.1 == "many calls").count(), 1, "{reached:?}");
    let mut tally = CoverageTally::default();
    tally.add(&plan.scenario, &Coverage::of_run(&plan.scenario, 3, &run.records));
    let text = tally.text();
    assert!(text.contains("many calls 1") && text.contains("started 1") && !text.contains("very many"), "{text}");
}

#[test]
fn a_program_without_the_app_names_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.toml");
    fs::write(&file, SCENARIO).unwrap();
    for arguments in [&["run"][..], &["hunt", "--invariants", "--runs", "1"], &["verify", "--seeds", "0..1"]] {
        let mut sim = program(env!("CARGO_BIN_EXE_sim"));
        let ended = sim.arg(arguments[0]).arg(&file).args(&arguments[1..]).current_dir(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(said.contains("this program has no app; play it with the program of the app"), "{arguments:?}: {said}");
        assert!([Some(2), Some(3)].contains(&ended.status.code()), "{arguments:?}: {:?}", ended.status);
    }
}

/// Faults of processes and of links, all of which last for a while but the reset.
const FAULTS: &str = r#"
[servers]
replicas = 2

[network]
latency = "2ms"
jitter = "1ms"

[[fault]]
at = "300ms"
kind = "freeze"
target = "server-0"
duration = "300ms"

[[fault]]
at = "500ms"
kind = "reset"
target = "server-1"

[[fault]]
at = "800ms"
kind = "partition"
target = "server-1"
duration = "400ms"

[[fault]]
at = "900ms"
kind = "delay"
target = "server-0"
latency = "30ms"
duration = "300ms"

[[fault]]
at = "1400ms"
kind = "crash"
target = "server-0"
restart_after = "200ms"
"#;

#[test]
fn an_app_that_keeps_to_its_hosts_has_the_same_run_on_a_runtime_of_its_own_and_on_a_shared_one() {
    let text = format!("{SCENARIO}{FAULTS}");
    // Each seed with connections of both kinds.
    for (seed, tls) in (0..20).flat_map(|seed| [(seed, "tls=off"), (seed, "tls=on")]) {
        let settings = ["workload.compute_time=2ms", "load.rate=50", tls].map(str::to_owned);
        let scenario = Scenario::parse("app.toml", &text, &settings).unwrap();
        let play = |app| {
            let plan = Plan { app: Some(app), ..Plan::new(scenario.clone(), seed) };
            let run = sim::run(&plan, &AtomicU64::new(0)).unwrap();
            assert_eq!(run.violations(&plan), []);
            run.records
        };
        let own = play(app());
        assert!(own.requests.len() == 100 && own.attempts.len() > 100, "{}", own.attempts.len());
        assert!(own == play(app().on_shared_runtime()), "seed {seed}, {tls}");
    }
}

/// Returns the app, each process of which wakes every millisecond.
fn ticking() -> App {
    App::new()
        .service("prices", |host| async move {
            #[expect(clippy::disallowed_methods, reason = "code of a user may use all of tokio")]
            tokio::spawn(async {
                let mut interval = tokio::time::interval(Duration::from_millis(1));
                loop {
                    interval.tick().await;
                }
            });
            host.serve(RehearsalServer::new(Prices(host.clone()))).await
        })
        .load(|call| async move {
            RehearsalClient::new(call.channel()).get_data(GetDataRequest::default()).await?;
            Ok(())
        })
}

#[test]
fn a_process_that_a_timer_wakes_needs_no_step() {
    let text = format!("{SCENARIO}{FAULTS}");
    for seed in 0..20 {
        let scenario = Scenario::parse("app.toml", &text, &["workload.compute_time=2ms".to_owned()]).unwrap();
        let [ticks, calm] = [ticking(), app()].map(|app| {
            let plan = Plan { app: Some(app), ..Plan::new(scenario.clone(), seed) };
            let run = sim::run(&plan, &AtomicU64::new(0)).unwrap();
            assert_eq!(run.violations(&plan), []);
            run
        });
        assert!(ticks.instants > calm.instants + 1_000, "{} and {} instants", ticks.instants, calm.instants);
        assert!(ticks.steps < calm.steps + 100, "{} and {} steps", ticks.steps, calm.steps);
        assert_eq!(ticks.records.requests, calm.records.requests, "seed {seed}");
    }
}
