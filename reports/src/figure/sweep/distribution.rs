//! The plots of a sweep over seeds: the distribution of each metric over the runs.

use kernel::{
    experiment::sweep::{Spread, SweepReport},
    measure::text::quantity::quantity,
    scenario::{Metric, MetricGroup},
};

use super::{GroupPlot, LATENCY, RECOVERY, axis};
use crate::{
    compare::distance::quantile,
    figure::{Axis, Colour, Dash, Figure, Layer, Mark, Panel, Scale, Ticks},
    sweep::SweepAnalysis,
};

/// The greatest number of steps of a curve.
const STEPS_MAX: usize = 400;

/// A plot for each group, since the metrics of a plot share an axis.
const PLOTS: [GroupPlot; 6] = [
    GroupPlot { name: "success", title: "Success", groups: &[MetricGroup::Success] },
    LATENCY,
    RECOVERY,
    GroupPlot { name: "counts", title: "Effort and waste", groups: &[MetricGroup::Waste] },
    GroupPlot { name: "attempts", title: "Attempts", groups: &[MetricGroup::Attempts] },
    GroupPlot { name: "throughput", title: "Throughput", groups: &[MetricGroup::Throughput] },
];

/// Returns a plot for each group that has a metric which differs from run to run.
pub(super) fn figures(sweep: &SweepAnalysis, report: &SweepReport<'_>) -> Vec<Figure> {
    PLOTS.iter().filter_map(|group| figure(sweep, report, group)).collect()
}

/// A metric over the runs.
struct MetricSample {
    metric: Metric,
    /// Ascending.
    values: Vec<f64>,
    spread: Spread,
}

impl MetricSample {
    /// Returns the values of a metric; `None` if no run has it.
    fn new(metric: Metric, report: &SweepReport<'_>) -> Option<Self> {
        let mut values: Vec<f64> = report.rows.iter().filter_map(|row| row.metric(metric)).collect();
        values.sort_by(f64::total_cmp);
        Some(Self { metric, values, spread: Spread::new(metric, report.rows)? })
    }

    fn varies(&self) -> bool {
        self.values.first() != self.values.last()
    }
}

fn figure(sweep: &SweepAnalysis, report: &SweepReport<'_>, group: &GroupPlot) -> Option<Figure> {
    let samples = group.metrics().filter_map(|metric| MetricSample::new(metric, report));
    let (varying, constant): (Vec<MetricSample>, Vec<MetricSample>) = samples.partition(MetricSample::varies);
    let rows = report.rows.len();
    // A metric that is the same in every run has no distribution to draw; the caption names it.
    let first = varying.first()?;
    let x = axis(first.metric, varying.iter().flat_map(|sample| &sample.values).copied());
    let mut layers: Vec<Layer> = varying.iter().enumerate().map(|(index, sample)| curve(sample, index, rows)).collect();
    layers.extend(varying.iter().enumerate().map(|(index, sample)| worst(sample, index)));
    let y = Axis { label: "share of runs".into(), scale: Scale::Linear, range: (0.0, 1.03), ticks: Ticks::Percent };
    Some(Figure {
        name: group.name.to_owned(),
        title: group.title.to_owned(),
        subject: sweep.title(),
        caption: caption(&constant),
        x,
        panels: vec![Panel { title: String::new(), y, weight: 1.4, layers }],
        bands: Vec::new(),
    })
}

fn caption(constant: &[MetricSample]) -> String {
    let mut caption = "The share of runs with at most this value. A cross marks the worst run.".to_owned();
    if !constant.is_empty() {
        let same = constant
            .iter()
            .map(|sample| format!("{} {}", sample.metric.name(), quantity(Some(sample.metric), sample.spread.median)));
        caption.push_str(&format!(" The same in every run: {}.", same.collect::<Vec<_>>().join(", ")));
    }
    caption
}

/// Returns the colour of a metric. Grey marks those beyond the colours that can be distinguished.
fn colour(index: usize) -> Colour {
    Colour::CYCLE.get(index).copied().unwrap_or(Colour::Grey)
}

/// Returns the curve of the share of runs at or below each value, in steps.
fn curve(sample: &MetricSample, index: usize, rows: usize) -> Layer {
    let steps = sample.values.len().min(STEPS_MAX);
    let mut points = Vec::with_capacity(2 * steps);
    for step in 1..=steps {
        let below = (step - 1) as f64 / steps as f64;
        let share = step as f64 / steps as f64;
        points.extend(quantile(&sample.values, share).into_iter().flat_map(|value| [(value, below), (value, share)]));
    }
    let Spread { worst, worst_seed, .. } = sample.spread;
    let worst = quantity(Some(sample.metric), worst);
    let runs = sample.values.len();
    let having = if runs < rows { format!("; {runs} of {rows} runs have it") } else { String::new() };
    let name = format!("{}: worst {worst}, seed {worst_seed}{having}", sample.metric.name());
    Layer::patterned(&name, colour(index), Dash::of_series(index), points)
}

/// Returns the mark of the worst run on the curve.
fn worst(sample: &MetricSample, index: usize) -> Layer {
    let worst = sample.spread.worst;
    let below = sample.values.partition_point(|value| *value <= worst);
    let share = below as f64 / sample.values.len() as f64;
    Layer::points("", colour(index), Mark::Cross, vec![(worst, share)])
}
