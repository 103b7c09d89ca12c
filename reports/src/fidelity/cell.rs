//! One measure of one phase.

use super::{
    goal::Goal,
    measure::{Measure, mix},
    permutation, relevance,
};
use crate::compare::{MedianRange, Member, distance::quantile};

/// The result of one measure of one phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The measure.
    pub measure: Measure,
    /// The name of the phase.
    pub phase: String,
    /// The value over the real runs, in seconds; `None` if a single run has no such value.
    pub real: Option<MedianRange>,
    /// The value over the simulated runs, in seconds; `None` if a single run has no such value.
    pub sim: Option<MedianRange>,
    /// The error of the simulation. For latencies it is the difference of the medians as a share of the real one, for the
    /// times of faults the difference in seconds, for statuses the total variation over all runs together.
    pub error: Option<f64>,
    /// The distances between real runs, which are the noise floor.
    pub real_real: Option<PairDistances>,
    /// The distances between simulated and real runs.
    pub sim_real: Option<PairDistances>,
    /// The median of the second over the 95th percentile of the first; infinite over a floor of 0.
    pub ratio: Option<f64>,
    /// The class of the ratio and of the difference.
    pub verdict: Option<Verdict>,
    /// The probability of worlds this far apart if they were the same; `None` if it was not tested.
    pub p: Option<f64>,
    /// The goal that the error reaches; `None` for a measure without a goal.
    pub goal: Option<Goal>,
    /// True if the runs leave in this phase the range that their calibration has measured.
    pub is_beyond: bool,
}

/// The distances between the two runs of each of several pairs.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct PairDistances {
    /// The number of pairs.
    pub pairs: usize,
    /// The median of the distances.
    pub median: f64,
    /// The 95th percentile of the distances.
    pub p95: f64,
}

/// The distance of the simulation from reality, compared with the noise floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A simulated run is as close to real ones as they are to each other.
    Within,
    /// A simulated run is further from real ones, by less than matters.
    Small,
    /// A simulated run is at most twice as far from real ones as they are from each other.
    Close,
    /// A simulated run is further from real ones.
    Apart,
}

impl Cell {
    /// Returns the difference between the worlds: the error, or the median distance of a measure that has none.
    pub fn difference(&self) -> Option<f64> {
        difference(self.error, self.sim_real)
    }

    /// Returns true if something is left to explain: the cell misses its goal, or it is apart.
    pub fn is_off(&self) -> bool {
        self.goal == Some(Goal::Missed) || self.verdict == Some(Verdict::Apart)
    }
}

impl Verdict {
    /// Returns the name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::Small => "small",
            Self::Close => "close",
            Self::Apart => "apart",
        }
    }

    /// Returns the verdict on this ratio, given whether the difference `matters`.
    fn new(ratio: f64, matters: bool) -> Self {
        match ratio {
            small if small <= 1.0 => Self::Within,
            _ if !matters => Self::Small,
            middle if middle <= 2.0 => Self::Close,
            _ => Self::Apart,
        }
    }
}

impl Cell {
    /// Compares the worlds in one measure. Returns `None` if neither world has it in this phase.
    pub(super) fn compare(measure: Measure, phase: &str, real: &[Member], sim: &[Member]) -> Option<Self> {
        let cell = Self::measure(measure, phase, real, sim)?;
        let scale = scale(cell.real);
        let p = permutation::p(&both(real, sim), |a: &Member, b: &Member| measure.distance(a, b, phase, scale));
        Some(Self { p, ..cell })
    }

    /// Compares the worlds without the test of whether they differ.
    pub(super) fn measure(measure: Measure, phase: &str, real: &[Member], sim: &[Member]) -> Option<Self> {
        let real_values = values(measure, phase, real);
        let sim_values = values(measure, phase, sim);
        let scale = scale(real_values);
        let among_real = pairs(real, real).filter(|(a, b)| a.seed < b.seed);
        let real_real = among_real.filter_map(|(a, b)| measure.distance(a, b, phase, scale)).collect();
        let real_real = PairDistances::over(real_real);
        let across = pairs(sim, real).filter(|(a, b)| a.seed != b.seed);
        let sim_real = PairDistances::over(across.filter_map(|(a, b)| measure.distance(a, b, phase, scale)).collect());
        let ratio = sim_real.zip(real_real).map(|(across, floor)| ratio(across.median, floor.p95));
        let error = error(measure, phase, real, sim, real_values.zip(sim_values));
        let scale_of_bound =
            if measure == Measure::Wasserstein { values(Measure::P50, phase, real) } else { real_values };
        let matters = difference(error, sim_real).is_some_and(|difference| {
            relevance::matters(measure, difference, scale_of_bound.map(|values| values.median))
        });
        // A measure without any distance would be an empty row.
        sim_real.or(real_real)?;
        Some(Self {
            measure,
            phase: phase.to_owned(),
            real: real_values,
            sim: sim_values,
            error,
            real_real,
            sim_real,
            ratio,
            verdict: ratio.map(|ratio| Verdict::new(ratio, matters)),
            p: None,
            goal: error.and_then(|error| Goal::for_error(measure, error, real_values.map(|spread| spread.median))),
            is_beyond: false,
        })
    }
}

/// Returns what distances of latencies are a share of. Measures without values of single runs do not use it.
fn scale(real: Option<MedianRange>) -> f64 {
    real.map_or(1.0, |spread| spread.median)
}

/// Returns the error, or the median distance of a measure that has none.
fn difference(error: Option<f64>, sim_real: Option<PairDistances>) -> Option<f64> {
    error.or(sim_real.map(|across| across.median))
}

/// Returns the median and the range of the values of single runs; `None` if they have none.
fn values(measure: Measure, phase: &str, members: &[Member]) -> Option<MedianRange> {
    MedianRange::over(members.iter().filter_map(|member| measure.value(member, phase)).collect())
}

/// Returns all pairs of a run of `a` and a run of `b`.
fn pairs<'a>(a: &'a [Member], b: &'a [Member]) -> impl Iterator<Item = (&'a Member, &'a Member)> {
    a.iter().flat_map(|a| b.iter().map(move |b| (a, b)))
}

/// Returns the real and the simulated run of each seed that both worlds have.
fn both<'a>(real: &'a [Member], sim: &'a [Member]) -> Vec<[&'a Member; 2]> {
    let mut both = Vec::new();
    for member in real {
        both.extend(sim.iter().find(|other| other.seed == member.seed).map(|other| [member, other]));
    }
    both
}

/// Returns the quotient. A distance of 0 is within any floor, even one of 0.
fn ratio(distance: f64, floor: f64) -> f64 {
    if distance == 0.0 { 0.0 } else { distance / floor }
}

/// Returns the error of the simulation, as [`Cell::error`] describes it.
fn error(
    measure: Measure,
    phase: &str,
    real: &[Member],
    sim: &[Member],
    medians: Option<(MedianRange, MedianRange)>,
) -> Option<f64> {
    match (measure, medians) {
        (Measure::Mix, _) => mix(real, sim, phase),
        (Measure::Recovery | Measure::Detection, Some((real, sim))) => Some(sim.median - real.median),
        (_, Some((real, sim))) => crate::compare::distance::relative(real.median, sim.median),
        (_, None) => None,
    }
}

impl PairDistances {
    fn over(mut distances: Vec<f64>) -> Option<Self> {
        distances.sort_by(f64::total_cmp);
        Some(Self { pairs: distances.len(), median: quantile(&distances, 0.5)?, p95: quantile(&distances, 0.95)? })
    }
}
