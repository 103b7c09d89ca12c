//! Tables of a sweep's report.

use super::{PairedDifference, Spread, SweepReport, report::passed};
use crate::{
    measure::metric::Metric,
    measure::{
        CheckedExpectation,
        text::{
            MISSING, expectation,
            quantity::{difference, quantity},
            table::{Align, TextTable},
            wanted,
        },
    },
};

impl SweepReport<'_> {
    /// Returns the expectations, a line for each, over all runs.
    pub fn expectations(&self) -> TextTable {
        let mut table =
            with_figures(&[("expectation", Align::Left), ("wanted", Align::Left), ("held in", Align::Right)]);
        for (index, expected) in self.rows.first().into_iter().flat_map(|row| &row.expectations).enumerate() {
            table.row(self.expectation(index, expected));
        }
        table
    }

    fn expectation(&self, index: usize, expected: &CheckedExpectation) -> Vec<String> {
        let mut holds = 0;
        let mut values = Vec::new();
        let counted = || self.rows.iter().filter(|row| row.counts());
        for row in counted() {
            let Some(checked) = row.expectations.get(index) else { continue };
            holds += usize::from(checked.pass);
            values.extend(checked.actual.map(|actual| (actual, row.seed)));
        }
        let metric: Option<Metric> = expected.metric.parse().ok();
        // The only bound decides which value is the worst: one with a lower bound only is worst where it is lowest.
        let higher_is_better = match (expected.min, expected.max) {
            (Some(_), None) => true,
            (None, Some(_)) => false,
            _ => metric.is_some_and(Metric::higher_is_better),
        };
        let spread = Spread::from_values(higher_is_better, values);
        let all = counted().count();
        let mark = if holds == all { '✓' } else { '✗' };
        let mut cells =
            vec![format!("{mark} {}", expectation(expected)), wanted(expected), format!("{holds} of {all}")];
        cells.extend(figures(metric, spread));
        cells
    }

    /// Returns the metrics, a line for each, over all runs.
    pub fn spreads(&self) -> TextTable {
        let mut table = with_figures(&[("metric", Align::Left), ("runs", Align::Right)]);
        for metric in Metric::ALL {
            let Some(spread) = Spread::new(metric, self.rows) else { continue };
            let mut cells = vec![metric.name().to_owned(), spread.runs.to_string()];
            cells.extend(figures(Some(metric), Some(spread)));
            table.row(cells);
        }
        table
    }

    /// Returns the metrics that differ between variants, a line for each variant, over its runs.
    pub fn spreads_by_variant(&self) -> TextTable {
        let mut table = with_figures(&[("metric", Align::Left), ("variant", Align::Right), ("runs", Align::Right)]);
        for metric in self.differing() {
            for variant in 0..self.variants.len() {
                let spread = Spread::new(metric, self.variant_rows(variant));
                let runs = spread.map_or(0, |spread| spread.runs);
                let mut cells = vec![name_once(metric, variant), variant.to_string(), runs.to_string()];
                cells.extend(figures(Some(metric), spread));
                table.row(cells);
            }
        }
        table
    }

    /// Returns the variants, a line for each: its settings and how many of its runs pass.
    pub fn settings(&self) -> TextTable {
        let columns = [("variant", Align::Right), ("settings", Align::Left), ("pass", Align::Right)];
        let mut table = TextTable::new(&columns);
        for (variant, settings) in self.variants.iter().enumerate() {
            let rows = self.variant_rows(variant);
            table.row(vec![variant.to_string(), settings.join(" "), format!("{} of {}", passed(rows), rows.len())]);
        }
        table
    }

    /// Returns the metrics that differ between variants, a line for each variant, compared with the first one.
    pub fn differences(&self) -> TextTable {
        let mut table = TextTable::new(&[
            ("metric", Align::Left),
            ("variant", Align::Right),
            ("runs", Align::Right),
            ("mean", Align::Right),
            ("to variant 0", Align::Right),
            ("95 % interval", Align::Left),
        ]);
        let paired = self.paired();
        for metric in self.differing() {
            for variant in 0..self.variants.len() {
                table.row(self.difference(metric, variant, paired.get(metric, variant)));
            }
        }
        table
    }

    fn difference(&self, metric: Metric, variant: usize, paired: Option<PairedDifference>) -> Vec<String> {
        let spread = Spread::new(metric, self.variant_rows(variant));
        let interval = paired.and_then(|paired| Some((paired, paired.margin?))).map(|(paired, margin)| {
            let low = difference(metric, paired.difference - margin);
            let high = difference(metric, paired.difference + margin);
            format!("{low} to {high}{}", if paired.is_significant() { "  *" } else { "" })
        });
        vec![
            name_once(metric, variant),
            variant.to_string(),
            spread.map_or_else(|| "0".to_owned(), |spread| spread.runs.to_string()),
            spread.map_or_else(|| MISSING.to_owned(), |spread| quantity(Some(metric), spread.mean)),
            paired.map_or_else(String::new, |paired| difference(metric, paired.difference)),
            interval.unwrap_or_default(),
        ]
    }
}

/// Returns the metric's name in the line of its first variant, nothing in the lines below.
fn name_once(metric: Metric, variant: usize) -> String {
    if variant == 0 { metric.name().to_owned() } else { String::new() }
}

/// Creates a table whose last columns are those of [`figures`].
fn with_figures(columns: &[(&str, Align)]) -> TextTable {
    let figures = ["5 %", "median", "95 %", "worst", "seed"].map(|name| (name, Align::Right));
    TextTable::new(&[columns, &figures].concat())
}

/// Returns the 5th percentile, the median, the 95th percentile, the worst value and its seed, as text.
fn figures(metric: Option<Metric>, spread: Option<Spread>) -> Vec<String> {
    let Some(spread) = spread else { return vec![MISSING.to_owned(); 5] };
    let mut cells: Vec<_> =
        [spread.p5, spread.median, spread.p95, spread.worst].map(|value| quantity(metric, value)).into();
    cells.push(spread.worst_seed.to_string());
    cells
}
