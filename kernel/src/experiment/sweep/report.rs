//! The report of a sweep: what it prints when it ends.

use std::{cmp::Reverse, fmt::Write};

use super::{PairedDifferences, RunRow, Seeds, Shard, Spread, overview::WorstRun};
use crate::{
    coverage::CoverageTally,
    measure::metric::Metric,
    measure::{
        CheckedExpectation, Verdict,
        text::{MISSING, actual, expectation, quantity::quantity, table::TextTable, wanted},
    },
};

/// Number of runs that are shown as the worst.
const WORST_MAX: usize = 3;

/// The rows of a sweep, and which runs they are of.
pub struct SweepReport<'a> {
    /// Name of the scenario.
    pub scenario: &'a str,
    /// World of the runs, `sim` or `real`.
    pub world: &'a str,
    /// Seeds of the whole sweep, all shards together.
    pub seeds: Seeds,
    /// Shard that the rows are of.
    pub shard: Shard,
    /// Settings of every variant, each a `key=value`; one variant at least.
    pub variants: &'a [Vec<String>],
    /// Rows in order of variant, then seed.
    pub rows: &'a [RunRow],
    /// Number of rows of a complete sweep.
    pub planned: usize,
    /// The states that the runs reached.
    pub coverage: CoverageTally,
    /// Returns the command that repeats a run alone.
    pub replay: &'a dyn Fn(&RunRow) -> String,
}

