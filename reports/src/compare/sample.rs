//! A sample of latencies, as the number of times that each value was seen.
//!
//! Latencies are whole microseconds, so that millions of requests have far fewer different values than there are requests.

use std::iter::Peekable;

use kernel::record::RequestRow;

use super::distance;
use crate::rows::RowTable;

/// The number of values that are collected before they are counted.
const BUFFER: usize = 1 << 20;

/// The greatest number of different values that are kept, 256 MiB of them. Beyond it, values are rounded.
const DIFFERENT_MAX: usize = 16 << 20;

/// The number of leading binary digits that rounding keeps, which is 0.1 % of the value.
const DIGITS: u32 = 11;

/// Latencies in seconds, ascending.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Each value with the number of latencies up to it.
    steps: Vec<(f64, u64)>,
}

/// Collects the latencies of a sample.
#[derive(Debug, Clone, Default)]
pub(super) struct SampleBuilder {
    buffer: Vec<u64>,
    /// Each value, ascending, with the number of times that it was seen.
    counts: Vec<(u64, u64)>,
    /// The number of digits that every value has lost.
    lost: u32,
}

impl Sample {
    /// Returns the sample of these values, which are in any order.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self::from_counts(values.into_iter().map(|value| (value, 1)))
    }

    /// Returns the sample of the latencies of requests. Of more different ones than fit in memory, it has them rounded down
    /// by up to 0.1 %.
    pub(crate) fn of_requests(requests: &RowTable<RequestRow>) -> Self {
        let mut builder = SampleBuilder::default();
        requests.each(|row| row.latency_us.into_iter().for_each(|latency_us| builder.add(latency_us)));
        builder.finish().0
    }

    /// Returns the number of values that are at most `value`.
    pub(crate) fn up_to(&self, value: f64) -> u64 {
        let place = self.steps.partition_point(|(known, _)| *known <= value);
        place.checked_sub(1).map_or(0, |place| self.steps[place].1)
    }

    /// Returns all values of several samples.
    pub(super) fn merged<'a>(samples: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut merged: Vec<(f64, u64)> = Vec::new();
        for sample in samples {
            merged = merge(merged.into_iter(), sample.counts(), |a, b| a.total_cmp(&b));
        }
        Self::from_counts(merged.into_iter())
    }

    /// Returns the sample of values, ascending, with the number of times that each was seen.
    fn from_counts(counts: impl Iterator<Item = (f64, u64)>) -> Self {
        let mut steps: Vec<(f64, u64)> = Vec::new();
        let mut all = 0;
        for (value, count) in counts {
            all += count;
            match steps.last_mut() {
                Some(last) if last.0 == value => last.1 = all,
                _ => steps.push((value, all)),
            }
        }
        Self { steps }
    }

    /// Returns each value, ascending, with the number of times that it is in the sample.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let before = [0].into_iter().chain(self.steps.iter().map(|(_, up_to)| *up_to));
        self.steps.iter().zip(before).map(|((value, up_to), before)| (*value, up_to - before))
    }

    /// Returns the values, ascending and each once, with the share of the sample that is at most the value.
    pub fn shares(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let all = self.len() as f64;
        self.steps.iter().map(move |(value, up_to)| (*value, *up_to as f64 / all))
    }

    /// Returns the number of values.
    pub fn len(&self) -> u64 {
        self.steps.last().map_or(0, |(_, up_to)| *up_to)
    }

    /// Returns true if there is no value.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns the nearest-rank quantile: the least value that at least `share` of the sample does not exceed.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = distance::rank(self.len(), share);
        self.steps.get(self.steps.partition_point(|(_, up_to)| *up_to < rank)).map(|(value, _)| *value)
    }
}

impl SampleBuilder {
    /// Adds a latency in microseconds.
    pub(super) fn add(&mut self, latency_us: u64) {
        self.buffer.push(latency_us);
        if self.buffer.len() == BUFFER {
            self.count(DIFFERENT_MAX);
        }
    }

    /// Returns the sample, and whether its values were rounded.
    pub(super) fn finish(mut self) -> (Sample, bool) {
        self.count(DIFFERENT_MAX);
        let counts = self.counts.into_iter().map(|(us, count)| (us as f64 / 1e6, count));
        (Sample::from_counts(counts), self.lost > 0)
    }

