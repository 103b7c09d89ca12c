//! The orchestrated run: starts the processes, plays the faults, collects the rows, and leaves nothing behind.

use std::{future::pending, io, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use futures_util::{
    StreamExt,
    future::{Either, select, try_join_all},
    stream::FuturesUnordered,
};
use kernel::{
    entropy::Entropy,
    nemesis::{Nemesis, OperationFailed},
    record::{Recorder, Records},
    scenario::Scenario,
    time::Instant,
    workload::{Inputs, pictures::PictureFileError},
    world::{BoxFuture, SharedWorld, timeout_at},
};
use tokio::{
    runtime::Runtime,
    sync::mpsc::{self, UnboundedReceiver},
};

use crate::{
    clock::{Clock, machine_ns},
    collector::{Collector, LoadEnded},
    generator::{Generator, Reports},
    host::Host,
    interrupt::Interrupt,
    live::{About, Live, View},
    message::Order,
    operations::RealOperations,
    process::ProcessFailed,
    replica::{NewProcess, Replica},
    tcp::ReservedPort,
    timer::Timer,
};

/// From when everything is ready until the run begins: time for the load process to learn of it.
const LEAD: Duration = Duration::from_millis(100);

/// How long an interrupted load process may take to put its calls to an end.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the rows of killed processes may take to arrive.
const COLLECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What to play.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The story.
    pub scenario: Scenario,
    /// Decides all that is drawn.
    pub seed: u64,
    /// Where the logs of the processes go.
    pub logs: PathBuf,
    /// How it is shown while it goes on.
    pub view: View,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Played {
    /// Every request, attempt and event.
    pub records: Records,
    /// For how long load was offered.
    pub duration: Duration,
    /// Whether it ended because someone wanted it to.
    pub interrupted: bool,
}

/// A run that could not be played.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The workload's pictures cannot be had.
    #[error(transparent)]
    Pictures(#[from] PictureFileError),
    /// A process did not start, or ended by itself.
    #[error(transparent)]
    Process(#[from] ProcessFailed),
    /// A fault could not be played.
    #[error(transparent)]
    Fault(#[from] OperationFailed),
    /// The operating system refused.
    #[error("{what}: {reason}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Its words.
        reason: io::Error,
    },
    /// Someone wanted it to end before it had begun.
    #[error("interrupted before the run began")]
    Interrupted,
    /// Someone wanted it to end, and a process did not.
    #[error("interrupted, but the calls under way could not be put to an end")]
    NotEnded,
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> RehearsalError {
    move |reason| RehearsalError::System { what, reason }
}

/// Plays `plan`. Whichever way it returns, no process is left.
pub fn play(plan: &Plan) -> Result<Played, RehearsalError> {
    // What cannot be played says so before anything starts.
    Inputs::for_workload(&plan.scenario.workload, Entropy::new(plan.seed))?;
    let runtime = Runtime::new().map_err(system("cannot start a runtime"))?;
    runtime.block_on(async {
        let mut interrupt = Interrupt::listen().map_err(system("cannot listen to signals"))?;
        let stage = match select(pin!(Stage::set(plan)), pin!(interrupt.next())).await {
            Either::Left((stage, _)) => stage?,
            Either::Right(_) => return Err(RehearsalError::Interrupted),
        };
        stage.play(plan, interrupt).await
    })
}

/// All processes, ready to begin.
struct Stage {
    timer: Timer,
    replicas: Vec<Arc<Replica>>,
    /// The output of every process that a replica starts.
    outputs: UnboundedReceiver<NewProcess>,
    generator: Generator,
    reports: Reports,
}

impl Stage {
    async fn set(plan: &Plan) -> Result<Self, RehearsalError> {
        let servers = &plan.scenario.servers;
        let timer = Timer::start().map_err(system("cannot start the timer's thread"))?;
        let (sender, outputs) = mpsc::unbounded_channel();
        let new = |index| -> io::Result<_> {
            Ok(Arc::new(Replica::new(index, ReservedPort::any()?, &plan.scenario, plan.seed, sender.clone())))
        };
        let replicas: Vec<_> = (0..servers.replicas)
            .map(new)
            .collect::<io::Result<_>>()
            .map_err(system("cannot reserve a port on the loopback device"))?;
        let world = world(&replicas, Clock::MACHINE, &timer);
        let starts = replicas.iter().map(|replica| replica.start(&world, &plan.logs));
        try_join_all(starts).await?;
        let addresses = replicas.iter().map(|replica| (replica.name().to_owned(), replica.address())).collect();
        let (generator, reports) =
            Generator::start(&plan.scenario, plan.seed, addresses, &plan.logs, timer.clone()).await?;
        Ok(Self { timer, replicas, outputs, generator, reports })
    }

    /// Plays, then stops everything, whatever came of it.
    async fn play(self, plan: &Plan, interrupt: Interrupt) -> Result<Played, RehearsalError> {
        let Self { timer, replicas, outputs, generator, reports } = self;
        let generator = Arc::new(generator);
        // A whole microsecond, so that the rows of all processes round alike.
        let epoch_us = (machine_ns() + LEAD.as_nanos() as u64) / 1_000;
        let clock = Clock::since(epoch_us * 1_000);
        let world = world(&replicas, clock, &timer);
        let live = Live::start(clock, &about(plan), plan.view).map_err(system("cannot start a thread"))?;
        let collector = Collector::new(live);
        let run = Run { plan, world, replicas, generator, collector, timer };
        let mut outputs = Outputs { new: outputs, epoch_us, collections: FuturesUnordered::new() };
        let played = run.play(epoch_us, reports, &mut outputs, interrupt).await;
        let stopped = run.stop_everything().await.map_err(system("cannot stop a process"));
        let (end_us, interrupted) = played?;
        stopped?;
        let late = run.world.now() + COLLECT_TIMEOUT;
        if timeout_at(&*run.world, late, outputs.drain(&run.collector)).await.is_err() {
            return Err(system("cannot collect all rows")(io::ErrorKind::TimedOut.into()));
        }
        let offered = Duration::from_micros(end_us).min(plan.scenario.duration);
        let duration = if interrupted { offered } else { plan.scenario.duration };
        Ok(Played { records: run.collector.take_until(end_us), duration, interrupted })
    }
}

/// A run that goes on.
struct Run<'a> {
    plan: &'a Plan,
    world: SharedWorld,
    replicas: Vec<Arc<Replica>>,
    generator: Arc<Generator>,
    collector: Arc<Collector>,
    timer: Timer,
}

impl Run<'_> {
    /// From the first order to the end of the load. When that was, in microseconds, and whether it was interrupted.
    async fn play(
        &self,
        epoch_us: u64,
        reports: Reports,
        outputs: &mut Outputs,
        mut interrupt: Interrupt,
    ) -> Result<(u64, bool), RehearsalError> {
        self.generator.tell(&Order::Begin { epoch_ns: epoch_us * 1_000 }).await?;
        let recorder = Recorder::new(self.world.clone(), "nemesis", self.collector.clone());
        let nemesis = Nemesis::new(self.world.clone(), &recorder, self.operations(), &self.plan.scenario);
        let mut faults = pin!(async {
            match nemesis.play(&self.plan.scenario.faults).await {
                Ok(()) => pending().await,
                Err(failed) => failed,
            }
        });
        let mut load = pin!(self.collector.collect_load(reports));
        let mut interrupted = false;
        let mut patience = Instant::NEVER;
        loop {
            tokio::select! {
                biased;
                ended = &mut load => return match ended {
                    LoadEnded::Done { at_us } => Ok((at_us, interrupted)),
                    LoadEnded::Silently => Err(self.generator.failure().await.into()),
                },
                failed = &mut faults, if !interrupted => return Err(failed.into()),
                name = outputs.failed(&self.collector) => return Err(self.failure(&name).await),
                () = interrupt.next(), if !interrupted => {
                    interrupted = true;
                    self.collector.interrupted();
                    patience = self.world.now() + CANCEL_TIMEOUT;
                    self.generator.tell(&Order::Cancel).await?;
                }
                () = self.world.sleep_until(patience) => return Err(RehearsalError::NotEnded),
            }
        }
    }

    fn operations(&self) -> Arc<RealOperations> {
        Arc::new(RealOperations {
            world: self.world.clone(),
            replicas: self.replicas.clone(),
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
        self.generator.kill().await
    }
}

/// What the processes of the replicas say.
struct Outputs {
    new: UnboundedReceiver<NewProcess>,
    epoch_us: u64,
    /// Each completes with the process, and says whose it was and whether it failed.
    collections: FuturesUnordered<BoxFuture<'static, (String, bool)>>,
}

impl Outputs {
    /// Collects until a process ends that should not.
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

    /// Collects until all processes have ended; no more will be started.
    async fn drain(mut self, collector: &Arc<Collector>) {
        self.new.close();
        while let Some(process) = self.new.recv().await {
            self.add(process, collector);
        }
        while self.collections.next().await.is_some() {}
    }

    fn add(&self, process: NewProcess, collector: &Arc<Collector>) {
        let (collector, epoch_us) = (collector.clone(), self.epoch_us);
        self.collections.push(Box::pin(async move {
            let name = process.name.clone();
            let failed = collector.collect_replica(process, epoch_us).await;
            (name, failed)
        }));
    }
}

fn about(plan: &Plan) -> About {
    let Plan { scenario, seed, .. } = plan;
    About {
        name: scenario.name.clone(),
        seed: *seed,
        duration: scenario.duration,
        servers: scenario.server_names().collect(),
    }
}

/// This process's World at a time of the run, or before it.
fn world(replicas: &[Arc<Replica>], clock: Clock, timer: &Timer) -> SharedWorld {
    let addresses = replicas.iter().map(|replica| (replica.name().to_owned(), replica.address())).collect();
    Host::new(clock, timer.clone()).knowing(addresses).shared()
}
