//! `real load`: the resilient client under load, against servers that run already.
//!
//! | module | contents |
//! | --- | --- |
//! | `args` | the command line, and the scenario that it describes |
//! | `changed` | the settings that others change meanwhile |
//! | `injected` | the faults that others inject meanwhile, as events of the load |
//! | `watcher` | the thread that prints and logs rows |
//!
//! Rows are kept as those of a run are, in a folder of files, so that a load of days does not fill the memory. With `--out` the
//! folder stays, and `reports` reads it; otherwise it is removed when the rows have been measured.

mod args;
mod changed;
mod injected;
mod watcher;

use std::{collections::BTreeMap, fs::File, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, join, select};
use kernel::{
    cli::{Exit, Failure, print},
    entropy::Entropy,
    export::Observer,
    json::pretty,
    measure::Summary,
    record::Name,
    run_folder::{Earlier, RunEnd, RunFolder, RunInfo},
    scenario::{Scenario, Servers, duration},
    tls::Tls,
    visible::Visible,
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::Notify};

use super::log::log_line;
use crate::{
    app,
    asked::Asked,
    caller::Caller,
    clock::{Clock, machine_ns},
    events::Stream,
    export::Exporter,
    facts,
    host::Host,
    interrupt::Interrupt,
    location::Location,
    recording::{Queue, Recording},
    store::{self, StorePlace},
    timer::Timer,
};
pub use args::LoadArgs;
use changed::ChangedSettings;
use injected::InjectedFaults;
use watcher::{Feed, Watcher};

/// Name of the log of this process, in the folder of logs.
const LOG: &str = "load.log";

/// Time that the calls under way may take to end after Ctrl-C.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Offers the load to its end, or until Ctrl-C, and prints the summary.
pub fn run(args: &LoadArgs) -> Result<Exit, Failure> {
    args.metrics.check()?;
    let scenario = args.scenario()?;
    app::check(&scenario).map_err(Failure::wrong_input)?;
    app::has_one_service()?;
    let servers = args.servers()?;
    let tls = args.tls.tls(&servers)?;
    let store = store::of_load(&scenario, args.seed, args.metrics.remote())?;
    let outlets = args.metrics.open()?;
    let names: Vec<_> = servers.iter().map(|(name, _)| Name::from(name)).collect();
    let observer = Observer::of_load(&scenario, &names, args.seed, "real");
    let exporter = outlets.map(|outlets| Exporter::start(outlets, observer)).transpose()?;
    let entropy = Entropy::new(args.seed);
    let asked = Asked::prepare(&scenario, entropy).map_err(Failure::wrong_input)?;
    let events = args.events.open(&scenario.name, args.seed)?;
    let start = || events.map(|events| events.start("real", exporter.clone())).transpose();
    let mut rows = Rows::begin(&scenario, args, servers.len(), start)?;
    let watcher = Watcher::start(args, rows.take_log(), rows.queue(), exporter)?;
    let runtime = Runtime::new().map_err(Failure::run_failed)?;
    let offered = runtime.block_on(offer(&scenario, entropy, asked, (&servers, tls, store), watcher.feed()));
    // The load has ended, and open connections would keep their tasks waiting.
    runtime.shutdown_background();
    let duration = offered?;
    let logged = watcher.end()?;
    let (summary, folder) = rows.measure(duration)?;
    let text = match (args.json, folder) {
        (true, _) => pretty(&summary),
        (false, None) => summary.render(),
        (false, Some(folder)) => format!("{}\n  folder  {}\n", summary.render(), folder.visible()),
    };
    print(&text);
    if let (Err(error), Some(log)) = (logged, &args.log) {
        let log = log.visible();
        return Err(Failure::run_failed(format!("cannot write all of the log: {log}: {error}")));
    }
    Ok(summary.verdict().into())
}

/// The rows of a load, in a run folder.
struct Rows {
    /// Holds the folder, which is removed in the end; `None` if the user has asked for the folder.
    temporary: Option<TempDir>,
    folder: RunFolder,
    /// The log of this process, in the folder that the user has asked for.
    log: Option<File>,
    info: RunInfo,
    scenario: Scenario,
    recording: Recording,
    /// Sends the rows to a topic, too.
    stream: Option<Stream>,
}

