//! Any candidate, each as likely as the others.

use super::{Balancer, Turn};
use crate::policy::Servers;

#[derive(Debug)]
pub(super) struct Random;

impl Balancer for Random {
    fn pick(&mut self, candidates: Servers, turn: &mut Turn) -> usize {
        candidates.nth(turn.below(candidates.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::balancer::counts, time::Instant};

    #[test]
    fn each_is_as_likely_and_a_request_draws_the_same_whoever_drew_before() {
        // Binomial: 1000, give or take five times sqrt(3000 x 1/3 x 2/3) = 26.
        let counts = counts(&mut Random, 3_000);
        assert!(counts.iter().all(|count| (870..=1_130).contains(count)), "{counts:?}");
        let pick = |request| Random.pick([0, 1, 2].into(), &mut Turn::of(request, Instant::START));
        assert_eq!([pick(7), pick(8), pick(9)], [9, 8, 7].map(pick).into_iter().rev().collect::<Vec<_>>()[..]);
    }
}
