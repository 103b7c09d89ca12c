//! `real serve`: one server in the foreground.

use std::{
    net::{IpAddr, Ipv4Addr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use futures_util::future::{Either, select};
use kernel::{
    app::{App, Process},
    cli::{Exit, Failure},
    entropy::Entropy,
    record::Recorder,
    server::{Injector, ReplicaSettings, Tuning},
    tls::Tls,
};
use tokio::{runtime::Runtime, sync::Notify};

use super::{
    announce,
    log::{ServerLog, log_line},
    registry::EntryKind,
    session::ManualSession,
};
use crate::{
    app,
    export::{ExportedSink, MetricsArgs, Outlets},
    interrupt::Interrupt,
    option::{self, BackendArgs, Capacity},
    tls::TlsServerArgs,
};

/// Time that requests under way may take to end after the server was asked to stop.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Options of `real serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The port to listen on; 0 chooses a free one.
    #[arg(long)]
    port: u16,

    /// The IP address to listen on; other machines reach one that is not of the loopback device, if --allow-remote allows it.
    #[arg(long, value_name = "IP", default_value_t = Ipv4Addr::LOCALHOST.into())]
    listen: IpAddr,

    /// The name of the server [default: server-PORT].
    #[arg(long, value_parser = option::id, value_name = "NAME")]
    id: Option<String>,

    #[command(flatten)]
    capacity: Capacity,

    #[command(flatten)]
    backend: BackendArgs,

    #[command(flatten)]
    tls: TlsServerArgs,

    #[command(flatten)]
    metrics: MetricsArgs,

    /// Runs in a session of its own, so that the end of a terminal does not end it
    #[arg(long, hide = true)]
    detached: bool,
}

impl ServeArgs {
    /// The command line of a server in the background.
    pub(super) fn words(
        port: u16,
        id: &str,
        capacity: &Capacity,
        backend: &BackendArgs,
        more: Vec<String>,
    ) -> Vec<String> {
        let words = ["serve", "--detached", "--port", &port.to_string(), "--id", id].map(str::to_owned);
        words.into_iter().chain(capacity.to_words()).chain(backend.to_words()).chain(more).collect()
    }
}

/// Serves until a signal asks it to end, then finishes the requests under way.
pub fn run(args: &ServeArgs) -> Result<Exit, Failure> {
    app::has_one_service()?;
    let settings = args.capacity.settings(args.backend.settings().map_err(Failure::wrong_input)?);
    if args.detached {
        rustix::process::setsid().map_err(Failure::run_failed)?;
    }
    args.metrics.remote().check("--listen", args.listen)?;
    let tls = args.tls.tls()?;
    let outlets = args.metrics.open()?;
    let runtime = Runtime::new().map_err(Failure::run_failed)?;
    let served = runtime.block_on(serve(args, settings, tls, outlets));
    // Calls that outlast STOP_TIMEOUT may never end, and dropping the runtime would wait for them.
    runtime.shutdown_background();
    served
}

async fn serve(
    args: &ServeArgs,
    settings: ReplicaSettings,
    tls: Option<Tls>,
    outlets: Option<Outlets>,
) -> Result<Exit, Failure> {
    let mut interrupt = Interrupt::listen().map_err(Failure::run_failed)?;
    // A fixed seed: a manual session is not repeated, so it does not matter which calls fail.
    let injector = Arc::new(Injector::new(Entropy::new(0)));
    // What `real set` changes.
    injector.tune(Tuning::from(&settings));
    let address = (args.listen, args.port).into();
    let server = Some((injector.clone(), tls.is_some()));
    let session = ManualSession::open(address, args.id.as_deref(), EntryKind::Server, server, outlets)?;
    let ManualSession { host, world, listener, registration, exporter, .. } = session;
    let id = &registration.entry().id;
    let log = Arc::new(ServerLog::default());
    if let Some(exporter) = &exporter {
        exporter.note(|observer| observer.add_server(&id.into(), settings.workers, settings.queue));
    }
    let recorder = Recorder::new(world.clone(), id, ExportedSink::in_front_of(log.clone(), exporter));
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let until_stop = async move { stopped.notified().await };
    let world_of_server = host.with_listener(listener).with_tls(tls).shared();
    let name = id.clone();
    let process = Process { world: world_of_server, recorder, name, settings, injector, callees: Vec::new() };
    let serving = app::serve(App::of_program(), process, None, until_stop);
    let mut serving = pin!(serving);
    announce(registration.entry());
    if let Either::Left((ended, _)) = select(serving.as_mut(), pin!(interrupt.next())).await {
        return ended.map(|()| Exit::Passed).map_err(|error| Failure::run_failed(format!("cannot continue: {error}")));
    }
    log_line(format!("{id}: stops after its requests in progress; a second signal stops it at once"));
    stop.notify_one();
    let again = pin!(interrupt.next());
    if let Either::Right(_) = select(serving, select(world.sleep_until(world.now() + STOP_TIMEOUT), again)).await {
        log_line(format!("{id}: calls are broken off"));
    }
    log_line(format!("{id}: {}", log.report()));
    Ok(Exit::Passed)
}
