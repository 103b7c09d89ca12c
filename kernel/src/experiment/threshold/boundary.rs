//! Results of a threshold search: the values that were tested, and the boundaries between them.

use serde::{Deserialize, Serialize};

use super::{SequentialTest, TestOutcome, ThresholdIdentity};

/// Result of one value: a line of `points.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The value, in seconds if it is a time.
    pub along: f64,
    /// Value of the second setting, in seconds if it is a time; null if there is none.
    pub and: Option<f64>,
    /// Settings of both values, each a `key=value` as `--set` takes it.
    pub settings: Vec<String>,
    /// Number of runs.
    pub runs: u64,
    /// Number of runs that pass.
    pub passes: u64,
    /// Outcome of the value.
    #[serde(rename = "side")]
    pub outcome: TestOutcome,
    /// True if the outcome has the confidence of the search; otherwise it is the majority's.
    pub decided: bool,
    /// First seed whose run has the outcome.
    pub seed: u64,
    /// Why the first of its runs that were stopped before their end was, in a sentence; left out if there is none. Such a run
    /// does not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

impl Point {
    /// Returns the test of the value after its last run.
    pub fn test(&self) -> SequentialTest {
        SequentialTest { runs: self.runs, passes: self.passes }
    }

    /// Returns the contradiction in a point that was read from a file; `None` if there is none.
    pub(super) fn contradiction(&self, identity: &ThresholdIdentity) -> Option<&'static str> {
        if self.and.is_some() != identity.and.is_some() {
            return Some("`and` is there if there is a second setting, and only then");
        }
        (self.runs == 0 || self.passes > self.runs).then_some("`passes` are of `runs`, of which there is at least one")
    }
}

/// Boundary between two neighbouring values with different outcomes, or the fact that there is none: a line of
/// `boundary.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Boundary {
    /// Value of the second setting, in seconds if it is a time; null if there is none.
    pub and: Option<f64>,
    /// Lower one of the two neighbours; null if all of the range has one outcome.
    pub low: Option<f64>,
    /// Upper one of the two neighbours; null if all of the range has one outcome.
    pub high: Option<f64>,
    /// Outcome of `low`, or of all of the range.
    #[serde(rename = "side")]
    pub outcome: TestOutcome,
}

impl Boundary {
    /// Returns the two neighbours; `None` if there is no boundary.
    pub fn between(&self) -> Option<(f64, f64)> {
        self.low.zip(self.high)
    }

    /// Returns the contradiction in a boundary that was read from a file; `None` if there is none.
    pub(super) fn contradiction(&self, identity: &ThresholdIdentity) -> Option<&'static str> {
        if self.and.is_some() != identity.and.is_some() {
            return Some("`and` is there if there is a second setting, and only then");
        }
        match (self.low, self.high) {
            (Some(low), Some(high)) => (low >= high).then_some("`low` is below `high`"),
            (None, None) => None,
            _ => Some("`low` and `high` are both there, or neither"),
        }
    }
}
