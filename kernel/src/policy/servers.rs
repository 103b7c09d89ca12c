//! Sets of servers.

use crate::scenario::limits;

/// Servers by index: as many as a scenario may have, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Servers(u64);

const _: () = assert!(*limits::REPLICAS.end() <= u64::BITS as usize, "a server is a bit");

impl Servers {
    pub(crate) const NONE: Self = Self(0);

    /// Those from 0 to `count`, without that.
    pub(crate) fn below(count: usize) -> Self {
        (0..count).collect()
    }

    pub(crate) fn contains(self, server: usize) -> bool {
        self.0 & (1 << server) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// With `server` in it, or not. Returns whether it was.
    pub(crate) fn set(&mut self, server: usize, is_in: bool) -> bool {
        let was_in = self.contains(server);
        let bit = 1 << server;
        self.0 = if is_in { self.0 | bit } else { self.0 & !bit };
        was_in
    }

    /// Those that are in `others`, too.
    pub(crate) fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Those that are not in `others`.
    pub(crate) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// These and `others`.
    pub(crate) fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Ascending.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(self.0), |left| Some(left & (left - 1)))
            .take(self.len())
            .map(|left| left.trailing_zeros() as usize)
    }

    /// The one with `position` others before it.
    ///
    /// # Panics
    ///
    /// If there are not as many.
    pub(crate) fn nth(self, position: usize) -> usize {
        self.iter().nth(position).expect("a position within the set")
    }
}

impl FromIterator<usize> for Servers {
    fn from_iter<I: IntoIterator<Item = usize>>(servers: I) -> Self {
        Self(servers.into_iter().fold(0, |bits, server| bits | 1 << server))
    }
}

#[cfg(test)]
impl<const COUNT: usize> From<[usize; COUNT]> for Servers {
    fn from(servers: [usize; COUNT]) -> Self {
        servers.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn of(servers: &BTreeSet<usize>) -> Servers {
        servers.iter().copied().collect()
    }

    proptest! {
        #[test]
        fn they_are_a_set(
            some in prop::collection::btree_set(0..64_usize, 0..64),
            others in prop::collection::btree_set(0..64_usize, 0..64),
            server in 0..64_usize,
        ) {
            let set = of(&some);
            prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), some.clone());
            prop_assert!(set.iter().is_sorted());
            prop_assert_eq!((set.len(), set.is_empty()), (some.len(), some.is_empty()));
            prop_assert_eq!(set.contains(server), some.contains(&server));
            prop_assert!((0..set.len()).map(|position| set.nth(position)).eq(set.iter()));
            prop_assert_eq!(set.and(of(&others)), of(&(&some & &others)));
            prop_assert_eq!(set.or(of(&others)), of(&(&some | &others)));
            prop_assert_eq!(set.without(of(&others)), of(&(&some - &others)));
            prop_assert_eq!(Servers::below(server), (0..server).collect());
            let (mut with, mut less) = (set, set);
            prop_assert_eq!([with.set(server, true), less.set(server, false)], [some.contains(&server); 2]);
            prop_assert_eq!((with, less), (set.or(Servers::from([server])), set.without(Servers::from([server]))));
        }
    }
}