impl SweepReport<'_> {
    /// Returns the report for people. Ends with a line break.
    pub fn render(&self) -> String {
        let mut paragraphs = vec![self.verdict_line()];
        if self.variants.len() > 1 {
            paragraphs.extend([filled(&self.settings()), filled(&self.differences()), self.remarks()]);
        } else {
            paragraphs.extend([filled(&self.expectations()), filled(&self.spreads())]);
        }
        paragraphs.push(self.coverage.text());
        paragraphs.push(self.worst_runs());
        paragraphs.push(self.violations());
        paragraphs.push(self.untrusted());
        paragraphs.push(self.stopped());
        paragraphs.retain(|text| !text.is_empty());
        paragraphs.join("\n")
    }

    /// Returns true if the sweep is complete and every run passes.
    pub fn pass(&self) -> bool {
        self.rows.len() == self.planned && self.rows.iter().all(RunRow::passes)
    }

    /// Returns the verdict over all runs. A run that was stopped or cannot be trusted makes that the verdict on the result as a
    /// whole, as its figures are missing from it.
    pub fn verdict(&self) -> Verdict {
        if self.breaks_invariant() {
            Verdict::Broken
        } else if self.rows.iter().any(|row| row.stopped.is_some()) {
            Verdict::Interrupted
        } else if self.rows.iter().any(|row| row.untrusted) {
            Verdict::Untrusted
        } else if !self.pass() {
            Verdict::Fail
        } else if self.rows.iter().all(|row| row.expectations.is_empty()) {
            Verdict::NoExpectations
        } else {
            Verdict::Pass
        }
    }

    /// Returns true if a run violates an invariant, which is a bug of Rehearsal.
    pub fn breaks_invariant(&self) -> bool {
        self.rows.iter().any(|row| row.broken.is_some())
    }

    /// Returns the first runs that violate an invariant; empty if there are none.
    fn violations(&self) -> String {
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

    /// Returns the runs that are not trusted; empty if there are none.
    fn untrusted(&self) -> String {
        let untrusted: Vec<&RunRow> = self.rows.iter().filter(|row| row.untrusted).collect();
        let Some(first) = untrusted.first() else { return String::new() };
        format!(
            "  untrusted: {} of {} runs, which no figure above counts, as a fault or a send was later than [run]\n  \
             max_lateness allows; the first is seed {}\n    {}\n",
            untrusted.len(),
            self.rows.len(),
            first.seed,
            (self.replay)(first)
        )
    }

    /// Returns the runs that were stopped before their end; empty if there are none.
    fn stopped(&self) -> String {
        let stopped = || self.rows.iter().filter_map(|row| Some((row, row.stopped.as_ref()?)));
        if stopped().next().is_none() {
            return String::new();
        }
        let count = stopped().count();
        let mut text =
            format!("  stopped before their end: {count} of {} runs, which no figure above counts\n", self.rows.len());
        for (row, reason) in stopped().take(WORST_MAX) {
            text += &format!("  ✗ {reason}\n    {}\n", (self.replay)(row));
        }
        text
    }

    /// Returns the verdict over all runs, in a line.
    pub fn verdict_line(&self) -> String {
        let verdict = self.verdict().word();
        let passed = passed(self.rows);
        let played = self.rows.len();
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

    /// Returns the rows of a variant.
    pub fn variant_rows(&self, variant: usize) -> &[RunRow] {
        let start = self.rows.partition_point(|row| row.variant < variant);
        let end = self.rows.partition_point(|row| row.variant <= variant);
        &self.rows[start..end]
    }

    /// Remarks on a comparison of variants, a line for each: the metrics that are the same in all of them, what the
    /// mark in the table means, and how the intervals are corrected.
    pub fn remarks(&self) -> String {
        let same: Vec<_> = Metric::ALL
            .into_iter()
            .filter(|&metric| !self.differs(metric))
            .filter_map(|metric| Some((metric, Spread::new(metric, self.variant_rows(0))?)))
            .map(|(metric, spread)| format!("{} {}", metric.name(), quantity(Some(metric), spread.mean)))
            .collect();
        let mut text = String::new();
        if !same.is_empty() {
            let _ = writeln!(text, "  the same with every seed in all variants, on average: {}", same.join(", "));
        }
        // An interrupted sweep may have no rows that anything is compared with, and variants may not differ at all.
        let comparisons = self.paired().comparisons();
        if comparisons > 0 {
            text += "  * the interval excludes 0; seeds are compared with themselves, by Student's t\n";
            let _ = writeln!(
                text,
                "  all intervals hold together with 95 % confidence: corrected for {comparisons} comparisons (Bonferroni)"
            );
        }
        text
    }

    /// Returns the metrics that differ between variants for at least one seed.
    pub fn differing(&self) -> Vec<Metric> {
        Metric::ALL.into_iter().filter(|&metric| self.differs(metric)).collect()
    }

    fn differs(&self, metric: Metric) -> bool {
        let first = self.values(metric, 0);
        (1..self.variants.len()).any(|variant| self.values(metric, variant) != first)
    }

    fn values(&self, metric: Metric, variant: usize) -> Vec<(u64, Option<f64>)> {
        self.variant_rows(variant).iter().map(|row| (row.seed, row.metric(metric))).collect()
    }

    /// Returns how much every variant differs from the first one.
    pub fn paired(&self) -> PairedDifferences {
        let others: Vec<&[RunRow]> = (1..self.variants.len()).map(|variant| self.variant_rows(variant)).collect();
        PairedDifferences::new(&self.differing(), self.variant_rows(0), &others)
    }

    fn worst_runs(&self) -> String {
        let mut text = String::new();
        for WorstRun { variant, seed, why, replay } in self.worst() {
            let variant = if self.variants.len() > 1 { format!("variant {variant}, ") } else { String::new() };
            let _ = write!(text, "  {variant}seed {seed}: {why}\n    {replay}\n");
        }
        if text.is_empty() { text } else { format!("  worst runs\n{text}") }
    }

    /// Returns the three worst runs, by failed expectations, then success rate, then p99.
    pub fn worst(&self) -> Vec<WorstRun> {
        let mut rows: Vec<&RunRow> = self.rows.iter().filter(|row| row.counts()).collect();
        rows.sort_by_cached_key(|row| badness(row));
        rows.truncate(WORST_MAX);
        rows.into_iter().map(|row| self.worst_run(row)).collect()
    }

    fn worst_run(&self, row: &RunRow) -> WorstRun {
        let mut reasons: Vec<String> = row.expectations.iter().filter(|checked| !checked.pass).map(failure).collect();
        if reasons.is_empty() {
            reasons = [Metric::SuccessRate, Metric::LatencyP99].map(|metric| figure(row, metric)).into();
        }
        WorstRun { variant: row.variant, seed: row.seed, why: reasons.join("; "), replay: (self.replay)(row) }
    }
}

/// Returns the key that sorts the worst run first. Rates and times are not negative, so they are in the order of their bits.
fn badness(row: &RunRow) -> (Reverse<usize>, u64, Reverse<u64>, (usize, u64)) {
    let failed = row.expectations.iter().filter(|checked| !checked.pass).count();
    // A run without a figure had no requests, which is better than any that had.
    let success_rate = row.overall.success_rate.map_or(u64::MAX, f64::to_bits);
    let latency_p99 = row.overall.latency_p99.map_or(0, f64::to_bits);
    (Reverse(failed), success_rate, Reverse(latency_p99), row.key())
}

/// Returns the text of an expectation that fails.
fn failure(checked: &CheckedExpectation) -> String {
    match &checked.text {
        Some(text) => format!("{} ({text})", expectation(checked)),
        None => format!("{} {}, not {}", expectation(checked), actual(checked), wanted(checked)),
    }
}

/// Returns the name of `metric` and its value in the run of `row`.
fn figure(row: &RunRow, metric: Metric) -> String {
    let value = row.overall.get(metric).map(|value| quantity(Some(metric), value));
    format!("{} {}", metric.name(), value.as_deref().unwrap_or(MISSING))
}

/// Returns the table as text; nothing, not even its heading, if it has no rows.
fn filled(table: &TextTable) -> String {
    if table.rows().is_empty() { String::new() } else { table.render() }
}

/// Returns the number of `rows` whose runs pass.
pub(super) fn passed(rows: &[RunRow]) -> usize {
    rows.iter().filter(|row| row.passes()).count()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        invariant::{Invariant, Violation},
        measure::Metrics,
    };

    pub(in super::super) fn row(variant: usize, seed: u64, success_rate: f64, p99: f64) -> RunRow {
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
            untrusted: false,
            stopped: None,
            reached: None,
            alerts: None,
        }
    }

    pub(in super::super) fn report<'a>(
        variants: &'a [Vec<String>],
        rows: &'a [RunRow],
        planned: usize,
    ) -> SweepReport<'a> {
        let seeds = Seeds { start: 0, end: 4 };
        SweepReport {
            scenario: "story",
            world: "sim",
            seeds,
            shard: Shard::WHOLE,
            variants,
            rows,
            planned,
            coverage: CoverageTally::default(),
            replay: &|row| format!("sim story.toml --seed {}", row.seed),
        }
    }

    #[test]
    fn a_sweep_reports_the_spread_of_each_metric_and_the_worst_runs() {
        let rows = [row(0, 0, 1.0, 0.2), row(0, 1, 0.9, 0.3), row(0, 2, 1.0, 0.4), row(0, 3, 1.0, 0.1)];
        insta::assert_snapshot!(report(&[Vec::new()], &rows, 4).render());
    }

    #[test]
    fn a_grid_reports_how_each_variant_differs_from_the_first() {
        let variants = [vec!["load.rate=5".to_owned()], vec!["load.rate=9".to_owned()]];
        let rows = [
            row(0, 0, 1.0, 0.20),
            row(0, 1, 1.0, 0.30),
            row(0, 2, 0.96, 0.25),
            row(1, 0, 0.96, 0.30),
            row(1, 1, 0.97, 0.41),
            row(1, 2, 0.93, 0.34),
        ];
        insta::assert_snapshot!(report(&variants, &rows, 6).render());
    }

    #[test]
    fn an_incomplete_sweep_fails() {
        let rows = [row(0, 0, 1.0, 0.2)];
        let plain = [Vec::new()];
        let report = report(&plain, &rows, 4);
        assert!(!report.pass());
        assert!(
            report.render().starts_with("FAIL  story (sim, seeds 0..4): 1 of 1 runs pass; 3 of 4 were not played\n")
        );
    }

    #[test]
    fn a_sweep_without_rows_is_reported_without_figures() {
        let plain = [Vec::new()];
        let report = report(&plain, &[], 4);
        assert_eq!(report.render(), "FAIL  story (sim, seeds 0..4): 0 of 0 runs pass; 4 of 4 were not played\n");
    }

    #[test]
    fn a_run_that_was_stopped_is_counted_and_is_in_no_figure() {
        let why = "the run with seed 1 was stopped at 2s: it took too long".to_owned();
        let stopped = RunRow { stopped: Some(why), ..row(0, 1, 0.2, 9.0) };
        let rows = [row(0, 0, 1.0, 0.2), stopped, row(0, 2, 1.0, 0.4)];
        let plain = [Vec::new()];
        let report = report(&plain, &rows, 3);
        assert_eq!((report.verdict(), report.pass()), (Verdict::Interrupted, false));
        let text = report.render();
        assert!(text.starts_with("INTERRUPTED  story (sim, seeds 0..4): 2 of 3 runs pass\n"), "{text}");
        assert!(text.contains("held in") && text.contains("2 of 2") && !text.contains("9.0"), "{text}");
        assert!(text.contains(
            "  stopped before their end: 1 of 3 runs, which no figure above counts\n  ✗ the run with seed 1"
        ));
    }

    #[test]
    fn an_untrusted_run_is_counted_and_is_in_no_figure() {
        let untrusted = RunRow { untrusted: true, ..row(0, 1, 0.2, 9.0) };
        let rows = [row(0, 0, 1.0, 0.2), untrusted, row(0, 2, 1.0, 0.4)];
        let plain = [Vec::new()];
        let report = report(&plain, &rows, 3);
        assert_eq!((report.verdict(), report.pass()), (Verdict::Untrusted, false));
        insta::assert_snapshot!(report.render());
    }

    #[test]
    fn a_violated_invariant_is_reported_with_its_seed_and_its_replay() {
        let broken = Violation {
            invariant: Invariant::DeadlinesHold,
            request: Some(7),
            at_us: 1_500_000,
            what: "it took long".to_owned(),
        };
        let rows = [row(0, 0, 1.0, 1.0), RunRow { broken: Some(broken), ..row(0, 1, 1.0, 1.0) }];
        let variants = [vec![]];
        let report = report(&variants, &rows, 2);
        assert!(report.pass() && report.verdict() == Verdict::Broken);
        assert!(report.render().ends_with(
            "  1 of 2 runs break an invariant: a bug of this program, not of the scenario.\n  \
             ✗ seed 1: \"deadlines hold\" is broken at 1.500000 s, request 7: it took long\n    sim story.toml --seed 1\n"
        ));
    }
}
