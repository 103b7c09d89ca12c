//! The resilient channel under a generated client, on plain tokio: one of two servers fails every call, and no caller sees it.
//!
//! ```console
//! $ cargo run -p real --example channel
//! ```

use std::{
    collections::BTreeMap,
    error::Error,
    future::pending,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use kernel::{
    client::Client,
    entropy::Entropy,
    link::Link,
    proto::rehearsal::{GetDataRequest, rehearsal_client::RehearsalClient},
    record::{Recorder, Row, Sink},
    scenario::Scenario,
    server::{self, InjectedErrors, Injection, Injector, ReplicaSettings},
    status::Code,
};

/// The settings of servers and client, as in a scenario file.
const SETTINGS: &str = r#"
name = "channel"
duration = "1s"

[load]
rate = 1.0

[workload]
kind = "backend"
failure_rate = 0.0

[client.retry]
max_attempts = 3
initial_backoff = "5ms"
"#;

const CALLS: u64 = 20;

/// Prints the attempts of the client, in place of a log.
struct Log;

impl Sink for Log {
    fn take(&self, row: Row) {
        if let Row::Attempt(attempt) = row {
            let cause = attempt.cause.unwrap_or_default();
            println!("  attempt {} at {}: {} {cause}", attempt.attempt, attempt.server, attempt.status.name());
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = Scenario::parse("settings", SETTINGS, &[])?;
    let mut addresses = BTreeMap::new();
    for (name, error_rate) in [("server-0", 1.0), ("server-1", 0.0)] {
        addresses.insert(name.to_owned(), start_server(name, error_rate, &settings)?);
    }
    let names: Vec<_> = addresses.keys().cloned().collect();

    let world = real::world(addresses)?;
    let entropy = Entropy::new(7);
    let links: Vec<_> = names.iter().map(|name| Link::new(world.clone(), entropy, name)).collect();
    let recorder = Recorder::new(world.clone(), "client", Arc::new(Log));
    let client = Client::start(world, entropy, recorder, settings.client, &links);

    // This is all that a program changes: the channel of its generated client.
    let mut stub = RehearsalClient::new(client.channel());
    let mut succeeded = 0;
    for number in 0..CALLS {
        println!("call {number}");
        match stub.get_data(GetDataRequest { request_id: number }).await {
            Ok(_) => succeeded += 1,
            Err(status) => println!("  {status}"),
        }
    }
    println!("{succeeded} of {CALLS} calls succeeded");
    Ok(())
}

/// Starts a server as a task that fails this share of its calls, and returns its address.
fn start_server(name: &'static str, error_rate: f64, settings: &Scenario) -> Result<SocketAddr, Box<dyn Error>> {
    let (world, address) = real::listening_world((Ipv4Addr::LOCALHOST, 0).into())?;
    let injector = Arc::new(Injector::new(Entropy::new(0)));
    let errors =
        vec![InjectedErrors { fault: 0, rate: error_rate, status: Some(Code::Unavailable), delay: Duration::ZERO }];
    injector.set(Injection { errors, ..Injection::default() });
    let recorder = Recorder::new(world.clone(), name, Arc::new(Log));
    let replica = ReplicaSettings::new(&settings.servers, &settings.workload);
    world.clone().spawn(Box::pin(async move {
        if let Err(error) = server::serve(world, recorder, name, replica, injector, pending()).await {
            eprintln!("the server has ended: {error}");
        }
    }));
    Ok(address)
}
