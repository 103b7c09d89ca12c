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
pub struct Tipping {
    pub tip: ThresholdRecord,
    /// What the scenario asks.
    pub question: Option<String>,
}

impl Tipping {
    pub fn of(tip: ThresholdRecord) -> Self {
        let scenario = Scenario::parse("scenario.toml", &tip.scenario, &[]).ok();
        Self { question: scenario.and_then(|scenario| scenario.question), tip }
    }

    /// What people call it: `crash, sim, along load.rate and servers.workers`.
    pub fn title(&self) -> String {
        let identity = &self.tip.identity;
        let and = identity.and.as_ref().map(|and| format!(" and {}", and.key)).unwrap_or_default();
        format!("{}, {}, along {}{and}", identity.scenario, identity.world, identity.along.key)
    }

    /// The boundaries, without the values that have none.
    pub fn boundaries(&self) -> impl Iterator<Item = (&Boundary, (f64, f64))> {
        self.tip.boundaries.iter().filter_map(|crossing| Some((crossing, crossing.between()?)))
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
            "tip": self.tip.identity,
            "question": self.question,
            "boundaries": self.tip.boundaries,
            "points": self.tip.points_in_order().iter().map(point).collect::<Vec<_>>(),
            "notes": self.tip.remarks(),
            "replays": self.tip.replays().iter().map(|(side, replay)| json!({ "side": side, "command": replay })).collect::<Vec<_>>(),
        })
    }
}
