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
    /// The time of `bytes` at `probability`. Below the smallest calibrated size it is that size's, as most of it has
    /// nothing to do with the size; between two it is linear in the size, beyond the largest proportional to it.
    pub(crate) fn quantile(&self, bytes: u64, probability: f64) -> Duration {
        let sizes = match self {
            Self::Plain(distribution) => return distribution.quantile(probability),
            Self::BySize(sizes) => sizes,
        };
        let at = |(_, distribution): &(NonZeroU64, Distribution)| distribution.quantile(probability);
        let above = sizes.partition_point(|(size, _)| size.get() <= bytes);
        match (above.checked_sub(1).map(|below| &sizes[below]), sizes.get(above)) {
            (Some(below), Some(above)) => {
                let (from, to) = (below.0.get(), above.0.get());
                let share = (bytes - from) as f64 / (to - from) as f64;
                at(below).mul_f64(1.0 - share) + at(above).mul_f64(share)
            }
            (Some(largest), None) => at(largest).mul_f64(bytes as f64 / largest.0.get() as f64),
            (None, Some(smallest)) => at(smallest),
            (None, None) => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn a_delay_is_linear_between_sizes_and_proportional_beyond_them() {
        let size = |bytes, micros| (NonZeroU64::new(bytes).unwrap(), Distribution::constant(us(micros)));
        let delay = Delay::BySize(vec![size(1_000, 100), size(3_000, 200)]);
        let micros = [0, 999, 1_000, 2_000, 3_000, 6_000].map(|bytes| delay.quantile(bytes, 0.5));
        assert_eq!(micros, [100, 100, 100, 150, 200, 400].map(us));
    }

    #[test]
    fn a_plain_delay_knows_no_sizes() {
        let delay = Delay::Plain(Distribution::constant(us(50)));
        assert_eq!([1, 1 << 30].map(|bytes| delay.quantile(bytes, 0.9)), [us(50); 2]);
    }
}
