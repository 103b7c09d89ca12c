//! This process's World.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use kernel::{
    memory,
    time::Instant,
    workload::{Job, Output},
    world::{BoxFuture, BoxStream, Listener, SharedWorld, Sleep, World},
};
use tokio::runtime::Handle;

use crate::{
    clock::{Clock, machine_ns},
    tcp,
    timer::Timer,
};

/// A process on a machine, as its software sees it.
pub(crate) struct Host {
    clock: Clock,
    timer: Timer,
    runtime: Handle,
    /// By server name.
    addresses: BTreeMap<String, SocketAddr>,
    /// Where it listens; taken once.
    backlog: Mutex<Option<Box<dyn Listener>>>,
}

impl Host {
    /// A process of tokio's present runtime that knows no servers and cannot listen.
    pub(crate) fn new(clock: Clock, timer: Timer) -> Self {
        memory::keep();
        let runtime = Handle::current();
        Self { clock, timer, runtime, addresses: BTreeMap::new(), backlog: Mutex::new(None) }
    }

    /// One that can connect to servers.
    pub(crate) fn knowing(self, addresses: BTreeMap<String, SocketAddr>) -> Self {
        Self { addresses, ..self }
    }

    /// One that can be connected to.
    pub(crate) fn listening(self, backlog: impl Listener + 'static) -> Self {
        Self { backlog: Mutex::new(Some(Box::new(backlog))), ..self }
    }

    /// Shared, as software wants it.
    pub(crate) fn shared(self) -> Arc<dyn World> {
        Arc::new(self)
    }
}

/// A World of this process, which it may do with as it likes: its time begins now, its tasks run on tokio's present
/// runtime, and `addresses` says where servers listen, by name. It cannot be connected to.
///
/// # Panics
///
/// Outside of a runtime.
pub fn world(addresses: BTreeMap<String, SocketAddr>) -> io::Result<SharedWorld> {
    Ok(Host::new(Clock::since(machine_ns()), Timer::start()?).knowing(addresses).shared())
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
            let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("there is no server `{server}`"));
            tcp::connect(*self.addresses.get(server).ok_or_else(unknown)?).await
        })
    }

    fn listen(&self) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        let backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner).take();
        let none = || io::Error::new(io::ErrorKind::AddrNotAvailable, "this process has no address to listen at");
        Box::pin(async move { backlog.ok_or_else(none) })
    }

    fn compute(&self, job: Job) -> BoxFuture<'static, Output> {
        let done = self.runtime.spawn_blocking(move || job.run());
        Box::pin(async move { done.await.unwrap_or_else(|stopped| std::panic::resume_unwind(stopped.into_panic())) })
    }
}
