//! Burn rates over two windows, as the Site Reliability Workbook has them (chapter 5, "Alerting on SLOs").

use std::collections::VecDeque;

use super::{Detector, Step, Usual};

/// The share of bad calls that the objective allows.
const BUDGET: f64 = 0.01;

/// The long window in minutes; the short one is a twelfth of it, as in the workbook, and at least a step.
const LONG_MINUTES: f64 = 2.0;

/// The burn rate of an objective of 99 %, the lower one of those in a window of two minutes and in one of ten seconds.
///
/// The rate is 1 if just as many calls are bad as the objective allows. It is the detector that learns nothing but the latency from
/// which on a call is slow.
#[derive(Debug, Clone)]
pub(super) struct BurnRate {
    long: usize,
    short: usize,
    /// Calls, and how many of them were bad, of the steps in the long window; the newest one is last.
    steps: VecDeque<(f64, f64)>,
}

impl BurnRate {
    /// Creates the detector for steps of which `per_minute` make a minute.
    pub(super) fn new(per_minute: f64) -> Self {
        let long = (per_minute * LONG_MINUTES).round().max(2.0) as usize;
        Self { long, short: (long / 12).max(1), steps: VecDeque::with_capacity(long) }
    }

    fn rate(&self, steps: usize) -> f64 {
        let newest = self.steps.iter().rev().take(steps);
        let (calls, bad) = newest.fold((0.0, 0.0), |(calls, bad), step| (calls + step.0, bad + step.1));
        if calls > 0.0 { bad / calls / BUDGET } else { 0.0 }
    }
}

impl Detector for BurnRate {
    fn score(&mut self, step: &Step, usual: &Usual) -> f64 {
        if self.steps.len() == self.long {
            self.steps.pop_front();
        }
        self.steps.push_back((f64::from(step.calls), step.bad(usual.slow_us())));
        if self.steps.len() < self.long {
            return 0.0;
        }
        self.rate(self.long).min(self.rate(self.short))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::usual::tests::{calm, step};

    #[test]
    fn both_windows_have_to_burn() {
        let mut detector = BurnRate::new(6.0);
        let usual = calm(100);
        let mut score = |failures| detector.score(&step(100, failures, 0), &usual);
        assert!((0..11).all(|_| score(50) == 0.0), "the long window is not full");
        assert!((score(50) - 50.0).abs() < 1e-9);
        assert_eq!(score(0), 0.0, "the short window is calm");
        assert!((score(1) - 1.0).abs() < 1e-9, "the short window is the lower one");
    }

    #[test]
    fn a_window_without_calls_burns_nothing() {
        let mut detector = BurnRate::new(6.0);
        assert!((0..30).all(|_| detector.score(&step(0, 0, 0), &Usual::default()) == 0.0));
    }
}
