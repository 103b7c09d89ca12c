//! A run as it was read: its rows, its scenario, and notes on missing data.

use std::{path::PathBuf, time::Duration};

use kernel::{
    cli::{program, quoted},
    entropy::branch::Branch,
    measure::{RunLabel, RunRows, Summary},
    run_folder::{RunInfo, RunState},
    scenario::Scenario,
};

use crate::rows::RunTables;

/// One run, read from a run folder or from a log of another program.
#[derive(Debug)]
pub struct RecordedRun {
    /// The folder or file that it was read from.
    pub place: PathBuf,
    /// The name of the scenario, or of the file.
    pub scenario_name: String,
    /// The world: `sim`, `real`, or `log` for a log of another program.
    pub world: String,
    /// The seed; 0 for a log.
    pub seed: u64,
    /// The time for which load was offered, from the start of the run.
    pub duration: Duration,
    /// The number of servers.
    pub servers: usize,
    /// The rows of requests, attempts and events.
    pub rows: RunTables,
    /// The scenario; `None` if it is missing or not valid.
    pub scenario: Option<Scenario>,
    /// The text of `scenario.toml`.
    pub scenario_text: Option<String>,
    /// The content of `run.json`.
    pub info: Option<RunInfo>,
    /// The content of `summary.json`, as the run itself wrote it.
    pub stored: Option<Summary>,
    /// The content of `state.json`; `None` for a run that is complete, or a log.
    pub state: Option<RunState>,
    /// Notes on missing or inconsistent data, each a sentence.
    pub notes: Vec<String>,
}

impl RecordedRun {
    /// Returns the title of its report, such as `crash, sim, seed 42`.
    pub fn title(&self) -> String {
        match self.world.as_str() {
            "log" => self.scenario_name.clone(),
            world => format!("{}, {world}, seed {}", self.scenario_name, draws(self.seed, self.branches())),
        }
    }

    /// Returns the times from which everything random was drawn again.
    pub fn branches(&self) -> &[Branch] {
        self.info.as_ref().map_or(&[], |info| &info.branches)
    }

    /// Returns the metrics and the verdict, computed from the rows.
    pub fn summary(&self) -> Summary {
        let profile = self.scenario.as_ref().map(|scenario| scenario.client.profile);
        let label = RunLabel { scenario: &self.scenario_name, seed: self.seed, world: &self.world, profile };
        // A log of another program may be of any length, and of it there are only requests.
        if self.rows.attempts.is_empty() && self.rows.events.is_empty() && self.scenario.is_none() {
            let load_end_us = u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX);
            return Summary::of_log(label, self.servers, load_end_us, &|visit| self.rows.requests.each(visit));
        }
        let names = self.scenario.as_ref().map(Scenario::entry_names).unwrap_or_default();
        let rows = match &self.scenario {
            Some(_) => RunRows::on_servers(&names, self.duration, &self.rows),
            None => RunRows::new(self.servers, self.duration, &self.rows),
        };
        let script = self.scenario.as_ref().map(Scenario::script);
        Summary::compute(label, &rows, &script.unwrap_or_default())
    }

    /// Returns the command that repeats the run; `None` if it was not run from a scenario.
    pub fn replay(&self) -> Option<String> {
        let known = matches!(self.world.as_str(), "sim" | "real") && self.scenario.is_some();
        let file = self.place.join("scenario.toml");
        let branches: String = self.branches().iter().map(|branch| format!(" --branch {branch}")).collect();
        let file = quoted(&file.to_string_lossy());
        known.then(|| format!("{} {file} --seed {}{branches}", program(&self.world), self.seed))
    }
}

/// Returns what everything random is drawn from in words: the seed, and the branches if there are any.
pub(crate) fn draws(seed: u64, branches: &[Branch]) -> String {
    branches.iter().fold(seed.to_string(), |text, branch| format!("{text}, branch {branch}"))
}
