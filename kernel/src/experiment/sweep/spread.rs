//! The spread of a metric over the runs of a variant.

use serde::Serialize;

use super::RunRow;
use crate::measure::metric::Metric;

/// Statistics of a metric over the runs that have it. Percentiles are nearest rank, so each is a value of some run. All
/// figures are in the unit of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Number of runs that have the metric; at least 1.
    pub runs: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// 5th percentile.
    pub p5: f64,
    /// 50th percentile.
    pub median: f64,
    /// 95th percentile.
    pub p95: f64,
    /// Lowest value of a metric that should be high, highest value of any other.
    pub worst: f64,
    /// Lowest seed whose run has the worst value.
    pub worst_seed: u64,
}

impl Spread {
    /// Computes the spread of `metric` over `rows`; `None` if no run has it.
    pub fn new<'a>(metric: Metric, rows: impl IntoIterator<Item = &'a RunRow>) -> Option<Self> {
        let values = rows.into_iter().filter_map(|row| Some((row.metric(metric)?, row.seed)));
        Self::from_values(metric.higher_is_better(), values.collect())
    }

    /// Computes the spread of `values`, each with its seed; the worst is the lowest if `higher_is_better`. `None` if
    /// there are no values.
    pub fn from_values(higher_is_better: bool, mut values: Vec<(f64, u64)>) -> Option<Self> {
        values.sort_by(|(left, left_seed), (right, right_seed)| left.total_cmp(right).then(left_seed.cmp(right_seed)));
        let lowest = *values.first()?;
        let last = *values.last()?;
        // Equal values are in order of their seeds, so the last one of them has the highest seed instead of the lowest.
        let highest = values.iter().find(|(value, _)| *value == last.0).copied().unwrap_or(last);
        let (worst, worst_seed) = if higher_is_better { lowest } else { highest };
        Some(Self {
            runs: values.len() as u64,
            mean: values.iter().map(|(value, _)| value).sum::<f64>() / values.len() as f64,
            p5: nearest_rank(&values, 5),
            median: nearest_rank(&values, 50),
            p95: nearest_rank(&values, 95),
            worst,
            worst_seed,
        })
    }
}

/// Returns the percentile of `values`, which are ascending and at least one.
fn nearest_rank(values: &[(f64, u64)], percent: usize) -> f64 {
    values[(values.len() * percent).div_ceil(100).max(1) - 1].0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_runs() {
        // 1 to 100, in another order: the 5th, 50th and 95th are themselves.
        let values = (0..100).map(|seed| (((seed * 37) % 100 + 1) as f64, seed)).collect();
        let spread = Spread::from_values(false, values).unwrap();
        assert_eq!((spread.p5, spread.median, spread.p95, spread.mean), (5.0, 50.0, 95.0, 50.5));
    }

    #[test]
    fn the_worst_is_the_lowest_rate_and_the_longest_time() {
        let values = vec![(0.5, 1), (0.9, 2), (0.5, 3), (0.9, 4)];
        let rate = Spread::from_values(true, values.clone()).unwrap();
        assert_eq!((rate.worst, rate.worst_seed), (0.5, 1));
        let time = Spread::from_values(false, values).unwrap();
        assert_eq!((time.worst, time.worst_seed), (0.9, 2));
    }

    #[test]
    fn a_single_run_is_its_own_spread_and_no_runs_have_none() {
        let spread = Spread::from_values(false, vec![(3.0, 8)]).unwrap();
        assert_eq!((spread.runs, spread.p5, spread.median, spread.p95, spread.worst), (1, 3.0, 3.0, 3.0, 3.0));
        assert_eq!(Spread::from_values(false, Vec::new()), None);
    }
}
