//! The response cache: answers by input, as many as it may hold. RFC 5861's stale-while-revalidate.
//!
//! An answer is FRESH for `ttl` after it arrived, then STALE for `stale_while_revalidate`, and then kept only for a fallback
//! to stale answers. FRESH: it is the call's answer, and nothing is sent. STALE: it is the call's answer, too, marked as
//! degraded, and one call in the background renews it. When the cache is full, the answer that was used least recently
//! makes room.

use std::{collections::BTreeMap, time::Duration};

use super::{AroundAttempts, PolicyConfig};
use crate::{
    scenario::keys::{limits, table},
    time::Instant,
    workload::{Input, Output},
};

table! {
    /// `[client.cache]`: answers by input.
    Cache {
        /// Answers at most.
        size: usize = 100, limits::CACHE_SIZE;
        /// How long an answer is as good as a new one.
        ttl: Duration = Duration::from_secs(60), limits::DURATION;
        /// How long after that it will do while it is renewed.
        stale_while_revalidate: Duration = Duration::ZERO, limits::WAIT;
    }
}

impl PolicyConfig for Cache {
    type Policy = AroundAttempts;
}

/// The answers that are kept.
#[derive(Debug)]
pub(crate) struct Answers {
    settings: Cache,
    /// By [`Input::mark`]; those of inputs that look alike in it are few.
    entries: BTreeMap<u64, Vec<Entry>>,
    count: usize,
    /// Uses so far, the clock of the least recent one.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    input: Input,
    output: Output,
    arrived: Instant,
    used: u64,
    /// Whether a call to renew it is under way.
    renewing: bool,
}

impl Entry {
    fn answers(&self, input: &Input) -> bool {
        self.input.is_shared_with(input) || self.input == *input
    }
}

/// What the cache has to say of an input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Lookup {
    Miss,
    Fresh(Output),
    /// `renew` asks whoever looked to have it renewed.
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

    pub(crate) fn look_up(&mut self, input: &Input, now: Instant) -> Lookup {
        self.uses += 1;
        let (uses, ttl, stale) = (self.uses, self.settings.ttl, self.settings.stale_while_revalidate);
        let Some(entry) = self.entry_mut(input) else { return Lookup::Miss };
        let age = now.since(entry.arrived);
        let fresh = ttl;
        #[cfg(feature = "canaries")]
        let fresh = if crate::bug::is(crate::bug::Bug::OldAnswers) { ttl * 2 } else { fresh };
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

    /// The last answer known for `input`, however old.
    pub(crate) fn last_known(&self, input: &Input) -> Option<Output> {
        self.entry(input).map(|entry| entry.output.clone())
    }

    pub(crate) fn keep(&mut self, input: &Input, output: &Output, now: Instant) {
        self.uses += 1;
        let entry =
            Entry { input: input.clone(), output: output.clone(), arrived: now, used: self.uses, renewing: false };
        if let Some(known) = self.entry_mut(input) {
            *known = entry;
            return;
        }
        if self.count >= self.settings.size {
            self.make_room();
        }
        self.count += 1;
        self.entries.entry(input.mark()).or_default().push(entry);
    }

    fn make_room(&mut self) {
        let uses = self.entries.iter().flat_map(|(mark, alike)| alike.iter().map(|entry| (entry.used, *mark)));
        let Some((used, mark)) = uses.min() else { return };
        let alike = self.entries.entry(mark).or_default();
        alike.retain(|entry| entry.used != used);
        if alike.is_empty() {
            self.entries.remove(&mark);
        }
        self.count -= 1;
    }

    /// The call that was to renew the answer has failed; another one may try.
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
        let (ttl, stale_while_revalidate) = (Duration::from_secs(10), Duration::from_secs(5));
        Answers::new(Cache { size, ttl, stale_while_revalidate })
    }

    #[test]
    fn an_answer_is_fresh_then_stale_then_only_for_an_emergency() {
        let mut answers = answers(2);
        assert_eq!(answers.look_up(&input(1), at(0)), Lookup::Miss);
        answers.keep(&input(1), &output(9), at(0));
        assert_eq!(answers.look_up(&input(1), at(9)), Lookup::Fresh(output(9)));
        assert_eq!(answers.look_up(&input(1), at(10)), Lookup::Stale { output: output(9), renew: true });
        assert_eq!(answers.look_up(&input(1), at(15)), Lookup::Miss);
        assert_eq!(answers.last_known(&input(1)), Some(output(9)));
        assert_eq!(answers.last_known(&input(2)), None);
    }

    #[test]
    fn one_call_at_a_time_renews_an_answer() {
        let mut answers = answers(2);
        answers.keep(&input(1), &output(1), at(0));
        let renew = |answers: &mut Answers| match answers.look_up(&input(1), at(11)) {
            Lookup::Stale { renew, .. } => renew,
            other => panic!("{other:?}"),
        };
        assert_eq!([renew(&mut answers), renew(&mut answers)], [true, false]);
        answers.on_renewal_failed(&input(1));
        assert!(renew(&mut answers));
        answers.keep(&input(1), &output(2), at(11));
        assert_eq!(answers.look_up(&input(1), at(20)), Lookup::Fresh(output(2)));
    }

    #[test]
    fn the_answer_used_least_recently_makes_room() {
        let mut answers = answers(2);
        answers.keep(&input(1), &output(1), at(0));
        answers.keep(&input(2), &output(2), at(0));
        answers.look_up(&input(1), at(1));
        answers.keep(&input(3), &output(3), at(1));
        let known: Vec<_> = (1..=3).map(|pixel| answers.last_known(&input(pixel)).is_some()).collect();
        assert_eq!(known, [true, false, true]);
    }

    #[test]
    fn inputs_that_look_alike_have_answers_of_their_own() {
        let input = |corner: u8| {
            let mut pixels = vec![7; 32];
            pixels[0] = corner;
            Input::Image(Picture { width: 32, height: 1, pixels: pixels.into() })
        };
        assert_eq!(input(1).mark(), input(2).mark());
        let mut answers = answers(2);
        (1..=3).for_each(|corner| answers.keep(&input(corner), &output(corner), at(corner.into())));
        let known: Vec<_> = (1..=3).map(|corner| answers.last_known(&input(corner))).collect();
        assert_eq!(known, [None, Some(output(2)), Some(output(3))]);
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_its_size_nor_an_answer_to_something_else(
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
