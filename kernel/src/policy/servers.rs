//! Sets of servers.

use crate::settings::limits;

/// A set of servers, by index. It has room for as many servers as a scenario may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Servers(u64);

const _: () = assert!(*limits::REPLICAS.end() <= u64::BITS as usize, "a server is a bit");

impl Servers {
    pub(crate) const NONE: Self = Self(0);

    /// Returns the servers with an index below `count`.
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

    /// Adds `server` to the set, or removes it. Returns true if it was in the set.
    pub(crate) fn set(&mut self, server: usize, is_in: bool) -> bool {
        let was_in = self.contains(server);
        let bit = 1 << server;
        self.0 = if is_in { self.0 | bit } else { self.0 & !bit };
        was_in
    }

    /// Returns the servers that are in both sets.
    pub(crate) fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Returns the servers of this set that are not in `others`.
    pub(crate) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Returns the servers that are in either set.
    pub(crate) fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Iterates over the servers, in ascending order.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        // `left & (left - 1)` clears the lowest bit.
        std::iter::successors(Some(self.0), |left| Some(left & (left - 1)))
            .take(self.len())
            .map(|left| left.trailing_zeros() as usize)
    }

    /// Returns the server with `position` others before it.
    ///
    /// # Panics
    ///
    /// Panics if there is no such server.
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

    fn to_servers(servers: &BTreeSet<usize>) -> Servers {
        servers.iter().copied().collect()
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_set(
            some in prop::collection::btree_set(0..64_usize, 0..64),
            others in prop::collection::btree_set(0..64_usize, 0..64),
            server in 0..64_usize,
        ) {
            let set = to_servers(&some);
            prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), some.clone());
            prop_assert!(set.iter().is_sorted());
            prop_assert_eq!((set.len(), set.is_empty()), (some.len(), some.is_empty()));
            prop_assert_eq!(set.contains(server), some.contains(&server));
            prop_assert!((0..set.len()).map(|position| set.nth(position)).eq(set.iter()));
            prop_assert_eq!(set.and(to_servers(&others)), to_servers(&(&some & &others)));
            prop_assert_eq!(set.or(to_servers(&others)), to_servers(&(&some | &others)));
            prop_assert_eq!(set.without(to_servers(&others)), to_servers(&(&some - &others)));
            prop_assert_eq!(Servers::below(server), (0..server).collect());
            let mut with = set;
            let mut less = set;
            prop_assert_eq!([with.set(server, true), less.set(server, false)], [some.contains(&server); 2]);
            prop_assert_eq!((with, less), (set.or(Servers::from([server])), set.without(Servers::from([server]))));
        }
    }
}
