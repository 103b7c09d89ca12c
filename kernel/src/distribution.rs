//! Measured distributions of durations.

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::entropy::unit;

/// A distribution of durations, given by its quantiles: `[[0.0, 40.0], [0.5, 52.0], [1.0, 300.0]]`, in microseconds.
///
/// Between two quantiles it is linear, because nothing else is known there. A single point is a constant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(f64, f64)>", into = "Vec<(f64, f64)>")]
pub struct Distribution {
    /// Pairs (probability, microseconds), both ascending. The first probability is 0 and the last is 1, or there is one pair.
    quantiles: Vec<(f64, f64)>,
}

/// The most pairs of a distribution, which are searched for every draw.
const QUANTILES_MAX: usize = 10_000;

/// The longest duration, a day, in microseconds.
const MICROS_MAX: f64 = 24.0 * 60.0 * 60.0 * 1e6;

/// The error of a list of quantiles that is no distribution.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidDistribution {
    /// The list is empty.
    #[error("a distribution needs at least one [probability, microseconds] pair")]
    Empty,
    /// The list has several points, but they do not range from 0 to 1.
    #[error("the probabilities of a distribution run from 0.0 to 1.0, not from {0} to {1}")]
    Incomplete(f64, f64),
    /// A probability or a value is below the one before it, negative or not finite.
    #[error("quantile {0} of a distribution is below the one before it, negative or not a number")]
    Descending(usize),
    /// It has more pairs than are searched.
    #[error("a distribution has up to {QUANTILES_MAX} pairs, and this one {0}")]
    TooMany(usize),
    /// It has a duration that no part of a run takes, in microseconds.
    #[error("a distribution goes up to a day, which is {MICROS_MAX:e} microseconds, and this one to {0:e}")]
    TooLong(f64),
}

impl Distribution {
    /// Creates the distribution whose only value is `value`.
    pub fn constant(value: Duration) -> Self {
        Self { quantiles: vec![(0.0, value.as_secs_f64() * 1e6)] }
    }

    /// Creates a distribution from pairs (probability, microseconds).
    ///
    /// # Errors
    ///
    /// Returns [`InvalidDistribution`] if the pairs do not ascend or do not range from probability 0 to 1.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kernel::distribution::Distribution;
    ///
    /// let service_time = Distribution::new(vec![(0.0, 40.0), (0.5, 50.0), (1.0, 300.0)])?;
    /// assert_eq!(service_time.quantile(0.5), Duration::from_micros(50));
    /// assert_eq!(service_time.scaled(2.0).quantile(0.25), Duration::from_micros(90));
    /// # Ok::<(), kernel::distribution::InvalidDistribution>(())
    /// ```
    pub fn new(quantiles: Vec<(f64, f64)>) -> Result<Self, InvalidDistribution> {
        let (Some(first), Some(last)) = (quantiles.first(), quantiles.last()) else {
            return Err(InvalidDistribution::Empty);
        };
        if quantiles.len() > 1 && (first.0 != 0.0 || last.0 != 1.0) {
            return Err(InvalidDistribution::Incomplete(first.0, last.0));
        }
        if quantiles.len() > QUANTILES_MAX {
            return Err(InvalidDistribution::TooMany(quantiles.len()));
        }
        if last.1 > MICROS_MAX {
            return Err(InvalidDistribution::TooLong(last.1));
        }
        let mut before = (0.0, 0.0);
        for (position, quantile) in quantiles.iter().enumerate() {
            let ascends = quantile.0 >= before.0 && quantile.1 >= before.1 && quantile.1.is_finite();
            if !ascends {
                return Err(InvalidDistribution::Descending(position));
            }
            before = *quantile;
        }
        Ok(Self { quantiles })
    }

    /// Returns the value at `probability`, from 0 to 1.
    pub fn quantile(&self, probability: f64) -> Duration {
        micros(self.micros_at(probability))
    }

    /// Returns the mean of its values.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kernel::distribution::Distribution;
    ///
    /// let service_time = Distribution::new(vec![(0.0, 40.0), (0.5, 60.0), (1.0, 300.0)])?;
    /// assert_eq!(service_time.mean(), Duration::from_micros(25 + 90));
    /// # Ok::<(), kernel::distribution::InvalidDistribution>(())
    /// ```
    pub fn mean(&self) -> Duration {
        if let [only] = self.quantiles[..] {
            return micros(only.1);
        }
        let parts = self.quantiles.windows(2).map(|ends| (ends[1].0 - ends[0].0) * (ends[0].1 + ends[1].1) / 2.0);
        micros(parts.sum())
    }

    /// Draws a value.
    pub fn sample(&self, rng: &mut impl Rng) -> Duration {
        self.quantile(unit(rng))
    }

