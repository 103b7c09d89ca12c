//! The client of a run: links, the resilient client on them, and the load that it sends.

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
    workload::{Inputs, Oracle, WorkloadRequests},
    world::SharedWorld,
};

/// The client's end of a run, with the settings of a scenario.
pub(crate) struct Caller {
    scenario: Scenario,
    entropy: Entropy,
    world: SharedWorld,
    links: Vec<Arc<Link>>,
}

impl Caller {
    /// A caller of `servers`, which `world` knows by these names.
    pub(crate) fn new(scenario: Scenario, entropy: Entropy, world: SharedWorld, servers: &[String]) -> Self {
        let links = servers.iter().map(|name| Link::new(world.clone(), entropy, name)).collect();
        Self { scenario, entropy, world, links }
    }

    /// The link to the server at `index`.
    pub(crate) fn link(&self, index: usize) -> &Link {
        &self.links[index]
    }

    /// Offers the load from the start of the run to the end of the scenario, or until `cancelled` completes, which cancels
    /// the calls under way. The rows go to `sink`.
    ///
    /// `oracle` has computed the expected results before, so that this takes no processor time during the run.
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
            requests: Arc::new(WorkloadRequests::new(inputs, *entropy, oracle)),
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
