//! Paired differences: how much a metric differs between two variants, seed by seed.

use std::collections::BTreeMap;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::RunRow;
use crate::measure::metric::Metric;

/// Confidence level of the intervals.
pub const CONFIDENCE: f64 = 0.95;

/// The mean of the differences `other − base` of a metric over the seeds that have it in both variants, and its
/// confidence interval. Runs of one seed share their arrivals and draws, so much of what differs between seeds cancels.
///
/// The interval is Student's t over the n differences: mean ± t(0.975, n − 1) s / √n (Law, *Simulation Modeling and
/// Analysis*, "paired-t confidence interval").
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
    /// Compares `metric` between the rows of two variants; `None` if no seed has it in both.
    pub fn between<'a>(
        metric: Metric,
        base: impl IntoIterator<Item = &'a RunRow>,
        other: impl IntoIterator<Item = &'a RunRow>,
    ) -> Option<Self> {
        Self::one_of_many(metric, base, other, 1)
    }

    /// Compares `metric` like [`between`](Self::between), as one of `comparisons` (at least 1) that are read together: the
    /// interval has a confidence of 1 − 0.05 / `comparisons` (Bonferroni), so that all intervals contain their true
    /// difference with a probability of at least 95 %.
    pub fn one_of_many<'a>(
        metric: Metric,
        base: impl IntoIterator<Item = &'a RunRow>,
        other: impl IntoIterator<Item = &'a RunRow>,
        comparisons: usize,
    ) -> Option<Self> {
        let base: BTreeMap<u64, f64> = values(metric, base).collect();
        let pairs = values(metric, other).filter_map(|(seed, other)| Some(other - base.get(&seed)?));
        Self::from_differences(&pairs.collect::<Vec<_>>(), comparisons)
    }

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
fn values<'a>(metric: Metric, rows: impl IntoIterator<Item = &'a RunRow>) -> impl Iterator<Item = (u64, f64)> {
    rows.into_iter().filter_map(move |row| Some((row.seed, row.metric(metric)?)))
}

/// Returns the quantile of Student's t that has half of 1 − [`CONFIDENCE`], divided by `comparisons`, above it.
fn student(degrees_of_freedom: f64, comparisons: usize) -> f64 {
    let distribution = StudentsT::new(0.0, 1.0, degrees_of_freedom).expect("there is at least one degree of freedom");
    distribution.inverse_cdf(1.0 - (1.0 - CONFIDENCE) / comparisons.max(1) as f64 / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
