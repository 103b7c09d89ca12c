//! One measure of one phase.

use super::{
    goal::Goal,
    measure::{Measure, mix},
    permutation,
};
use crate::compare::{MedianRange, Member, distance::quantile};

/// What one measure of one phase comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub measure: Measure,
    pub phase: String,
    /// Over the real runs, in seconds; `None` if a single run has no such value.
    pub real: Option<MedianRange>,
    pub sim: Option<MedianRange>,
    /// How far the simulation is off: of the medians, as a share of the real one, for latencies; in seconds for the times
    /// of faults; the total variation of all runs together for statuses.
    pub error: Option<f64>,
    /// Real against real: the noise floor.
    pub real_real: Option<PairDistances>,
    /// Simulated against real.
    pub sim_real: Option<PairDistances>,
    /// The median of the second over the 95th percentile of the first; infinite over a floor of 0.
    pub ratio: Option<f64>,
    pub verdict: Option<Verdict>,
    /// The probability of worlds this far apart if they were the same.
    pub p: Option<f64>,
    /// `None` where there is no goal.
    pub goal: Option<Goal>,
}

/// PairDistances between pairs of runs.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct PairDistances {
    pub pairs: usize,
    pub median: f64,
    pub p95: f64,
}

/// How the simulation does against the noise floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A simulated run is as close to real ones as they are to each other.
    Within,
    /// At most twice as far.
    Close,
    /// Further.
    Apart,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::Close => "close",
            Self::Apart => "apart",
        }
    }

    fn from_ratio(ratio: f64) -> Self {
        match ratio {
            small if small <= 1.0 => Self::Within,
            middle if middle <= 2.0 => Self::Close,
            _ => Self::Apart,
        }
    }
}

impl Cell {
    /// `None` if there is nothing to say of it: the phase does not have it in either world.
    pub(super) fn compare(measure: Measure, phase: &str, real: &[Member], sim: &[Member]) -> Option<Self> {
        let values = |side: &[Member]| side.iter().filter_map(|member| measure.value(member, phase)).collect();
        let (of_real, of_sim) = (MedianRange::over(values(real)), MedianRange::over(values(sim)));
        let scale = of_real.map_or(1.0, |spread| spread.median);
        let distance = |a: &Member, b: &Member| measure.distance(a, b, phase, scale);
        let real_real = PairDistances::over(pairs(real, real, true).filter_map(|(a, b)| distance(a, b)).collect());
        let sim_real = PairDistances::over(pairs(sim, real, false).filter_map(|(a, b)| distance(a, b)).collect());
        let ratio = sim_real.zip(real_real).map(|(ours, floor)| ratio(ours.median, floor.p95));
        let error = error(measure, phase, real, sim, of_real.zip(of_sim));
        sim_real.or(real_real)?;
        Some(Self {
            measure,
            phase: phase.to_owned(),
            real: of_real,
            sim: of_sim,
            error,
            real_real,
            sim_real,
            ratio,
            verdict: ratio.map(Verdict::from_ratio),
            p: permutation::p(&both(real, sim), distance),
            goal: error.and_then(|error| Goal::for_error(measure, error, of_real.map(|spread| spread.median))),
        })
    }
}

/// Pairs of different seeds; of one side, each pair once.
fn pairs<'a>(a: &'a [Member], b: &'a [Member], once: bool) -> impl Iterator<Item = (&'a Member, &'a Member)> {
    let of_pair = move |(a, b): &(&Member, &Member)| if once { a.seed < b.seed } else { a.seed != b.seed };
    a.iter().flat_map(|a| b.iter().map(move |b| (a, b))).filter(of_pair)
}

/// The runs of each seed that both worlds have.
fn both<'a>(real: &'a [Member], sim: &'a [Member]) -> Vec<[&'a Member; 2]> {
    let of_seed = |one: &'a Member| Some([one, sim.iter().find(|other| other.seed == one.seed)?]);
    real.iter().filter_map(of_seed).collect()
}

/// What is no distance at all is no more than any floor.
fn ratio(ours: f64, floor: f64) -> f64 {
    if ours == 0.0 { 0.0 } else { ours / floor }
}

fn error(
    measure: Measure,
    phase: &str,
    real: &[Member],
    sim: &[Member],
    medians: Option<(MedianRange, MedianRange)>,
) -> Option<f64> {
    match (measure, medians) {
        (Measure::Mix, _) => mix(&real.iter().collect::<Vec<_>>(), &sim.iter().collect::<Vec<_>>(), phase),
        (Measure::Recovery | Measure::Detection, Some((real, sim))) => Some(sim.median - real.median),
        (_, Some((real, sim))) => crate::compare::distance::relative(real.median, sim.median),
        (_, None) => None,
    }
}

impl PairDistances {
    fn over(mut distances: Vec<f64>) -> Option<Self> {
        distances.sort_by(f64::total_cmp);
        let (median, p95) = (quantile(&distances, 0.5)?, quantile(&distances, 0.95)?);
        Some(Self { pairs: distances.len(), median, p95 })
    }
}
