//! A replica's process.

use std::{
    future::pending,
    io::{self, BufRead, Write},
    net::Ipv4Addr,
    sync::Arc,
    thread,
    time::Duration,
};

use clap::Args;
use kernel::{
    entropy::Entropy,
    record::Recorder,
    scenario,
    server::{self, Admission, Injector, Settings},
};
use tokio::runtime::Runtime;

use super::{RoleError, die_with};
use crate::{
    clock::Clock,
    host::Host,
    message::{ReplicaOrder, ToOrchestrator},
    tcp,
    timer::Timer,
};

/// How a replica is set up.
#[derive(Debug, Clone, Args)]
pub struct ReplicaArgs {
    /// What the replica is called
    #[arg(long)]
    id: String,

    /// Where it listens on the loopback device
    #[arg(long)]
    port: u16,

    /// Kernels running at once
    #[arg(long)]
    workers: usize,

    /// Requests waiting beyond those
    #[arg(long)]
    queue: usize,

    /// A request holds its worker at least this long, in nanoseconds
    #[arg(long)]
    service_time_min_ns: u64,

    /// Requests in progress at most
    #[arg(long)]
    max_concurrent_requests: Option<usize>,

    /// How long a request may wait for a worker, in nanoseconds
    #[arg(long)]
    max_queue_time_ns: Option<u64>,

    /// What a refusal asks its caller to wait, in nanoseconds
    #[arg(long)]
    retry_pushback_ns: Option<u64>,

    /// Decides all that is drawn
    #[arg(long)]
    seed: u64,

    /// The process that must go on
    #[arg(long)]
    parent: u32,
}

impl ReplicaArgs {
    /// A replica of this process.
    pub(crate) fn new(id: &str, port: u16, servers: &scenario::Servers, seed: u64) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let admission = servers.admission.clone().unwrap_or_default();
        Self {
            id: id.to_owned(),
            port,
            workers: servers.workers,
            queue: servers.queue,
            service_time_min_ns: nanos(servers.service_time_min),
            max_concurrent_requests: admission.max_concurrent_requests,
            max_queue_time_ns: admission.max_queue_time.map(nanos),
            retry_pushback_ns: admission.retry_pushback.map(nanos),
            seed,
            parent: std::process::id(),
        }
    }

    /// As a command line gives them.
    pub(crate) fn to_words(&self) -> Vec<String> {
        [
            ("--id", self.id.clone()),
            ("--port", self.port.to_string()),
            ("--workers", self.workers.to_string()),
            ("--queue", self.queue.to_string()),
            ("--service-time-min-ns", self.service_time_min_ns.to_string()),
            ("--seed", self.seed.to_string()),
            ("--parent", self.parent.to_string()),
        ]
        .into_iter()
        .chain(self.admission_words())
        .flat_map(|(option, value)| [option.to_owned(), value])
        .collect()
    }

    /// What of admission is limited.
    fn admission_words(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let options = [
            ("--max-concurrent-requests", self.max_concurrent_requests.map(|most| most.to_string())),
            ("--max-queue-time-ns", self.max_queue_time_ns.map(|nanos| nanos.to_string())),
            ("--retry-pushback-ns", self.retry_pushback_ns.map(|nanos| nanos.to_string())),
        ];
        options.into_iter().filter_map(|(option, value)| Some((option, value?)))
    }

    fn settings(&self) -> Settings {
        let admission = Admission {
            max_concurrent_requests: self.max_concurrent_requests,
            max_queue_time: self.max_queue_time_ns.map(Duration::from_nanos),
            retry_pushback: self.retry_pushback_ns.map(Duration::from_nanos),
        };
        Settings {
            workers: self.workers,
            queue: self.queue,
            service_time_min: Duration::from_nanos(self.service_time_min_ns),
            admission: (admission != Admission::default()).then_some(admission),
        }
    }
}

/// Serves until it is killed.
pub fn run(args: &ReplicaArgs) -> Result<(), RoleError> {
    die_with(args.parent)?;
    let runtime = Runtime::new().map_err(RoleError::system("cannot start a runtime"))?;
    runtime.block_on(serve(args))
}

async fn serve(args: &ReplicaArgs) -> Result<(), RoleError> {
    let ReplicaArgs { id, port, .. } = args;
    let backlog =
        tcp::listen(*port).map_err(RoleError::system(format!("cannot listen at {}:{port}", Ipv4Addr::LOCALHOST)))?;
    let timer = Timer::start().map_err(RoleError::system("cannot start the timer's thread"))?;
    let world = Host::new(Clock::MACHINE, timer).listening(backlog).shared();
    let recorder = Recorder::new(world.clone(), id, Arc::new(ToOrchestrator));
    let injector = Arc::new(Injector::new(Entropy::new(args.seed)));
    let orders = injector.clone();
    thread::Builder::new()
        .name("orders".to_owned())
        .spawn(move || obey(&orders))
        .map_err(RoleError::system("cannot start a thread"))?;
    server::serve(world, recorder, id, args.settings(), injector, pending())
        .await
        .map_err(RoleError::system("cannot go on serving"))
}

/// Does what the orchestrator says. Ends with standard input, which the orchestrator holds open as long as it lives.
fn obey(injector: &Injector) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(ReplicaOrder::Inject(injection)) => injector.set(injection),
            Err(error) => {
                // Without a log there is nobody to tell.
                let _ = writeln!(io::stderr(), "`{line}` is no order: {error}");
            }
        }
    }
}
