//! Paired differences: how much a metric differs between two variants, seed by seed.

use std::collections::BTreeMap;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::RunRow;
use crate::measure::metric::Metric;

/// Confidence level of the intervals.
pub const CONFIDENCE: f64 = 0.95;

/// The differences of every variant to the first one, in every metric.
///
/// The intervals of the metrics that differ between variants are read together, so they are simultaneous: each has a
/// confidence of 1 − 0.05 / n, where n is their number (Bonferroni), and all of them contain their true difference with a
/// probability of at least 95 %.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedDifferences {
    comparisons: usize,
    differences: BTreeMap<(Metric, usize), PairedDifference>,
}

impl PairedDifferences {
    /// Compares each of the other variants with `base`, of which the first is variant 1. The metrics in `differing` are not the
    /// same in all variants.
    pub(super) fn new(differing: &[Metric], base: &[RunRow], others: &[&[RunRow]]) -> Self {
        let mut pairs: BTreeMap<(Metric, usize), Vec<f64>> = BTreeMap::new();
        for metric in Metric::ALL {
            let base: BTreeMap<u64, f64> = values(metric, base).collect();
            for (index, other) in others.iter().enumerate() {
                let of_seeds = values(metric, other).filter_map(|(seed, other)| Some(other - base.get(&seed)?));
                pairs.insert((metric, index + 1), of_seeds.collect());
            }
        }
        let is_read = |metric: &Metric, differences: &[f64]| differing.contains(metric) && differences.len() > 1;
        let comparisons = pairs.iter().filter(|((metric, _), differences)| is_read(metric, differences)).count();
        let found = pairs.into_iter().filter_map(|(key, differences)| {
            Some((key, PairedDifference::from_differences(&differences, comparisons)?))
        });
        Self { comparisons, differences: found.collect() }
    }

    /// Returns the number of intervals that are read together.
    pub fn comparisons(&self) -> usize {
        self.comparisons
    }

    /// Returns the difference of a variant to the first one; `None` for the first one itself, or if no seed has the metric in
    /// both.
    pub fn get(&self, metric: Metric, variant: usize) -> Option<PairedDifference> {
        self.differences.get(&(metric, variant)).copied()
    }
}

/// The mean of the differences `other − base` of a metric over the seeds that have it in both variants, and its
/// confidence interval. Runs of one seed share their arrivals and draws, so much of what differs between seeds cancels.
///
/// The interval is Student's t over the n differences: mean ± t s / √n (Law, *Simulation Modeling and Analysis*, "paired-t
/// confidence interval"). Its t is that of the confidence that [`PairedDifferences`] gives it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PairedDifference {
    /// Number of seeds that have the metric in both variants.
    pub seeds: u64,
    /// Mean difference, in the unit of the metric.
    pub difference: f64,
    /// Half the width of the interval around `difference`; `None` for a single seed, which has no variance.
    pub margin: Option<f64>,
}

impl PairedDifference {
    fn from_differences(differences: &[f64], comparisons: usize) -> Option<Self> {
        let count = differences.len() as f64;
        let mean = differences.iter().sum::<f64>() / count;
        let squares: f64 = differences.iter().map(|difference| (difference - mean).powi(2)).sum();
        let margin = (differences.len() > 1)
            .then(|| student(count - 1.0, comparisons) * (squares / (count - 1.0) / count).sqrt());
        (!differences.is_empty()).then_some(Self { seeds: differences.len() as u64, difference: mean, margin })
    }

    /// Returns true if the interval excludes 0.
    pub fn is_significant(&self) -> bool {
        self.margin.is_some_and(|margin| self.difference.abs() > margin)
    }
}

/// Returns the seed and the metric's value of every row that has the metric.
fn values(metric: Metric, rows: &[RunRow]) -> impl Iterator<Item = (u64, f64)> {
    rows.iter().filter_map(move |row| Some((row.seed, row.metric(metric)?)))
}

