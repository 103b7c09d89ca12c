//! Sets of servers.

use crate::settings::limits;

/// Words of a set.
const WORDS: usize = limits::REPLICAS.end().div_ceil(BITS);

/// Servers of a word.
const BITS: usize = u64::BITS as usize;

/// A set of servers, by index. It has room for as many servers as a scenario may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Servers([u64; WORDS]);

impl Servers {
    pub(crate) const NONE: Self = Self([0; WORDS]);

    /// Returns the servers with an index below `count`.
    pub(crate) fn below(count: usize) -> Self {
        Self(std::array::from_fn(|word| match count.saturating_sub(word * BITS) {
            left if left < BITS => (1 << left) - 1,
            _ => u64::MAX,
        }))
    }

    pub(crate) fn contains(self, server: usize) -> bool {
        self.0[server / BITS] & (1 << (server % BITS)) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    pub(crate) fn len(self) -> usize {
        self.0.into_iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Adds `server` to the set, or removes it. Returns true if it was in the set.
    pub(crate) fn set(&mut self, server: usize, is_in: bool) -> bool {
        let was_in = self.contains(server);
        let word = &mut self.0[server / BITS];
        let bit = 1 << (server % BITS);
        *word = if is_in { *word | bit } else { *word & !bit };
        was_in
    }

    /// Returns the servers that are in both sets.
    pub(crate) fn and(self, others: Self) -> Self {
        self.with_each_word(others, |word, other| word & other)
    }

    /// Returns the servers of this set that are not in `others`.
    pub(crate) fn without(self, others: Self) -> Self {
        self.with_each_word(others, |word, other| word & !other)
    }

    /// Returns the servers that are in either set.
    pub(crate) fn or(self, others: Self) -> Self {
        self.with_each_word(others, |word, other| word | other)
    }

    fn with_each_word(self, others: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|word| combine(self.0[word], others.0[word])))
    }

    /// Iterates over the servers, in ascending order.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        let words = self.0.into_iter().enumerate().filter(|(_, word)| *word != 0);
        words.flat_map(|(number, word)| {
            // `left & (left - 1)` clears the lowest bit.
            let bits = std::iter::successors(Some(word), |left| Some(left & (left - 1)).filter(|left| *left != 0));
            bits.map(move |left| number * BITS + left.trailing_zeros() as usize)
        })
    }

    /// Returns the server with `position` others before it.
    ///
    /// # Panics
    ///
    /// Panics if there is no such server.
    pub(crate) fn nth(self, mut position: usize) -> usize {
        for (number, mut word) in self.0.into_iter().enumerate() {
            let count = word.count_ones() as usize;
            if position < count {
                (0..position).for_each(|_| word &= word - 1);
                return number * BITS + word.trailing_zeros() as usize;
            }
            position -= count;
        }
        panic!("a position within the set")
    }
}

impl FromIterator<usize> for Servers {
    fn from_iter<I: IntoIterator<Item = usize>>(servers: I) -> Self {
        let mut set = Self::NONE;
        for server in servers {
            set.set(server, true);
        }
        set
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

    /// Servers that fit into a set.
    const ROOM: usize = WORDS * BITS;

    fn to_servers(servers: &BTreeSet<usize>) -> Servers {
        servers.iter().copied().collect()
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_set(
            some in prop::collection::btree_set(0..ROOM, 0..ROOM),
            others in prop::collection::btree_set(0..ROOM, 0..ROOM),
            server in 0..ROOM,
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