    /// Returns the distribution whose quantiles are at `share` of the way from this one's to those of `other`.
    pub fn interpolate(&self, other: &Self, share: f64) -> Self {
        let mut probabilities: Vec<f64> = self.quantiles.iter().chain(&other.quantiles).map(|point| point.0).collect();
        probabilities.sort_by(f64::total_cmp);
        probabilities.dedup();
        let quantiles = probabilities
            .into_iter()
            .map(|p| (p, (1.0 - share) * self.micros_at(p) + share * other.micros_at(p)))
            .collect();
        Self { quantiles }
    }

    /// Returns this distribution with every value multiplied by `factor`, which is at least 0.
    pub fn scaled(&self, factor: f64) -> Self {
        Self { quantiles: self.quantiles.iter().map(|(p, value)| (*p, value * factor)).collect() }
    }

    /// Returns the value at `probability`, in microseconds.
    fn micros_at(&self, probability: f64) -> f64 {
        let above = self.quantiles.partition_point(|(p, _)| *p <= probability);
        let low = self.quantiles[above.saturating_sub(1)];
        let Some(high) = self.quantiles.get(above) else { return low.1 };
        low.1 + (high.1 - low.1) * (probability - low.0) / (high.0 - low.0)
    }
}

impl TryFrom<Vec<(f64, f64)>> for Distribution {
    type Error = InvalidDistribution;

    fn try_from(quantiles: Vec<(f64, f64)>) -> Result<Self, Self::Error> {
        Self::new(quantiles)
    }
}

impl From<Distribution> for Vec<(f64, f64)> {
    fn from(distribution: Distribution) -> Self {
        distribution.quantiles
    }
}

fn micros(value: f64) -> Duration {
    Duration::from_nanos((value * 1e3).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    fn table(points: &[(f64, f64)]) -> Distribution {
        Distribution::new(points.to_vec()).unwrap()
    }

    #[test]
    fn quantiles_are_linear_between_points() {
        let distribution = table(&[(0.0, 10.0), (0.5, 20.0), (1.0, 100.0)]);
        for (probability, micros) in [(0.0, 10), (0.25, 15), (0.5, 20), (0.75, 60), (1.0, 100)] {
            assert_eq!(distribution.quantile(probability), Duration::from_micros(micros));
        }
    }

    #[test]
    fn the_mean_is_that_of_many_draws() {
        let distribution = table(&[(0.0, 10.0), (0.9, 20.0), (1.0, 1_000.0)]);
        let mut rng = Entropy::new(1).stream("draws");
        let drawn: Duration = (0..100_000).map(|_| distribution.sample(&mut rng)).sum();
        let mean = drawn.as_secs_f64() / 100_000.0;
        assert!((distribution.mean().as_secs_f64() / mean - 1.0).abs() < 0.02, "{mean}");
        assert_eq!(distribution.mean(), Duration::from_nanos(64_500));
    }

    #[test]
    fn a_single_point_is_a_constant() {
        let constant = Distribution::constant(Duration::from_micros(920));
        assert_eq!(constant.mean(), Duration::from_micros(920));
        let mut rng = Entropy::new(1).stream("draws");
        assert!((0..100).all(|_| constant.sample(&mut rng) == Duration::from_micros(920)));
    }

    #[test]
    fn draws_have_the_median_of_the_table() {
        let distribution = table(&[(0.0, 10.0), (0.5, 20.0), (1.0, 100.0)]);
        let mut rng = Entropy::new(1).stream("draws");
        let below = (0..10_000).filter(|_| distribution.sample(&mut rng) < Duration::from_micros(20)).count();
        assert!((4_800..5_200).contains(&below), "{below} of 10000 draws below the median");
    }

    #[test]
    fn halfway_between_two_distributions_is_halfway_at_every_quantile() {
        let fast = table(&[(0.0, 10.0), (1.0, 30.0)]);
        let slow = table(&[(0.0, 20.0), (0.5, 40.0), (1.0, 100.0)]);
        let between = fast.interpolate(&slow, 0.5);
        assert_eq!(between.quantile(0.5), Duration::from_micros(30));
        assert_eq!(between.quantile(1.0), Duration::from_micros(65));
    }

    #[test]
    fn an_invalid_table_is_rejected() {
        assert_eq!(Distribution::new(vec![]), Err(InvalidDistribution::Empty));
        assert_eq!(Distribution::new(vec![(0.1, 1.0), (1.0, 2.0)]), Err(InvalidDistribution::Incomplete(0.1, 1.0)));
        assert_eq!(Distribution::new(vec![(0.0, 2.0), (1.0, 1.0)]), Err(InvalidDistribution::Descending(1)));
        assert_eq!(Distribution::new(vec![(0.0, f64::NAN)]), Err(InvalidDistribution::Descending(0)));
    }
}
