//! How a metric spreads over runs.

use serde::Serialize;

use super::RunRow;
use crate::scenario::Metric;

/// A metric over the runs that have it. Percentiles are nearest rank, so each is a value that a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Runs that have the metric.
    pub runs: u64,
    pub mean: f64,
    pub p5: f64,
    pub median: f64,
    pub p95: f64,
    /// The lowest or the highest, whichever is worse of this metric.
    pub worst: f64,
    /// The first seed that came to it.
    pub worst_seed: u64,
}

impl Spread {
    /// Of `metric` over `rows`; `None` if no run has it.
    pub fn of<'a>(metric: Metric, rows: impl IntoIterator<Item = &'a RunRow>) -> Option<Self> {
        let values = rows.into_iter().filter_map(|row| Some((row.overall.get(metric)?, row.seed)));
        Self::of_values(metric.higher_is_better(), values.collect())
    }

    /// Of values and the seeds that came to them; the worst is the lowest if `higher_is_better`.
    pub fn of_values(higher_is_better: bool, mut values: Vec<(f64, u64)>) -> Option<Self> {
        values.sort_by(|(left, left_seed), (right, right_seed)| left.total_cmp(right).then(left_seed.cmp(right_seed)));
        let (&lowest, &highest) = (values.first()?, values.last()?);
        let highest = values.iter().find(|(value, _)| *value == highest.0).copied().unwrap_or(highest);
        let (worst, worst_seed) = if higher_is_better { lowest } else { highest };
        let rank = |percent: usize| values[(values.len() * percent).div_ceil(100).max(1) - 1].0;
        Some(Self {
            runs: values.len() as u64,
            mean: values.iter().map(|(value, _)| value).sum::<f64>() / values.len() as f64,
            p5: rank(5),
            median: rank(50),
            p95: rank(95),
            worst,
            worst_seed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        // 1 to 100, in another order: the 5th, 50th and 95th are themselves.
        let values = (0..100).map(|seed| (((seed * 37) % 100 + 1) as f64, seed)).collect();
        let spread = Spread::of_values(false, values).unwrap();
        assert_eq!((spread.p5, spread.median, spread.p95, spread.mean), (5.0, 50.0, 95.0, 50.5));
    }

    #[test]
    fn the_worst_is_the_lowest_rate_and_the_longest_time() {
        let values = || vec![(0.5, 1), (0.9, 2), (0.5, 3), (0.9, 4)];
        let rate = Spread::of_values(true, values()).unwrap();
        assert_eq!((rate.worst, rate.worst_seed), (0.5, 1));
        let time = Spread::of_values(false, values()).unwrap();
        assert_eq!((time.worst, time.worst_seed), (0.9, 2));
    }

    #[test]
    fn one_run_is_all_of_it_and_none_is_nothing() {
        let spread = Spread::of_values(false, vec![(3.0, 8)]).unwrap();
        assert_eq!((spread.runs, spread.p5, spread.median, spread.p95, spread.worst), (1, 3.0, 3.0, 3.0, 3.0));
        assert_eq!(Spread::of_values(false, Vec::new()), None);
    }
}
