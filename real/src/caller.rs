//! The client of a run: links, the resilient client on them, and the load that it sends.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, Mutex},
};

use futures_util::future::{Either, select};
use kernel::{
    change::{OPERATOR, record_change, start_changes},
    client::{Client, settings},
    entropy::Entropy,
    link::Link,
    load::{LoadError, LoadGenerator},
    record::{Recorder, Sink},
    scenario::{Change, Scenario},
    sync::lock,
    time::Instant,
    world::SharedWorld,
};

use crate::asked::Asked;

/// The client's end of a run, with the settings of a scenario.
pub(crate) struct Caller {
    scenario: Scenario,
    entropy: Entropy,
    world: SharedWorld,
    links: Vec<Arc<Link>>,
    /// The client and its recorder, once the load has begun.
    client: Mutex<Option<(Client, Recorder)>>,
}

impl Caller {
    /// A caller of `servers`, which `world` knows by these names.
    pub(crate) fn new(scenario: Scenario, entropy: Entropy, world: SharedWorld, servers: &[String]) -> Self {
        let links = servers.iter().map(|name| Link::new(world.clone(), entropy, name)).collect();
        Self { scenario, entropy, world, links, client: Mutex::default() }
    }

    /// Gives the client that offers the load these settings, and records `change`. Before the load has begun it does nothing.
    pub(crate) fn change(&self, settings: &settings::Client, change: &Change) {
        if let Some((client, recorder)) = &*lock(&self.client) {
            record_change(&recorder.with_source(self.world.clone(), OPERATOR), change);
            client.change(settings);
        }
    }

    /// The link to the server at `index`.
    pub(crate) fn link(&self, index: usize) -> &Link {
        &self.links[index]
    }

    /// Offers the load from the start of the run to the end of the scenario, or until `cancelled` completes, which cancels
    /// the calls under way. The rows go to `sink`. Fails if the load of an app cannot be offered as it is written.
    pub(crate) async fn offer(
        &self,
        asked: Asked,
        sink: Arc<dyn Sink>,
        cancelled: impl Future<Output = ()>,
    ) -> Result<(), LoadError> {
        let Self { scenario, entropy, world, links, .. } = self;
        world.sleep_until(Instant::START).await;
        let recorder = Recorder::new(world.clone(), "client", sink);
        let settings = asked.client_settings(scenario.client.clone());
        let client = Client::start(world.clone(), *entropy, recorder.clone(), settings, links);
        start_changes(world, &recorder, &client, scenario);
        *lock(&self.client) = Some((client.clone(), recorder.clone()));
        let requests = asked.into_requests(world, &recorder, *entropy, scenario, links);
        let load = LoadGenerator {
            world: world.clone(),
            entropy: *entropy,
            recorder,
            client: client.clone(),
            requests,
            settings: scenario.offered_load(),
            duration: scenario.duration,
        };
        let cancel = async {
            cancelled.await;
            client.cancel();
            pending::<()>().await
        };
        match select(pin!(load.run()), pin!(cancel)).await {
            Either::Left((ended, _)) => ended,
            Either::Right(((), _)) => Ok(()),
        }
    }
}
