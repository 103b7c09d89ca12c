//! The process of a store that a run has started: a key-value server.

use clap::Args;
use kernel::store;
use tokio::runtime::Runtime;
use tracing::info;

use super::{RoleError, die_with};
use crate::{
    clock::Clock,
    diagnostics,
    host::Host,
    message::{Report, ToOrchestrator},
    tcp,
    timer::Timer,
};

/// The subcommand of the process.
pub const ROLE: &str = "store";

/// The options of a store.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// Port of the loopback device
    #[arg(long)]
    port: u16,

    /// The most values that it holds
    #[arg(long)]
    values: usize,

    /// Id of the orchestrator, with which this process ends
    #[arg(long)]
    parent: u32,
}

impl StoreArgs {
    /// A store of this process, as a command line gives its options.
    pub(crate) fn words(port: u16, values: usize) -> Vec<String> {
        let options = [("--port", port.to_string()), ("--values", values.to_string())];
        let parent = ("--parent", std::process::id().to_string());
        options.into_iter().chain([parent]).flat_map(|(option, value)| [option.to_owned(), value]).collect()
    }
}

/// Serves until it is killed.
pub fn run(args: &StoreArgs) -> Result<(), RoleError> {
    diagnostics::start_in_run()?;
    let StoreArgs { port, values, parent } = *args;
    info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), parent, port, values, "store starts");
    die_with(parent)?;
    let runtime = Runtime::new().map_err(RoleError::system("cannot start a runtime"))?;
    runtime.block_on(async {
        let timer = Timer::start().map_err(RoleError::system("cannot start the timer's thread"))?;
        let backlog =
            tcp::listen(port, timer.clone()).map_err(RoleError::system(format!("cannot listen at port {port}")))?;
        let world = Host::new(Clock::MACHINE, timer).with_listener(backlog).shared();
        let reports = ToOrchestrator::start(false).map_err(RoleError::system("cannot send reports"))?;
        // The socket listens already.
        reports.send(&Report::Ready);
        store::serve(world, values).await.map_err(RoleError::system("cannot continue serving"))
    })
}
