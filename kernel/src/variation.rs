//! How the times of a machine vary together.
//!
//! Work that a machine does at one time is fast or slow as a whole: its processors have a frequency, their caches and memory are shared with
//! other machines, and a hypervisor gives them more time or less. So a request whose first stage was late is slow in the others, too, and so are
//! the requests after it. Draws that are independent of each other have the same distribution, but a sum of them has a thinner tail, and a queue
//! behind them is shorter.
//!
//! [`Variation`] makes the draws of one time alike and keeps their distribution: it is a Gaussian copula whose common part is a sum of processes
//! with different time scales. A calibration finds the shares of these parts, and a simulation follows them, so it lives here.

use std::f64::consts::{FRAC_PI_2, PI};

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::{
    entropy::{Entropy, unit},
    time::Instant,
};

/// A part of the variation of times that those of one moment have in common.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariationPart {
    /// Share of the variance of a time's normal score; from 0 to 1, and all parts together at most 1.
    pub share: f64,
    /// Time within which this part changes, in microseconds; from 1 to 1e12. After twice that time nothing of it is left.
    pub time_us: f64,
}

/// The most parts of a variation. Each draw asks for all of them.
const PARTS_MAX: usize = 8;

/// By how much shares that were rounded may exceed 1 together.
const ROUNDING: f64 = 1e-6;

impl VariationPart {
    /// Returns the correlation that the normal scores of two times have by this part, whose work begins `lag_us` microseconds apart.
    pub fn correlation(&self, lag_us: f64) -> f64 {
        let lag = lag_us / self.time_us;
        if lag >= 2.0 {
            return 0.0;
        }
        // The mean, over all places of the first time between two points, of the products of their weights.
        let angle = lag * FRAC_PI_2;
        self.share * ((1.0 - lag / 2.0) * angle.cos() + angle.sin() / PI)
    }

    /// Returns the limits that one of these parts violates, if one does.
    pub fn problem(parts: &[Self]) -> Option<&'static str> {
        let shares: f64 = parts.iter().map(|part| part.share).sum();
        if parts.len() > PARTS_MAX {
            Some("it has up to 8 parts")
        } else if !parts.iter().all(|part| (0.0..=1.0).contains(&part.share)) || shares > 1.0 + ROUNDING {
            Some("every `share` is from 0 to 1, and all together are at most 1")
        } else if !parts.iter().all(|part| (1.0..=1e12).contains(&part.time_us)) {
            Some("every `time_us` is from 1 to 1e12")
        } else {
            None
        }
    }
}