    fn count(&mut self, most: usize) {
        self.buffer.sort_unstable();
        let new = std::mem::take(&mut self.buffer);
        let new = new.chunk_by(|a, b| a == b).map(|alike| (alike[0], alike.len() as u64));
        self.counts = merge(std::mem::take(&mut self.counts).into_iter(), new, |a, b| a.cmp(&b));
        if self.lost > 0 || self.counts.len() > most {
            self.lost = u64::BITS - DIGITS;
            self.round();
        }
    }

    /// Rounds all values down to their leading digits.
    fn round(&mut self) {
        let mut rounded: Vec<(u64, u64)> = Vec::new();
        for (us, count) in self.counts.drain(..) {
            let digits = (u64::BITS - us.leading_zeros()).saturating_sub(DIGITS);
            let us = us >> digits << digits;
            match rounded.last_mut() {
                Some(last) if last.0 == us => last.1 += count,
                _ => rounded.push((us, count)),
            }
        }
        self.counts = rounded;
    }
}

/// Returns the counts of both, which are ascending by value.
fn merge<T: Copy>(
    a: impl Iterator<Item = (T, u64)>,
    b: impl Iterator<Item = (T, u64)>,
    compare: impl Fn(T, T) -> std::cmp::Ordering,
) -> Vec<(T, u64)> {
    let mut a = a.peekable();
    let mut b = b.peekable();
    let mut merged = Vec::new();
    while let Some(next) = less_of(&mut a, &mut b, &compare) {
        merged.push(next);
    }
    merged
}

/// Takes the lesser one of the next values, with both counts if they are equal.
fn less_of<T: Copy>(
    a: &mut Peekable<impl Iterator<Item = (T, u64)>>,
    b: &mut Peekable<impl Iterator<Item = (T, u64)>>,
    compare: impl Fn(T, T) -> std::cmp::Ordering,
) -> Option<(T, u64)> {
    match (a.peek().copied(), b.peek().copied()) {
        (Some((value, count)), Some((other, others))) => match compare(value, other) {
            std::cmp::Ordering::Less => a.next(),
            std::cmp::Ordering::Greater => b.next(),
            std::cmp::Ordering::Equal => {
                a.next();
                b.next();
                Some((value, count + others))
            }
        },
        (Some(_), None) => a.next(),
        (None, _) => b.next(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn built(values: &[u64]) -> Sample {
        let mut builder = SampleBuilder::default();
        values.iter().for_each(|us| builder.add(*us));
        builder.finish().0
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_sorted_values(values in prop::collection::vec(0..40_u64, 0..60), share in 0.0..=1.0_f64) {
            let mut sorted: Vec<f64> = values.iter().map(|us| *us as f64 / 1e6).collect();
            sorted.sort_by(f64::total_cmp);
            let sample = built(&values);
            prop_assert_eq!(sample.quantile(share), distance::quantile(&sorted, share));
            prop_assert_eq!(sample.len(), values.len() as u64);
            prop_assert_eq!(&Sample::new(sorted), &sample);
        }

        #[test]
        fn parts_together_are_the_whole(a in prop::collection::vec(0..40_u64, 0..60), b in prop::collection::vec(0..40_u64, 0..60)) {
            prop_assert_eq!(Sample::merged([&built(&a), &built(&b)]), built(&[a, b].concat()));
        }
    }

    #[test]
    fn too_many_different_values_are_rounded_by_a_thousandth_at_most() {
        let values: Vec<u64> = (0..5_000).map(|index| index * 1_000_003).collect();
        let mut builder = SampleBuilder { buffer: values.clone(), ..SampleBuilder::default() };
        builder.count(100);
        let (sample, is_rounded) = builder.finish();
        assert!(is_rounded && sample.len() == 5_000);
        for share in [0.001, 0.5, 0.99, 1.0] {
            let exact = built(&values).quantile(share).unwrap();
            let rounded = sample.quantile(share).unwrap();
            assert!(rounded <= exact && exact - rounded <= exact / 1000.0, "{share}: {rounded} for {exact}");
        }
    }
}
