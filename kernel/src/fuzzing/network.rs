//! Hosts in memory that connect to each other and share a clock, for tests of a client and its servers.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::duplex,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::host::{BUFFER_BYTES, MemoryHost, SharedHost, over};
use crate::{
    client::{Client, settings},
    entropy::Entropy,
    link::Link,
    policy::Policies,
    record::{Event, EventRow, Recorder, Records},
    server::{Admission, InjectedErrors, Injection, Injector, ReplicaSettings, serve, settings::server_name},
    status::Code,
    sync::lock,
    time::Instant,
    tls::Tls,
    workload::settings::Backend,
    world::{BoxFuture, BoxStream, Cost, Listener, PeerTerms, SharedWorld, Sleep, Work, World},
};

/// A number of hosts, each with a name.
#[derive(Default)]
pub(crate) struct Network {
    clock: Arc<MemoryHost>,
    /// Where the connections to the hosts that listen go.
    listening: Mutex<BTreeMap<String, UnboundedSender<BoxStream>>>,
    /// The demands of each host on its peers, by its name.
    terms: Mutex<BTreeMap<String, PeerTerms>>,
}

impl Network {
    /// Returns the host `name`.
    pub(crate) fn host(self: &Arc<Self>, name: &str) -> SharedWorld {
        self.host_with_tls(name, None)
    }

    /// Returns the host `name`, whose connections have this TLS.
    pub(crate) fn host_with_tls(self: &Arc<Self>, name: &str, tls: Option<Tls>) -> SharedWorld {
        let clock = SharedHost(self.clock.clone());
        Arc::new(NetworkHost { network: self.clone(), clock, name: name.to_owned(), tls })
    }

    /// Demands `terms` of the peers that connect to `name`, once it listens.
    pub(crate) fn demand(&self, name: &str, terms: PeerTerms) {
        lock(&self.terms).insert(name.to_owned(), terms);
    }

    /// Runs all hosts until `task` has ended, and returns its result.
    pub(crate) fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        self.clock.run(task)
    }
}

struct NetworkHost {
    network: Arc<Network>,
    clock: SharedHost,
    name: String,
    tls: Option<Tls>,
}

impl World for NetworkHost {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        self.clock.sleep_until(at)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.clock.spawn(task);
    }

    fn connect<'a>(&'a self, server: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let (ours, theirs) = duplex(BUFFER_BYTES);
            let listener = lock(&self.network.listening).get(server).cloned();
            // Without a receiver the host has ceased to listen.
            match listener.map(|listener| listener.send(over(theirs))) {
                Some(Ok(())) => Ok(over(ours)),
                _ => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }

    fn listen(&self) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async {
            let (sender, connections) = unbounded_channel();
            lock(&self.network.listening).insert(self.name.clone(), sender);
            let terms = lock(&self.network.terms).get(&self.name).cloned().unwrap_or_default();
            Ok(Box::new(NetworkListener { connections, terms }) as Box<dyn Listener>)
        })
    }

    fn compute(&self, cost: Cost<'_>, work: Work) -> BoxFuture<'static, ()> {
        self.clock.compute(cost, work)
    }

    fn sends_user_agent(&self) -> bool {
        true
    }

    fn ends_requests_with_data(&self) -> bool {
        true
    }

    fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }
}

struct NetworkListener {
    connections: UnboundedReceiver<BoxStream>,
    terms: PeerTerms,
}

impl Listener for NetworkListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async {
            match self.connections.recv().await {
                Some(connection) => Ok(connection),
                None => std::future::pending().await,
            }
        })
    }

    fn terms(&self) -> PeerTerms {
        self.terms.clone()
    }
}

/// The time at which the calls of a test begin. The client has connected by then.
pub(crate) const CALLS_BEGIN: Duration = Duration::from_secs(1);

/// A client, its servers, and what they record.
pub(crate) struct Service {
    pub(crate) network: Arc<Network>,
    /// The client's host.
    pub(crate) world: SharedWorld,
    /// The links to the servers.
    pub(crate) links: Vec<Arc<Link>>,
    /// The injectors of the servers.
    pub(crate) injectors: Vec<Arc<Injector>>,
    /// The records of the client.
    pub(crate) records: Arc<Mutex<Records>>,
    /// The records of the servers.
    pub(crate) server_records: Arc<Mutex<Records>>,
}

impl Service {
    /// Creates a service whose servers run with `replicas`. None of them listens until [`Self::serve`].
    pub(crate) fn new(replicas: usize) -> Self {
        let network = Arc::new(Network::default());
        let world = network.host("client");
        let links = (0..replicas).map(|index| Link::new(world.clone(), Entropy::new(1), &server_name(index))).collect();
        let injectors = (0..replicas).map(|_| Arc::new(Injector::new(Entropy::new(1)))).collect();
        Self { network, world, links, injectors, records: Arc::default(), server_records: Arc::default() }
    }

