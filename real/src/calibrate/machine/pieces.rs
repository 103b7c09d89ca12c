//! The distributions of a piece of work on a warm and on a cold machine.

use super::super::samples::quantile;

/// The probabilities at which a distribution is written. Those from [`TAIL`] on need [`TAIL_SAMPLES`].
const GRID: [f64; 13] = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0];

/// The first probability of the tail.
const TAIL: f64 = 0.99;

/// Samples that a tail is measured with; with fewer, it is as far from the median as on a warm machine.
const TAIL_SAMPLES: usize = 300;

/// Samples up to this coldness are of a warm machine.
const WARM_MAX: f64 = 0.15;

/// Samples of this share of the largest coldness or more are of a cold machine.
const COLD_SHARE: f64 = 0.65;

/// The fewest samples of each of the two.
const SAMPLES_MIN: usize = 20;

/// Quantiles of a piece of work, as (probability, microseconds) pairs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct WarmAndCold {
    pub(super) warm: Vec<(f64, f64)>,
    pub(super) cold: Vec<(f64, f64)>,
    /// Number of samples of each.
    pub(super) samples: [usize; 2],
}

impl WarmAndCold {
    /// Computes the quantiles at coldness 0 and 1, on the line through the warm and the cold samples, which are pairs (coldness, microseconds).
    /// `None` without samples.
    pub(super) fn fit(mut samples: Vec<(f64, f64)>) -> Option<Self> {
        samples.sort_by(|one, other| one.0.total_cmp(&other.0));
        let largest = samples.get(samples.len().checked_sub(1)? * 99 / 100)?.0;
        let warm = samples.partition_point(|sample| sample.0 <= WARM_MAX).max(SAMPLES_MIN).min(samples.len());
        let cold = samples.partition_point(|sample| sample.0 < largest * COLD_SHARE);
        let cold = cold.min(samples.len().saturating_sub(SAMPLES_MIN));
        let [warm, cold] = [Group::new(&samples[..warm]), Group::new(&samples[cold..])];
        let distance = cold.coldness - warm.coldness;
        let quantiles = GRID.map(|probability| {
            let at_warm = warm.quantile(probability);
            let at_cold = if probability >= TAIL && cold.times.len() < TAIL_SAMPLES {
                cold.quantile(0.5) + at_warm - warm.quantile(0.5)
            } else {
                cold.quantile(probability)
            };
            // A machine whose coldness never changed has one distribution, and none is faster when it is cold.
            let slope = if distance > 0.05 { ((at_cold - at_warm) / distance).max(0.0) } else { 0.0 };
            let warm = (at_warm - slope * warm.coldness).max(0.0);
            (probability, warm, warm + slope)
        });
        Some(Self {
            warm: ascending(quantiles.map(|(probability, warm, _)| (probability, warm))),
            cold: ascending(quantiles.map(|(probability, _, cold)| (probability, cold))),
            samples: [warm.times.len(), cold.times.len()],
        })
    }

    /// Returns the median at this coldness, in microseconds.
    pub(super) fn median_at(&self, coldness: f64) -> f64 {
        let [warm, cold] = [&self.warm, &self.cold].map(|quantiles| {
            quantiles.iter().find(|(probability, _)| *probability == 0.5).map_or(0.0, |(_, micros)| *micros)
        });
        warm + coldness * (cold - warm)
    }
}

/// Samples of similar coldness.
struct Group {
    /// Mean coldness.
    coldness: f64,
    /// Ascending times in microseconds.
    times: Vec<f64>,
}

impl Group {
    fn new(samples: &[(f64, f64)]) -> Self {
        let mut times: Vec<_> = samples.iter().map(|(_, micros)| *micros).collect();
        times.sort_by(f64::total_cmp);
        let coldness = samples.iter().map(|(coldness, _)| coldness).sum::<f64>() / samples.len().max(1) as f64;
        Self { coldness, times }
    }

    fn quantile(&self, probability: f64) -> f64 {
        quantile(&self.times, probability).unwrap_or(0.0)
    }
}

/// Rounds to 0.1 µs and makes the values ascend.
fn ascending(quantiles: [(f64, f64); GRID.len()]) -> Vec<(f64, f64)> {
    let mut before = 0.0;
    let rounded = quantiles.map(|(probability, micros)| {
        before = ((micros * 10.0).round() / 10.0).max(before);
        (probability, before)
    });
    rounded.to_vec()
}
