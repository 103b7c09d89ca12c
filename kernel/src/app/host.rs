//! The interface of the code of one process to its world.

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
use tonic::IntoRequest;

use super::{Callee, Connector, NoConnector, NoEdge, Process};
use crate::{
    client::Channel,
    context::{Context, within},
    entropy::{Entropy, RandomStream, fnv1a},
    grpc::{CALL, Methods, Services},
    record::{AttemptId, CallId, Event, Recorder},
    scenario::CLIENT,
    server::{self, Injector, ReplicaSettings, record_computing},
    sync::lock,
    time::Instant,
    world::{BoxFuture, Cost, Payer, SharedWorld, compute},
};

/// The interface of the code of one process to its world: time, computing, tasks, randomness, and the way to serve. Clones are the same
/// host.
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
    /// Its service, or `client` for the load.
    service: String,
    /// The services that it calls.
    callees: Vec<Callee>,
    /// The methods that the app declares.
    methods: Arc<Methods>,
    has_served: AtomicBool,
    /// It was asked for a connector.
    has_connector: AtomicBool,
    /// Number of computations so far that were for no call.
    computations: AtomicU32,
    /// The states that the code has reached, by the names that it gives them.
    reached: Mutex<BTreeSet<&'static str>>,
}

/// The purpose of a process.
enum Role {
    /// It serves; what it serves with, until it does.
    Serves(Box<Mutex<Option<Serving>>>),
    /// It is that of the load.
    Load,
}

