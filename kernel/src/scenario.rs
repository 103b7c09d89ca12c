//! Scenario files: read, checked, resolved, and written back.
//!
//! [`Scenario::load`] reads a TOML file, applies the command line's `--set key=value` and returns the validated
//! [`Scenario`] with every default filled in, or a [`ScenarioError`] that shows the line (or the `--set`) at fault, the
//! key's path and what would be right. [`Scenario::to_toml`] writes it back, defaults included; reading that gives an
//! equal scenario.
//!
//! This module composes the tables that the parts of the kernel declare by [`settings`](crate::settings), in [`TABLE`],
//! and has the rules between them. It opens the scenario file, the service config and the trace that it names, and nothing else: a
//! workload's `images` are looked for by the world that runs it.

mod change;
mod contradictions;
mod read;
pub mod reference;
mod schema;
mod service_config;
pub mod setting_generator;
mod shorthand;
mod topology;
mod totals;
mod write;

use std::time::Duration;

pub use crate::{
    client::settings::{Balancing, Client, HealthCheck, Jitter, Retry},
    fault::{Affects, Direction, Fault, FaultGenerator, FaultKind, FaultName, STORE, TargetCount, target_name},
    link::settings::Network,
    load::{
        RequestKind, Trace,
        settings::{Arrivals, Load, Shape, Stage, ThinkTime},
    },
    measure::{
        expectation::{Expectation, Phase},
        metric::{Metric, MetricGroup, Unit},
        settings::Run,
    },
    server::settings::{AdaptiveQueue, Admission, Caller, ServerNames, Servers, server_name},
    settings::{Mistake, Place, ScenarioError, UnknownName, bandwidth, duration, limits},
    slo::{Slo, SloKind},
    store::StoreAddress,
    tls::settings::{Tls, TlsMode},
    workload::{
        settings::{AppTimes, Backend, GraphSize, Images, Pictures, Workload, WorkloadName},
        size::{Size, SizeError},
    },
};

use crate::{entropy::branch::Branch, measure::Script};

pub use change::{Change, ChangeTarget, Epoch, changeable};

pub use read::TABLE;
pub use schema::schema;
pub use service_config::ServiceConfigExport;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use service_config::read_service_config;
pub use topology::{CLIENT, EDGES_MAX, Edge, SERVICES_MAX, Service};

/// An experiment: servers, load, a network, a client, faults, and what is expected of it all.
///
/// Every value is present, in range and consistent with the others. Bounds are in [`limits`].
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The name, which is the run folder's, too: letters, digits, `-` and `_`.
    pub name: String,
    /// The question that the scenario answers, in a sentence.
    pub question: Option<String>,
    /// The time during which load is offered; the run then drains.
    pub duration: Duration,
    /// The replicas that the load calls: all of them, or with `services` those of the first one.
    pub servers: Servers,
    /// The services, that which the load calls first, then the others in file order; empty for one group of servers.
    pub services: Vec<Service>,
    /// The calls between services, and that of the load, in file order.
    pub edges: Vec<Edge>,
    /// The computation that a request asks for.
    pub workload: Workload,
    /// The times at which requests are sent.
    pub load: Load,
    /// The network between client and servers.
    pub network: Network,
    /// The encryption of connections; `None` for none.
    pub tls: Option<Tls>,
    /// The settings of a call and of its attempts.
    pub client: Client,
    /// The bounds within which a run is valid.
    pub run: Run,
    /// The generator that draws more faults from the seed; see [`Scenario::explicit`].
    pub nemesis: Option<FaultGenerator>,
    /// The faults in file order; `fault-N` names the one at index N.
    pub faults: Vec<Fault>,
    /// The changes of settings in file order.
    pub changes: Vec<Change>,
    /// The expectations in file order.
    pub expectations: Vec<Expectation>,
    /// The objectives in file order, which change nothing in a run.
    pub slos: Vec<Slo>,
    /// Notes for the user about the files that were read.
    pub notes: ReadingNotes,
}

/// Notes about the files that a scenario was read from. They are no part of the scenario, so that all are equal.
#[derive(Debug, Clone, Default)]
pub struct ReadingNotes {
    /// The notes, a sentence each.
    pub sentences: Vec<String>,
    /// True if the client's settings come from a service config.
    pub has_service_config: bool,
}

impl PartialEq for ReadingNotes {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Scenario {
    /// Returns a sentence for each setting that is valid and has no effect, and for each field of a service config that gRPC
    /// ignores or reads in its own way.
    pub fn warnings(&self) -> Vec<String> {
        let detection = self.client.policies.outlier_detection.iter();
        let of_ejection = detection.flat_map(|detection| detection.warnings(self.servers.replicas));
        let of_slos = self.slos.iter().flat_map(Slo::warnings);
        let of_load = self.load.warnings(self.duration);
        self.notes.sentences.iter().cloned().chain(of_load).chain(of_ejection).chain(of_slos).collect()
    }

    /// Returns what the rows of a run are compared with. Faults that a `[nemesis]` has yet to draw are not in it.
    pub fn script(&self) -> Script<'_> {
        Script {
            expectations: &self.expectations,
            faults: &self.faults,
            max_lateness: Some(self.run.max_lateness),
            stopped: None,
            names: self.names(),
        }
    }

    /// Returns the names of the servers, in the order of their indices.
    pub fn server_names(&self) -> impl Iterator<Item = String> + use<> {
        self.names().all()
    }

    /// Returns the place of the store of the client's cache, if it has one.
    pub fn store(&self) -> Option<&StoreAddress> {
        self.client.policies.cache.as_ref()?.store.as_ref()
    }

    /// Returns the scenario that a run with this seed plays: the faults that its `[nemesis]` draws, if it has one, take its
    /// place.
    ///
    /// ```
    /// use kernel::scenario::Scenario;
    ///
    /// let text = "name = \"short\"\nduration = \"10s\"\nload = { rate = 5 }\nnemesis = { faults_min = 2 }\n";
    /// let scenario = Scenario::parse("short.toml", text, &[])?;
    /// let drawn = scenario.explicit(7);
    /// assert!(drawn.nemesis.is_none() && drawn.faults.len() >= 2);
    /// assert_eq!(drawn, scenario.explicit(7), "a seed always draws the same faults");
    /// # Ok::<(), kernel::scenario::ScenarioError>(())
    /// ```
    pub fn explicit(&self, seed: u64) -> Self {
        self.explicit_with(seed, &[])
    }

    /// Does the same for a run with these branches, in the order of time: the faults that would begin behind a branch are drawn again.
    pub fn explicit_with(&self, seed: u64, branches: &[Branch]) -> Self {
        let mut explicit = self.clone();
        if let Some(generator) = explicit.nemesis.take() {
            let drawn = generator.draw(self.duration, self.replicas(), &self.faults, seed);
            let drawn = branches.iter().fold(drawn, |drawn, branch| generator.redraw(drawn, self, branch, seed));
            explicit.faults.extend(drawn);
        }
        explicit
    }
}
