//! `random`: picks any candidate, each with the same probability.

use super::{Balancer, PickContext};
use crate::policy::Servers;

/// The algorithm, which has no state.
#[derive(Debug)]
pub(super) struct Random;

impl Balancer for Random {
    fn pick(&mut self, candidates: Servers, context: &mut PickContext) -> usize {
        candidates.nth(context.draw_below(candidates.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::balancer::counts, time::Instant};

    fn pick(request: u64) -> usize {
        Random.pick([0, 1, 2].into(), &mut PickContext::for_request(request, Instant::START))
    }

    #[test]
    fn a_number_for_weights_is_drawn_from_0_to_1() {
        use crate::policy::Draw;
        let draws = (0..200).map(|request| PickContext::for_request(request, Instant::START).draw_unit());
        let (low, high): (Vec<_>, Vec<_>) = draws.partition(|draw| *draw < 0.5);
        assert!(low.iter().all(|draw| *draw >= 0.0) && high.iter().all(|draw| *draw < 1.0));
        assert!(low.len() > 50 && high.len() > 50, "{} and {}", low.len(), high.len());
    }

    #[test]
    fn servers_are_equally_likely_and_a_request_draws_the_same_in_any_order_of_requests() {
        // Binomial: 1000, with a tolerance of five times sqrt(3000 x 1/3 x 2/3) = 26.
        let counts = counts(&mut Random, 3_000);
        assert!(counts.iter().all(|count| (870..=1_130).contains(count)), "{counts:?}");
        assert_eq!([pick(7), pick(8), pick(9)], [9, 8, 7].map(pick).into_iter().rev().collect::<Vec<_>>()[..]);
    }
}
