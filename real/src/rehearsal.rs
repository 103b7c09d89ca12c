//! An orchestrated run: starts the processes, plays the faults, collects the rows, and stops every process.

use std::{
    collections::BTreeMap,
    future::pending,
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::{Either, FusedFuture, select, try_join_all},
    stream::FuturesUnordered,
};
use kernel::{
    app::AppError,
    cli::Failure,
    entropy::{
        Entropy,
        branch::{self, Branch},
    },
    nemesis::{Nemesis, OperationFailed},
    record::Recorder,
    run_folder::{FolderError, Journal, RunEnd, RunFolder, RunInfo},
    scenario::Scenario,
    time::Instant,
    visible::Visible,
    workload::{Inputs, pictures::PictureFileError},
    world::{BoxFuture, SharedWorld, timeout_at},
};
use tokio::{
    runtime::Runtime,
    sync::mpsc::{self, UnboundedReceiver},
};

use crate::{
    app,
    clock::{Clock, machine_ns},
    collector::{Collector, LoadEnded},
    events::Waiting,
    export::Exporter,
    generator::{Generator, Reports},
    host::Host,
    interrupt::Interrupt,
    live::{Live, RunOverview, View},
    message::LoadCommand,
    operations::RealOperations,
    process::ProcessFailed,
    recording::Recording,
    remote::RemoteArgs,
    replica::{Measures, NewProcess, Replica},
    store::{RunStore, StoreFailed},
    tcp::ReservedPort,
    timer::Timer,
    tls::RunTls,
};

/// Time between the end of the preparations and the start of the run, for the load process to receive the start time.
const LEAD: Duration = Duration::from_millis(100);

/// Time that the load process may take to cancel its calls after an interrupt.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that the rows of killed processes may take to arrive.
const COLLECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A run to play.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The scenario to play.
    pub scenario: Scenario,
    /// Seed of all random draws.
    pub seed: u64,
    /// The times from which everything random is drawn again; none in most runs. The faults of `scenario` are played as they are.
    pub branches: Vec<Branch>,
    /// Folder for the logs of the processes, which must exist.
    pub logs: PathBuf,
    /// The view of the run on standard error.
    pub view: View,
    /// The services of an app record how long they compute, for a calibration.
    pub measures_computing: bool,
    /// Detectors of anomalies watch the results in steps of this length; none without it.
    pub detect: Option<Duration>,
    /// The store of the client's cache may be on another machine.
    pub allow_remote: bool,
}

/// The result of a run, beside its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// The end of the run.
    pub end: RunEnd,
    /// A signal ended the run before the end of its scenario.
    pub interrupted: bool,
}

