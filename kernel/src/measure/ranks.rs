//! Exact percentiles of values of which there may be more than fit in memory.

use std::{fmt, iter, ops::Range};

use super::latency::nearest_rank;

/// The greatest number of values that are in memory at once: 256 MiB of them.
const VALUES_MAX: u64 = 32 << 20;

/// The number of binary digits by which the values of a group that is too large are distinguished in one pass.
const DIGITS: u32 = 16;

/// A visit to values: a function that calls its argument with the group of each value, and the value.
pub type EachValue<'a> = dyn Fn(&mut dyn FnMut(usize, u64)) + 'a;

/// Values in groups, which can be visited any number of times.
///
/// ```
/// use kernel::measure::GroupedValues;
///
/// let values = [(0, 250), (1, 7), (0, 40), (0, 60), (0, 50)];
/// let each = |visit: &mut dyn FnMut(usize, u64)| values.iter().for_each(|(group, value)| visit(*group, *value));
/// let percentiles = GroupedValues { groups: 3, each: &each }.percentiles([500, 1000]);
/// assert_eq!(percentiles, [[Some(50), Some(250)], [Some(7), Some(7)], [None, None]]);
/// ```
pub struct GroupedValues<'a> {
    /// The number of groups.
    pub groups: usize,
    /// Calls its argument with the group of each value, and the value. Groups beyond the last are passed over.
    pub each: &'a EachValue<'a>,
}

impl fmt::Debug for GroupedValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupedValues").field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl GroupedValues<'_> {
    /// Returns the percentiles of each group, as [`Latencies::percentile`](super::Latencies::percentile) defines them, in
    /// thousandths and in ascending order; `None` for a group without values.
    ///
    /// The values are visited several times. At most 256 MiB of them are in memory: those of some groups at a time, and of
    /// a group that is larger none, as its percentiles are found digit by digit.
    pub fn percentiles<const N: usize>(&self, per_mille: [u32; N]) -> Vec<[Option<u64>; N]> {
        self.percentiles_within(per_mille, VALUES_MAX)
    }

    fn percentiles_within<const N: usize>(&self, per_mille: [u32; N], most: u64) -> Vec<[Option<u64>; N]> {
        if self.groups == 0 {
            return Vec::new();
        }
        let mut counts = vec![0_u64; self.groups];
        (self.each)(&mut |group, _| counts.get_mut(group).into_iter().for_each(|count| *count += 1));
        let mut percentiles = Vec::with_capacity(self.groups);
        while percentiles.len() < self.groups {
            let batch = batch(&counts, percentiles.len(), most);
            let ranks = |count: u64| per_mille.map(|per_mille| rank(count, per_mille));
            if counts[batch.start] > most {
                percentiles.push(self.by_digits(batch.start, ranks(counts[batch.start])));
            } else {
                for mut values in self.values(&counts, batch) {
                    let ranks = ranks(values.len() as u64);
                    percentiles.push(selected(&mut values, ranks));
                }
            }
        }
        percentiles
    }

    /// Returns the values of each group of `batch`, in any order.
    fn values(&self, counts: &[u64], batch: Range<usize>) -> Vec<Vec<u64>> {
        let mut values: Vec<Vec<u64>> =
            counts[batch.clone()].iter().map(|count| Vec::with_capacity(*count as usize)).collect();
        (self.each)(&mut |group, value| {
            if batch.contains(&group) {
                values[group - batch.start].push(value);
            }
        });
        values
    }

    /// Returns the values at these ranks of a group, from 0. Each pass over the values finds the next digits of each.
    fn by_digits<const N: usize>(&self, group: usize, ranks: [Option<u64>; N]) -> [Option<u64>; N] {
        let mut found = [0_u64; N];
        let mut left = ranks.map(Option::unwrap_or_default);
        for shift in (0..u64::BITS).step_by(DIGITS as usize).rev() {
            // On the heap: an array of them would be half a stack.
            let mut counts: Vec<[u64; N]> = iter::repeat_n([0; N], 1 << DIGITS).collect();
            (self.each)(&mut |its_group, value| {
                // All digits above are those found so far, and there are none above the first.
                let above = value.checked_shr(shift + DIGITS).unwrap_or(0);
                if its_group == group {
                    let digits = (value >> shift) as usize & ((1 << DIGITS) - 1);
                    for (count, found) in counts[digits].iter_mut().zip(&found) {
                        *count += u64::from(above == *found);
                    }
                }
            });
            for index in 0..N {
                let digits = digits_at(counts.iter().map(|counts| counts[index]), &mut left[index]);
                found[index] = found[index] << DIGITS | digits;
            }
        }
        let mut values = [None; N];
        for (value, (found, rank)) in values.iter_mut().zip(found.into_iter().zip(ranks)) {
            *value = rank.map(|_| found);
        }
        values
    }
}

