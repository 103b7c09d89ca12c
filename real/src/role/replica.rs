//! A replica's process.

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
    net::Ipv4Addr,
    sync::Arc,
    thread,
};

use clap::Args;
use kernel::{
    app::{App, Callee, Process},
    entropy::{Entropy, branch},
    link::Link,
    record::Recorder,
    scenario::{Load, Scenario, Workload},
    server::{Injector, ReplicaSettings},
    tls::Tls,
    world::SharedWorld,
};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tracing::{error, info};

use super::{RoleError, die_with, log_resumes, report_measured};
use crate::{
    app,
    clock::Clock,
    diagnostics,
    host::Host,
    message::{Calling, ReplicaCommand, ToOrchestrator},
    option::{BackendArgs, Capacity},
    replica::Measures,
    tcp,
    timer::Timer,
    token,
};

/// The subcommand of the process.
pub const ROLE: &str = "replica";

/// The options of a replica.
#[derive(Debug, Clone, Args)]
pub struct ReplicaArgs {
    /// Name of the replica
    #[arg(long)]
    id: String,

    /// Port of the loopback device at which it listens
    #[arg(long)]
    port: u16,

    #[command(flatten)]
    capacity: Capacity,

    #[command(flatten)]
    backend: BackendArgs,

    /// A scenario in TOML with the kinds of requests that the backend treats differently
    #[arg(long)]
    request_kinds: Option<String>,

    /// Serves the app of this program in place of the workloads
    #[arg(long)]
    app: bool,

    /// Serves this service of the app, which has several
    #[arg(long, requires = "app")]
    service: Option<String>,

    /// Waits for the addresses of the servers that the service calls, over standard input
    #[arg(long, requires = "service")]
    calls: bool,

    /// Records how long the app's service computes
    #[arg(long, requires = "app")]
    measure: bool,

    /// Reports what it measures of its calls, for metrics
    #[arg(long)]
    metrics: bool,

    /// Waits for its certificates and keys, over standard input
    #[arg(long)]
    tls: bool,

    /// Seed of all random draws
    #[arg(long)]
    seed: u64,

    /// Id of the orchestrator, with which this process ends
    #[arg(long)]
    parent: u32,
}

impl ReplicaArgs {
    /// A replica of this process.
    pub(crate) fn new(id: &str, port: u16, scenario: &Scenario, seed: u64) -> Self {
        let servers = scenario.servers_named(id);
        let ReplicaSettings { backend, .. } = ReplicaSettings::new(servers, &scenario.workload);
        let service = scenario.server_names().position(|name| name == id).and_then(|index| scenario.service_of(index));
        Self {
            id: id.to_owned(),
            port,
            capacity: Capacity::from_settings(servers),
            backend: BackendArgs::from_settings(&backend),
            request_kinds: request_kinds(scenario),
            app: matches!(scenario.workload, Workload::App(_)),
            service: service.map(|service| scenario.services[service].name.clone()),
            calls: service.is_some_and(|service| scenario.edges_from(service).next().is_some()),
            measure: false,
            metrics: false,
            tls: scenario.tls.is_some(),
            seed,
            parent: std::process::id(),
        }
    }

    /// The same replica, which measures its calls, and how long its service computes if it is that of an app.
    pub(crate) fn measuring(self, measures: Measures) -> Self {
        Self { measure: measures.computing && self.app, metrics: measures.calls, ..self }
    }

    /// The arguments as a command line has them.
    pub(crate) fn to_words(&self) -> Vec<String> {
        let own = [
            ("--id", self.id.clone()),
            ("--port", self.port.to_string()),
            ("--seed", self.seed.to_string()),
            ("--parent", self.parent.to_string()),
        ];
        let own = own.into_iter().flat_map(|(option, value)| [option.to_owned(), value]);
        let kinds = self.request_kinds.iter().flat_map(|text| ["--request-kinds".to_owned(), text.clone()]);
        let app = self.app.then(|| "--app".to_owned()).into_iter().chain(self.measure.then(|| "--measure".to_owned()));
        let app = app.chain(self.metrics.then(|| "--metrics".to_owned()));
        let app = app.chain(self.tls.then(|| "--tls".to_owned()));
        let service = self.service.iter().flat_map(|service| ["--service".to_owned(), service.clone()]);
        let app = app.chain(service).chain(self.calls.then(|| "--calls".to_owned()));
        own.chain(self.capacity.to_words()).chain(self.backend.to_words()).chain(kinds).chain(app).collect()
    }
}

