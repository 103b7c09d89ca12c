//! The response cache: a limited number of answers, by what was asked. RFC 5861's stale-while-revalidate.
//!
//! An answer is FRESH for `ttl` after it arrived, then STALE for `stale_while_revalidate`, and then kept only for a fallback
//! to stale answers. A FRESH answer ends the call, and nothing is sent. A STALE answer ends the call, too, but it is marked as
//! degraded, and one call in the background renews it. When the cache is full, the least recently used answer is evicted.
//!
//! The answers are in the client's memory, or in a [`store`](crate::store) that clients share. The ages are the same in both.

use std::{collections::BTreeMap, time::Duration};

use super::{AroundAttempts, PolicyConfig};
use bytes::Bytes;

#[cfg(feature = "service")]
use crate::store::StoreSettings;
use crate::{
    planted::planted,
    settings::{
        limits,
        problem::Problem,
        samples,
        table::TableReader,
        table_macro::{NOT_DRAWN, table},
    },
    store::StoreAddress,
    time::Instant,
};

table! {
    /// `[client.cache]`: answers that are used again for equal inputs.
    Cache {
        /// Number of answers.
        size: usize = 100, limits::CACHE_SIZE, &["1", "2", "100"];
        /// Time for which an answer is fresh.
        ttl: Duration = Duration::from_secs(60), limits::DURATION, samples::TIMES;
        /// Time after that for which an answer is used while it is renewed.
        stale_while_revalidate: Duration = Duration::ZERO, limits::WAIT, samples::WAITS;
        /// Where the answers are, if not in the memory of the client: in a Redis, which clients share, or in a key-value server that the
        /// run starts, for which `size` holds. In a simulation either is a host with such a server.
        store: Option<StoreAddress> = None, (), NOT_DRAWN;
        /// Time for a look-up in the store or a write; 50 ms by default. A store that takes longer is away.
        store_timeout: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
        /// Time for which a store that is away is not asked; 1 s by default.
        store_pause: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
        /// Time for which the store keeps an answer, which is how old a fallback's can be; 1 h by default, or until it is neither fresh nor
        /// stale if that is longer.
        store_keep: Option<Duration> = None, limits::STORE_KEEP, NOT_DRAWN;
    }
    settle = settle;
}

/// The defaults of the keys of a store.
const STORE_TIMEOUT: Duration = Duration::from_millis(50);
const STORE_PAUSE: Duration = Duration::from_secs(1);
const STORE_KEEP: Duration = Duration::from_secs(60 * 60);

/// Completes the keys of a store, and refuses them without one.
fn settle(cache: Cache, table: &TableReader<'_, '_>) -> Result<Cache, Problem> {
    if cache.store.is_none() {
        return match table.first_of(&["store_timeout", "store_pause", "store_keep"]) {
            None => Ok(cache),
            Some((key, span)) => {
                let help = "add `store`, such as store = \"redis://127.0.0.1:6379\", or leave the key out";
                Err(Problem::at(span, format!("`{key}` is of a store, and the answers are in the client's memory"))
                    .help(help))
            }
        };
    }
    let used = cache.ttl.saturating_add(cache.stale_while_revalidate);
    if let Some(keep) = cache.store_keep {
        table.ordered(("ttl + stale_while_revalidate", used), ("store_keep", keep))?;
    }
    Ok(Cache {
        store_timeout: cache.store_timeout.or(Some(STORE_TIMEOUT)),
        store_pause: cache.store_pause.or(Some(STORE_PAUSE)),
        store_keep: cache.store_keep.or(Some(STORE_KEEP.max(used))),
        ..cache
    })
}

impl Cache {
    /// Returns the settings of its store, if it has one.
    #[cfg(feature = "service")]
    pub(crate) fn store_settings(&self) -> Option<StoreSettings> {
        let database = match self.store.as_ref()? {
            StoreAddress::Builtin => 0,
            StoreAddress::Redis { database, .. } => *database,
        };
        Some(StoreSettings {
            database,
            timeout: self.store_timeout.unwrap_or(STORE_TIMEOUT),
            pause: self.store_pause.unwrap_or(STORE_PAUSE),
            keep: self.store_keep.unwrap_or(STORE_KEEP),
        })
    }

    /// Returns what an answer of this age is good for.
    pub(crate) fn freshness(&self, age: Duration) -> Freshness {
        freshness(age, self.ttl, self.stale_while_revalidate)
    }
}

fn freshness(age: Duration, ttl: Duration, stale: Duration) -> Freshness {
    let fresh = planted!(Bug::OldAnswers, ttl * 2, else ttl);
    if age < fresh {
        Freshness::Fresh
    } else if age < ttl.saturating_add(stale) {
        Freshness::Stale
    } else {
        Freshness::Old
    }
}

/// The use that an answer has, by its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// It is as good as a response.
    Fresh,
    /// It is used while it is renewed.
    Stale,
    /// It is used by a fallback only.
    Old,
}

