//! A replica's process.

use std::{
    future::pending,
    io::{self, BufRead, Write},
    net::Ipv4Addr,
    sync::Arc,
    thread,
};

use clap::Args;
use kernel::{
    entropy::Entropy,
    record::Recorder,
    scenario::Scenario,
    server::{self, Injector, ReplicaSettings},
};
use tokio::runtime::Runtime;

use super::{RoleError, die_with};
use crate::{
    clock::Clock,
    host::Host,
    message::{ReplicaCommand, ToOrchestrator},
    option::{BackendArgs, Capacity},
    tcp,
    timer::Timer,
};

/// How a replica is set up.
#[derive(Debug, Clone, Args)]
pub struct ReplicaArgs {
    /// What the replica is called
    #[arg(long)]
    id: String,

    /// Where it listens on the loopback device
    #[arg(long)]
    port: u16,

    #[command(flatten)]
    capacity: Capacity,

    #[command(flatten)]
    backend: BackendArgs,

    /// Decides all that is drawn
    #[arg(long)]
    seed: u64,

    /// The process that must go on
    #[arg(long)]
    parent: u32,
}

impl ReplicaArgs {
    /// A replica of this process.
    pub(crate) fn new(id: &str, port: u16, scenario: &Scenario, seed: u64) -> Self {
        let ReplicaSettings { backend, .. } = ReplicaSettings::new(&scenario.servers, &scenario.workload);
        Self {
            id: id.to_owned(),
            port,
            capacity: Capacity::from_settings(&scenario.servers),
            backend: BackendArgs::from_settings(&backend),
            seed,
            parent: std::process::id(),
        }
    }

    /// The arguments as a command line has them.
    pub(crate) fn to_words(&self) -> Vec<String> {
        let own = [
            ("--id", self.id.clone()),
            ("--port", self.port.to_string()),
            ("--seed", self.seed.to_string()),
            ("--parent", self.parent.to_string()),
        ];
        let own = own.into_iter().flat_map(|(option, value)| [option.to_owned(), value]);
        own.chain(self.capacity.to_words()).chain(self.backend.to_words()).collect()
    }
}

/// Serves until it is killed.
pub fn run(args: &ReplicaArgs) -> Result<(), RoleError> {
    die_with(args.parent)?;
    let runtime = Runtime::new().map_err(RoleError::system("cannot start a runtime"))?;
    runtime.block_on(serve(args))
}

async fn serve(args: &ReplicaArgs) -> Result<(), RoleError> {
    let ReplicaArgs { id, port, capacity, backend, .. } = args;
    let settings = capacity.settings(backend.settings().map_err(RoleError::Order)?);
    let backlog =
        tcp::listen(*port).map_err(RoleError::system(format!("cannot listen at {}:{port}", Ipv4Addr::LOCALHOST)))?;
    let timer = Timer::start().map_err(RoleError::system("cannot start the timer's thread"))?;
    let world = Host::new(Clock::MACHINE, timer).with_listener(backlog).shared();
    let recorder = Recorder::new(world.clone(), id, Arc::new(ToOrchestrator));
    let injector = Arc::new(Injector::new(Entropy::new(args.seed)));
    let orders = injector.clone();
    thread::Builder::new()
        .name("orders".to_owned())
        .spawn(move || obey(&orders))
        .map_err(RoleError::system("cannot start a thread"))?;
    server::serve(world, recorder, id, settings, injector, pending())
        .await
        .map_err(RoleError::system("cannot go on serving"))
}

/// Does what the orchestrator says. Ends with standard input, which the orchestrator holds open as long as it lives.
fn obey(injector: &Injector) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(ReplicaCommand::Inject(injection)) => injector.set(injection),
            Err(error) => {
                // Without a log there is no place to report it.
                let _ = writeln!(io::stderr(), "`{line}` is no order: {error}");
            }
        }
    }
}
