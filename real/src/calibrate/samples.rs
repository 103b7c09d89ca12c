//! Many samples of one time.

/// The probabilities at which a distribution is written to a calibration.
const GRID: [f64; 11] = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0];

/// Samples in microseconds, by round. A median that differs between rounds is not a property of the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Samples {
    rounds: Vec<Vec<f64>>,
}

impl Samples {
    /// The samples of a single round.
    pub(super) fn from_round(round: Vec<f64>) -> Self {
        Self { rounds: vec![round] }
    }

    /// Adds the samples of another round.
    pub(super) fn add_round(&mut self, round: Vec<f64>) {
        self.rounds.push(round);
    }

    /// Adds the samples of another quantity, round by round.
    pub(super) fn join(&mut self, other: &Self) {
        self.rounds.resize(self.rounds.len().max(other.rounds.len()), Vec::new());
        for (round, more) in self.rounds.iter_mut().zip(&other.rounds) {
            round.extend(more);
        }
    }

    /// The sums of the samples of both quantities, pair by pair: the same request is at the same place in both.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let rounds = self.rounds.iter().zip(&other.rounds);
        Self { rounds: rounds.map(|(one, other)| one.iter().zip(other).map(|(a, b)| a + b).collect()).collect() }
    }

    /// The samples with `change` applied to each.
    pub(super) fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self { rounds: self.rounds.iter().map(|round| round.iter().map(|us| change(*us)).collect()).collect() }
    }

    /// Number of samples.
    pub(super) fn count(&self) -> usize {
        self.rounds.iter().map(Vec::len).sum()
    }

    /// Number of rounds.
    pub(super) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// The quantile at `probability`, linear between samples; `None` without samples.
    pub(super) fn quantile(&self, probability: f64) -> Option<f64> {
        quantile(&self.sorted(), probability)
    }

    /// The distribution as (probability, microseconds) pairs, rounded to 0.1 µs; empty without samples.
    pub(super) fn distribution(&self) -> Vec<(f64, f64)> {
        let sorted = self.sorted();
        let points = GRID.into_iter().filter_map(|probability| Some((probability, quantile(&sorted, probability)?)));
        points.map(|(probability, us)| (probability, (us * 10.0).round() / 10.0)).collect()
    }

    /// The difference between the largest and the smallest median of a round, as a share of the overall median; 0 with a
    /// single round.
    pub(super) fn noise(&self) -> f64 {
        let medians = self.rounds.iter().filter_map(|round| Self::from_round(round.clone()).quantile(0.5));
        let (low, high) =
            medians.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        match self.quantile(0.5) {
            Some(median) if median > 0.0 => (high - low).max(0.0) / median,
            _ => 0.0,
        }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut all = self.rounds.concat();
        all.sort_by(f64::total_cmp);
        all
    }
}

/// Returns quantiles as a calibration has them: a list of pairs (probability, microseconds).
pub(super) fn written(quantiles: &[(f64, f64)]) -> String {
    let pairs: Vec<_> = quantiles.iter().map(|(probability, us)| format!("[{probability:?}, {us:?}]")).collect();
    format!("[{}]", pairs.join(", "))
}

pub(super) fn quantile(sorted: &[f64], probability: f64) -> Option<f64> {
    let place = probability * (sorted.len().checked_sub(1)?) as f64;
    let below = place.floor() as usize;
    let above = sorted[(below + 1).min(sorted.len() - 1)];
    Some(sorted[below] + (above - sorted[below]) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::distribution::Distribution;

    #[test]
    fn quantiles_are_linear_between_samples() {
        let samples = Samples::from_round(vec![40.0, 10.0, 20.0, 30.0, 50.0]);
        assert_eq!([0.0, 0.1, 0.5, 0.95, 1.0].map(|p| samples.quantile(p).unwrap()), [10.0, 14.0, 30.0, 48.0, 50.0]);
        assert_eq!(Samples::default().quantile(0.5), None);
    }

    #[test]
    fn noise_is_the_difference_of_the_medians_of_rounds() {
        let mut samples = Samples::from_round(vec![9.0, 10.0, 11.0]);
        assert_eq!(samples.noise(), 0.0);
        // The medians are 10 and 14; the overall one is 12.
        samples.add_round(vec![13.0, 14.0, 15.0]);
        assert_eq!(samples.noise(), 4.0 / 12.0);
        assert_eq!(Samples::default().noise(), 0.0);
    }

    #[test]
    fn samples_make_a_valid_distribution() {
        for count in 1..30 {
            let samples = Samples::from_round((0..count).map(|value| f64::from(value * value % 17)).collect());
            assert!(Distribution::new(samples.distribution()).is_ok(), "{samples:?}");
        }
        assert_eq!(Samples::default().distribution(), []);
    }
}
