//! gRPC's `pick_first`: one server for everything, for as long as it is good to ask.
//!
//! The first in order, then whichever is first when that is none of the candidates any more. It does not go back by itself:
//! gRPC's keeps the connection it has, too. All servers stay connected here, so a change costs no handshake.

use super::{Balancer, Turn};
use crate::policy::Servers;

/// Remembers its choice.
#[derive(Debug, Default)]
pub(super) struct PickFirst {
    chosen: usize,
}

impl Balancer for PickFirst {
    fn pick(&mut self, candidates: Servers, _: &mut Turn) -> usize {
        if !candidates.contains(self.chosen) {
            self.chosen = candidates.nth(0);
        }
        self.chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[test]
    fn it_stays_with_its_choice_until_that_is_gone_and_does_not_go_back() {
        let mut balancer = PickFirst::default();
        let (all, last, outer) = (Servers::below(3), [1, 2].into(), [0, 2].into());
        let pools: [Servers; 5] = [all, all, last, all, outer];
        let picks = pools.map(|pool| balancer.pick(pool, &mut Turn::of(0, Instant::START)));
        assert_eq!(picks, [0, 0, 1, 1, 0]);
    }
}
