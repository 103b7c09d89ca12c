//! Search for failures that is guided by which faults overlap, and by what runs reach.
//!
//! A run at random has to meet all conditions of a failure at once, and most failures that need more than one need two or three (Kuhn, Wallace
//! and Gallo, 2004). Faults are drawn from the seed, so which of them [overlap] is known before a run is played. A guided search draws
//! several runs, and plays the one whose pairs and triples of faults last the longest and lasted the least in the runs so far: as covering arrays
//! do, but for times. Those count more whose faults have a [profile] that led to many situations.
//!
//! Its runs are of three kinds:
//!
//! * A share of [`PLAIN`] are those of a new seed as they are, with any distance between their faults.
//! * A share of [`GOING_ON`] go on from what others reached, as fuzzers do that are guided by coverage (AFL; Antithesis's "sometimes"
//!   assertions). The search keeps the runs that were in a [situation](kernel::coverage::Situation) first. A child plays the run of its parent
//!   up to the virtual time of that situation, and draws everything again [from there](kernel::entropy::branch). Situations that few runs were in
//!   come more often (the schedule of AFLFast: Böhme and others, 2016), and so do parents whose children were in new situations.
//! * The others have one of several new seeds and its first fault, and draw everything again when it begins. What begins behind a branch begins
//!   soon, so that faults are close together.
//!
//! What is proposed depends on the seed of the search and on what it has learned, in the order in which it has learned it.

mod overlap;
mod profile;

use std::{collections::BTreeMap, time::Duration};

use kernel::{
    coverage::{Moment, Situation},
    entropy::{Entropy, RandomStream, branch::Branch, unit},
    scenario::Scenario,
};

use overlap::{Outlook, Overlaps};
use profile::{Profile, Yields};

/// The share of runs with a new seed and nothing else.
pub const PLAIN: f64 = 0.05;

/// The share of runs that go on from what another one reached, once one has reached something.
pub const GOING_ON: f64 = 0.2;

/// Number of runs that are drawn for each of the others that is played.
pub const DRAWN: usize = 32;

/// Number of new seeds whose first faults these begin with.
pub const SEEDS: u64 = 8;

/// Number of runs that are proposed before their results are learned, so that they can be played at once. It does not depend on the number of
/// threads, so that the result does not, either.
pub const BATCH: usize = 16;

/// The numbers that a run is drawn from: a seed, and times with salts.
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
    /// The scenario that the faults of a run are drawn from.
    scenario: Scenario,
    rng: RandomStream,
    next_seed: u64,
    /// The runs that were in a situation first.
    corpus: Vec<Kept>,
    /// The situations that runs were in.
    known: BTreeMap<Situation, Known>,
    /// The overlaps of the runs that were proposed.
    overlaps: Overlaps,
    /// What the profiles of faults promise.
    yields: Yields,
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
    /// The recipe that the run is drawn from.
    pub recipe: Recipe,
    /// The run that it goes on from, by its place in the corpus; none for a new seed.
    parent: Option<usize>,
    /// The profiles of its faults.
    profiles: Vec<Profile>,
}

impl Proposal {
    fn of_seed(seed: u64, branches: Vec<Branch>) -> Self {
        Self { recipe: Recipe { seed, branches }, parent: None, profiles: Vec::new() }
    }
}

impl GuidedSearch {
    /// Creates a search of runs of `scenario`, whose new seeds begin with this one. It knows nothing yet.
    pub fn new(scenario: &Scenario, from_seed: u64) -> Self {
        Self {
            scenario: scenario.clone(),
            rng: Entropy::new(from_seed).stream("hunt.guided"),
            next_seed: from_seed,
            corpus: Vec::new(),
            known: BTreeMap::new(),
            overlaps: Overlaps::default(),
            yields: Yields::default(),
        }
    }

