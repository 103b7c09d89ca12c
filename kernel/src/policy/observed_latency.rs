//! A percentile of the latencies in a window that slides, from which policies derive times.
//!
//! Latencies are counted in buckets whose widths grow with their values, as in HdrHistogram (Tene): one for each microsecond up to 64, and
//! then 32 for each doubling, up to 38 hours. The percentile is that of the nearest rank, and the upper end of the bucket with it: it is never
//! less than the exact percentile, and at most a 32nd and a microsecond more. Each tenth of the window has counts of its own, of 4 KiB, and
//! leaves the window as a whole, so that the percentile is of the last nine to ten tenths.
//!
//! ```text
//! NONE ──(`minimum_samples` in the window)──> KNOWN ──(fewer, when a tenth of the window ends)──> NONE
//! ```
//!
//! While it is KNOWN, it is computed again when a tenth of the window ends.

use std::{collections::VecDeque, time::Duration};

use crate::time::Instant;

/// Number of parts that the window is divided into.
const PARTS: u64 = 10;

/// The binary logarithm of the number of buckets for each doubling.
const BITS: u32 = 5;

/// Number of buckets: those of single microseconds, and those of 32 doublings.
const BUCKETS: usize = 33 << BITS;

/// The longest latency that differs from a longer one, in microseconds.
const LONGEST_US: u64 = (1 << (32 + BITS)) - 1;

/// The latencies of a window.
pub(super) struct ObservedLatency {
    /// The share of the samples that are no longer than the percentile, over 0 and up to 1.
    share: f64,
    minimum_samples: u64,
    part_nanos: u64,
    /// The number of the present part, counted from the start of the run.
    present: u64,
    /// The parts of the window in which something was observed, in order.
    parts: VecDeque<Part>,
    total: Counts,
    /// The bucket of the percentile, while it is known.
    bucket: Option<usize>,
}

/// The counts of a part of the window.
struct Part {
    number: u64,
    counts: Counts,
}

/// The numbers of samples by bucket.
struct Counts {
    buckets: Box<[u32]>,
    samples: u64,
}

impl Counts {
    fn new() -> Self {
        Self { buckets: vec![0; BUCKETS].into_boxed_slice(), samples: 0 }
    }

    fn add(&mut self, bucket: usize) {
        self.buckets[bucket] += 1;
        self.samples += 1;
    }

    fn subtract(&mut self, other: &Self) {
        for (own, other) in self.buckets.iter_mut().zip(&other.buckets) {
            *own -= other;
        }
        self.samples -= other.samples;
    }

    /// Returns the bucket with the sample of this rank, from 1.
    fn bucket_of_rank(&self, rank: u64) -> Option<usize> {
        let mut seen = 0;
        self.buckets.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        })
    }
}

impl ObservedLatency {
    /// Creates an empty window. The percentile is in percent.
    pub(super) fn new(window: Duration, percentile: f64, minimum_samples: usize) -> Self {
        let nanos = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        Self {
            share: percentile / 100.0,
            minimum_samples: minimum_samples as u64,
            part_nanos: (nanos / PARTS).max(1),
            present: 0,
            parts: VecDeque::new(),
            total: Counts::new(),
            bucket: None,
        }
    }

    /// Goes on with another percentile and another number of samples, of what was observed.
    pub(super) fn change(&mut self, percentile: f64, minimum_samples: usize) {
        (self.share, self.minimum_samples) = (percentile / 100.0, minimum_samples as u64);
        self.compute();
    }

    /// Removes the parts that have left the window. Returns whether the percentile has been computed again.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        let number = now.as_nanos() / self.part_nanos;
        if number <= self.present {
            return false;
        }
        self.present = number;
        while let Some(part) = self.parts.pop_front_if(|part| part.number + PARTS <= number) {
            self.total.subtract(&part.counts);
        }
        self.compute();
        true
    }

    /// Adds a latency to the present part. Returns whether the percentile has become known by it.
    pub(super) fn add(&mut self, latency: Duration) -> bool {
        let bucket = bucket_of(latency);
        if self.parts.back().is_none_or(|part| part.number != self.present) {
            self.parts.push_back(Part { number: self.present, counts: Counts::new() });
        }
        if let Some(part) = self.parts.back_mut() {
            part.counts.add(bucket);
        }
        self.total.add(bucket);
        let becomes_known = self.bucket.is_none() && self.total.samples >= self.minimum_samples;
        if becomes_known {
            self.compute();
        }
        becomes_known
    }

    /// Returns whether the latency is as long as the percentile, as far as buckets tell; false while there is none.
    pub(super) fn reaches(&self, latency: Duration) -> bool {
        self.bucket.is_some_and(|bucket| bucket_of(latency) >= bucket)
    }

    /// Returns the percentile, while it is known.
    pub(super) fn percentile(&self) -> Option<Duration> {
        self.bucket.map(upper_end)
    }

    fn compute(&mut self) {
        let samples = self.total.samples;
        let rank = (samples as f64 * self.share).ceil().max(1.0) as u64;
        let is_known = samples >= self.minimum_samples.max(1);
        self.bucket = if is_known { self.total.bucket_of_rank(rank.min(samples)) } else { None };
    }
}

