//! Latencies and their percentiles.

/// The latencies of some requests, in microseconds, ascending.
pub(super) struct Latencies(Vec<u64>);

impl Latencies {
    pub(super) fn of(latencies_us: impl Iterator<Item = u64>) -> Self {
        let mut sorted: Vec<u64> = latencies_us.collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    /// The nearest-rank percentile: the smallest latency that at least `per_mille` thousandths of them do not exceed,
    /// which is the one at rank `ceil(n * per_mille / 1000)` counted from 1. Always one of the recorded values, without
    /// interpolation, so it is exact. `per_mille` is 1 to 1000; of nothing it is `None`.
    pub(super) fn percentile(&self, per_mille: usize) -> Option<u64> {
        let rank = (self.0.len() * per_mille).div_ceil(1000);
        self.0.get(rank.checked_sub(1)?).copied()
    }

    pub(super) fn max(&self) -> Option<u64> {
        self.0.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(values: impl IntoIterator<Item = u64>) -> Latencies {
        Latencies::of(values.into_iter())
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
        assert_eq!(latencies([]).max(), None);
    }
}
