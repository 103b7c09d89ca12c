//! The time from a process's write until another process has read it.

use std::{num::NonZeroU64, time::Duration};

use kernel::distribution::Distribution;

/// The one-way delay of the bytes that are sent at one instant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Delay {
    /// One distribution for all sizes: the time of the network alone.
    Plain(Distribution),
    /// Distributions by size in bytes, ascending, at least one: the time of the network and of both processes.
    BySize(Vec<(NonZeroU64, Distribution)>),
}

impl Delay {
    /// Returns the delay of `bytes` at `probability`. Up to the smallest calibrated size it is the delay of that size, as
    /// most of it does not depend on the size. Between two sizes it is linear in the size, and beyond the largest it
    /// continues the line through the last two.
    pub(crate) fn quantile(&self, bytes: u64, probability: f64) -> Duration {
        let sizes = match self {
            Self::Plain(distribution) => return distribution.quantile(probability),
            Self::BySize(sizes) => sizes,
        };
        let (below, above) = match sizes.partition_point(|(size, _)| size.get() <= bytes) {
            0 => {
                return sizes
                    .first()
                    .map_or(Duration::ZERO, |smallest| Duration::from_secs_f64(seconds(smallest, probability)));
            }
            _ if sizes.len() == 1 => return Duration::from_secs_f64(seconds(&sizes[0], probability)),
            place => (&sizes[place.min(sizes.len() - 1) - 1], &sizes[place.min(sizes.len() - 1)]),
        };
        let size_below = below.0.get() as f64;
        let size_above = above.0.get() as f64;
        let seconds_below = seconds(below, probability);
        let seconds_above = seconds(above, probability);
        let delay =
            seconds_below + (seconds_above - seconds_below) * (bytes as f64 - size_below) / (size_above - size_below);
        // If the largest size was measured to be faster than the one before it, size does not matter, and a line down
        // would end below zero.
        Duration::from_secs_f64(if bytes >= above.0.get() { delay.max(seconds_above) } else { delay })
    }
}

/// Returns the delay of a calibrated size at `probability`, in seconds.
fn seconds((_, distribution): &(NonZeroU64, Distribution), probability: f64) -> f64 {
    distribution.quantile(probability).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    /// Returns a size whose delay is constant.
    fn size(bytes: u64, micros: u64) -> (NonZeroU64, Distribution) {
        (NonZeroU64::new(bytes).unwrap(), Distribution::constant(us(micros)))
    }

    #[test]
    fn a_delay_is_linear_between_sizes_and_beyond_the_largest() {
        let delay = Delay::BySize(vec![size(1_000, 100), size(3_000, 200)]);
        let micros = [0, 999, 1_000, 2_000, 3_000, 6_000].map(|bytes| delay.quantile(bytes, 0.5));
        assert_eq!(micros, [100, 100, 100, 150, 200, 350].map(us));
    }

    #[test]
    fn a_delay_with_one_size_is_the_same_for_all_sizes() {
        let delay = Delay::BySize(vec![size(1_000, 100)]);
        assert_eq!([0, 1_000, 1 << 30].map(|bytes| delay.quantile(bytes, 0.5)), [us(100); 3]);
    }

    #[test]
    fn a_plain_delay_does_not_depend_on_the_size() {
        let delay = Delay::Plain(Distribution::constant(us(50)));
        assert_eq!([1, 1 << 30].map(|bytes| delay.quantile(bytes, 0.9)), [us(50); 2]);
    }
}
