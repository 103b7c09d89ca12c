//! Machines, hosts, network and clock put together, and the driver that steps them.

use std::{
    collections::BTreeMap,
    error::Error,
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kernel::{
    entropy::Entropy,
    link::Link,
    load::LoadError,
    record::{Recorder, Records},
    scenario::{ServerNames, TlsMode},
    store,
    sync::lock,
    world::{SharedWorld, World},
};

use tokio::sync::oneshot;

use crate::{
    activity::Activity,
    calibration::{Calibration, LinkTimes},
    clock::{Clock, ClockBounds},
    completed_run::{CompletedRun, RunSoFar, Stopped},
    compute::Compute,
    error::SimulationError,
    host::{Host, Shared},
    host_id::{HostId, MachineId},
    interpose::EPOCH_SECONDS,
    limits::{Limits, Progress},
    machine::{Ended, Machine},
    misuse::{self, Refusing},
    net::{EPHEMERAL_PORTS, Net, Times},
    operations::SimOperations,
    pipe::Transfer,
    process::Processes,
    processors::Processors,
    replica::{Replica, Software},
    service_links::ServiceLinks,
    system::System,
    thread::Watch,
    tls::RunTls,
    trace::{self, TraceSink},
};

/// Segments and connections that turmoil buffers for each socket before it panics or holds back. It is so high that
/// only HTTP/2's flow control and the backlog bound them here.
const TCP_CAPACITY: usize = 1 << 16;

/// A simulation that has been built and not yet run.
pub(crate) struct Simulation {
    // The fields are dropped in this order: the processes, the tasks of machines, then the timers that are left.
    processes: ProcessesOfRun,
    turmoil: turmoil::Sim<'static>,
    clock: ClockOfRun,
    activity: Activity,
    /// The records of all hosts.
    records: Arc<Mutex<Records>>,
    seed: u64,
    limits: Limits,
}

/// The limits of a simulation, whether its connections are encrypted, and what it shares with the thread that waits for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    pub(crate) limits: Limits,
    pub(crate) tls: Option<TlsMode>,
    /// The most values of the store of the client's cache, if it has one.
    pub(crate) store: Option<usize>,
    pub(crate) watch: Arc<Watch>,
}

/// The simulated hosts as the client's software sees them: its own world, and the links to the servers.
pub(crate) struct Hosts {
    /// The client's host.
    host: Arc<Host>,
    pub(crate) world: SharedWorld,
    pub(crate) entropy: Entropy,
    pub(crate) recorder: Recorder,
    /// The link to each server, by the server's index.
    pub(crate) links: Vec<Arc<Link>>,
    /// The link to the store of the client's cache, if it has one.
    pub(crate) store: Option<Arc<Link>>,
    pub(crate) operations: Arc<SimOperations>,
}

impl Hosts {
    /// Returns the hosts as software sees them that runs in a process of the client's host, which has a runtime of its own and is started by
    /// this. It must be the turn of the client's machine.
    pub(crate) fn in_own_process(self) -> Self {
        let Self { host, entropy, recorder, links, store, operations, .. } = self;
        let machine = host.machine.clone();
        // The operating system works on behalf of the process.
        host.spawn_outside(Box::pin(async move { machine.do_jobs().await }));
        let process = host.shared.processes.start(host.clone());
        let world = process.world();
        let own = |link: &Arc<Link>| Link::new(world.clone(), entropy, link.server());
        let links: Vec<_> = links.iter().map(own).collect();
        let store = store.as_ref().map(own);
        let client = Some(process);
        let of_process = SimOperations { links: links.clone(), store: store.clone(), client, ..(*operations).clone() };
        Self { host, world, entropy, recorder, links, store, operations: Arc::new(of_process) }
    }

    /// Runs `software` in the process of this World, and returns its result.
    pub(crate) async fn run<T: Send + 'static>(&self, software: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (ended, result) = oneshot::channel();
        let activity = self.host.shared.net.activity.clone();
        self.world.spawn(Box::pin(async move {
            // Without a receiver the simulation is being dropped.
            let _ = ended.send(software.await);
            activity.happened();
        }));
        // A process whose software panics ends the simulation.
        result.await.ok()
    }
}

