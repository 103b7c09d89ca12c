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
    server::{Injection, Injector},
    sync::lock,
    world::{BoxFuture, SharedWorld, World},
};

use crate::{
    host::{Host, Process, Shared},
    host_id::HostId,
};

/// The software of a replica's process, given its host, its recorder, its name and the injector of its faults.
pub(crate) type Software =
    Arc<dyn Fn(SharedWorld, Recorder, &str, Arc<Injector>) -> BoxFuture<'static, io::Result<()>> + Send + Sync>;

/// One replica, through all its processes.
pub(crate) struct Replica {
    index: usize,
    name: String,
    host: Arc<Host>,
    recorder: Recorder,
    software: Software,
    injector: Arc<Injector>,
    /// Processes that have begun to run their software.
    starts: Mutex<u64>,
    /// Processes that were started after a crash.
    restarts: AtomicU64,
}

impl Replica {
    /// Creates a replica whose first process is about to listen when the run begins.
    pub(crate) fn new(
        index: usize,
        shared: &Arc<Shared>,
        recorder: &Recorder,
        software: Software,
        entropy: Entropy,
    ) -> Arc<Self> {
        let name = kernel::scenario::server_name(index);
        let host = Arc::new(Host::new(HostId::server(index), shared.clone()));
        let recorder = recorder.with_source(host.clone(), &name);
        let injector = Arc::new(Injector::new(entropy));
        Arc::new(Self {
            index,
            name,
            host,
            recorder,
            software,
            injector,
            starts: Mutex::new(0),
            restarts: AtomicU64::new(0),
        })
    }

    /// Returns the server's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The host's software: waits until a process is started, then serves until it is killed. It runs from the moment of
    /// the crash, because a host without a process still refuses connections.
    pub(crate) async fn software(self: Arc<Self>) -> turmoil::Result {
        let host = self.host.clone();
        host.run(async move {
            let mut process = self.host.process.subscribe();
            process.wait_for(|process| *process != Process::Down).await?;
            drop(process);
            let gate = self.host.gate.clone();
            gate.guard(Box::pin(async move { self.serve().await })).await?;
            Ok(())
        })
        .await
    }

    async fn serve(&self) -> io::Result<()> {
        let start = {
            let mut starts = lock(&self.starts);
            *starts += 1;
            *starts
        };
        // The first process was started before the run begins, so that it listens at time zero.
        if start > 1 {
            let delay = self.host.shared.compute.exec_to_listen(self.index, start);
            self.host.shared.clock.sleep_until(self.host.turn.host, self.host.now() + delay).await;
        }
        (self.software)(self.host.clone(), self.recorder.clone(), &self.name, self.injector.clone()).await
    }

    /// Kills the process (SIGKILL): none of its tasks runs from this instant on. The driver then drops its tasks and
    /// sockets.
    pub(crate) fn crash(&self) -> Effect {
        if self.host.process.send_replace(Process::Down) == Process::Down {
            return Effect::ServerIsDown;
        }
        self.host.gate.kill();
        // A restarted process injects nothing.
        self.injector.set(Injection::default());
        Effect::Applied
    }

    /// Makes the replica ready for a new process, after the tasks and sockets of the killed one were dropped.
    pub(crate) fn reap(&self) {
        self.host.gate.reset();
    }

    /// Starts a process, unless there is one. Completes when it listens or is killed.
    pub(crate) async fn start(&self) -> Effect {
        let mut process = self.host.process.subscribe();
        self.host.process.send_if_modified(|process| {
            let down = *process == Process::Down;
            if down {
                self.restarts.fetch_add(1, Ordering::Relaxed);
                *process = Process::Starting;
            }
            down
        });
        let number = self.restarts.load(Ordering::Relaxed);
        // A crash and a restart at one instant replace the process by another one that is starting.
        let is_replaced = || self.restarts.load(Ordering::Relaxed) != number;
        let settled = process.wait_for(|process| *process != Process::Starting || is_replaced()).await;
        match settled.as_deref() {
            Ok(Process::Up) if !is_replaced() => Effect::Applied,
            _ => Effect::ServerIsDown,
        }
    }

    /// Stops the process (SIGSTOP).
    pub(crate) fn freeze(&self) -> Effect {
        if *self.host.process.borrow() == Process::Down {
            return Effect::ServerIsDown;
        }
        self.host.gate.shut(self.host.now());
        Effect::Applied
    }

    /// Makes the process inject `injection` into its work from now on; a frozen process does so once it continues.
    pub(crate) fn inject(&self, injection: Injection) -> Effect {
        if *self.host.process.borrow() == Process::Down {
            return Effect::ServerIsDown;
        }
        self.injector.set(injection);
        Effect::Applied
    }

    /// Lets a stopped process continue (SIGCONT).
    pub(crate) fn resume(&self) -> Effect {
        if *self.host.process.borrow() == Process::Down {
            return Effect::ServerIsDown;
        }
        self.host.gate.open(self.host.now());
        Effect::Applied
    }
}