impl Rows {
    /// Creates the folder of a load of `scenario` on this number of servers, and then starts the stream of its rows, if there is one.
    fn begin(
        scenario: &Scenario,
        args: &LoadArgs,
        servers: usize,
        start: impl FnOnce() -> Result<Option<Stream>, Failure>,
    ) -> Result<Self, Failure> {
        let mut scenario = scenario.clone();
        // Faults are injected by hand, so none is scripted. Servers can have any name here, so that the summary takes those that
        // answered from the rows.
        scenario.faults.clear();
        scenario.servers.replicas = 0;
        let mut info = RunInfo::new("real", args.seed);
        info.host = Some(facts::host());
        info.started = Some(facts::now());
        let temporary = match args.out {
            Some(_) => None,
            None => Some(TempDir::with_prefix("rehearsal-load-").map_err(Failure::run_failed)?),
        };
        let temporary_place = temporary.as_ref().map(|temporary| temporary.path().join("load"));
        let place = args.out.clone().or(temporary_place).unwrap_or_default();
        let earlier = if args.force { Earlier::Force } else { Earlier::Keep };
        let mut folder = RunFolder::prepare(&place, earlier).map_err(Failure::wrong_input)?;
        let log = args.out.is_some().then(|| -> Result<File, Failure> {
            let logs = folder.logs().map_err(Failure::wrong_input)?;
            File::create(logs.join(LOG)).map_err(Failure::run_failed)
        });
        let log = log.transpose()?;
        // What is written must be a scenario that can be read again.
        let written =
            Scenario { servers: Servers { replicas: servers, ..scenario.servers.clone() }, ..scenario.clone() };
        let journal = folder.begin(&written, &info).map_err(Failure::run_failed)?;
        let stream = start()?;
        let recording = Recording::start(journal, stream.as_ref().map(Stream::waiting)).map_err(Failure::run_failed)?;
        Ok(Self { temporary, folder, log, info, scenario, recording, stream })
    }

    /// Takes the log of this process, if there is one.
    fn take_log(&mut self) -> Option<File> {
        self.log.take()
    }

    /// Returns what takes the rows.
    fn queue(&self) -> Arc<Queue> {
        self.recording.queue()
    }

    /// Measures the rows of a load that was offered for `duration`. Returns the summary, and the folder if it stays.
    fn measure(self, duration: Duration) -> Result<(Summary, Option<PathBuf>), Failure> {
        let Self { temporary, folder, mut info, scenario, recording, stream, .. } = self;
        let recorded = recording.end();
        info.events = stream.map(Stream::end);
        recorded.map_err(Failure::run_failed)?;
        // All rows count: the servers are not ended with the load.
        let end = RunEnd { duration, end_us: u64::MAX };
        let written = folder.conclude(&scenario, &info, end).map_err(Failure::run_failed)?;
        let stays = temporary.is_none();
        temporary.map_or(Ok(()), TempDir::close).map_err(Failure::run_failed)?;
        Ok((written.summary, stays.then_some(written.placed.place)))
    }
}

/// Offers the load. Returns for how long: the duration of the scenario, or less after Ctrl-C.
async fn offer(
    scenario: &Scenario,
    entropy: Entropy,
    asked: Asked,
    (servers, tls, store): (&[(String, Location)], Option<Tls>, Option<StorePlace>),
    feed: Arc<Feed>,
) -> Result<Duration, Failure> {
    let mut interrupt = Interrupt::listen().map_err(Failure::run_failed)?;
    let load = scenario.load.description(scenario.duration);
    let time = duration::text(scenario.duration);
    let named: Vec<_> = servers.iter().map(|(name, place)| format!("{name} ({})", place.address())).collect();
    log_line(format!("{load} for {time} to {}; Ctrl-C ends it with the summary", named.join(", ")));
    let of_store = store.as_ref().map(StorePlace::location);
    let locations: BTreeMap<_, _> = servers.iter().cloned().chain(of_store).collect();
    let names: Vec<_> = servers.iter().map(|(name, _)| name.clone()).collect();
    let timer = Timer::start().map_err(Failure::run_failed)?;
    let epoch_ns = machine_ns();
    let world = Host::new(Clock::since(epoch_ns), timer).with_locations(locations).with_tls(tls).shared();
    let store = store.map(|store| store.access(&world, entropy));
    let caller = Caller::new(scenario.clone(), entropy, world.clone(), (&names, store)).changed_by_hand();
    let cancelled = Notify::new();
    let mut faults = InjectedFaults::begin(servers, epoch_ns, feed.clone())?;
    let mut changes = ChangedSettings::begin(scenario, epoch_ns, feed.clone())?;
    let offering = async {
        let offered = pin!(caller.offer(asked, feed, cancelled.notified()));
        let watching = join(faults.watch(&world), changes.watch(&caller, &world));
        let ended = match select(offered, pin!(watching)).await {
            Either::Left((ended, _)) => ended,
            Either::Right(_) => Ok(()),
        };
        // What happened since the last look.
        faults.look();
        changes.look(&caller, world.now());
        ended.map_err(Failure::run_failed)
    };
    let mut load = pin!(offering);
    if let Either::Left((ended, _)) = select(load.as_mut(), pin!(interrupt.next())).await {
        return ended.map(|()| scenario.duration);
    }
    let offered = Duration::from_micros(world.now().as_micros()).min(scenario.duration);
    log_line(format!("interrupted after {:.1} s", offered.as_secs_f64()));
    cancelled.notify_one();
    match select(load, world.sleep_until(world.now() + CANCEL_TIMEOUT)).await {
        Either::Left((ended, _)) => ended.map(|()| offered),
        Either::Right(_) => Err(Failure::run_failed("the calls in progress could not be completed")),
    }
}
