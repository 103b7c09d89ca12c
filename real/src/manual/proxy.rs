//! `real proxy`: a link with a control socket, in front of any TCP server.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use clap::Args;
use futures_util::future::{Either, select};
use kernel::{
    cli::{Exit, Failure},
    export::Observer,
    link::Way,
    record::Name,
    sync::lock,
    visible::Visible,
    world::{BoxStream, Listener, SharedWorld},
};
use tokio::runtime::Runtime;

use super::{
    announce,
    link_listener::LinkListener,
    log::log_line,
    registry::{EntryKind, Registry},
    relay::relay,
    session::ManualSession,
    toxiproxy::{Api, Closings, Flow, Flows, Proxies, Toxified},
};
use crate::{
    export::{Exporter, MetricsArgs, Outlets},
    interrupt::Interrupt,
    location::Location,
    option,
    remote::address,
};

/// Options of `real proxy`.
#[derive(Debug, Clone, Args)]
pub struct ProxyArgs {
    /// The address to listen on: a port of the loopback device, or HOST:PORT; port 0 chooses a free one.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: SocketAddr,

    /// The address to connect to: a port of the loopback device, HOST:PORT, or the name of a running server.
    #[arg(long, value_name = "ADDR")]
    upstream: String,

    /// The name of the proxy [default: proxy-PORT].
    #[arg(long, value_parser = option::id, value_name = "NAME")]
    id: Option<String>,

    /// The address at which the HTTP API of toxiproxy steers this proxy and adds further ones, such as 8474.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    toxiproxy: Option<SocketAddr>,

    #[command(flatten)]
    metrics: MetricsArgs,
}

/// Passes connections on until a signal asks it to end.
pub fn run(args: &ProxyArgs) -> Result<Exit, Failure> {
    args.metrics.remote().check("--listen", args.listen.ip())?;
    if let Some(api) = args.toxiproxy {
        args.metrics.remote().check("--toxiproxy", api.ip())?;
    }
    let upstream = upstream(&args.upstream)?;
    let outlets = args.metrics.open()?;
    let runtime = Runtime::new().map_err(Failure::run_failed)?;
    let done = runtime.block_on(proxy(args, upstream, outlets));
    // The connections under way have no end of their own, and dropping the runtime would wait for them.
    runtime.shutdown_background();
    done
}

pub(super) fn upstream(text: &str) -> Result<Location, Failure> {
    let entries = Registry::for_user()?.entries()?;
    if let Some(entry) = entries.iter().find(|entry| entry.id == text) {
        return Ok(Location::Fixed(entry.address));
    }
    Location::parse(text)
        .map_err(|error| Failure::wrong_input(format!("invalid value '{}' for '--upstream': {error}", text.visible())))
}

async fn proxy(args: &ProxyArgs, upstream: Location, outlets: Option<Outlets>) -> Result<Exit, Failure> {
    let mut interrupt = Interrupt::listen().map_err(Failure::run_failed)?;
    let kind = EntryKind::Proxy { upstream: args.upstream.clone() };
    let api = args.toxiproxy.map(Api::listen).transpose()?;
    let session = ManualSession::open(args.listen, args.id.as_deref(), kind, None, outlets)?;
    let ManualSession { world, listener, registration, faults, exporter, .. } = session;
    let entry = registration.entry();
    let name = Name::from(&entry.id);
    if let Some(exporter) = &exporter {
        exporter.note(|observer| observer.add_proxy(&name));
    }
    announce(entry);
    let upstream = Arc::new(Upstream::new(world.clone(), name, upstream, exporter));
    let Some(api) = api else {
        return match select(pin!(pass_on(world, listener, upstream)), pin!(interrupt.next())).await {
            Either::Left((failed, _)) => Err(failed),
            Either::Right(_) => Ok(stopped(&entry.id)),
        };
    };
    log_line(format!("{}: toxiproxy's API is at http://{}", entry.id, api.address()));
    let first = Toxified::started(entry.address, &args.upstream, listener, faults, upstream);
    let proxies = Proxies::new(world, args.metrics.remote(), first)?;
    let id = entry.id.clone();
    select(pin!(api.serve(proxies)), pin!(interrupt.next())).await;
    Ok(stopped(&id))
}

