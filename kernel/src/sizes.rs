//! Sizes that were measured, around one that was not: calibrations have times of a few sizes only.

use serde::{Deserialize, Serialize};

/// What was measured of the sizes around another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Around<T> {
    /// Of the next smaller and of the next larger one, and how far between them the size is, from 0 to 1.
    Between(T, T, f64),
    /// Of this size alone: it is the size itself, or the smallest or the largest that was measured.
    Nearest(u64, T),
}

impl Around<f64> {
    /// Returns the value on the line between the two, or that of the nearest.
    pub fn linear(self) -> f64 {
        match self {
            Self::Between(below, above, share) => below + (above - below) * share,
            Self::Nearest(_, value) => value,
        }
    }
}

impl<T> Around<T> {
    /// Finds `size` among those that are known, in ascending order. Returns `None` if there are none.
    ///
    /// ```
    /// use kernel::sizes::Around;
    ///
    /// let micros = [(256, 40.0), (4_096, 60.0)];
    /// assert_eq!(Around::find(micros.into_iter(), 2_176), Some(Around::Between(40.0, 60.0, 0.5)));
    /// ```
    pub fn find(mut known: impl DoubleEndedIterator<Item = (u64, T)> + Clone, size: u64) -> Option<Self> {
        let below = known.clone().rfind(|(known, _)| *known <= size);
        let above = known.find(|(known, _)| *known >= size);
        match (below, above) {
            (Some((least, below)), Some((most, above))) if least < most => {
                Some(Self::Between(below, above, (size - least) as f64 / (most - least) as f64))
            }
            (Some((nearest, known)), _) | (None, Some((nearest, known))) => Some(Self::Nearest(nearest, known)),
            (None, None) => None,
        }
    }
}

/// How a time goes on from one measured size to the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetweenSizes {
    /// On a line.
    #[default]
    Line,
    /// As a power of the size where it grows faster than the size, as the time of a computation does whose data outgrow a cache. Times that grow more
    /// slowly consist of a constant part and one in proportion to the size: they are on a line.
    Power,
}

impl BetweenSizes {
    /// Returns how far the time of `size` is on the way from that of the smaller size to that of the larger one, from 0 to 1. Both are pairs
    /// (size, time) with the size in between.
    ///
    /// ```
    /// use kernel::sizes::BetweenSizes;
    ///
    /// // Four times the size takes 16 times as long, so twice the size takes 4 times as long.
    /// let share = BetweenSizes::Power.share(200, (100, 10.0), (400, 160.0));
    /// assert!((share - (40.0 - 10.0) / (160.0 - 10.0)).abs() < 1e-12);
    /// ```
    pub fn share(self, size: u64, smaller: (u64, f64), larger: (u64, f64)) -> f64 {
        let size_growth = larger.0 as f64 / smaller.0 as f64;
        let growth = larger.1 / smaller.1;
        // A time of 0 grows by no factor.
        if self == Self::Power && growth > size_growth && growth.is_finite() {
            let exponent = growth.ln() / size_growth.ln();
            ((size as f64 / smaller.0 as f64).powf(exponent) - 1.0) / (growth - 1.0)
        } else {
            (size - smaller.0) as f64 / (larger.0 - smaller.0) as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_grows_faster_than_its_size_is_a_power_of_it() {
        let share = |between: BetweenSizes, times: [f64; 2]| between.share(200, (100, times[0]), (400, times[1]));
        let line = 1.0 / 3.0;
        assert_eq!(share(BetweenSizes::Line, [10.0, 160.0]), line);
        assert!((share(BetweenSizes::Power, [10.0, 160.0]) - 0.2).abs() < 1e-12);
        // In proportion, more slowly, the same, and from nothing.
        for times in [[10.0, 40.0], [10.0, 20.0], [10.0, 10.0], [0.0, 10.0], [0.0, 0.0]] {
            assert_eq!(share(BetweenSizes::Power, times), line, "{times:?}");
        }
        let ends = [100, 400].map(|size| BetweenSizes::Power.share(size, (100, 10.0), (400, 160.0)));
        assert_eq!(ends, [0.0, 1.0]);
    }

    #[test]
    fn a_size_is_between_two_or_next_to_one() {
        let known = [(10, 'a'), (20, 'b'), (40, 'c')];
        let find = |size| Around::find(known.into_iter(), size).unwrap();
        assert_eq!(find(5), Around::Nearest(10, 'a'));
        assert_eq!(find(10), Around::Nearest(10, 'a'));
        assert_eq!(find(15), Around::Between('a', 'b', 0.5));
        assert_eq!(find(25), Around::Between('b', 'c', 0.25));
        assert_eq!(find(40), Around::Nearest(40, 'c'));
        assert_eq!(find(90), Around::Nearest(40, 'c'));
        assert_eq!(Around::<char>::find([].into_iter(), 1), None);
    }

    #[test]
    fn values_are_on_a_line_between_two_sizes() {
        let known = [(10, 1.0), (20, 3.0)];
        let at = |size| Around::find(known.into_iter(), size).unwrap().linear();
        assert_eq!([5, 10, 15, 20, 30].map(at), [1.0, 1.0, 2.0, 3.0, 3.0]);
    }
}
