//! The load generator's process: client, links and load.

use std::{
    collections::BTreeMap,
    future::pending,
    io::{self, BufRead},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    thread,
};

use clap::Args;
use futures_util::future::{Either, select};
use kernel::{
    client::Client, entropy::Entropy, link::Link, load::Load, record::Recorder, scenario::Scenario, time::Instant,
    workload::pictures::Gallery, world::SharedWorld,
};
use tokio::{
    runtime::Runtime,
    sync::{
        Notify,
        mpsc::{self, UnboundedReceiver, UnboundedSender},
    },
};

use super::{RoleError, die_with};
use crate::{
    clock::Clock,
    host::Host,
    message::{Order, Report, ToOrchestrator},
    timer::Timer,
};

/// How the process is set up; the rest comes as orders.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// The process that must go on
    #[arg(long)]
    parent: u32,
}

impl LoadArgs {
    /// A load generator of this process, as a command line gives its options.
    pub(crate) fn words() -> Vec<String> {
        vec!["--parent".to_owned(), std::process::id().to_string()]
    }
}

/// Obeys until the load has ended.
pub fn run(args: &LoadArgs) -> Result<(), RoleError> {
    die_with(args.parent)?;
    let runtime = Runtime::new().map_err(RoleError::system("cannot start a runtime"))?;
    let (sender, orders) = mpsc::unbounded_channel();
    thread::Builder::new()
        .name("orders".to_owned())
        .spawn(move || read_orders(&sender))
        .map_err(RoleError::system("cannot start a thread"))?;
    let done = runtime.block_on(offer_load(orders));
    // The connections are of no more use, and neither are their tasks.
    runtime.shutdown_background();
    done
}

/// Ends with standard input, which the orchestrator holds open as long as it lives.
fn read_orders(orders: &UnboundedSender<Result<Order, RoleError>>) {
    for line in io::stdin().lock().lines() {
        let order = line.map_err(RoleError::system("cannot read orders")).and_then(|line| {
            serde_json::from_str(&line).map_err(|error| RoleError::Order(format!("`{line}` is no order: {error}")))
        });
        if orders.send(order).is_err() {
            return;
        }
    }
}

async fn offer_load(mut orders: UnboundedReceiver<Result<Order, RoleError>>) -> Result<(), RoleError> {
    let Order::Prepare { scenario, seed, servers } = next(&mut orders).await? else {
        return Err(RoleError::Order("the first order is to prepare".to_owned()));
    };
    let scenario = Scenario::parse("scenario", &scenario, &[]).map_err(|error| RoleError::Order(error.to_string()))?;
    let entropy = Entropy::new(seed);
    let gallery = Gallery::of(&scenario.workload, entropy).map_err(|error| RoleError::Order(error.to_string()))?;
    let timer = Timer::start().map_err(RoleError::system("cannot start the timer's thread"))?;
    Report::Ready.send();

    let Order::Begin { epoch_ns } = next(&mut orders).await? else {
        return Err(RoleError::Order("the second order is to begin".to_owned()));
    };
    let generator = Generator::new(scenario, entropy, servers, Clock::since(epoch_ns), timer);
    let cancelled = Notify::new();
    let obeying = generator.obey(&mut orders, &cancelled);
    match select(pin!(generator.run(gallery, &cancelled)), pin!(obeying)).await {
        Either::Left(_) => Report::Done { at_us: generator.world.now().as_micros() }.send(),
        Either::Right((failed, _)) => return Err(failed),
    }
    Ok(())
}

async fn next(orders: &mut UnboundedReceiver<Result<Order, RoleError>>) -> Result<Order, RoleError> {
    orders.recv().await.unwrap_or_else(|| Err(RoleError::Order("the orchestrator has gone silent".to_owned())))
}

struct Generator {
    scenario: Scenario,
    entropy: Entropy,
    world: SharedWorld,
    links: Vec<Arc<Link>>,
}

impl Generator {
    fn new(
        scenario: Scenario,
        entropy: Entropy,
        servers: BTreeMap<String, SocketAddr>,
        clock: Clock,
        timer: Timer,
    ) -> Self {
        let world = Host::new(clock, timer).knowing(servers).shared();
        let links = scenario.server_names().map(|name| Link::new(world.clone(), entropy, &name)).collect();
        Self { scenario, entropy, world, links }
    }

    /// Offers the load from the beginning on; the links have got their first shapes by then.
    async fn run(&self, gallery: Gallery, cancelled: &Notify) {
        let Self { scenario, entropy, world, links } = self;
        world.sleep_until(Instant::START).await;
        let recorder = Recorder::new(world.clone(), "client", Arc::new(ToOrchestrator));
        let client = Client::start(world.clone(), *entropy, recorder.clone(), scenario.client.clone(), links);
        let load = Load {
            world: world.clone(),
            entropy: *entropy,
            recorder,
            client: client.clone(),
            gallery,
            settings: scenario.load.clone(),
            duration: scenario.duration,
        };
        let cancel = async {
            cancelled.notified().await;
            client.cancel();
            pending::<()>().await
        };
        select(pin!(load.run()), pin!(cancel)).await;
    }

    /// Does what it is told. Completes if it cannot.
    async fn obey(&self, orders: &mut UnboundedReceiver<Result<Order, RoleError>>, cancelled: &Notify) -> RoleError {
        loop {
            match next(orders).await {
                Ok(Order::Shape { server, shape }) => self.links[server].set_shape(shape),
                Ok(Order::Reset { server }) => self.links[server].reset(),
                Ok(Order::Cancel) => cancelled.notify_one(),
                Ok(order) => return RoleError::Order(format!("it has begun already, and cannot {order:?}")),
                Err(failed) => return failed,
            }
        }
    }
}
