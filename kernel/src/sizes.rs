//! Sizes that were measured, around one that was not: calibrations have times of a few sizes only.

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

#[cfg(test)]
mod tests {
    use super::*;

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
