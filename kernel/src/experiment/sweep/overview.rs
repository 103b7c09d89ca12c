//! The report of a sweep for programs: what `--json` prints.

use serde::Serialize;

use super::{PairedDifference, PairedDifferences, Seeds, Shard, Spread, SweepReport, report::passed};
use crate::{coverage::CoverageTally, measure::metric::Metric};

/// The figures of a [`SweepReport`], to be serialised.
#[derive(Debug, Serialize)]
pub struct SweepOverview {
    scenario: String,
    world: String,
    seeds: Seeds,
    shard: Shard,
    planned: usize,
    runs: usize,
    passed: usize,
    variants: Vec<VariantOverview>,
    worst: Vec<WorstRun>,
    /// Number of runs that are not trusted, which no figure counts.
    untrusted: usize,
    /// Number of runs that were stopped before their end, which no figure counts.
    stopped: usize,
    /// The states that runs reached, with the number of runs, and those that none reached.
    coverage: CoverageTally,
    /// Number of intervals of differences that are read together, for which each of them is corrected.
    comparisons: usize,
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
    /// Difference to the first variant; null for the first variant itself.
    to_first: Option<PairedDifference>,
}

/// One of the worst runs of a sweep.
#[derive(Debug, Serialize)]
pub struct WorstRun {
    /// Index of the run's variant, from 0.
    pub variant: usize,
    /// Seed of the run.
    pub seed: u64,
    /// Expectations that fail, or the figures by which it is one of the worst.
    pub why: String,
    /// The command that repeats the run alone.
    pub replay: String,
}

impl SweepReport<'_> {
    /// Returns the report for programs.
    pub fn overview(&self) -> SweepOverview {
        let paired = self.paired();
        SweepOverview {
            scenario: self.scenario.to_owned(),
            world: self.world.to_owned(),
            seeds: self.seeds,
            shard: self.shard,
            planned: self.planned,
            runs: self.rows.len(),
            passed: passed(self.rows),
            variants: (0..self.variants.len()).map(|variant| self.variant_overview(variant, &paired)).collect(),
            worst: self.worst(),
            untrusted: self.rows.iter().filter(|row| row.untrusted).count(),
            stopped: self.rows.iter().filter(|row| row.stopped.is_some()).count(),
            coverage: self.coverage.clone(),
            comparisons: paired.comparisons(),
        }
    }

    fn variant_overview(&self, variant: usize, paired: &PairedDifferences) -> VariantOverview {
        let rows = self.variant_rows(variant);
        VariantOverview {
            settings: self.variants[variant].clone(),
            runs: rows.len(),
            passed: passed(rows),
            metrics: Metric::ALL
                .into_iter()
                .filter_map(|metric| self.metric_overview(metric, variant, paired))
                .collect(),
        }
    }

    /// Returns the overview of a metric in the runs of a variant; `None` if none of them has the metric.
    fn metric_overview(&self, metric: Metric, variant: usize, paired: &PairedDifferences) -> Option<MetricOverview> {
        let spread = Spread::new(metric, self.variant_rows(variant))?;
        Some(MetricOverview { metric: metric.name(), spread, to_first: paired.get(metric, variant) })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::report::tests::{report, row},
        *,
    };

    #[test]
    fn the_overview_has_the_figures_of_the_report() {
        let rows = [row(0, 0, 1.0, 0.2), row(0, 1, 0.9, 0.3)];
        let overview = serde_json::to_value(report(&[Vec::new()], &rows, 2).overview()).unwrap();
        assert_eq!((&overview["runs"], &overview["passed"]), (&2.into(), &1.into()));
        assert_eq!(overview["worst"][0]["seed"], 1);
        let metrics = overview["variants"][0]["metrics"].as_array().unwrap();
        let success_rate = metrics.iter().find(|entry| entry["metric"] == Metric::SuccessRate.name()).unwrap();
        assert_eq!(success_rate["spread"]["worst"], 0.9);
    }
}
