//! gRPC's `round_robin`: every candidate in turn.

use super::{Balancer, Turn};
use crate::policy::Servers;

/// Remembers whose turn it is.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    /// The lowest index that has not had its turn.
    next: usize,
}

impl Balancer for RoundRobin {
    fn pick(&mut self, candidates: Servers, _: &mut Turn) -> usize {
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
        balancer.pick(candidates.into(), &mut Turn::of(0, Instant::START))
    }

    #[test]
    fn every_candidate_has_its_turn() {
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
