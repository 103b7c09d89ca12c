//! The parts that a manually started server and a proxy share: an address, an entry in the registry, and a link with a
//! control socket.

use std::{io, net::SocketAddr, sync::Arc};

use kernel::{
    cli::Failure, entropy::Entropy, export::Observer, link::Link, server::Injector, visible::Visible,
    world::SharedWorld,
};

use super::{
    active_faults::ActiveFaults,
    control::ControlSocket,
    fault_log::{Change, FaultLog},
    identity::ProcessIdentity,
    link_listener::LinkListener,
    log::log_line,
    registry::{EntryKind, Registration, Registry, RegistryEntry},
};
use crate::{
    clock::Clock,
    export::{Exporter, Outlets},
    host::Host,
    tcp::{self, Backlog},
    timer::Timer,
};

/// A manually started server or proxy, ready to accept connections.
pub(super) struct ManualSession {
    /// This process; it does not listen yet.
    pub(super) host: Host,
    /// The same process, for its other tasks.
    pub(super) world: SharedWorld,
    /// Accepts the connections.
    pub(super) listener: LinkListener,
    /// Its entry in the registry.
    pub(super) registration: Registration,
    /// The faults that are active on it.
    pub(super) faults: Arc<ActiveFaults>,
    /// Its metrics, if they are exported.
    pub(super) exporter: Option<Exporter>,
}

impl ManualSession {
    /// Listens at `address` and enters itself in the registry as `id`; by default the id contains the port. Other processes
    /// can then inject faults into its link and into the injector of a server, whose connections have TLS or not. Its metrics are exported
    /// by `outlets`, if there are any.
    ///
    /// Fails if the address or the id is taken.
    pub(super) fn open(
        address: SocketAddr,
        id: Option<&str>,
        kind: EntryKind,
        server: Option<(Arc<Injector>, bool)>,
        outlets: Option<Outlets>,
    ) -> Result<Self, Failure> {
        let registry = Registry::for_user()?;
        let timer = Timer::start().map_err(Failure::run_failed)?;
        let backlog = listen(address, timer.clone(), &registry)?.by_hand(|text| log_line(text));
        let backlog = if kind == EntryKind::Server { backlog } else { backlog.for_proxy() };
        let address = backlog.address().map_err(Failure::run_failed)?;
        let noun = if kind == EntryKind::Server { "server" } else { "proxy" };
        let id = id.map_or_else(|| format!("{noun}-{}", address.port()), str::to_owned);
        let process = ProcessIdentity::for_pid(std::process::id());
        let process = process.ok_or_else(|| Failure::run_failed("/proc has no entry for this process"))?;
        let metrics = outlets.as_ref().and_then(Outlets::address);
        let exporter = outlets.map(|outlets| Exporter::start(outlets, Observer::of_process())).transpose()?;
        let registration = registry.register(RegistryEntry { id: id.clone(), kind, address, process, metrics })?;
        let world = Host::new(Clock::MACHINE, timer.clone()).shared();
        // A fixed seed: a manual session is not repeated, so it does not matter which segments are lost.
        let link = Link::new(world.clone(), Entropy::new(0), &id);
        let socket = registration.socket();
        let log = FaultLog::new(registry.folder(), registration.entry());
        log.add(Change::Up).map_err(|error| Failure::run_failed(format!("cannot log faults: {error}")))?;
        let (injector, is_encrypted) = server.unzip();
        let faults = ActiveFaults::new(link.clone(), injector, Some(log)).encrypted(is_encrypted.unwrap_or_default());
        let faults = Arc::new(faults.exported_by(exporter.clone()));
        let listens = ControlSocket::listen(faults.clone(), &world, timer.clone(), &socket);
        listens.map_err(|error| Failure::run_failed(format!("cannot be controlled: {}: {error}", socket.visible())))?;
        let host = Host::new(Clock::MACHINE, timer);
        Ok(Self { host, world, listener: LinkListener::new(backlog, link), registration, faults, exporter })
    }
}

fn listen(address: SocketAddr, timer: Timer, registry: &Registry) -> Result<Backlog, Failure> {
    tcp::listen_at(address, timer).map_err(|error| {
        let reason = reason(&error, address.port(), registry);
        Failure::run_failed(format!("cannot listen at {address}: {reason}"))
    })
}

/// The reason why `port` cannot be listened at, with a remedy where one is known.
fn reason(error: &io::Error, port: u16, registry: &Registry) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            match registry.entries().unwrap_or_default().iter().find(|entry| entry.address.port() == port) {
                Some(entry) => {
                    format!("{}; end it with `real down {}`, or choose another port", entry.running(), entry.id)
                }
                None => format!("the port is in use; `ss -ltnp 'sport = :{port}'` says by what, or choose another"),
            }
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 are the system's; choose another".to_owned(),
        _ => error.to_string(),
    }
}
