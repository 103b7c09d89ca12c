//! What the code of one process is given.

use std::{
    collections::BTreeSet,
    fmt, io,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;

use super::{Connector, NoConnector};
use crate::{
    context::{Context, within},
    entropy::{Entropy, RandomStream, fnv1a},
    grpc::{Methods, Services},
    link::Link,
    record::{AttemptId, Event, Recorder},
    server::{self, Injector, ReplicaSettings, record_computing},
    sync::lock,
    time::Instant,
    world::{BoxFuture, Cost, Payer, SharedWorld, compute},
};

/// What the code of one process is given: its time, computing, tasks and randomness, and the way to serve. Clones are the same host.
///
/// Code that uses it, and neither tokio's clock nor tokio's tasks, runs unchanged in the simulation and in the real world.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

struct Shared {
    world: SharedWorld,
    recorder: Recorder,
    entropy: Entropy,
    name: String,
    payer: Payer,
    role: Role,
    has_served: AtomicBool,
    /// It was asked for a connector.
    has_connector: AtomicBool,
    /// Number of computations so far that were for no call.
    computations: AtomicU32,
    /// The states that the code has reached, by the names that it gives them.
    reached: Mutex<BTreeSet<&'static str>>,
}

/// What a process is there for.
enum Role {
    /// It serves; what it serves with, until it does.
    Serves(Box<Mutex<Option<Serving>>>),
    /// It is that of the load, which calls the replicas.
    Calls(Replicas),
}

/// The replicas of a service, as the load connects to them.
pub(super) struct Replicas {
    /// The name of the service.
    pub(super) service: String,
    /// The link to each replica.
    pub(super) links: Vec<Arc<Link>>,
}

/// What a process of a service serves with.
struct Serving {
    settings: ReplicaSettings,
    injector: Arc<Injector>,
    /// Completes when the process is asked to end.
    stop: BoxFuture<'static, ()>,
    /// The methods that the app declares.
    methods: Methods,
    /// The descriptors that the app has.
    descriptors: Vec<&'static [u8]>,
}

/// A process that cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It serves already.
    #[error("it serves already; `host.serve(Services::default().with(…).with(…))` serves several services")]
    Twice,
    /// It is that of the load.
    #[error("the process of the load serves nothing; `App::service` adds a service")]
    Load,
    /// It cannot listen or accept.
    #[error(transparent)]
    Network(#[from] io::Error),
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.shared.name).finish()
    }
}

impl Host {
    pub(super) fn of_service(
        world: SharedWorld,
        recorder: Recorder,
        name: &str,
        settings: ReplicaSettings,
        injector: Arc<Injector>,
        stop: BoxFuture<'static, ()>,
    ) -> Self {
        let entropy = injector.entropy();
        let serving = Serving { settings, injector, stop, methods: Methods::default(), descriptors: Vec::new() };
        Self::new(world, recorder, name, entropy, Payer::Server, Role::Serves(Box::new(Mutex::new(Some(serving)))))
    }

    /// Returns the host, whose services have these methods and descriptors besides their own.
    pub(super) fn describing(self, methods: &Methods, descriptors: &[&'static [u8]]) -> Self {
        if let Role::Serves(serving) = &self.shared.role
            && let Some(serving) = &mut *lock(serving)
        {
            serving.methods = methods.clone();
            serving.descriptors = descriptors.to_owned();
        }
        self
    }

    pub(super) fn of_load(world: SharedWorld, recorder: Recorder, entropy: Entropy, replicas: Replicas) -> Self {
        Self::new(world, recorder, "load", entropy, Payer::Client, Role::Calls(replicas))
    }

    fn new(world: SharedWorld, recorder: Recorder, name: &str, entropy: Entropy, payer: Payer, role: Role) -> Self {
        let shared = Shared {
            world,
            recorder,
            entropy,
            name: name.to_owned(),
            payer,
            role,
            has_served: AtomicBool::new(false),
            has_connector: AtomicBool::new(false),
            computations: AtomicU32::new(0),
            reached: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the name of the process: that of its server, such as `server-0`, or `load`.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns the time since the start of the run in a simulation, and since the start of the machine in the real world.
    pub fn now(&self) -> Instant {
        self.shared.world.now()
    }

    /// Waits for `time`. It is right in both worlds, where a sleep of tokio on a runtime that processes share counts the steps of a
    /// simulation and no time.
    pub async fn sleep(&self, time: Duration) {
        self.shared.world.sleep_until(self.now() + time).await;
    }

    /// Runs `task` until it ends, or with the process. A freeze stops it, and a crash drops it. It runs on behalf of the call that spawned
    /// it, if there is one. A panic ends the task only, as in tokio.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = async {
            // The panic hook has printed where it happened and why.
            let _ = AssertUnwindSafe(task).catch_unwind().await;
        };
        self.shared.world.spawn(match Context::current() {
            Some(context) => Box::pin(within(context, task)),
            None => Box::pin(task),
        });
    }

    /// Returns random numbers that depend on the seed of the run, the process, `name`, and the call on whose behalf it is asked for, if
    /// there is one. The same `name` in the same call has the same numbers each time.
    pub fn rng(&self, name: &str) -> RandomStream {
        let attempt = Context::current().map_or(AttemptId { request: 0, number: 0 }, |context| context.attempt());
        let process = fnv1a(self.shared.name.bytes());
        let numbers = [process, fnv1a(name.bytes()), attempt.request, u64::from(attempt.number)];
        self.shared.entropy.stream_of("app.rng", &numbers)
    }

    /// Runs `work`, which computes and does not wait, and returns its result. In the real world it runs on another thread. In a simulation
    /// it runs at once and takes the time that the calibration has for `what`, or else the scenario's `workload.compute_time`, times
    /// `units`, the amount of work in a unit of its own.
    pub async fn compute<T: Send + 'static>(
        &self,
        what: &str,
        units: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let Shared { world, recorder, payer, name, computations, .. } = &*self.shared;
        let (attempt, nth) = match Context::current() {
            Some(context) => (context.attempt(), context.next_computation()),
            // No attempt has the number 0, so no call has these draws.
            None => {
                let process = AttemptId { request: fnv1a(name.bytes()), number: 0 };
                (process, computations.fetch_add(1, Ordering::Relaxed))
            }
        };
        let cost = Cost { payer: *payer, what, units, attempt, nth };
        if !world.measures_computing() {
            return compute(&**world, cost, work).await;
        }
        let began = world.now();
        let result = compute(&**world, cost, work).await;
        record_computing(recorder, attempt, (what, units), world.now().since(began));
        result
    }

