//! The client's process: links, the resilient client on them, and the load that it is offered.

use std::{future::pending, pin::pin, sync::Arc};

use futures_util::future::select;
use kernel::{
    client::Client,
    entropy::Entropy,
    link::Link,
    load::LoadGenerator,
    record::{Recorder, Sink},
    scenario::Scenario,
    time::Instant,
    workload::{Inputs, Oracle},
    world::SharedWorld,
};

/// Who calls servers, as a scenario says.
pub(crate) struct Caller {
    scenario: Scenario,
    entropy: Entropy,
    world: SharedWorld,
    links: Vec<Arc<Link>>,
}

impl Caller {
    /// One that calls `servers`, which `world` knows by these names.
    pub(crate) fn new(scenario: Scenario, entropy: Entropy, world: SharedWorld, servers: &[String]) -> Self {
        let links = servers.iter().map(|name| Link::new(world.clone(), entropy, name)).collect();
        Self { scenario, entropy, world, links }
    }

    /// The link to the server at `index`.
    pub(crate) fn link(&self, index: usize) -> &Link {
        &self.links[index]
    }

    /// Offers the load, from the start of the run until the scenario's end or until `cancelled`, which puts an end to
    /// the calls under way. All that happens goes to `sink`.
    /// What takes time of the processor and is not part of the load, `oracle` has done before.
    pub(crate) async fn offer(
        &self,
        inputs: Inputs,
        oracle: Oracle,
        sink: Arc<dyn Sink>,
        cancelled: impl Future<Output = ()>,
    ) {
        let Self { scenario, entropy, world, links } = self;
        world.sleep_until(Instant::START).await;
        let recorder = Recorder::new(world.clone(), "client", sink);
        let client = Client::start(world.clone(), *entropy, recorder.clone(), scenario.client.clone(), links);
        let load = LoadGenerator {
            world: world.clone(),
            entropy: *entropy,
            recorder,
            client: client.clone(),
            inputs,
            oracle: Arc::new(oracle),
            settings: scenario.load.clone(),
            duration: scenario.duration,
        };
        let cancel = async {
            cancelled.await;
            client.cancel();
            pending::<()>().await
        };
        select(pin!(load.run()), pin!(cancel)).await;
    }
}
