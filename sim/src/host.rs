//! A simulated host, which is the World of its software.

use std::{
    collections::BTreeMap,
    error::Error,
    io,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use kernel::{
    time::Instant,
    workload::{Job, Output},
    world::{BoxFuture, BoxStream, Listener, Sleep, World},
};
use tokio::{runtime::Handle, sync::watch};

use crate::{clock::Clock, compute::Compute, gate::Gate, host_id::HostId, net::Net, system::System, turn::Turn};

/// The result of a host's software.
pub(crate) type Ended = Result<(), Box<dyn Error + Send + Sync>>;

/// The parts that all hosts of a simulation share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<Clock>,
    pub(crate) compute: Compute,
    pub(crate) system: System,
    pub(crate) net: Net,
    /// Addresses by host name; known once all hosts have been added to the network.
    pub(crate) addresses: OnceLock<BTreeMap<String, IpAddr>>,
}

/// One host.
pub(crate) struct Host {
    pub(crate) shared: Arc<Shared>,
    pub(crate) turn: Arc<Turn>,
    /// The gate that stops every task of its process.
    pub(crate) gate: Arc<Gate>,
    /// The state of its one process.
    pub(crate) process: watch::Sender<Process>,
}

/// The state of a host's process: Down → Starting → Up, and back to Down by a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    Down,
    Starting,
    /// The process listens.
    Up,
}

impl Host {
    /// Creates a host whose process is being started.
    pub(crate) fn new(id: HostId, shared: Arc<Shared>) -> Self {
        let turn = Turn::new(id, shared.clock.clone(), shared.net.activity.clone());
        Self { shared, turn, gate: Arc::default(), process: watch::channel(Process::Starting).0 }
    }
}

impl Host {
    /// Runs the host's software. It is a task like those that it spawns, so that all tasks run in the order in which they
    /// are woken.
    #[expect(clippy::disallowed_methods, reason = "turns are not behind the gate")]
    pub(crate) async fn run(&self, software: impl Future<Output = Ended> + Send + 'static) -> turmoil::Result {
        tokio::spawn(self.turn.clone().go_on());
        tokio::spawn(self.turn.clone().counted(software)).await?.map_err(|error| -> Box<dyn Error> { error })
    }
}

impl World for Host {
    fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        // A deadline that has passed does not sleep, so it is not late.
        let at = if at > self.now() { self.shared.system.wakes(self.turn.host, at) } else { at };
        self.shared.clock.sleep_until(self.turn.host, at)
    }

    #[expect(clippy::disallowed_methods, reason = "this is what all others are to go through")]
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        // Outside of a host's runtime the simulation is being dropped, and no task runs any more.
        if Handle::try_current().is_ok() {
            tokio::spawn(self.turn.clone().counted(self.gate.guard(task)));
        }
    }

    fn connect<'a>(&'a self, server: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        let address = self.shared.addresses.get().and_then(|addresses| addresses.get(server)).copied();
        Box::pin(async move {
            let address = address
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no host `{server}`")))?;
            self.shared.net.connect(address).await
        })
    }

    fn listen(&self) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async {
            let backlog = self.shared.net.listen(self.turn.clone()).await?;
            self.process.send_replace(Process::Up);
            // The operation that started the process waits for this on another host.
            self.shared.net.activity.happened();
            Ok(Box::new(backlog) as Box<dyn Listener>)
        })
    }

    fn compute(&self, job: Job) -> BoxFuture<'static, Output> {
        let clock = self.shared.clock.clone();
        let gate = self.gate.clone();
        let host = self.turn.host;
        let output = self.shared.compute.run(&job);
        let service_time = self.shared.compute.service_time(&job);
        Box::pin(async move {
            // A frozen process makes no progress: the service time is measured in the time that it has had to run.
            let done = gate.running_time(clock.now()) + service_time;
            loop {
                let now = clock.now();
                let left = done.saturating_sub(gate.running_time(now));
                if left.is_zero() {
                    return output;
                }
                clock.sleep_until(host, now + left).await;
            }
        })
    }
}
