//! Load balancing: the choice of a server among the candidates.

mod least_request;
mod peak_ewma;
mod pick_first;
mod random;
mod round_robin;

use std::time::Duration;

use rand::Rng;

use crate::{
    client::settings::Balancing,
    entropy::{Entropy, RandomStream, unit},
    policy::{Draw, Servers},
    record::AttemptId,
    time::Instant,
};
use least_request::LeastRequest;
use peak_ewma::PeakEwma;
use pick_first::PickFirst;
use random::Random;
use round_robin::RoundRobin;

/// A load balancing algorithm with its state.
pub(super) trait Balancer: Send {
    /// Picks one of `candidates`, of which there is at least one.
    fn pick(&mut self, candidates: Servers, context: &mut PickContext) -> usize;

    /// Returns the server that the next attempt goes to, whatever the other candidates, if it is one itself.
    fn stays_at(&self) -> Option<usize> {
        None
    }

    /// Notes that an attempt is sent to `server`.
    fn on_sent(&mut self, server: usize) {
        let _ = server;
    }

    /// Notes that an attempt that was sent to `server` has ended, or was abandoned, after `took`.
    fn on_end(&mut self, server: usize, took: Duration, now: Instant) {
        let _ = (server, took, now);
    }
}

/// Builds the balancer of `policy` for this number of servers.
pub(super) fn build(policy: Balancing, servers: usize) -> Box<dyn Balancer> {
    match policy {
        Balancing::PickFirst => Box::new(PickFirst::default()),
        Balancing::RoundRobin => Box::new(RoundRobin::default()),
        Balancing::Random => Box::new(Random),
        Balancing::LeastRequest { choice_count } => Box::new(LeastRequest::new(choice_count, servers)),
        Balancing::PeakEwma { decay, default_rtt } => Box::new(PeakEwma::new(decay, default_rtt, servers)),
    }
}

/// The time and the random draws of one pick. The draws depend on the attempt alone, not on what was drawn for others.
pub(super) struct PickContext {
    pub(super) now: Instant,
    entropy: Entropy,
    attempt: AttemptId,
    /// Created at the first draw, as most algorithms draw nothing.
    rng: Option<RandomStream>,
}

impl PickContext {
    pub(super) fn new(now: Instant, entropy: Entropy, attempt: AttemptId) -> Self {
        Self { now, entropy, attempt, rng: None }
    }

    /// Draws a number below `count`, each with the same probability.
    pub(super) fn draw_below(&mut self, count: usize) -> usize {
        // The remainder favours small numbers by less than 2^-50 of a share, as there are no more than 1,000 servers.
        (self.rng().next_u64() % count as u64) as usize
    }

    fn rng(&mut self) -> &mut RandomStream {
        let numbers = self.attempt.numbers();
        self.rng.get_or_insert_with(|| self.entropy.stream_of("balancer.pick", &numbers))
    }
}

impl Draw for PickContext {
    fn draw_unit(&mut self) -> f64 {
        unit(self.rng())
    }
}

#[cfg(test)]
impl PickContext {
    /// Returns the context of the first attempt of `request`, at `now`.
    fn for_request(request: u64, now: Instant) -> Self {
        Self::new(now, Entropy::new(1), AttemptId::of_request(request, 1))
    }
}

/// Counts how often each of three servers is picked in `picks` picks.
#[cfg(test)]
fn counts(balancer: &mut dyn Balancer, picks: u64) -> [u64; 3] {
    let mut counts = [0; 3];
    for request in 0..picks {
        counts[balancer.pick([0, 1, 2].into(), &mut PickContext::for_request(request, Instant::START))] += 1;
    }
    counts
}
