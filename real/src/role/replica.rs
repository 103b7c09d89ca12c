//! A replica's process.

use std::{future::pending, net::Ipv4Addr, sync::Arc, time::Duration};

use clap::Args;
use kernel::{
    record::Recorder,
    scenario,
    server::{self, Settings},
};
use tokio::runtime::Runtime;

use super::{RoleError, die_with};
use crate::{clock::Clock, host::Host, message::ToOrchestrator, tcp, timer::Timer};

/// How a replica is set up.
#[derive(Debug, Clone, Args)]
pub struct ReplicaArgs {
    /// What the replica is called
    #[arg(long)]
    id: String,

    /// Where it listens on the loopback device
    #[arg(long)]
    port: u16,

    /// Kernels running at once
    #[arg(long)]
    workers: usize,

    /// Requests waiting beyond those
    #[arg(long)]
    queue: usize,

    /// A request holds its worker at least this long, in nanoseconds
    #[arg(long)]
    service_time_min_ns: u64,

    /// The process that must go on
    #[arg(long)]
    parent: u32,
}

impl ReplicaArgs {
    /// A replica of this process.
    pub(crate) fn new(id: &str, port: u16, servers: &scenario::Servers) -> Self {
        Self {
            id: id.to_owned(),
            port,
            workers: servers.workers,
            queue: servers.queue,
            service_time_min_ns: servers.service_time_min.as_nanos().try_into().unwrap_or(u64::MAX),
            parent: std::process::id(),
        }
    }

    /// As a command line gives them.
    pub(crate) fn to_words(&self) -> Vec<String> {
        [
            ("--id", self.id.clone()),
            ("--port", self.port.to_string()),
            ("--workers", self.workers.to_string()),
            ("--queue", self.queue.to_string()),
            ("--service-time-min-ns", self.service_time_min_ns.to_string()),
            ("--parent", self.parent.to_string()),
        ]
        .into_iter()
        .flat_map(|(option, value)| [option.to_owned(), value])
        .collect()
    }
}

/// Serves until it is killed.
pub fn run(args: &ReplicaArgs) -> Result<(), RoleError> {
    die_with(args.parent)?;
    let runtime = Runtime::new().map_err(RoleError::system("cannot start a runtime"))?;
    runtime.block_on(serve(args))
}

async fn serve(args: &ReplicaArgs) -> Result<(), RoleError> {
    let ReplicaArgs { id, port, workers, queue, service_time_min_ns, .. } = args;
    let backlog =
        tcp::listen(*port).map_err(RoleError::system(format!("cannot listen at {}:{port}", Ipv4Addr::LOCALHOST)))?;
    let timer = Timer::start().map_err(RoleError::system("cannot start the timer's thread"))?;
    let world = Host::new(Clock::MACHINE, timer).listening(backlog).shared();
    let recorder = Recorder::new(world.clone(), id, Arc::new(ToOrchestrator));
    let settings =
        Settings { workers: *workers, queue: *queue, service_time_min: Duration::from_nanos(*service_time_min_ns) };
    server::serve(world, recorder, id, settings, pending()).await.map_err(RoleError::system("cannot go on serving"))
}
