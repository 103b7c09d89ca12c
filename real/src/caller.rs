//! The client of a run: links, the resilient client on them, and the load that it sends.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, Mutex},
};

use futures_util::future::{Either, select};
use kernel::{
    change::{OPERATOR, record_change, start_changes},
    client::Client,
    entropy::Entropy,
    link::Link,
    load::{LoadError, LoadGenerator},
    record::{Recorder, Sink},
    scenario::{Change, ChangeTarget, Load, STORE, Scenario},
    store::StoreAccess,
    sync::lock,
    time::Instant,
    world::SharedWorld,
};

use tokio::sync::watch;

use crate::asked::Asked;

/// The client's end of a run, with the settings of a scenario.
pub(crate) struct Caller {
    scenario: Scenario,
    entropy: Entropy,
    world: SharedWorld,
    links: Vec<Arc<Link>>,
    /// How the client reaches the store of its cache, if it has one.
    store: Option<StoreAccess>,
    /// The client and its recorder, once the load has begun.
    client: Mutex<Option<(Client, Recorder)>>,
    /// The channel to the load for settings that are changed by hand, if they may be.
    loads: Option<watch::Sender<Load>>,
}

impl Caller {
    /// A caller of `servers`, which `world` knows by these names, with a cache in `store` if there is one.
    pub(crate) fn new(
        scenario: Scenario,
        entropy: Entropy,
        world: SharedWorld,
        (servers, store): (&[String], Option<StoreAccess>),
    ) -> Self {
        let links = servers.iter().map(|name| Link::new(world.clone(), entropy, name)).collect();
        Self { scenario, entropy, world, links, store, client: Mutex::default(), loads: None }
    }

    /// The same caller, whose settings change by [`change`](Self::change) alone, and whose links have the network of the scenario.
    pub(crate) fn changed_by_hand(self) -> Self {
        let network = self.scenario.network.shape();
        self.links.iter().for_each(|link| link.set_shape(network));
        let loads = watch::Sender::new(self.scenario.offered_load());
        Self { loads: Some(loads), ..self }
    }

    /// Has these settings from now on, which `change` has made of the ones before, and records it. `load` is that of the whole run, with all
    /// its changes. Before the load has begun it does nothing.
    pub(crate) fn change(&self, settings: &Scenario, load: Load, change: &Change) {
        let Some((client, recorder)) = &*lock(&self.client) else { return };
        record_change(&recorder.with_source(self.world.clone(), OPERATOR), change);
        match change.target() {
            ChangeTarget::Client => client.change(&settings.client),
            ChangeTarget::Load => drop(self.loads.as_ref().map(|loads| loads.send_replace(load))),
            ChangeTarget::Network => {
                let network = settings.network.shape();
                self.links.iter().for_each(|link| link.set_shape(network));
            }
            ChangeTarget::Servers => {}
        }
    }

    /// The link to a target of faults: the server at that index, or the store.
    pub(crate) fn link(&self, target: usize) -> &Link {
        match &self.store {
            Some(store) if target == STORE => &store.link,
            _ => &self.links[target],
        }
    }

    /// Offers the load from the start of the run to the end of the scenario, or until `cancelled` completes, which cancels
    /// the calls under way. The rows go to `sink`. Fails if the load of an app cannot be offered as it is written.
    pub(crate) async fn offer(
        &self,
        asked: Asked,
        sink: Arc<dyn Sink>,
        cancelled: impl Future<Output = ()>,
    ) -> Result<(), LoadError> {
        let Self { scenario, entropy, world, links, store, .. } = self;
        world.sleep_until(Instant::START).await;
        let recorder = Recorder::new(world.clone(), "client", sink);
        let settings = asked.client_settings(scenario.client.clone());
        let reached = (links.as_slice(), store.clone());
        let client = Client::start_with_store(world.clone(), *entropy, recorder.clone(), settings, reached);
        if self.loads.is_none() {
            start_changes(world, &recorder, &client, scenario);
        }
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
        let offered = async {
            match &self.loads {
                Some(loads) => load.run_changing(loads.subscribe()).await,
                None => load.run().await,
            }
        };
        match select(pin!(offered), pin!(cancel)).await {
            Either::Left((ended, _)) => ended,
            Either::Right(((), _)) => Ok(()),
        }
    }
}