/// Returns the value below which a standard normal variable is with this probability; infinite for 0 and 1.
pub fn normal_score(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

/// The common variation of a machine's times in one run. It depends on the seed, on time and on the branches of the run, and not on how often it is
/// asked.
#[derive(Debug)]
pub struct Variation {
    entropy: Entropy,
    parts: Vec<Process>,
    /// Weight of what a draw has for itself.
    own: f64,
}

/// A process that is a standard normal variable at every time. Its values at multiples of a time are independent of each other, and those between
/// two multiples are weighted sums of the two.
#[derive(Debug)]
struct Process {
    weight: f64,
    time_ns: f64,
    /// The place of the last point before the time of the last question, and the values at that one and at the next one.
    known: Option<(u64, [f64; 2])>,
}

impl Variation {
    /// Creates the variation of a run.
    pub fn new(parts: &[VariationPart], entropy: Entropy) -> Self {
        let own = 1.0 - parts.iter().map(|part| part.share).sum::<f64>();
        let parts =
            parts.iter().map(|part| Process { weight: part.share.sqrt(), time_ns: part.time_us * 1e3, known: None });
        Self { entropy, parts: parts.collect(), own: own.max(0.0).sqrt() }
    }

    /// Returns the probability whose quantile a time has that begins `at`. `own` is what was drawn for it alone, from 0 to 1; without parts, this
    /// is returned.
    pub fn probability(&mut self, at: Instant, own: f64) -> f64 {
        if self.parts.is_empty() {
            return own;
        }
        let mut score = if self.own > 0.0 { self.own * normal_score(own) } else { 0.0 };
        for (number, part) in self.parts.iter_mut().enumerate() {
            score += part.weight
                * part.at(at, |point| {
                    let mut rng = self.entropy.stream_of("machine.variation", &[number as u64, point]);
                    // The score of 0 would be infinite.
                    normal_score(unit(&mut rng).max(f64::EPSILON))
                });
        }
        Normal::standard().cdf(score)
    }
}

impl Process {
    /// Returns its value at a time. `draw` draws the value at a point.
    fn at(&mut self, at: Instant, draw: impl Fn(u64) -> f64) -> f64 {
        let place = at.as_nanos() as f64 / self.time_ns;
        let point = place as u64;
        let values = match self.known {
            Some((known, values)) if known == point => values,
            Some((known, [_, next])) if known + 1 == point => [next, draw(point + 1)],
            _ => [draw(point), draw(point + 1)],
        };
        self.known = Some((point, values));
        // The squares of the weights add up to 1, so that the variance is 1 everywhere.
        let angle = (place - point as f64) * FRAC_PI_2;
        values[0] * angle.cos() + values[1] * angle.sin()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PARTS: [VariationPart; 2] =
        [VariationPart { share: 0.3, time_us: 1e3 }, VariationPart { share: 0.2, time_us: 1e6 }];

    fn at(micros: u64) -> Instant {
        Instant::START + Duration::from_micros(micros)
    }

    fn variation(seed: u64) -> Variation {
        Variation::new(&PARTS, Entropy::new(seed))
    }

    /// The mean product of the normal scores of two draws that begin `lag` microseconds apart, over 20,000 seeds.
    fn correlation(lag: u64) -> f64 {
        let products = (0..20_000).map(|seed| {
            let mut rng = Entropy::new(seed).stream("own");
            let mut variation = variation(seed);
            let mut score = |micros| normal_score(variation.probability(at(micros), unit(&mut rng)));
            let first = 777 + 13 * seed;
            score(first) * score(first + lag)
        });
        products.sum::<f64>() / 20_000.0
    }

    #[test]
    fn times_of_one_moment_vary_together_and_later_ones_less() {
        for lag in [0, 400, 1_000, 3_000, 700_000, 2_500_000] {
            let expected: f64 = PARTS.iter().map(|part| part.correlation(lag as f64)).sum();
            let measured = correlation(lag);
            assert!((measured - expected).abs() < 0.03, "{lag}: {measured}, expected {expected}");
        }
        assert_eq!(PARTS[0].correlation(0.0), 0.3);
        assert_eq!(PARTS[0].correlation(2_000.0), 0.0);
    }

    #[test]
    fn the_distribution_stays_as_it_is() {
        let mut rng = Entropy::new(3).stream("own");
        let mut probabilities: Vec<f64> =
            (0..8_000).map(|seed| variation(seed).probability(at(5_000), unit(&mut rng))).collect();
        probabilities.sort_by(f64::total_cmp);
        for share in [0.01, 0.1, 0.5, 0.9, 0.99] {
            let probability = probabilities[(8_000.0 * share) as usize];
            assert!((probability - share).abs() < 0.02, "{share}: {probability}");
        }
        assert_eq!(Variation::new(&[], Entropy::new(3)).probability(at(5), 0.123), 0.123);
        assert_eq!(variation(3).probability(at(5), 0.0), 0.0);
    }

    #[test]
    fn it_depends_on_the_seed_and_on_time_only() {
        let times = [100, 900, 1_100, 2_500, 7_000_000, 7_000_100];
        let mut asked = variation(5);
        let all = times.map(|micros| asked.probability(at(micros), 0.5));
        let alone = times.map(|micros| variation(5).probability(at(micros), 0.5));
        let mut backwards = variation(5);
        let mut reversed: Vec<_> =
            times.into_iter().rev().map(|micros| backwards.probability(at(micros), 0.5)).collect();
        reversed.reverse();
        assert_eq!((all, reversed.as_slice()), (alone, &alone[..]));
        assert_ne!(variation(6).probability(at(100), 0.5), all[0]);
    }

    #[test]
    fn parts_have_limits() {
        let part = VariationPart { share: 0.5, time_us: 1e6 };
        assert_eq!(VariationPart::problem(&[part, part]), None);
        for wrong in [
            vec![VariationPart { share: -0.1, ..part }],
            vec![VariationPart { share: f64::NAN, ..part }],
            vec![part, VariationPart { share: 0.51, ..part }],
            vec![VariationPart { time_us: 0.0, ..part }],
            vec![VariationPart { time_us: f64::INFINITY, ..part }],
            vec![VariationPart { share: 0.01, ..part }; 9],
        ] {
            assert!(VariationPart::problem(&wrong).is_some(), "{wrong:?}");
        }
    }
}
