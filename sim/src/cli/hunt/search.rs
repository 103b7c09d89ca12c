//! The search for a run that fails.

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use crate::{
    Plan,
    calibration::Calibration,
    reduction::{Goal, Stop},
};
use kernel::{
    cli::{Failure, progress},
    coverage::CoverageTally,
    scenario::{Scenario, setting_generator},
    sync::{ignore_poison, lock},
};

use super::{HuntArgs, NOTHING_EXPECTED, finding};
use crate::cli::{app, failed};

/// A run that fails.
pub(super) struct Finding {
    pub(super) seed: u64,
    /// Settings that the seed draws, each a `key=value` as `--set` takes it.
    pub(super) settings: Vec<String>,
    pub(super) scenario: Scenario,
    /// The failure.
    pub(super) goal: Goal,
}

/// A search that runs one seed after another.
pub(super) struct Hunt<'a> {
    pub(super) args: &'a HuntArgs,
    /// Scenario from whose settings the seeds draw.
    pub(super) base: &'a Scenario,
    pub(super) calibration: &'a Calibration,
    /// Folder that findings are written to.
    pub(super) folder: &'a Path,
}

/// The runs of a hunt.
pub(super) struct Played {
    /// The number of them.
    pub(super) runs: u64,
    /// The seeds of those that were stopped at a limit, ascending.
    pub(super) stopped: Vec<u64>,
    /// The states that they reached.
    pub(super) coverage: CoverageTally,
}

impl Played {
    /// Returns a note on the runs that were stopped; empty if there are none.
    pub(super) fn note(&self) -> String {
        self.stopped.first().map_or_else(String::new, |first| {
            let count = self.stopped.len();
            format!("; {count} of them hit a limit and count for nothing, the first with seed {first}")
        })
    }
}

/// Result of a hunt, shared by its threads.
#[derive(Default)]
struct Progress {
    /// Number of seeds that a thread has taken.
    started: AtomicU64,
    /// Number of runs that have ended.
    played: AtomicU64,
    /// The seeds of the runs that were stopped at a limit, which says nothing about the scenario.
    stopped: Mutex<Vec<u64>>,
    coverage: Mutex<CoverageTally>,
    found: Mutex<Option<Result<Finding, Failure>>>,
}

impl Hunt<'_> {
    /// Returns the finding with the lowest seed, if there is one, and the runs. Every seed below it has been run: threads take
    /// seeds in order, and finish the one that they have.
    pub(super) fn search(&self, jobs: NonZeroUsize) -> Result<(Option<Finding>, Played), Failure> {
        let progress = Progress::default();
        let bar = progress::bar(self.args.lasts.as_secs(), "{bar:40} {pos} of {len} s, {msg} runs");
        thread::scope(|scope| {
            for index in 0..jobs.get() {
                let spawned = thread::Builder::new().spawn_scoped(scope, || self.work(&progress, &bar));
                // With fewer threads than were asked for it takes longer, and ends all the same.
                assert!(spawned.is_ok() || index > 0, "the operating system has no thread for any simulation");
                if spawned.is_err() {
                    break;
                }
            }
        });
        bar.finish_and_clear();
        let found = ignore_poison(progress.found.into_inner()).transpose()?;
        let mut stopped = ignore_poison(progress.stopped.into_inner());
        stopped.sort_unstable();
        let coverage = ignore_poison(progress.coverage.into_inner());
        Ok((found, Played { runs: progress.played.into_inner(), stopped, coverage }))
    }

    /// Runs seeds until one fails, the time is over, or there are no more.
    fn work(&self, progress: &Progress, bar: &progress::ProgressBar) {
        while bar.elapsed() < self.args.lasts && lock(&progress.found).is_none() {
            let number = progress.started.fetch_add(1, Relaxed);
            let seed = self.args.from_seed.checked_add(number);
            let Some(seed) = seed.filter(|_| number < self.args.runs) else { return };
            let outcome = match self.run(seed, &progress.coverage) {
                Ok(Some(finding)) if finding.goal == Goal::Stopped(Stop::Size) => {
                    lock(&progress.stopped).push(seed);
                    None
                }
                outcome => outcome.transpose(),
            };
            bar.set_message((progress.played.fetch_add(1, Relaxed) + 1).to_string());
            bar.set_position(bar.elapsed().as_secs());
            let Some(outcome) = outcome else { continue };
            let mut found = lock(&progress.found);
            // Of two findings the lower seed counts, whichever ended first, so that threads make no difference.
            let replaces = match (&outcome, &*found) {
                (Ok(new), Some(Ok(old))) => new.seed < old.seed,
                (_, known) => known.is_none(),
            };
            if replaces {
                *found = Some(outcome);
            }
        }
    }

    fn run(&self, seed: u64, coverage: &Mutex<CoverageTally>) -> Result<Option<Finding>, Failure> {
        let (settings, scenario) = self.draw(seed)?;
        let plan = Plan { scenario, seed, branches: Vec::new(), calibration: self.calibration.clone(), app: app() };
        if self.args.keep {
            finding::write(self, seed, &plan.scenario)?;
        }
        let (goal, reached) = Goal::find_with_coverage(&plan).map_err(failed)?;
        lock(coverage).add(&plan.scenario, &reached);
        Ok(goal.map(|goal| Finding { seed, settings, scenario: plan.scenario, goal }))
    }

    /// Draws the settings of a seed. Returns them and the scenario with them and with its faults.
    fn draw(&self, seed: u64) -> Result<(Vec<String>, Scenario), Failure> {
        if !self.args.policies {
            return Ok((Vec::new(), self.base.explicit(seed)));
        }
        let mut settings = setting_generator::settings(self.base, seed);
        if self.args.adaptive {
            settings = setting_generator::with_adaptive(self.base, settings, seed);
        }
        // The command line comes last and so applies. Its settings may go with those of the file, and not with drawn ones.
        let mut all = [&settings[..], &self.args.conditions.overrides].concat();
        all.push(NOTHING_EXPECTED.to_owned());
        let mut scenario = Scenario::load(&self.args.scenario, &all).map_err(Failure::wrong_input)?;
        scenario.nemesis.get_or_insert_default();
        Ok((settings, scenario.explicit(seed)))
    }
}
