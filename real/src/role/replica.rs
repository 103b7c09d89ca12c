//! A replica's process.

use std::{future::pending, net::Ipv4Addr, sync::Arc};

use clap::Args;
use kernel::{record::Recorder, scenario, server};
use tokio::runtime::Runtime;

use super::{RoleError, die_with};
use crate::{clock::Clock, host::Host, message::ToOrchestrator, option::Capacity, tcp, timer::Timer};

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

    /// The process that must go on
    #[arg(long)]
    parent: u32,
}

impl ReplicaArgs {
    /// A replica of this process.
    pub(crate) fn new(id: &str, port: u16, servers: &scenario::Servers) -> Self {
        Self { id: id.to_owned(), port, capacity: Capacity::of(servers), parent: std::process::id() }
    }

    /// As a command line gives them.
    pub(crate) fn to_words(&self) -> Vec<String> {
        let own = [("--id", self.id.clone()), ("--port", self.port.to_string()), ("--parent", self.parent.to_string())];
        let own = own.into_iter().flat_map(|(option, value)| [option.to_owned(), value]);
        own.chain(self.capacity.to_words()).collect()
    }
}

/// Serves until it is killed.
pub fn run(args: &ReplicaArgs) -> Result<(), RoleError> {
    die_with(args.parent)?;
    let runtime = Runtime::new().map_err(RoleError::system("cannot start a runtime"))?;
    runtime.block_on(serve(args))
}

async fn serve(args: &ReplicaArgs) -> Result<(), RoleError> {
    let ReplicaArgs { id, port, capacity, .. } = args;
    let backlog =
        tcp::listen(*port).map_err(RoleError::system(format!("cannot listen at {}:{port}", Ipv4Addr::LOCALHOST)))?;
    let timer = Timer::start().map_err(RoleError::system("cannot start the timer's thread"))?;
    let world = Host::new(Clock::MACHINE, timer).listening(backlog).shared();
    let recorder = Recorder::new(world.clone(), id, Arc::new(ToOrchestrator));
    server::serve(world, recorder, id, capacity.settings(), pending())
        .await
        .map_err(RoleError::system("cannot go on serving"))
}
