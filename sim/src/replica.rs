//! The process of a simulated replica: down, starting or up, over and over.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use kernel::{
    entropy::Entropy,
    nemesis::Effect,
    record::Recorder,
    server::{Injection, Injector},
    world::{BoxFuture, SharedWorld, World},
};

use crate::{
    clock::HostId,
    host::{Host, Process, Shared},
};

/// What a replica's process runs, given its host, its recorder, its name and what steers its faults.
pub(crate) type Software =
    Arc<dyn Fn(SharedWorld, Recorder, &str, Arc<Injector>) -> BoxFuture<'static, io::Result<()>> + Send + Sync>;

/// One replica, over all its processes.
pub(crate) struct Replica {
    index: usize,
    name: String,
    host: Arc<Host>,
    recorder: Recorder,
    software: Software,
    injector: Arc<Injector>,
    /// Processes started so far.
    starts: Mutex<u64>,
}

impl Replica {
    /// A replica whose first process is about to listen when the run begins.
    pub(crate) fn new(
        index: usize,
        shared: &Arc<Shared>,
        recorder: &Recorder,
        software: Software,
        entropy: Entropy,
    ) -> Arc<Self> {
        let name = kernel::scenario::server_name(index);
        let host = Arc::new(Host::new(HostId::server(index), shared.clone()));
        let recorder = recorder.of(host.clone(), &name);
        let injector = Arc::new(Injector::new(entropy));
        Arc::new(Self { index, name, host, recorder, software, injector, starts: Mutex::new(0) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The host's software: waits until it is started, then serves until it is killed. A host without a process is
    /// still there, and refuses connections; so this runs from the moment of the crash.
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
            let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            *starts += 1;
            *starts
        };
        // The first process was up before the run began.
        if start > 1 {
            let delay = self.host.shared.compute.exec_to_listen(self.index, start);
            self.host.shared.clock.sleep_until(self.host.turn.host, self.host.now() + delay).await;
        }
        (self.software)(self.host.clone(), self.recorder.clone(), &self.name, self.injector.clone()).await
    }

    /// SIGKILL, from this instant on. The driver then takes the process's tasks and sockets away.
    pub(crate) fn crash(&self) -> Effect {
        if self.host.process.send_replace(Process::Down) == Process::Down {
            return Effect::ServerIsDown;
        }
        self.host.gate.shut(self.host.now());
        // What it injected is gone with it.
        self.injector.set(Injection::default());
        Effect::Applied
    }

    /// The dead process is gone; a new one may be started.
    pub(crate) fn bury(&self) {
        self.host.gate.reset();
    }

    /// Starts a process, unless there is one; done when it listens or is killed.
    pub(crate) async fn start(&self) -> Effect {
        let mut process = self.host.process.subscribe();
        self.host.process.send_if_modified(|process| {
            let down = *process == Process::Down;
            if down {
                *process = Process::Starting;
            }
            down
        });
        let settled = process.wait_for(|process| *process != Process::Starting).await;
        match settled.as_deref() {
            Ok(Process::Up) => Effect::Applied,
            _ => Effect::ServerIsDown,
        }
    }

    pub(crate) fn freeze(&self) -> Effect {
        if *self.host.process.borrow() == Process::Down {
            return Effect::ServerIsDown;
        }
        self.host.gate.shut(self.host.now());
        Effect::Applied
    }

    /// Has its process inject this from now on, or once it goes on if it stands still.
    pub(crate) fn inject(&self, injection: Injection) -> Effect {
        if *self.host.process.borrow() == Process::Down {
            return Effect::ServerIsDown;
        }
        self.injector.set(injection);
        Effect::Applied
    }

    pub(crate) fn resume(&self) -> Effect {
        if *self.host.process.borrow() == Process::Down {
            return Effect::ServerIsDown;
        }
        self.host.gate.open(self.host.now());
        Effect::Applied
    }
}
