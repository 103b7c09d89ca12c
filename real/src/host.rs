//! The `World` of this process.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use kernel::{
    memory,
    sync::lock,
    time::Instant,
    tls::Tls,
    world::{BoxFuture, BoxStream, Cost, Listener, SharedWorld, Sleep, Token, Work, World},
};
use tokio::runtime::Handle;
use tracing::debug;

use crate::{
    clock::{Clock, machine_ns},
    location::Location,
    tcp,
    timer::Timer,
    token,
};

/// Longest time between two segments that a process writes one after another. A link reads the headers and the message of a request some
/// 50 µs apart, and three times that if the processors have slept.
const SEGMENT_GAP: Duration = Duration::from_micros(300);

/// A process on this machine, with its clock, timers, tasks and sockets.
pub(crate) struct Host {
    clock: Clock,
    timer: Timer,
    runtime: Handle,
    /// Where servers are, by name.
    locations: BTreeMap<String, Location>,
    /// The listening socket, until `listen` takes it.
    backlog: Mutex<Option<Box<dyn Listener>>>,
    measures_computing: bool,
    tls: Option<Tls>,
}

impl Host {
    /// A process whose tasks run on tokio's current runtime. It knows no servers and does not listen.
    pub(crate) fn new(clock: Clock, timer: Timer) -> Self {
        memory::keep();
        let runtime = Handle::current();
        let locations = BTreeMap::new();
        Self { clock, timer, runtime, locations, backlog: Mutex::new(None), measures_computing: false, tls: None }
    }

    /// The same process, which can connect to the servers at `addresses`.
    pub(crate) fn with_servers(self, addresses: BTreeMap<String, SocketAddr>) -> Self {
        let fixed = |(name, address)| (name, Location::Fixed(address));
        self.with_locations(addresses.into_iter().map(fixed).collect())
    }

    /// The same process, which can connect to the servers at `locations`.
    pub(crate) fn with_locations(self, locations: BTreeMap<String, Location>) -> Self {
        Self { locations, ..self }
    }

    /// The same process, which accepts connections from `backlog`.
    pub(crate) fn with_listener(self, backlog: impl Listener + 'static) -> Self {
        Self { backlog: Mutex::new(Some(Box::new(backlog))), ..self }
    }

    /// The same process, which records how long its services compute if `measures`.
    pub(crate) fn measuring_computing(self, measures: bool) -> Self {
        Self { measures_computing: measures, ..self }
    }

    /// The same process, whose connections have this TLS.
    pub(crate) fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// The process as the client and the server use it.
    pub(crate) fn shared(self) -> Arc<dyn World> {
        Arc::new(self)
    }
}

/// The `World` of this process, for programs that use Rehearsal's client: its time starts now, its tasks run on tokio's
/// current runtime, and `addresses` contains the addresses of servers by name. It does not listen.
///
/// Fails if the thread of the timers cannot be started.
///
/// # Panics
///
/// Panics outside of a tokio runtime.
pub fn world(addresses: BTreeMap<String, SocketAddr>) -> io::Result<SharedWorld> {
    Ok(Host::new(Clock::since(machine_ns()), Timer::start()?).with_servers(addresses).shared())
}

/// Returns the `World` of this process, as [`world`] does, of a server: it listens at `address`, or at a free port of its
/// host if its port is 0. The address at which it listens comes with it.
///
/// # Errors
///
/// Returns an error if the address cannot be used, or if the thread of the timers cannot be started.
///
/// # Panics
///
/// Panics outside of a tokio runtime.
pub fn listening_world(address: SocketAddr) -> io::Result<(SharedWorld, SocketAddr)> {
    let timer = Timer::start()?;
    let backlog = tcp::listen_at(address, timer.clone())?;
    let address = backlog.address()?;
    let host = Host::new(Clock::since(machine_ns()), timer).with_listener(backlog);
    Ok((host.shared(), address))
}

impl World for Host {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Box::pin(self.timer.sleep_until(self.clock.machine_ns_at(at)))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.runtime.spawn(task);
    }

    fn connect<'a>(&'a self, server: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let location = self
                .locations
                .get(server)
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no server `{server}`")))?;
            let connected = location.connect(self).await;
            connected.inspect_err(|error| debug!(server, ?location, %error, "cannot connect"))
        })
    }

    fn listen(&self) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        let backlog = lock(&self.backlog).take();
        Box::pin(async move {
            backlog.ok_or_else(|| {
                io::Error::new(io::ErrorKind::AddrNotAvailable, "this process has no address to listen at")
            })
        })
    }

    fn compute(&self, _: Cost<'_>, work: Work) -> BoxFuture<'static, ()> {
        let done = self.runtime.spawn_blocking(work);
        Box::pin(async move { done.await.unwrap_or_else(|stopped| std::panic::resume_unwind(stopped.into_panic())) })
    }

    fn measures_computing(&self) -> bool {
        self.measures_computing
    }

    fn sends_user_agent(&self) -> bool {
        true
    }

    fn ends_requests_with_data(&self) -> bool {
        true
    }

    fn segment_gap(&self) -> Duration {
        SEGMENT_GAP
    }

    fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    fn token(&self) -> Option<&Token> {
        token::of_process()
    }
}