impl PolicyConfig for Cache {
    type Policy = AroundAttempts;
}

/// The key of an answer in the cache: calls with equal keys have equal answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheKey {
    /// The method that is called.
    pub(crate) path: Bytes,
    /// Numbers that differ where what is asked differs.
    pub(crate) numbers: [u64; 4],
    /// Bytes that differ where what is asked differs.
    pub(crate) bytes: Bytes,
}

impl CacheKey {
    /// Returns a number that is different for most keys. The bytes are read in one place only, so the cost does not depend on their number.
    fn mark(&self) -> u64 {
        let middle = &self.bytes[self.bytes.len() / 2..];
        let middle = middle.iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte));
        self.numbers.iter().fold(middle, |mark, number| mark.rotate_left(7) ^ number)
    }

    /// Returns whether `other` asks the same. Requests that share their bytes, as those for the same picture do, are not compared byte by byte.
    fn is_same(&self, other: &Self) -> bool {
        let has_same_bytes = self.bytes.as_ptr_range() == other.bytes.as_ptr_range() || self.bytes == other.bytes;
        self.numbers == other.numbers && has_same_bytes && self.path == other.path
    }
}

/// The cached answers.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    settings: Cache,
    /// The entries by [`CacheKey::mark`]. Few keys have the same mark.
    entries: BTreeMap<u64, Vec<Entry<T>>>,
    count: usize,
    /// Number of uses so far, by which the least recently used entry is found.
    uses: u64,
}

#[derive(Debug)]
struct Entry<T> {
    key: CacheKey,
    answer: T,
    arrived: Instant,
    /// The value of `uses` at its last use.
    used: u64,
    /// True if a call to renew it is under way.
    renewing: bool,
}

/// The result of a look-up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Lookup<T> {
    Miss,
    Fresh(T),
    /// The answer is stale. If `renew` is true, the caller has to renew it.
    Stale {
        answer: T,
        renew: bool,
    },
}

impl<T: Clone> Answers<T> {
    pub(crate) fn new(settings: Cache) -> Self {
        Self { settings, entries: BTreeMap::new(), count: 0, uses: 0 }
    }

    fn entry(&self, key: &CacheKey) -> Option<&Entry<T>> {
        self.entries.get(&key.mark())?.iter().find(|entry| entry.key.is_same(key))
    }

    fn entry_mut(&mut self, key: &CacheKey) -> Option<&mut Entry<T>> {
        self.entries.get_mut(&key.mark())?.iter_mut().find(|entry| entry.key.is_same(key))
    }

    /// Looks up the answer to `key`, `now`.
    pub(crate) fn look_up(&mut self, key: &CacheKey, now: Instant) -> Lookup<T> {
        self.uses += 1;
        let uses = self.uses;
        let ttl = self.settings.ttl;
        let stale = self.settings.stale_while_revalidate;
        let Some(entry) = self.entry_mut(key) else { return Lookup::Miss };
        match freshness(now.since(entry.arrived), ttl, stale) {
            Freshness::Fresh => {
                entry.used = uses;
                Lookup::Fresh(entry.answer.clone())
            }
            Freshness::Stale => {
                entry.used = uses;
                let renew = !std::mem::replace(&mut entry.renewing, true);
                Lookup::Stale { answer: entry.answer.clone(), renew }
            }
            Freshness::Old => Lookup::Miss,
        }
    }

    /// Returns the last known answer to `key`, however old.
    pub(crate) fn last_known(&self, key: &CacheKey) -> Option<T> {
        self.entry(key).map(|entry| entry.answer.clone())
    }

    /// Keeps `answer` as the answer to `key`.
    pub(crate) fn keep(&mut self, key: &CacheKey, answer: &T, now: Instant) {
        self.uses += 1;
        let used = self.uses;
        if let Some(known) = self.entry_mut(key) {
            // The key stays, as it is equal.
            known.answer = answer.clone();
            known.arrived = now;
            known.used = used;
            known.renewing = false;
            return;
        }
        if self.count >= self.settings.size {
            self.evict();
        }
        self.count += 1;
        let entry = Entry { key: key.clone(), answer: answer.clone(), arrived: now, used, renewing: false };
        self.entries.entry(key.mark()).or_default().push(entry);
    }

    fn evict(&mut self) {
        // A scan of all entries is fast enough for the caches that a scenario may have, and needs no list in order of use.
        let uses = self.entries.iter().flat_map(|(mark, alike)| alike.iter().map(|entry| (entry.used, *mark)));
        let Some((used, mark)) = uses.min() else { return };
        let alike = self.entries.entry(mark).or_default();
        // Every use has a number of its own, so exactly one entry is removed.
        alike.retain(|entry| entry.used != used);
        if alike.is_empty() {
            self.entries.remove(&mark);
        }
        self.count -= 1;
    }

