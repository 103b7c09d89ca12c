//! The search for a run that fails.

use std::{
    mem,
    num::NonZeroUsize,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use crate::{
    Plan,
    calibration::Calibration,
    guided::{GuidedSearch, Proposal, Recipe},
    reduction::{Goal, Stop},
};
use kernel::{
    cli::{Failure, progress},
    coverage::{Coverage, CoverageTally, Moment, moments},
    scenario::{Scenario, setting_generator},
    sync::{ignore_poison, lock},
};

use super::{HuntArgs, NOTHING_EXPECTED, finding};
use crate::cli::{app, failed};

/// A run that fails.
pub(super) struct Finding {
    /// The position of the run in the search, from 0.
    pub(super) number: u64,
    pub(super) recipe: Recipe,
    /// Settings that the seed draws, each a `key=value` as `--set` takes it.
    pub(super) settings: Vec<String>,
    pub(super) scenario: Scenario,
    /// The failure.
    pub(super) goal: Goal,
}

/// A search that plays one run after another.
pub(super) struct Hunt<'a> {
    pub(super) args: &'a HuntArgs,
    /// Scenario from whose settings the seeds draw.
    pub(super) base: &'a Scenario,
    pub(super) calibration: &'a Calibration,
    /// Folder that findings are written to.
    pub(super) folder: &'a Path,
}

/// The runs of a hunt.
#[derive(Default)]
pub(super) struct Played {
    /// The number of them.
    pub(super) runs: u64,
    /// The seeds of those that were stopped at a limit, ascending.
    pub(super) stopped: Vec<u64>,
    /// The states that they reached.
    pub(super) coverage: CoverageTally,
    /// The runs that a guided search has kept; none of a search at random.
    pub(super) kept: Option<Kept>,
}

/// The runs that a guided search has kept.
#[derive(Clone, Copy, serde::Serialize)]
pub(super) struct Kept {
    /// Number of runs that were in a situation first.
    pub(super) runs: usize,
    /// Number of situations.
    pub(super) situations: usize,
}

impl Played {
    /// Returns a note on the runs that were stopped; empty if there are none.
    pub(super) fn note(&self) -> String {
        self.stopped.first().map_or_else(String::new, |first| {
            let count = self.stopped.len();
            format!("; {count} of them hit a limit and count for nothing, the first with seed {first}")
        })
    }

    /// Returns a line on what a guided search has kept; empty for a search at random.
    pub(super) fn guidance(&self) -> String {
        self.kept.map_or_else(String::new, |Kept { runs, situations }| {
            format!("  guided by {situations} situations; {runs} runs were in one of them first\n")
        })
    }

    /// Adds a run that has ended.
    fn add(&mut self, run: &Ended) {
        self.runs += 1;
        self.coverage.add(&run.scenario, &run.coverage);
        if run.is_stopped() {
            self.stopped.push(run.recipe.seed);
        }
    }
}

/// A run that has ended.
struct Ended {
    number: u64,
    recipe: Recipe,
    settings: Vec<String>,
    scenario: Scenario,
    goal: Option<Goal>,
    coverage: Coverage,
    /// The situations that it was in; none unless the search is guided.
    moments: Vec<Moment>,
}

impl Ended {
    /// Returns whether it was stopped at a limit, which says nothing about the scenario.
    fn is_stopped(&self) -> bool {
        self.goal == Some(Goal::Stopped(Stop::Size))
    }

    /// Returns the finding, if the run fails.
    fn finding(self) -> Option<Finding> {
        if self.is_stopped() {
            return None;
        }
        let Self { number, recipe, settings, scenario, goal, .. } = self;
        goal.map(|goal| Finding { number, recipe, settings, scenario, goal })
    }
}

/// A search at random, shared by its threads.
#[derive(Default)]
struct Progress {
    /// Number of seeds that a thread has taken.
    started: AtomicU64,
    played: Mutex<Played>,
    found: Mutex<Option<Result<Finding, Failure>>>,
}

