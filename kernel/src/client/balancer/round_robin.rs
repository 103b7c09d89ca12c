//! gRPC's `round_robin`: picks every candidate in turn.

use super::{Balancer, PickContext};
use crate::policy::Servers;

/// The algorithm, with its position in the round.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    /// The lowest index that has not been picked in this round.
    next: usize,
}

impl Balancer for RoundRobin {
    fn pick(&mut self, candidates: Servers, _: &mut PickContext) -> usize {
        let picked = candidates.iter().find(|server| *server >= self.next).unwrap_or_else(|| candidates.nth(0));
        self.next = picked + 1;
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    fn pick<const COUNT: usize>(balancer: &mut RoundRobin, candidates: [usize; COUNT]) -> usize {
        balancer.pick(candidates.into(), &mut PickContext::for_request(0, Instant::START))
    }

    #[test]
    fn every_candidate_is_picked_in_turn() {
        let mut balancer = RoundRobin::default();
        let picks: Vec<_> = (0..6).map(|_| pick(&mut balancer, [0, 1, 2])).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_server_that_leaves_or_returns_does_not_start_the_round_again() {
        let mut balancer = RoundRobin::default();
        assert_eq!(pick(&mut balancer, [0, 1, 2]), 0);
        assert_eq!(pick(&mut balancer, [0, 2]), 2);
        assert_eq!(pick(&mut balancer, [0, 1, 2]), 0);
        assert_eq!(pick(&mut balancer, [0, 1, 2]), 1);
    }
}
