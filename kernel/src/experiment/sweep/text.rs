//! What many runs print when they end.

use std::{cmp::Reverse, fmt::Write};

use serde::Serialize;

use super::{Paired, RunRow, Seeds, Shard, Spread};
use crate::{
    measure::{
        CheckedExpectation,
        text::{
            MISSING, actual, expectation,
            quantity::{difference, quantity},
            table::{Align, TextTable},
            wanted,
        },
    },
    scenario::Metric,
};

/// Runs that are shown as the worst.
const WORST_MAX: usize = 3;

/// The rows of many runs and which they are.
pub struct Account<'a> {
    pub scenario: &'a str,
    /// `sim` or `real`.
    pub world: &'a str,
    pub seeds: Seeds,
    pub shard: Shard,
    /// The settings of every variant.
    pub variants: &'a [Vec<String>],
    /// In order of variant, then seed.
    pub rows: &'a [RunRow],
    /// Runs that there are to be.
    pub planned: usize,
    /// The command that plays a run alone.
    pub replay: &'a dyn Fn(&RunRow) -> String,
}

/// The same for programs.
#[derive(Debug, Serialize)]
pub struct Overview {
    scenario: String,
    world: String,
    seeds: Seeds,
    shard: Shard,
    planned: usize,
    runs: usize,
    passed: usize,
    variants: Vec<VariantOverview>,
    worst: Vec<Worst>,
}

#[derive(Debug, Serialize)]
struct VariantOverview {
    settings: Vec<String>,
    runs: usize,
    passed: usize,
    metrics: Vec<MetricOverview>,
}

#[derive(Debug, Serialize)]
struct MetricOverview {
    metric: &'static str,
    spread: Spread,
    /// To the first variant; null for itself.
    to_first: Option<Paired>,
}

/// One of the worst runs.
#[derive(Debug, Serialize)]
pub struct Worst {
    pub variant: usize,
    pub seed: u64,
    /// What it came to.
    pub why: String,
    /// The command that plays it alone.
    pub replay: String,
}

