//! Load balancing: which candidate is asked.

mod least_request;
mod peak_ewma;
mod pick_first;
mod random;
mod round_robin;

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::{
    entropy::{Entropy, unit},
    policy::{Draw, Servers},
    scenario::Balancing,
    time::Instant,
};
use least_request::LeastRequest;
use peak_ewma::PeakEwma;
use pick_first::PickFirst;
use random::Random;
use round_robin::RoundRobin;

/// Chooses among servers.
pub(super) trait Balancer: Send {
    /// One of `candidates`, which are some.
    fn pick(&mut self, candidates: Servers, turn: &mut Turn) -> usize;

    /// An attempt is sent to `server`.
    fn sent(&mut self, server: usize) {
        let _ = server;
    }

    /// It is over. `took` is `None` if nobody waited for it to come to something.
    fn ended(&mut self, server: usize, took: Option<Duration>, now: Instant) {
        let _ = (server, took, now);
    }
}

/// The balancer of a policy, for as many servers.
pub(super) fn of(policy: Balancing, servers: usize) -> Box<dyn Balancer> {
    match policy {
        Balancing::PickFirst => Box::new(PickFirst::default()),
        Balancing::RoundRobin => Box::new(RoundRobin::default()),
        Balancing::Random => Box::new(Random),
        Balancing::LeastRequest { choice_count } => Box::new(LeastRequest::new(choice_count, servers)),
        Balancing::PeakEwma { decay, default_rtt } => Box::new(PeakEwma::new(decay, default_rtt, servers)),
    }
}

/// The occasion of one pick: its time, and its draws, which are the same whatever was drawn for others.
pub(super) struct Turn {
    pub(super) now: Instant,
    entropy: Entropy,
    /// The request and the attempt.
    ids: [u64; 2],
    /// Made at the first draw: most policies draw nothing.
    rng: Option<ChaCha8Rng>,
}

impl Turn {
    pub(super) fn new(now: Instant, entropy: Entropy, request: u64, attempt: u32) -> Self {
        Self { now, entropy, ids: [request, attempt.into()], rng: None }
    }

    /// One of `choices` numbers from 0, each as likely as the others.
    pub(super) fn below(&mut self, choices: usize) -> usize {
        // Off by less than 2^-50 of a share, as there are no more than 64 servers.
        (self.rng().next_u64() % choices as u64) as usize
    }

    fn rng(&mut self) -> &mut ChaCha8Rng {
        self.rng.get_or_insert_with(|| self.entropy.stream_of("balancer.pick", &self.ids))
    }
}

impl Draw for Turn {
    fn draw_unit(&mut self) -> f64 {
        unit(self.rng())
    }
}

#[cfg(test)]
impl Turn {
    /// For tests: the turn of that request, at that time.
    fn of(request: u64, now: Instant) -> Self {
        Self::new(now, Entropy::new(1), request, 1)
    }
}

/// How often each of three servers is picked in as many turns.
#[cfg(test)]
fn counts(balancer: &mut dyn Balancer, turns: u64) -> [u64; 3] {
    let mut counts = [0; 3];
    for request in 0..turns {
        counts[balancer.pick([0, 1, 2].into(), &mut Turn::of(request, Instant::START))] += 1;
    }
    counts
}