    /// Serves `services`, and the health service with their names, until the process is asked to end and the calls under way have ended.
    ///
    /// Around them are the workers and the queue of the scenario's `[servers]`, and the faults `errors` and `slow`.
    ///
    /// # Errors
    ///
    /// Returns an error if the process serves already, is that of the load, or cannot listen.
    pub async fn serve(&self, services: impl Into<Services>) -> Result<(), ServeError> {
        let Shared { world, recorder, name, role, has_served, .. } = &*self.shared;
        let Role::Serves(serving) = role else { return Err(ServeError::Load) };
        let serving = lock(serving).take().ok_or(ServeError::Twice)?;
        let Serving { settings, injector, stop, methods, descriptors } = serving;
        has_served.store(true, Ordering::Relaxed);
        let services: Services = descriptors.into_iter().fold(services.into(), Services::described_by);
        let services = services.with_methods(&methods);
        let served =
            server::serve_services(world.clone(), recorder.clone(), name, settings, |_| services, injector, stop);
        Ok(served.await?)
    }

    /// Returns what connects to the replica of this number of `service`, for a client stack of the load's own, such as
    /// `tonic::transport::Endpoint::connect_with_connector_lazy`. Its connections have the latency and the faults of the replica's link.
    ///
    /// Calls over it are no attempts of `[client]`: they have no rows, and neither have its connections. The request that makes them has one,
    /// and the rows of the servers name it if the call has the metadata of [`Call::request`](super::Call::request).
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such replica, or if the process is one of the service.
    pub fn connector(&self, service: &str, replica: usize) -> Result<Connector, NoConnector> {
        let Role::Calls(replicas) = &self.shared.role else { return Err(NoConnector::NotTheLoad) };
        if replicas.service != service {
            return Err(NoConnector::UnknownService(service.to_owned(), replicas.service.clone()));
        }
        let Some(link) = replicas.links.get(replica) else {
            let (service, replicas) = (service.to_owned(), replicas.links.len());
            return Err(NoConnector::UnknownReplica { service, replicas, replica });
        };
        self.shared.has_connector.store(true, Ordering::Relaxed);
        Ok(Connector::new(link.clone()))
    }

    /// Returns the number of replicas that the process can connect to: those of the service for the load, and none for a process of
    /// the service.
    pub fn replicas(&self) -> usize {
        match &self.shared.role {
            Role::Serves(_) => 0,
            Role::Calls(replicas) => replicas.links.len(),
        }
    }

    /// Notes that the code has reached a state that a test should reach in some runs: the assertion that a run is *sometimes* in it. The first
    /// time in a process it is recorded, as an event. Sweeps and hunts say how many runs reached the state, and `sim hunt --guided` goes on from
    /// there. [`sometimes!`](crate::sometimes) notes it under a condition.
    pub fn reached(&self, state: &'static str) {
        if lock(&self.shared.reached).insert(state) {
            self.shared.recorder.event(Event::Reached).cause(state).record();
        }
    }

    /// Records that a client stack of the load's own has given up the call of a request, and why.
    pub(super) fn record_give_up(&self, request: u64, cause: &str) {
        self.shared.recorder.event(Event::GiveUp).request(request).cause(cause).record();
    }

    #[cfg(test)]
    pub(super) fn world(&self) -> &SharedWorld {
        &self.shared.world
    }

    /// Returns whether there is a client stack of the load's own.
    pub(super) fn has_connector(&self) -> bool {
        self.shared.has_connector.load(Ordering::Relaxed)
    }

    /// Returns whether the process has served, or serves.
    pub(super) fn has_served(&self) -> bool {
        self.shared.has_served.load(Ordering::Relaxed)
    }
}
