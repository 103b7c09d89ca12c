//! Finagle's, Linkerd's and tower's `peak_ewma`: draws two candidates and picks the one that is likely to answer first.
//!
//! A server's cost is its latency times the number of attempts that would be under way. Its latency is a moving average that
//! jumps to any higher measurement and falls slowly: a lower measurement moves it by the share `1 - exp(-elapsed / decay)`.
//! Without measurements it decays towards 0 in the same way, so that a slow server is tried again: reading the cost is a
//! measurement of 0, which is stored with its time (tower's `RttEstimate::decay`, Finagle's `get`). It starts at `default_rtt`.
//!
//! An attempt that is abandoned is a measurement, too, of the time that it has taken so far (tower's drop of the handle,
//! Finagle's `end`). Otherwise a slow server that every hedge outruns would never be measured, and would go on to look fast.
//!
//! A failure has a latency, too: one that comes fast makes a server look fast, as in tower. Health and outlier detection exist
//! for such servers.

use std::time::Duration;

use super::{Balancer, PickContext};
use crate::{policy::Servers, time::Instant};

#[derive(Debug)]
pub(super) struct PeakEwma {
    decay: Duration,
    servers: Vec<ServerLatency>,
}

/// The latency of one server.
#[derive(Debug, Clone)]
struct ServerLatency {
    /// The moving average, in seconds.
    rtt: f64,
    updated: Instant,
    pending: u32,
}

impl PeakEwma {
    pub(super) fn new(decay: Duration, default_rtt: Duration, servers: usize) -> Self {
        let initial = ServerLatency { rtt: default_rtt.as_secs_f64(), updated: Instant::START, pending: 0 };
        Self { decay, servers: vec![initial; servers] }
    }

    /// Returns the cost of `server`: the expected time until an attempt sent `now` is answered, in seconds. The decay until
    /// then is stored, as in tower and Finagle.
    fn cost(&mut self, server: usize, now: Instant) -> f64 {
        let latency = &mut self.servers[server];
        latency.measure(self.decay, now, 0.0);
        latency.rtt * f64::from(latency.pending + 1)
    }
}

impl ServerLatency {
    /// Moves the average by a measurement of `rtt`, in seconds.
    fn measure(&mut self, decay: Duration, now: Instant, rtt: f64) {
        self.rtt = if rtt > self.rtt {
            rtt
        } else {
            let weight = (-now.since(self.updated).as_secs_f64() / decay.as_secs_f64()).exp();
            self.rtt * weight + rtt * (1.0 - weight)
        };
        // Of two threads, the one that read the clock first may get here second.
        self.updated = self.updated.max(now);
    }
}

impl Balancer for PeakEwma {
    fn pick(&mut self, candidates: Servers, context: &mut PickContext) -> usize {
        let count = candidates.len();
        if count == 1 {
            return candidates.nth(0);
        }
        let first = context.draw_below(count);
        // The second draw is of the other positions, so that two different candidates are compared.
        let second = (first + 1 + context.draw_below(count - 1)) % count;
        let first = candidates.nth(first);
        let second = candidates.nth(second);
        let cost = self.cost(first, context.now);
        if self.cost(second, context.now) < cost { second } else { first }
    }

    fn on_sent(&mut self, server: usize) {
        self.servers[server].pending += 1;
    }

    fn on_end(&mut self, server: usize, took: Duration, now: Instant) {
        let latency = &mut self.servers[server];
        latency.pending -= 1;
        latency.measure(self.decay, now, took.as_secs_f64());
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
        let mut balancer = balancer(10, 1_000);
        assert_eq!(balancer.cost(0, at(0)), 10.0 * MS);
        let first = balancer.cost(0, at(100));
        let second = balancer.cost(0, at(200));
        assert!(9.0 * MS < first && first < 10.0 * MS, "{first}");
        assert!(8.0 * MS < second && second < 9.0 * MS, "{second}");
    }

    /// tower's test `compound_decay`: a peak is the latency at once, is multiplied by the attempts under way, and decays.
    #[test]
    fn the_latency_rises_to_a_peak_at_once_and_falls_slowly() {
        let took = Duration::from_millis(200);
        let mut balancer = balancer(20, 1_000);
        balancer.on_sent(0);
        balancer.on_sent(0);
        assert!(balancer.cost(0, at(200)) > 40.0 * MS);
        balancer.on_end(0, took, at(300));
        assert_eq!(balancer.cost(0, at(300)), 400.0 * MS, "one is still under way");
        balancer.on_end(0, took, at(400));
        assert!((balancer.cost(0, at(400)) - 200.0 * MS).abs() < 1e-9);
        assert!(balancer.cost(0, at(1_400)) < 100.0 * MS);
        assert!(balancer.cost(0, at(11_400)) < MS);
    }

