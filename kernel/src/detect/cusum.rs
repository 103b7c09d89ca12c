//! A cumulative sum (Page, "Continuous Inspection Schemes", Biometrika 1954).

use super::{Detector, Step, Usual};

/// The share of bad calls, above the usual one, that must be found.
const EXCESS: f64 = 0.03;

/// The sum is not greater than this, so that the end of a long outage is seen soon.
const MOST: f64 = 10.0;

/// The sum, over calls, of the logarithm of how much likelier a call's result is if 3 % more calls are bad than usual; never below 0.
///
/// It is the quickest detector of a change to a known share, for a given rate of false alarms (Lorden 1971, Moustakides 1986).
#[derive(Debug, Clone, Default)]
pub(super) struct Cusum {
    sum: f64,
}

impl Detector for Cusum {
    fn score(&mut self, step: &Step, usual: &Usual) -> f64 {
        let before = usual.bad_share();
        let after = before + EXCESS;
        let bad = step.bad(usual.slow_us());
        let good = f64::from(step.calls) - bad;
        let evidence = bad * (after / before).ln() + good * ((1.0 - after) / (1.0 - before)).ln();
        self.sum = (self.sum + evidence).clamp(0.0, MOST);
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::usual::tests::{calm, step};

    #[test]
    fn a_small_change_adds_up_and_the_usual_does_not() {
        let usual = calm(200);
        let mut detector = Cusum::default();
        assert!((0..1_000).all(|i| detector.score(&step(100, u32::from(i % 5 == 0), 0), &usual) < 3.0));
        let scores: Vec<f64> = (0..5).map(|_| detector.score(&step(100, 3, 0), &usual)).collect();
        assert!(scores.is_sorted() && scores[0] < 7.0 && scores[4] > 9.0, "{scores:?}");
    }

    #[test]
    fn the_end_of_a_long_outage_is_seen_soon() {
        let usual = calm(200);
        let mut detector = Cusum::default();
        (0..10_000).for_each(|_| _ = detector.score(&step(100, 100, 0), &usual));
        let calm_steps = (0..).take_while(|_| detector.score(&step(100, 0, 0), &usual) > 0.0).count();
        assert!(calm_steps < 20, "{calm_steps}");
    }
}
