//! The plots of many runs.

mod grid;
mod sweep;

use kernel::{
    experiment::sweep::SweepReport,
    scenario::{Metric, Unit},
};

use super::{Axis, Figure, Ticks};
use crate::many::Many;

/// How metrics spread over the seeds or, where something is varied, what they make of it.
pub fn figures(many: &Many, account: &SweepReport<'_>) -> Vec<Figure> {
    match &many.layout {
        Some(layout) => grid::figures(many, layout, account),
        None => sweep::figures(many, account),
    }
}

/// Metrics that are shown together.
struct Group {
    name: &'static str,
    title: &'static str,
    metrics: &'static [Metric],
}

const LATENCY: Group = Group {
    name: "latency",
    title: "Latency",
    metrics: &[Metric::LatencyP50, Metric::LatencyP95, Metric::LatencyP99, Metric::LatencyMax],
};

const RECOVERY: Group = Group {
    name: "recovery",
    title: "Recovery",
    metrics: &[Metric::RecoveryTime, Metric::TimeToDetect, Metric::UnavailableFor],
};

/// An axis for values of `metric`. Times are on a logarithmic one if they differ much, shares and rates on one that begins
/// near the lowest of them.
fn axis(metric: Metric, values: impl Iterator<Item = f64> + Clone) -> Axis {
    match metric.unit() {
        Unit::Share => {
            let axis = Axis::fitted(Ticks::Percent, 0.01, values);
            let (from, to) = axis.range;
            // There is no more than all.
            Axis { label: "share".into(), range: (from, to.min(1.0 + (1.0 - from) * 0.06)), ..axis }
        }
        Unit::PerSecond => Axis { label: "1 / s".into(), ..Axis::fitted(Ticks::Number, 0.1, values) },
        Unit::Seconds if differ_much(values.clone()) => Axis::latency("time", values),
        Unit::Seconds => Axis::from_zero("time", Ticks::Duration, values),
        Unit::Count if metric == Metric::AttemptsPerCall => Axis::from_zero("per call", Ticks::Number, values),
        Unit::Count => Axis::from_zero("per run", Ticks::Number, values),
    }
}

/// Whether the lower ones would hardly be told from 0.
fn differ_much(values: impl Iterator<Item = f64>) -> bool {
    let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    low > 0.0 && high > low * 20.0
}
