//! A service that is written with tokio alone: its clock, tasks and randomness are those of the simulation.

#[path = "../src/depot.rs"]
mod depot;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{
    StreamExt,
    stream::{BoxStream, pending},
};
use shop::{
    proto::{
        ReserveReply, ReserveRequest, TrackReply, TrackRequest,
        stock_server::{Stock, StockServer},
    },
    reserve,
};
use sim::{App, Host, Scenario};
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

type Tested = Result<(), Box<dyn std::error::Error>>;

fn scenario(name: &str, settings: &[&str]) -> Scenario {
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    Scenario::load(format!("scenarios/{name}.toml").as_ref(), &settings).expect("it is a scenario")
}

/// Plays the scenario with twenty seeds in the simulation, and once on real processes.
fn holds(name: &str) -> Tested {
    let scenario = scenario(name, &[&format!("name=\"depot_{name}\"")]);
    sim::hold(&scenario, &depot::app(), 0..20)?;
    real::hold(&scenario, env!("CARGO_BIN_EXE_depot-real").as_ref(), 0)?;
    Ok(())
}

#[test]
fn a_crash_costs_no_order() -> Tested {
    holds("crash")
}

#[test]
fn a_freeze_costs_no_step_of_a_stream() -> Tested {
    holds("streams")
}

/// A delivery: to which process, when, and its number.
type Delivery = (String, Duration, u64);

/// Plays the scenario once, and returns the deliveries to the process.
fn deliveries(name: &str, process: &str) -> Vec<Delivery> {
    let noted: Arc<Mutex<Vec<Delivery>>> = Arc::default();
    let notes = noted.clone();
    let app = depot::app_that_notes(move |host, delivery| {
        let at = Duration::from_nanos(host.now().as_nanos());
        notes.lock().expect("nothing panics").push((host.name().to_owned(), at, delivery));
    });
    sim::hold(&scenario(name, &[&format!("name=\"deliveries_{name}\"")]), &app, 0..1).expect("it holds");
    let noted = noted.lock().expect("nothing panics");
    noted.iter().filter(|(name, ..)| name == process).cloned().collect()
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_ticker_stands_still_while_its_process_is_frozen() {
    let all = deliveries("freeze", "server-0");
    let during = all.iter().filter(|(_, at, _)| *at > secs(2) && *at < secs(4)).count();
    let before = all.iter().filter(|(_, at, _)| *at <= secs(2)).count();
    assert_eq!((during, before), (0, 40), "{all:?}");
    // Those of 2.00 to 4.00 s were missed. They are made up for at once, as tokio's intervals do.
    let missed = all.iter().filter(|(_, at, _)| *at == secs(4)).count();
    assert_eq!(missed, 41, "{all:?}");
    assert!(all.iter().map(|(.., delivery)| *delivery).eq(0..all.len() as u64), "{all:?}");
}

#[test]
fn a_ticker_is_gone_with_its_process() {
    let all = deliveries("crash", "server-1");
    let (first, second): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, at, _)| *at < secs(3));
    assert!(first.iter().all(|(_, at, _)| *at <= secs(2)), "{first:?}");
    assert!(first.iter().map(|(.., delivery)| *delivery).eq(0..first.len() as u64), "{first:?}");
    // That of the next process begins from 0.
    assert!(
        second.len() > 50 && second.iter().map(|(.., delivery)| *delivery).eq(0..second.len() as u64),
        "{second:?}"
    );
}

/// Where a process waits for what never comes.
#[derive(Clone, Copy)]
enum Waits {
    BeforeItServes,
    InCalls,
}

struct Stuck;

#[tonic::async_trait]
impl Stock for Stuck {
    async fn reserve(&self, _: Request<ReserveRequest>) -> Result<Response<ReserveReply>, Status> {
        Notify::new().notified().await;
        unreachable!("nothing notifies it")
    }

    type TrackStream = BoxStream<'static, Result<TrackReply, Status>>;

    async fn track(&self, _: Request<TrackRequest>) -> Result<Response<Self::TrackStream>, Status> {
        Ok(Response::new(pending().boxed()))
    }
}

/// Returns the report of a scenario with processes that wait for ever.
fn report(name: &str, waits: Waits) -> String {
    let service = move |host: Host| async move {
        if let Waits::BeforeItServes = waits {
            Notify::new().notified().await;
        }
        host.serve(StockServer::new(Stuck)).await
    };
    let scenario = scenario("crash", &[&format!("name=\"{name}\"")]);
    let app = App::new().service("stock", service).load(reserve);
    sim::hold(&scenario, &app, 0..1).expect_err("no call succeeds").to_string()
}

#[test]
fn calls_to_a_process_that_waits_for_ever_end_with_a_status() {
    let report_of_calls = report("stuck_calls", Waits::InCalls);
    assert!(report_of_calls.contains("DEADLINE_EXCEEDED"), "{report_of_calls}");
    let report_of_starts = report("stuck_starts", Waits::BeforeItServes);
    assert!(report_of_starts.contains("UNAVAILABLE"), "{report_of_starts}");
}
