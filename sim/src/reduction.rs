//! Minimises a scenario that fails, so that it still fails in the same way.
//!
//! The algorithm is delta debugging (Zeller and Hildebrandt, 2002) over the faults, then one number after another: the load,
//! the duration, the replicas, how long faults last and when they begin. The settings are what the failure is about, so they
//! stay as they are, unless the failure is a bug of this program: then they are reset to their defaults, one by one. It ends
//! when the scenario is 1-minimal, that is, none of the changes in [`step::every`] keeps the failure.
//!
//! | module | content |
//! | --- | --- |
//! | `goal` | [`Goal`], the failure to keep |
//! | `part` | [`Part`], what a reduction can be asked to keep |
//! | [`step`] | one change that makes a scenario smaller |
//! | `removed` | [`removed()`], a description of what was removed |
//! | `short_toml` | [`short_toml()`], a scenario as a short file |

mod goal;
mod part;
mod removed;
mod short_toml;
pub mod step;

use std::collections::BTreeSet;

use kernel::scenario::Scenario;

pub use goal::{Deviation, Goal, Stop};
pub use part::Part;
pub use removed::removed;
pub use short_toml::short_toml;

use crate::{Plan, SimulationError};
use step::{Number, PlainKey, Step};

/// Most runs of one reduction. [`Reduced::is_minimal`] is false if they were not enough.
const TRIALS_MAX: u64 = 20_000;

/// The result of a reduction.
#[derive(Debug, Clone, PartialEq)]
pub struct Reduced {
    /// The smallest scenario that was found. Its only expectation is the one that fails; it has none if an invariant is
    /// violated.
    pub scenario: Scenario,
    /// The index in the original scenario of each fault of this one.
    pub origins: Vec<usize>,
    /// The failure that it keeps.
    pub goal: Goal,
    /// Number of runs that the reduction took.
    pub trials: u64,
    /// True if no single change of what may change keeps the failure; false if the limit on runs was hit before that was known.
    pub is_minimal: bool,
}

/// A scenario that cannot be reduced.
#[derive(Debug, thiserror::Error)]
pub enum ReductionError {
    /// The run passes, so there is no failure to keep.
    #[error(
        "`{name}` passes with seed {seed}, so there is nothing to shrink; find a seed that fails with --seeds 0..1000"
    )]
    Passes {
        /// Name of the scenario.
        name: String,
        /// Seed of the run.
        seed: u64,
    },
    /// The original scenario cannot be simulated.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
}

/// Minimises the scenario of `plan`, which must have no settings that have not been drawn yet. After each run, `report` is
/// called with the number of runs and the smallest scenario so far.
///
/// # Errors
///
/// Returns an error if the run of `plan` passes, or it cannot be simulated.
///
/// ```
/// use kernel::scenario::Scenario;
/// use sim::{Plan, calibration::Calibration, reduction::reduce};
///
/// let text = "name = \"short\"\nduration = \"1s\"\nload = { rate = 5 }\nexpect = [{ metric = \"retries\", min = 1 }]\nworkload = { sizes = [\"8x8\"] }\n";
/// let scenario = Scenario::parse("short.toml", text, &[])?;
/// let plan = Plan::new(scenario, 7);
/// let reduced = reduce(&plan, &mut |_, _| {})?;
/// assert!(reduced.is_minimal);
/// assert!(reduced.scenario.load.rate < 5.0, "the expectation fails with less load, too");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn reduce(plan: &Plan, report: &mut dyn FnMut(u64, &Scenario)) -> Result<Reduced, ReductionError> {
    reduce_keeping(plan, &[], report)
}

/// Does the same, but changes nothing of `kept`, so that the result is still about what the scenario is about.
///
/// # Errors
///
/// Returns an error if the run of `plan` passes, or it cannot be simulated.
pub fn reduce_keeping(
    plan: &Plan,
    kept: &[Part],
    report: &mut dyn FnMut(u64, &Scenario),
) -> Result<Reduced, ReductionError> {
    let Plan { scenario, seed, .. } = plan;
    let goal = Goal::find(plan)?.ok_or_else(|| ReductionError::Passes { name: scenario.name.clone(), seed: *seed })?;
    // Objectives change nothing in a run.
    let expectations = goal.expectation().into_iter().collect();
    let focused = Scenario { expectations, slos: Vec::new(), ..scenario.clone() };
    let origins = (0..focused.faults.len()).collect();
    let best = Candidate { scenario: focused, origins };
    let mut search = Search { plan, kept, goal, best, seen: BTreeSet::new(), trials: 1, report };
    let is_minimal = search.run();
    let Search { goal, best: Candidate { scenario, origins }, trials, .. } = search;
    // The expectation may name a phase by the index of its fault, which changes when faults before it are removed.
    let goal = goal.expecting(scenario.expectations.first());
    Ok(Reduced { scenario, origins, goal, trials, is_minimal })
}

