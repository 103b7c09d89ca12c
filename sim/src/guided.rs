//! Search for failures that is guided by what runs reach.
//!
//! A run at random has to meet all conditions of a failure at once. A guided search meets them one by one, as fuzzers do that are guided by
//! coverage (AFL; Antithesis's "sometimes" assertions): it keeps the runs that were in a [situation](kernel::coverage::Situation) first, and
//! goes on from there. A child plays the run of its parent up to the virtual time of that situation, and draws everything again
//! [from there](kernel::entropy::branch).
//!
//! How often each choice is made:
//!
//! * A share of [`FRESH`] of the runs have a new seed, so that the search is at most a little slower than one at random where coverage says
//!   nothing.
//! * The other runs go on from a kept situation. Situations that few runs were in come more often (the schedule of AFLFast: Böhme and others,
//!   2016), and so do parents whose children were in new situations.
//!
//! What is proposed depends on the seed of the search and on what it has learned, in the order in which it has learned it.

use std::{collections::BTreeMap, time::Duration};

use kernel::{
    coverage::{Moment, Situation},
    entropy::{Entropy, RandomStream, branch::Branch, unit},
};

/// The share of runs with a new seed.
pub const FRESH: f64 = 0.2;

/// Number of runs that are proposed before their results are learned, so that they can be played at once. It does not depend on the number of
/// threads, so that the result does not, either.
pub const BATCH: usize = 16;

/// What a run is drawn from: a seed, and times with salts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recipe {
    /// The seed of the run up to its first branch.
    pub seed: u64,
    /// The branches, in the order of time.
    pub branches: Vec<Branch>,
}

impl Recipe {
    /// Returns the seed and the branches.
    pub fn draws(&self) -> (u64, &[Branch]) {
        (self.seed, &self.branches)
    }
}

/// A guided search, which proposes runs and learns what they reached.
#[derive(Debug)]
pub struct GuidedSearch {
    rng: RandomStream,
    next_seed: u64,
    /// The runs that were in a situation first.
    corpus: Vec<Kept>,
    /// The situations that runs were in.
    known: BTreeMap<Situation, Known>,
}

/// A run that was in a situation before any other run.
#[derive(Debug)]
struct Kept {
    recipe: Recipe,
    /// Runs that went on from it.
    children: u32,
    /// Those of them that were kept, too.
    finds: u32,
}

/// A situation that a run was in.
#[derive(Debug)]
struct Known {
    /// Number of runs that were in it.
    runs: u32,
    /// The run that was in it first, by its place in the corpus.
    kept: usize,
    /// The time of it, in microseconds.
    at_us: u64,
}

/// A run that the search proposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What it is drawn from.
    pub recipe: Recipe,
    /// The run that it goes on from, by its place in the corpus; none for a new seed.
    parent: Option<usize>,
}

impl GuidedSearch {
    /// Creates a search whose new seeds begin with this one. It knows nothing yet.
    pub fn new(from_seed: u64) -> Self {
        let rng = Entropy::new(from_seed).stream("hunt.guided");
        Self { rng, next_seed: from_seed, corpus: Vec::new(), known: BTreeMap::new() }
    }

    /// Returns the next run to play.
    pub fn propose(&mut self) -> Proposal {
        let is_fresh = unit(&mut self.rng) < FRESH;
        let chosen = if is_fresh { None } else { self.choose() };
        let Some((parent, at_us)) = chosen else {
            let seed = self.next_seed;
            self.next_seed = self.next_seed.wrapping_add(1);
            return Proposal { recipe: Recipe { seed, branches: Vec::new() }, parent: None };
        };
        let kept = &mut self.corpus[parent];
        kept.children += 1;
        let mut recipe = kept.recipe.clone();
        // What has happened at that time stays. It is behind the branches of the parent, since all before them was known already. Each child of
        // a run has a salt of its own.
        recipe.branches.push(Branch { at: Duration::from_micros(at_us + 1), salt: u64::from(kept.children) });
        Proposal { recipe, parent: Some(parent) }
    }

    /// Chooses the situation to go on from. Returns the run that was in it first, and when.
    fn choose(&mut self) -> Option<(usize, u64)> {
        let weight = |known: &Known| {
            let Kept { children, finds, .. } = self.corpus[known.kept];
            f64::from(1 + finds) / f64::from(1 + children) / f64::from(known.runs)
        };
        let all: f64 = self.known.values().map(weight).sum();
        let mut drawn = unit(&mut self.rng) * all;
        let chosen = self.known.values().find(|known| {
            drawn -= weight(known);
            drawn < 0.0
        });
        // The sum may be rounded.
        chosen.or(self.known.values().next_back()).map(|known| (known.kept, known.at_us))
    }

