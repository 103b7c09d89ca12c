//! `real load`: the resilient client under load, against servers that run already.
//!
//! | module | contents |
//! | --- | --- |
//! | `args` | the command line, and the scenario that it describes |
//! | `watcher` | the thread that prints and logs rows |
//!
//! Rows are kept as those of a run are, in a folder of files that is removed when they have been measured: a load of days does not
//! fill the memory.

mod args;
mod watcher;

use std::{collections::BTreeMap, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use kernel::{
    cli::{Exit, Failure, print},
    entropy::Entropy,
    json::pretty,
    measure::Summary,
    run_folder::{Earlier, RunEnd, RunFolder, RunInfo},
    scenario::{Scenario, duration},
    visible::Visible,
    workload::{Inputs, Oracle},
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::Notify};

use super::log::log_line;
use crate::{
    caller::Caller,
    clock::{Clock, machine_ns},
    host::Host,
    interrupt::Interrupt,
    recording::{Queue, Recording},
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
    let inputs =
        Inputs::for_kinds(&scenario.workload, &scenario.load.request, entropy).map_err(Failure::wrong_input)?;
    let rows = Rows::begin(&scenario, args.seed)?;
    let watcher = Watcher::start(args, rows.queue())?;
    let runtime = Runtime::new().map_err(Failure::run_failed)?;
    let offered = runtime.block_on(offer(&scenario, entropy, inputs, &servers, watcher.feed()));
    // The load has ended, and open connections would keep their tasks waiting.
    runtime.shutdown_background();
    let duration = offered?;
    let logged = watcher.end()?;
    let summary = rows.measure(duration)?;
    let text = if args.json { pretty(&summary) } else { summary.render() };
    print(&text);
    if let (Err(error), Some(log)) = (logged, &args.log) {
        let log = log.visible();
        return Err(Failure::run_failed(format!("cannot write all of the log: {log}: {error}")));
    }
    Ok(summary.verdict().into())
}

/// The rows of a load, in a run folder that is removed in the end.
struct Rows {
    /// Holds the folder.
    place: TempDir,
    folder: RunFolder,
    info: RunInfo,
    scenario: Scenario,
    recording: Recording,
}

impl Rows {
    /// Creates the folder of a load of `scenario`.
    fn begin(scenario: &Scenario, seed: u64) -> Result<Self, Failure> {
        let mut scenario = scenario.clone();
        // Faults are injected by hand, so none is scripted. Servers can have any name here, so that the summary takes those that
        // answered from the rows.
        scenario.faults.clear();
        scenario.servers.replicas = 0;
        let info = RunInfo::new("real", seed);
        let place = TempDir::with_prefix("rehearsal-load-").map_err(Failure::run_failed)?;
        let folder = RunFolder::prepare(&place.path().join("load"), Earlier::Replace);
        let mut folder = folder.map_err(Failure::run_failed)?;
        let journal = folder.begin(&scenario, &info).map_err(Failure::run_failed)?;
        let recording = Recording::start(journal).map_err(Failure::run_failed)?;
        Ok(Self { place, folder, info, scenario, recording })
    }

    /// Returns what takes the rows.
    fn queue(&self) -> Arc<Queue> {
        self.recording.queue()
    }

    /// Measures the rows of a load that was offered for `duration`, and removes them.
    fn measure(self, duration: Duration) -> Result<Summary, Failure> {
        let Self { place, folder, info, scenario, recording } = self;
        recording.end().map_err(Failure::run_failed)?;
        // All rows count: the servers are not ended with the load.
        let end = RunEnd { duration, end_us: u64::MAX };
        let written = folder.conclude(&scenario, &info, end).map_err(Failure::run_failed)?;
        place.close().map_err(Failure::run_failed)?;
        Ok(written.summary)
    }
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
    let load = scenario.load.description(scenario.duration);
    let time = duration::text(scenario.duration);
    let named: Vec<_> = servers.iter().map(|(name, address)| format!("{name} ({address})")).collect();
    log_line(format!("{load} for {time} to {}; Ctrl-C ends it with the summary", named.join(", ")));
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
