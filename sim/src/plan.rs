//! The input of a simulation.

use kernel::scenario::Scenario;

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
}
