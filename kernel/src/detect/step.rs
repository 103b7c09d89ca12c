//! The results of calls, collected in steps of equal length.

use std::time::Duration;

use crate::record::RequestRow;

/// The end of a call, as its caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The time of its end, in microseconds since the run began. A call that was dropped ends when it was intended.
    pub end_us: u64,
    /// Its latency in microseconds, from the time at which it was intended; 0 if it was dropped.
    pub latency_us: u64,
    /// True if the call failed or was dropped.
    pub is_failure: bool,
}

impl From<&RequestRow> for Call {
    fn from(row: &RequestRow) -> Self {
        Self {
            end_us: row.done_us.unwrap_or(row.intended_us),
            latency_us: row.latency_us.unwrap_or(0),
            is_failure: !row.status.is_success(),
        }
    }
}

/// Number of latency buckets to a factor of two.
const PER_OCTAVE: usize = 8;

/// Number of octaves, from 64 µs to a little over an hour.
const OCTAVES: usize = 26;

/// Upper bound of the lowest bucket, in microseconds.
const LOWEST_US: f64 = 64.0;

/// How many calls had which latency, in buckets whose bounds are 9 % apart, from 64 µs to an hour.
///
/// Without calls it needs no memory: a run can have a long time in which nothing ends.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LatencyBuckets(Vec<f32>);

/// Number of buckets.
const BUCKETS: usize = PER_OCTAVE * OCTAVES;

impl LatencyBuckets {
    fn bucket(latency_us: u64) -> usize {
        let octaves = (latency_us as f64 / LOWEST_US).max(1.0).log2();
        ((octaves * PER_OCTAVE as f64).ceil() as usize).min(BUCKETS - 1)
    }

    /// Returns the upper bound of a bucket in microseconds.
    fn bound_us(bucket: usize) -> f64 {
        LOWEST_US * (bucket as f64 / PER_OCTAVE as f64).exp2()
    }

    /// Adds a call.
    pub fn add(&mut self, latency_us: u64) {
        self.0.resize(BUCKETS, 0.0);
        self.0[Self::bucket(latency_us)] += 1.0;
    }

    /// Multiplies all counts by `kept`, from 0 to 1, and adds those of `other`.
    pub fn decay_and_add(&mut self, kept: f32, other: &Self) {
        self.0.resize(BUCKETS, 0.0);
        let more = other.0.iter().copied().chain(std::iter::repeat(0.0));
        for (count, more) in self.0.iter_mut().zip(more) {
            *count = *count * kept + more;
        }
    }

    /// Returns the number of calls; it is not whole once counts were multiplied.
    pub fn total(&self) -> f64 {
        self.0.iter().copied().map(f64::from).sum()
    }

    /// Returns the number of calls in the buckets above `latency_us`.
    pub fn above(&self, latency_us: f64) -> f64 {
        let first = Self::bucket(latency_us as u64) + 1;
        self.0[first.min(self.0.len())..].iter().copied().map(f64::from).sum()
    }

    /// Returns the upper bound in microseconds of the bucket with the quantile `q`, from 0 to 1; `None` without calls.
    pub fn quantile_us(&self, q: f64) -> Option<f64> {
        let total = self.total();
        let mut left = q * total;
        let bucket = self.0.iter().position(|count| {
            left -= f64::from(*count);
            left <= 0.0
        });
        (total > 0.0).then(|| Self::bound_us(bucket.unwrap_or(self.0.len() - 1)))
    }
}

/// The calls that ended in one interval of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its end, in microseconds since the run began.
    pub end_us: u64,
    /// Number of calls that ended.
    pub calls: u32,
    /// Number of those that failed.
    pub failures: u32,
    /// The latencies of those that succeeded.
    pub latencies: LatencyBuckets,
}

impl Step {
    fn until(end_us: u64) -> Self {
        Self { end_us, calls: 0, failures: 0, latencies: LatencyBuckets::default() }
    }

