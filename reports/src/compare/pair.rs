//! One side against the reference.

use kernel::{measure::Metrics, scenario::Metric};

use super::{
    distance::{kolmogorov_smirnov, lag, nrmse, quantile, relative, total_variation, wasserstein_1},
    series::mean,
    side::{ComparisonSide, Member, WHOLE},
};

/// How far series are moved against each other to find their lag.
const REACH_S: f64 = 15.0;

/// A side against the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct SidePair {
    /// The names of the two.
    pub reference: String,
    pub side: String,
    /// The phases that both have, then the whole run.
    pub phases: Vec<PhasePair>,
    pub goodput: SeriesPair,
    pub latency_p95: SeriesPair,
}

/// A phase of both.
#[derive(Debug, Clone, PartialEq)]
pub struct PhasePair {
    pub phase: String,
    /// Every metric that one of them has, in the order of reports.
    pub metrics: Vec<(Metric, MetricPair)>,
    pub distances: PhaseDistances,
}

/// A metric of both sides: the median over the runs that have it, and its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricPair {
    pub reference: Option<MedianRange>,
    pub side: Option<MedianRange>,
    /// Of the medians.
    pub difference: Option<f64>,
    /// As a share of the reference.
    pub relative: Option<f64>,
}

/// Over the runs of a side.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct MedianRange {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

/// How far the latencies and the statuses of a phase are apart, all runs of a side taken together.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct PhaseDistances {
    /// In seconds.
    pub wasserstein_1_s: Option<f64>,
    pub kolmogorov_smirnov: Option<f64>,
    /// Of the mix of statuses.
    pub total_variation: Option<f64>,
    /// Of the latency, against the reference.
    pub p50_relative: Option<f64>,
    pub p90_relative: Option<f64>,
    pub p99_relative: Option<f64>,
}

/// How far the mean series of the sides are apart.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct SeriesPair {
    /// Against the range of the reference.
    pub nrmse: Option<f64>,
    /// By how much the side is late, in seconds.
    pub lag_s: Option<f64>,
    /// The length of a window.
    pub window_s: f64,
}

impl SidePair {
    pub(super) fn compare(reference: &ComparisonSide, side: &ComparisonSide) -> Self {
        let has =
            |side: &ComparisonSide, phase: &str| side.members.iter().any(|member| member.latencies.contains_key(phase));
        let phases = reference.members[0].summary.phases.iter().map(|phase| phase.phase.as_str());
        let common = phases.filter(|phase| has(side, phase)).chain([WHOLE]);
        let series = |pick: fn(&Member) -> &Vec<Option<f64>>| SeriesPair::compare(reference, side, pick);
        Self {
            reference: reference.name.clone(),
            side: side.name.clone(),
            phases: common.map(|phase| PhasePair::compare(phase, reference, side)).collect(),
            goodput: series(|member| &member.series.goodput),
            latency_p95: series(|member| &member.series.latency_p95),
        }
    }
}

impl PhasePair {
    fn compare(phase: &str, reference: &ComparisonSide, side: &ComparisonSide) -> Self {
        let values = |metric| (metric, MetricPair::compare(metric, phase, reference, side));
        let present = |(_, values): &(Metric, MetricPair)| values.reference.is_some() || values.side.is_some();
        Self {
            phase: phase.to_owned(),
            metrics: Metric::ALL.into_iter().map(values).filter(present).collect(),
            distances: PhaseDistances::measure(phase, reference, side),
        }
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
        let of_member = |member: &Member| metrics(member, phase)?.get(metric);
        Self::over(side.members.iter().filter_map(of_member).collect())
    }

    /// Of `values`, in any order; `None` without any.
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
        let (a, b) = (reference.latencies(phase), side.latencies(phase));
        let at = |share| relative(quantile(&a, share)?, quantile(&b, share)?);
        let (mix_a, mix_b) = (reference.statuses(phase), side.statuses(phase));
        let mut kinds: Vec<&str> = mix_a.keys().chain(mix_b.keys()).copied().collect();
        kinds.sort_unstable();
        kinds.dedup();
        let counts = |mix: &std::collections::BTreeMap<&str, u64>| -> Vec<u64> {
            kinds.iter().map(|kind| mix.get(kind).copied().unwrap_or(0)).collect()
        };
        Self {
            wasserstein_1_s: wasserstein_1(&a, &b),
            kolmogorov_smirnov: kolmogorov_smirnov(&a, &b),
            total_variation: total_variation(&counts(&mix_a), &counts(&mix_b)),
            p50_relative: at(0.5),
            p90_relative: at(0.9),
            p99_relative: at(0.99),
        }
    }
}

impl SeriesPair {
    fn compare(reference: &ComparisonSide, side: &ComparisonSide, pick: fn(&Member) -> &Vec<Option<f64>>) -> Self {
        let series = |side: &ComparisonSide| mean(side.members.iter().map(pick));
        let (a, b) = (series(reference), series(side));
        let window_s = reference.members[0].series.length_s;
        let comparable = side.members.iter().chain(&reference.members).all(|member| member.series.length_s == window_s);
        let reach = (REACH_S / window_s) as usize;
        Self {
            nrmse: comparable.then(|| nrmse(&a, &b)).flatten(),
            lag_s: comparable.then(|| lag(&a, &b, reach)).flatten().map(|places| places as f64 * window_s),
            window_s,
        }
    }
}