    /// Notes that the call that renews the answer to `key` has failed. The next look-up asks for another one.
    pub(crate) fn on_renewal_failed(&mut self, key: &CacheKey) {
        if let Some(entry) = self.entry_mut(key) {
            entry.renewing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(bytes: Vec<u8>) -> CacheKey {
        CacheKey { path: Bytes::from_static(b"/a/b"), numbers: [0; 4], bytes: bytes.into() }
    }

    fn input(byte: u8) -> CacheKey {
        key(vec![byte])
    }

    fn output(number: u8) -> u8 {
        number
    }

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    fn answers(size: usize) -> Answers<u8> {
        let stale_while_revalidate = Duration::from_secs(5);
        Answers::new(Cache { size, ttl: Duration::from_secs(10), stale_while_revalidate, ..Cache::default() })
    }

    #[test]
    fn an_answer_is_fresh_then_stale_then_only_for_a_fallback() {
        let mut answers = answers(2);
        assert_eq!(answers.look_up(&input(1), at(0)), Lookup::Miss);
        answers.keep(&input(1), &output(9), at(0));
        assert_eq!(answers.look_up(&input(1), at(9)), Lookup::Fresh(output(9)));
        assert_eq!(answers.look_up(&input(1), at(10)), Lookup::Stale { answer: output(9), renew: true });
        assert_eq!(answers.look_up(&input(1), at(15)), Lookup::Miss);
        assert_eq!(answers.last_known(&input(1)), Some(output(9)));
        assert_eq!(answers.last_known(&input(2)), None);
    }

    /// Looks up a stale answer and returns true if it has to be renewed.
    fn look_up_stale(answers: &mut Answers<u8>) -> bool {
        match answers.look_up(&input(1), at(11)) {
            Lookup::Stale { renew, .. } => renew,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_call_at_a_time_renews_an_answer() {
        let mut answers = answers(2);
        answers.keep(&input(1), &output(1), at(0));
        assert_eq!([look_up_stale(&mut answers), look_up_stale(&mut answers)], [true, false]);
        answers.on_renewal_failed(&input(1));
        assert!(look_up_stale(&mut answers));
        answers.keep(&input(1), &output(2), at(11));
        assert_eq!(answers.look_up(&input(1), at(20)), Lookup::Fresh(output(2)));
    }

    #[test]
    fn the_least_recently_used_answer_is_evicted() {
        let mut answers = answers(2);
        answers.keep(&input(1), &output(1), at(0));
        answers.keep(&input(2), &output(2), at(0));
        answers.look_up(&input(1), at(1));
        answers.keep(&input(3), &output(3), at(1));
        let known: Vec<_> = (1..=3).map(|pixel| answers.last_known(&input(pixel)).is_some()).collect();
        assert_eq!(known, [true, false, true]);
    }

    /// Returns an input whose mark does not depend on `corner`.
    fn input_with_equal_mark(corner: u8) -> CacheKey {
        let mut bytes = vec![7; 32];
        bytes[0] = corner;
        key(bytes)
    }

    #[test]
    fn methods_and_numbers_have_answers_of_their_own() {
        let mut answers = answers(9);
        answers.keep(&input(1), &1, at(0));
        let other_method = CacheKey { path: Bytes::from_static(b"/a/c"), ..input(1) };
        let other_number = CacheKey { numbers: [0, 0, 1, 0], ..input(1) };
        assert_eq!(answers.last_known(&input(1)), Some(1));
        assert_eq!([other_method, other_number].map(|key| answers.last_known(&key)), [None, None]);
    }

    #[test]
    fn inputs_with_the_same_mark_have_answers_of_their_own() {
        let input = input_with_equal_mark;
        assert_eq!(input(1).mark(), input(2).mark());
        let mut answers = answers(2);
        (1..=3).for_each(|corner| answers.keep(&input(corner), &output(corner), at(corner.into())));
        let known: Vec<_> = (1..=3).map(|corner| answers.last_known(&input(corner))).collect();
        assert_eq!(known, [None, Some(output(2)), Some(output(3))]);
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_its_size_nor_an_answer_to_another_input(
            size in 1..5_usize, steps in proptest::collection::vec((any::<bool>(), 0..8_u8), 1..200),
        ) {
            let mut answers = answers(size);
            for (second, (keep, pixel)) in (0..).zip(steps) {
                if keep {
                    answers.keep(&input(pixel), &output(pixel), at(second));
                }
                match answers.look_up(&input(pixel), at(second)) {
                    Lookup::Fresh(found) | Lookup::Stale { answer: found, .. } => prop_assert_eq!(found, output(pixel)),
                    Lookup::Miss => prop_assert!(!keep),
                }
                let kept = answers.entries.values().map(Vec::len).sum::<usize>();
                prop_assert!(kept == answers.count && kept <= size);
            }
        }
    }
}
