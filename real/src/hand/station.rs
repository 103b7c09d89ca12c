//! What a server and a proxy that are started by hand have in common: an address, a name to be found by, and a link
//! that others can steer.

use std::{io, net::SocketAddr, sync::Arc};

use kernel::{cli::Failure, entropy::Entropy, link::Link, server::Injector, world::SharedWorld};

use super::{
    control::Faults,
    door::Door,
    identity::Identity,
    registry::{Entered, Entry, Kind, Registry},
};
use crate::{
    clock::Clock,
    host::Host,
    tcp::{self, Backlog},
    timer::Timer,
};

/// A place where connections are taken.
pub(super) struct Station {
    pub(super) host: Host,
    /// The same process without an address.
    pub(super) world: SharedWorld,
    pub(super) door: Door,
    pub(super) entered: Entered,
}

impl Station {
    /// Listens at `address`, as `id` or a name that is made of the port. Others can steer its link, and `injector`.
    pub(super) fn open(
        address: SocketAddr,
        id: Option<&str>,
        kind: Kind,
        injector: Option<Arc<Injector>>,
    ) -> Result<Self, Failure> {
        let registry = Registry::of_user()?;
        let backlog = listen(address, &registry)?;
        let address = backlog.address().map_err(Failure::run_failed)?;
        let noun = if kind == Kind::Server { "server" } else { "proxy" };
        let id = id.map_or_else(|| format!("{noun}-{}", address.port()), str::to_owned);
        let process = Identity::of(std::process::id());
        let process = process.ok_or_else(|| Failure::run_failed("/proc does not tell of this process"))?;
        let entered = registry.enter(Entry { id: id.clone(), kind, address, process })?;
        let timer = Timer::start().map_err(Failure::run_failed)?;
        let world = Host::new(Clock::MACHINE, timer.clone()).shared();
        // Which segments are lost is of no consequence here.
        let link = Link::new(world.clone(), Entropy::new(0), &id);
        let socket = entered.socket();
        let steered = Faults::on(link.clone(), injector).listen(&world, &socket);
        steered.map_err(|error| Failure::run_failed(format!("cannot be steered: {}: {error}", socket.display())))?;
        let host = Host::new(Clock::MACHINE, timer);
        Ok(Self { host, world, door: Door::new(backlog, link), entered })
    }
}

fn listen(address: SocketAddr, registry: &Registry) -> Result<Backlog, Failure> {
    let port = address.port();
    let remedy = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            match registry.entries().unwrap_or_default().iter().find(|e| e.address.port() == port) {
                Some(entry) => format!("{}; end it with `real down {}`, or choose another port", entry.is(), entry.id),
                None => format!("the port is in use; `ss -ltnp 'sport = :{port}'` says by what, or choose another"),
            }
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 are the system's; choose another".to_owned(),
        _ => error.to_string(),
    };
    tcp::listen_at(address)
        .map_err(|error| Failure::run_failed(format!("cannot listen at {address}: {}", remedy(error))))
}