    /// Returns the number of calls that failed, or took longer than `slow_us`.
    pub fn bad(&self, slow_us: f64) -> f64 {
        f64::from(self.failures) + self.latencies.above(slow_us)
    }
}

/// Collects calls into steps.
///
/// ```
/// use std::time::Duration;
/// use kernel::detect::{Call, StepCollector};
///
/// let mut collector = StepCollector::new(Duration::from_secs(10));
/// let call = |end_us, is_failure| Call { end_us, latency_us: 900, is_failure };
/// assert!(collector.add(&call(1_000_000, false)).is_empty());
/// let complete = collector.add(&call(21_000_000, true));
/// assert_eq!(complete.iter().map(|step| step.calls).collect::<Vec<_>>(), [1, 0], "a step without calls counts, too");
/// ```
#[derive(Debug, Clone)]
pub struct StepCollector {
    length_us: u64,
    open: Step,
}

impl StepCollector {
    /// Creates a collector of steps of this length, at least a microsecond; the first one begins at 0.
    pub fn new(length: Duration) -> Self {
        let length_us = u64::try_from(length.as_micros()).unwrap_or(u64::MAX).max(1);
        Self { length_us, open: Step::until(length_us) }
    }

    /// Adds a call, and returns the steps that are complete by then. A call that ended before the open step began counts in the open
    /// step: a live stream of results may be a little out of order.
    pub fn add(&mut self, call: &Call) -> Vec<Step> {
        let complete = self.advance(call.end_us);
        self.open.calls += 1;
        if call.is_failure {
            self.open.failures += 1;
        } else {
            self.open.latencies.add(call.latency_us);
        }
        complete
    }

    /// Returns the steps that are complete when `now_us` is reached.
    pub fn advance(&mut self, now_us: u64) -> Vec<Step> {
        let mut complete = Vec::new();
        while now_us >= self.open.end_us {
            let next = Step::until(self.open.end_us.saturating_add(self.length_us));
            complete.push(std::mem::replace(&mut self.open, next));
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(latencies_us: &[u64]) -> LatencyBuckets {
        let mut counts = LatencyBuckets::default();
        latencies_us.iter().for_each(|latency| counts.add(*latency));
        counts
    }

    #[test]
    fn a_quantile_is_at_most_a_bucket_too_high() {
        let latencies: Vec<u64> = (1..=1_000).map(|i| i * 100).collect();
        for (q, exact) in [(0.01, 1_000.0), (0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let found = counts(&latencies).quantile_us(q).unwrap();
            assert!((exact..exact * 1.0906).contains(&found), "{q}: {found}");
        }
        assert_eq!(LatencyBuckets::default().quantile_us(0.5), None);
    }

    #[test]
    fn latencies_beyond_the_bounds_are_in_the_outermost_buckets() {
        let extremes = counts(&[0, 1, u64::MAX]);
        assert_eq!(extremes.quantile_us(0.5), Some(64.0));
        assert!(extremes.quantile_us(1.0).unwrap() > 3.6e9);
    }

    #[test]
    fn calls_above_a_latency_are_those_of_higher_buckets() {
        let some = counts(&[100, 1_000, 10_000]);
        assert_eq!(some.above(2_000.0), 1.0);
        assert_eq!(some.above(50.0), 3.0);
        assert_eq!(some.above(f64::INFINITY), 0.0);
    }

    #[test]
    fn counts_forget() {
        let mut kept = counts(&[100, 100]);
        kept.decay_and_add(0.5, &counts(&[100]));
        assert_eq!(kept.total(), 2.0);
    }

    #[test]
    fn a_call_that_is_late_counts_in_the_open_step() {
        let mut collector = StepCollector::new(Duration::from_secs(1));
        let call = |end_us| Call { end_us, latency_us: 10, is_failure: false };
        assert_eq!(collector.add(&call(1_500_000)).len(), 1);
        assert!(collector.add(&call(900_000)).is_empty());
        assert_eq!(collector.advance(2_000_000)[0].calls, 2);
    }
}
