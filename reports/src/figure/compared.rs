//! The plots of several runs of one scenario.

use super::{Axis, Band, Colour, Dash, Figure, Layer, LayerShape, Mark, Panel, Scale, Ticks, steps};
use crate::{
    compare::{
        ComparisonSide, Sample, ScenarioComparison, WHOLE,
        series::{fold, mean},
    },
    fold::Windows,
};

/// The number of steps of the curve of a distribution.
const STEPS: usize = 400;

/// Returns the plots of the sides of a scenario. Their names include that of the scenario if there are `several` scenarios.
pub fn figures(scenario: &ScenarioComparison, several: bool) -> Vec<Figure> {
    let mut figures = vec![overlay(scenario), cdf(scenario)];
    figures.extend(quantile_quantile(scenario));
    for figure in &mut figures {
        // With one scenario the folder is named for it, and short names suffice.
        if several {
            figure.name = format!("{}-{}", scenario.scenario, figure.name);
        }
        figure.subject = format!("{}, {}", scenario.scenario, names(scenario));
    }
    figures
}

fn names(scenario: &ScenarioComparison) -> String {
    let names: Vec<&str> = scenario.sides.iter().map(|side| side.name.as_str()).collect();
    names.join(" and ")
}

/// Returns the plot of the mean of every side over time, with the range of its runs.
pub(super) fn overlay(scenario: &ScenarioComparison) -> Figure {
    let end_us = scenario.sides.iter().flat_map(|side| &side.members).map(|member| member.summary.end_us).max();
    let goodput = OverTime::of_sides(scenario, |windows| windows.rates(&windows.completed_ok));
    let p95 = OverTime::of_sides(scenario, |windows| windows.ended.p95.clone());
    let p50 = OverTime::of_sides(scenario, |windows| windows.ended.p50.clone());
    Figure {
        name: "overlay".into(),
        title: "Over time".into(),
        subject: String::new(),
        caption: "Lines are means over the runs of a side, areas show the range of its runs. Latency is that of the requests that ended \
                  in the window."
            .into(),
        x: Axis::time(end_us.unwrap_or(0) as f64 / 1e6),
        panels: vec![
            Panel {
                title: "Goodput".into(),
                y: Axis::from_zero("OK / s", Ticks::Number, goodput.values.into_iter()),
                weight: 1.0,
                layers: goodput.layers,
            },
            Panel {
                title: "Latency p95".into(),
                y: Axis::latency("latency", p95.values.into_iter()),
                weight: 1.1,
                layers: p95.layers,
            },
            Panel {
                title: "Latency p50".into(),
                y: Axis::latency("latency", p50.values.into_iter()),
                weight: 0.9,
                layers: p50.layers,
            },
        ],
        bands: bands(scenario),
    }
}

/// A quantity of all sides over time.
struct OverTime {
    layers: Vec<Layer>,
    /// All values, from which the range of the axis follows.
    values: Vec<f64>,
}

impl OverTime {
    fn of_sides(scenario: &ScenarioComparison, pick: impl Fn(&Windows) -> Vec<Option<f64>>) -> Self {
        let mut areas = Vec::new();
        let mut lines = Vec::new();
        let mut values = Vec::new();
        for (index, side) in scenario.sides.iter().enumerate() {
            let series: Vec<Vec<Option<f64>>> = side.members.iter().map(|member| pick(&member.windows)).collect();
            let length_s = side.members[0].windows.length_s;
            values.extend(series.iter().flatten().flatten());
            // Dashes leave the line below visible.
            let shape = LayerShape::Line {
                points: steps(length_s, mean(series.iter()).into_iter()),
                dash: Dash::of_series(index),
            };
            lines.push(Layer { name: side.name.clone(), colour: Colour::of_series(index), shape });
            // The range of a single run is its line.
            if side.members.len() > 1 {
                let shape = LayerShape::Area(range_area(&series, length_s));
                areas.push(Layer { name: String::new(), colour: Colour::of_series(index), shape });
            }
        }
        areas.extend(lines);
        Self { layers: areas, values }
    }
}

