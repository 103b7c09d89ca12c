//! A server and the resilient client in one program, without a scenario file or an orchestrator: the server fails a share
//! of its calls, and the client's retries hide it.
//!
//! ```console
//! $ cargo run -p real --example server_and_load
//! ```

use std::{
    collections::BTreeMap,
    error::Error,
    future::pending,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use kernel::{
    client::Client,
    entropy::Entropy,
    link::Link,
    load::LoadGenerator,
    record::{Recorder, Records, Row, Sink},
    scenario::Scenario,
    server::{self, InjectedErrors, Injection, Injector, ReplicaSettings},
    status::{Code, Outcome},
    sync::lock,
    workload::{Inputs, Oracle, WorkloadRequests},
};
use tokio::runtime::Runtime;

/// The settings of the server, the client and the load, as in a scenario file.
const SETTINGS: &str = r#"
name = "errors"
duration = "3s"

[load]
rate = 50.0
"#;

const SERVER: &str = "server-0";

/// The share of the calls that the server fails.
const ERROR_RATE: f64 = 0.2;

/// Keeps the rows of the load.
#[derive(Default)]
struct Memory(Mutex<Records>);

impl Sink for Memory {
    fn take(&self, row: Row) {
        lock(&self.0).push(row);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let settings = Scenario::parse("settings", SETTINGS, &[])?;
    let runtime = Runtime::new()?;
    let records = runtime.block_on(async {
        let address = start_server(&settings)?;
        offer_load(&settings, address).await
    })?;
    // The server has no end of its own.
    runtime.shutdown_background();

    let failed_attempts = records.attempts.iter().filter(|attempt| attempt.status != Code::Ok).count();
    let failed_requests = records.requests.iter().filter(|request| request.status != Outcome::OK).count();
    println!("{} attempts, {failed_attempts} failed", records.attempts.len());
    println!("{} requests, {failed_requests} failed", records.requests.len());
    Ok(())
}

/// Starts a server as a task, and returns its address.
fn start_server(settings: &Scenario) -> Result<SocketAddr, Box<dyn Error>> {
    let (world, address) = real::listening_world((Ipv4Addr::LOCALHOST, 0).into())?;
    let injector = Arc::new(Injector::new(Entropy::new(0)));
    let errors =
        vec![InjectedErrors { fault: 0, rate: ERROR_RATE, status: Some(Code::Unavailable), delay: Duration::ZERO }];
    injector.set(Injection { errors, ..Injection::default() });
    let recorder = Recorder::new(world.clone(), SERVER, Arc::new(Memory::default()));
    let replica = ReplicaSettings::new(&settings.servers, &settings.workload);
    world.clone().spawn(Box::pin(async move {
        if let Err(error) = server::serve(world, recorder, SERVER, replica, injector, pending()).await {
            eprintln!("the server has ended: {error}");
        }
    }));
    Ok(address)
}

/// Offers the load of `settings` to the server at `address`, and returns a row for each request and attempt.
async fn offer_load(settings: &Scenario, address: SocketAddr) -> Result<Records, Box<dyn Error>> {
    let world = real::world(BTreeMap::from([(SERVER.to_owned(), address)]))?;
    let entropy = Entropy::new(7);
    let memory = Arc::new(Memory::default());
    let recorder = Recorder::new(world.clone(), "client", memory.clone());
    let links = [Link::new(world.clone(), entropy, SERVER)];
    let client = Client::start(world.clone(), entropy, recorder.clone(), settings.client.clone(), &links);
    let inputs = Inputs::for_workload(&settings.workload, entropy)?;
    let oracle = Oracle::learned(&inputs);
    let load = LoadGenerator {
        world,
        entropy,
        recorder,
        client,
        requests: Arc::new(WorkloadRequests::new(inputs, entropy, oracle)),
        settings: settings.load.clone(),
        duration: settings.duration,
    };
    load.run().await?;
    Ok(std::mem::take(&mut *lock(&memory.0)))
}
