//! Many observations of one time.

/// The probabilities at which a distribution is written down.
const GRID: [f64; 11] = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0];

/// Observations in microseconds, round by round. A median that differs between rounds is not a property of the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Samples {
    rounds: Vec<Vec<f64>>,
}

impl Samples {
    /// All of one round.
    pub(super) fn of(round: Vec<f64>) -> Self {
        Self { rounds: vec![round] }
    }

    /// Adds the observations of another round.
    pub(super) fn add_round(&mut self, round: Vec<f64>) {
        self.rounds.push(round);
    }

    /// Takes in the observations of another kind of thing, round by round.
    pub(super) fn join(&mut self, other: &Self) {
        self.rounds.resize(self.rounds.len().max(other.rounds.len()), Vec::new());
        for (round, more) in self.rounds.iter_mut().zip(&other.rounds) {
            round.extend(more);
        }
    }

    /// Each observation and the one of `other` in the same place together.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let of_round = |(one, other): (&Vec<f64>, &Vec<f64>)| one.iter().zip(other).map(|(a, b)| a + b).collect();
        Self { rounds: self.rounds.iter().zip(&other.rounds).map(of_round).collect() }
    }

    /// What `change` makes of each observation.
    pub(super) fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self { rounds: self.rounds.iter().map(|round| round.iter().map(|us| change(*us)).collect()).collect() }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.rounds.iter().map(Vec::len).sum()
    }

    /// In how many rounds.
    pub(super) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// The value that a share of `probability` does not exceed, linear between observations; `None` without any.
    pub(super) fn quantile(&self, probability: f64) -> Option<f64> {
        quantile(&self.sorted(), probability)
    }

    /// (probability, microseconds) as calibrations have it; empty without observations.
    pub(super) fn distribution(&self) -> Vec<(f64, f64)> {
        let sorted = self.sorted();
        let at = |probability| Some((probability, (quantile(&sorted, probability)? * 10.0).round() / 10.0));
        GRID.into_iter().filter_map(at).collect()
    }

    /// How far the medians of the rounds are apart, as a share of the median; 0 if there is but one round.
    pub(super) fn noise(&self) -> f64 {
        let medians = self.rounds.iter().filter_map(|round| Self::of(round.clone()).quantile(0.5));
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

fn quantile(sorted: &[f64], probability: f64) -> Option<f64> {
    let place = probability * (sorted.len().checked_sub(1)?) as f64;
    let (below, share) = (place.floor() as usize, place.fract());
    let above = sorted[(below + 1).min(sorted.len() - 1)];
    Some(sorted[below] + (above - sorted[below]) * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::distribution::Distribution;

    #[test]
    fn quantiles_are_linear_between_observations() {
        let samples = Samples::of(vec![40.0, 10.0, 20.0, 30.0, 50.0]);
        assert_eq!([0.0, 0.1, 0.5, 0.95, 1.0].map(|p| samples.quantile(p).unwrap()), [10.0, 14.0, 30.0, 48.0, 50.0]);
        assert_eq!(Samples::default().quantile(0.5), None);
    }

    #[test]
    fn the_noise_is_what_the_median_moves_by_between_rounds() {
        let mut samples = Samples::of(vec![9.0, 10.0, 11.0]);
        assert_eq!(samples.noise(), 0.0);
        // Medians of 10 and 14; that of all is 12.
        samples.add_round(vec![13.0, 14.0, 15.0]);
        assert_eq!(samples.noise(), 4.0 / 12.0);
        assert_eq!(Samples::default().noise(), 0.0);
    }

    #[test]
    fn what_is_written_down_is_a_distribution() {
        for count in 1..30 {
            let samples = Samples::of((0..count).map(|value| f64::from(value * value % 17)).collect());
            assert!(Distribution::new(samples.distribution()).is_ok(), "{samples:?}");
        }
        assert_eq!(Samples::default().distribution(), []);
    }
}