    /// Learns what a proposed run reached. Returns true if it was in a situation that no run was in before.
    pub fn learn(&mut self, proposal: &Proposal, moments: &[Moment]) -> bool {
        let place = self.corpus.len();
        let mut is_new = false;
        for Moment { situation, at_us } in moments {
            let known = self.known.entry(situation.clone()).or_insert_with(|| {
                is_new = true;
                Known { runs: 0, kept: place, at_us: *at_us }
            });
            known.runs = known.runs.saturating_add(1);
        }
        if is_new {
            self.corpus.push(Kept { recipe: proposal.recipe.clone(), children: 0, finds: 0 });
            if let Some(parent) = proposal.parent {
                self.corpus[parent].finds += 1;
            }
        }
        is_new
    }

    /// Returns the number of runs that were kept.
    pub fn corpus_len(&self) -> usize {
        self.corpus.len()
    }

    /// Returns the number of situations that runs were in.
    pub fn situations(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use kernel::{
        coverage::moments,
        record::{Event, EventRow, Records},
        scenario::Scenario,
    };

    use super::*;

    /// Returns what a run reached in which these events happened, a second each.
    fn reached(events: &[Event]) -> Vec<Moment> {
        let text = "name = \"x\"\nduration = \"9s\"\nload = { rate = 1 }\nclient = { hedging = \"1s\" }\n";
        let scenario = Scenario::parse("x.toml", text, &[]).unwrap();
        let row = |(place, event): (usize, &Event)| EventRow {
            at_us: 1_000_000 * (place as u64 + 1),
            source: "client".into(),
            event: *event,
            target: None,
            cause: None,
            fault: None,
            request: None,
            call: None,
            attempt: None,
            duration_us: None,
        };
        let events = events.iter().enumerate().map(row).collect();
        moments(&scenario, 1, &Records { events, ..Records::default() })
    }

    /// Proposes runs until one has a parent.
    fn child(search: &mut GuidedSearch) -> Proposal {
        (0..1_000).map(|_| search.propose()).find(|proposal| proposal.parent.is_some()).expect("four of five have one")
    }

    #[test]
    fn the_first_runs_have_new_seeds_and_a_child_goes_on_behind_what_was_new() {
        let mut search = GuidedSearch::new(7);
        let first = search.propose();
        assert_eq!(first.recipe, Recipe { seed: 7, branches: Vec::new() });
        assert_eq!(search.propose().recipe.seed, 8, "nothing is known yet");
        assert!(search.learn(&first, &reached(&[Event::Hedge])));
        assert!(!search.learn(&first, &reached(&[Event::Hedge])), "nothing new");
        assert_eq!((search.corpus_len(), search.situations()), (1, 1));
        let next = child(&mut search);
        assert_eq!((next.recipe.seed, next.recipe.branches[0].at), (7, Duration::from_micros(1_000_001)));
        let other = child(&mut search);
        assert_ne!(other.recipe, next.recipe, "each child has a salt of its own");
        assert!(search.learn(&next, &reached(&[Event::Hedge, Event::Unhealthy])));
        let grandchild = (0..1_000).map(|_| search.propose()).find(|proposal| proposal.recipe.branches.len() == 2);
        let branches = grandchild.expect("the child was in a new situation").recipe.branches;
        assert_eq!((branches[0], branches[1].at), (next.recipe.branches[0], Duration::from_micros(2_000_001)));
    }

    #[test]
    fn rare_situations_and_fruitful_parents_come_more_often() {
        let mut search = GuidedSearch::new(1);
        let [usual, rare] = [search.propose(), search.propose()];
        search.learn(&usual, &reached(&[Event::Hedge]));
        search.learn(&rare, &reached(&[Event::Unhealthy]));
        for _ in 0..50 {
            search.learn(&usual, &reached(&[Event::Hedge]));
        }
        let parents: Vec<_> = (0..40).filter_map(|_| search.propose().parent).collect();
        let of_rare = parents.iter().filter(|parent| **parent == 1).count();
        assert!(of_rare * 2 > parents.len(), "{of_rare} of {}", parents.len());
        search.corpus[0].finds = 10_000;
        let of_fruitful = (0..100).filter(|_| search.propose().parent == Some(0)).count();
        assert!(of_fruitful > 50, "{of_fruitful}");
    }

    #[test]
    fn what_is_proposed_depends_on_the_seed_and_on_what_was_learned() {
        let proposals = |seed| {
            let mut search = GuidedSearch::new(seed);
            let events = [Event::Hedge, Event::Unhealthy, Event::Healthy];
            let propose = |number: usize| {
                let proposal = search.propose();
                search.learn(&proposal, &reached(&events[..number % 4]));
                proposal.recipe
            };
            (0..200).map(propose).collect::<Vec<_>>()
        };
        assert_eq!(proposals(3), proposals(3));
        assert_ne!(proposals(3), proposals(4));
        let fresh = proposals(3).iter().filter(|recipe| recipe.branches.is_empty()).count();
        assert!((20..80).contains(&fresh), "a fifth and the first ones: {fresh}");
    }
}