/// A scenario that has the failure, and the original indices of its faults.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    scenario: Scenario,
    origins: Vec<usize>,
}

struct Search<'a> {
    plan: &'a Plan,
    kept: &'a [Part],
    goal: Goal,
    /// The smallest scenario so far.
    best: Candidate,
    /// Scenarios that were tried, as files. None is tried twice.
    seen: BTreeSet<String>,
    trials: u64,
    report: &'a mut dyn FnMut(u64, &Scenario),
}

impl Search<'_> {
    /// Tries all changes until none keeps the failure. Returns false if the limit on runs was hit first.
    fn run(&mut self) -> bool {
        loop {
            let before = self.best.clone();
            self.reduce_faults();
            self.reduce_targets();
            self.reduce_keys_of_faults();
            for number in [Number::Rate, Number::Users, Number::Duration] {
                self.reduce_number(number);
            }
            self.reduce_replicas();
            self.reduce_settings();
            for index in 0..self.best.scenario.faults.len() {
                self.reduce_number(Number::Lasts(index));
                self.reduce_number(Number::At(index));
            }
            if self.trials >= TRIALS_MAX {
                return false;
            }
            if self.best == before {
                return true;
            }
        }
    }

    /// Removes faults by delta debugging: half of them at once, then quarters, down to each alone.
    fn reduce_faults(&mut self) {
        let mut parts = 2;
        loop {
            let count = self.best.scenario.faults.len();
            let size = count.div_ceil(parts.min(count.max(1)));
            let removed = (0..count).step_by(size.max(1)).any(|from| {
                let chunk = (from..(from + size).min(count)).collect();
                self.try_step(&Step::WithoutFaults(chunk))
            });
            if removed {
                parts = (parts - 1).max(2);
            } else if size <= 1 {
                return;
            } else {
                parts *= 2;
            }
        }
    }

    /// Removes single targets of faults that have several.
    fn reduce_targets(&mut self) {
        for fault in 0..self.best.scenario.faults.len() {
            let mut place = self.best.scenario.faults[fault].targets.len();
            while place > 0 {
                place -= 1;
                self.try_step(&Step::WithoutTarget { fault, place });
            }
        }
    }

    /// Makes faults apply to all connections and in both directions.
    fn reduce_keys_of_faults(&mut self) {
        for fault in 0..self.best.scenario.faults.len() {
            for key in PlainKey::ALL {
                self.try_step(&Step::Plain(fault, key));
            }
        }
    }

    /// Removes servers that no fault targets.
    fn reduce_replicas(&mut self) {
        for server in (0..self.best.scenario.replicas()).rev() {
            self.try_step(&Step::WithoutServer(server));
        }
    }

    /// Resets settings to their defaults, if the failure is a bug of this program.
    fn reduce_settings(&mut self) {
        if self.goal.is_a_bug() {
            for (name, _) in step::RESET_ALL {
                self.try_step(&Step::ResetAll(name));
            }
            for path in Scenario::resettable() {
                self.try_step(&Step::Reset(path));
            }
        }
    }

    /// Lowers a number to the least value that keeps the failure.
    fn reduce_number(&mut self, number: Number) {
        let rungs = number.rungs_below(&self.best.scenario);
        rungs.into_iter().any(|value| self.try_step(&Step::Lower(number, value)));
    }

    /// Applies a change if the failure is still there after it. Returns true if it was applied.
    fn try_step(&mut self, step: &Step) -> bool {
        if self.kept.contains(&step.part()) {
            return false;
        }
        let Some(scenario) = step.apply(&self.best.scenario) else { return false };
        if self.trials >= TRIALS_MAX || !self.seen.insert(scenario.to_toml()) {
            return false;
        }
        self.trials += 1;
        let fails = self.goal.is_met_by(&Plan { scenario: scenario.clone(), ..self.plan.clone() });
        if fails {
            if let Step::WithoutFaults(faults) = step {
                let kept = self.best.origins.iter().enumerate().filter(|(index, _)| !faults.contains(index));
                self.best.origins = kept.map(|(_, origin)| *origin).collect();
            }
            self.best.scenario = scenario;
        }
        (self.report)(self.trials, &self.best.scenario);
        fails
    }
}
