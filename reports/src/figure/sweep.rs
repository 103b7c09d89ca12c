//! The plots of a sweep.

mod difference;
mod distribution;
mod grid;

use kernel::{
    experiment::sweep::SweepReport,
    scenario::{Metric, MetricGroup, Unit},
};

use super::{Axis, Figure, Ticks};
use crate::sweep::SweepAnalysis;

/// Returns the plots of how metrics spread over the seeds or, for a grid, how they depend on its settings.
pub fn figures(sweep: &SweepAnalysis, report: &SweepReport<'_>) -> Vec<Figure> {
    match &sweep.layout {
        Some(layout) => [difference::figures(sweep, report), grid::figures(sweep, layout, report)].concat(),
        None => distribution::figures(sweep, report),
    }
}

/// A plot, and the groups of metrics that it shows.
struct GroupPlot {
    name: &'static str,
    title: &'static str,
    groups: &'static [MetricGroup],
}

impl GroupPlot {
    /// Returns the metrics of the plot, in the order of reports.
    fn metrics(&self) -> impl Iterator<Item = Metric> + '_ {
        Metric::ALL.into_iter().filter(|metric| metric.group().is_some_and(|group| self.groups.contains(&group)))
    }
}

const LATENCY: GroupPlot = GroupPlot { name: "latency", title: "Latency", groups: &[MetricGroup::Latency] };

const RECOVERY: GroupPlot = GroupPlot { name: "recovery", title: "Recovery", groups: &[MetricGroup::Recovery] };

/// Returns an axis for values of `metric`. It is logarithmic for times that differ much, and begins near the lowest value for
/// shares and rates.
fn axis(metric: Metric, values: impl Iterator<Item = f64> + Clone) -> Axis {
    match metric.unit() {
        Unit::Share => Axis::shares("share", 0.01, values),
        Unit::PerSecond => Axis { label: "1 / s".into(), ..Axis::fitted(Ticks::Number, 0.1, values) },
        Unit::Seconds if differ_much(values.clone()) => Axis::latency("time", values),
        Unit::Seconds => Axis::from_zero("time", Ticks::Duration, values),
        Unit::Count if metric == Metric::AttemptsPerCall => Axis::from_zero("per call", Ticks::Number, values),
        Unit::Count => Axis::from_zero("per run", Ticks::Number, values),
    }
}

/// Returns true if the lower values would be too close to 0 on a linear axis.
fn differ_much(values: impl Iterator<Item = f64> + Clone) -> bool {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(0.0, f64::max);
    low > 0.0 && high > low * 20.0
}
