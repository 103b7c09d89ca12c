//! The plots of a grid: each metric that a setting affects, against that setting.

use kernel::{
    experiment::sweep::{Spread, SweepReport},
    scenario::{Metric, MetricGroup},
};

use super::{GroupPlot, LATENCY, RECOVERY, axis};
use crate::{
    figure::{Axis, Colour, Figure, Layer, Mark, Panel, Scale, Ticks},
    sweep::{GridLayout, GridLine, GridPlot, SweepAnalysis, VariedSetting},
};

/// The distance between the marks at one value of a setting, as a share of the least distance of two values.
const STEP: f64 = 0.12;

/// The marks of lines, in this order.
const MARKS: [Mark; 4] = [Mark::Disc, Mark::Ring, Mark::Triangle, Mark::Cross];

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
    let mut caption = "Dots are medians over the seeds, whiskers reach from the 5th to the 95th percentile".to_owned();
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
            // The marks beside the first and the last value need room, too.
            let edge = ((high - low) * 0.04).max(least_gap(numbers) * 0.4);
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

/// Returns a dot and a whisker for each variant. Nothing connects them: what is between two values was not measured.
fn layers(x: &VariedSetting, row: &Row, plot: &GridPlot, named: bool) -> Vec<Layer> {
    let mut whiskers = Vec::new();
    let mut dots = Vec::new();
    for (index, line) in plot.lines.iter().enumerate() {
        let colour = Colour::of_series(index);
        let mut ranges = Vec::new();
        let mut medians = Vec::new();
        for (at, spread) in places(x, index, plot.lines.len()).into_iter().zip(row.along(line)) {
            let Some(Spread { p5, median, p95, .. }) = spread else { continue };
            medians.push((at, median));
            // The last point separates the whisker from the next one.
            ranges.extend([(at, p5), (at, p95), (at, f64::NAN)]);
        }
        let name = if named { line.setting.as_deref().map_or("median", short) } else { "" };
        whiskers.push(Layer::line("", colour, ranges));
        dots.push(Layer::points(name, colour, MARKS[index % MARKS.len()], medians));
    }
    whiskers.into_iter().chain(dots).collect()
}

/// Returns the place of each value for the line at `index` of `lines`. Lines stand side by side.
fn places(x: &VariedSetting, index: usize, lines: usize) -> Vec<f64> {
    let aside = (index as f64 - (lines as f64 - 1.0) / 2.0) * STEP;
    match &x.numbers {
        Some(numbers) => numbers.iter().map(|number| number + aside * least_gap(numbers)).collect(),
        None => (0..x.values.len()).map(|place| place as f64 + aside).collect(),
    }
}

/// Returns the least distance of two different numbers; 1 if there are none.
fn least_gap(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let gaps = sorted.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 0.0);
    let least = gaps.fold(f64::INFINITY, f64::min);
    if least.is_finite() { least } else { 1.0 }
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
        assert_eq!(places(&attempts, 0, 1), [4.0, 1.0]);
        assert!(places(&attempts, 0, 2)[1] < places(&attempts, 1, 2)[1]);
        assert_eq!(x_axis(&attempts).ticks, Ticks::Places(vec![(1.0, "1".into()), (4.0, "4".into())]));
        let words = VariedSetting { key: "a".into(), values: vec!["off".into(), "50ms".into()], numbers: None };
        assert_eq!(places(&words, 0, 1), [0.0, 1.0]);
        assert!(places(&words, 0, 2)[1] < places(&words, 1, 2)[1]);
    }
}
