//! Change points: the windows at which a series begins to behave differently.
//!
//! The method is PELT (Killick, Fearnhead and Eckley, "Optimal detection of changepoints with a linear computational
//! cost", JASA 107, 2012): of all ways to cut the series into segments, it finds the one with the least sum of costs, where
//! every cut has a price. It is exact, and faster than trying all ways, because it drops starts that can never be best
//! again. The cost of a segment is twice its negative log-likelihood under one success rate (binomial) and one level each
//! of the logarithms of median and p95 latency (normal, with the noise of the whole series: the median absolute
//! difference of neighbours, which change points hardly affect). A cut costs four parameters by BIC.

use crate::compare::distance;

/// One window of the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowSample {
    /// The number of requests in the window.
    pub trials: u64,
    /// The number of these requests that succeeded.
    pub successes: u64,
    /// The decimal logarithms of the window's median and p95 latency; `None` if it has none.
    pub levels: [Option<f64>; 2],
}

/// The smallest noise of the logarithm of a latency, 5 %. Simulated latencies may not vary at all.
const NOISE_MIN: f64 = 0.02;

/// The number of parameters that a cut adds: its position, a success rate and two levels.
const PARAMETERS: f64 = 4.0;

/// Returns the indexes at which segments begin, ascending. The first is 0, unless there are no samples.
pub fn segments(samples: &[WindowSample]) -> Vec<usize> {
    let sums = Sums::from_samples(samples);
    // The logarithm of a single sample would make cuts free.
    let price = PARAMETERS * (samples.len().max(2) as f64).ln();
    // `best[t]` is the least cost of the first t samples, and `last[t]` the beginning of their last segment.
    let mut best = vec![-price];
    let mut last = vec![0];
    let mut starts = vec![0];
    for end in 1..=samples.len() {
        let costs: Vec<f64> = starts.iter().map(|start| best[*start] + sums.cost(*start, end) + price).collect();
        let cheapest = index_of_least(&costs);
        let least = costs.get(cheapest).copied().unwrap_or(f64::INFINITY);
        last.push(starts.get(cheapest).copied().unwrap_or(0));
        best.push(least);
        // A start that is more expensive than a cut at `end` stays so for every later end, and is dropped.
        let mut kept = costs.iter().map(|cost| cost - price <= least);
        starts.retain(|_| kept.next().unwrap_or(true));
        starts.push(end);
    }
    let mut cuts = Vec::new();
    let mut end = samples.len();
    while end > 0 {
        end = last[end];
        cuts.push(end);
    }
    cuts.reverse();
    cuts
}

/// Returns the index of the first of the least values; 0 if there are none.
fn index_of_least(values: &[f64]) -> usize {
    let mut least = 0;
    for (index, value) in values.iter().enumerate() {
        if *value < values[least] {
            least = index;
        }
    }
    least
}

/// Cumulative sums, from which the cost of any segment is computed by a few subtractions.
struct Sums {
    trials: Vec<f64>,
    successes: Vec<f64>,
    levels: [Level; 2],
}

/// The cumulative sums of one level.
struct Level {
    count: Vec<f64>,
    sum: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    fn from_samples(samples: &[WindowSample]) -> Self {
        Self {
            trials: cumulative(samples.iter().map(|sample| sample.trials as f64)),
            successes: cumulative(samples.iter().map(|sample| sample.successes as f64)),
            levels: [0, 1].map(|index| {
                Level::from_values(&samples.iter().map(|sample| sample.levels[index]).collect::<Vec<_>>())
            }),
        }
    }

    fn cost(&self, start: usize, end: usize) -> f64 {
        let trials = self.trials[end] - self.trials[start];
        let successes = self.successes[end] - self.successes[start];
        2.0 * (entropy(successes, trials) + entropy(trials - successes, trials))
            + self.levels.iter().map(|level| level.cost(start, end)).sum::<f64>()
    }
}

/// Returns the negative log-likelihood of `part` outcomes of one kind among `trials`.
fn entropy(part: f64, trials: f64) -> f64 {
    if part > 0.0 { -part * (part / trials).ln() } else { 0.0 }
}

