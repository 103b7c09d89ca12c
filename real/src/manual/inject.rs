//! `real inject`: injects faults into running servers and proxies.
//!
//! | module | contents |
//! | --- | --- |
//! | `args` | the command line |
//! | `command` | the action on one target |
//! | `revert` | the end of a fault that has a duration |

mod args;
mod command;
mod revert;

use std::pin::pin;

use futures_util::future::{Either, select};
use kernel::{
    cli::{Exit, Failure},
    scenario::duration,
    time::Instant,
    world::SharedWorld,
};
use tokio::runtime::Runtime;

use super::{
    fault_log::command_id,
    log::log_line,
    registry::{Registry, RegistryEntry},
    target,
};
use crate::{clock::Clock, host::Host, interrupt::Interrupt, timer::Timer};
pub use args::InjectArgs;
use args::InjectRequest;
use command::InjectTarget;
use revert::Revert;

/// Injects a fault into every target, as often as it is repeated. With a duration, returns after the fault has been reverted.
///
/// Fails if a target is unknown, has ended or does not answer; the targets before it then keep a fault without a duration.
pub fn run(args: &InjectArgs) -> Result<Exit, Failure> {
    let registry = Registry::for_user()?;
    let request = args.request()?;
    let targets = target::find_all(&registry.entries()?, &request.targets)?;
    let runtime = Runtime::new().map_err(Failure::run_failed)?;
    runtime.block_on(async {
        let mut interrupt = Interrupt::listen().map_err(Failure::run_failed)?;
        let world = Host::new(Clock::MACHINE, Timer::start().map_err(Failure::run_failed)?).shared();
        if let Some(delay) = request.delay {
            let name = request.command.name();
            log_line(format!("in {}: {name} {}", duration::text(delay), request.targets.join(", ")));
            if wait_until(&world, world.now() + delay, &mut interrupt).await == Waited::Interrupted {
                return Err(Failure::run_failed("interrupted before anything was injected"));
            }
        }
        let begun = world.now();
        let count = request.repetition.map_or(Some(1), |repetition| repetition.count);
        for occurrence in 1.. {
            if inject(&registry, &request, &targets, &world, &mut interrupt).await? == Waited::Interrupted {
                break;
            }
            let Some(repetition) = request.repetition.filter(|_| count.is_none_or(|count| occurrence < count)) else {
                break;
            };
            // From the start, so that the time that an injection takes does not add up.
            let next = begun + repetition.every * u32::try_from(occurrence).unwrap_or(u32::MAX);
            if wait_until(&world, next, &mut interrupt).await == Waited::Interrupted {
                break;
            }
        }
        Ok(Exit::Passed)
    })
}

/// Injects the fault once, and reverts it after its duration, or earlier at an interrupt.
async fn inject(
    registry: &Registry,
    request: &InjectRequest,
    targets: &[RegistryEntry],
    world: &SharedWorld,
    interrupt: &mut Interrupt,
) -> Result<Waited, Failure> {
    let command = command_id();
    let mut reverts = Vec::new();
    let mut injected = Ok(());
    let mut waited = Waited::Elapsed;
    for target in targets {
        let socket = registry.socket(&target.id);
        let target = InjectTarget { entry: target, socket: &socket, folder: registry.folder(), command: &command };
        match request.command.apply(world, &target, request.duration).await {
            Ok(revert) => reverts.extend(revert),
            Err(failure) => {
                injected = Err(failure);
                break;
            }
        }
    }
    if let (Ok(()), Some(duration)) = (&injected, request.duration) {
        // Ctrl-C only shortens the wait: either way the faults are reverted now.
        waited = wait_until(world, world.now() + duration, interrupt).await;
    }
    // Also after a failure: a fault with a duration must not outlive this process on the targets that have it.
    reverts.into_iter().try_for_each(Revert::now)?;
    injected.map(|()| waited)
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    Elapsed,
    Interrupted,
}

async fn wait_until(world: &SharedWorld, time: Instant, interrupt: &mut Interrupt) -> Waited {
    match select(world.sleep_until(time), pin!(interrupt.next())).await {
        Either::Left(_) => Waited::Elapsed,
        Either::Right(_) => Waited::Interrupted,
    }
}