/// Returns the least and the greatest value of the series over each window.
fn range_area(series: &[Vec<Option<f64>>], length_s: f64) -> Vec<(f64, f64, f64)> {
    let low = fold(series.iter(), |values| values.iter().copied().fold(f64::INFINITY, f64::min));
    let high = fold(series.iter(), |values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    let mut area = Vec::with_capacity(low.len());
    for (window, (low, high)) in low.iter().zip(&high).enumerate() {
        let low = low.unwrap_or(f64::NAN);
        let high = high.unwrap_or(f64::NAN);
        area.extend([window, window + 1].map(|edge| (edge as f64 * length_s, low, high)));
    }
    area
}

/// Returns the bands of the faults and changes in the first run of the reference.
fn bands(scenario: &ScenarioComparison) -> Vec<Band> {
    let Some(member) = scenario.sides.first().and_then(|side| side.members.first()) else { return Vec::new() };
    let end_s = member.summary.end_us as f64 / 1e6;
    Band::of_run(&member.summary, end_s)
}

/// Returns the plot of the distribution functions of latency.
fn cdf(scenario: &ScenarioComparison) -> Figure {
    let mut all = Vec::new();
    let mut layers = Vec::new();
    for (index, side) in scenario.sides.iter().enumerate() {
        let points = distribution(&side.latencies(WHOLE));
        all.extend(points.iter().map(|(value, _)| *value));
        let shape = LayerShape::Line { points, dash: Dash::of_series(index) };
        layers.push(Layer { name: side.name.clone(), colour: Colour::of_series(index), shape });
    }
    let y = Axis { label: "share of requests".into(), scale: Scale::Linear, range: (0.0, 1.0), ticks: Ticks::Percent };
    Figure {
        name: "cdf".into(),
        title: "Distribution of latency".into(),
        subject: String::new(),
        caption: "The share of requests with at most this latency.".into(),
        x: Axis::latency("latency, from the intended start", all.into_iter()),
        panels: vec![Panel { title: String::new(), y, weight: 1.7, layers }],
        bands: Vec::new(),
    }
}

/// Returns the points of the distribution function of a sample: value, share.
fn distribution(latencies: &Sample) -> Vec<(f64, f64)> {
    let shares = (1..=STEPS).map(|step| step as f64 / STEPS as f64);
    shares.filter_map(|share| Some((latencies.quantile(share)?, share))).collect()
}

/// Returns, for each other side, the plot of its quantiles against those of the reference, phase by phase.
fn quantile_quantile(scenario: &ScenarioComparison) -> Vec<Figure> {
    let Some((reference, others)) = scenario.sides.split_first() else { return Vec::new() };
    let mut figures = Vec::with_capacity(others.len());
    for (index, side) in others.iter().enumerate() {
        let name = if others.len() > 1 { format!("qq-{}", index + 1) } else { "qq".into() };
        figures.push(quantiles_of(side, reference, name));
    }
    figures
}

fn quantiles_of(side: &ComparisonSide, reference: &ComparisonSide, name: String) -> Figure {
    let mut layers = Vec::new();
    let mut all = Vec::new();
    for (index, phase) in reference.members[0].summary.phases.iter().enumerate() {
        let points = percentile_pairs(&reference.latencies(&phase.phase), &side.latencies(&phase.phase));
        all.extend(points.iter().flat_map(|(a, b)| [*a, *b]));
        layers.push(Layer::points(&phase.phase, Colour::of_series(index), Mark::Dot, points));
    }
    let axis = Axis::latency("", all.into_iter());
    let diagonal = vec![(axis.range.0, axis.range.0), (axis.range.1, axis.range.1)];
    layers.insert(0, Layer::dashed("no difference", Colour::Grey, diagonal));
    Figure {
        name,
        title: "Quantiles against quantiles".into(),
        subject: String::new(),
        caption: "One point for each percentile of a phase. On the line both are equally fast; above it the second is slower."
            .into(),
        x: Axis { label: format!("latency, {}", reference.name), ..axis.clone() },
        panels: vec![Panel {
            title: String::new(),
            y: Axis { label: format!("latency, {}", side.name), ..axis },
            weight: 2.2,
            layers,
        }],
        bands: Vec::new(),
    }
}

/// Returns the percentiles of two samples as pairs.
fn percentile_pairs(a: &Sample, b: &Sample) -> Vec<(f64, f64)> {
    let shares = (1..=100).map(|step| (f64::from(step) - 0.5) / 100.0);
    shares.filter_map(|share| Some((a.quantile(share)?, b.quantile(share)?))).collect()
}