impl Simulation {
    /// Builds replicas of these names that run `software`, and a client host that runs the future that `client` returns. The
    /// simulation is over when that future completes.
    pub(crate) fn new<F>(
        names: &ServerNames,
        seed: u64,
        calibration: &Calibration,
        software: &Software,
        bounds: Bounds,
        client: impl FnOnce(Hosts) -> F,
    ) -> Self
    where
        F: Future<Output = Ended> + Send + 'static,
    {
        let entropy = Entropy::new(seed);
        let Bounds { limits, tls, store, watch } = bounds;
        let clock = Arc::new(Clock::within(ClockBounds { until: limits.until, timers: limits.timers, watch }));
        let tls = tls.map(|mode| RunTls::new(mode, names, clock.clone(), entropy));
        let shared = shared(clock.clone(), calibration, seed, hosts_by_name(names, store.is_some()), tls);
        let activity = shared.net.activity.clone();
        let [clients, servers] =
            [MachineId::CLIENT, MachineId::SERVERS].map(|id| Machine::new(id, clock.clone(), activity.clone()));
        let host = Arc::new(Host::new(HostId::CLIENT, clients.clone(), shared.clone()));
        let world: SharedWorld = host.clone();
        let records = Arc::<Mutex<Records>>::default();
        let recorder = Recorder::new(world.clone(), "client", Arc::new(TraceSink(records.clone())));
        let named = names.all().enumerate();
        let replicas =
            named.map(|named| Replica::new(named, servers.clone(), &shared, &recorder, software.clone(), entropy));
        let replicas: Vec<_> = replicas.collect();
        let called = &replicas[..names.called()];
        let links: Vec<_> = called.iter().map(|replica| Link::new(world.clone(), entropy, replica.name())).collect();
        replicas.iter().for_each(Replica::launch);
        let store = store.map(|values_max| {
            launch_store(&servers, &shared, values_max);
            Link::new(world.clone(), entropy, store::NAME)
        });
        let operations = Arc::new(SimOperations {
            replicas,
            links: links.clone(),
            store: store.clone(),
            client: None,
            shared: shared.clone(),
            activity: activity.clone(),
        });
        let mut turmoil = network(seed);
        // The client's machine is added first, so that it is first in every step, as its `MachineId` says.
        let client = client(Hosts { host, world, entropy, recorder, links, store, operations });
        turmoil.client("client", run_client(clients, clock.clone(), client));
        turmoil.host("servers", move || servers.clone().run());
        shared.net.set_machines(["client", "servers"].map(|name| turmoil.lookup(name)).into());
        let clock = ClockOfRun(clock, shared.processors.clone());
        Self { processes: ProcessesOfRun(shared), turmoil, clock, activity, records, seed, limits }
    }

    /// Takes steps while anything is under way at this instant, then moves the clock to the next timer, until the
    /// client is done or a limit is hit. `progress` is kept at the virtual time, in nanoseconds.
    pub(crate) fn run(mut self, progress: &AtomicU64) -> Result<RunSoFar, SimulationError> {
        let mut stopped = None;
        let mut steps = 0;
        let mut instants = 1;
        let mut steps_at_advance = 0;
        let mut needs_step = true;
        let _refusing = Refusing::begin();
        loop {
            steps += u64::from(needs_step);
            if let Some(limit) = self.limits.hit(self.progress(steps - steps_at_advance)) {
                stopped = Some(Stopped { seed: self.seed, at: self.clock.now(), limit });
                trace::end();
                break;
            }
            let done = needs_step && self.step()?;
            if !done {
                self.processes.0.processes.take_turns();
            }
            if let Some(failure) = self.failure() {
                return Err(failure);
            }
            if done {
                trace::end();
                break;
            }
            if self.activity.take() {
                self.clock.mark_dirty();
                needs_step = true;
                continue;
            }
            if !self.clock.advance() {
                return Err(SimulationError::Standstill { at: self.clock.now().to_string(), steps });
            }
            // Mostly the clock wakes either machines, or processes with a runtime of their own, which need no step for their turns.
            needs_step = self.activity.needs_step();
            instants += 1;
            steps_at_advance = steps;
            progress.store(self.clock.now().as_nanos(), Ordering::Relaxed);
        }
        let mut records = std::mem::take(&mut *lock(&self.records));
        records.sort();
        Ok(RunSoFar { run: CompletedRun { records, steps, instants }, stopped })
    }

    /// Gives the machines their turns. Returns true if the client is done.
    fn step(&mut self) -> Result<bool, SimulationError> {
        self.activity.step();
        let done = self.turmoil.step().map_err(of_software)?;
        self.activity.step_ended();
        Ok(done)
    }

    /// Returns the error that ends the simulation, if there is one.
    fn failure(&self) -> Option<SimulationError> {
        if let Some(refused) = misuse::take_refused() {
            self.activity.misused(&refused.misuse());
        }
        // Code panics because of what it is refused.
        let failure = self.activity.failure();
        failure.or_else(|| self.activity.has_panicked().then(SimulationError::panicked))
    }

    /// Returns the clock, for as long as it lives.
    #[cfg(test)]
    pub(crate) fn clock(&self) -> std::sync::Weak<Clock> {
        Arc::downgrade(&self.clock.0)
    }

    /// Returns how far the simulation has come. `idle_steps` have been taken since the clock was moved.
    fn progress(&self, idle_steps: u64) -> Progress {
        let records = lock(&self.records);
        Progress {
            events: records.requests.len() + records.attempts.len() + records.events.len(),
            now: self.clock.now(),
            idle_steps,
            timers: self.clock.fired(),
            is_overtime: self.clock.is_overtime(),
        }
    }
}

