//! The measures in which two runs are compared.

use kernel::measure::FaultSummary;

use crate::compare::{
    Member, WHOLE, counts_of_both,
    distance::{lag, nrmse, total_variation, wasserstein_1},
    statuses,
};

/// The greatest lag that is searched for, in seconds.
const REACH_S: f64 = 5.0;

/// The least number of calls of a phase that has a p99: of fewer, it is one of the slowest calls, and says little about the others. In
/// either world it is the mean over the runs.
pub const TAIL_CALLS_MIN: u64 = 100;

/// One aspect of a run in which two runs are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// The median latency; its distance is a share of the real runs' median.
    P50,
    /// The 90th percentile of latency; its distance is a share of the real runs' median.
    P90,
    /// The 99th percentile of latency; its distance is a share of the real runs' median.
    P99,
    /// The Wasserstein-1 distance of all latencies, in seconds.
    Wasserstein,
    /// The total variation distance of the statuses, a share.
    Mix,
    /// The recovery time of a fault, in seconds.
    Recovery,
    /// The time to detect a fault, in seconds.
    Detection,
    /// The normalised error of goodput in windows of 100 ms.
    Goodput,
    /// The lag of goodput, in seconds.
    GoodputLag,
    /// The normalised error of the p95 in windows of 100 ms.
    P95,
    /// The lag of the p95, in seconds.
    P95Lag,
}

impl Measure {
    /// All measures, in the order of reports.
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

    /// Returns the name in tables and in `fidelity.json`.
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

    /// Returns a short name, for plots.
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

    /// Returns true if its distances are in seconds; otherwise they are shares.
    pub fn is_seconds(self) -> bool {
        matches!(self, Self::Wasserstein | Self::Recovery | Self::Detection | Self::GoodputLag | Self::P95Lag)
    }

    /// Returns true if the phase has this measure. Only faults have their times, and only the whole run has series.
    pub(super) fn applies_to(self, phase: &str) -> bool {
        match self {
            Self::P50 | Self::P90 | Self::P99 | Self::Wasserstein | Self::Mix => true,
            Self::Recovery | Self::Detection => phase.starts_with("fault-"),
            Self::Goodput | Self::GoodputLag | Self::P95 | Self::P95Lag => phase == WHOLE,
        }
    }

    /// Returns true if the runs of both worlds have enough calls in the phase for this measure to mean something.
    pub(super) fn has_enough_calls(self, phase: &str, real: &[Member], sim: &[Member]) -> bool {
        self != Self::P99
            || [real, sim].into_iter().all(|runs| calls_in(runs, phase) >= TAIL_CALLS_MIN * runs.len() as u64)
    }

    /// Returns the value of a single run, in seconds; `None` if it takes two runs, or if this one has none.
    pub(super) fn value(self, member: &Member, phase: &str) -> Option<f64> {
        match self {
            Self::P50 => member.latencies.get(phase)?.quantile(0.5),
            Self::P90 => member.latencies.get(phase)?.quantile(0.9),
            Self::P99 => member.latencies.get(phase)?.quantile(0.99),
            Self::Recovery => fault_time(member, phase, |fault| fault.recovery_time_s),
            Self::Detection => fault_time(member, phase, |fault| fault.time_to_detect_s),
            _ => None,
        }
    }

    /// Returns the distance of two runs, which is symmetric. Latencies are a share of `scale`.
    pub(super) fn distance(self, a: &Member, b: &Member, phase: &str, scale: f64) -> Option<f64> {
        match self {
            Self::P50 | Self::P90 | Self::P99 => {
                let difference = (self.value(a, phase)? - self.value(b, phase)?).abs();
                (scale > 0.0).then(|| difference / scale)
            }
            Self::Recovery | Self::Detection => Some((self.value(a, phase)? - self.value(b, phase)?).abs()),
            Self::Wasserstein => wasserstein_1(a.latencies.get(phase)?, b.latencies.get(phase)?),
            Self::Mix => mix([a], [b], phase),
            Self::Goodput => shape(&a.series.goodput, &b.series.goodput),
            Self::P95 => shape(&a.series.latency_p95, &b.series.latency_p95),
            Self::GoodputLag => late(a, b, |member| &member.series.goodput),
            Self::P95Lag => late(a, b, |member| &member.series.latency_p95),
        }
    }
}

/// Returns the number of calls with a latency in the phase, in all runs together.
fn calls_in(runs: &[Member], phase: &str) -> u64 {
    runs.iter().filter_map(|run| run.latencies.get(phase)).map(|latencies| latencies.len()).sum()
}

/// Returns a time of the fault that the phase belongs to, in seconds. A time that was not reached counts as the time until
/// the run ended: it is no shorter.
fn fault_time(member: &Member, phase: &str, time: fn(&FaultSummary) -> Option<f64>) -> Option<f64> {
    let index: usize = phase.strip_prefix("fault-")?.parse().ok()?;
    let fault = member.summary.faults.iter().find(|fault| fault.index == index)?;
    Some(time(fault).unwrap_or(member.summary.end_us.saturating_sub(fault.start_us) as f64 / 1e6))
}

/// Returns the total variation distance of the statuses, over all runs of each side together.
pub(super) fn mix<'a>(
    a: impl IntoIterator<Item = &'a Member>,
    b: impl IntoIterator<Item = &'a Member>,
    phase: &str,
) -> Option<f64> {
    let [a, b] = counts_of_both(&statuses(a, phase), &statuses(b, phase));
    total_variation(&a, &b)
}

/// Returns the mean of the normalised errors both ways, since neither of the two runs is the reference.
fn shape(a: &[Option<f64>], b: &[Option<f64>]) -> Option<f64> {
    Some((nrmse(a, b)? + nrmse(b, a)?) / 2.0)
}

/// Returns the size of the lag of two series, in seconds.
fn late(a: &Member, b: &Member, series: fn(&Member) -> &Vec<Option<f64>>) -> Option<f64> {
    let length_s = a.series.length_s;
    // Places of windows of different lengths are different times.
    if b.series.length_s != length_s {
        return None;
    }
    let places = lag(series(a), series(b), (REACH_S / length_s) as usize)?;
    Some(places.unsigned_abs() as f64 * length_s)
}
