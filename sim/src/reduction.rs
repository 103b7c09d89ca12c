//! From a scenario that fails to the least one that fails in the same way.
//!
//! Delta debugging (Zeller and Hildebrandt, 2002) over the faults, then one number after another: the load, the duration,
//! the replicas, how long faults last and when they begin. The settings are what is judged, and stay as they are, unless the
//! failure is a bug of this program: then they go back to their defaults, one by one. It goes
//! on until the scenario is 1-minimal: none of the changes in [`step::every`] leaves the failure as it is.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `goal` | [`Goal`], the failure that is to stay |
//! | [`step`] | what can be taken away at once |
//! | `story` | what was taken away, in words, and the scenario as a short file |

mod goal;
pub mod step;
mod story;

use std::collections::BTreeSet;

use kernel::scenario::Scenario;

pub use goal::{Goal, Side, Stop};
pub use story::{short_toml, story};

use crate::{Plan, SimulationError};
use step::{Number, Step};

/// Runs at most: who has not come to the end by then is told so.
const TRIALS_MAX: u64 = 20_000;

/// What came of a reduction.
#[derive(Debug, Clone, PartialEq)]
pub struct Reduced {
    /// It has the failure as its only expectation, if that is one.
    pub scenario: Scenario,
    /// Which faults of the original those of the scenario are.
    pub origins: Vec<usize>,
    /// The failure.
    pub goal: Goal,
    /// Runs that it took.
    pub trials: u64,
    /// Whether nothing more can be taken away; not so if the limit on runs was hit.
    pub is_minimal: bool,
}

/// A scenario that cannot be reduced.
#[derive(Debug, thiserror::Error)]
pub enum ReductionError {
    /// There is no failure to keep.
    #[error(
        "`{name}` passes with seed {seed}, so there is nothing to shrink; find a seed that fails with --seeds 0..1000"
    )]
    Passes {
        /// The scenario's.
        name: String,
        /// Of the run.
        seed: u64,
    },
    /// It cannot even be played once.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
}

/// Reduces `plan`, whose scenario leaves nothing to be drawn. `tell` hears how many runs there were and what is left, after each.
pub fn reduce(plan: &Plan, tell: &mut dyn FnMut(u64, &Scenario)) -> Result<Reduced, ReductionError> {
    let Plan { scenario, seed, .. } = plan;
    let goal = Goal::of(plan)?.ok_or_else(|| ReductionError::Passes { name: scenario.name.clone(), seed: *seed })?;
    let focused = Scenario { expectations: goal.expectation().into_iter().collect(), ..scenario.clone() };
    let origins = (0..focused.faults.len()).collect();
    let state = State { scenario: focused, origins };
    let mut search = Search { plan, goal, state, seen: BTreeSet::new(), trials: 1, tell };
    let is_minimal = search.run();
    let Search { goal, state: State { scenario, origins }, trials, .. } = search;
    // A phase of a fault has another number where faults before it are gone.
    let goal = goal.expecting(scenario.expectations.first());
    Ok(Reduced { scenario, origins, goal, trials, is_minimal })
}

/// A scenario on the way, and where its faults are from.
#[derive(Debug, Clone, PartialEq)]
struct State {
    scenario: Scenario,
    origins: Vec<usize>,
}

struct Search<'a> {
    plan: &'a Plan,
    goal: Goal,
    state: State,
    /// Files that were played, and did not fail as they should.
    seen: BTreeSet<String>,
    trials: u64,
    tell: &'a mut dyn FnMut(u64, &Scenario),
}

impl Search<'_> {
    /// Whether it came to its end.
    fn run(&mut self) -> bool {
        loop {
            let before = self.state.clone();
            self.reduce_faults();
            self.reduce_targets();
            for number in [Number::Rate, Number::Duration] {
                self.reduce_number(number);
            }
            self.reduce_replicas();
            self.reduce_settings();
            for index in 0..self.state.scenario.faults.len() {
                self.reduce_number(Number::Lasts(index));
                self.reduce_number(Number::At(index));
            }
            if self.trials >= TRIALS_MAX {
                return false;
            }
            if self.state == before {
                return true;
            }
        }
    }

    /// Delta debugging: half of them at once, then quarters, down to each alone.
    fn reduce_faults(&mut self) {
        let mut parts = 2;
        loop {
            let count = self.state.scenario.faults.len();
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

    fn reduce_targets(&mut self) {
        for fault in 0..self.state.scenario.faults.len() {
            let mut place = self.state.scenario.faults[fault].targets.len();
            while place > 0 {
                place -= 1;
                self.try_step(&Step::WithoutTarget { fault, place });
            }
        }
    }

    fn reduce_replicas(&mut self) {
        for server in (0..self.state.scenario.servers.replicas).rev() {
            self.try_step(&Step::WithoutServer(server));
        }
    }

    /// To what they are by default, if what is wrong is wrong with this program.
    fn reduce_settings(&mut self) {
        if self.goal.is_a_bug() {
            for (key, _) in step::ALL_PLAIN.iter().chain(step::PLAIN) {
                self.try_step(&Step::Plain(key));
            }
        }
    }

    /// To the least value that will do.
    fn reduce_number(&mut self, number: Number) {
        let rungs = number.rungs_below(&self.state.scenario);
        rungs.into_iter().any(|value| self.try_step(&Step::Lower(number, value)));
    }

    /// Goes that step if the failure is still there behind it.
    fn try_step(&mut self, step: &Step) -> bool {
        let Some(scenario) = step.apply(&self.state.scenario) else { return false };
        if self.trials >= TRIALS_MAX || !self.seen.insert(scenario.to_toml()) {
            return false;
        }
        self.trials += 1;
        let fails = self.goal.is_met_by(&Plan { scenario: scenario.clone(), ..self.plan.clone() });
        if fails {
            if let Step::WithoutFaults(faults) = step {
                let mut index = 0;
                self.state.origins.retain(|_| (!faults.contains(&index), index += 1).0);
            }
            self.state.scenario = scenario;
        }
        (self.tell)(self.trials, &self.state.scenario);
        fails
    }
}
