//! The plots of a grid that answer: how much each variant differs from the first one, with intervals.

use kernel::{
    experiment::sweep::{PairedDifferences, SweepReport},
    scenario::{Metric, MetricGroup, Unit},
};

use super::{GroupPlot, LATENCY, RECOVERY};
use crate::{
    figure::{Axis, Colour, Dash, Figure, Layer, Mark, Panel, Scale, Ticks},
    sweep::SweepAnalysis,
};

/// The greatest number of variants in a plot. The tables have all of them.
const VARIANTS_MAX: usize = 40;

/// Metrics have panels of their own, so a plot can show groups of different units.
const PLOTS: [GroupPlot; 4] = [
    GroupPlot {
        name: "difference-success",
        title: "Differences in success",
        groups: &[MetricGroup::Success, MetricGroup::Throughput],
    },
    GroupPlot { name: "difference-latency", title: "Differences in latency", ..LATENCY },
    GroupPlot { name: "difference-recovery", title: "Differences in recovery", ..RECOVERY },
    GroupPlot {
        name: "difference-effort",
        title: "Differences in effort and waste",
        groups: &[MetricGroup::Attempts, MetricGroup::Waste],
    },
];

/// Returns a plot for each group of metrics that differ between variants.
pub(super) fn figures(sweep: &SweepAnalysis, report: &SweepReport<'_>) -> Vec<Figure> {
    let paired = report.paired();
    let differing = report.differing();
    let mut figures = Vec::new();
    for group in &PLOTS {
        let metrics = group.metrics().filter(|metric| differing.contains(metric));
        let panels: Vec<Panel> = metrics.filter_map(|metric| panel(metric, report, &paired)).collect();
        if !panels.is_empty() {
            figures.push(figure(sweep, report, group, panels));
        }
    }
    figures
}

fn figure(sweep: &SweepAnalysis, report: &SweepReport<'_>, group: &GroupPlot, panels: Vec<Panel>) -> Figure {
    let names: Vec<String> = drawn(report).map(|variant| variant.to_string()).collect();
    Figure {
        name: group.name.to_owned(),
        title: group.title.to_owned(),
        subject: sweep.title(),
        caption: caption(report),
        x: Axis {
            label: "variant (its settings are in the table)".to_owned(),
            scale: Scale::Linear,
            range: (-0.5, names.len() as f64 - 0.5),
            ticks: Ticks::Names(names),
        },
        panels,
        bands: Vec::new(),
    }
}

fn drawn(report: &SweepReport<'_>) -> std::ops::Range<usize> {
    1..report.variants.len().min(VARIANTS_MAX + 1)
}

fn caption(report: &SweepReport<'_>) -> String {
    let mut caption =
        "Mean difference from variant 0, seed by seed, with the intervals of the table, which hold together with 95 % \
                       confidence. A filled dot: the interval excludes 0."
            .to_owned();
    let undrawn = report.variants.len().saturating_sub(VARIANTS_MAX + 1);
    if undrawn > 0 {
        caption.push_str(&format!(" {undrawn} more variants are in the tables only."));
    }
    caption
}

/// Returns the panel of a metric; `None` if no variant has it for a seed that variant 0 has it for.
fn panel(metric: Metric, report: &SweepReport<'_>, paired: &PairedDifferences) -> Option<Panel> {
    let mut whiskers = Vec::new();
    let mut clear = Vec::new();
    let mut unclear = Vec::new();
    let mut ends = vec![0.0];
    for (place, variant) in drawn(report).enumerate() {
        let Some(found) = paired.get(metric, variant) else { continue };
        let at = place as f64;
        let margin = found.margin.unwrap_or(0.0);
        let low = found.difference - margin;
        let high = found.difference + margin;
        ends.extend([low, high]);
        // The last point separates the whisker from the next one.
        whiskers.extend([(at, low), (at, high), (at, f64::NAN)]);
        if found.is_significant() { &mut clear } else { &mut unclear }.push((at, found.difference));
    }
    if whiskers.is_empty() {
        return None;
    }
    let zero = vec![(-0.5, 0.0), (drawn(report).len() as f64 - 0.5, 0.0)];
    Some(Panel {
        title: metric.name().to_owned(),
        y: axis(metric, &ends),
        weight: 0.7,
        layers: vec![
            Layer::patterned("", Colour::Grey, Dash::Dashed, zero),
            Layer::line("", Colour::Blue, whiskers),
            Layer::points("", Colour::Blue, Mark::Disc, clear),
            Layer::points("", Colour::Blue, Mark::Ring, unclear),
        ],
    })
}

/// Returns an axis that contains `ends`, which contain 0.
fn axis(metric: Metric, ends: &[f64]) -> Axis {
    let low = ends.iter().copied().fold(0.0, f64::min);
    let high = ends.iter().copied().fold(0.0, f64::max);
    let edge = if high > low { (high - low) * 0.1 } else { 1.0 };
    let ticks = match metric.unit() {
        Unit::Share => Ticks::Percent,
        Unit::Seconds => Ticks::Duration,
        Unit::PerSecond | Unit::Count => Ticks::Number,
    };
    Axis { label: "difference".to_owned(), scale: Scale::Linear, range: (low - edge, high + edge), ticks }
}