/// Returns the quantile of Student's t that has half of 1 − [`CONFIDENCE`], divided by `comparisons`, above it.
fn student(degrees_of_freedom: f64, comparisons: usize) -> f64 {
    let distribution = StudentsT::new(0.0, 1.0, degrees_of_freedom).expect("there is at least one degree of freedom");
    distribution.inverse_cdf(1.0 - (1.0 - CONFIDENCE) / comparisons.max(1) as f64 / 2.0)
}

#[cfg(test)]
mod tests {
    use super::{super::report::tests::row, *};

    /// The expected quantiles are those of the table in any textbook.
    #[test]
    fn quantiles_match_the_published_table() {
        for (degrees, quantile) in
            [(1.0, 12.706), (2.0, 4.303), (4.0, 2.776), (9.0, 2.262), (19.0, 2.093), (99.0, 1.984), (999.0, 1.962)]
        {
            assert!((student(degrees, 1) - quantile).abs() < 5e-4, "{degrees}: {}", student(degrees, 1));
        }
    }

    #[test]
    fn the_interval_follows_from_the_variance_of_the_differences() {
        // Mean 3, variance 2.5, so 2.776 * sqrt(2.5 / 5) = 1.963.
        let paired = PairedDifference::from_differences(&[1.0, 2.0, 3.0, 4.0, 5.0], 1).unwrap();
        assert_eq!((paired.seeds, paired.difference), (5, 3.0));
        assert!((paired.margin.unwrap() - 1.963).abs() < 1e-3);
        assert!(paired.is_significant());
    }

    #[test]
    fn equal_differences_are_significant_and_a_single_one_is_not() {
        let equal = PairedDifference::from_differences(&[2.0; 4], 1).unwrap();
        assert_eq!((equal.difference, equal.margin, equal.is_significant()), (2.0, Some(0.0), true));
        let none = PairedDifference::from_differences(&[0.0; 4], 1).unwrap();
        assert!(!none.is_significant());
        let single = PairedDifference::from_differences(&[2.0], 1).unwrap();
        assert_eq!((single.margin, single.is_significant()), (None, false));
        assert_eq!(PairedDifference::from_differences(&[], 1), None);
    }

    /// The expected quantile is that of 99 % in any textbook: five comparisons share the 5 %.
    #[test]
    fn the_interval_of_one_of_many_is_wider() {
        assert!((student(9.0, 5) - 3.250).abs() < 1e-3);
    }

    #[test]
    fn all_intervals_of_a_grid_share_the_chance_of_an_error() {
        let rows =
            |variant, rate: f64, p99: f64| [0, 1, 2].map(|seed| row(variant, seed, rate - 0.01 * seed as f64, p99));
        let base = rows(0, 1.0, 0.2);
        let [first, second] = [rows(1, 0.9, 0.3), rows(2, 0.8, 0.4)];
        let metrics = [Metric::SuccessRate, Metric::LatencyP99];
        let all = PairedDifferences::new(&metrics, &base, &[&first, &second[..1]]);
        // The second variant has a single seed, so its differences have no interval.
        assert_eq!(all.comparisons(), 2);
        assert_eq!(all.get(Metric::SuccessRate, 0), None);
        assert_eq!(all.get(Metric::LatencyP99, 2).and_then(|paired| paired.margin), None);
        let varied = [row(1, 0, 0.9, 0.3), row(1, 1, 0.88, 0.3), row(1, 2, 0.9, 0.3)];
        let alone = PairedDifferences::new(&metrics[..1], &base, &[&varied]);
        let many = PairedDifferences::new(&metrics[..1], &base, &[varied.as_slice(); 5]);
        let margin = |found: &PairedDifferences| found.get(Metric::SuccessRate, 1).and_then(|paired| paired.margin);
        assert_eq!((alone.comparisons(), many.comparisons()), (1, 5));
        let ratio = margin(&many).unwrap() / margin(&alone).unwrap();
        assert!((ratio - student(2.0, 5) / student(2.0, 1)).abs() < 1e-9, "{ratio}");
    }
}
