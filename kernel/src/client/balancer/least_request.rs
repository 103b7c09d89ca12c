//! gRPC A48's and Envoy's `least_request`: draws `choice_count` candidates and picks the one with the fewest attempts under way.
//!
//! Two choices are enough to avoid the busiest (Mitzenmacher), and unlike comparing all candidates they do not send everything
//! to a server that has just come back. As in A48, a candidate can be drawn more than once; of equals the first drawn is picked.

use std::time::Duration;

use super::{Balancer, PickContext};
use crate::{policy::Servers, time::Instant};

#[derive(Debug)]
pub(super) struct LeastRequest {
    choice_count: usize,
    /// Number of attempts under way, by server.
    active: Vec<u32>,
}

impl LeastRequest {
    pub(super) fn new(choice_count: usize, servers: usize) -> Self {
        Self { choice_count, active: vec![0; servers] }
    }
}

impl Balancer for LeastRequest {
    fn pick(&mut self, candidates: Servers, context: &mut PickContext) -> usize {
        let mut least = candidates.nth(context.draw_below(candidates.len()));
        for _ in 1..self.choice_count {
            let other = candidates.nth(context.draw_below(candidates.len()));
            if self.active[other] < self.active[least] {
                least = other;
            }
        }
        least
    }

    fn on_sent(&mut self, server: usize) {
        self.active[server] += 1;
    }

    fn on_end(&mut self, server: usize, _: Duration, _: Instant) {
        self.active[server] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::balancer::counts;

    fn pick(balancer: &mut LeastRequest) -> usize {
        balancer.pick([0, 1].into(), &mut PickContext::for_request(3, Instant::START))
    }

    /// With two choices the busiest of three is picked only if both draws hit it: 1/9. The least busy is picked unless both
    /// draws miss it: 1 - (2/3)^2 = 5/9.
    #[test]
    fn two_choices_pick_the_busiest_once_in_nine() {
        let mut balancer = LeastRequest::new(2, 3);
        [0, 0, 0, 1].iter().for_each(|server| balancer.on_sent(*server));
        // Binomial, with a tolerance of five times sqrt(9000 x 5/9 x 4/9) = 47.
        let [busiest, middle, least] = counts(&mut balancer, 9_000);
        for (count, expected) in [(busiest, 1_000), (middle, 3_000), (least, 5_000_u64)] {
            assert!(count.abs_diff(expected) <= 235, "{count} of {expected}");
        }
    }

    #[test]
    fn of_servers_with_as_many_attempts_the_first_that_is_drawn_is_picked() {
        for request in 0..20 {
            let drawn = PickContext::for_request(request, Instant::START).draw_below(3);
            let picked =
                LeastRequest::new(2, 3).pick([0, 1, 2].into(), &mut PickContext::for_request(request, Instant::START));
            assert_eq!(picked, drawn);
        }
    }

    #[test]
    fn each_end_of_an_attempt_counts_one_less() {
        let mut balancer = LeastRequest::new(100, 2);
        [0, 0, 0, 1].iter().for_each(|server| balancer.on_sent(*server));
        (0..3).for_each(|_| balancer.on_end(0, Duration::ZERO, Instant::START));
        assert_eq!(balancer.active, [0, 1]);
    }

    #[test]
    fn an_attempt_that_has_ended_no_longer_counts() {
        let mut balancer = LeastRequest::new(100, 2);
        balancer.on_sent(0);
        assert_eq!(pick(&mut balancer), 1, "a hundred draws miss neither");
        balancer.on_sent(1);
        balancer.on_end(0, Duration::ZERO, Instant::START);
        assert_eq!(pick(&mut balancer), 0);
    }
}
