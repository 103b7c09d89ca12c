//! `report.json`.

use serde_json::{Value, json};

use super::RunAnalysis;

/// Raised when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

impl RunAnalysis {
    /// The figures of the report, for programs. `summary` is what `summary.json` has.
    pub fn json(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "run": self.place,
            "replay": self.replay,
            "notes": self.notes,
            "summary": self.summary,
            "faults": self.faults,
            "episodes": self.episodes,
            "sightings": self.sightings,
            "attempts": self.servers,
        })
    }
}
