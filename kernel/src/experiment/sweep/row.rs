//! The row of one run of a sweep.

use serde::{Deserialize, Serialize};

use crate::{
    coverage::Coverage,
    invariant::Violation,
    measure::{CheckedExpectation, Metrics, Summary, metric::Metric},
    slo::AlertTally,
};

/// Result of one run of a sweep: a line of `runs.jsonl`. Its figures are those of the run's `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// Index of the run's variant, from 0; the lines are in order of variant, then seed.
    pub variant: usize,
    /// Seed of the run.
    pub seed: u64,
    /// Settings of the variant, each a `key=value` as `--set` takes it.
    pub settings: Vec<String>,
    /// Digest of the run's records, the one that the run alone prints; empty if the run was stopped.
    pub digest: String,
    /// True if every expectation holds.
    pub pass: bool,
    /// End of the run, in microseconds from its start.
    pub end_us: u64,
    /// Metrics over the whole run.
    pub overall: Metrics,
    /// Results of the expectations, in the scenario's order.
    pub expectations: Vec<CheckedExpectation>,
    /// First invariant that the run violates, which is a bug of Rehearsal; left out if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Violation>,
    /// True if a fault or a send was later than the scenario allows, so that the figures are not the scenario's; left out if
    /// not.
    #[serde(default, skip_serializing_if = "is_trusted")]
    pub untrusted: bool,
    /// Why the run was stopped before its end, in a sentence; left out if it was not. Its figures are of what had ended until
    /// then, and count nowhere; if the clock of the machine stopped it, they differ from run to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The states of policies and servers that the run reached; left out by versions that did not record them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Coverage>,
    /// The alerts of the scenario's objectives; left out if it has none, or if the run was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<AlertTally>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_trusted(untrusted: &bool) -> bool {
    !untrusted
}

impl RunRow {
    /// Creates the row of a run of `variant`, whose settings are `settings`.
    pub fn new(
        variant: usize,
        settings: Vec<String>,
        digest: String,
        summary: Summary,
        broken: Option<Violation>,
        reached: Coverage,
    ) -> Self {
        let Summary { seed, pass, end_us, overall, expectations, trusted, stopped, .. } = summary;
        let untrusted = !trusted;
        Self {
            variant,
            seed,
            settings,
            digest,
            pass,
            end_us,
            overall,
            expectations,
            broken,
            untrusted,
            stopped,
            reached: Some(reached),
            alerts: None,
        }
    }

    /// Returns whether the run is trusted and came to its end.
    pub fn counts(&self) -> bool {
        !self.untrusted && self.stopped.is_none()
    }

    /// Returns whether the run counts and every expectation holds.
    pub fn passes(&self) -> bool {
        self.pass && self.counts()
    }

    /// Returns a metric over the whole run; none if it could not be computed, or if the run does not count.
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        self.overall.get(metric).filter(|_| self.counts())
    }

    /// Returns the variant and seed, which identify the run and order the lines.
    pub fn key(&self) -> (usize, u64) {
        (self.variant, self.seed)
    }
}
