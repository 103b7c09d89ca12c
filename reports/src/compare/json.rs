//! `comparison.json`.

use kernel::scenario::{Metric, Unit};
use serde_json::{Value, json};

use super::{Comparison, ComparisonSide, PhasePair, ScenarioComparison, SidePair};

/// The version of the document. It is raised when a field changes its meaning or is removed.
const SCHEMA: u32 = 1;

impl Comparison {
    /// Returns the comparison for programs: `scenarios`, each with its `sides` (the first is the reference) and its `pairs`,
    /// each with its `phases` (metrics in base units, distances) and its `series`. Values that do not exist are null.
    pub fn json(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "notes": self.notes,
            "scenarios": self.scenarios.iter().map(scenario).collect::<Vec<_>>(),
        })
    }
}

fn scenario(scenario: &ScenarioComparison) -> Value {
    json!({
        "scenario": scenario.scenario,
        "reference": scenario.sides.first().map(|side| &side.name),
        "sides": scenario.sides.iter().map(side).collect::<Vec<_>>(),
        "pairs": scenario.pairs.iter().map(pair).collect::<Vec<_>>(),
    })
}

fn side(side: &ComparisonSide) -> Value {
    let runs = side.members.iter().map(|member| {
        let mut run = json!({
            "run": member.place,
            "world": member.world,
            "seed": member.seed,
            "pass": member.summary.pass,
            "trusted": member.summary.trusted,
        });
        // As in `run.json`, most runs have none.
        if !member.branches.is_empty() {
            run["branches"] = json!(member.branches);
        }
        run
    });
    json!({ "name": side.name, "runs": runs.collect::<Vec<_>>() })
}

fn pair(pair: &SidePair) -> Value {
    json!({
        "reference": pair.reference,
        "side": pair.side,
        "phases": pair.phases.iter().map(phase).collect::<Vec<_>>(),
        "series": { "goodput": pair.goodput, "latency_p95": pair.latency_p95 },
    })
}

fn phase(phase: &PhasePair) -> Value {
    let metrics = phase.metrics.iter().map(|(metric, values)| {
        json!({
            "metric": metric.name(),
            "unit": unit(*metric),
            "reference": values.reference,
            "side": values.side,
            "difference": values.difference,
            "relative": values.relative,
        })
    });
    json!({ "phase": phase.phase, "metrics": metrics.collect::<Vec<_>>(), "distances": phase.distances })
}

fn unit(metric: Metric) -> &'static str {
    match metric.unit() {
        Unit::Share => "share",
        Unit::Seconds => "s",
        Unit::PerSecond => "1/s",
        Unit::Count => "count",
    }
}
