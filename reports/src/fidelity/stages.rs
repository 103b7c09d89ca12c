//! The stages of requests in both worlds: where a request takes longer in one of them.
//!
//! If all stages of most scenarios are longer in real runs, the machine became slower after it was calibrated; if one is, or those of one
//! workload, the simulation is wrong there.

use std::{cmp::Ordering, collections::BTreeMap};

use kernel::{
    measure::stages::{STAGE_NAMES, STAGES, moments},
    record::Event,
    status::Outcome,
};
use serde::Serialize;

use crate::run::RecordedRun;

/// A stage of the requests of a scenario: the median over the runs of each world of the median of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StageFidelity {
    /// The name of the stage.
    pub stage: &'static str,
    /// Seconds in real runs.
    pub real: f64,
    /// Seconds in simulated runs.
    pub sim: f64,
}

impl StageFidelity {
    /// Compares the medians of runs, each in microseconds. Empty if a world has none.
    pub(super) fn compare(real: &[[u64; STAGES]], sim: &[[u64; STAGES]]) -> Vec<Self> {
        let seconds = |runs: &[[u64; STAGES]], stage: usize| {
            median(runs.iter().map(|run| run[stage]).collect()).map(|micros| micros as f64 / 1e6)
        };
        let stages = STAGE_NAMES.into_iter().enumerate();
        let compared =
            stages.map(|(place, stage)| Some(Self { stage, real: seconds(real, place)?, sim: seconds(sim, place)? }));
        compared.collect::<Option<_>>().unwrap_or_default()
    }

    /// Returns by which share of the real time the simulated one differs; `None` if there is no real time.
    pub fn error(&self) -> Option<f64> {
        (self.real > 0.0).then(|| self.sim / self.real - 1.0)
    }
}

/// The stages of one request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RequestStages {
    /// Size of its input, such as `64x64`.
    pub(super) size: String,
    /// When it was intended to be sent, in microseconds of the run.
    pub(super) intended_us: u64,
    /// How long each stage took, in microseconds.
    pub(super) took_us: [u64; STAGES],
}

/// Returns the stages of the requests of a run with one attempt and the status OK, in the order in which they were intended.
pub(super) fn of_run(run: &RecordedRun) -> Vec<RequestStages> {
    let mut finished: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    run.rows.events.each(|row| {
        if let (Event::Finished, Some(request), Some(held)) = (row.event, row.request, row.duration_us) {
            finished.insert(request, (row.at_us, held));
        }
    });
    let mut requests = Vec::new();
    run.rows.requests.each(|row| {
        // Later attempts of a request have stages of their own.
        if row.status != Outcome::OK || row.attempts != 1 {
            return;
        }
        if let Some(moments) = finished.get(&row.id).and_then(|finished| moments(row, *finished)) {
            let took_us = std::array::from_fn(|stage| moments[stage + 1] - moments[stage]);
            requests.push(RequestStages { size: row.size.clone(), intended_us: row.intended_us, took_us });
        }
    });
    requests.sort_by_key(|request| request.intended_us);
    requests
}

/// Returns the median of each stage in microseconds; `None` without requests.
pub(super) fn medians(requests: &[RequestStages]) -> Option<[u64; STAGES]> {
    let mut took: [Vec<u64>; STAGES] = Default::default();
    for request in requests {
        took.iter_mut().zip(request.took_us).for_each(|(took, micros)| took.push(micros));
    }
    let [late, to_worker, service, to_client] = took.map(median);
    Some([late?, to_worker?, service?, to_client?])
}

/// Returns the median, the greater of the two in the middle; `None` of no values. None of them may be NaN.
pub(super) fn median<T: Copy + PartialOrd>(mut values: Vec<T>) -> Option<T> {
    values.sort_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal));
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_compared_by_the_medians_of_runs() {
        let real = [[100, 200, 1_000, 0], [120, 220, 1_200, 0], [300, 240, 900, 0]];
        let sim = [[90, 220, 1_500, 0], [90, 220, 1_500, 3]];
        let compared = StageFidelity::compare(&real, &sim);
        let errors: Vec<_> = compared.iter().map(|stage| stage.error().map(|error| (error * 100.0).round())).collect();
        assert_eq!(errors, [Some(-25.0), Some(0.0), Some(50.0), None]);
        assert_eq!((compared[2].stage, compared[2].real, compared[2].sim), ("service", 0.001, 0.0015));
        assert_eq!(StageFidelity::compare(&real, &[]), []);
    }
}
