//! How long what a process sends takes until another process has it.

use std::{num::NonZeroU64, time::Duration};

use kernel::distribution::Distribution;

/// The time of what is sent at one instant, one way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Delay {
    /// The same for all sizes: what the network takes.
    Plain(Distribution),
    /// By bytes, ascending and at least one: what the network and both processes take.
    BySize(Vec<(NonZeroU64, Distribution)>),
}

impl Delay {
    /// The time of `bytes` at `probability`. Up to the smallest calibrated size it is that size's, as most of it has
    /// nothing to do with the size; between two it is linear in the size, and beyond the largest it goes on as between
    /// the last two.
    pub(crate) fn quantile(&self, bytes: u64, probability: f64) -> Duration {
        let sizes = match self {
            Self::Plain(distribution) => return distribution.quantile(probability),
            Self::BySize(sizes) => sizes,
        };
        let at = |(_, distribution): &(NonZeroU64, Distribution)| distribution.quantile(probability).as_secs_f64();
        let (below, above) = match sizes.partition_point(|(size, _)| size.get() <= bytes) {
            0 => return sizes.first().map_or(Duration::ZERO, |smallest| Duration::from_secs_f64(at(smallest))),
            _ if sizes.len() == 1 => return Duration::from_secs_f64(at(&sizes[0])),
            place => (&sizes[place.min(sizes.len() - 1) - 1], &sizes[place.min(sizes.len() - 1)]),
        };
        let (from, to) = (below.0.get() as f64, above.0.get() as f64);
        let seconds = at(below) + (at(above) - at(below)) * (bytes as f64 - from) / (to - from);
        // A larger size that was measured to be faster says no more than that size does not matter.
        Duration::from_secs_f64(if bytes >= above.0.get() { seconds.max(at(above)) } else { seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn a_delay_is_linear_between_sizes_and_beyond_the_largest() {
        let size = |bytes, micros| (NonZeroU64::new(bytes).unwrap(), Distribution::constant(us(micros)));
        let delay = Delay::BySize(vec![size(1_000, 100), size(3_000, 200)]);
        let micros = [0, 999, 1_000, 2_000, 3_000, 6_000].map(|bytes| delay.quantile(bytes, 0.5));
        assert_eq!(micros, [100, 100, 100, 150, 200, 350].map(us));
    }

    #[test]
    fn a_delay_of_one_size_is_that_of_all() {
        let delay = Delay::BySize(vec![(NonZeroU64::new(1_000).unwrap(), Distribution::constant(us(100)))]);
        assert_eq!([0, 1_000, 1 << 30].map(|bytes| delay.quantile(bytes, 0.5)), [us(100); 3]);
    }

    #[test]
    fn a_plain_delay_knows_no_sizes() {
        let delay = Delay::Plain(Distribution::constant(us(50)));
        assert_eq!([1, 1 << 30].map(|bytes| delay.quantile(bytes, 0.9)), [us(50); 2]);
    }
}
