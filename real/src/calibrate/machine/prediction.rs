//! How long the stages of requests took, beside what the model has for them.

use std::{collections::BTreeMap, time::Duration};

use kernel::measure::{
    stages::{STAGE_NAMES, STAGES},
    text::{
        MISSING,
        quantity::duration,
        table::{Align, TextTable},
    },
};

use super::paths::{LATE, Load, RunPaths, SERVICE, median};

/// How long a stage of a request took, and what the model has for it, in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StageTime {
    /// Place of its run among all runs.
    pub(super) run: usize,
    pub(super) load: Load,
    pub(super) stage: usize,
    pub(super) size: String,
    /// When it began, in its run.
    pub(super) at: f64,
    pub(super) took: f64,
    /// The median that the model has for its size and its coldness.
    pub(super) expected: f64,
}

impl StageTime {
    /// Returns its time as a share of the median that the model has.
    pub(super) fn share(&self) -> f64 {
        self.took / self.expected.max(1.0)
    }
}

/// How the stages of the runs at a rate compare with the model.
#[derive(Debug)]
pub(super) struct Prediction {
    pub(super) rate: u64,
    /// The least time that a request holds its worker.
    pub(super) hold: Duration,
    pub(super) is_fitted: bool,
    pub(super) requests: usize,
    /// Medians in microseconds; `None` without requests.
    pub(super) measured: [Option<f64>; STAGES],
    /// Medians, over the requests, of the median that the model has for the size and the coldness of a request, as a share of its time.
    pub(super) share: [Option<f64>; STAGES],
}

/// The stages of all requests at a rate.
#[derive(Debug, Default)]
struct AtRate {
    is_fitted: bool,
    measured: [Vec<f64>; STAGES],
    shares: [Vec<f64>; STAGES],
}

/// Returns how the stages at each rate compare with the model. `runs` are all, and whether the model is fitted to them; `times` are those of their
/// stages.
pub(super) fn predictions(runs: &[(&RunPaths, bool)], times: &[StageTime]) -> Vec<Prediction> {
    let mut by_rate: BTreeMap<(Duration, u64), AtRate> = BTreeMap::new();
    // A rate has its rows even if none of its requests counts.
    for (run, is_fitted) in runs {
        by_rate.entry((run.load.hold, run.load.rate)).or_default().is_fitted |= is_fitted;
    }
    for time in times {
        let at_rate = by_rate.entry((time.load.hold, time.load.rate)).or_default();
        at_rate.measured[time.stage].push(time.took);
        // Rows have whole microseconds.
        at_rate.shares[time.stage].push(time.expected / time.took.max(1.0));
    }
    let compared = by_rate.into_iter().map(|((hold, rate), AtRate { is_fitted, measured, shares })| {
        let requests = measured[LATE].len();
        Prediction { rate, hold, is_fitted, requests, measured: measured.map(median), share: shares.map(median) }
    });
    compared.collect()
}

/// Returns a table of what a request consists of at each rate, and how far the model is from it.
pub(super) fn table(predictions: &[Prediction]) -> String {
    let mut table = TextTable::new(&[
        ("requests/s", Align::Right),
        ("held for", Align::Right),
        ("requests", Align::Right),
        ("model", Align::Left),
        ("stage", Align::Left),
        ("measured p50", Align::Right),
        ("off by", Align::Right),
    ]);
    for Prediction { rate, hold, is_fitted, requests, measured, share } in predictions {
        for (stage, name) in STAGE_NAMES.into_iter().enumerate() {
            if stage == SERVICE && !hold.is_zero() {
                // It takes as long as it was configured.
                continue;
            }
            table.row(vec![
                rate.to_string(),
                duration(hold.as_secs_f64()),
                requests.to_string(),
                if *is_fitted { "fitted" } else { "predicted" }.to_owned(),
                name.to_owned(),
                measured[stage].map_or(MISSING.to_owned(), |micros| duration(micros / 1e6)),
                share[stage].map_or(MISSING.to_owned(), |share| format!("{:+.0} %", (share - 1.0) * 100.0)),
            ]);
        }
    }
    table.render()
}