/// Returns a scenario that has the kinds of requests of `scenario` and little else, if the workload is a backend that has any:
/// for other workloads the kinds differ in what is asked.
fn request_kinds(scenario: &Scenario) -> Option<String> {
    if scenario.load.request.is_empty() || !matches!(scenario.workload, Workload::Backend(_)) {
        return None;
    }
    let load = Load { request: scenario.load.request.clone(), ..Load::default() };
    let kinds = Scenario { load, faults: Vec::new(), expectations: Vec::new(), ..scenario.clone() };
    Some(kinds.to_toml())
}

/// Serves until it is killed, or asked to end by SIGTERM: then until the calls under way have ended.
pub fn run(args: &ReplicaArgs) -> Result<(), RoleError> {
    diagnostics::start_in_run()?;
    token::load()?;
    let options = [args.capacity.to_words(), args.backend.to_words()].concat().join(" ");
    let pid = std::process::id();
    let version = env!("CARGO_PKG_VERSION");
    info!(version, pid, parent = args.parent, id = args.id, seed = args.seed, options, "replica starts");
    die_with(args.parent)?;
    let runtime = Runtime::new().map_err(RoleError::system("cannot start a runtime"))?;
    runtime.block_on(serve(args))
}

async fn serve(args: &ReplicaArgs) -> Result<(), RoleError> {
    let ReplicaArgs { id, port, capacity, backend, .. } = args;
    let kinds = match &args.request_kinds {
        Some(text) => {
            Scenario::parse("--request-kinds", text, &[])
                .map_err(|error| RoleError::Order(error.to_string()))?
                .load
                .request
        }
        None => Vec::new(),
    };
    let tls = if args.tls { Some(receive_tls(args.calls)?) } else { None };
    let calling = if args.calls { Some(receive_calling()?) } else { None };
    let settings = capacity.settings(backend.settings().map_err(RoleError::Order)?).with_kinds(&kinds);
    let timer = Timer::start().map_err(RoleError::system("cannot start the timer's thread"))?;
    let backlog = tcp::listen(*port, timer.clone())
        .map_err(RoleError::system(format!("cannot listen at {}:{port}", Ipv4Addr::LOCALHOST)))?;
    let address = backlog.address().map_err(RoleError::system("cannot read the address of the socket"))?;
    info!(%address, "listening");
    let servers = calling.as_ref().map(|calling| calling.servers.clone()).unwrap_or_default();
    let world = Host::new(Clock::MACHINE, timer)
        .with_listener(backlog)
        .with_servers(servers)
        .measuring_computing(args.measure)
        .with_tls(tls)
        .shared();
    log_resumes(&world).map_err(RoleError::system("cannot listen to signals"))?;
    let reports = ToOrchestrator::start(args.metrics).map_err(RoleError::system("cannot send reports"))?;
    let recorder = Recorder::new(world.clone(), id, reports.clone());
    if args.metrics {
        report_measured(&world, reports.clone());
    }
    let entropy = Entropy::new(args.seed);
    let injector = Arc::new(Injector::new(entropy));
    let (callees, links) = match calling {
        Some(calling) => callees(calling, id, &world, entropy)?,
        None => (Vec::new(), Links::new()),
    };
    let orders = injector.clone();
    thread::Builder::new()
        .name("orders".to_owned())
        .spawn(move || obey(&orders, &links))
        .map_err(RoleError::system("cannot start a thread"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RoleError::system("cannot listen to signals"))?;
    let stop = async move {
        terminate.recv().await;
        info!("asked to end");
    };
    let app = App::of_program().filter(|_| args.app);
    let process = Process { world, recorder, name: id.clone(), settings, injector, callees };
    let served = app::serve(app, process, args.service.as_deref(), stop).await;
    reports.send_measured();
    served.map_err(RoleError::system("cannot continue serving"))
}

/// The links of a process, by the index of the server behind each.
type Links = BTreeMap<usize, Arc<Link>>;

/// Returns the services that the process called `id` calls, and its links by the index of the server behind each.
fn callees(
    calling: Calling,
    id: &str,
    world: &SharedWorld,
    entropy: Entropy,
) -> Result<(Vec<Callee>, Links), RoleError> {
    let Calling { scenario, service, mut shapes, .. } = calling;
    let scenario = Scenario::parse("scenario", &scenario, &[]).map_err(|error| RoleError::Order(error.to_string()))?;
    let mut links = Links::new();
    let callees = Callee::of_process(&scenario, service, id, (world, entropy), |link, server| {
        if let Some(shape) = shapes.remove(&server) {
            link.set_shape(shape);
        }
        links.insert(server, link.clone());
    });
    Ok((callees, links))
}

/// Waits for the next command of the orchestrator, before those that are obeyed. No message quotes it: it may have keys.
fn receive(what: &str) -> Result<ReplicaCommand, RoleError> {
    let mut line = Vec::new();
    let read = io::stdin().lock().read_until(b'\n', &mut line);
    read.map_err(RoleError::system(format!("cannot read {what} of this process")))?;
    serde_json::from_slice(&line).map_err(|_| RoleError::Order(format!("the command with {what} cannot be read")))
}

/// Waits for the command that says which services this process calls.
fn receive_calling() -> Result<Calling, RoleError> {
    match receive("the servers")? {
        ReplicaCommand::Call(calling) => Ok(*calling),
        _ => Err(RoleError::Order("the command before the others has no servers".to_owned())),
    }
}

/// Waits for the first command, which has the certificates and keys of this process, which also connects to others if it `calls` some.
fn receive_tls(calls: bool) -> Result<Tls, RoleError> {
    match receive("the certificates")? {
        ReplicaCommand::Secure(tls) => {
            let made = if calls { tls.both() } else { tls.server() };
            made.map_err(|error| RoleError::Order(format!("the certificates of this process: {error}")))
        }
        _ => Err(RoleError::Order("the first command has no certificates".to_owned())),
    }
}

/// Does what the orchestrator says. Ends with standard input, which the orchestrator holds open as long as it lives.
fn obey(injector: &Injector, links: &Links) {
    // Lines of bytes: one that is no text must not end the obedience to those after it.
    for line in io::stdin().lock().split(b'\n').map_while(Result::ok) {
        match serde_json::from_slice(&line) {
            Ok(ReplicaCommand::Inject(injection)) => {
                info!(slow = injection.slow, errors = ?injection.errors, presented = ?injection.presented, "injected faults change");
                injector.set(injection);
            }
            Ok(ReplicaCommand::Secure(_) | ReplicaCommand::Call(_)) => {
                error!("certificates and servers come first, and only once");
            }
            Ok(ReplicaCommand::Shape { server, shape }) => match links.get(&server) {
                Some(link) => {
                    info!(server = link.server(), shape = ?shape.all, partial = ?shape.partial, "link changes");
                    link.set_shape(shape);
                }
                None => error!(server, "there is no link to the server"),
            },
            Ok(ReplicaCommand::Reset { server, fault, connections }) => match links.get(&server) {
                Some(link) => {
                    info!(server = link.server(), share = connections.share, "link resets its connections");
                    link.reset_some(fault, connections);
                }
                None => error!(server, "there is no link to the server"),
            },
            Ok(ReplicaCommand::Branch(branch)) => {
                info!(%branch, "everything random is drawn again");
                branch::pass_in_process(branch);
            }
            Ok(ReplicaCommand::Tune(tuning)) => {
                info!(?tuning, "settings change");
                injector.tune(tuning);
            }
            Err(error) => error!(line = %String::from_utf8_lossy(&line), %error, "invalid command"),
        }
    }
}
