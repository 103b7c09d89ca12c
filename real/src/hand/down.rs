//! `real down`: the end of servers and proxies.

use std::time::Duration;

use clap::Args;
use futures_util::future::try_join_all;
use kernel::{
    cli::{Exit, Failure},
    world::World,
};
use rustix::process::Signal;
use tokio::runtime::Runtime;

use super::{
    identity::Hold,
    registry::{Entry, Registry},
    serve::STOP_TIMEOUT,
    target,
};
use crate::{clock::Clock, host::Host, timer::Timer};

/// Longer than it takes one that is to stop to give up on what has begun.
const TERMINATE_TIMEOUT: Duration = STOP_TIMEOUT.saturating_add(Duration::from_secs(2));

/// How long one that was killed may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// What to end.
#[derive(Debug, Clone, Args)]
pub struct DownArgs {
    /// Ids or ports; all that run if there is none
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Ends them; done when they are gone.
pub fn run(args: &DownArgs) -> Result<Exit, Failure> {
    let registry = Registry::of_user()?;
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
    // Those that were killed have left their entries.
    registry.entries()?;
    Ok(Exit::Passed)
}

async fn end(world: &Host, target: &Entry) -> Result<(), Failure> {
    let id = &target.id;
    let failed = |error| Failure::run_failed(format!("cannot end {id}: {error}"));
    let Some(process) = target.process.hold().map_err(failed)? else {
        println!("{id} had ended");
        return Ok(());
    };
    // A frozen one hears the first when the second lets it go on.
    process.signal(Signal::TERM).map_err(failed)?;
    process.signal(Signal::CONT).map_err(failed)?;
    if is_gone(world, &process, TERMINATE_TIMEOUT).await {
        println!("{id} has ended");
        return Ok(());
    }
    process.signal(Signal::KILL).map_err(failed)?;
    if is_gone(world, &process, KILL_TIMEOUT).await {
        println!("{id} did not end by itself and was killed");
        return Ok(());
    }
    Err(Failure::run_failed(format!("{id} (pid {}) cannot be killed", target.process.pid)))
}

/// Whether it ends within that time.
pub(super) async fn is_gone(world: &dyn World, process: &Hold, within: Duration) -> bool {
    let give_up = world.now() + within;
    while process.state().is_some() {
        if world.now() > give_up {
            return false;
        }
        world.sleep_until(world.now() + LOOK_INTERVAL).await;
    }
    true
}
