//! A simulated replica: the processes that it runs one after another, each starting, up, then down.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use kernel::{
    entropy::Entropy,
    nemesis::Effect,
    record::Recorder,
    server::{Injection, Injector, Tuning},
    sync::lock,
    world::{BoxFuture, SharedWorld, World},
};

use tokio::sync::watch;

use crate::{
    error::SimulationError,
    host::{Host, ProcessState, Shared},
    host_id::HostId,
    machine::Machine,
    process::{Process, RuntimeKind},
};

/// The function that a replica's process runs.
type Serve = dyn Fn(ReplicaProcess) -> BoxFuture<'static, io::Result<()>> + Send + Sync;

/// A process of a replica.
#[derive(Clone)]
pub(crate) struct ReplicaProcess {
    /// The World of its code.
    pub(crate) world: SharedWorld,
    pub(crate) recorder: Recorder,
    /// The index of its server.
    pub(crate) index: usize,
    /// The name of its server.
    pub(crate) name: String,
    pub(crate) injector: Arc<Injector>,
    /// The state that all hosts share.
    pub(crate) shared: Arc<Shared>,
}

/// The software of replicas.
#[derive(Clone)]
pub(crate) struct Software {
    serve: Arc<Serve>,
    runtime: RuntimeKind,
}

impl Software {
    /// Creates software that keeps to the World.
    pub(crate) fn new(
        serve: impl Fn(ReplicaProcess) -> BoxFuture<'static, io::Result<()>> + Send + Sync + 'static,
    ) -> Self {
        Self { serve: Arc::new(serve), runtime: RuntimeKind::Shared }
    }

    /// Returns the software, each process of which has such a runtime.
    pub(crate) fn in_runtime(self, runtime: RuntimeKind) -> Self {
        Self { runtime, ..self }
    }

    /// Runs a process.
    pub(crate) fn serve(&self, process: ReplicaProcess) -> BoxFuture<'static, io::Result<()>> {
        (self.serve)(process)
    }
}

/// One replica, through all its processes.
pub(crate) struct Replica {
    index: usize,
    name: String,
    host: Arc<Host>,
    recorder: Recorder,
    software: Software,
    injector: Arc<Injector>,
    run: Mutex<Run>,
    /// The process, if it has a runtime of its own.
    process: Mutex<Option<Arc<Process>>>,
    /// Processes that were started after a crash.
    restarts: AtomicU64,
    /// The number of restarts before the last process that has ended.
    ended: watch::Sender<Option<u64>>,
}

/// The present process of a replica, and the operations on it.
#[derive(Debug, Default)]
struct Run {
    /// A process has to be started, as soon as the one before it is gone.
    is_wanted: bool,
    /// There is a process, or one that was killed and whose tasks have not been dropped yet.
    is_there: bool,
    /// Processes that have begun to run their software.
    starts: u64,
}

impl Replica {
    /// Creates a replica whose first process is about to listen when the run begins.
    pub(crate) fn new(
        (index, name): (usize, String),
        machine: Arc<Machine>,
        shared: &Arc<Shared>,
        recorder: &Recorder,
        software: Software,
        entropy: Entropy,
    ) -> Arc<Self> {
        let host = Arc::new(Host::new(HostId::server(index), machine, shared.clone()));
        let recorder = recorder.with_source(host.clone(), &name);
        let injector = Arc::new(Injector::new(entropy));
        Arc::new(Self {
            index,
            name,
            host,
            recorder,
            software,
            injector,
            run: Mutex::new(Run { is_wanted: true, ..Run::default() }),
            process: Mutex::default(),
            restarts: AtomicU64::new(0),
            ended: watch::Sender::new(None),
        })
    }

    /// Returns the server's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Starts the process that is wanted, in the machine's next turn, unless the one before it is still there: then its end
    /// does.
    pub(crate) fn launch(self: &Arc<Self>) {
        let replica = self.clone();
        self.host.machine.in_turn(move || replica.launch_in_turn());
    }

    fn launch_in_turn(self: Arc<Self>) {
        let start = {
            let run = &mut *lock(&self.run);
            // A process that was killed before it ran has yet to exit, too.
            if !run.is_wanted || run.is_there || self.host.gate.is_killed() {
                return;
            }
            *run = Run { is_wanted: false, is_there: true, starts: run.starts + 1 };
            run.starts
        };
        let host = self.host.clone();
        host.spawn(Box::pin(async move {
            self.exec(start).await;
            match self.software.runtime {
                RuntimeKind::Shared => self.serve(self.host.clone()).await,
                RuntimeKind::Own => self.start_process(),
            }
        }));
    }

    /// Waits until the process number `start` begins to run its software.
    async fn exec(&self, start: u64) {
        // The first process was started before the run begins, so that it listens at time zero.
        if start > 1 {
            let delay = self.host.shared.compute.exec_to_listen(self.index, start);
            self.host.shared.clock.sleep_until(self.host.id, self.host.now() + delay).await;
        }
    }

    /// Starts the process in a runtime of its own.
    fn start_process(self: Arc<Self>) {
        let replica = self.clone();
        let process = self.host.shared.processes.start(self.host.clone());
        let world = process.world();
        process.world().spawn(Box::pin(async move { replica.serve(world).await }));
        *lock(&self.process) = Some(process);
    }

    /// Runs the software of a process until it is killed or ends.
    async fn serve(&self, world: SharedWorld) {
        let process = ReplicaProcess {
            world,
            recorder: self.recorder.clone(),
            index: self.index,
            name: self.name.clone(),
            injector: self.injector.clone(),
            shared: self.host.shared.clone(),
        };
        match self.software.serve(process).await {
            // It was asked to end. What is left of it goes with its process.
            Ok(()) => self.note_end(),
            Err(error) => self.host.shared.net.activity.failed_with(SimulationError::of_software(error)),
        }
    }

