//! The load generator's process: client, links and load.

use std::{
    io::{self, BufRead},
    pin::pin,
    sync::Arc,
    thread,
};

use clap::Args;
use futures_util::future::{Either, select};
use kernel::{
    entropy::{
        Entropy,
        branch::{self, Branch},
    },
    scenario::Scenario,
    time::Instant,
    world::SharedWorld,
};
use tokio::{
    runtime::Runtime,
    sync::{
        Notify,
        mpsc::{self, UnboundedReceiver, UnboundedSender},
    },
};
use tracing::info;

use super::{RoleError, die_with, log_resumes, report_measured};
use crate::{
    asked::Asked,
    caller::Caller,
    clock::Clock,
    diagnostics,
    host::Host,
    location::Location,
    message::{LoadCommand, Report, ToOrchestrator},
    store::StorePlace,
    timer::Timer,
    token,
};

/// The subcommand of the process.
pub const ROLE: &str = "generator";

/// The options of the load generator; it gets everything else as commands.
#[derive(Debug, Clone, Args)]
pub struct GeneratorArgs {
    /// Id of the orchestrator, with which this process ends
    #[arg(long)]
    parent: u32,
    /// Reports what it measures of its attempts, for metrics
    #[arg(long)]
    metrics: bool,
}

impl GeneratorArgs {
    /// A load generator of this process, which measures its attempts for `metrics`, as a command line gives its options.
    pub(crate) fn words(metrics: bool) -> Vec<String> {
        let parent = ["--parent".to_owned(), std::process::id().to_string()];
        parent.into_iter().chain(metrics.then(|| "--metrics".to_owned())).collect()
    }
}

/// Obeys until the load has ended.
pub fn run(args: &GeneratorArgs) -> Result<(), RoleError> {
    diagnostics::start_in_run()?;
    token::load()?;
    let pid = std::process::id();
    info!(version = env!("CARGO_PKG_VERSION"), pid, parent = args.parent, "load generator starts");
    die_with(args.parent)?;
    let runtime = Runtime::new().map_err(RoleError::system("cannot start a runtime"))?;
    let (sender, orders) = mpsc::unbounded_channel();
    thread::Builder::new()
        .name("orders".to_owned())
        .spawn(move || read_orders(&sender))
        .map_err(RoleError::system("cannot start a thread"))?;
    let reports = ToOrchestrator::start(args.metrics).map_err(RoleError::system("cannot send reports"))?;
    let done = runtime.block_on(offer_load(orders, &reports, args.metrics));
    // The connections are of no more use, and neither are their tasks.
    runtime.shutdown_background();
    reports.flush();
    done
}

/// Ends with standard input, which the orchestrator holds open as long as it lives.
fn read_orders(orders: &UnboundedSender<Result<LoadCommand, RoleError>>) {
    for line in io::stdin().lock().lines() {
        let order = line.map_err(RoleError::system("cannot read orders")).and_then(|line| {
            serde_json::from_str(&line).map_err(|error| RoleError::Order(format!("an order cannot be read: {error}")))
        });
        if orders.send(order).is_err() {
            return;
        }
    }
}

async fn offer_load(
    mut orders: UnboundedReceiver<Result<LoadCommand, RoleError>>,
    reports: &Arc<ToOrchestrator>,
    metrics: bool,
) -> Result<(), RoleError> {
    let LoadCommand::Prepare { scenario, seed, branches, servers, tls, store } = next(&mut orders).await? else {
        return Err(RoleError::Order("the first order must be to prepare".to_owned()));
    };
    let scenario = Scenario::parse("scenario", &scenario, &[]).map_err(|error| RoleError::Order(error.to_string()))?;
    let entropy = Entropy::new(seed);
    branch::begin_in_process(&branches);
    let asked = Asked::prepare(&scenario, entropy).map_err(|error| RoleError::Order(error.to_string()))?;
    let tls = tls.map(|tls| tls.client()).transpose();
    let tls = tls.map_err(|error| RoleError::Order(format!("the certificates of this process: {error}")))?;
    let timer = Timer::start().map_err(RoleError::system("cannot start the timer's thread"))?;
    info!(scenario = scenario.name, seed, ?servers, "ready");
    reports.send(&Report::Ready);

    let LoadCommand::Begin { epoch_ns } = next(&mut orders).await? else {
        return Err(RoleError::Order("the second order must be to begin".to_owned()));
    };
    let names = scenario.entry_names();
    let of_servers = servers.into_iter().map(|(name, address)| (name, Location::Fixed(address)));
    let locations = of_servers.chain(store.as_ref().map(StorePlace::location)).collect();
    let world = Host::new(Clock::since(epoch_ns), timer).with_locations(locations).with_tls(tls).shared();
    log_resumes(&world).map_err(RoleError::system("cannot listen to signals"))?;
    info!(epoch_ns, "load begins");
    pass_branches(&world, branches);
    if metrics {
        report_measured(&world, reports.clone());
    }
    let store = store.map(|store| store.access(&world, entropy));
    let caller = Caller::new(scenario, entropy, world.clone(), (&names, store));
    let cancelled = Notify::new();
    let load = caller.offer(asked, reports.clone(), cancelled.notified());
    match select(pin!(load), pin!(obey(&caller, &mut orders, &cancelled))).await {
        Either::Left((ended, _)) => {
            ended?;
            let at_us = world.now().as_micros();
            info!(at_us, "load has ended");
            reports.send_measured();
            reports.send(&Report::Done { at_us });
        }
        Either::Right((failed, _)) => return Err(failed),
    }
    Ok(())
}

/// Passes the branches of the run, each at its time, as a task of `world`.
fn pass_branches(world: &SharedWorld, branches: Vec<Branch>) {
    let clock = world.clone();
    world.spawn(Box::pin(async move {
        for branch in branch::sorted(&branches) {
            clock.sleep_until(Instant::START + branch.at).await;
            info!(%branch, "everything random is drawn again");
            branch::pass_in_process(branch);
        }
    }));
}

async fn next(orders: &mut UnboundedReceiver<Result<LoadCommand, RoleError>>) -> Result<LoadCommand, RoleError> {
    orders.recv().await.unwrap_or_else(|| Err(RoleError::Order("the orchestrator has gone silent".to_owned())))
}

/// Carries out the orchestrator's commands. Completes if it cannot.
async fn obey(
    caller: &Caller,
    orders: &mut UnboundedReceiver<Result<LoadCommand, RoleError>>,
    cancelled: &Notify,
) -> RoleError {
    loop {
        match next(orders).await {
            Ok(LoadCommand::Shape { server, shape }) => {
                let link = caller.link(server);
                info!(server = link.server(), shape = ?shape.all, partial = ?shape.partial, "link changes");
                link.set_shape(shape);
            }
            Ok(LoadCommand::Reset { server, fault, connections }) => {
                let link = caller.link(server);
                info!(server = link.server(), share = connections.share, "link resets its connections");
                link.reset_some(fault, connections);
            }
            Ok(LoadCommand::Cancel) => {
                info!("load is cancelled");
                cancelled.notify_one();
            }
            Ok(order) => return RoleError::Order(format!("it has begun already, and cannot {order:?}")),
            Err(failed) => return failed,
        }
    }
}
