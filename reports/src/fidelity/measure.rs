//! What is compared of two runs.

use std::collections::BTreeMap;

use crate::compare::{
    Member, WHOLE,
    distance::{lag, nrmse, quantile, total_variation, wasserstein_1},
};

/// How far series are moved against each other to find their lag, in seconds.
const REACH_S: f64 = 5.0;

/// One aspect of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Latency, against the real runs' median: a share.
    P50,
    P90,
    P99,
    /// Of all latencies, in seconds.
    Wasserstein,
    /// Total variation of the statuses: a share.
    Mix,
    /// In seconds.
    Recovery,
    /// In seconds.
    Detection,
    /// nRMSE of goodput in windows of 100 ms.
    Goodput,
    /// In seconds.
    GoodputLag,
    /// nRMSE of the p95 in windows of 100 ms.
    P95,
    /// In seconds.
    P95Lag,
}

impl Measure {
    /// In the order of reports.
    pub const ALL: [Self; 11] = [
        Self::P50,
        Self::P90,
        Self::P99,
        Self::Wasserstein,
        Self::Mix,
        Self::Recovery,
        Self::Detection,
        Self::Goodput,
        Self::GoodputLag,
        Self::P95,
        Self::P95Lag,
    ];

    /// In tables and in `fidelity.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "latency_p50",
            Self::P90 => "latency_p90",
            Self::P99 => "latency_p99",
            Self::Wasserstein => "wasserstein_1",
            Self::Mix => "status_mix",
            Self::Recovery => "recovery_time",
            Self::Detection => "time_to_detect",
            Self::Goodput => "goodput_nrmse",
            Self::GoodputLag => "goodput_lag",
            Self::P95 => "p95_nrmse",
            Self::P95Lag => "p95_lag",
        }
    }

    /// Where there is little room.
    pub fn short_name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::Wasserstein => "W1",
            Self::Mix => "statuses",
            Self::Recovery => "recovery",
            Self::Detection => "detection",
            Self::Goodput => "goodput",
            Self::GoodputLag => "… lag",
            Self::P95 => "p95(t)",
            Self::P95Lag => "… lag",
        }
    }

    /// Whether its distances are seconds; they are shares otherwise.
    pub fn is_seconds(self) -> bool {
        matches!(self, Self::Wasserstein | Self::Recovery | Self::Detection | Self::GoodputLag | Self::P95Lag)
    }

    /// Faults have their times, and series are of the whole run.
    pub(super) fn applies_to(self, phase: &str) -> bool {
        match self {
            Self::P50 | Self::P90 | Self::P99 | Self::Wasserstein | Self::Mix => true,
            Self::Recovery | Self::Detection => phase.starts_with("fault-"),
            Self::Goodput | Self::GoodputLag | Self::P95 | Self::P95Lag => phase == WHOLE,
        }
    }

    /// The value that a single run has, in seconds; `None` if it takes two runs, or if this one has none.
    pub(super) fn value(self, member: &Member, phase: &str) -> Option<f64> {
        match self {
            Self::P50 => quantile(member.latencies.get(phase)?, 0.5),
            Self::P90 => quantile(member.latencies.get(phase)?, 0.9),
            Self::P99 => quantile(member.latencies.get(phase)?, 0.99),
            Self::Recovery => fault_time(member, phase, |fault| fault.recovery_time_s),
            Self::Detection => fault_time(member, phase, |fault| fault.time_to_detect_s),
            _ => None,
        }
    }

    /// How far `a` is from `b`, symmetrically. Times are taken as a share of `scale`, unless the distance is in seconds.
    pub(super) fn distance(self, a: &Member, b: &Member, phase: &str, scale: f64) -> Option<f64> {
        match self {
            Self::P50 | Self::P90 | Self::P99 => {
                let difference = (self.value(a, phase)? - self.value(b, phase)?).abs();
                (scale > 0.0).then(|| difference / scale)
            }
            Self::Recovery | Self::Detection => Some((self.value(a, phase)? - self.value(b, phase)?).abs()),
            Self::Wasserstein => wasserstein_1(a.latencies.get(phase)?, b.latencies.get(phase)?),
            Self::Mix => mix(&[a], &[b], phase),
            Self::Goodput => shape(&a.series.goodput, &b.series.goodput),
            Self::P95 => shape(&a.series.latency_p95, &b.series.latency_p95),
            Self::GoodputLag => late(a, b, |member| &member.series.goodput),
            Self::P95Lag => late(a, b, |member| &member.series.latency_p95),
        }
    }
}

/// A time of the fault whose phase it is. What never came is taken to have come when the run ended: no sooner.
fn fault_time(
    member: &Member,
    phase: &str,
    time: impl Fn(&kernel::measure::FaultSummary) -> Option<f64>,
) -> Option<f64> {
    let index: usize = phase.strip_prefix("fault-")?.parse().ok()?;
    let fault = member.summary.faults.iter().find(|fault| fault.index == index)?;
    Some(time(fault).unwrap_or(member.summary.end_us.saturating_sub(fault.start_us) as f64 / 1e6))
}

/// The total variation of the statuses of all runs of two sides.
pub(super) fn mix(a: &[&Member], b: &[&Member], phase: &str) -> Option<f64> {
    let (a, b) = (statuses(a, phase), statuses(b, phase));
    let mut kinds: Vec<&str> = a.keys().chain(b.keys()).copied().collect();
    kinds.sort_unstable();
    kinds.dedup();
    let counts = |side: &BTreeMap<&str, u64>| -> Vec<u64> {
        kinds.iter().map(|kind| side.get(kind).copied().unwrap_or(0)).collect()
    };
    total_variation(&counts(&a), &counts(&b))
}

fn statuses<'a>(side: &[&'a Member], phase: &str) -> BTreeMap<&'a str, u64> {
    let mut all = BTreeMap::new();
    for (status, count) in side.iter().filter_map(|member| member.statuses.get(phase)).flatten() {
        *all.entry(status.as_str()).or_default() += count;
    }
    all
}

/// The normalised error both ways, halved: which of two runs is the reference is of no consequence.
fn shape(a: &[Option<f64>], b: &[Option<f64>]) -> Option<f64> {
    Some((nrmse(a, b)? + nrmse(b, a)?) / 2.0)
}

fn late(a: &Member, b: &Member, series: fn(&Member) -> &Vec<Option<f64>>) -> Option<f64> {
    let length_s = a.series.length_s;
    if b.series.length_s != length_s {
        return None;
    }
    let places = lag(series(a), series(b), (REACH_S / length_s) as usize)?;
    Some(places.unsigned_abs() as f64 * length_s)
}
