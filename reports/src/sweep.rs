//! Many runs of one scenario: a sweep over seeds, or a grid of settings.
//!
//! What they come to is `kernel::experiment::sweep`'s to say. Here is what is to be remarked on their folder, and how
//! a grid goes onto plots.

mod layout;

use kernel::{
    experiment::sweep::{Shard, SweepRecord, SweepReport},
    scenario::Scenario,
};
use serde_json::{Value, json};

pub use self::layout::{GridLayout, GridLine, GridPlot, VariedSetting};

/// Raised when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// What decides which requests there are.
const OF_ARRIVALS: [&str; 4] = ["duration", "load.arrivals", "load.rate", "workload"];

/// Many runs, and what is to be said of them beside their figures.
#[derive(Debug, Clone)]
pub struct SweepAnalysis {
    pub runs: SweepRecord,
    /// What the scenario asks.
    pub question: Option<String>,
    /// `None` where nothing is varied.
    pub layout: Option<GridLayout>,
    /// What is missing or odd, a sentence each.
    pub notes: Vec<String>,
}

impl SweepAnalysis {
    pub fn from_runs(runs: SweepRecord) -> Self {
        let scenario = Scenario::parse("scenario.toml", &runs.scenario, &[]).ok();
        let question = scenario.and_then(|scenario| scenario.question);
        let (layout, mut notes) = (GridLayout::from_identity(&runs.identity), notes(&runs));
        if let Some(GridLayout { plots, undrawn, .. }) = layout.as_ref().filter(|layout| layout.undrawn > 0) {
            let all = plots.len() + undrawn;
            notes.push(format!(
                "of {all} plots a metric the first {} are drawn; the tables have all variants",
                plots.len()
            ));
        }
        Self { question, layout, notes, runs }
    }

    /// What people call them: `crash, sim, seeds 0..100, 4 variants`.
    pub fn title(&self) -> String {
        let identity = &self.runs.identity;
        let shard = if identity.shard == Shard::WHOLE { String::new() } else { format!(", shard {}", identity.shard) };
        let variants = match identity.variants.len() {
            1 => String::new(),
            count => format!(", {count} variants"),
        };
        format!("{}, {}, seeds {}{shard}{variants}", identity.scenario, identity.world, identity.seeds)
    }

    /// The report for programs: what `sim --seeds --json` prints, the notes, and a schema.
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

fn notes(runs: &SweepRecord) -> Vec<String> {
    let identity = &runs.identity;
    let mut notes = Vec::new();
    let missing = identity.runs().saturating_sub(runs.rows.len() as u64);
    if missing > 0 {
        let planned = identity.runs();
        notes.push(format!(
            "{missing} of {planned} runs are missing; the command that plays them goes on where it stopped"
        ));
    }
    if identity.shard != Shard::WHOLE {
        let shard = identity.shard;
        notes.push(format!("this is shard {shard} only; `reports merge` puts the folders of all shards together"));
    }
    let combinations: usize = identity.vary.iter().map(|axis| axis.values.len()).product();
    let left_out = combinations.saturating_sub(identity.variants.len());
    if left_out > 0 {
        notes.push(format!(
            "{left_out} of {combinations} combinations of settings are left out: they exclude each other"
        ));
    }
    let of_arrivals = |key: &str| {
        OF_ARRIVALS.iter().any(|of| key.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    if let Some(axis) = identity.vary.iter().find(|axis| of_arrivals(&axis.key)) {
        let key = &axis.key;
        notes.push(format!("{key} is varied, so runs of one seed do not see the same requests in all variants"));
    }
    notes
}
