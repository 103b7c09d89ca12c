//! Finagle's, Linkerd's and tower's `peak_ewma`: of two drawn candidates the one that is likely to answer first.
//!
//! A server's cost is its latency times the attempts that would be under way. Its latency is a moving average that jumps to
//! any higher one it sees and comes down slowly: after an attempt that took less, by `exp(-elapsed / decay)`. While nothing
//! is seen it decays towards 0 likewise, so that a slow server is tried again. It starts at `default_rtt`.
//!
//! A failure has a latency, too; one that comes fast makes a server look fast, as in tower: health and outlier detection are
//! there for that.

use std::time::Duration;

use super::{Balancer, Turn};
use crate::{policy::Servers, time::Instant};

#[derive(Debug)]
pub(super) struct PeakEwma {
    decay: Duration,
    loads: Vec<Load>,
}

#[derive(Debug, Clone)]
struct Load {
    /// Seconds.
    rtt: f64,
    updated: Instant,
    pending: u32,
}

impl PeakEwma {
    pub(super) fn new(decay: Duration, default_rtt: Duration, servers: usize) -> Self {
        let load = Load { rtt: default_rtt.as_secs_f64(), updated: Instant::START, pending: 0 };
        Self { decay, loads: vec![load; servers] }
    }

    /// Seconds, until an attempt that is sent now would be answered.
    fn cost(&self, server: usize, now: Instant) -> f64 {
        let load = &self.loads[server];
        load.decayed(self.decay, now, 0.0) * f64::from(load.pending + 1)
    }
}

impl Load {
    /// The average after `rtt` was seen.
    fn decayed(&self, decay: Duration, now: Instant, rtt: f64) -> f64 {
        if rtt > self.rtt {
            return rtt;
        }
        let weight = (-now.since(self.updated).as_secs_f64() / decay.as_secs_f64()).exp();
        self.rtt * weight + rtt * (1.0 - weight)
    }
}

impl Balancer for PeakEwma {
    fn pick(&mut self, candidates: Servers, turn: &mut Turn) -> usize {
        let count = candidates.len();
        if count == 1 {
            return candidates.nth(0);
        }
        // Two that differ.
        let first = turn.below(count);
        let second = (first + 1 + turn.below(count - 1)) % count;
        let (first, second) = (candidates.nth(first), candidates.nth(second));
        if self.cost(second, turn.now) < self.cost(first, turn.now) { second } else { first }
    }

    fn sent(&mut self, server: usize) {
        self.loads[server].pending += 1;
    }

    fn ended(&mut self, server: usize, took: Option<Duration>, now: Instant) {
        let load = &mut self.loads[server];
        load.pending -= 1;
        if let Some(took) = took {
            load.rtt = load.decayed(self.decay, now, took.as_secs_f64());
            load.updated = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: f64 = 0.001;

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    fn balancer(default_rtt: u64, decay: u64) -> PeakEwma {
        PeakEwma::new(Duration::from_millis(decay), Duration::from_millis(default_rtt), 2)
    }

    /// tower's test `default_decay`: a default of 10 ms that decays over a second.
    #[test]
    fn the_default_decays_over_time() {
        let balancer = balancer(10, 1_000);
        assert_eq!(balancer.cost(0, at(0)), 10.0 * MS);
        let (first, second) = (balancer.cost(0, at(100)), balancer.cost(0, at(200)));
        assert!(9.0 * MS < first && first < 10.0 * MS, "{first}");
        assert!(8.0 * MS < second && second < 9.0 * MS, "{second}");
    }

    /// tower's test `compound_decay`: a latency that is a peak is taken as it is, times what is under way, and decays.
    #[test]
    fn a_peak_is_taken_at_once_and_left_slowly() {
        let took = |millis| Some(Duration::from_millis(millis));
        let mut balancer = balancer(20, 1_000);
        balancer.sent(0);
        balancer.sent(0);
        assert!(balancer.cost(0, at(200)) > 40.0 * MS);
        balancer.ended(0, took(200), at(300));
        assert_eq!(balancer.cost(0, at(300)), 400.0 * MS, "one is still under way");
        balancer.ended(0, took(200), at(400));
        assert!((balancer.cost(0, at(400)) - 200.0 * MS).abs() < 1e-9);
        assert!(balancer.cost(0, at(1_400)) < 100.0 * MS);
        assert!(balancer.cost(0, at(11_400)) < MS);
    }

    #[test]
    fn the_cheaper_of_two_is_asked_and_what_nobody_waited_for_is_not_seen() {
        let mut balancer = balancer(30, 10_000);
        balancer.sent(0);
        balancer.ended(0, Some(Duration::from_secs(2)), at(10));
        balancer.sent(1);
        balancer.ended(1, None, at(10));
        let picks = (0..50).map(|request| balancer.pick([0, 1].into(), &mut Turn::of(request, at(10))));
        assert!(picks.collect::<Vec<_>>().iter().all(|server| *server == 1));
        assert_eq!(balancer.pick([0].into(), &mut Turn::of(0, at(10))), 0);
    }
}