    /// After `decay` the share of the old average is 1 / e, and a measurement as high as the average leaves it.
    #[test]
    fn a_lower_measurement_moves_the_average_by_the_share_of_the_time() {
        let mut balancer = balancer(100, 2_000);
        balancer.on_sent(0);
        balancer.on_end(0, Duration::from_millis(20), at(2_000));
        let expected = 100.0 * MS / std::f64::consts::E + 20.0 * MS * (1.0 - 1.0 / std::f64::consts::E);
        assert!((balancer.cost(0, at(2_000)) - expected).abs() < 1e-12);
    }

    /// Both servers cost the same, so the first that is drawn is picked, and each is drawn first about as often.
    #[test]
    fn two_different_servers_are_drawn_and_of_equals_the_first() {
        let mut balancer = PeakEwma::new(Duration::from_secs(10), Duration::from_millis(30), 3);
        let mut counts = [0_u64; 3];
        for request in 0..3_000 {
            counts[balancer.pick([0, 1, 2].into(), &mut PickContext::for_request(request, at(0)))] += 1;
        }
        // Binomial: 1000, with a tolerance of five times sqrt(3000 x 1/3 x 2/3) = 26.
        assert!(counts.iter().all(|count| (870..=1_130).contains(count)), "{counts:?}");
        let first = balancer.pick([0, 1, 2].into(), &mut PickContext::for_request(7, at(0)));
        let drawn = PickContext::for_request(7, at(0)).draw_below(3);
        assert_eq!(first, drawn);
        // The most expensive of three loses against either of the others.
        balancer.on_sent(1);
        for request in 0..100 {
            assert_ne!(balancer.pick([0, 1, 2].into(), &mut PickContext::for_request(request, at(0))), 1);
        }
    }

    /// tower's `RttEstimate`, with its default decay of ten seconds: an answer after 1 s, a read 9.9 s later, and an answer of
    /// 300 ms. The read leaves exp(-0.99) = 0.3716 s; 0.3 s later that is 0.3716 x exp(-0.03) + 0.3 x (1 - exp(-0.03)) = 0.3695 s.
    /// Without the stored read it would be exp(-1.02) + 0.3 x (1 - exp(-1.02)) = 0.5524 s.
    #[test]
    fn a_read_stores_the_decay_until_then() {
        let mut balancer = balancer(30, 10_000);
        balancer.on_sent(0);
        balancer.on_end(0, Duration::from_secs(1), at(1_000));
        assert!((balancer.cost(0, at(10_900)) - (-0.99_f64).exp()).abs() < 1e-9);
        balancer.on_sent(0);
        balancer.on_end(0, Duration::from_millis(300), at(11_200));
        assert!((balancer.servers[0].rtt - 0.3695).abs() < 1e-4, "{}", balancer.servers[0].rtt);
    }

    /// A server that answers after 2 s, whose attempts a hedge outruns after 50 ms each, costs at least those 50 ms.
    #[test]
    fn an_attempt_that_a_hedge_outruns_is_measured_up_to_then() {
        let mut balancer = balancer(1, 10_000);
        for start in [0, 100, 200] {
            balancer.on_sent(0);
            balancer.on_end(0, Duration::from_millis(50), at(start + 50));
            balancer.on_sent(1);
            balancer.on_end(1, Duration::from_millis(10), at(start + 60));
        }
        assert!((balancer.cost(0, at(260)) - 50.0 * MS).abs() < 2.0 * MS);
        let picks =
            (0..50).map(|request| balancer.pick([0, 1].into(), &mut PickContext::for_request(request, at(260))));
        assert!(picks.collect::<Vec<_>>().iter().all(|server| *server == 1));
    }

    #[test]
    fn the_cheaper_of_two_is_picked() {
        let mut balancer = balancer(30, 10_000);
        balancer.on_sent(0);
        balancer.on_end(0, Duration::from_secs(2), at(10));
        let picks = (0..50).map(|request| balancer.pick([0, 1].into(), &mut PickContext::for_request(request, at(10))));
        assert!(picks.collect::<Vec<_>>().iter().all(|server| *server == 1));
        assert_eq!(balancer.pick([0].into(), &mut PickContext::for_request(0, at(10))), 0);
    }
}
