//! The identity of a threshold search: what is searched, and how.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Point, SettingRange, StoppingRule};
use crate::{experiment::sweep::Origin, run_folder::CalibrationInfo};

/// The content of `tip.json`: which search it is, and what a command needs that repeats one of its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdIdentity {
    /// World of the runs; always `sim`.
    pub world: String,
    /// Version of the program.
    pub version: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Criterion by which a run passes.
    #[serde(rename = "judged")]
    pub criterion: Criterion,
    /// Range in which thresholds are looked for.
    pub along: SettingRange,
    /// Range of the second setting; null if there is none.
    pub and: Option<SettingRange>,
    /// Number of values along the range that are tested first, for each value of the second setting.
    pub samples: u64,
    /// Probability that all outcomes are right, from 0.5 to below 1.
    pub confidence: f64,
    /// Rule that ends the test of a value.
    pub rule: StoppingRule,
    /// Seed of the first run of each value.
    pub from_seed: u64,
    /// Calibration of the simulated hosts.
    pub calibration: CalibrationInfo,
    /// Command line that started the search.
    pub origin: Origin,
}

/// Criterion by which a run passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// All expectations of the scenario hold.
    Expectations,
    /// The service recovers from every fault.
    Recovery,
}

impl Criterion {
    /// Returns the subject of "holds" and "fails" in reports.
    pub fn what(self) -> &'static str {
        match self {
            Self::Expectations => "what the scenario expects",
            Self::Recovery => "recovery",
        }
    }
}

impl ThresholdIdentity {
    /// Returns the folder that a search is written to unless the command line names one.
    pub fn default_place(scenario: &str, along: &SettingRange, and: Option<&SettingRange>) -> PathBuf {
        let keys: Vec<_> = [along].into_iter().chain(and).map(|range| range.key.replace('.', "-")).collect();
        Path::new("runs").join(scenario).join(format!("tip-{}", keys.join("-and-")))
    }

    /// Returns the command that repeats a run with the outcome of `point`.
    pub fn replay(&self, point: &Point) -> String {
        self.origin.replay(&self.world, point.seed, &point.settings)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::record;

    #[test]
    fn a_replay_has_the_settings_of_the_value_after_the_overrides() {
        let record = record(None);
        assert_eq!(
            record.identity.replay(&record.points[0]),
            "sim 'my stories/short.toml' --seed 3 --set load.arrivals=poisson --set load.rate=10 \
             --calibration here.toml"
        );
    }
}
