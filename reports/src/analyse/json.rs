//! `report.json`.

use serde_json::{Value, json};

use super::RunAnalysis;

/// The version of the document. It is raised when a field changes its meaning or is removed.
const SCHEMA: u32 = 1;

impl RunAnalysis {
    /// Returns the report for programs. Its `summary` is that of `summary.json`; `state` is left out for a complete run.
    pub fn json(&self) -> Value {
        let mut document = json!({
            "schema": SCHEMA,
            "run": self.place,
            "replay": self.replay,
            "notes": self.notes,
            "summary": self.summary,
            "faults": self.faults,
            "episodes": self.episodes,
            "sightings": self.sightings,
            "attempts": self.servers,
        });
        if !self.kinds.is_empty() {
            document["kinds"] = json!(self.kinds);
        }
        if let Some(state) = &self.state {
            document["state"] = json!(state);
        }
        document
    }
}