impl Account<'_> {
    /// For people. Ends with a line break.
    pub fn render(&self) -> String {
        let filled = |table: TextTable| if table.rows().is_empty() { String::new() } else { table.render() };
        let mut paragraphs = vec![self.verdict()];
        if self.variants.len() > 1 {
            paragraphs.extend([filled(self.settings()), filled(self.differences()), self.remarks()]);
        } else {
            paragraphs.extend([filled(self.expectations()), filled(self.spreads())]);
        }
        paragraphs.push(self.worst_runs());
        paragraphs.push(self.broken());
        paragraphs.retain(|text| !text.is_empty());
        paragraphs.join("\n")
    }

    /// For programs.
    pub fn overview(&self) -> Overview {
        Overview {
            scenario: self.scenario.to_owned(),
            world: self.world.to_owned(),
            seeds: self.seeds,
            shard: self.shard,
            planned: self.planned,
            runs: self.rows.len(),
            passed: passed(self.rows),
            variants: (0..self.variants.len()).map(|variant| self.variant_overview(variant)).collect(),
            worst: self.worst(),
        }
    }

    /// Whether every run that there was to be passes.
    pub fn pass(&self) -> bool {
        self.rows.len() == self.planned && self.rows.iter().all(|row| row.pass)
    }

    /// Whether a run breaks an invariant, by which this project has a bug.
    pub fn breaks(&self) -> bool {
        self.rows.iter().any(|row| row.broken.is_some())
    }

    /// The first runs that do.
    fn broken(&self) -> String {
        let count = self.rows.iter().filter(|row| row.broken.is_some()).count();
        if count == 0 {
            return String::new();
        }
        let mut text = format!(
            "  {count} of {} runs break an invariant: a bug of this program, not of the scenario.\n",
            self.rows.len()
        );
        let broken = self.rows.iter().filter_map(|row| Some((row, row.broken.as_ref()?)));
        for (row, broken) in broken.take(WORST_MAX) {
            text += &format!("  ✗ seed {}: {broken}\n    {}\n", row.seed, (self.replay)(row));
        }
        text
    }

    /// Whether it passes, in a line.
    pub fn verdict(&self) -> String {
        let verdict = if self.pass() { "PASS" } else { "FAIL" };
        let (passed, played) = (passed(self.rows), self.rows.len());
        let shard = if self.shard == Shard::WHOLE { String::new() } else { format!(", shard {}", self.shard) };
        let variants = match self.variants.len() {
            1 => String::new(),
            count => format!(", {count} variants"),
        };
        let unplayed = match self.planned - played {
            0 => String::new(),
            missing => format!("; {missing} of {} were not played", self.planned),
        };
        let Self { scenario, world, seeds, .. } = self;
        format!(
            "{verdict}  {scenario} ({world}, seeds {seeds}{shard}{variants}): {passed} of {played} runs pass{unplayed}\n"
        )
    }

    /// The rows of a variant.
    pub fn of_variant(&self, variant: usize) -> &[RunRow] {
        let start = self.rows.partition_point(|row| row.variant < variant);
        let end = self.rows.partition_point(|row| row.variant <= variant);
        &self.rows[start..end]
    }

    /// Each expectation over all runs.
    pub fn expectations(&self) -> TextTable {
        let mut table =
            with_figures(&[("expectation", Align::Left), ("wanted", Align::Left), ("held in", Align::Right)]);
        for (index, expected) in self.rows.first().into_iter().flat_map(|row| &row.expectations).enumerate() {
            table.row(self.expectation(index, expected));
        }
        table
    }

    fn expectation(&self, index: usize, expected: &CheckedExpectation) -> Vec<String> {
        let checked = || self.rows.iter().filter_map(|row| Some((row.expectations.get(index)?, row.seed)));
        let held = checked().filter(|(checked, _)| checked.pass).count();
        let metric: Option<Metric> = expected.metric.parse().ok();
        let values = checked().filter_map(|(checked, seed)| Some((checked.actual?, seed))).collect();
        // What a bound is about: of a lower one only, the lowest.
        let higher_is_better = match (expected.min, expected.max) {
            (Some(_), None) => true,
            (None, Some(_)) => false,
            _ => metric.is_some_and(Metric::higher_is_better),
        };
        let spread = Spread::of_values(higher_is_better, values);
        let mark = if held == self.rows.len() { '✓' } else { '✗' };
        let mut cells = vec![
            format!("{mark} {}", expectation(expected)),
            wanted(expected),
            format!("{held} of {}", self.rows.len()),
        ];
        cells.extend(figures(metric, spread));
        cells
    }

    /// Each metric over all runs.
    pub fn spreads(&self) -> TextTable {
        let mut table = with_figures(&[("metric", Align::Left), ("runs", Align::Right)]);
        for metric in Metric::ALL {
            let Some(spread) = Spread::of(metric, self.rows) else { continue };
            let mut cells = vec![metric.name().to_owned(), spread.runs.to_string()];
            cells.extend(figures(Some(metric), Some(spread)));
            table.row(cells);
        }
        table
    }

    /// Each metric that differs between variants, over the runs of each.
    pub fn spreads_by_variant(&self) -> TextTable {
        let mut table = with_figures(&[("metric", Align::Left), ("variant", Align::Right), ("runs", Align::Right)]);
        for metric in self.differing() {
            for variant in 0..self.variants.len() {
                let name = if variant == 0 { metric.name() } else { "" };
                let spread = Spread::of(metric, self.of_variant(variant));
                let runs = spread.map_or(0, |spread| spread.runs);
                let mut cells = vec![name.to_owned(), variant.to_string(), runs.to_string()];
                cells.extend(figures(Some(metric), spread));
                table.row(cells);
            }
        }
        table
    }

    /// What the variants are.
    pub fn settings(&self) -> TextTable {
        let columns = [("variant", Align::Right), ("settings", Align::Left), ("pass", Align::Right)];
        let mut table = TextTable::new(&columns);
        for (variant, settings) in self.variants.iter().enumerate() {
            let rows = self.of_variant(variant);
            table.row(vec![variant.to_string(), settings.join(" "), format!("{} of {}", passed(rows), rows.len())]);
        }
        table
    }

    /// The metrics that differ between variants, against the first.
    pub fn differences(&self) -> TextTable {
        let mut table = TextTable::new(&[
            ("metric", Align::Left),
            ("variant", Align::Right),
            ("runs", Align::Right),
            ("mean", Align::Right),
            ("to variant 0", Align::Right),
            ("95 % interval", Align::Left),
        ]);
        for metric in self.differing() {
            for variant in 0..self.variants.len() {
                let name = if variant == 0 { metric.name() } else { "" };
                table.row(self.difference(metric, name, variant));
            }
        }
        table
    }

    fn difference(&self, metric: Metric, name: &str, variant: usize) -> Vec<String> {
        let spread = Spread::of(metric, self.of_variant(variant));
        let paired = self.paired(metric, variant);
        let signed = |value| difference(metric, value);
        let interval = paired.and_then(|paired| Some((paired, paired.margin?))).map(|(paired, margin)| {
            let (low, high) = (paired.difference - margin, paired.difference + margin);
            format!("{} to {}{}", signed(low), signed(high), if paired.is_significant() { "  *" } else { "" })
        });
        vec![
            name.to_owned(),
            variant.to_string(),
            spread.map_or_else(|| "0".to_owned(), |spread| spread.runs.to_string()),
            spread.map_or_else(|| MISSING.to_owned(), |spread| quantity(Some(metric), spread.mean)),
            paired.map_or_else(String::new, |paired| signed(paired.difference)),
            interval.unwrap_or_default(),
        ]
    }

    /// The metrics that the settings make no difference to, and what marks the differences there are; a line each.
    pub fn remarks(&self) -> String {
        let same: Vec<_> = Metric::ALL
            .into_iter()
            .filter(|&metric| !self.differs(metric))
            .filter_map(|metric| Some((metric, Spread::of(metric, self.of_variant(0))?)))
            .map(|(metric, spread)| format!("{} {}", metric.name(), quantity(Some(metric), spread.mean)))
            .collect();
        let mut text = String::new();
        if !same.is_empty() {
            let _ = writeln!(text, "  the same with every seed in all variants, on average: {}", same.join(", "));
        }
        if self.rows.iter().any(|row| row.variant > 0) {
            text += "  * the interval excludes 0; seeds are compared with themselves, by Student's t\n";
        }
        text
    }

    /// The metrics that are not the same, seed by seed, in all variants.
    pub fn differing(&self) -> Vec<Metric> {
        Metric::ALL.into_iter().filter(|&metric| self.differs(metric)).collect()
    }

    fn differs(&self, metric: Metric) -> bool {
        let values = |variant| -> Vec<_> {
            self.of_variant(variant).iter().map(|row| (row.seed, row.overall.get(metric))).collect()
        };
        let first = values(0);
        (1..self.variants.len()).any(|variant| values(variant) != first)
    }

    /// `None` for the first variant.
    fn paired(&self, metric: Metric, variant: usize) -> Option<Paired> {
        (variant > 0).then(|| Paired::of(metric, self.of_variant(0), self.of_variant(variant))).flatten()
    }

    fn worst_runs(&self) -> String {
        let mut text = String::new();
        for Worst { variant, seed, why, replay } in self.worst() {
            let variant = if self.variants.len() > 1 { format!("variant {variant}, ") } else { String::new() };
            let _ = write!(text, "  {variant}seed {seed}: {why}\n    {replay}\n");
        }
        if text.is_empty() { text } else { format!("  worst runs\n{text}") }
    }

    /// The worst runs, by failed expectations, then success rate, then p99.
    pub fn worst(&self) -> Vec<Worst> {
        // Times are non-negative, and so in the order of their bits; a run without one had no request.
        let order = |row: &&RunRow| {
            let bits = |value: Option<f64>| value.map_or(0, f64::to_bits);
            let failed = row.expectations.iter().filter(|checked| !checked.pass).count();
            let success_rate = row.overall.success_rate.map_or(u64::MAX, f64::to_bits);
            (Reverse(failed), success_rate, Reverse(bits(row.overall.latency_p99)), row.key())
        };
        let mut rows: Vec<&RunRow> = self.rows.iter().collect();
        rows.sort_by_cached_key(order);
        rows.truncate(WORST_MAX);
        rows.into_iter().map(|row| self.worst_run(row)).collect()
    }

    fn worst_run(&self, row: &RunRow) -> Worst {
        let failed = row.expectations.iter().filter(|checked| !checked.pass);
        let reason = |checked: &CheckedExpectation| match &checked.text {
            Some(text) => format!("{} ({text})", expectation(checked)),
            None => format!("{} {}, not {}", expectation(checked), actual(checked), wanted(checked)),
        };
        let mut reasons: Vec<String> = failed.map(reason).collect();
        if reasons.is_empty() {
            let figure = |metric: Metric| {
                let value = row.overall.get(metric).map(|value| quantity(Some(metric), value));
                format!("{} {}", metric.name(), value.as_deref().unwrap_or(MISSING))
            };
            reasons = [Metric::SuccessRate, Metric::LatencyP99].map(figure).into();
        }
        Worst { variant: row.variant, seed: row.seed, why: reasons.join("; "), replay: (self.replay)(row) }
    }

    fn variant_overview(&self, variant: usize) -> VariantOverview {
        let rows = self.of_variant(variant);
        let overview = |metric: Metric| {
            let spread = Spread::of(metric, rows)?;
            Some(MetricOverview { metric: metric.name(), spread, to_first: self.paired(metric, variant) })
        };
        VariantOverview {
            settings: self.variants[variant].clone(),
            runs: rows.len(),
            passed: passed(rows),
            metrics: Metric::ALL.into_iter().filter_map(overview).collect(),
        }
    }
}

