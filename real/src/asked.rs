//! The requests of a run.

use std::sync::Arc;

use kernel::{
    app::{App, AppError},
    client::settings::Client,
    entropy::Entropy,
    link::Link,
    load::Requests,
    record::Recorder,
    scenario::Scenario,
    workload::{Inputs, Oracle, WorkloadRequests, pictures::PictureFileError},
    world::SharedWorld,
};

use crate::app;

/// The requests of a run, prepared before the run.
pub(crate) enum Asked {
    /// The results of a workload for these inputs, which the oracle has computed.
    Workload(Inputs, Oracle),
    /// The requests of the load of the app.
    App(&'static App),
}

/// Requests that cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPrepared {
    #[error(transparent)]
    Pictures(#[from] PictureFileError),
    #[error(transparent)]
    App(#[from] AppError),
}

impl Asked {
    /// Prepares what the requests of `scenario` ask for.
    pub(crate) fn prepare(scenario: &Scenario, entropy: Entropy) -> Result<Self, NotPrepared> {
        if let Some(app) = app::for_scenario(scenario)? {
            return Ok(Self::App(app));
        }
        let inputs = Inputs::for_kinds(&scenario.workload, &scenario.load.request, entropy)?;
        // Its results are computed now, so that this takes no processor time during the run.
        let oracle = Oracle::learned(&inputs);
        Ok(Self::Workload(inputs, oracle))
    }

    /// Returns the settings of the client that makes the requests.
    pub(crate) fn client_settings(&self, settings: Client) -> Client {
        match self {
            Self::Workload(..) => settings,
            Self::App(_) => App::client_settings(settings),
        }
    }

    /// Returns the requests, made by `world`, which has these `links` to the servers.
    pub(crate) fn into_requests(
        self,
        world: &SharedWorld,
        recorder: &Recorder,
        entropy: Entropy,
        scenario: &Scenario,
        links: &[Arc<Link>],
    ) -> Arc<dyn Requests> {
        match self {
            Self::Workload(inputs, oracle) => Arc::new(WorkloadRequests::new(inputs, entropy, oracle)),
            Self::App(app) => app.requests(world.clone(), recorder.clone(), entropy, scenario, links),
        }
    }
}