/// The processes with a runtime of their own, and the links of services, which are dropped with the simulation: they own the hosts that they
/// run on.
struct ProcessesOfRun(Arc<Shared>);

impl Drop for ProcessesOfRun {
    fn drop(&mut self) {
        self.0.processes.clear();
        self.0.service_links.clear();
    }
}

/// The clock, whose timers are dropped with the simulation, as is the work of processors: a message on its way owns the clock that owns its
/// timer, and the processors that own its work.
struct ClockOfRun(Arc<Clock>, Option<Arc<Processors>>);

impl Deref for ClockOfRun {
    type Target = Clock;

    fn deref(&self) -> &Clock {
        &self.0
    }
}

impl Drop for ClockOfRun {
    fn drop(&mut self) {
        self.0.clear();
        self.1.iter().for_each(|processors| processors.clear());
    }
}

/// Returns the error of a simulation whose software has failed.
fn of_software(error: Box<dyn Error>) -> SimulationError {
    match error.downcast::<LoadError>() {
        Ok(mistake) => SimulationError::Load(*mistake),
        Err(error) => SimulationError::Failed(error.to_string()),
    }
}

/// Builds what all hosts have in common.
fn shared(
    clock: Arc<Clock>,
    calibration: &Calibration,
    seed: u64,
    names: BTreeMap<String, HostId>,
    tls: Option<RunTls>,
) -> Arc<Shared> {
    let entropy = Entropy::new(seed);
    let LinkTimes { one_way_us: one_way, connect_us: connect } = calibration.link.clone();
    let machine = calibration.machine.clone();
    let processors = machine.map(|times| Processors::new(clock.clone(), times, entropy));
    let [to_server, to_client] = match &processors {
        Some(processors) => {
            processors.times().messages(calibration.workload).map(|work| Transfer::Worked(processors.clone(), work))
        }
        None => calibration.delays().map(Transfer::Delayed),
    };
    let net = Net::new(clock.clone(), entropy, Times { one_way, connect, to_server, to_client });
    Arc::new(Shared {
        compute: Compute::new(calibration.clone(), entropy),
        system: System::new(calibration.system(), entropy),
        processes: Processes::new(net.activity.clone()),
        net,
        seed,
        tls,
        processors,
        clock,
        names,
        service_links: ServiceLinks::default(),
    })
}

/// Returns the hosts that others connect to, by name.
fn hosts_by_name(names: &ServerNames, has_store: bool) -> BTreeMap<String, HostId> {
    let servers = names.all().enumerate().map(|(index, name)| (name, HostId::server(index)));
    servers.chain(has_store.then(|| (store::NAME.to_owned(), HostId::STORE))).collect()
}

/// Starts the store on a host of its own, which listens when the run begins and runs until it ends.
fn launch_store(machine: &Arc<Machine>, shared: &Arc<Shared>, values_max: usize) {
    let host = Arc::new(Host::new(HostId::STORE, machine.clone(), shared.clone()));
    machine.in_turn(move || {
        let world: SharedWorld = host.clone();
        let activity = host.shared.net.activity.clone();
        host.spawn(Box::pin(async move {
            if let Err(error) = store::serve(world, values_max).await {
                activity.failed_with(SimulationError::of_software(error));
            }
        }));
    });
}

/// Runs the client's software on its machine.
async fn run_client(
    machine: Arc<Machine>,
    clock: Arc<Clock>,
    client: impl Future<Output = Ended> + Send + 'static,
) -> turmoil::Result {
    let software = async move {
        let ended = client.await;
        // Events after the client's end are no part of the run, so no host may move the clock any more.
        clock.mark_dirty();
        ended
    };
    machine.run_software(Some(HostId::CLIENT), software).await
}

/// Builds turmoil without time of its own: every message arrives in the step in which it is sent, or in the next.
#[expect(clippy::disallowed_types, reason = "turmoil takes the time as a parameter")]
fn network(seed: u64) -> turmoil::Sim<'static> {
    let epoch = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS);
    #[cfg(feature = "canaries")]
    let (seed, epoch) = crate::canary::turmoil_seed_and_epoch(seed, epoch);
    turmoil::Builder::new()
        .rng_seed(seed)
        .epoch(epoch)
        .min_message_latency(Duration::ZERO)
        .max_message_latency(Duration::ZERO)
        // A tick counts one step and is no time; `Limits` ends a simulation that would not end.
        .tick_duration(Duration::from_millis(1))
        .simulation_duration(Duration::MAX)
        .tcp_capacity(TCP_CAPACITY)
        .ephemeral_ports(EPHEMERAL_PORTS)
        .build()
}
