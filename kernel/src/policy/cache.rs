//! The response cache: a limited number of answers, by input. RFC 5861's stale-while-revalidate.
//!
//! An answer is FRESH for `ttl` after it arrived, then STALE for `stale_while_revalidate`, and then kept only for a fallback
//! to stale answers. A FRESH answer ends the call, and nothing is sent. A STALE answer ends the call, too, but it is marked as
//! degraded, and one call in the background renews it. When the cache is full, the least recently used answer is evicted.

use std::{collections::BTreeMap, time::Duration};

use super::{AroundAttempts, PolicyConfig};
use crate::{
    planted::planted,
    settings::{limits, samples, table_macro::table},
    time::Instant,
    workload::{Input, Output},
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
    }
}

impl PolicyConfig for Cache {
    type Policy = AroundAttempts;
}

/// The cached answers.
#[derive(Debug)]
pub(crate) struct Answers {
    settings: Cache,
    /// The entries by [`Input::mark`]. Few inputs have the same mark.
    entries: BTreeMap<u64, Vec<Entry>>,
    count: usize,
    /// Number of uses so far, by which the least recently used entry is found.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    input: Input,
    output: Output,
    arrived: Instant,
    /// The value of `uses` at its last use.
    used: u64,
    /// True if a call to renew it is under way.
    renewing: bool,
}

impl Entry {
    fn answers(&self, input: &Input) -> bool {
        // Requests for the same picture share its pixels, which saves their comparison.
        self.input.is_shared_with(input) || self.input == *input
    }
}

/// The result of a look-up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Lookup {
    Miss,
    Fresh(Output),
    /// The answer is stale. If `renew` is true, the caller has to renew it.
    Stale {
        output: Output,
        renew: bool,
    },
}

impl Answers {
    pub(crate) fn new(settings: Cache) -> Self {
        Self { settings, entries: BTreeMap::new(), count: 0, uses: 0 }
    }

    fn entry(&self, input: &Input) -> Option<&Entry> {
        self.entries.get(&input.mark())?.iter().find(|entry| entry.answers(input))
    }

    fn entry_mut(&mut self, input: &Input) -> Option<&mut Entry> {
        self.entries.get_mut(&input.mark())?.iter_mut().find(|entry| entry.answers(input))
    }

    /// Looks up the answer to `input`, `now`.
    pub(crate) fn look_up(&mut self, input: &Input, now: Instant) -> Lookup {
        self.uses += 1;
        let uses = self.uses;
        let ttl = self.settings.ttl;
        let stale = self.settings.stale_while_revalidate;
        let Some(entry) = self.entry_mut(input) else { return Lookup::Miss };
        let age = now.since(entry.arrived);
        let fresh = planted!(Bug::OldAnswers, ttl * 2, else ttl);
        if age < fresh {
            entry.used = uses;
            return Lookup::Fresh(entry.output.clone());
        }
        if age < ttl.saturating_add(stale) {
            entry.used = uses;
            let renew = !std::mem::replace(&mut entry.renewing, true);
            return Lookup::Stale { output: entry.output.clone(), renew };
        }
        Lookup::Miss
    }

    /// Returns the last known answer to `input`, however old.
    pub(crate) fn last_known(&self, input: &Input) -> Option<Output> {
        self.entry(input).map(|entry| entry.output.clone())
    }

    /// Keeps `output` as the answer to `input`.
    pub(crate) fn keep(&mut self, input: &Input, output: &Output, now: Instant) {
        self.uses += 1;
        let entry =
            Entry { input: input.clone(), output: output.clone(), arrived: now, used: self.uses, renewing: false };
        if let Some(known) = self.entry_mut(input) {
            *known = entry;
            return;
        }
        if self.count >= self.settings.size {
            self.evict();
        }
        self.count += 1;
        self.entries.entry(input.mark()).or_default().push(entry);
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

    /// Notes that the call that renews the answer to `input` has failed. The next look-up asks for another one.
    pub(crate) fn on_renewal_failed(&mut self, input: &Input) {
        if let Some(entry) = self.entry_mut(input) {
            entry.renewing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::workload::pictures::Picture;

    fn input(pixel: u8) -> Input {
        Input::Image(Picture { width: 1, height: 1, pixels: vec![pixel].into() })
    }

    fn output(pixel: u8) -> Output {
        Output::Image(vec![pixel].into())
    }

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    fn answers(size: usize) -> Answers {
        Answers::new(Cache { size, ttl: Duration::from_secs(10), stale_while_revalidate: Duration::from_secs(5) })
    }

    #[test]
    fn an_answer_is_fresh_then_stale_then_only_for_a_fallback() {
        let mut answers = answers(2);
        assert_eq!(answers.look_up(&input(1), at(0)), Lookup::Miss);
        answers.keep(&input(1), &output(9), at(0));
        assert_eq!(answers.look_up(&input(1), at(9)), Lookup::Fresh(output(9)));
        assert_eq!(answers.look_up(&input(1), at(10)), Lookup::Stale { output: output(9), renew: true });
        assert_eq!(answers.look_up(&input(1), at(15)), Lookup::Miss);
        assert_eq!(answers.last_known(&input(1)), Some(output(9)));
        assert_eq!(answers.last_known(&input(2)), None);
    }

    /// Looks up a stale answer and returns true if it has to be renewed.
    fn look_up_stale(answers: &mut Answers) -> bool {
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
    fn input_with_equal_mark(corner: u8) -> Input {
        let mut pixels = vec![7; 32];
        pixels[0] = corner;
        Input::Image(Picture { width: 32, height: 1, pixels: pixels.into() })
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
                    Lookup::Fresh(found) | Lookup::Stale { output: found, .. } => prop_assert_eq!(found, output(pixel)),
                    Lookup::Miss => prop_assert!(!keep),
                }
                let kept = answers.entries.values().map(Vec::len).sum::<usize>();
                prop_assert!(kept == answers.count && kept <= size);
            }
        }
    }
}
