//! gRPC's `pick_first`: sends everything to one server for as long as that is a candidate.
//!
//! It starts with the first server, and changes to the first candidate when its server is none any more. It does not change
//! back by itself: gRPC's keeps the connection it has, too. All servers stay connected here, so a change costs no handshake.

use super::{Balancer, PickContext};
use crate::policy::Servers;

/// The algorithm, with the server that it has chosen.
#[derive(Debug, Default)]
pub(super) struct PickFirst {
    chosen: Option<usize>,
}

impl Balancer for PickFirst {
    fn pick(&mut self, candidates: Servers, _: &mut PickContext) -> usize {
        let kept = self.chosen.filter(|chosen| candidates.contains(*chosen));
        *self.chosen.insert(kept.unwrap_or_else(|| candidates.nth(0)))
    }

    fn stays_at(&self) -> Option<usize> {
        self.chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[test]
    fn it_keeps_its_server_until_that_is_no_candidate_and_does_not_change_back() {
        let mut balancer = PickFirst::default();
        let pools: [&[usize]; 5] = [&[0, 1, 2], &[0, 1, 2], &[1, 2], &[0, 1, 2], &[0, 2]];
        let pools = pools.map(|pool| pool.iter().copied().collect::<Servers>());
        let picks = pools.map(|pool| balancer.pick(pool, &mut PickContext::for_request(0, Instant::START)));
        assert_eq!(picks, [0, 0, 1, 1, 0]);
    }
}
