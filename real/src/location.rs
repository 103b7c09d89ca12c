//! The place of a server: an address, or a name that has one.
//!
//! The server behind a name can move: a pod that is started again has another address. So a name is resolved again when a connection is
//! opened, as gRPC's resolver for DNS does when one has failed, and as seldom: at least 30 s pass between two resolutions.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use kernel::{
    sync::lock,
    world::{BoxStream, World, timeout_at},
};
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::{clock::machine_ns, remote::address, tcp};

/// Shortest time between the beginnings of two resolutions of a name.
const RESOLUTION_INTERVAL: Duration = Duration::from_secs(30);

/// Time after which a connection goes to the address before, if the resolution has not ended.
const RESOLUTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the address of HOST:PORT, or why there is none. It may wait for a DNS server.
pub(crate) type Resolver = Box<dyn Fn(&str) -> Result<SocketAddr, String> + Send + Sync>;

/// The place of a server.
#[derive(Debug, Clone)]
pub(crate) enum Location {
    /// The server is at this address.
    Fixed(SocketAddr),
    /// The server is at the address of a name, which can change.
    Named(Arc<NamedHost>),
}

/// A name and its address.
pub(crate) struct NamedHost {
    /// The name and the port, as HOST:PORT.
    text: String,
    resolver: Resolver,
    interval: Duration,
    timeout: Duration,
    found: Mutex<Found>,
}

/// The result of the last resolution that had one.
struct Found {
    address: SocketAddr,
    /// The time at which the last resolution began, in nanoseconds since the machine started.
    begun_ns: u64,
}

impl fmt::Debug for NamedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, lock(&self.found).address)
    }
}

impl Location {
    /// Returns the location that `text` stands for, a port of the loopback device or HOST:PORT. Fails if the host has no address.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Ok(Self::known(text, address(text)?, Box::new(address)))
    }

    /// Returns the location that `text` stands for, whose address is `found` now. If it is a name, `resolver` says where it is later.
    pub(crate) fn known(text: &str, found: SocketAddr, resolver: Resolver) -> Self {
        if text.parse::<u16>().is_ok() || text.parse::<SocketAddr>().is_ok() {
            return Self::Fixed(found);
        }
        Self::Named(Arc::new(NamedHost::new(text, found, resolver)))
    }

    /// Returns the address, as far as it is known.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Fixed(address) => *address,
            Self::Named(host) => lock(&host.found).address,
        }
    }

    /// Returns the name of the host, if it has one.
    pub(crate) fn host(&self) -> Option<&str> {
        match self {
            Self::Fixed(_) => None,
            Self::Named(host) => host.text.rsplit_once(':').map(|(host, _)| host),
        }
    }

    /// Opens a connection of `world` to the address of this moment.
    pub(crate) async fn connect(&self, world: &dyn World) -> io::Result<BoxStream> {
        if let Self::Named(host) = self {
            host.resolve_again(world).await;
        }
        tcp::connect(self.address()).await
    }
}

impl NamedHost {
    fn new(text: &str, address: SocketAddr, resolver: Resolver) -> Self {
        Self {
            text: text.to_owned(),
            resolver,
            interval: RESOLUTION_INTERVAL,
            timeout: RESOLUTION_TIMEOUT,
            found: Mutex::new(Found { address, begun_ns: machine_ns() }),
        }
    }