impl Level {
    /// Returns the sums of `values` in units of the noise around the median. So the squares stay small and exact.
    fn from_values(values: &[Option<f64>]) -> Self {
        let present: Vec<f64> = values.iter().copied().flatten().collect();
        let centre = median(present.clone()).unwrap_or(0.0);
        let noise = noise(&present);
        let scaled: Vec<Option<f64>> = values.iter().map(|value| value.map(|value| (value - centre) / noise)).collect();
        Self {
            count: cumulative(scaled.iter().map(|value| f64::from(u8::from(value.is_some())))),
            sum: cumulative(scaled.iter().map(|value| value.unwrap_or(0.0))),
            squares: cumulative(scaled.iter().map(|value| value.map_or(0.0, |value| value * value))),
        }
    }

    fn cost(&self, start: usize, end: usize) -> f64 {
        let count = self.count[end] - self.count[start];
        let sum = self.sum[end] - self.sum[start];
        let squares = self.squares[end] - self.squares[start];
        if count > 0.0 { (squares - sum * sum / count).max(0.0) } else { 0.0 }
    }
}

/// Returns 0 and the sums of the first value, the first two, and so on.
fn cumulative(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sums = vec![0.0];
    let mut sum = 0.0;
    for value in values {
        sum += value;
        sums.push(sum);
    }
    sums
}

/// Returns the standard deviation, estimated from the median absolute difference of neighbours.
fn noise(values: &[f64]) -> f64 {
    let differences = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    // The median absolute difference of two values of a normal distribution is 0.9539 standard deviations.
    median(differences).map_or(NOISE_MIN, |median| (median / 0.9539).max(NOISE_MIN))
}

pub(super) fn median(values: Vec<f64>) -> Option<f64> {
    quantile(values, 0.5)
}

/// Returns the nearest-rank quantile of values in any order; `None` if there are none.
pub(super) fn quantile(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    distance::quantile(&values, share)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(successes: u64, latency_s: f64) -> WindowSample {
        WindowSample { trials: 10, successes, levels: [Some(latency_s.log10()), Some((latency_s * 1.2).log10())] }
    }

    /// A latency of 100 ms, give or take.
    fn usual(index: usize) -> f64 {
        0.1 * (1.0 + 0.1 * ((index * 7919 % 13) as f64 / 13.0 - 0.5))
    }

    #[test]
    fn a_steady_series_is_one_segment() {
        let samples: Vec<WindowSample> = (0..90).map(|index| sample(10, usual(index))).collect();
        assert_eq!(segments(&samples), [0]);
        assert!(segments(&[]).is_empty());
        assert_eq!(segments(&samples[..1]), [0]);
    }

    #[test]
    fn a_step_in_latency_is_found_where_it_is() {
        let samples: Vec<WindowSample> =
            (0..90).map(|index| sample(10, usual(index) * if (30..50).contains(&index) { 4.0 } else { 1.0 })).collect();
        assert_eq!(segments(&samples), [0, 30, 50]);
    }

    #[test]
    fn a_fall_of_the_success_rate_is_found_where_it_is() {
        let samples: Vec<WindowSample> =
            (0..90).map(|index| sample(if (60..63).contains(&index) { 3 } else { 10 }, usual(index))).collect();
        assert_eq!(segments(&samples), [0, 60, 63]);
    }

    #[test]
    fn a_single_bad_window_is_a_segment() {
        let samples: Vec<WindowSample> = (0..90).map(|index| sample(10, if index == 24 { 0.3 } else { 0.1 })).collect();
        assert_eq!(segments(&samples), [0, 24, 25]);
    }

    /// The least sum by trying every way to cut.
    fn exhaustive(samples: &[WindowSample]) -> f64 {
        let sums = Sums::from_samples(samples);
        let price = PARAMETERS * (samples.len().max(2) as f64).ln();
        let mut best = vec![-price];
        for end in 1..=samples.len() {
            best.push((0..end).map(|start| best[start] + sums.cost(start, end) + price).fold(f64::INFINITY, f64::min));
        }
        best[samples.len()]
    }

    proptest! {
        #[test]
        fn pruning_loses_nothing(windows in prop::collection::vec((0_u64..=10, 0.01_f64..10.0), 1..60)) {
            let samples: Vec<WindowSample> = windows.into_iter().map(|(successes, latency)| sample(successes, latency)).collect();
            let sums = Sums::from_samples(&samples);
            let price = PARAMETERS * (samples.len().max(2) as f64).ln();
            let cuts = segments(&samples);
            let ends = cuts.iter().copied().skip(1).chain([samples.len()]);
            let found: f64 = cuts.iter().zip(ends).map(|(start, end)| sums.cost(*start, end) + price).sum::<f64>() - price;
            prop_assert!((found - exhaustive(&samples)).abs() < 1e-6 * found.abs().max(1.0));
        }
    }
}
