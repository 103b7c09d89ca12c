//! The plots of several runs of one scenario.

use super::{Axis, Band, Colour, Figure, Layer, LayerShape, Mark, Panel, Scale, Ticks};
use crate::{
    compare::{
        ComparisonSide, ScenarioComparison, WHOLE,
        distance::quantile,
        series::{fold, mean},
    },
    frame::Windows,
};

/// Steps of a distribution's curve.
const STEPS: usize = 400;

/// The plots of a scenario's sides; their names hold the scenario's if there are `several` scenarios.
pub fn figures(scenario: &ScenarioComparison, several: bool) -> Vec<Figure> {
    let mut figures = vec![overlay(scenario), cdf(scenario)];
    figures.extend(quantile_quantile(scenario));
    for figure in &mut figures {
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

fn colour(index: usize) -> Colour {
    Colour::CYCLE[index % Colour::CYCLE.len()]
}

/// Every side's mean over time, with the range of its runs.
pub(super) fn overlay(scenario: &ScenarioComparison) -> Figure {
    let goodput = |windows: &Windows| -> Vec<Option<f64>> {
        let whole = windows.whole();
        let rate = |(index, count): (usize, &u64)| (index < whole).then_some(*count as f64 / windows.length_s);
        windows.completed_ok.iter().enumerate().map(rate).collect()
    };
    let end_s = scenario.sides.iter().flat_map(|side| &side.members).map(|member| member.summary.end_us).max();
    let (layers_p50, values_p50) = over_time(scenario, |windows| windows.p50.clone());
    let (layers_p95, values_p95) = over_time(scenario, |windows| windows.p95.clone());
    let (layers_goodput, values_goodput) = over_time(scenario, goodput);
    let panel =
        |title: &str, y: Axis, weight: f64, layers: Vec<Layer>| Panel { title: title.into(), y, weight, layers };
    Figure {
        name: "overlay".into(),
        title: "Over time".into(),
        subject: String::new(),
        caption: "Lines are means over the runs of a side, areas reach from the lowest run to the highest.".into(),
        x: Axis::time(end_s.unwrap_or(0) as f64 / 1e6),
        panels: vec![
            panel("Goodput", Axis::from_zero("OK / s", Ticks::Number, values_goodput.into_iter()), 1.0, layers_goodput),
            panel("Latency p95", Axis::latency("latency", values_p95.into_iter()), 1.1, layers_p95),
            panel("Latency p50", Axis::latency("latency", values_p50.into_iter()), 0.9, layers_p50),
        ],
        bands: bands(scenario),
    }
}

/// Layers, and all values in them.
fn over_time(scenario: &ScenarioComparison, pick: impl Fn(&Windows) -> Vec<Option<f64>>) -> (Vec<Layer>, Vec<f64>) {
    let (mut areas, mut lines, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (index, side) in scenario.sides.iter().enumerate() {
        let series: Vec<Vec<Option<f64>>> = side.members.iter().map(|member| pick(&member.windows)).collect();
        let length_s = side.members[0].windows.length_s;
        let middle = |place: usize| (place as f64 + 0.5) * length_s;
        let line = mean(series.iter());
        let points = line.iter().enumerate().map(|(place, value)| (middle(place), value.unwrap_or(f64::NAN)));
        all.extend(series.iter().flatten().flatten());
        // What is drawn last must not hide what is below.
        let shape = LayerShape::Line { points: points.collect(), dashed: index > 0 };
        lines.push(Layer { name: side.name.clone(), colour: colour(index), shape });
        if side.members.len() > 1 {
            let low = fold(series.iter(), |values| values.iter().copied().fold(f64::INFINITY, f64::min));
            let high = fold(series.iter(), |values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            let range = low.iter().zip(&high).enumerate();
            let points =
                range.map(|(place, (low, high))| (middle(place), low.unwrap_or(f64::NAN), high.unwrap_or(f64::NAN)));
            areas.push(Layer { name: String::new(), colour: colour(index), shape: LayerShape::Area(points.collect()) });
        }
    }
    areas.extend(lines);
    (areas, all)
}

/// The faults of the reference's first run.
fn bands(scenario: &ScenarioComparison) -> Vec<Band> {
    let Some(member) = scenario.sides.first().and_then(|side| side.members.first()) else { return Vec::new() };
    let end_s = member.summary.end_us as f64 / 1e6;
    let band = |fault: &kernel::measure::FaultSummary| {
        let from = fault.start_us as f64 / 1e6;
        Band {
            from,
            to: fault.lifted_us.map_or(end_s, |us| us as f64 / 1e6).max(from),
            name: format!("fault-{} {} {}", fault.index, fault.kind, fault.targets.join(", ")),
            short_name: format!("{} {}", fault.index, fault.kind),
        }
    };
    member.summary.faults.iter().map(band).collect()
}

/// The share of requests that took at most so long.
fn cdf(scenario: &ScenarioComparison) -> Figure {
    let mut all = Vec::new();
    let mut layers = Vec::new();
    for (index, side) in scenario.sides.iter().enumerate() {
        let latencies = side.latencies(WHOLE);
        let at = |step: usize| {
            let share = step as f64 / STEPS as f64;
            quantile(&latencies, share).map(|value| (value, share))
        };
        let points: Vec<(f64, f64)> = (1..=STEPS).filter_map(at).collect();
        all.extend(points.iter().map(|(value, _)| *value));
        let shape = LayerShape::Line { points, dashed: index > 0 };
        layers.push(Layer { name: side.name.clone(), colour: colour(index), shape });
    }
    let mut x = Axis::latency("latency, from the intended start", all.into_iter());
    x.ticks = Ticks::Duration;
    let y = Axis { label: "share of requests".into(), scale: Scale::Linear, range: (0.0, 1.0), ticks: Ticks::Percent };
    Figure {
        name: "cdf".into(),
        title: "Distribution of latency".into(),
        subject: String::new(),
        caption: "The share of all requests that took at most so long.".into(),
        x,
        panels: vec![Panel { title: String::new(), y, weight: 1.7, layers }],
        bands: Vec::new(),
    }
}

/// Quantiles of each side against those of the reference, phase by phase; a plot a side.
fn quantile_quantile(scenario: &ScenarioComparison) -> Vec<Figure> {
    let Some((reference, others)) = scenario.sides.split_first() else { return Vec::new() };
    let plot = |(index, side): (usize, &ComparisonSide)| {
        let phases: Vec<String> = reference.members[0].summary.phases.iter().map(|phase| phase.phase.clone()).collect();
        let mut layers = Vec::new();
        let mut all = Vec::new();
        for (place, phase) in phases.iter().enumerate() {
            let (a, b) = (reference.latencies(phase), side.latencies(phase));
            let at = |step: usize| {
                let share = (step as f64 - 0.5) / 100.0;
                Some((quantile(&a, share)?, quantile(&b, share)?))
            };
            let points: Vec<(f64, f64)> = (1..=100).filter_map(at).collect();
            all.extend(points.iter().flat_map(|(a, b)| [*a, *b]));
            layers.push(Layer::points(phase, colour(place), Mark::Dot, points));
        }
        let axis = Axis::latency("", all.into_iter());
        let ends = vec![(axis.range.0, axis.range.0), (axis.range.1, axis.range.1)];
        layers.insert(0, Layer::dashed("no difference", Colour::Grey, ends));
        Figure {
            name: if others.len() > 1 { format!("qq-{}", index + 1) } else { "qq".into() },
            title: "Quantiles against quantiles".into(),
            subject: String::new(),
            caption: "A point a percentile of a phase. On the line, both are as slow; above it, the second is slower."
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
    };
    others.iter().enumerate().map(plot).collect()
}
