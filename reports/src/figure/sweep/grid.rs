//! The plots of a grid: each metric that a setting affects, against that setting.

use kernel::{
    experiment::sweep::{Spread, SweepReport},
    scenario::{Metric, MetricGroup},
};

use super::{GroupPlot, LATENCY, RECOVERY, axis};
use crate::{
    figure::{Axis, Colour, Figure, Layer, LayerShape, Mark, Panel, Scale, Ticks},
    sweep::{GridLayout, GridLine, GridPlot, SweepAnalysis, VariedSetting},
};

/// The distance between lines at one value of a setting that is not numeric, in values.
const STEP: f64 = 0.12;

/// Half the width of a box at such a value, in values.
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

/// Returns, for each group and each plot of the layout, a figure with a panel for each metric that differs.
pub(super) fn figures(sweep: &SweepAnalysis, layout: &GridLayout, report: &SweepReport<'_>) -> Vec<Figure> {
    let differing = report.differing();
    let mut figures = Vec::new();
    for group in &PLOTS {
        let metrics = group.metrics().filter(|metric| differing.contains(metric));
        let rows: Vec<Row> = metrics.map(|metric| Row::new(metric, report)).collect();
        if !rows.is_empty() {
            figures.extend((0..layout.plots.len()).map(|index| figure(sweep, layout, group, &rows, index)));
        }
    }
    figures
}

impl Row {
    fn new(metric: Metric, report: &SweepReport<'_>) -> Self {
        let variants = 0..report.variants.len();
        Self { metric, spreads: variants.map(|variant| Spread::new(metric, report.variant_rows(variant))).collect() }
    }

    /// Returns the axis of the metric. It is the same in all plots, so that they can be compared.
    fn axis(&self) -> Axis {
        axis(self.metric, self.spreads.iter().flatten().flat_map(|spread| [spread.p5, spread.median, spread.p95]))
    }

    /// Returns the spread at each value along the x axis; `None` where there is none.
    fn along(&self, line: &GridLine) -> Vec<Option<Spread>> {
        line.variants.iter().map(|variant| self.spreads.get((*variant)?).copied().flatten()).collect()
    }
}

/// Returns the figure of the plot at `index` of the layout.
fn figure(sweep: &SweepAnalysis, layout: &GridLayout, group: &GroupPlot, rows: &[Row], index: usize) -> Figure {
    let plot = &layout.plots[index];
    let alone = layout.plots.len() == 1;
    let mut panels = Vec::with_capacity(rows.len());
    for (place, row) in rows.iter().enumerate() {
        panels.push(Panel {
            title: row.metric.name().to_owned(),
            y: row.axis(),
            weight: if rows.len() == 1 { 1.2 } else { 0.8 },
            // The lines are the same in all panels, so one legend is enough.
            layers: layers(&layout.x, row, plot, place == 0),
        });
    }
    Figure {
        name: if alone { group.name.to_owned() } else { format!("{}-{}", group.name, index + 1) },
        title: group.title.to_owned(),
        subject: sweep.title(),
        caption: caption(layout, plot),
        x: x_axis(&layout.x),
        panels,
        bands: Vec::new(),
    }
}

fn caption(layout: &GridLayout, plot: &GridPlot) -> String {
    let mut caption = "Medians over the seeds, and the range from the 5th to the 95th percentile".to_owned();
    if let Some(key) = &layout.lines {
        caption.push_str(&format!(", by {key}"));
    }
    if !plot.common.is_empty() {
        caption.push_str(&format!("; {}", plot.common.join(", ")));
    }
    caption + "."
}

/// Returns the axis of a setting. Numbers are at their places, and other values side by side.
fn x_axis(setting: &VariedSetting) -> Axis {
    match &setting.numbers {
        Some(numbers) => {
            let labels = setting.values.iter().map(|value| value.trim_matches('"').to_owned());
            let mut places: Vec<(f64, String)> = numbers.iter().copied().zip(labels).collect();
            places.sort_by(|(left, _), (right, _)| left.total_cmp(right));
            let low = places[0].0;
            let high = places[places.len() - 1].0;
            // A single value needs an axis with a length, too.
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
    let mut bands = Vec::new();
    let mut lines = Vec::new();
    let mut dots = Vec::new();
    for (index, line) in plot.lines.iter().enumerate() {
        let colour = Colour::of_series(index);
        let places = places(x, index, plot.lines.len());
        let mut along: Vec<(f64, Option<Spread>)> = places.into_iter().zip(row.along(line)).collect();
        along.sort_by(|(left, _), (right, _)| left.total_cmp(right));
        let name = if named { line.setting.as_deref().map_or("median", short) } else { "" };
        let medians: Vec<(f64, f64)> =
            along.iter().map(|(at, spread)| (*at, spread.map_or(f64::NAN, |spread| spread.median))).collect();
        let band_name = if named && line.setting.is_none() { "5th to 95th percentile" } else { "" };
        bands.push(Layer { name: band_name.into(), colour, shape: LayerShape::Area(band(x, &along)) });
        dots.push(Layer::points("", colour, Mark::Dot, medians.clone()));
        lines.push(Layer::line(name, colour, medians));
    }
    bands.into_iter().chain(lines).chain(dots).collect()
}

/// Returns the place of each value for the line at `index` of `lines`. Lines stand side by side at values without numbers.
fn places(x: &VariedSetting, index: usize, lines: usize) -> Vec<f64> {
    let aside = (index as f64 - (lines as f64 - 1.0) / 2.0) * STEP;
    x.numbers.clone().unwrap_or_else(|| (0..x.values.len()).map(|place| place as f64 + aside).collect())
}

/// Returns the area from the 5th to the 95th percentile: along numbers one area, otherwise a box at each value.
fn band(x: &VariedSetting, along: &[(f64, Option<Spread>)]) -> Vec<(f64, f64, f64)> {
    let gap = (f64::NAN, f64::NAN, f64::NAN);
    let mut band = Vec::new();
    for (at, spread) in along {
        match (spread, &x.numbers) {
            (None, _) => band.push(gap),
            (Some(Spread { p5, p95, .. }), Some(_)) => band.push((*at, *p5, *p95)),
            (Some(Spread { p5, p95, .. }), None) => {
                band.extend([(at - HALF_BOX, *p5, *p95), (at + HALF_BOX, *p5, *p95), gap]);
            }
        }
    }
    band
}

/// Returns the last part of a setting, such as `hedging=off` for `client.hedging=off`. The caption has the whole key.
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
