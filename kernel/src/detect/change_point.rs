//! Bayesian online change points (Adams and MacKay, arXiv:0710.3742).

use statrs::function::beta::beta_reg;

use super::{Detector, Step, Usual};

/// The mean number of steps between two changes that is assumed: an hour of steps of ten seconds.
const BETWEEN_CHANGES: f64 = 360.0;

/// The share of bad calls, above the usual one, from which on a regime counts as worse.
const EXCESS: f64 = 0.02;

/// The number of regimes that are kept: those with the highest probabilities.
const KEPT: usize = 24;

/// The weight, in calls, of what is assumed of a regime before anything was seen of it.
const PRIOR_CALLS: f64 = 4.0;

/// A time since which the share of bad calls may have been the same.
#[derive(Debug, Clone, Copy)]
struct Regime {
    probability: f64,
    /// The parameters of the beta distribution of its share of bad calls.
    bad: f64,
    good: f64,
}

impl Regime {
    /// Returns the logarithm of the probability of `bad` bad and `good` good calls in one order, by the beta-binomial distribution.
    fn log_likelihood(&self, bad: f64, good: f64) -> f64 {
        use statrs::function::beta::ln_beta;
        ln_beta(self.bad + bad, self.good + good) - ln_beta(self.bad, self.good)
    }

    /// Returns the probability that its share of bad calls is above `share`.
    fn probability_above(&self, share: f64) -> f64 {
        1.0 - beta_reg(self.bad, self.good, share)
    }
}

/// The evidence that the share of bad calls is above the usual one by 2 % or more: `-log10(1 - p)` of its probability `p`.
///
/// The share is constant in a regime, and a step begins a new regime with the same probability at any time. Of a regime a beta
/// distribution is known, which its steps have made.
#[derive(Debug, Clone, Default)]
pub(super) struct ChangePoint {
    regimes: Vec<Regime>,
}

impl Detector for ChangePoint {
    fn score(&mut self, step: &Step, usual: &Usual) -> f64 {
        let hazard = 1.0 / BETWEEN_CHANGES;
        let share = usual.bad_share();
        let bad = step.bad(usual.slow_us());
        let good = f64::from(step.calls) - bad;
        let fresh = Regime {
            probability: if self.regimes.is_empty() { 1.0 } else { hazard },
            bad: (PRIOR_CALLS * share).max(0.1),
            good: PRIOR_CALLS * (1.0 - share),
        };
        self.regimes.iter_mut().for_each(|regime| regime.probability *= 1.0 - hazard);
        self.regimes.push(fresh);
        // Logarithms are compared with the greatest one, so that none of a large step becomes 0.
        let likelihoods: Vec<f64> = self.regimes.iter().map(|regime| regime.log_likelihood(bad, good)).collect();
        let greatest = likelihoods.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for (regime, likelihood) in self.regimes.iter_mut().zip(likelihoods) {
            regime.probability *= (likelihood - greatest).exp();
            regime.bad += bad;
            regime.good += good;
        }
        self.regimes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        self.regimes.truncate(KEPT);
        let total: f64 = self.regimes.iter().map(|regime| regime.probability).sum();
        self.regimes.iter_mut().for_each(|regime| regime.probability /= total);
        let limit = (share + EXCESS).min(0.99);
        let worse: f64 = self.regimes.iter().map(|regime| regime.probability * regime.probability_above(limit)).sum();
        -(1.0 - worse).max(1e-12).log10()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::usual::tests::{calm, step};

    #[test]
    fn a_change_is_seen_within_a_few_steps_and_so_is_its_end() {
        let usual = calm(200);
        let mut detector = ChangePoint::default();
        assert!((0..1_000).all(|i| detector.score(&step(100, u32::from(i % 5 == 0), 0), &usual) < 1.0));
        assert!((0..3).map(|_| detector.score(&step(100, 8, 0), &usual)).any(|score| score > 3.0));
        let steps = (0..).take_while(|_| detector.score(&step(100, 0, 0), &usual) > 1.0).count();
        assert!(steps < 4, "{steps}");
    }

    #[test]
    fn probabilities_stay_probabilities() {
        let usual = calm(200);
        let mut detector = ChangePoint::default();
        for i in 0..2_000_u32 {
            let failures = if i % 300 > 280 { 100_000 } else { 0 };
            let score = detector.score(&step(100_000, failures, 0), &usual);
            assert!((0.0..=12.0).contains(&score), "{i}: {score}");
            let total: f64 = detector.regimes.iter().map(|regime| regime.probability).sum();
            assert!((total - 1.0).abs() < 1e-9 && detector.regimes.len() <= KEPT);
        }
    }
}
