//! `real proxy`: a link with a control socket, in front of any TCP server.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::Args;
use futures_util::future::{Either, select};
use kernel::{
    cli::{Exit, Failure},
    export::Observer,
    record::Name,
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
};
use crate::{
    export::{Exporter, MetricsArgs, Outlets},
    interrupt::Interrupt,
    option,
    remote::address,
    tcp,
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

    #[command(flatten)]
    metrics: MetricsArgs,
}

/// Passes connections on until a signal asks it to end.
pub fn run(args: &ProxyArgs) -> Result<Exit, Failure> {
    args.metrics.remote().check("--listen", args.listen.ip())?;
    let upstream = upstream(&args.upstream)?;
    let outlets = args.metrics.open()?;
    let runtime = Runtime::new().map_err(Failure::run_failed)?;
    let done = runtime.block_on(proxy(args, upstream, outlets));
    // The connections under way have no end of their own, and dropping the runtime would wait for them.
    runtime.shutdown_background();
    done
}

fn upstream(text: &str) -> Result<SocketAddr, Failure> {
    let entries = Registry::for_user()?.entries()?;
    if let Some(entry) = entries.iter().find(|entry| entry.id == text) {
        return Ok(entry.address);
    }
    address(text)
        .map_err(|error| Failure::wrong_input(format!("invalid value '{}' for '--upstream': {error}", text.visible())))
}

async fn proxy(args: &ProxyArgs, upstream: SocketAddr, outlets: Option<Outlets>) -> Result<Exit, Failure> {
    let mut interrupt = Interrupt::listen().map_err(Failure::run_failed)?;
    let kind = EntryKind::Proxy { upstream: args.upstream.clone() };
    let session = ManualSession::open(args.listen, args.id.as_deref(), kind, None, outlets)?;
    let ManualSession { world, listener, registration, exporter, .. } = session;
    let name = Name::from(&registration.entry().id);
    if let Some(exporter) = &exporter {
        exporter.note(|observer| observer.add_proxy(&name));
    }
    announce(registration.entry());
    let upstream = Arc::new(Upstream { name, address: upstream, answers: AtomicBool::new(true), exporter });
    match select(pin!(pass_on(world, listener, upstream)), pin!(interrupt.next())).await {
        Either::Left((failed, _)) => Err(failed),
        Either::Right(_) => {
            log_line(format!("{}: stops", registration.entry().id));
            Ok(Exit::Passed)
        }
    }
}

async fn pass_on(world: SharedWorld, mut listener: LinkListener, upstream: Arc<Upstream>) -> Failure {
    loop {
        match listener.accept().await {
            Ok(near) => world.spawn(Box::pin(upstream.clone().serve(near))),
            Err(error) => return Failure::run_failed(format!("cannot accept connections any more: {error}")),
        }
    }
}

/// The server behind the proxy.
struct Upstream {
    /// Name of the proxy.
    name: Name,
    address: SocketAddr,
    /// The last connection succeeded. Only changes are logged, as a dead server refuses every connection.
    answers: AtomicBool,
    exporter: Option<Exporter>,
}

impl Upstream {
    fn export(&self, change: impl FnOnce(&mut Observer, &Name)) {
        if let Some(exporter) = &self.exporter {
            exporter.note(|observer| change(observer, &self.name));
        }
    }

    async fn serve(self: Arc<Self>, mut near: BoxStream) {
        let far = tcp::connect(self.address).await;
        let answered = self.answers.swap(far.is_ok(), Ordering::Relaxed);
        match far {
            Ok(far) => {
                if !answered {
                    log_line(format!("{}: takes connections again", self.address));
                }
                self.export(|observer, name| {
                    observer.count_proxy(name, "passed");
                    observer.change_proxy(name, 1);
                });
                relay(near, far).await;
                self.export(|observer, name| observer.change_proxy(name, -1));
            }
            Err(error) => {
                if answered {
                    log_line(format!("{}: {error}; connections are reset", self.address));
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
