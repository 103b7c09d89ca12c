//! The plots of a grid: each metric that a setting makes a difference to, against that setting.

use kernel::{
    experiment::sweep::{Spread, SweepReport},
    scenario::{Metric, MetricGroup},
};

use super::{GroupPlot, LATENCY, RECOVERY, axis};
use crate::{
    figure::{Axis, Colour, Figure, Layer, LayerShape, Mark, Panel, Scale, Ticks},
    sweep::{GridLayout, GridLine, GridPlot, SweepAnalysis, VariedSetting},
};

/// Between the lines at one value of a setting that is not a number, in values; and half the width of a box there.
const STEP: f64 = 0.12;
const HALF_BOX: f64 = 0.045;

/// Each metric has a panel of its own here, so that a plot can show groups of different units.
const PLOTS: [GroupPlot; 4] = [
    GroupPlot { name: "success", title: "Success", groups: &[MetricGroup::Success, MetricGroup::Throughput] },
    LATENCY,
    RECOVERY,
    GroupPlot { name: "effort", title: "Effort and waste", groups: &[MetricGroup::Attempts, MetricGroup::Waste] },
];

/// A metric over the seeds of each variant.
struct Row {
    metric: Metric,
    spreads: Vec<Option<Spread>>,
}

/// For each group a figure a plot of the layout, with a panel for each metric that differs.
pub(super) fn figures(sweep: &SweepAnalysis, layout: &GridLayout, account: &SweepReport<'_>) -> Vec<Figure> {
    let differing = account.differing();
    let mut figures = Vec::new();
    for group in &PLOTS {
        let metrics = group.metrics().filter(|metric| differing.contains(metric));
        let rows: Vec<Row> = metrics.map(|metric| Row::new(metric, account)).collect();
        if !rows.is_empty() {
            let plots = layout.plots.iter().enumerate();
            figures.extend(plots.map(|(index, plot)| figure(sweep, layout, group, &rows, (index, plot))));
        }
    }
    figures
}

impl Row {
    fn new(metric: Metric, account: &SweepReport<'_>) -> Self {
        let spread = |variant| Spread::new(metric, account.variant_rows(variant));
        Self { metric, spreads: (0..account.variants.len()).map(spread).collect() }
    }

    /// One for all plots, so that they can be compared.
    fn axis(&self) -> Axis {
        axis(self.metric, self.spreads.iter().flatten().flat_map(|spread| [spread.p5, spread.median, spread.p95]))
    }

    /// The spread at each value along the x axis; `None` where there is none.
    fn along(&self, line: &GridLine) -> Vec<Option<Spread>> {
        line.variants.iter().map(|variant| self.spreads.get((*variant)?).copied().flatten()).collect()
    }
}

fn figure(
    sweep: &SweepAnalysis,
    layout: &GridLayout,
    group: &GroupPlot,
    rows: &[Row],
    (index, plot): (usize, &GridPlot),
) -> Figure {
    let alone = layout.plots.len() == 1;
    let panel = |(place, row): (usize, &Row)| Panel {
        title: row.metric.name().to_owned(),
        y: row.axis(),
        weight: if rows.len() == 1 { 1.2 } else { 0.8 },
        // Only the first panel says which line is which.
        layers: layers(&layout.x, row, plot, place == 0),
    };
    Figure {
        name: if alone { group.name.to_owned() } else { format!("{}-{}", group.name, index + 1) },
        title: group.title.to_owned(),
        subject: sweep.title(),
        caption: caption(layout, plot),
        x: x_axis(&layout.x),
        panels: rows.iter().enumerate().map(panel).collect(),
        bands: Vec::new(),
    }
}

fn caption(layout: &GridLayout, plot: &GridPlot) -> String {
    let mut caption = "Medians over the seeds, and the stretch from the 5th to the 95th percentile".to_owned();
    if let Some(key) = &layout.lines {
        caption.push_str(&format!(", by {key}"));
    }
    if !plot.common.is_empty() {
        caption.push_str(&format!("; {}", plot.common.join(", ")));
    }
    caption + "."
}

