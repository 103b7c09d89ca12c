//! A run as it was found: its rows, what is known of it, and what is missing.

use std::{path::PathBuf, time::Duration};

use kernel::{
    measure::{RunLabel, RunRows, Summary},
    record::Records,
    run_folder::RunInfo,
    scenario::Scenario,
};

/// One run, read from a run folder or from a log of some other program.
#[derive(Debug, Clone)]
pub struct RecordedRun {
    /// The folder or file.
    pub place: PathBuf,
    /// The scenario's name, or the file's.
    pub scenario_name: String,
    /// `sim`, `real`, or `log` for what another program wrote.
    pub world: String,
    pub seed: u64,
    /// Load was offered from 0 to here.
    pub duration: Duration,
    /// How many servers took part.
    pub servers: usize,
    pub records: Records,
    /// What is in the folder beside the rows; `None` where it is missing.
    pub scenario: Option<Scenario>,
    /// The text of `scenario.toml`.
    pub scenario_text: Option<String>,
    pub info: Option<RunInfo>,
    /// `summary.json`, as the run itself left it.
    pub stored: Option<Summary>,
    /// What is missing or odd, a sentence each, for the reader of the report.
    pub notes: Vec<String>,
}

impl RecordedRun {
    /// What people call it: `crash, sim, seed 42`.
    pub fn title(&self) -> String {
        match self.world.as_str() {
            "log" => self.scenario_name.clone(),
            world => format!("{}, {world}, seed {}", self.scenario_name, self.seed),
        }
    }

    /// The metrics, by their one definition.
    pub fn summary(&self) -> Summary {
        let rows = RunRows {
            duration: self.duration,
            servers: self.servers,
            requests: &self.records.requests,
            attempts: &self.records.attempts,
            events: &self.records.events,
        };
        let label = RunLabel { scenario: &self.scenario_name, seed: self.seed, world: &self.world };
        let expectations = self.scenario.as_ref().map(|scenario| scenario.expectations.as_slice());
        Summary::compute(label, &rows, expectations.unwrap_or_default())
    }

    /// The command that plays it again, if it was played from a scenario.
    pub fn replay(&self) -> Option<String> {
        let known = matches!(self.world.as_str(), "sim" | "real") && self.scenario.is_some();
        let file = self.place.join("scenario.toml");
        known.then(|| format!("cargo run -p {} -- {} --seed {}", self.world, file.display(), self.seed))
    }
}
