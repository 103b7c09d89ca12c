//! The analysis of a sweep: many runs of one scenario, over seeds or over a grid of settings.
//!
//! The statistics are those of `kernel::experiment::sweep`. This module adds notes on the folder, and the layout of the
//! plots of a grid.

mod layout;

use kernel::{
    experiment::sweep::{Shard, SweepRecord, SweepReport},
    scenario::Scenario,
};
use serde_json::{Value, json};

pub use self::layout::{GridLayout, GridLine, GridPlot, VariedSetting};

/// The version of the document. It is raised when a field changes its meaning or is removed.
const SCHEMA: u32 = 1;

/// The settings on which the arrivals and the inputs of requests depend.
const ARRIVAL_SETTINGS: [&str; 11] = [
    "duration",
    "load.arrivals",
    "load.rate",
    "load.request",
    "load.stage",
    "load.think_time",
    "load.think_time_distribution",
    "load.trace",
    "load.trace_us",
    "load.users",
    "workload",
];

/// A sweep with all that its report needs.
#[derive(Debug, Clone)]
pub struct SweepAnalysis {
    /// The runs as their folder has them.
    pub runs: SweepRecord,
    /// The question that the scenario asks.
    pub question: Option<String>,
    /// The layout of the plots of a grid; `None` if no setting is varied.
    pub layout: Option<GridLayout>,
    /// Notes on missing or inconsistent data, each a sentence.
    pub notes: Vec<String>,
}

impl SweepAnalysis {
    /// Returns the analysis of the runs of a folder.
    pub fn from_runs(runs: SweepRecord) -> Self {
        let scenario = Scenario::parse("scenario.toml", &runs.scenario, &[]).ok();
        let question = scenario.and_then(|scenario| scenario.question);
        let layout = GridLayout::from_identity(&runs.identity);
        let mut notes = notes(&runs);
        if let Some(GridLayout { plots, undrawn, .. }) = layout.as_ref().filter(|layout| layout.undrawn > 0) {
            let all = plots.len() + undrawn;
            notes.push(format!(
                "only the first {} of {all} plots of each group of metrics are drawn; the tables have all variants",
                plots.len()
            ));
        }
        Self { question, layout, notes, runs }
    }

    /// Returns the title of the report, such as `crash, sim, seeds 0..100, 4 variants`.
    pub fn title(&self) -> String {
        let identity = &self.runs.identity;
        let shard = if identity.shard == Shard::WHOLE { String::new() } else { format!(", shard {}", identity.shard) };
        let variants = match identity.variants.len() {
            1 => String::new(),
            count => format!(", {count} variants"),
        };
        format!("{}, {}, seeds {}{shard}{variants}", identity.scenario, identity.world, identity.seeds)
    }

    /// Returns the report for programs: the output of `sim --seeds --json`, the notes, and a schema.
    pub fn json(&self, account: &SweepReport<'_>) -> Value {
        let mut value = json!({ "schema": SCHEMA });
        if let (Value::Object(fields), Ok(Value::Object(overview))) =
            (&mut value, serde_json::to_value(account.overview()))
        {
            fields.extend(overview);
            fields.insert("notes".to_owned(), json!(self.notes));
        }
        value
    }
}

/// Returns notes on runs that are missing or cannot be compared seed by seed.
fn notes(runs: &SweepRecord) -> Vec<String> {
    let identity = &runs.identity;
    let mut notes = Vec::new();
    let missing = identity.runs().saturating_sub(runs.rows.len() as u64);
    if missing > 0 {
        let planned = identity.runs();
        notes.push(format!("{missing} of {planned} runs are missing; repeat the command of the sweep to continue it"));
    }
    if identity.shard != Shard::WHOLE {
        let shard = identity.shard;
        notes.push(format!("this is shard {shard} only; merge all shards with `reports merge`"));
    }
    let combinations: usize = identity.vary.iter().map(|axis| axis.values.len()).product();
    let left_out = combinations.saturating_sub(identity.variants.len());
    if left_out > 0 {
        notes.push(format!(
            "{left_out} of {combinations} combinations of settings are left out: their settings are mutually exclusive"
        ));
    }
    if let Some(axis) = identity.vary.iter().find(|axis| changes_arrivals(&axis.key)) {
        let key = &axis.key;
        notes.push(format!("{key} is varied, so runs of one seed do not have the same requests in all variants"));
    }
    notes
}

/// Returns true if the arrivals or inputs depend on the setting or, if it is a table, on one in it.
fn changes_arrivals(key: &str) -> bool {
    ARRIVAL_SETTINGS
        .iter()
        .any(|setting| key.strip_prefix(setting).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}