fn passed(rows: &[RunRow]) -> usize {
    rows.iter().filter(|row| row.pass).count()
}

/// A table with columns for what [`figures`] says behind those given.
fn with_figures(columns: &[(&str, Align)]) -> TextTable {
    let figures = ["5 %", "median", "95 %", "worst", "seed"].map(|name| (name, Align::Right));
    TextTable::new(&[columns, &figures].concat())
}

/// 5 %, median, 95 %, worst and its seed.
fn figures(metric: Option<Metric>, spread: Option<Spread>) -> Vec<String> {
    let Some(spread) = spread else { return vec![MISSING.to_owned(); 5] };
    let mut cells: Vec<_> =
        [spread.p5, spread.median, spread.p95, spread.worst].map(|value| quantity(metric, value)).into();
    cells.push(spread.worst_seed.to_string());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        invariant::{Invariant, Violation},
        measure::Metrics,
    };

    fn row(variant: usize, seed: u64, success_rate: f64, p99: f64) -> RunRow {
        let expected = CheckedExpectation {
            metric: "success_rate".to_owned(),
            during: None,
            min: Some(0.95),
            max: None,
            actual: Some(success_rate),
            pass: success_rate >= 0.95,
            text: None,
        };
        let overall = Metrics { success_rate: Some(success_rate), latency_p99: Some(p99), ..Metrics::default() };
        RunRow {
            variant,
            seed,
            settings: Vec::new(),
            digest: String::new(),
            pass: expected.pass,
            end_us: 1_000_000,
            overall,
            expectations: vec![expected],
            broken: None,
        }
    }

    fn account<'a>(variants: &'a [Vec<String>], rows: &'a [RunRow], planned: usize) -> Account<'a> {
        let seeds = Seeds { start: 0, end: 4 };
        let replay = &|row: &RunRow| format!("sim story.toml --seed {}", row.seed);
        Account { scenario: "story", world: "sim", seeds, shard: Shard::WHOLE, variants, rows, planned, replay }
    }

    #[test]
    fn a_sweep_tells_how_metrics_spread_and_which_runs_are_worst() {
        let rows = [row(0, 0, 1.0, 0.2), row(0, 1, 0.9, 0.3), row(0, 2, 1.0, 0.4), row(0, 3, 1.0, 0.1)];
        insta::assert_snapshot!(account(&[Vec::new()], &rows, 4).render());
    }

    #[test]
    fn a_grid_tells_how_variants_differ_from_the_first() {
        let variants = [vec!["load.rate=5".to_owned()], vec!["load.rate=9".to_owned()]];
        let rows = [
            row(0, 0, 1.0, 0.20),
            row(0, 1, 1.0, 0.30),
            row(0, 2, 0.96, 0.25),
            row(1, 0, 0.96, 0.30),
            row(1, 1, 0.97, 0.41),
            row(1, 2, 0.93, 0.34),
        ];
        insta::assert_snapshot!(account(&variants, &rows, 6).render());
    }

    #[test]
    fn what_was_not_played_does_not_pass() {
        let rows = [row(0, 0, 1.0, 0.2)];
        let plain = [Vec::new()];
        let account = account(&plain, &rows, 4);
        assert!(!account.pass());
        assert!(
            account.render().starts_with("FAIL  story (sim, seeds 0..4): 1 of 1 runs pass; 3 of 4 were not played\n")
        );
    }

    #[test]
    fn nothing_at_all_is_told_without_figures() {
        let plain = [Vec::new()];
        let account = account(&plain, &[], 4);
        assert_eq!(account.render(), "FAIL  story (sim, seeds 0..4): 0 of 0 runs pass; 4 of 4 were not played\n");
    }

    #[test]
    fn programs_are_told_the_same() {
        let rows = [row(0, 0, 1.0, 0.2), row(0, 1, 0.9, 0.3)];
        let overview = serde_json::to_value(account(&[Vec::new()], &rows, 2).overview()).unwrap();
        assert_eq!((&overview["runs"], &overview["passed"]), (&2.into(), &1.into()));
        assert_eq!(overview["worst"][0]["seed"], 1);
        let metrics = overview["variants"][0]["metrics"].as_array().unwrap();
        let of = |metric: Metric| metrics.iter().find(|entry| entry["metric"] == metric.name()).unwrap();
        assert_eq!(of(Metric::SuccessRate)["spread"]["worst"], 0.9);
    }

    #[test]
    fn a_broken_invariant_is_told_with_its_seed_and_its_replay() {
        let broken = Violation {
            invariant: Invariant::DeadlinesHold,
            request: Some(7),
            at_us: 1_500_000,
            what: "it took long".to_owned(),
        };
        let rows = [row(0, 0, 1.0, 1.0), RunRow { broken: Some(broken), ..row(0, 1, 1.0, 1.0) }];
        let variants = [vec![]];
        let account = account(&variants, &rows, 2);
        assert!(account.pass() && account.breaks());
        assert!(account.render().ends_with(
            "  1 of 2 runs break an invariant: a bug of this program, not of the scenario.\n  \
             ✗ seed 1: \"deadlines hold\" is broken at 1.500000 s, request 7: it took long\n    sim story.toml --seed 1\n"
        ));
    }
}