    /// Starts the server at `index`, which stops `until` then.
    pub(crate) fn serve(&self, index: usize, settings: ReplicaSettings, until: Instant) {
        let name = server_name(index);
        let world = self.network.host(&name);
        let recorder = Recorder::new(world.clone(), &name, self.server_records.clone());
        let injector = self.injectors[index].clone();
        let host = world.clone();
        host.spawn(Box::pin(async move {
            let stop = world.sleep_until(until);
            serve(world.clone(), recorder, &name, settings, injector, stop).await.expect("the host can listen");
        }));
    }

    /// Starts a client of all servers.
    pub(crate) fn client(&self, settings: settings::Client) -> Client {
        Client::start(self.world.clone(), Entropy::new(1), self.recorder(), settings, &self.links)
    }

    /// Returns the recorder of the client.
    pub(crate) fn recorder(&self) -> Recorder {
        Recorder::new(self.world.clone(), "client", self.records.clone())
    }

    /// Returns the attempts that the client has recorded, with milliseconds since [`CALLS_BEGIN`].
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        let millis = |micros: u64| micros as i64 / 1_000 - CALLS_BEGIN.as_millis() as i64;
        let rows = lock(&self.records).attempts.clone();
        rows.into_iter()
            .map(|row| (row.server.to_string(), millis(row.start_us), millis(row.end_us), row.status, row.cause))
            .collect()
    }

    /// Returns the events about `request` that the client has recorded.
    pub(crate) fn events_of(&self, request: u64) -> Vec<EventRow> {
        let records = lock(&self.records);
        records.events.iter().filter(|row| row.request == Some(request)).cloned().collect()
    }

    /// Returns the kinds of the events about `request` that the client has recorded.
    pub(crate) fn kinds_of(&self, request: u64) -> Vec<Event> {
        self.events_of(request).into_iter().map(|row| row.event).collect()
    }

    /// Returns the events of this kind that the client has recorded.
    pub(crate) fn events(&self, event: Event) -> Vec<EventRow> {
        lock(&self.records).events.iter().filter(|row| row.event == event).cloned().collect()
    }
}

/// Server, start and end in milliseconds, status and cause of an attempt.
pub(crate) type Attempt = (String, i64, i64, Code, Option<String>);

/// Returns the instant `millis` after [`CALLS_BEGIN`].
pub(crate) fn at(millis: u64) -> Instant {
    Instant::START + CALLS_BEGIN + Duration::from_millis(millis)
}

/// Returns settings of a client without policies, whose servers are checked once.
pub(crate) fn plain() -> settings::Client {
    settings::Client {
        health_check: Some(settings::HealthCheck { interval: Duration::from_secs(86_400), ..Default::default() }),
        policies: Policies::default(),
        ..Default::default()
    }
}

fn replica(backend: Backend) -> ReplicaSettings {
    ReplicaSettings {
        workers: 4,
        queue: 4,
        service_time_min: Duration::ZERO,
        max_connection_age: None,
        max_connection_age_grace: None,
        admission: None,
        adaptive_queue: None,
        backend: Backend { delay: Duration::from_millis(20), failure_rate: 0.0, ..backend },
        kinds: Vec::new(),
    }
}

/// Returns a server that answers `Input::Data` after `millis`.
pub(crate) fn answering(millis: u64) -> ReplicaSettings {
    let mut settings = replica(Backend::default());
    settings.backend.delay = Duration::from_millis(millis);
    settings
}

/// Returns a server that fails `Input::Data` after `millis`.
pub(crate) fn failing(failure_status: Code, millis: u64) -> ReplicaSettings {
    let mut settings = answering(millis);
    settings.backend.failure_rate = 1.0;
    settings.backend.failure_status = failure_status;
    settings
}

/// Returns a server that never answers `Input::Data`.
pub(crate) fn hanging() -> ReplicaSettings {
    let mut settings = answering(0);
    settings.backend.hang_rate = 1.0;
    settings
}

/// Returns a server that refuses everything, and asks to wait for `millis`.
pub(crate) fn refusing(millis: u64) -> ReplicaSettings {
    let retry_pushback = Some(Duration::from_millis(millis));
    let admission = Admission { max_concurrent_requests: Some(0), retry_pushback, ..Admission::default() };
    ReplicaSettings { admission: Some(admission), ..answering(0) }
}

/// Returns an injection that fails every call with `status`.
pub(crate) fn failing_all(status: Code) -> Injection {
    Injection {
        errors: vec![InjectedErrors { fault: 0, rate: 1.0, status: Some(status), delay: Duration::ZERO }],
        ..Injection::default()
    }
}
