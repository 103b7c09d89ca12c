//! One side against the reference.

use kernel::{measure::Metrics, scenario::Metric};

use super::{
    distance::{kolmogorov_smirnov, lag, nrmse, relative, total_variation, wasserstein_1},
    sample::Sample,
    series::mean,
    side::{ComparisonSide, Member, WHOLE, counts_of_both},
};

/// The greatest lag that is searched for, in seconds.
const REACH_S: f64 = 15.0;

/// A side against the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct SidePair {
    /// The name of the reference.
    pub reference: String,
    /// The name of the other side.
    pub side: String,
    /// The phases that both have, then the whole run.
    pub phases: Vec<PhasePair>,
    /// The difference in goodput over time.
    pub goodput: SeriesPair,
    /// The difference over time in the p95 latency of the requests that ended in a window.
    pub latency_p95: SeriesPair,
}

/// A phase of both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct PhasePair {
    /// The name of the phase.
    pub phase: String,
    /// Every metric that one of them has, in the order of reports.
    pub metrics: Vec<(Metric, MetricPair)>,
    /// The distances of latencies and statuses.
    pub distances: PhaseDistances,
}

/// A metric of both sides, in its base unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricPair {
    /// The value of the reference, over the runs that have one.
    pub reference: Option<MedianRange>,
    /// The value of the other side, over the runs that have one.
    pub side: Option<MedianRange>,
    /// The median of the side less that of the reference.
    pub difference: Option<f64>,
    /// The difference as a share of the reference.
    pub relative: Option<f64>,
}

/// The median and the range of a value over the runs of a side.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct MedianRange {
    /// The median.
    pub median: f64,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
}

/// The distances of the latencies and the statuses of a phase, over all runs of a side together.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct PhaseDistances {
    /// The Wasserstein-1 distance of the latencies, in seconds.
    pub wasserstein_1_s: Option<f64>,
    /// The Kolmogorov–Smirnov distance of the latencies, 0 to 1.
    pub kolmogorov_smirnov: Option<f64>,
    /// The total variation distance of the statuses, 0 to 1.
    pub total_variation: Option<f64>,
    /// The difference of the median latencies, as a share of the reference.
    pub p50_relative: Option<f64>,
    /// The difference of the 90th percentiles, as a share of the reference.
    pub p90_relative: Option<f64>,
    /// The difference of the 99th percentiles, as a share of the reference.
    pub p99_relative: Option<f64>,
}

/// The difference of the mean series of both sides.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct SeriesPair {
    /// The normalised root mean squared error, as a share of the range of the reference.
    pub nrmse: Option<f64>,
    /// The delay of the side behind the reference, in seconds.
    pub lag_s: Option<f64>,
    /// The length of a window, in seconds.
    pub window_s: f64,
}

impl SidePair {
    pub(super) fn compare(reference: &ComparisonSide, side: &ComparisonSide) -> Self {
        let phases = reference.members[0].summary.phases.iter().map(|phase| phase.phase.as_str());
        let common = phases.filter(|phase| side.has_phase(phase)).chain([WHOLE]);
        Self {
            reference: reference.name.clone(),
            side: side.name.clone(),
            phases: common.map(|phase| PhasePair::compare(phase, reference, side)).collect(),
            goodput: SeriesPair::compare(reference, side, |member| &member.series.goodput),
            latency_p95: SeriesPair::compare(reference, side, |member| &member.series.ended_latency_p95),
        }
    }
}

impl PhasePair {
    fn compare(phase: &str, reference: &ComparisonSide, side: &ComparisonSide) -> Self {
        let mut metrics: Vec<(Metric, MetricPair)> = Vec::new();
        for metric in Metric::ALL {
            let values = MetricPair::compare(metric, phase, reference, side);
            if values.reference.is_some() || values.side.is_some() {
                metrics.push((metric, values));
            }
        }
        Self { phase: phase.to_owned(), metrics, distances: PhaseDistances::measure(phase, reference, side) }
    }
}

impl MetricPair {
    fn compare(metric: Metric, phase: &str, reference: &ComparisonSide, side: &ComparisonSide) -> Self {
        let reference = MedianRange::of_metric(metric, phase, reference);
        let side = MedianRange::of_metric(metric, phase, side);
        let both = reference.zip(side).map(|(reference, side)| (reference.median, side.median));
        Self {
            reference,
            side,
            difference: both.map(|(reference, side)| side - reference),
            relative: both.and_then(|(reference, side)| relative(reference, side)),
        }
    }
}

impl MedianRange {
    fn of_metric(metric: Metric, phase: &str, side: &ComparisonSide) -> Option<Self> {
        Self::over(side.members.iter().filter_map(|member| metrics(member, phase)?.get(metric)).collect())
    }

    /// Returns the median and the range of `values`, in any order; `None` if there are none.
    pub(crate) fn over(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values.get(middle.checked_sub(1)?)? + values[middle]) / 2.0
        };
        Some(Self { median, min: *values.first()?, max: *values.last()? })
    }
}

fn metrics<'a>(member: &'a Member, phase: &str) -> Option<&'a Metrics> {
    if phase == WHOLE {
        return Some(&member.summary.overall);
    }
    member.summary.phases.iter().find(|found| found.phase == phase).map(|found| &found.metrics)
}

impl PhaseDistances {
    fn measure(phase: &str, reference: &ComparisonSide, side: &ComparisonSide) -> Self {
        let a = reference.latencies(phase);
        let b = side.latencies(phase);
        let [statuses_a, statuses_b] = counts_of_both(&reference.statuses(phase), &side.statuses(phase));
        Self {
            wasserstein_1_s: wasserstein_1(&a, &b),
            kolmogorov_smirnov: kolmogorov_smirnov(&a, &b),
            total_variation: total_variation(&statuses_a, &statuses_b),
            p50_relative: relative_at(&a, &b, 0.5),
            p90_relative: relative_at(&a, &b, 0.9),
            p99_relative: relative_at(&a, &b, 0.99),
        }
    }
}

/// Returns the relative difference of two samples at a quantile.
fn relative_at(reference: &Sample, side: &Sample, share: f64) -> Option<f64> {
    relative(reference.quantile(share)?, side.quantile(share)?)
}

impl SeriesPair {
    fn compare(reference: &ComparisonSide, side: &ComparisonSide, pick: fn(&Member) -> &Vec<Option<f64>>) -> Self {
        let a = mean(reference.members.iter().map(pick));
        let b = mean(side.members.iter().map(pick));
        let window_s = reference.members[0].series.length_s;
        // Runs of hours have longer windows. Series in windows of different lengths have no places in common.
        let comparable = side.members.iter().chain(&reference.members).all(|member| member.series.length_s == window_s);
        let reach = (REACH_S / window_s) as usize;
        Self {
            nrmse: comparable.then(|| nrmse(&a, &b)).flatten(),
            lag_s: comparable.then(|| lag(&a, &b, reach)).flatten().map(|places| places as f64 * window_s),
            window_s,
        }
    }
}
