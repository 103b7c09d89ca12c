//! The input of a simulation.

use kernel::{app::App, scenario::Scenario};

use crate::calibration::Calibration;

/// A run to simulate. Equal plans give equal runs, byte for byte.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The services, the load, the faults, and what is expected.
    pub scenario: Scenario,
    /// The seed of everything that is random: arrivals, inputs, delays, jitter.
    pub seed: u64,
    /// The durations that were measured on a host.
    pub calibration: Calibration,
    /// What plays a scenario whose workload is an app; `None` for the workloads of this project.
    pub app: Option<App>,
}

impl Plan {
    /// Creates the plan of a run with the built-in calibration, and without an app.
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        Self { scenario, seed, calibration: Calibration::default(), app: None }
    }
}
