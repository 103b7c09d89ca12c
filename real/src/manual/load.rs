//! `real load`: the resilient client under open-loop load, against servers that run already.
//!
//! | module | contents |
//! | --- | --- |
//! | `args` | the command line, and the scenario that it describes |
//! | `watcher` | the thread that prints, logs and keeps rows |

mod args;
mod watcher;

use std::{collections::BTreeMap, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use kernel::{
    cli::{Exit, Failure, print},
    entropy::Entropy,
    json::pretty,
    measure::{RunLabel, RunRows, Script, Summary},
    scenario::{Scenario, duration},
    visible::Visible,
    workload::{Inputs, Oracle},
};
use tokio::{runtime::Runtime, sync::Notify};

use super::log::log_line;
use crate::{
    caller::Caller,
    clock::{Clock, machine_ns},
    host::Host,
    interrupt::Interrupt,
    timer::Timer,
};
pub use args::LoadArgs;
use watcher::{Feed, Watcher};

/// Time that the calls under way may take to end after Ctrl-C.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Offers the load to its end, or until Ctrl-C, and prints the summary.
pub fn run(args: &LoadArgs) -> Result<Exit, Failure> {
    let scenario = args.scenario()?;
    let servers = args.servers()?;
    let entropy = Entropy::new(args.seed);
    let inputs = Inputs::for_workload(&scenario.workload, entropy).map_err(Failure::wrong_input)?;
    let watcher = Watcher::start(args)?;
    let runtime = Runtime::new().map_err(Failure::run_failed)?;
    let offered = runtime.block_on(offer(&scenario, entropy, inputs, &servers, watcher.feed()));
    // The load has ended, and open connections would keep their tasks waiting.
    runtime.shutdown_background();
    let duration = offered?;
    let (records, logged) = watcher.end()?;

    // Servers can have any name here, so that the summary takes those that answered from the rows.
    let run = RunRows::new(0, duration, &records);
    let label = RunLabel { scenario: &scenario.name, seed: args.seed, world: "real" };
    // Faults are injected by hand, so none is scripted.
    let script = Script { faults: &[], ..scenario.script() };
    let summary = Summary::compute(label, &run, &script);
    let text = if args.json { pretty(&summary) } else { summary.render() };
    print(&text);
    if let (Err(error), Some(log)) = (logged, &args.log) {
        let log = log.visible();
        return Err(Failure::run_failed(format!("cannot write all of the log: {log}: {error}")));
    }
    Ok(summary.verdict().into())
}

/// Offers the load. Returns for how long: the duration of the scenario, or less after Ctrl-C.
async fn offer(
    scenario: &Scenario,
    entropy: Entropy,
    inputs: Inputs,
    servers: &[(String, SocketAddr)],
    feed: Arc<Feed>,
) -> Result<Duration, Failure> {
    let mut interrupt = Interrupt::listen().map_err(Failure::run_failed)?;
    let rate = scenario.load.rate;
    let time = duration::text(scenario.duration);
    let named: Vec<_> = servers.iter().map(|(name, address)| format!("{name} ({address})")).collect();
    log_line(format!("{rate} requests/s for {time} to {}; Ctrl-C ends it with the summary", named.join(", ")));
    let oracle = Oracle::learned(&inputs);
    let addresses: BTreeMap<_, _> = servers.iter().cloned().collect();
    let names: Vec<_> = servers.iter().map(|(name, _)| name.clone()).collect();
    let timer = Timer::start().map_err(Failure::run_failed)?;
    let world = Host::new(Clock::since(machine_ns()), timer).with_servers(addresses).shared();
    let caller = Caller::new(scenario.clone(), entropy, world.clone(), &names);
    let cancelled = Notify::new();
    let mut load = pin!(caller.offer(inputs, oracle, feed, cancelled.notified()));
    if let Either::Left(_) = select(load.as_mut(), pin!(interrupt.next())).await {
        return Ok(scenario.duration);
    }
    let offered = Duration::from_micros(world.now().as_micros()).min(scenario.duration);
    log_line(format!("interrupted after {:.1} s", offered.as_secs_f64()));
    cancelled.notify_one();
    match select(load, world.sleep_until(world.now() + CANCEL_TIMEOUT)).await {
        Either::Left(_) => Ok(offered),
        Either::Right(_) => Err(Failure::run_failed("the calls in progress could not be completed")),
    }
}
