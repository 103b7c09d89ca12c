//! The usual values of a service.

use super::step::{LatencyBuckets, Step};

/// Number of steps without which nothing counts as known.
pub(super) const WARM_UP: u32 = 30;

/// Number of steps over which the memory fades: 3 hours of steps of ten seconds.
const MEMORY: f64 = 1_080.0;

/// Share of bad calls from which on a step is not learned, as it may be part of an outage.
const UNUSUAL: f64 = 0.05;

/// Number of steps in a row after which what is unusual has become usual: an hour of steps of ten seconds.
const NEW_NORMAL: u32 = 360;

/// The multiple of the usual 99th percentile from which on a call is slow.
const SLOW: f64 = 2.0;

/// The usual values of a service: how many calls end in a step, how many of them are bad, how long they take.
///
/// It is learned from every step, and old ones fade. Steps of which 5 % of the calls are bad are not learned, unless they last for an
/// hour (of steps of ten seconds): otherwise an outage would soon be usual.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usual {
    latencies: LatencyBuckets,
    learned: u32,
    unusual: u32,
    weight: f64,
    calls: f64,
    bad: f64,
}

impl Usual {
    /// Returns whether enough steps were learned to judge others.
    pub fn is_known(&self) -> bool {
        self.learned >= WARM_UP
    }

    /// Returns the latency in microseconds beyond which a call is slow: twice the usual 99th percentile.
    pub fn slow_us(&self) -> f64 {
        self.latencies.quantile_us(0.99).map_or(f64::INFINITY, |p99| p99 * SLOW)
    }

    /// Returns the usual number of calls in a step.
    pub fn calls(&self) -> f64 {
        if self.weight > 0.0 { self.calls / self.weight } else { 0.0 }
    }

    /// Returns the usual share of bad calls, never 0: half a call more than was seen, and at least one in a thousand.
    pub fn bad_share(&self) -> f64 {
        ((self.bad + 0.5) / (self.calls + 1.0)).clamp(0.001, 0.5)
    }

    /// Learns a step, unless it is unusual.
    pub(super) fn learn(&mut self, step: &Step) {
        if step.calls == 0 {
            return;
        }
        let bad = step.bad(self.slow_us());
        let is_unusual = self.is_known() && bad >= UNUSUAL * f64::from(step.calls) && bad >= 2.0;
        self.unusual = if is_unusual { self.unusual + 1 } else { 0 };
        if is_unusual && self.unusual < NEW_NORMAL {
            return;
        }
        let kept = 1.0 - 1.0 / MEMORY;
        self.latencies.decay_and_add(kept as f32, &step.latencies);
        self.learned = self.learned.saturating_add(1);
        self.weight = self.weight * kept + 1.0;
        self.calls = self.calls * kept + f64::from(step.calls);
        self.bad = self.bad * kept + bad;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a step of `calls` calls of 1 ms, `failures` of which failed and `slow` of which took a second.
    pub(in super::super) fn step(calls: u32, failures: u32, slow: u32) -> Step {
        let mut latencies = LatencyBuckets::default();
        (0..calls - failures - slow).for_each(|_| latencies.add(1_000));
        (0..slow).for_each(|_| latencies.add(1_000_000));
        Step { end_us: 0, calls, failures, latencies }
    }

    /// Returns what is usual after `steps` steps of 100 calls, one of which fails in every fifth step.
    pub(in super::super) fn calm(steps: u32) -> Usual {
        let mut usual = Usual::default();
        (0..steps).for_each(|i| usual.learn(&step(100, u32::from(i % 5 == 0), 0)));
        usual
    }

    #[test]
    fn the_usual_is_what_was_seen() {
        let usual = calm(100);
        assert!(usual.is_known());
        assert!((usual.calls() - 100.0).abs() < 0.01, "{}", usual.calls());
        assert!((0.0015..0.003).contains(&usual.bad_share()), "{}", usual.bad_share());
        assert!((2_000.0..2_400.0).contains(&usual.slow_us()), "{}", usual.slow_us());
    }

    #[test]
    fn nothing_is_known_before_the_warm_up() {
        assert!(!calm(WARM_UP - 1).is_known());
        assert_eq!(Usual::default().slow_us(), f64::INFINITY);
    }

    #[test]
    fn an_outage_is_not_learned_and_a_new_normal_is() {
        let mut usual = calm(100);
        let before = usual.bad_share();
        (0..NEW_NORMAL - 1).for_each(|_| usual.learn(&step(100, 20, 0)));
        assert_eq!(usual.bad_share(), before);
        (0..500).for_each(|_| usual.learn(&step(100, 20, 0)));
        assert!(usual.bad_share() > 0.1, "{}", usual.bad_share());
    }

    #[test]
    fn slow_calls_are_bad() {
        assert_eq!(step(100, 3, 10).bad(calm(100).slow_us()), 13.0);
    }
}
