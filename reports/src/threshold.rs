//! A search for boundaries: where runs tip along a setting, or along two.
//!
//! What was found is `kernel::experiment::threshold`'s to say. Here is what goes with it into a report.

use kernel::{
    experiment::threshold::{Boundary, Point, ThresholdRecord},
    scenario::Scenario,
};
use serde_json::{Value, json};

/// Raised when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// A search, and what is to be said of it beside its figures.
#[derive(Debug, Clone)]
pub struct ThresholdAnalysis {
    /// The search as its folder has it.
    pub search: ThresholdRecord,
    /// What the scenario asks.
    pub question: Option<String>,
}

impl ThresholdAnalysis {
    pub fn from_search(search: ThresholdRecord) -> Self {
        let scenario = Scenario::parse("scenario.toml", &search.scenario, &[]).ok();
        Self { question: scenario.and_then(|scenario| scenario.question), search }
    }

    /// What people call it: `crash, sim, along load.rate and servers.workers`.
    pub fn title(&self) -> String {
        let identity = &self.search.identity;
        let and = identity.and.as_ref().map(|and| format!(" and {}", and.key)).unwrap_or_default();
        format!("{}, {}, along {}{and}", identity.scenario, identity.world, identity.along.key)
    }

    /// The boundaries, without the values that have none.
    pub fn boundaries(&self) -> impl Iterator<Item = (&Boundary, (f64, f64))> {
        self.search.boundaries.iter().filter_map(|crossing| Some((crossing, crossing.between()?)))
    }

    /// The report for programs.
    pub fn json(&self) -> Value {
        let point = |point: &&Point| {
            let (share, interval) = (point.test().share(), point.test().interval());
            let mut value = json!(point);
            value["share"] = json!(share);
            value["interval_95"] = json!([interval.0, interval.1]);
            value
        };
        json!({
            "schema": SCHEMA,
            "tip": self.search.identity,
            "question": self.question,
            "boundaries": self.search.boundaries,
            "points": self.search.points_in_order().iter().map(point).collect::<Vec<_>>(),
            "notes": self.search.remarks(),
            "replays": self.search.replays().iter().map(|(side, replay)| json!({ "side": side, "command": replay })).collect::<Vec<_>>(),
        })
    }
}
