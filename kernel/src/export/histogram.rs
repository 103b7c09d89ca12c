//! Distributions: with the classic buckets of Prometheus, and with those of its native histograms.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The resolution of native histograms: each power of two is divided into `2^SCHEMA` buckets, so that a bucket is 9 % wide.
#[cfg_attr(not(feature = "service"), expect(dead_code, reason = "of the messages alone"))]
pub(super) const SCHEMA: i32 = 3;

/// The upper bounds of the buckets between one half and one, as numerators: `2^((i - 8) / 8)` for `i` from 1 to 8.
const FRACTIONS: [f64; 8] = [
    0.545_253_866_332_628_8,
    0.594_603_557_501_360_5,
    0.648_419_777_325_504_8,
    std::f64::consts::FRAC_1_SQRT_2,
    0.771_105_412_703_970_4,
    0.840_896_415_253_714_6,
    0.917_004_043_204_671_2,
    1.0,
];

/// The number of values in each native bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct NativeBuckets {
    /// The index of the first one.
    first: i32,
    /// The counts from the first bucket that has any values to the last one.
    counts: VecDeque<u64>,
}

impl NativeBuckets {
    fn add(&mut self, index: i32, values: u64) {
        if self.counts.is_empty() {
            self.first = index;
        }
        while index < self.first {
            self.counts.push_front(0);
            self.first -= 1;
        }
        // It is at most the number of buckets between the smallest and the largest number that there is.
        let place = (index - self.first) as usize;
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += values;
    }

    /// Returns the index and the number of values of each bucket that has any, in order.
    fn iter(&self) -> impl Iterator<Item = (i32, u64)> + '_ {
        (self.first..).zip(self.counts.iter().copied()).filter(|(_, values)| *values > 0)
    }
}

/// A distribution of values that are whole numbers of a unit: microseconds, or ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// The number of values in each classic bucket, which is not cumulative; the last one has those beyond all bounds.
    pub(super) buckets: Vec<u64>,
    native: NativeBuckets,
    /// Number of values that are zero.
    zeros: u64,
    pub(super) sum: u64,
    pub(super) count: u64,
}

impl Distribution {
    /// Creates an empty distribution with these upper bounds of its classic buckets.
    pub(super) fn new(bounds: &[u64]) -> Self {
        Self { buckets: vec![0; bounds.len() + 1], native: NativeBuckets::default(), zeros: 0, sum: 0, count: 0 }
    }

    /// Adds a value. `per_one` of its unit are one of the exported unit, such as a million microseconds.
    pub(super) fn add(&mut self, bounds: &[u64], value: u64, per_one: u64) {
        self.buckets[bounds.partition_point(|bound| *bound < value)] += 1;
        match native_index(value as f64 / per_one as f64) {
            Some(index) => self.native.add(index, 1),
            None => self.zeros += 1,
        }
        self.sum = self.sum.saturating_add(value);
        self.count += 1;
    }

    /// Adds the values of another distribution with the same bounds.
    pub(super) fn merge(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(own, more)| *own += more);
        other.native.iter().for_each(|(index, more)| self.native.add(index, more));
        self.zeros += other.zeros;
        self.sum = self.sum.saturating_add(other.sum);
        self.count += other.count;
    }

    /// Returns the same distribution without its native buckets.
    pub(super) fn classic(&self) -> Self {
        Self { buckets: self.buckets.clone(), native: NativeBuckets::default(), ..*self }
    }

    /// Returns the sum of the values, in the unit in which they are kept.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Returns the number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the number of values up to each bound, and of all.
    pub fn cumulative(&self) -> impl Iterator<Item = u64> + '_ {
        self.buckets.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        })
    }

    /// Returns the native buckets: the index and the number of values of each that has any, in order.
    pub fn native(&self) -> impl Iterator<Item = (i32, u64)> + '_ {
        self.native.iter()
    }

    /// Returns the number of values that are zero, which no native bucket has.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }
}

/// Returns the index of the native bucket of `value`: that of the upper bound `2^(index / 8)`; none for zero.
fn native_index(value: f64) -> Option<i32> {
    if value <= 0.0 {
        return None;
    }
    // A normal number is its fraction, from one half to one, times a power of two. No value here is subnormal or infinite.
    let bits = value.to_bits();
    let exponent = (bits >> 52) as i32 - 1_022;
    let fraction = f64::from_bits(bits & !(0x7ff << 52) | 1_022 << 52);
    // One half itself belongs to the bucket below.
    let place = if fraction <= 0.5 { -1 } else { FRACTIONS.partition_point(|bound| *bound < fraction) as i32 };
    Some((exponent - 1) * 8 + place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_native_bucket_whose_bound_is_the_next_one() {
        for (value, index) in [(1.0, 0), (2.0, 8), (0.5, -8), (1.09, 1), (1.091, 2), (1.5, 5), (0.25, -16), (3.0, 13)] {
            assert_eq!(native_index(value), Some(index), "{value}");
        }
        assert_eq!(native_index(0.0), None);
        for value in (1..100_000).map(|us| f64::from(us) / 1e6) {
            let index = native_index(value).unwrap();
            let (below, bound) = ((f64::from(index - 1) / 8.0).exp2(), (f64::from(index) / 8.0).exp2());
            assert!(below * (1.0 - 1e-12) < value && value <= bound * (1.0 + 1e-12), "{value} in {below} to {bound}");
        }
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let bounds = [0, 10, 20];
        let mut distribution = Distribution::new(&bounds);
        for value in [0, 10, 11, 20, 21] {
            distribution.add(&bounds, value, 1);
        }
        assert_eq!(distribution.cumulative().collect::<Vec<_>>(), [1, 2, 4, 5]);
        assert_eq!((distribution.sum, distribution.count, distribution.zeros), (62, 5, 1));
        assert_eq!(distribution.native().map(|(_, count)| count).sum::<u64>(), 4);
        let mut twice = distribution.clone();
        twice.merge(&distribution);
        assert_eq!(twice.cumulative().collect::<Vec<_>>(), [2, 4, 8, 10]);
    }
}