fn stopped(id: &str) -> Exit {
    log_line(format!("{id}: stops"));
    Exit::Passed
}

/// Passes on what `listener` accepts, until it accepts no more, which is a failure.
pub(super) async fn pass_on(world: SharedWorld, mut listener: LinkListener, upstream: Arc<Upstream>) -> Failure {
    loop {
        match listener.accept().await {
            Ok(near) => world.spawn(Box::pin(upstream.clone().serve(near))),
            Err(error) => return Failure::run_failed(format!("cannot accept connections any more: {error}")),
        }
    }
}

/// The server behind a proxy.
pub(super) struct Upstream {
    world: SharedWorld,
    /// Name of the proxy.
    name: Name,
    location: Mutex<Location>,
    /// The last connection succeeded. Only changes are logged, as a dead server refuses every connection.
    answers: AtomicBool,
    /// Number of connections so far.
    connections: AtomicU64,
    /// The times at which connections are closed.
    pub(super) closings: Closings,
    /// The treatment of the bytes that are passed on.
    pub(super) flows: Flows,
    exporter: Option<Exporter>,
}

impl Upstream {
    /// The server at `location`, behind the proxy of this name.
    pub(super) fn new(world: SharedWorld, name: Name, location: Location, exporter: Option<Exporter>) -> Self {
        Self {
            world,
            name,
            location: Mutex::new(location),
            answers: AtomicBool::new(true),
            connections: AtomicU64::new(0),
            closings: Closings::default(),
            flows: Flows::default(),
            exporter,
        }
    }

    /// Has later connections lead to another location.
    pub(super) fn lead_to(&self, location: Location) {
        *lock(&self.location) = location;
    }

    fn export(&self, change: impl FnOnce(&mut Observer, &Name)) {
        if let Some(exporter) = &self.exporter {
            exporter.note(|observer| change(observer, &self.name));
        }
    }

    async fn serve(self: Arc<Self>, mut near: BoxStream) {
        let location = lock(&self.location).clone();
        let far = location.connect(&*self.world).await;
        let address = location.address();
        let answered = self.answers.swap(far.is_ok(), Ordering::Relaxed);
        match far {
            Ok(mut far) => {
                if !answered {
                    log_line(format!("{address}: takes connections again"));
                }
                self.export(|observer, name| {
                    observer.count_proxy(name, "passed");
                    observer.change_proxy(name, 1);
                });
                let number = self.connections.fetch_add(1, Ordering::Relaxed);
                let flows = [Way::To, Way::From].map(|way| Flow::new(&self.flows, &self.world, number, way));
                let closed = pin!(self.closings.closed(&self.world, number));
                let is_late = matches!(select(pin!(relay(&mut near, &mut far, flows)), closed).await, Either::Right(_));
                if is_late {
                    near.abort();
                    far.abort();
                }
                self.export(|observer, name| observer.change_proxy(name, -1));
            }
            Err(error) => {
                if answered {
                    log_line(format!("{address}: {error}; connections are reset"));
                }
                // The client's handshake is over, so that its connection cannot be refused any more; a reset is closest.
                near.abort();
                self.export(|observer, name| observer.count_proxy(name, "reset"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_or_a_host_and_a_port() {
        assert_eq!(address("8080"), Ok(([127, 0, 0, 1], 8080).into()));
        assert_eq!(address("localhost:1"), Ok(([127, 0, 0, 1], 1).into()));
        assert_eq!(address("[::1]:1"), Ok((std::net::Ipv6Addr::LOCALHOST, 1).into()));
        assert!(address("localhost").is_err_and(|message| message.contains("HOST:PORT")));
    }
}
