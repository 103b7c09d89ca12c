//! Sample runs for tests.

use serde_json::json;

use super::{Origin, RunRow, Seeds, Shard, SweepIdentity};
use crate::{measure::Metrics, run_folder::CalibrationInfo};

/// Returns the identity of a sweep of ten runs of one variant.
pub(super) fn identity() -> SweepIdentity {
    SweepIdentity {
        world: "sim".to_owned(),
        version: "1".to_owned(),
        scenario: "short".to_owned(),
        scenario_sha256: String::new(),
        seeds: Seeds { start: 0, end: 10 },
        shard: Shard::WHOLE,
        vary: Vec::new(),
        variants: vec![Vec::new()],
        calibration: CalibrationInfo { name: "default".to_owned(), sha256: String::new() },
        origin: Origin { scenario: "short.toml".to_owned(), overrides: Vec::new(), calibration: None },
    }
}

/// Returns the row of a run whose success rate no decimal fraction expresses exactly.
pub(super) fn row(identity: &SweepIdentity, variant: usize, seed: u64) -> RunRow {
    let overall = Metrics { success_rate: Some(1.0 / (seed + 3) as f64), ..Metrics::default() };
    let row = json!({
        "variant": variant,
        "seed": seed,
        "settings": identity.variants[variant],
        "digest": format!("digest of {seed}"),
        "pass": true,
        "end_us": 1_000_000,
        "overall": overall,
        "expectations": [],
    });
    serde_json::from_value(row).unwrap()
}