/// An error that ends a run without a result.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The images of the workload cannot be read.
    #[error(transparent)]
    Pictures(#[from] PictureFileError),
    /// The program has no app for the scenario, or another one.
    #[error(transparent)]
    App(#[from] AppError),
    /// A process did not start, or ended by itself.
    #[error(transparent)]
    Process(#[from] ProcessFailed),
    /// The store of the client's cache could not be started, or has no address.
    #[error(transparent)]
    Store(#[from] StoreFailed),
    /// A fault could not be applied or reverted.
    #[error(transparent)]
    Fault(#[from] OperationFailed),
    /// A call to the operating system failed.
    #[error("{what}: {reason}")]
    System {
        /// Description of the failed action.
        what: &'static str,
        /// The error of the operating system.
        #[source]
        reason: io::Error,
    },
    /// The rows cannot be written to the folder of the run.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A signal arrived before the start of the run.
    #[error("interrupted before the run began")]
    Interrupted,
    /// A signal arrived, and the load process did not end its calls in time.
    #[error("interrupted, but the calls in progress could not be completed")]
    NotEnded,
}

impl RehearsalError {
    /// Returns the error with which a command ends, which names the folder where the rows of the run `remain`.
    pub fn into_failure(self, remains: Option<&Path>) -> Failure {
        let message = match remains {
            Some(folder) => format!("{self}\nwhat was recorded until then is in {}", folder.visible()),
            None => self.to_string(),
        };
        match self {
            Self::Pictures(_) | Self::App(_) | Self::Store(StoreFailed::Address(_)) => Failure::wrong_input(message),
            _ => Failure::run_failed(message),
        }
    }
}

pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> RehearsalError {
    move |reason| RehearsalError::System { what, reason }
}

/// Plays `plan` to the end of its scenario, or until a signal asks this process to end, and records it in `folder`, which
/// [`RunFolder::conclude`] then completes. No process of the run is left when it returns, also after an error.
///
/// Rows are in the folder a moment after they were recorded. If the run fails, the folder stays with those that it has, and
/// says what happened.
///
/// The processes run the program of this process with the arguments `replica` and `generator`, so that only `real` itself can call it,
/// and programs whose `main` is [`main`](crate::main).
///
/// # Errors
///
/// Fails if a process cannot start or ends by itself, if a fault cannot be applied, or if the folder cannot be written.
pub fn play(plan: &Plan, folder: &mut RunFolder, info: &RunInfo) -> Result<Played, RehearsalError> {
    play_exported(plan, folder, info, Outlets::default())
}

/// Where what happens in a run goes, beside its folder.
#[derive(Clone, Default)]
pub(crate) struct Outlets {
    /// Exports its metrics.
    pub(crate) exporter: Option<Exporter>,
    /// Takes its rows for a topic.
    pub(crate) events: Option<Arc<Waiting>>,
}

/// Plays `plan` as [`play`] does, and passes what happens on to `outlets`.
pub(crate) fn play_exported(
    plan: &Plan,
    folder: &mut RunFolder,
    info: &RunInfo,
    outlets: Outlets,
) -> Result<Played, RehearsalError> {
    let played = folder.begin(&plan.scenario, info).map_err(RehearsalError::from);
    let played = played.and_then(|journal| play_to(journal, plan, outlets));
    played.inspect_err(|error| folder.interrupt(&error.to_string()))
}

/// Plays `plan` and writes its rows to `journal`.
fn play_to(journal: Journal, plan: &Plan, outlets: Outlets) -> Result<Played, RehearsalError> {
    // Images that cannot be read should fail here, and not in a process that has already started.
    if app::for_scenario(&plan.scenario)?.is_none() {
        Inputs::for_kinds(&plan.scenario.workload, &plan.scenario.load.request, Entropy::new(plan.seed))?;
    }
    let runtime = Runtime::new().map_err(system("cannot start a runtime"))?;
    runtime.block_on(async {
        let mut interrupt = Interrupt::listen().map_err(system("cannot listen to signals"))?;
        let ready = match select(pin!(ReadyProcesses::start(plan, outlets.exporter)), pin!(interrupt.next())).await {
            Either::Left((ready, _)) => ready?,
            Either::Right(_) => return Err(RehearsalError::Interrupted),
        };
        let recording = Recording::start(journal, outlets.events)?;
        let played = ready.play(plan, &recording, interrupt).await;
        // The reason why rows could not be written says more than that the run ended.
        recording.end()?;
        played
    })
}

/// All processes of a run, ready to begin.
struct ReadyProcesses {
    timer: Timer,
    replicas: Vec<Arc<Replica>>,
    store: Option<RunStore>,
    /// The output of every process that a replica starts.
    outputs: UnboundedReceiver<NewProcess>,
    generator: Generator,
    reports: Reports,
    exporter: Option<Exporter>,
    tls: Option<RunTls>,
}

impl ReadyProcesses {
    async fn start(plan: &Plan, exporter: Option<Exporter>) -> Result<Self, RehearsalError> {
        let timer = Timer::start().map_err(system("cannot start the timer's thread"))?;
        let (sender, outputs) = mpsc::unbounded_channel();
        let tls = RunTls::for_scenario(&plan.scenario).map_err(system("cannot make certificates"))?;
        let mut replicas = Vec::new();
        for index in 0..plan.scenario.replicas() {
            let port = ReservedPort::any().map_err(system("cannot reserve a port on the loopback device"))?;
            replicas.push(Arc::new(Replica::new(
                index,
                port,
                (&plan.scenario, plan.seed),
                (
                    Measures { computing: plan.measures_computing, calls: exporter.is_some() },
                    tls.as_ref().map(|tls| tls.servers[index].clone()),
                ),
                sender.clone(),
            )));
        }
        let world = world(&replicas, Clock::MACHINE, &timer, tls.as_ref())?;
        let addresses: BTreeMap<_, _> =
            replicas.iter().map(|replica| (replica.name().to_owned(), replica.address())).collect();
        for (index, replica) in replicas.iter().enumerate() {
            replica.knows(&plan.scenario, index, &addresses);
        }
        // Those that are called first: one that starts connects at once, and waits before it tries again.
        for group in plan.scenario.start_order() {
            let starts = group.into_iter().map(|index| replicas[index].start(&world, &plan.logs));
            try_join_all(starts).await?;
        }
        let remote = RemoteArgs::new(plan.allow_remote);
        let store = RunStore::start(&plan.scenario, plan.seed, remote, (&plan.logs, &timer)).await?;
        let place = store.as_ref().map(|store| store.place().clone());
        let client = tls.as_ref().map(|tls| tls.client.clone());
        let (generator, reports) = Generator::start(
            &plan.scenario,
            (plan.seed, &plan.branches),
            (addresses, client, place),
            (&plan.logs, exporter.is_some()),
            timer.clone(),
        )
        .await?;
        Ok(Self { timer, replicas, store, outputs, generator, reports, exporter, tls })
    }

    /// Plays the run, then stops every process, also after an error.
    async fn play(self, plan: &Plan, recording: &Recording, interrupt: Interrupt) -> Result<Played, RehearsalError> {
        let Self { timer, replicas, store, outputs, generator, reports, exporter, tls } = self;
        let generator = Arc::new(generator);
        // A whole microsecond: rows have microseconds, and those of all processes then round in the same way.
        let epoch_us = (machine_ns() + LEAD.as_nanos() as u64) / 1_000;
        let clock = Clock::since(epoch_us * 1_000);
        let world = world(&replicas, clock, &timer, tls.as_ref())?;
        let live = Live::start(clock, &overview(plan), plan.view).map_err(system("cannot start a thread"))?;
        let collector = Collector::new(recording.queue(), live, exporter, plan.detect);
        let run = ActiveRun { plan, world, replicas, store, generator, collector: collector.clone(), timer };
        let mut outputs = ReplicaOutputs { new: outputs, epoch_us, collections: FuturesUnordered::new() };
        let mut load = pin!(collector.collect_load(reports).fuse());
        let played = run.play(epoch_us, load.as_mut(), &mut outputs, interrupt).await;
        // Before `played?`: a failed run must stop its processes as well.
        let stopped = run.stop_everything().await.map_err(system("cannot stop a process"));
        let late = run.world.now() + COLLECT_TIMEOUT;
        // Of a failed run, too: what its processes have sent before they ended is in their pipes.
        let rest = async {
            if !load.is_terminated() {
                load.await;
            }
            outputs.drain(&collector).await;
        };
        let collected = timeout_at(&*run.world, late, rest).await;
        let (end_us, interrupted) = played?;
        stopped?;
        if collected.is_err() {
            return Err(system("cannot collect all rows")(io::ErrorKind::TimedOut.into()));
        }
        let offered = Duration::from_micros(end_us).min(plan.scenario.duration);
        let duration = if interrupted { offered } else { plan.scenario.duration };
        Ok(Played { end: RunEnd { duration, end_us }, interrupted })
    }
}

/// A run under way.
struct ActiveRun<'a> {
    plan: &'a Plan,
    world: SharedWorld,
    replicas: Vec<Arc<Replica>>,
    store: Option<RunStore>,
    generator: Arc<Generator>,
    collector: Arc<Collector>,
    timer: Timer,
}

impl ActiveRun<'_> {
    /// Plays the run to the end of the load. Returns the time of the end in microseconds, and if a signal was the reason.
    async fn play(
        &self,
        epoch_us: u64,
        mut load: impl FusedFuture<Output = LoadEnded> + Unpin,
        outputs: &mut ReplicaOutputs,
        mut interrupt: Interrupt,
    ) -> Result<(u64, bool), RehearsalError> {
        self.generator.send(&LoadCommand::Begin { epoch_ns: epoch_us * 1_000 }).await?;
        let recorder = Recorder::new(self.world.clone(), "nemesis", self.collector.clone());
        let nemesis = Nemesis::new(self.world.clone(), &recorder, self.operations(), &self.plan.scenario);
        let mut faults = pin!(async {
            match nemesis.play(&self.plan.scenario.faults).await {
                // The load decides when the run ends, not the last fault.
                Ok(()) => pending().await,
                Err(failed) => failed,
            }
        });
        let mut branches = pin!(self.pass_branches().fuse());
        let mut interrupted = false;
        let mut give_up = Instant::NEVER;
        loop {
            // In this order: if the load has ended, what happens to a process afterwards is no failure.
            tokio::select! {
                biased;
                ended = &mut load => return match ended {
                    LoadEnded::Done { at_us } => Ok((at_us, interrupted)),
                    LoadEnded::Silently => Err(self.generator.failure().await.into()),
                },
                () = &mut branches => {}
                failed = &mut faults, if !interrupted => return Err(failed.into()),
                name = outputs.failed(&self.collector) => return Err(self.failure(&name).await),
                () = interrupt.next(), if !interrupted => {
                    interrupted = true;
                    self.collector.interrupted();
                    give_up = self.world.now() + CANCEL_TIMEOUT;
                    self.generator.send(&LoadCommand::Cancel).await?;
                }
                // The reason comes with the end of the recording.
                () = self.collector.cannot_write() => return Err(RehearsalError::NotEnded),
                () = self.world.sleep_until(give_up) => return Err(RehearsalError::NotEnded),
            }
        }
    }

    /// Tells the replicas of the branches, each at its time. The load process knows them.
    async fn pass_branches(&self) {
        for branch in branch::sorted(&self.plan.branches) {
            self.world.sleep_until(Instant::START + branch.at).await;
            self.replicas.iter().for_each(|replica| replica.pass(branch));
        }
    }

    fn operations(&self) -> Arc<RealOperations> {
        Arc::new(RealOperations {
            world: self.world.clone(),
            replicas: self.replicas.clone(),
            services: (0..self.plan.scenario.services.len())
                .map(|service| self.plan.scenario.servers_of_service(service))
                .collect(),
            generator: self.generator.clone(),
            logs: self.plan.logs.clone(),
        })
    }

    async fn failure(&self, name: &str) -> RehearsalError {
        let replica = self.replicas.iter().find(|replica| replica.name() == name);
        let failed = match replica {
            Some(replica) => replica.failure(&self.timer).await,
            None => None,
        };
        failed.map_or(RehearsalError::NotEnded, RehearsalError::Process)
    }

    async fn stop_everything(&self) -> io::Result<()> {
        for replica in &self.replicas {
            replica.crash().await?;
        }
        self.generator.kill().await?;
        match &self.store {
            Some(store) => store.stop().await,
            None => Ok(()),
        }
    }
}

/// The output of the replicas' processes.
struct ReplicaOutputs {
    new: UnboundedReceiver<NewProcess>,
    epoch_us: u64,
    /// One future per process. It completes when the process ends, with its name and true if that is a failure.
    collections: FuturesUnordered<BoxFuture<'static, (String, bool)>>,
}

impl ReplicaOutputs {
    /// Collects rows until a process ends that should not. Returns its name.
    async fn failed(&mut self, collector: &Arc<Collector>) -> String {
        loop {
            tokio::select! {
                biased;
                Some(process) = self.new.recv() => self.add(process, collector),
                Some((name, failed)) = self.collections.next() => if failed {
                    return name;
                },
                else => pending().await,
            }
        }
    }

    /// Collects rows until all processes have ended. No process is started any more.
    async fn drain(mut self, collector: &Arc<Collector>) {
        self.new.close();
        while let Some(process) = self.new.recv().await {
            self.add(process, collector);
        }
        while self.collections.next().await.is_some() {}
    }

    fn add(&self, process: NewProcess, collector: &Arc<Collector>) {
        let collector = collector.clone();
        let epoch_us = self.epoch_us;
        self.collections.push(Box::pin(async move {
            let name = process.name.clone();
            let failed = collector.collect_replica(process, epoch_us).await;
            (name, failed)
        }));
    }
}

fn overview(plan: &Plan) -> RunOverview {
    let Plan { scenario, seed, .. } = plan;
    RunOverview {
        name: scenario.name.clone(),
        seed: *seed,
        duration: scenario.duration,
        servers: scenario.entry_names(),
        expectations: scenario.expectations.clone(),
    }
}

/// The `World` of this process, with the clock of the run or, before it starts, of the machine. Its health checks are encrypted as the
/// connections of the client are.
fn world(
    replicas: &[Arc<Replica>],
    clock: Clock,
    timer: &Timer,
    tls: Option<&RunTls>,
) -> Result<SharedWorld, RehearsalError> {
    let tls = tls.map(|tls| tls.client.client()).transpose();
    let tls = tls.map_err(io::Error::from).map_err(system("cannot use the certificates of the run"))?;
    let addresses = replicas.iter().map(|replica| (replica.name().to_owned(), replica.address())).collect();
    Ok(Host::new(clock, timer.clone()).with_servers(addresses).with_tls(tls).shared())
}
