//! The input of a simulation.

use kernel::{app::App, entropy::branch::Branch, scenario::Scenario};

use crate::calibration::Calibration;

/// A run to simulate. Equal plans give equal runs, byte for byte.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The services, the load, the faults, and what is expected.
    pub scenario: Scenario,
    /// The seed of everything that is random: arrivals, inputs, delays, jitter.
    pub seed: u64,
    /// The times from which everything random is drawn again, in their order; none in most runs.
    pub branches: Vec<Branch>,
    /// The durations that were measured on a host.
    pub calibration: Calibration,
    /// The app that plays a scenario with its own workload; `None` for the workloads of this project.
    pub app: Option<App>,
}

impl Plan {
    /// Creates the plan of a run with the built-in calibration, and without an app.
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        Self { scenario, seed, branches: Vec::new(), calibration: Calibration::default(), app: None }
    }

    /// Returns the scenario with the faults that the run draws.
    pub(crate) fn explicit(&self) -> Scenario {
        self.scenario.explicit_with(self.seed, &self.branches)
    }

    /// Returns what everything random is drawn from.
    pub(crate) fn draws(&self) -> (u64, &[Branch]) {
        (self.seed, &self.branches)
    }
}
