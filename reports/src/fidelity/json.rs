//! `fidelity.json`.

use serde_json::{Map, Value, json};

use super::{
    CampaignFacts, Cell, Fidelity, GoalBounds, Measure, MeasureSummary, MechanismSummary, OffCell, Onset,
    ScenarioFidelity, campaign::is_of_another_machine,
};

/// The version of the document. It is raised when a field changes its meaning or is removed. Since 2, a verdict can be `small`, and `apart`
/// is only what matters. Since 3, goals are those of [`GoalBounds`], and a p99 of fewer than 100 calls is no cell.
const SCHEMA: u32 = 3;

impl Fidelity {
    /// Returns the report for programs: the `manifest` of a single campaign and those of all `campaigns`, the number of cells, and for each
    /// of the `scenarios` its `cells`.
    /// Times are in seconds, and values that do not exist are null. A ratio over a noise floor of 0 is null, with the verdict
    /// `apart` or `small`.
    pub fn json(&self) -> Value {
        let tally = self.tally();
        json!({
            "schema": SCHEMA,
            "manifest": if let [only] = self.campaigns.as_slice() { json!(only.manifest) } else { Value::Null },
            "campaigns": self.campaigns.iter().map(campaign).collect::<Vec<_>>(),
            "notes": self.notes,
            "cells": tally.cells,
            "within_floor": tally.within,
            "within_twice_the_floor": tally.close,
            "apart": tally.apart,
            "p99_left_out": self.sparse(),
            "goals": goals(&tally),
            "measures": self.by_measure().iter().map(measure).collect::<Vec<_>>(),
            "mechanisms": self.by_mechanism().iter().map(mechanism).collect::<Vec<_>>(),
            "off": self.off_cells().iter().map(|off| self.off(off)).collect::<Vec<_>>(),
            "scenarios": self.scenarios.iter().map(scenario).collect::<Vec<_>>(),
            "onsets": self.onsets.iter().map(onset).collect::<Vec<_>>(),
        })
    }

    fn off(&self, off: &OffCell<'_>) -> Value {
        let names = self.mechanisms().into_iter().map(str::to_owned);
        let without: Map<String, Value> = names.zip(off.without.iter().map(|difference| json!(difference))).collect();
        json!({
            "scenario": off.scenario,
            "phase": off.cell.phase,
            "measure": off.cell.measure.name(),
            "difference": off.cell.difference(),
            "difference_without": without,
            "excess": off.excess,
        })
    }
}

fn mechanism(summary: &MechanismSummary) -> Value {
    json!({
        "left_out": summary.mechanism,
        "scenarios": summary.scenarios,
        "p50": measure(&summary.p50),
        "p99": measure(&summary.p99),
        "all": measure(&summary.all),
    })
}

fn campaign(campaign: &CampaignFacts) -> Value {
    json!({
        "campaign": campaign.name,
        "manifest": campaign.manifest,
        "calibrated_on_another_machine": is_of_another_machine(&campaign.manifest),
    })
}

fn goals(summary: &MeasureSummary) -> Value {
    let MeasureSummary { goals, reached, beyond, .. } = summary;
    json!({ "cells": goals, "reached": reached, "beyond": beyond })
}

fn measure(summary: &MeasureSummary) -> Value {
    json!({
        "measure": summary.measure.map(Measure::name),
        "cells": summary.cells,
        "within_floor": summary.within,
        "within_twice_the_floor": summary.close,
        "apart": summary.apart,
        "goals": goals(summary),
        "goal_bounds": summary.measure.and_then(GoalBounds::for_measure),
        "median_error": summary.median_error,
        "largest_error": summary.largest_error,
    })
}

fn scenario(scenario: &ScenarioFidelity) -> Value {
    let [real, sim] = scenario.runs;
    json!({
        "scenario": scenario.name,
        "campaign": scenario.campaign,
        "real_runs": real,
        "sim_runs": sim,
        "p99_left_out": scenario.sparse,
        "utilisation": scenario.utilisation,
        "stages": scenario.stages,
        "clustering": scenario.clustering,
        "sentence": crate::text::fidelity::sentence(scenario),
        "cells": scenario.cells.iter().map(|cell| self::cell(cell, &scenario.campaign)).collect::<Vec<_>>(),
    })
}

fn cell(cell: &Cell, campaign: &str) -> Value {
    json!({
        "campaign": campaign,
        "phase": cell.phase,
        "measure": cell.measure.name(),
        "unit": if cell.measure.is_seconds() { "s" } else { "share" },
        "real": cell.real,
        "sim": cell.sim,
        "error": cell.error,
        "goal": cell.goal,
        "real_real": cell.real_real,
        "sim_real": cell.sim_real,
        "ratio": cell.ratio.filter(|ratio| ratio.is_finite()),
        "p": cell.p,
        "verdict": cell.verdict,
        "beyond_calibration": cell.is_beyond,
    })
}

fn onset(onset: &Onset) -> Value {
    json!({
        "scenario": onset.scenario,
        "points": onset.points,
        "real_per_second": onset.real,
        "sim_per_second": onset.sim,
        "error": onset.error(),
    })
}
