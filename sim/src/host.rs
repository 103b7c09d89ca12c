//! A simulated host: the World that its software sees.

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

use crate::{
    clock::{Clock, HostId},
    compute::Compute,
    gate::Gate,
    net::Net,
    system::System,
    turn::Turn,
};

/// How a host's software ends.
pub(crate) type Ended = Result<(), Box<dyn Error + Send + Sync>>;

/// What the hosts of a simulation share.
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
    /// Stops all that runs on it.
    pub(crate) gate: Arc<Gate>,
    /// The one process that runs on it.
    pub(crate) process: watch::Sender<Process>,
}

/// What a host's process is doing. Down → Starting → Up, and back to Down by a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    Down,
    Starting,
    /// It listens.
    Up,
}

impl Host {
    /// A host whose process is being started.
    pub(crate) fn new(id: HostId, shared: Arc<Shared>) -> Self {
        let turn = Turn::new(id, shared.clock.clone(), shared.net.activity.clone());
        Self { shared, turn, gate: Arc::default(), process: watch::channel(Process::Starting).0 }
    }
}

impl Host {
    /// Runs the host's software: as a task like those that it spawns, so that tasks run in the order they are woken in.
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
        // What is past does not sleep, and what never comes is never late.
        let at = if at > self.now() { self.shared.system.wakes(self.turn.host, at) } else { at };
        self.shared.clock.sleep_until(self.turn.host, at)
    }

    #[expect(clippy::disallowed_methods, reason = "this is what all others are to go through")]
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        // Outside a host's runtime there is nobody to run it: the simulation is being taken down.
        if Handle::try_current().is_ok() {
            tokio::spawn(self.turn.clone().counted(self.gate.guard(task)));
        }
    }

    fn connect<'a>(&'a self, server: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        let address = self.shared.addresses.get().and_then(|addresses| addresses.get(server)).copied();
        Box::pin(async move {
            let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("there is no host `{server}`"));
            self.shared.net.connect(address.ok_or_else(unknown)?).await
        })
    }

    fn listen(&self) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async {
            let backlog = self.shared.net.listen(self.turn.clone()).await?;
            self.process.send_replace(Process::Up);
            // Whoever started the process waits for this on another host.
            self.shared.net.activity.happened();
            Ok(Box::new(backlog) as Box<dyn Listener>)
        })
    }

    fn compute(&self, job: Job) -> BoxFuture<'static, Output> {
        let (clock, gate, host) = (self.shared.clock.clone(), self.gate.clone(), self.turn.host);
        let output = self.shared.compute.run(&job);
        let service_time = self.shared.compute.service_time(&job);
        Box::pin(async move {
            // A process that stands still does not get on: what counts is the time it has had to run.
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
