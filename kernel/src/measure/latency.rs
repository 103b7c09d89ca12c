//! Latencies and their percentiles.

use std::collections::BTreeMap;

/// The latencies of some requests, in microseconds, ascending.
///
/// ```
/// use kernel::measure::Latencies;
///
/// let latencies = Latencies::new([250, 40, 60, 50].into_iter());
/// assert_eq!(latencies.percentile(500), Some(50));
/// assert_eq!(latencies.percentile(990), Some(250));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// Sorts latencies that come in any order.
    pub fn new(latencies_us: impl Iterator<Item = u64>) -> Self {
        let mut sorted: Vec<u64> = latencies_us.collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    /// Returns the nearest-rank percentile: the smallest latency that at least `per_mille` thousandths of them do not
    /// exceed, which is the one at rank `ceil(n * per_mille / 1000)`, counted from 1.
    ///
    /// It is always one of the recorded values, without interpolation, and so exact. `per_mille` is 1 to 1000. There is
    /// no percentile of no latencies.
    pub fn percentile(&self, per_mille: usize) -> Option<u64> {
        let rank = nearest_rank(self.0.len() as u64, per_mille);
        self.0.get(usize::try_from(rank.checked_sub(1)?).ok()?).copied()
    }

    /// Returns the longest latency; none if there is no latency.
    pub fn max(&self) -> Option<u64> {
        self.0.last().copied()
    }
}

/// Returns the rank of a percentile of `count` values, counted from 1; 0 if there is no value.
pub(super) fn nearest_rank(count: u64, per_mille: usize) -> u64 {
    (count * per_mille as u64).div_ceil(1000)
}

/// Number of leading binary digits of a latency that are kept when it is counted.
const DIGITS: u32 = 8;

/// The latencies of a run that still goes on, in microseconds and in bounded memory: they are counted by their eight
/// leading binary digits. A percentile is that of [`Latencies`] or up to 1/128 above it.
///
/// ```
/// use kernel::measure::LatencyCounts;
///
/// let mut all = LatencyCounts::default();
/// for shard in [[100, 90], [70, 80]] {
///     let mut counts = LatencyCounts::default();
///     shard.into_iter().for_each(|latency_us| counts.add(latency_us));
///     all.merge(&counts);
/// }
/// assert_eq!(all.percentile(500), Some(80));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatencyCounts {
    /// Counts by the longest latency with the same leading digits; at most 7,424 of them.
    counts: BTreeMap<u64, u64>,
    all: u64,
}

impl LatencyCounts {
    /// Counts a latency.
    pub fn add(&mut self, latency_us: u64) {
        *self.counts.entry(longest_alike(latency_us)).or_default() += 1;
        self.all += 1;
    }

    /// Counts all latencies that `other` has counted.
    pub fn merge(&mut self, other: &Self) {
        for (latency_us, count) in &other.counts {
            *self.counts.entry(*latency_us).or_default() += count;
        }
        self.all += other.all;
    }

    /// Returns the nearest-rank percentile, as [`Latencies::percentile`] defines it.
    pub fn percentile(&self, per_mille: usize) -> Option<u64> {
        let rank = nearest_rank(self.all, per_mille);
        let mut passed = 0;
        for (latency_us, count) in &self.counts {
            passed += count;
            if passed >= rank {
                return Some(*latency_us);
            }
        }
        None
    }

    /// Returns the longest latency; none if no latency was counted.
    pub fn max(&self) -> Option<u64> {
        self.counts.last_key_value().map(|(latency_us, _)| *latency_us)
    }
}

/// Returns the longest latency with the same leading digits as `us`: `us` with ones for the digits that are not kept.
fn longest_alike(us: u64) -> u64 {
    let dropped = (u64::BITS - us.leading_zeros()).saturating_sub(DIGITS);
    us | ((1 << dropped) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(values: impl IntoIterator<Item = u64>) -> Latencies {
        Latencies::new(values.into_iter())
    }

    #[test]
    fn a_percentile_is_the_value_at_the_nearest_rank() {
        // Five values: p50 is rank ceil(2.5) = 3, p90 and p95 are rank ceil(4.5) = ceil(4.75) = 5, p20 is rank 1.
        let five = latencies([50, 10, 40, 20, 30]);
        assert_eq!(five.percentile(500), Some(30));
        assert_eq!(five.percentile(900), Some(50));
        assert_eq!(five.percentile(950), Some(50));
        assert_eq!(five.percentile(200), Some(10));
    }

    #[test]
    fn a_rank_that_comes_out_whole_is_not_rounded_up() {
        // Of 1 to 1000, p50 is rank 500 and p99.9 rank 999; of 1 to 100, p95 is rank 95 and p99.9 rank ceil(99.9) = 100.
        let thousand = latencies(1..=1000);
        assert_eq!(thousand.percentile(500), Some(500));
        assert_eq!(thousand.percentile(999), Some(999));
        let hundred = latencies(1..=100);
        assert_eq!(hundred.percentile(950), Some(95));
        assert_eq!(hundred.percentile(999), Some(100));
    }

    #[test]
    fn one_value_is_every_percentile_and_none_has_none() {
        let one = latencies([7]);
        assert_eq!([1, 500, 999, 1000].map(|p| one.percentile(p)), [Some(7); 4]);
        assert_eq!(latencies([]).percentile(500), None);
        assert_eq!((one.max(), latencies([]).max()), (Some(7), None));
    }

    #[test]
    fn counted_latencies_have_the_same_percentiles_but_for_the_digits_not_kept() {
        // Squares of 1 to 3000 µs, in two halves that are counted apart: 1 µs to 9 s.
        let values: Vec<u64> = (1..=3000).map(|n| n * n).collect();
        let mut counted = LatencyCounts::default();
        let mut odd = LatencyCounts::default();
        values.iter().for_each(|us| if us % 2 == 0 { counted.add(*us) } else { odd.add(*us) });
        counted.merge(&odd);
        let exact = latencies(values);
        for per_mille in [1, 10, 500, 900, 990, 999, 1000] {
            let counted = counted.percentile(per_mille).unwrap();
            let exact = exact.percentile(per_mille).unwrap();
            assert!((exact..=exact + exact / 128).contains(&counted), "{per_mille}: {counted} for {exact}");
        }
        assert_eq!(counted.percentile(1000), counted.max());
        assert!(counted.counts.len() < 2_000, "{} counts", counted.counts.len());
    }

    #[test]
    fn the_counts_of_nothing_have_no_percentile_and_extremes_fit() {
        assert_eq!(LatencyCounts::default().percentile(500), None);
        assert_eq!([0, 1, 255, 256, 257, u64::MAX].map(longest_alike), [0, 1, 255, 257, 257, u64::MAX]);
    }
}