    /// Returns the next run to play.
    pub fn propose(&mut self) -> Proposal {
        let drawn = unit(&mut self.rng);
        let (mut proposal, outlook) = if drawn < PLAIN {
            self.plain()
        } else if drawn < PLAIN + GOING_ON && !self.known.is_empty() {
            self.newest_of(Self::child)
        } else if self.scenario.nemesis.is_some() {
            let newest = self.newest_of(|search, number| search.close(number));
            self.next_seed = self.next_seed.wrapping_add(SEEDS);
            newest
        } else {
            // Without random faults there is nothing to choose: the faults of all seeds are those of the file.
            self.plain()
        };
        self.overlaps.add(&outlook);
        proposal.profiles = outlook.into_profiles();
        if let Some(parent) = proposal.parent {
            self.corpus[parent].children += 1;
        }
        proposal
    }

    /// Returns the run of the next seed, as it is.
    fn plain(&mut self) -> (Proposal, Outlook) {
        let proposal = Proposal::of_seed(self.next_seed, Vec::new());
        self.next_seed = self.next_seed.wrapping_add(1);
        self.outlook(proposal)
    }

    /// Draws runs, and returns the first of those that promise the most.
    fn newest_of(&mut self, mut draw: impl FnMut(&mut Self, u64) -> Proposal) -> (Proposal, Outlook) {
        let first = draw(self, 1);
        let mut best = self.outlook(first);
        let mut novelty = self.overlaps.novelty(&best.1, &self.yields);
        for number in 2..=DRAWN as u64 {
            let next = draw(self, number);
            let next = self.outlook(next);
            let of_next = self.overlaps.novelty(&next.1, &self.yields);
            if of_next > novelty {
                (best, novelty) = (next, of_next);
            }
        }
        best
    }

    fn outlook(&self, proposal: Proposal) -> (Proposal, Outlook) {
        let outlook = Outlook::new(&self.scenario, &proposal.recipe);
        (proposal, outlook)
    }

    /// Returns the run of one of the next seeds with a branch at its first fault, the draw of this number.
    fn close(&self, number: u64) -> Proposal {
        let seed = self.next_seed.wrapping_add(number % SEEDS);
        let first = self.scenario.explicit(seed).faults.iter().map(|fault| fault.at).min();
        Proposal::of_seed(seed, first.map(|at| Branch { at, salt: number }).into_iter().collect())
    }

    /// Returns a run that goes on from a kept one, the draw of this number.
    fn child(&mut self, number: u64) -> Proposal {
        let Some((parent, at_us)) = self.choose() else { return Proposal::of_seed(self.next_seed, Vec::new()) };
        let kept = &self.corpus[parent];
        let mut recipe = kept.recipe.clone();
        // What has happened at that time stays. It is behind the branches of the parent, since all before them was known already. Each child of
        // a run has a salt of its own.
        let salt = u64::from(kept.children) * DRAWN as u64 + number;
        recipe.branches.push(Branch { at: Duration::from_micros(at_us + 1), salt });
        Proposal { recipe, parent: Some(parent), profiles: Vec::new() }
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
        // Much of what a child reached is what its parent did.
        let profiles = if proposal.parent.is_none() { &proposal.profiles[..] } else { &[] };
        self.yields.learn(profiles, moments.len());
        if is_new {
            self.corpus.push(Kept { recipe: proposal.recipe.clone(), children: 0, finds: 0 });
            if let Some(parent) = proposal.parent {
                self.corpus[parent].finds += 1;
            }
        }
        is_new
    }