    /// Resolves the name unless that was done a short time ago, and waits for it for a while. Without an answer the address stays.
    async fn resolve_again(self: &Arc<Self>, world: &dyn World) {
        {
            let now = machine_ns();
            let mut found = lock(&self.found);
            if u128::from(now.saturating_sub(found.begun_ns)) < self.interval.as_nanos() {
                return;
            }
            // Other connections that are opened meanwhile go to the address before.
            found.begun_ns = now;
        }
        let host = self.clone();
        // It blocks its thread. If it takes longer than this connection waits, a later one has its result.
        let resolving = Handle::current().spawn_blocking(move || match (host.resolver)(&host.text) {
            Ok(address) => {
                let before = std::mem::replace(&mut lock(&host.found).address, address);
                if address != before {
                    info!(name = host.text, %before, %address, "the name has another address");
                }
            }
            Err(error) => warn!(name = host.text, error, "the name cannot be resolved; its last address is used"),
        });
        if timeout_at(world, world.now() + self.timeout, resolving).await.is_err() {
            warn!(name = self.text, "the resolution of the name takes long; its last address is used");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        collections::VecDeque,
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
    };

    use kernel::world::{Listener, SharedWorld};
    use tokio::runtime::Runtime;

    use super::*;
    use crate::{clock::Clock, host::Host, tcp::Backlog, timer::Timer};

    pub(crate) const LONG: Duration = Duration::from_secs(3_600);

    /// A name whose address was that of `first`, with a resolver.
    pub(crate) fn named(
        first: SocketAddr,
        [interval, timeout]: [Duration; 2],
        resolver: impl Fn(&str) -> Result<SocketAddr, String> + Send + Sync + 'static,
    ) -> Location {
        let host = NamedHost { interval, timeout, ..NamedHost::new("pod:7", first, Box::new(resolver)) };
        Location::Named(Arc::new(host))
    }

    fn world() -> SharedWorld {
        Host::new(Clock::MACHINE, Timer::start().unwrap()).shared()
    }

    pub(crate) fn listening() -> (Backlog, SocketAddr) {
        let backlog = tcp::listen(0, Timer::start().unwrap()).unwrap();
        let address = backlog.address().unwrap();
        (backlog, address)
    }

    #[test]
    fn a_connection_goes_to_the_address_that_the_name_has_now() {
        Runtime::new().unwrap().block_on(async {
            let world = world();
            let ((before, first), (mut after, second)) = (listening(), listening());
            drop(before);
            let answers = Mutex::new(VecDeque::from([Err("no such host".to_owned()), Ok(second)]));
            let location = named(first, [Duration::ZERO, LONG], move |name| {
                assert_eq!(name, "pod:7");
                lock(&answers).pop_front().unwrap()
            });
            let refused = location.connect(&*world).await.err().map(|error| error.kind());
            assert_eq!(refused, Some(io::ErrorKind::ConnectionRefused), "without an answer it is the address before");
            assert_eq!(location.address(), first);
            assert!(location.connect(&*world).await.is_ok());
            assert_eq!(location.address(), second);
            assert!(after.accept().await.is_ok());
        });
    }

    #[test]
    fn a_name_is_resolved_once_in_an_interval() {
        Runtime::new().unwrap().block_on(async {
            let world = world();
            let (_backlog, address) = listening();
            for (interval, expected) in [(LONG, 0), (Duration::ZERO, 3)] {
                let asked = Arc::new(AtomicUsize::new(0));
                let count = asked.clone();
                let location = named(address, [interval, LONG], move |_| {
                    count.fetch_add(1, Ordering::Relaxed);
                    Ok(address)
                });
                for _ in 0..3 {
                    location.connect(&*world).await.unwrap();
                }
                assert_eq!(asked.load(Ordering::Relaxed), expected, "{interval:?}");
            }
        });
    }

    #[test]
    fn a_resolution_that_takes_long_counts_for_a_later_connection() {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let world = world();
            let ((_before, first), (_after, second)) = (listening(), listening());
            let (answer, answers) = mpsc::channel();
            let answers = Mutex::new(answers);
            let location = named(first, [Duration::ZERO, Duration::ZERO], move |_| {
                lock(&answers).recv().map_err(|_| String::new())
            });
            assert!(location.connect(&*world).await.is_ok());
            assert_eq!(location.address(), first);
            answer.send(second).unwrap();
            while location.address() == first {
                tokio::task::yield_now().await;
            }
        });
    }

    #[test]
    fn only_names_are_resolved_again() {
        let host = |text| Location::parse(text).unwrap().host().map(str::to_owned);
        assert_eq!(host("8080"), None);
        assert_eq!(host("127.0.0.1:1"), None);
        assert_eq!(host("[::1]:1"), None);
        assert_eq!(host("localhost:1"), Some("localhost".to_owned()));
        assert!(Location::parse("localhost").is_err_and(|message| message.contains("HOST:PORT")));
    }
}
