//! Sizes that were measured, around one that was not.

/// What was measured of the sizes around another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Around<T> {
    /// Of the next smaller and of the next larger one, and how far between them the size is, from 0 to 1.
    Between(T, T, f64),
    /// Of this size alone: it is the size itself, or the smallest or the largest that was measured.
    Nearest(u64, T),
}

impl<T> Around<T> {
    /// Finds `size` among those that are known, in ascending order. `None` if none is.
    pub(crate) fn find(mut known: impl DoubleEndedIterator<Item = (u64, T)> + Clone, size: u64) -> Option<Self> {
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
}