/// Returns the bucket of a latency.
fn bucket_of(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min(LONGEST_US);
    let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(BITS + 1);
    // The highest bits of the latency, of which the first counts for the bucket before.
    ((shift as usize) << BITS) + (micros >> shift) as usize
}

/// Returns the time from which on latencies are in the next bucket.
fn upper_end(bucket: usize) -> Duration {
    let next = bucket as u64 + 1;
    let shift = (next >> BITS).saturating_sub(1);
    Duration::from_micros((next - (shift << BITS)) << shift)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    fn add(observed: &mut ObservedLatency, count: usize, micros: u64) {
        for _ in 0..count {
            observed.add(Duration::from_micros(micros));
        }
    }

    fn micros(latency: Option<Duration>) -> Option<u128> {
        latency.map(|latency| latency.as_micros())
    }

    #[test]
    fn the_percentile_is_known_from_the_smallest_number_of_samples_on() {
        let mut observed = ObservedLatency::new(Duration::from_secs(10), 50.0, 3);
        assert!(!observed.add(Duration::from_micros(10)) && !observed.add(Duration::from_micros(20)));
        assert_eq!(observed.percentile(), None);
        assert!(observed.add(Duration::from_micros(30)));
        assert_eq!(micros(observed.percentile()), Some(21));
        assert!(observed.reaches(Duration::from_micros(20)) && !observed.reaches(Duration::from_micros(19)));
    }

    #[test]
    fn it_is_computed_again_when_a_tenth_of_the_window_ends_and_forgets_what_has_left_it() {
        let mut observed = ObservedLatency::new(Duration::from_secs(10), 90.0, 2);
        add(&mut observed, 10, 10);
        assert!(!observed.advance(at(900)));
        add(&mut observed, 10, 25);
        assert_eq!(micros(observed.percentile()), Some(11), "the tenth has not ended");
        assert!(observed.advance(at(1_000)));
        assert_eq!(micros(observed.percentile()), Some(26));
        add(&mut observed, 2, 5);
        assert!(observed.advance(at(10_100)));
        assert_eq!(micros(observed.percentile()), Some(6), "those of the first second have left");
        assert!(observed.advance(at(60_000)));
        assert_eq!(observed.percentile(), None);
        assert_eq!(observed.total.samples, 0);
    }

    #[test]
    fn another_percentile_is_of_what_was_observed() {
        let mut observed = ObservedLatency::new(Duration::from_secs(10), 50.0, 4);
        (1..=4).for_each(|latency| add(&mut observed, 1, latency));
        observed.change(100.0, 4);
        assert_eq!(micros(observed.percentile()), Some(5));
        observed.change(100.0, 5);
        assert_eq!(observed.percentile(), None);
    }

    #[test]
    fn buckets_follow_one_another_without_gaps_up_to_the_longest_latency() {
        for bucket in 0..BUCKETS {
            let end = upper_end(bucket);
            assert_eq!(bucket_of(end - Duration::from_micros(1)), bucket);
            if bucket + 1 < BUCKETS {
                assert_eq!(bucket_of(end), bucket + 1);
            }
        }
        assert_eq!(bucket_of(Duration::MAX), BUCKETS - 1);
        assert!(upper_end(BUCKETS - 1) > Duration::from_secs(38 * 60 * 60));
    }

    proptest! {
        #[test]
        fn the_percentile_is_no_less_than_the_exact_one_and_at_most_a_32nd_more(
            latencies in proptest::collection::vec(0..10_000_000_u64, 1..300), percentile in 1.0..100.0,
        ) {
            let mut observed = ObservedLatency::new(Duration::from_secs(10), percentile, 1);
            for latency in &latencies {
                observed.add(Duration::from_micros(*latency));
            }
            observed.compute();
            let mut sorted = latencies;
            sorted.sort_unstable();
            let rank = (sorted.len() as f64 * percentile / 100.0).ceil() as usize;
            let exact = sorted[rank.max(1) - 1];
            let found = observed.percentile().unwrap().as_micros() as u64;
            prop_assert!(exact < found && found <= exact + exact / 32 + 1, "{found} for {exact}");
        }
    }
}