/// Numbers are where they are on the axis, and other values side by side.
fn x_axis(setting: &VariedSetting) -> Axis {
    match &setting.numbers {
        Some(numbers) => {
            let named =
                numbers.iter().copied().zip(setting.values.iter().map(|value| value.trim_matches('"').to_owned()));
            let mut places: Vec<(f64, String)> = named.collect();
            places.sort_by(|(left, _), (right, _)| left.total_cmp(right));
            let (low, high) = (places[0].0, places[places.len() - 1].0);
            let edge = if high > low { (high - low) * 0.04 } else { 1.0 };
            Axis {
                label: setting.key.clone(),
                scale: Scale::Linear,
                range: (low - edge, high + edge),
                ticks: Ticks::Places(places),
            }
        }
        None => Axis {
            label: setting.key.clone(),
            scale: Scale::Linear,
            range: (-0.5, setting.values.len() as f64 - 0.5),
            ticks: Ticks::Names(setting.values.clone()),
        },
    }
}

fn layers(x: &VariedSetting, row: &Row, plot: &GridPlot, named: bool) -> Vec<Layer> {
    let (mut bands, mut lines, mut dots) = (Vec::new(), Vec::new(), Vec::new());
    for (index, line) in plot.lines.iter().enumerate() {
        let colour = Colour::CYCLE[index % Colour::CYCLE.len()];
        let places = places(x, index, plot.lines.len());
        let mut along: Vec<(f64, Option<Spread>)> = places.into_iter().zip(row.along(line)).collect();
        along.sort_by(|(left, _), (right, _)| left.total_cmp(right));
        let name = if named { line.setting.as_deref().map_or("median", short) } else { "" };
        let median = |(at, spread): &(f64, Option<Spread>)| (*at, spread.map_or(f64::NAN, |spread| spread.median));
        let medians: Vec<(f64, f64)> = along.iter().map(median).collect();
        let band_name = if named && line.setting.is_none() { "5th to 95th percentile" } else { "" };
        bands.push(Layer { name: band_name.into(), colour, shape: LayerShape::Area(band(x, &along)) });
        dots.push(Layer::points("", colour, Mark::Dot, medians.clone()));
        lines.push(Layer::line(name, colour, medians));
    }
    bands.into_iter().chain(lines).chain(dots).collect()
}

/// Where each value is for the line at `index` of `lines`. Lines stand side by side where values have no numbers.
fn places(x: &VariedSetting, index: usize, lines: usize) -> Vec<f64> {
    let aside = (index as f64 - (lines as f64 - 1.0) / 2.0) * STEP;
    let ordered = || (0..x.values.len()).map(|place| place as f64 + aside).collect();
    x.numbers.clone().unwrap_or_else(ordered)
}

/// From the 5th to the 95th percentile: an area along numbers, else a box at each value.
fn band(x: &VariedSetting, along: &[(f64, Option<Spread>)]) -> Vec<(f64, f64, f64)> {
    let gap = (f64::NAN, f64::NAN, f64::NAN);
    let stretch = |(at, spread): &(f64, Option<Spread>)| match (spread, &x.numbers) {
        (None, _) => vec![gap],
        (Some(Spread { p5, p95, .. }), Some(_)) => vec![(*at, *p5, *p95)],
        (Some(Spread { p5, p95, .. }), None) => vec![(at - HALF_BOX, *p5, *p95), (at + HALF_BOX, *p5, *p95), gap],
    };
    along.iter().flat_map(stretch).collect()
}

/// `hedging=off` of `client.hedging=off`: the whole key is in the caption.
fn short(setting: &str) -> &str {
    let key_end = setting.find('=').unwrap_or(setting.len());
    setting[..key_end].rfind('.').map_or(setting, |dot| &setting[dot + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_called_by_the_end_of_its_key() {
        assert_eq!(short("client.hedging=off"), "hedging=off");
        assert_eq!(short("duration=1.5s"), "duration=1.5s");
        assert_eq!(short("client.retry.jitter=full"), "jitter=full");
    }

    #[test]
    fn numbers_keep_their_distances_and_words_stand_side_by_side() {
        let attempts =
            VariedSetting { key: "a".into(), values: vec!["4".into(), "1".into()], numbers: Some(vec![4.0, 1.0]) };
        assert_eq!(places(&attempts, 1, 2), [4.0, 1.0]);
        assert_eq!(x_axis(&attempts).ticks, Ticks::Places(vec![(1.0, "1".into()), (4.0, "4".into())]));
        let words = VariedSetting { key: "a".into(), values: vec!["off".into(), "50ms".into()], numbers: None };
        assert_eq!(places(&words, 0, 1), [0.0, 1.0]);
        assert!(places(&words, 0, 2)[1] < places(&words, 1, 2)[1]);
    }
}