    /// Plays runs in batches until one is what is searched for, and returns it; `None` if there are no more runs before that.
    ///
    /// `rest` returns how many more runs there may be, given the number of those that were played. `play` plays a batch, the first run of which
    /// has this number in the search, in any order; it may leave work for `end`, to which its results go one by one, in the order of the batch.
    /// `end` returns what was found in a run, if anything, and what the run reached. What follows a find in its batch counts for nothing.
    ///
    /// # Errors
    ///
    /// Returns the first error of `end`.
    pub fn search<R, T, E>(
        &mut self,
        mut rest: impl FnMut(u64) -> u64,
        mut play: impl FnMut(u64, &[Proposal]) -> Vec<R>,
        mut end: impl FnMut(R) -> Result<(Option<T>, Vec<Moment>), E>,
    ) -> Result<Option<T>, E> {
        let mut runs = 0;
        loop {
            let most = usize::try_from(rest(runs)).unwrap_or(BATCH).min(BATCH);
            if most == 0 {
                return Ok(None);
            }
            let batch: Vec<Proposal> = (0..most).map(|_| self.propose()).collect();
            let played = play(runs, &batch);
            for (proposal, played) in batch.iter().zip(played) {
                let (found, moments) = end(played)?;
                self.learn(proposal, &moments);
                if found.is_some() {
                    return Ok(found);
                }
            }
            runs += batch.len() as u64;
        }
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

    fn scenario(nemesis: &str) -> Scenario {
        let text = format!(
            "name = \"x\"\nduration = \"9s\"\nload = {{ rate = 1 }}\nservers = {{ replicas = 3 }}\nclient = {{ hedging = \"1s\" }}\n{nemesis}"
        );
        Scenario::parse("x.toml", &text, &[]).unwrap()
    }

    /// Returns what a run reached in which these events happened, a second each.
    fn reached(events: &[Event]) -> Vec<Moment> {
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
        moments(&scenario(""), 1, &Records { events, ..Records::default() })
    }

    /// Proposes runs until one has a parent.
    fn child(search: &mut GuidedSearch) -> Proposal {
        (0..1_000).map(|_| search.propose()).find(|proposal| proposal.parent.is_some()).expect("one of five has one")
    }

    #[test]
    fn the_first_runs_have_new_seeds_and_a_child_goes_on_behind_what_was_new() {
        let mut search = GuidedSearch::new(&scenario(""), 7);
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
        let mut search = GuidedSearch::new(&scenario(""), 1);
        let [usual, rare] = [search.propose(), search.propose()];
        search.learn(&usual, &reached(&[Event::Hedge]));
        search.learn(&rare, &reached(&[Event::Unhealthy]));
        for _ in 0..50 {
            search.learn(&usual, &reached(&[Event::Hedge]));
        }
        let parents: Vec<_> = (0..200).filter_map(|_| search.propose().parent).collect();
        let of_rare = parents.iter().filter(|parent| **parent == 1).count();
        assert!(of_rare * 2 > parents.len(), "{of_rare} of {}", parents.len());
        search.corpus[0].finds = 10_000;
        let parents: Vec<_> = (0..200).filter_map(|_| search.propose().parent).collect();
        let of_fruitful = parents.iter().filter(|parent| **parent == 0).count();
        assert!(of_fruitful * 4 > parents.len() * 3, "{of_fruitful} of {}", parents.len());
    }

    #[test]
    fn what_is_proposed_depends_on_the_seed_and_on_what_was_learned() {
        let proposals = |seed| {
            let mut search = GuidedSearch::new(&scenario(""), seed);
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
        assert!((120..190).contains(&fresh), "four of five, and the first ones: {fresh}");
    }

    #[test]
    fn proposed_runs_have_faults_that_overlap_and_many_kinds_of_overlaps() {
        let scenario = scenario(
            "nemesis = { kinds = [\"crash\", \"freeze\", \"delay\"], faults_min = 1, faults_max = 3, duration_min = \"100ms\", duration_max = \"800ms\" }",
        );
        let mut search = GuidedSearch::new(&scenario, 1);
        let recipes: Vec<_> = (0..100).map(|_| search.propose().recipe).collect();
        let plain = recipes.iter().filter(|recipe| recipe.branches.is_empty()).count();
        assert!((1..15).contains(&plain), "one of twenty: {plain}");
        let overlaps = |recipes: &[Recipe]| {
            let mut all = Overlaps::default();
            recipes.iter().for_each(|recipe| all.add(&Outlook::new(&scenario, recipe)));
            all.kinds()
        };
        let random: Vec<_> = (1..=100).map(|seed| Recipe { seed, branches: Vec::new() }).collect();
        let (guided, random) = (overlaps(&recipes), overlaps(&random));
        assert!(guided > 2 * random, "{guided} over {random}");
    }
}
