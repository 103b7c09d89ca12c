//! Losses in bursts: the model of Gilbert and Elliott, which `tc netem` has as `loss gemodel`.

use serde::{Deserialize, Serialize};

use crate::entropy::{RandomStream, unit};

/// A link that is in one of two states at each segment: in a burst of losses, or outside of one. All four are probabilities.
///
/// The share of time in a burst is `enter / (enter + exit)`, and a burst has `1 / exit` segments on average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BurstLoss {
    /// Probability that a burst begins after a segment outside of one: `p` of `tc netem`. Over 0.
    pub enter: f64,
    /// Probability that the burst ends after a segment in one: `r` of `tc netem`. Over 0.
    pub exit: f64,
    /// Probability that a segment in a burst is lost: `1-h` of `tc netem`.
    pub loss_in_burst: f64,
    /// Probability that a segment outside of bursts is lost: `1-k` of `tc netem`.
    pub loss_outside: f64,
}

impl BurstLoss {
    /// Returns the share of the segments that are in a burst, in the long run.
    pub fn share_in_burst(&self) -> f64 {
        self.enter / (self.enter + self.exit)
    }

    /// Returns the share of the segments that are lost, in the long run.
    pub fn rate(&self) -> f64 {
        let in_burst = self.share_in_burst();
        in_burst * self.loss_in_burst + (1.0 - in_burst) * self.loss_outside
    }

    /// Returns whether each value is a probability, and neither state lasts for ever.
    pub fn is_valid(&self) -> bool {
        let changes = [self.enter, self.exit].iter().all(|odds| *odds > 0.0 && *odds <= 1.0);
        changes && [self.loss_in_burst, self.loss_outside].iter().all(|odds| (0.0..=1.0).contains(odds))
    }
}

/// The state of one direction of a connection under a fault with losses in bursts.
pub(super) struct LossChain {
    fault: u64,
    burst: BurstLoss,
    in_burst: bool,
    rng: RandomStream,
}

impl LossChain {
    /// Creates the state for the fault of this number, drawn as it is in the long run: a connection that is made while the fault lasts
    /// does not begin outside of a burst.
    pub(super) fn new(fault: u64, burst: BurstLoss, mut rng: RandomStream) -> Self {
        let in_burst = unit(&mut rng) < burst.share_in_burst();
        Self { fault, burst, in_burst, rng }
    }

    /// Returns whether this is the state for the fault of this number with these losses.
    pub(super) fn belongs_to(&self, fault: u64, burst: &BurstLoss) -> bool {
        self.fault == fault && self.burst == *burst
    }

    /// Passes one segment. Returns whether it is lost.
    pub(super) fn loses(&mut self) -> bool {
        let BurstLoss { enter, exit, loss_in_burst, loss_outside } = self.burst;
        let is_lost = unit(&mut self.rng) < if self.in_burst { loss_in_burst } else { loss_outside };
        let changes = unit(&mut self.rng) < if self.in_burst { exit } else { enter };
        self.in_burst ^= changes;
        is_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    const SEGMENTS: usize = 400_000;

    fn chain(burst: BurstLoss, number: u64) -> LossChain {
        LossChain::new(0, burst, Entropy::new(5).stream_of("burst", &[number]))
    }

    #[test]
    fn the_share_of_lost_segments_is_that_of_the_formula() {
        for (enter, exit, loss_in_burst, loss_outside) in
            [(0.01, 0.2, 1.0, 0.0), (0.05, 0.5, 0.7, 0.02), (1.0, 1.0, 1.0, 0.0), (0.3, 0.1, 0.2, 0.1)]
        {
            let burst = BurstLoss { enter, exit, loss_in_burst, loss_outside };
            let mut chain = chain(burst, 1);
            let lost = (0..SEGMENTS).filter(|_| chain.loses()).count() as f64 / SEGMENTS as f64;
            // The states of the chain are correlated over 1 / (enter + exit) segments, so that it has as many fewer independent draws.
            let correlation = 2.0 / (enter + exit);
            let deviation = (burst.rate() * (1.0 - burst.rate()) * correlation / SEGMENTS as f64).sqrt();
            assert!((lost - burst.rate()).abs() < 5.0 * deviation, "{burst:?}: {lost} instead of {}", burst.rate());
        }
    }

    #[test]
    fn the_mean_length_of_a_burst_and_of_a_gap_are_those_of_the_formula() {
        // With these losses a run of lost segments is a burst, and a run of the others is a gap.
        let burst = BurstLoss { enter: 0.02, exit: 0.25, loss_in_burst: 1.0, loss_outside: 0.0 };
        let mut chain = chain(burst, 2);
        let lost: Vec<bool> = (0..SEGMENTS).map(|_| chain.loses()).collect();
        let mean = |kind: bool| {
            let runs = lost.windows(2).filter(|pair| pair[0] != kind && pair[1] == kind).count();
            lost.iter().filter(|lost| **lost == kind).count() as f64 / runs as f64
        };
        // Geometric distributions over some 7,400 runs: five standard errors are 6 % of the mean.
        assert!((mean(true) * burst.exit - 1.0).abs() < 0.06, "{}", mean(true));
        assert!((mean(false) * burst.enter - 1.0).abs() < 0.06, "{}", mean(false));
    }

    #[test]
    fn a_new_connection_begins_in_a_burst_as_often_as_the_formula_says() {
        let burst = BurstLoss { enter: 0.1, exit: 0.3, loss_in_burst: 1.0, loss_outside: 0.0 };
        let first_lost = (0..4_000).filter(|number| chain(burst, *number).loses()).count();
        // Binomial: 1,000, and five times sqrt(4000 x 0.25 x 0.75) = 27.4.
        assert!((863..=1_137).contains(&first_lost), "{first_lost}");
    }

    #[test]
    fn a_state_that_never_ends_and_what_is_no_probability_are_not_valid() {
        let burst = BurstLoss { enter: 0.1, exit: 0.3, loss_in_burst: 1.0, loss_outside: 0.0 };
        assert!(burst.is_valid());
        for wrong in [
            BurstLoss { enter: 0.0, ..burst },
            BurstLoss { exit: 0.0, ..burst },
            BurstLoss { exit: 1.1, ..burst },
            BurstLoss { loss_in_burst: -0.1, ..burst },
            BurstLoss { loss_outside: f64::NAN, ..burst },
        ] {
            assert!(!wrong.is_valid(), "{wrong:?}");
        }
    }
}
