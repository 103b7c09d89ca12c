//! The result of a simulation.

use kernel::{
    invariant::{self, Evidence, Violation},
    measure::{RunLabel, RunRows, Summary},
    record::Records,
};

use crate::plan::Plan;

/// A run that came to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletedRun {
    /// All requests, attempts and events.
    pub records: Records,
    /// Steps that the driver took.
    pub steps: u64,
    /// Instants to which the driver moved the clock between two steps. Hosts also move it by themselves, within their
    /// turns, which is not counted.
    pub instants: u64,
}

impl CompletedRun {
    /// Returns the invariants that this run of `plan` violates.
    pub fn violations(&self, plan: &Plan) -> Vec<Violation> {
        let Plan { scenario, seed, calibration } = plan;
        let scenario = &scenario.explicit(*seed);
        invariant::check(&Evidence {
            scenario,
            seed: *seed,
            duration: scenario.duration,
            late: Some(calibration.timers_late_max()),
            records: &self.records,
        })
    }

    /// Computes the metrics of this run of `plan`, and compares them with what the scenario expects.
    pub fn summary(&self, plan: &Plan) -> Summary {
        let Plan { scenario, seed, .. } = plan;
        let run = RunRows::new(scenario.servers.replicas, scenario.duration, &self.records);
        Summary::compute(RunLabel { scenario: &scenario.name, seed: *seed, world: "sim" }, &run, &scenario.expectations)
    }
}
