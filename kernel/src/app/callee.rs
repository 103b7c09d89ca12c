//! The services that a process calls.

use std::sync::{Arc, OnceLock};

use super::App;
use crate::{
    client::{Channel, Client, Edge, settings},
    entropy::Entropy,
    grpc::Methods,
    link::Link,
    record::Recorder,
    scenario::Scenario,
    world::SharedWorld,
};

/// A service that a process calls: the links to its replicas, and the policies of the calls.
pub struct Callee {
    service: String,
    links: Vec<Arc<Link>>,
    /// `None` for the load, whose client is that of the run.
    calls: Option<Calls>,
}

/// How a process of a service calls another one.
struct Calls {
    settings: settings::Client,
    propagates_deadline: bool,
    /// The client, once a channel was asked for, and the way that its calls are recorded.
    client: OnceLock<(Client, Arc<Edge>)>,
}

/// A service that a process cannot call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoEdge {
    /// The scenario has no edge to it.
    #[error(
        "{process} does not call `{service}`: {known}; add to the scenario: [[edge]], from = \"{from}\", to = \"{service}\""
    )]
    Unknown {
        /// The name of the process.
        process: String,
        /// Its service, or `client` for the load.
        from: String,
        /// The service that was asked for.
        service: String,
        /// The services that the process calls, or that it calls none, as a part of the message.
        known: String,
    },
    /// The process is that of the load.
    #[error("the channel of the load is `call.channel()`: each of its requests is one call")]
    Load,
}

impl Callee {
    /// Returns the service called `service`, which the load calls over `links`.
    pub(super) fn of_load(service: &str, links: Vec<Arc<Link>>) -> Self {
        Self { service: service.to_owned(), links, calls: None }
    }

    /// Returns the services that the process called `name` calls, which is one of the service at position `service` of `scenario`. `world` is
    /// that of the process, `entropy` that of the run, and `link` is called with each link of it and the index of the server behind it.
    pub fn of_process(
        scenario: &Scenario,
        service: usize,
        name: &str,
        (world, entropy): (&SharedWorld, Entropy),
        mut link: impl FnMut(&Arc<Link>, usize),
    ) -> Vec<Self> {
        let names = scenario.names();
        let entropy = entropy.of_caller(name);
        let callee = |edge: &crate::scenario::Edge| {
            let links = names.of_service(&edge.to).unwrap_or_default().map(|server| {
                let to = Link::new(world.clone(), entropy, &names.name(server));
                link(&to, server);
                to
            });
            let settings = edge.client.clone().unwrap_or_else(|| scenario.client.clone());
            Self {
                service: edge.to.clone(),
                links: links.collect(),
                calls: Some(Calls {
                    settings: App::client_settings(settings),
                    propagates_deadline: edge.propagate_deadline,
                    client: OnceLock::new(),
                }),
            }
        };
        scenario.edges_from(service).map(callee).collect()
    }

    /// Returns the name of the service.
    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// Returns the link to each replica.
    pub(super) fn links(&self) -> &[Arc<Link>] {
        &self.links
    }

    /// Returns a channel to the service, through the policies of its edge. The first one of a process starts its client.
    ///
    /// # Errors
    ///
    /// Returns an error for the load.
    pub(super) fn channel(
        &self,
        (world, entropy): (&SharedWorld, Entropy),
        recorder: &Recorder,
        methods: Arc<Methods>,
    ) -> Result<Channel, NoEdge> {
        let calls = self.calls.as_ref().ok_or(NoEdge::Load)?;
        let (client, edge) = calls.client.get_or_init(|| {
            let entropy = entropy.of_caller(recorder.source());
            let settings = calls.settings.clone();
            let client = Client::start(world.clone(), entropy, recorder.clone(), settings, &self.links);
            (client, Edge::new(recorder.clone(), &self.service, calls.propagates_deadline))
        });
        Ok(client.channel_of_service(edge.clone(), methods))
    }
}
