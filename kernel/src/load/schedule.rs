//! The arrival schedule: the times at which requests are intended to be sent.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use crate::{
    entropy::{Entropy, unit},
    load::settings::Arrivals,
    time::Instant,
};

/// Iterator over the arrivals of a run, in order. It depends only on rate, duration and seed, so both worlds and all
/// variants of a scenario have the same schedule.
///
/// ```
/// use std::time::Duration;
/// use kernel::{entropy::Entropy, load::{Schedule, settings::Load}, time::Instant};
///
/// let schedule = Schedule::new(&Load::at(4.0), Duration::from_secs(1), Entropy::new(7));
/// let arrivals: Vec<_> = schedule.map(Instant::as_micros).collect();
/// assert_eq!(arrivals, [0, 250_000, 500_000, 750_000]);
/// ```
pub struct Schedule {
    rate: f64,
    end: Duration,
    arrivals: Arrivals,
    rng: ChaCha8Rng,
    /// Number of arrivals so far.
    count: u64,
    /// Time of the last Poisson arrival, in seconds since the start of the run.
    elapsed: f64,
}

impl Schedule {
    /// Creates the schedule of the arrivals from the start of the run to before `duration`.
    pub fn new(settings: &crate::load::settings::Load, duration: Duration, entropy: Entropy) -> Self {
        Self {
            rate: settings.rate,
            end: duration,
            arrivals: settings.arrivals,
            rng: entropy.stream("load.arrivals"),
            count: 0,
            elapsed: 0.0,
        }
    }

    /// Returns the time of the next arrival, in seconds since the start of the run.
    fn next_seconds(&mut self) -> f64 {
        match self.arrivals {
            Arrivals::Constant => self.count as f64 / self.rate,
            Arrivals::Poisson => {
                // 1 - u is never 0, so the logarithm is finite.
                self.elapsed -= (1.0 - unit(&mut self.rng)).ln() / self.rate;
                self.elapsed
            }
        }
    }
}

impl Iterator for Schedule {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        let at = Duration::from_nanos((self.next_seconds() * 1e9).round() as u64);
        self.count += 1;
        (at < self.end).then(|| Instant::START + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(rate: f64, arrivals: Arrivals, seconds: u64, seed: u64) -> Vec<Instant> {
        let settings = crate::load::settings::Load { rate, arrivals, max_in_flight: 1 };
        Schedule::new(&settings, Duration::from_secs(seconds), Entropy::new(seed)).collect()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_from_the_start_to_before_the_end() {
        let schedule = arrivals(5.0, Arrivals::Constant, 90, 1);
        assert_eq!(schedule.len(), 450);
        assert_eq!(schedule[0], Instant::START);
        assert_eq!(schedule[449], Instant::from_nanos(89_800_000_000));
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_an_exponential() {
        let schedule = arrivals(100.0, Arrivals::Poisson, 100, 1);
        assert!((9_700..10_300).contains(&schedule.len()), "{} arrivals", schedule.len());
        let gaps: Vec<_> = schedule.windows(2).map(|pair| pair[1].since(pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let variation = variance.sqrt() / mean;
        assert!((0.95..1.05).contains(&variation), "coefficient of variation {variation}, of an exponential 1");
    }

    #[test]
    fn the_seed_decides_poisson_arrivals() {
        assert_eq!(arrivals(5.0, Arrivals::Poisson, 10, 1), arrivals(5.0, Arrivals::Poisson, 10, 1));
        assert_ne!(arrivals(5.0, Arrivals::Poisson, 10, 1), arrivals(5.0, Arrivals::Poisson, 10, 2));
    }
}