/// Returns the first of `counts` that holds the rank `left`, from which those before it are taken off.
fn digits_at(counts: impl Iterator<Item = u64>, left: &mut u64) -> u64 {
    for (digits, count) in (0_u64..).zip(counts) {
        if *left < count {
            return digits;
        }
        *left -= count;
    }
    0
}

/// Returns the percentiles of values in any order, in thousandths and in ascending order; `None` without values. Selecting a
/// few ranks takes a fraction of the time of sorting.
pub(super) fn percentiles<const N: usize>(mut values: Vec<u64>, per_mille: [u32; N]) -> [Option<u64>; N] {
    let count = values.len() as u64;
    selected(&mut values, per_mille.map(|per_mille| rank(count, per_mille)))
}

/// Returns the rank of a percentile of `count` values, from 0; `None` without values.
fn rank(count: u64, per_mille: u32) -> Option<u64> {
    nearest_rank(count, per_mille as usize).checked_sub(1)
}

/// Returns the groups from `first` on that have at most `most` values together; at least one.
fn batch(counts: &[u64], first: usize, most: u64) -> Range<usize> {
    let mut sum = counts[first];
    let mut end = first + 1;
    while end < counts.len() && sum + counts[end] <= most {
        sum += counts[end];
        end += 1;
    }
    first..end
}

/// Returns the values at these ranks, which are ascending.
fn selected<const N: usize>(values: &mut [u64], ranks: [Option<u64>; N]) -> [Option<u64>; N] {
    let mut found = [None; N];
    // Each selection moves what is less before it, so the next one looks only behind it.
    let mut behind = 0;
    for (found, rank) in found.iter_mut().zip(ranks) {
        let Some(rank) = rank.map(|rank| rank as usize) else { continue };
        let (_, value, _) = values[behind..].select_nth_unstable(rank - behind);
        *found = Some(*value);
        behind = rank;
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::Latencies;

    const PER_MILLE: [u32; 4] = [500, 950, 990, 1000];

    fn value() -> impl Strategy<Value = u64> {
        prop_oneof![0..100_u64, 0..5_000_000_u64, any::<u64>()]
    }

    proptest! {
        /// With room for 0 to all values: by digits, in batches, and at once.
        #[test]
        fn percentiles_are_those_of_sorted_values(values in prop::collection::vec((0..5_usize, value()), 0..60), most in 0..80_u64) {
            let each = |visit: &mut dyn FnMut(usize, u64)| values.iter().for_each(|(group, value)| visit(*group, *value));
            let found = GroupedValues { groups: 4, each: &each }.percentiles_within(PER_MILLE, most);
            prop_assert_eq!(found.len(), 4);
            for (group, found) in found.into_iter().enumerate() {
                let own = values.iter().filter(|(its_group, _)| *its_group == group).map(|(_, value)| *value);
                let sorted = Latencies::new(own);
                prop_assert_eq!(found, PER_MILLE.map(|per_mille| sorted.percentile(per_mille as usize)));
            }
        }
    }
}
