//! A row a run.

use serde::{Deserialize, Serialize};

use crate::{
    invariant::Violation,
    measure::{CheckedExpectation, Metrics, Summary},
};

/// What one run of many came to: a line of `runs.jsonl`. Its figures are those of the run's `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// Which variant it is of, from 0; the lines are in order of variant, then seed.
    pub variant: usize,
    pub seed: u64,
    /// What is varied, each a `key=value` as `--set` takes it.
    pub settings: Vec<String>,
    /// Of the records, as the run alone prints it.
    pub digest: String,
    /// Whether every expectation holds.
    pub pass: bool,
    /// When the run was over, in microseconds.
    pub end_us: u64,
    /// The metrics of the whole run.
    pub overall: Metrics,
    /// In the scenario's order.
    pub expectations: Vec<CheckedExpectation>,
    /// The first of the invariants that the run breaks, by which this project has a bug; left out if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Violation>,
}

impl RunRow {
    /// The row of a run of `variant`, whose settings are `settings`.
    pub fn new(
        variant: usize,
        settings: Vec<String>,
        digest: String,
        summary: Summary,
        broken: Option<Violation>,
    ) -> Self {
        let Summary { seed, pass, end_us, overall, expectations, .. } = summary;
        Self { variant, seed, settings, digest, pass, end_us, overall, expectations, broken }
    }

    /// What places its line.
    pub fn key(&self) -> (usize, u64) {
        (self.variant, self.seed)
    }
}
