//! A simulated host, which is the World of its software.

use std::{collections::BTreeMap, future::poll_fn, io, sync::Arc, task::Poll};

use kernel::{
    time::Instant,
    tls::Tls,
    world::{BoxFuture, BoxStream, Calm, Cost, Listener, Sleep, Work, World},
};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    clock::Clock,
    compute::Compute,
    error::SimulationError,
    gate::Gate,
    host_id::HostId,
    machine::Machine,
    net::{Backlog, Connection, Net},
    process::Processes,
    processors::Processors,
    service_links::ServiceLinks,
    stream::SocketEnd,
    system::System,
    tasks::Tasks,
    tls::RunTls,
};

/// The parts that all hosts of a simulation share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<Clock>,
    pub(crate) compute: Compute,
    pub(crate) system: System,
    pub(crate) net: Net,
    /// The processors that all hosts share, unless each has its own.
    pub(crate) processors: Option<Arc<Processors>>,
    /// The hosts by name, which others connect to.
    pub(crate) names: BTreeMap<String, HostId>,
    /// The links of processes that call other services.
    pub(crate) service_links: ServiceLinks,
    /// The processes that have a runtime of their own.
    pub(crate) processes: Processes,
    /// The seed of the simulation.
    pub(crate) seed: u64,
    /// The TLS of the hosts, if their connections are encrypted.
    pub(crate) tls: Option<RunTls>,
}

/// One host: a process, and those that follow it after a crash.
pub(crate) struct Host {
    pub(crate) id: HostId,
    pub(crate) shared: Arc<Shared>,
    /// The machine that runs its tasks.
    pub(crate) machine: Arc<Machine>,
    /// The gate that stops every task of its process.
    pub(crate) gate: Arc<Gate>,
    /// The tasks of its process, and of its operating system on behalf of the process.
    pub(crate) tasks: Arc<Tasks>,
    /// The state of its one process.
    pub(crate) process: watch::Sender<ProcessState>,
    /// The TLS of its connections.
    tls: Option<Tls>,
}

/// The state of a host's process: Down → Starting → Up, and back to Down by a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessState {
    Down,
    Starting,
    /// The process listens.
    Up,
}

impl Host {
    /// Creates a host on `machine` whose process is being started.
    pub(crate) fn new(id: HostId, machine: Arc<Machine>, shared: Arc<Shared>) -> Self {
        let process = watch::channel(ProcessState::Starting).0;
        // The store has none.
        let tls = shared.tls.as_ref().filter(|_| id != HostId::STORE).map(|tls| tls.of_host(id));
        Self { id, shared, machine, gate: Arc::default(), tasks: Arc::default(), process, tls }
    }
}

impl Host {
    /// Returns the host called `name`.
    pub(crate) fn named(&self, name: &str) -> io::Result<HostId> {
        let named = self.shared.names.get(name).copied();
        named.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no host `{name}`")))
    }

    /// Runs `task` of the operating system on behalf of the process. It goes on while the process is frozen, and ends with it.
    pub(crate) fn spawn_outside(&self, task: BoxFuture<'static, ()>) {
        self.machine.spawn(self.id, self.tasks.add(task));
    }

    /// Has the operating system complete connections to the process. Each is what `end` makes of it.
    pub(crate) async fn accept(&self, end: impl Fn(Connection) -> BoxStream + Send + 'static) -> io::Result<Backlog> {
        let (backlog, accept) = self.shared.net.listen(self.id, end).await?;
        self.spawn_outside(accept);
        self.process.send_replace(ProcessState::Up);
        // The operation that started the process waits for this on another host.
        self.shared.net.activity.happened();
        Ok(backlog)
    }

    /// Returns when a task that sleeps until `at` continues.
    fn wakes(&self, at: Instant) -> Instant {
        // A deadline that has passed does not sleep, so it is not late.
        if at > self.shared.clock.now() { self.shared.system.wakes(self.id, at) } else { at }
    }

    /// Returns the time of a computation. If the calibration has none, ends the simulation.
    fn known<T>(&self, cost: Cost<'_>, time: Result<T, &str>) -> Option<T> {
        time.map_err(|calibration| {
            // The driver ends the simulation.
            self.shared.net.activity.failed_with(SimulationError::UnknownTime {
                what: cost.what.to_owned(),
                at: self.shared.clock.now().to_string(),
                calibration: calibration.to_owned(),
            });
        })
        .ok()
    }
}

impl World for Host {
    fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        let Shared { clock, processors, .. } = &*self.shared;
        match processors {
            // A deadline that has passed does not sleep, so it is not late.
            Some(processors) if at > clock.now() => {
                let processors = processors.clone();
                let host = self.id;
                let expired = clock.sleep_until(host, at + processors.late(host, at));
                let mut waking = Box::pin(async move {
                    expired.await;
                    processors.wake_up(host, at).await;
                });
                let mut is_over = false;
                // A sleep may be polled after its end.
                Box::pin(poll_fn(move |cx| {
                    is_over = is_over || waking.as_mut().poll(cx).is_ready();
                    if is_over { Poll::Ready(()) } else { Poll::Pending }
                }))
            }
            _ => clock.sleep_until(self.id, self.wakes(at)),
        }
    }

    fn sleep_idly_until(&self, at: Instant) -> Sleep {
        self.shared.clock.sleep_idly_until(self.id, self.wakes(at))
    }

    fn calm(&self) -> Option<Calm> {
        Some(self.shared.clock.calm())
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        // Outside of a machine's runtime the simulation is being dropped, and no task runs any more.
        if Handle::try_current().is_ok() {
            self.machine.spawn(self.id, self.gate.guard(self.tasks.add(task)));
        }
    }

    fn connect<'a>(&'a self, server: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let net = &self.shared.net;
            let connection = net.connect(self.id, self.named(server)?).await?;
            Ok(Box::new(SocketEnd::stream(connection, &net.activity)) as BoxStream)
        })
    }

    fn listen(&self) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async {
            let activity = self.shared.net.activity.clone();
            let backlog = self.accept(move |connection| Box::new(SocketEnd::stream(connection, &activity))).await?;
            Ok(Box::new(backlog) as Box<dyn Listener>)
        })
    }

    fn has_time_of(&self, what: &str) -> bool {
        self.shared.compute.knows(what)
    }

    fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    fn compute(&self, cost: Cost<'_>, work: Work) -> BoxFuture<'static, ()> {
        work();
        if let Some(processors) = self.shared.processors.clone() {
            let Some(piece) = self.known(cost, self.shared.compute.service_piece(cost, |own| processors.varied(own)))
            else {
                return Box::pin(std::future::pending());
            };
            let host = self.id;
            let follow_up = (cost.nth == 0).then(|| processors.times().follow_up(cost.what, cost.units));
            return Box::pin(async move {
                processors.run(host, piece).await;
                processors.follow_up(host, follow_up.unwrap_or_default());
            });
        }
        let Some(service_time) = self.known(cost, self.shared.compute.service_time(cost)) else {
            return Box::pin(std::future::pending());
        };
        let clock = self.shared.clock.clone();
        let gate = self.gate.clone();
        let host = self.id;
        Box::pin(async move {
            // A frozen process makes no progress: the service time is measured in the time that it has had to run.
            let done = gate.running_time(clock.now()) + service_time;
            loop {
                let now = clock.now();
                let left = done.saturating_sub(gate.running_time(now));
                if left.is_zero() {
                    return;
                }
                clock.sleep_until(host, now + left).await;
            }
        })
    }
}
