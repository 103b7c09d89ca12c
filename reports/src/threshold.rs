//! The analysis of a search for a threshold along one setting, or along two.
//!
//! The results are those of `kernel::experiment::threshold`. This module adds what a report needs beside them.

use kernel::{
    experiment::threshold::{Boundary, Point, ThresholdRecord},
    scenario::Scenario,
};
use serde_json::{Value, json};

/// The version of the document. It is raised when a field changes its meaning or is removed.
const SCHEMA: u32 = 1;

/// A search with all that its report needs.
#[derive(Debug, Clone)]
pub struct ThresholdAnalysis {
    /// The search as its folder has it.
    pub search: ThresholdRecord,
    /// The question that the scenario asks.
    pub question: Option<String>,
}

impl ThresholdAnalysis {
    /// Returns the analysis of the search of a folder.
    pub fn from_search(search: ThresholdRecord) -> Self {
        let scenario = Scenario::parse("scenario.toml", &search.scenario, &[]).ok();
        Self { question: scenario.and_then(|scenario| scenario.question), search }
    }

    /// Returns the title of the report, such as `crash, sim, along load.rate and servers.workers`.
    pub fn title(&self) -> String {
        let identity = &self.search.identity;
        let and = identity.and.as_ref().map(|and| format!(" and {}", and.key)).unwrap_or_default();
        format!("{}, {}, along {}{and}", identity.scenario, identity.world, identity.along.key)
    }

    /// Returns each boundary with the two neighbours that it lies between, without the values that have no boundary.
    pub fn boundaries(&self) -> impl Iterator<Item = (&Boundary, (f64, f64))> {
        self.search.boundaries.iter().filter_map(|boundary| Some((boundary, boundary.between()?)))
    }

    /// Returns the report for programs.
    pub fn json(&self) -> Value {
        let search = &self.search;
        json!({
            "schema": SCHEMA,
            "tip": search.identity,
            "question": self.question,
            "boundaries": search.boundaries,
            "points": search.points_in_order().into_iter().map(point).collect::<Vec<_>>(),
            "notes": search.remarks(),
            "replays": search.replays().iter().map(|(side, replay)| json!({ "side": side, "command": replay })).collect::<Vec<_>>(),
        })
    }
}

/// Returns a point with the share of runs that pass and its 95 % interval.
fn point(point: &Point) -> Value {
    let test = point.test();
    let interval = test.interval();
    let mut value = json!(point);
    value["share"] = json!(test.share());
    value["interval_95"] = json!([interval.0, interval.1]);
    value
}