    /// Kills the process (SIGKILL): none of its tasks runs from this instant on. [`exit`](Self::exit) drops them.
    pub(crate) fn crash(&self) -> Effect {
        if self.host.process.send_replace(ProcessState::Down) == ProcessState::Down {
            return Effect::ServerIsDown;
        }
        self.host.gate.kill();
        if let Some(processors) = &self.host.shared.processors {
            processors.kill(self.host.id);
        }
        lock(&self.run).is_wanted = false;
        self.injector.start_over();
        self.note_end();
        Effect::Applied
    }

    fn note_end(&self) {
        self.ended.send_replace(Some(self.restarts.load(Ordering::Relaxed)));
        if self.software.runtime == RuntimeKind::Own {
            // The fault that waits for it has yet to see it.
            self.host.shared.net.activity.happened();
        }
    }

    /// Asks the process to finish the calls under way and to end (SIGTERM). Returns the number of the process; `None` if there is
    /// none.
    pub(crate) fn drain(self: &Arc<Self>) -> Option<u64> {
        if *self.host.process.borrow() == ProcessState::Down {
            return None;
        }
        let number = self.restarts.load(Ordering::Relaxed);
        let replica = self.clone();
        // Tasks of the process wake in a turn of its machine.
        self.host.machine.in_turn(move || {
            if replica.has_process(number) {
                replica.ask_to_end();
            }
        });
        Some(number)
    }

    /// Asks the process to end, in a turn of its own.
    fn ask_to_end(&self) {
        let injector = self.injector.clone();
        match &*lock(&self.process) {
            Some(process) => process.in_turn(move || injector.drain()),
            None => injector.drain(),
        }
    }

    /// Does `job` in a turn of the process, whose tasks it wakes: that of its machine, or the process's own. One that is frozen and has a runtime
    /// of its own does it when it continues.
    pub(crate) fn in_turn(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        let replica = self.clone();
        self.host.machine.in_turn(move || match &*lock(&replica.process) {
            Some(process) => process.in_turn(job),
            None => job(),
        });
    }

    /// Returns whether the process of this number is there.
    pub(crate) fn has_process(&self, number: u64) -> bool {
        *self.host.process.borrow() != ProcessState::Down && self.restarts.load(Ordering::Relaxed) == number
    }

    /// Completes when the process of this number has ended by itself or was killed.
    pub(crate) async fn until_end(&self, number: u64) {
        let mut ended = self.ended.subscribe();
        // The sender lives as long as this does, so there is no error.
        let _ = ended.wait_for(|last| last.is_some_and(|last| last >= number)).await;
    }

    /// Drops the tasks and sockets of a killed process in the machine's next turn, which closes its connections. A process that
    /// was started since begins to run then.
    pub(crate) fn exit(self: &Arc<Self>) {
        let replica = self.clone();
        self.host.machine.in_turn(move || {
            // The end of another process of this replica may have done it.
            if replica.host.gate.is_killed() {
                replica.host.tasks.drop_all();
                replica.drop_process();
                replica.host.gate.reset();
                lock(&replica.run).is_there = false;
                // Its peers have yet to see it.
                replica.host.shared.net.activity.happened();
            }
            replica.launch_in_turn();
        });
    }

    fn drop_process(&self) {
        let process = lock(&self.process).take();
        process.iter().for_each(|process| self.host.shared.processes.end(process));
    }

    /// Starts a process, unless there is one. Completes when it listens or is killed.
    pub(crate) async fn start(self: &Arc<Self>) -> Effect {
        let mut process = self.host.process.subscribe();
        if *process.borrow() == ProcessState::Down {
            self.restarts.fetch_add(1, Ordering::Relaxed);
            self.host.process.send_replace(ProcessState::Starting);
            lock(&self.run).is_wanted = true;
            self.launch();
        }
        let number = self.restarts.load(Ordering::Relaxed);
        // A crash and a restart at one instant replace the process by another one that is starting.
        let is_replaced = || self.restarts.load(Ordering::Relaxed) != number;
        let settled = process.wait_for(|process| *process != ProcessState::Starting || is_replaced()).await;
        match settled.as_deref() {
            Ok(ProcessState::Up) if !is_replaced() => Effect::Applied,
            _ => Effect::ServerIsDown,
        }
    }

    /// Stops the process (SIGSTOP).
    pub(crate) fn freeze(&self) -> Effect {
        if *self.host.process.borrow() == ProcessState::Down {
            return Effect::ServerIsDown;
        }
        self.host.gate.shut(self.host.now());
        if let Some(processors) = &self.host.shared.processors {
            processors.stop(self.host.id);
        }
        Effect::Applied
    }

    /// Makes the process inject `injection` into its work from now on; a frozen process does so once it continues.
    pub(crate) fn inject(&self, injection: Injection) -> Effect {
        if *self.host.process.borrow() == ProcessState::Down {
            return Effect::ServerIsDown;
        }
        self.injector.set(injection);
        Effect::Applied
    }

    /// Gives the process other settings, and those that are started later; a frozen process follows once it continues.
    pub(crate) fn tune(&self, tuning: Tuning) {
        let injector = self.injector.clone();
        // Tasks of the process wake in a turn of its machine.
        self.host.machine.in_turn(move || injector.tune(tuning));
    }

    /// Lets a stopped process continue (SIGCONT).
    pub(crate) fn resume(&self) -> Effect {
        if *self.host.process.borrow() == ProcessState::Down {
            return Effect::ServerIsDown;
        }
        self.host.gate.open(self.host.now());
        if let Some(processors) = &self.host.shared.processors {
            processors.resume(self.host.id);
        }
        Effect::Applied
    }
}