/// The resources that a process of a service serves with.
struct Serving {
    settings: ReplicaSettings,
    injector: Arc<Injector>,
    /// Completes when the process is asked to end.
    stop: BoxFuture<'static, ()>,
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
    /// Returns the host of `process` of the service called `service`, of an app with these methods and descriptors.
    pub(super) fn of_service(
        process: Process,
        service: &str,
        (methods, descriptors): (&Methods, &[&'static [u8]]),
        stop: BoxFuture<'static, ()>,
    ) -> Self {
        let Process { world, recorder, name, settings, injector, callees } = process;
        let entropy = injector.entropy();
        let serving = Serving { settings, injector, stop, descriptors: descriptors.to_owned() };
        let role = Role::Serves(Box::new(Mutex::new(Some(serving))));
        Self::new((world, recorder, entropy), &name, Payer::Server, role, (service, callees, methods))
    }

    /// Returns the host of the load, which calls `callee`.
    pub(super) fn of_load(
        world: SharedWorld,
        recorder: Recorder,
        entropy: Entropy,
        callee: Callee,
        methods: &Methods,
    ) -> Self {
        Self::new((world, recorder, entropy), "load", Payer::Client, Role::Load, (CLIENT, vec![callee], methods))
    }

    fn new(
        (world, recorder, entropy): (SharedWorld, Recorder, Entropy),
        name: &str,
        payer: Payer,
        role: Role,
        (service, callees, methods): (&str, Vec<Callee>, &Methods),
    ) -> Self {
        let shared = Shared {
            world,
            recorder,
            entropy,
            name: name.to_owned(),
            payer,
            role,
            service: service.to_owned(),
            callees,
            methods: Arc::new(methods.clone()),
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
        let attempt = Context::current().map_or(AttemptId::of_request(0, 0), |context| context.attempt());
        let process = fnv1a(self.shared.name.bytes());
        let numbers = [&[process, fnv1a(name.bytes())], &attempt.numbers()[..]].concat();
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
                let process = AttemptId::of_request(fnv1a(name.bytes()), 0);
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
        let Shared { world, recorder, name, role, methods, has_served, .. } = &*self.shared;
        let Role::Serves(serving) = role else { return Err(ServeError::Load) };
        let serving = lock(serving).take().ok_or(ServeError::Twice)?;
        let Serving { settings, injector, stop, descriptors } = serving;
        has_served.store(true, Ordering::Relaxed);
        let services: Services = descriptors.into_iter().fold(services.into(), Services::described_by);
        let services = services.with_methods(methods);
        let served =
            server::serve_services(world.clone(), recorder.clone(), name, settings, |_| services, injector, stop);
        Ok(served.await?)
    }

    /// Returns a channel to `service`, through the policies of the scenario's edge to it: a generated client is made over it, in the code that
    /// serves or before. A call through it is one of the attempt that the process answers meanwhile: it has its row, it ends by the deadline of
    /// the attempt unless the edge says otherwise, and it is cancelled with it. Code that runs elsewhere than in a task of [`spawn`](Self::spawn),
    /// such as one of `tokio::spawn`, calls on behalf of no request.
    ///
    /// A method that streams is declared with `App::described_by` or `App::streaming`.
    ///
    /// # Errors
    ///
    /// Returns an error if the scenario has no edge to the service, or if the process is that of the load.
    pub fn channel(&self, service: &str) -> Result<Channel, NoEdge> {
        let Shared { world, entropy, recorder, methods, .. } = &*self.shared;
        self.callee(service)?.channel((world, *entropy), recorder, methods.clone())
    }

    /// Returns what connects to the replica of this number of `service`, for a client stack of the user's own, such as
    /// `tonic::transport::Endpoint::connect_with_connector_lazy`. Its connections have the latency and the faults of the replica's link.
    ///
    /// Calls over it are no attempts of `[client]`: they have no rows, and neither have its connections. The request that makes them has one,
    /// and the rows of the servers name it if the call has the metadata of [`Call::request`](super::Call::request), or in a service of
    /// [`request`](Self::request).
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such replica, or if the process does not call the service: the load calls one, and a process of a
    /// service those to which the scenario has an edge from it.
    pub fn connector(&self, service: &str, replica: usize) -> Result<Connector, NoConnector> {
        let links = self.callee(service)?.links();
        let Some(link) = links.get(replica) else {
            return Err(NoConnector::UnknownReplica { service: service.to_owned(), replicas: links.len(), replica });
        };
        self.shared.has_connector.store(true, Ordering::Relaxed);
        Ok(Connector::new(link.clone()))
    }

    /// Returns `message` as a request of a generated client over a stack of the process's own ([`connector`](Self::connector)) to `service`, with
    /// metadata that say on whose behalf the call is made, so that the rows of the servers say so, too. A [`channel`](Self::channel) adds them by
    /// itself; the load has [`Call::request`](super::Call::request).
    pub fn request<T>(&self, service: &str, message: impl IntoRequest<T>) -> tonic::Request<T> {
        let mut request = message.into_request();
        let call = Context::current().map(|context| context.next_call(&service.into()));
        let call = call.unwrap_or_else(|| {
            let before = self.shared.computations.fetch_add(1, Ordering::Relaxed);
            CallId::of_process(&self.shared.name, service, before)
        });
        if let Ok(value) = call.to_string().parse() {
            request.metadata_mut().insert(CALL, value);
        }
        request
    }

    /// Returns the number of replicas of `service`, which the process calls.
    ///
    /// # Errors
    ///
    /// Returns an error if it does not call the service.
    pub fn replicas_of(&self, service: &str) -> Result<usize, NoEdge> {
        Ok(self.callee(service)?.links().len())
    }

    /// Returns the number of replicas that the process can connect to, of all services that it calls.
    pub fn replicas(&self) -> usize {
        self.shared.callees.iter().map(|callee| callee.links().len()).sum()
    }

    fn callee(&self, service: &str) -> Result<&Callee, NoEdge> {
        let callees = &self.shared.callees;
        let found = callees.iter().find(|callee| callee.service() == service);
        found.ok_or_else(|| {
            let names: Vec<_> = callees.iter().map(|callee| format!("`{}`", callee.service())).collect();
            NoEdge::Unknown {
                process: self.shared.name.clone(),
                from: self.shared.service.clone(),
                service: service.to_owned(),
                known: if names.is_empty() {
                    "it calls none".to_owned()
                } else {
                    format!("it calls {}", names.join(", "))
                },
            }
        })
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