impl Hunt<'_> {
    /// Returns the first finding, if there is one, and the runs. The number of threads makes no difference to the finding.
    pub(super) fn search(&self, jobs: NonZeroUsize) -> Result<(Option<Finding>, Played), Failure> {
        let bar = progress::bar(self.args.lasts.as_secs(), "{bar:40} {pos} of {len} s, {msg} runs");
        let found = if self.args.guided { self.search_guided(jobs, &bar) } else { self.search_at_random(jobs, &bar) };
        bar.finish_and_clear();
        found
    }

    /// Returns the finding with the lowest seed, if there is one, and the runs. Every seed below it has been run: threads take
    /// seeds in order, and finish the one that they have.
    fn search_at_random(
        &self,
        jobs: NonZeroUsize,
        bar: &progress::ProgressBar,
    ) -> Result<(Option<Finding>, Played), Failure> {
        let progress = Progress::default();
        on_threads(jobs, || self.work(&progress, bar));
        let found = ignore_poison(progress.found.into_inner()).transpose()?;
        let mut played = ignore_poison(progress.played.into_inner());
        played.stopped.sort_unstable();
        Ok((found, played))
    }

    /// Runs seeds until one fails, the time is over, or there are no more.
    fn work(&self, progress: &Progress, bar: &progress::ProgressBar) {
        while bar.elapsed() < self.args.lasts && lock(&progress.found).is_none() {
            let number = progress.started.fetch_add(1, Relaxed);
            let seed = self.args.from_seed.checked_add(number);
            let Some(seed) = seed.filter(|_| number < self.args.runs) else { return };
            let ended = self.run(number, Recipe { seed, branches: Vec::new() });
            let outcome = match ended {
                Ok(ended) => {
                    let mut played = lock(&progress.played);
                    played.add(&ended);
                    show(bar, played.runs);
                    ended.finding().map(Ok)
                }
                Err(failure) => Some(Err(failure)),
            };
            let Some(outcome) = outcome else { continue };
            let mut found = lock(&progress.found);
            // Of two findings the lower seed counts, whichever ended first, so that threads make no difference.
            let replaces = match (&outcome, &*found) {
                (Ok(new), Some(Ok(old))) => new.number < old.number,
                (_, known) => known.is_none(),
            };
            if replaces {
                *found = Some(outcome);
            }
        }
    }

    /// Plays what a guided search proposes, until a run fails, the time is over, or there are no more.
    fn search_guided(
        &self,
        jobs: NonZeroUsize,
        bar: &progress::ProgressBar,
    ) -> Result<(Option<Finding>, Played), Failure> {
        let mut base = self.base.clone();
        if self.args.policies {
            // Each run has drawn settings, and faults all the same.
            base.nemesis.get_or_insert_default();
        }
        let mut search = GuidedSearch::new(&base, self.args.from_seed);
        let mut played = Played::default();
        let rest = |runs| {
            show(bar, runs);
            if bar.elapsed() < self.args.lasts { self.args.runs - runs } else { 0 }
        };
        let play = |first, batch: &[Proposal]| self.play(batch, first, jobs);
        let end = |ended: Result<Ended, Failure>| {
            let mut ended = ended?;
            played.add(&ended);
            let moments = mem::take(&mut ended.moments);
            Ok((ended.finding(), moments))
        };
        let found = search.search(rest, play, end)?;
        played.kept = Some(Kept { runs: search.corpus_len(), situations: search.situations() });
        Ok((found, played))
    }

    /// Plays the runs of a batch, the first of which has this number in the search, and returns them in their order.
    fn play(&self, batch: &[Proposal], first: u64, jobs: NonZeroUsize) -> Vec<Result<Ended, Failure>> {
        let next = AtomicUsize::new(0);
        let ended = Mutex::new(Vec::new());
        on_threads(jobs, || {
            loop {
                let place = next.fetch_add(1, Relaxed);
                let Some(proposal) = batch.get(place) else { return };
                let run = self.run(first + place as u64, proposal.recipe.clone());
                lock(&ended).push((place, run));
            }
        });
        let mut ended = ignore_poison(ended.into_inner());
        ended.sort_by_key(|(place, _)| *place);
        ended.into_iter().map(|(_, run)| run).collect()
    }

    fn run(&self, number: u64, recipe: Recipe) -> Result<Ended, Failure> {
        let (settings, scenario) = self.draw(&recipe)?;
        let Recipe { seed, branches } = recipe.clone();
        let plan = Plan { scenario, seed, branches, calibration: self.calibration.clone(), app: app() };
        if self.args.keep {
            finding::write(self, number, &recipe, &plan.scenario)?;
        }
        let (goal, completed) = Goal::find_and_run(&plan).map_err(failed)?;
        let scenario = plan.scenario;
        let (coverage, moments) = match completed.as_ref().map(|completed| &completed.records) {
            // The moments have the coverage, too.
            Some(rows) if self.args.guided => {
                let moments = moments(&scenario, seed, rows);
                (Coverage::of_moments(&moments), moments)
            }
            Some(rows) => (Coverage::of_run(&scenario, seed, rows), Vec::new()),
            None => Default::default(),
        };
        Ok(Ended { number, recipe, settings, scenario, goal, coverage, moments })
    }

    /// Draws the settings of a run. Returns them and the scenario with them and with its faults.
    fn draw(&self, Recipe { seed, branches }: &Recipe) -> Result<(Vec<String>, Scenario), Failure> {
        if !self.args.policies {
            return Ok((Vec::new(), self.base.explicit_with(*seed, branches)));
        }
        let mut settings = setting_generator::settings(self.base, *seed);
        if self.args.adaptive {
            settings = setting_generator::with_adaptive(self.base, settings, *seed);
        }
        // The command line comes last and so applies. Its settings may go with those of the file, and not with drawn ones.
        let mut all = [&settings[..], &self.args.conditions.overrides].concat();
        all.push(NOTHING_EXPECTED.to_owned());
        let mut scenario = Scenario::load(&self.args.scenario, &all).map_err(Failure::wrong_input)?;
        scenario.nemesis.get_or_insert_default();
        Ok((settings, scenario.explicit_with(*seed, branches)))
    }
}

/// Shows how far a search has come.
fn show(bar: &progress::ProgressBar, runs: u64) {
    bar.set_message(runs.to_string());
    bar.set_position(bar.elapsed().as_secs());
}

/// Does `work` on as many threads, or on fewer if the operating system has no more, which takes longer.
fn on_threads(jobs: NonZeroUsize, work: impl Fn() + Sync) {
    thread::scope(|scope| {
        for index in 0..jobs.get() {
            let spawned = thread::Builder::new().spawn_scoped(scope, &work);
            assert!(spawned.is_ok() || index > 0, "the operating system has no thread for any simulation");
            if spawned.is_err() {
                break;
            }
        }
    });
}
