//! `real down`: ends servers and proxies.

use std::{io, time::Duration};

use clap::Args;
use futures_util::future::try_join_all;
use kernel::{
    cli::{Exit, Failure},
    world::World,
};
use rustix::process::Signal;
use tokio::runtime::Runtime;

use super::{
    identity::ProcessHandle,
    registry::{Registry, RegistryEntry},
    serve::STOP_TIMEOUT,
    target,
};
use crate::{clock::Clock, host::Host, timer::Timer};

/// Time that a process may take to end after SIGTERM; longer than it waits for its requests under way.
const TERMINATE_TIMEOUT: Duration = STOP_TIMEOUT.saturating_add(Duration::from_secs(2));

/// Time that a process may take to end after SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between two checks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Options of `real down`.
#[derive(Debug, Clone, Args)]
pub struct DownArgs {
    /// The ids or ports of servers and proxies [default: all that run].
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Ends the targets, and waits until they have ended.
pub fn run(args: &DownArgs) -> Result<Exit, Failure> {
    let registry = Registry::for_user()?;
    let running = registry.entries()?;
    let targets = if args.targets.is_empty() { running } else { target::find_all(&running, &args.targets)? };
    if targets.is_empty() {
        eprintln!("nothing runs");
        return Ok(Exit::Passed);
    }
    Runtime::new().map_err(Failure::run_failed)?.block_on(async {
        let world = Host::new(Clock::MACHINE, Timer::start().map_err(Failure::run_failed)?);
        try_join_all(targets.iter().map(|target| end(&world, target))).await
    })?;
    // A process that was killed could not remove its entry; reading the entries does.
    registry.entries()?;
    Ok(Exit::Passed)
}

async fn end(world: &Host, target: &RegistryEntry) -> Result<(), Failure> {
    let id = &target.id;
    match terminate(world, target).await {
        Ok(Ended::Before) => println!("{id} had ended"),
        Ok(Ended::Terminated) => println!("{id} has ended"),
        Ok(Ended::Killed) => println!("{id} did not end by itself and was killed"),
        Ok(Ended::Never) => {
            return Err(Failure::run_failed(format!("{id} (pid {}) cannot be killed", target.process.pid)));
        }
        Err(error) => return Err(Failure::run_failed(format!("cannot end {id}: {error}"))),
    }
    Ok(())
}

/// How a process ended.
enum Ended {
    /// It had ended before.
    Before,
    /// It ended after SIGTERM.
    Terminated,
    /// It ended after SIGKILL only.
    Killed,
    /// It still runs.
    Never,
}

async fn terminate(world: &Host, target: &RegistryEntry) -> io::Result<Ended> {
    let Some(process) = target.process.hold()? else { return Ok(Ended::Before) };
    process.signal(Signal::TERM)?;
    // A frozen process handles SIGTERM only after it has been resumed.
    process.signal(Signal::CONT)?;
    if ends_within(world, &process, TERMINATE_TIMEOUT).await {
        return Ok(Ended::Terminated);
    }
    process.signal(Signal::KILL)?;
    Ok(if ends_within(world, &process, KILL_TIMEOUT).await { Ended::Killed } else { Ended::Never })
}

/// Waits until the process has ended. Returns false if it still runs after `within`.
pub(super) async fn ends_within(world: &dyn World, process: &ProcessHandle, within: Duration) -> bool {
    let give_up = world.now() + within;
    while process.state().is_some() {
        if world.now() > give_up {
            return false;
        }
        world.sleep_until(world.now() + LOOK_INTERVAL).await;
    }
    true
}
