//! gRPC A48's and Envoy's `least_request`: of `choice_count` drawn candidates the one with the fewest attempts under way.
//!
//! Two choices are enough to avoid the busiest (Mitzenmacher), and unlike asking all it does not send everything to a server
//! that has just come back. As in A48 a candidate may be drawn more than once; of equals the first drawn is asked.

use std::time::Duration;

use super::{Balancer, Turn};
use crate::{policy::Servers, time::Instant};

#[derive(Debug)]
pub(super) struct LeastRequest {
    choice_count: usize,
    /// Under way, by server.
    active: Vec<u32>,
}

impl LeastRequest {
    pub(super) fn new(choice_count: usize, servers: usize) -> Self {
        Self { choice_count, active: vec![0; servers] }
    }
}

impl Balancer for LeastRequest {
    fn pick(&mut self, candidates: Servers, turn: &mut Turn) -> usize {
        let mut drawn = || candidates.nth(turn.below(candidates.len()));
        let first = drawn();
        (1..self.choice_count).fold(first, |least, _| {
            let other = drawn();
            if self.active[other] < self.active[least] { other } else { least }
        })
    }

    fn sent(&mut self, server: usize) {
        self.active[server] += 1;
    }

    fn ended(&mut self, server: usize, _: Option<Duration>, _: Instant) {
        self.active[server] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::balancer::counts;

    /// With two choices the busiest of three is asked only if both draws hit it: 1/9. The least busy is asked unless both
    /// draws miss it: 1 - (2/3)^2 = 5/9.
    #[test]
    fn two_choices_ask_the_busiest_once_in_nine() {
        let mut balancer = LeastRequest::new(2, 3);
        [0, 0, 0, 1].iter().for_each(|server| balancer.sent(*server));
        // Binomial, give or take five times sqrt(9000 x 5/9 x 4/9) = 47.
        let [busiest, middle, least] = counts(&mut balancer, 9_000);
        for (count, expected) in [(busiest, 1_000), (middle, 3_000), (least, 5_000_u64)] {
            assert!(count.abs_diff(expected) <= 235, "{count} of {expected}");
        }
    }

    #[test]
    fn what_is_over_counts_no_longer() {
        let mut balancer = LeastRequest::new(100, 2);
        balancer.sent(0);
        let pick = |balancer: &mut LeastRequest| balancer.pick([0, 1].into(), &mut Turn::of(3, Instant::START));
        assert_eq!(pick(&mut balancer), 1, "a hundred draws miss neither");
        balancer.sent(1);
        balancer.ended(0, None, Instant::START);
        assert_eq!(pick(&mut balancer), 0);
    }
}
