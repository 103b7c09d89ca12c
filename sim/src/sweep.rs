//! Many runs: every variant of a scenario with every seed, on all cores, into one folder.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `pool` | [`Pool`], threads that play tasks |
//! | `folder` | [`SweepFolder`], what is kept of runs while they come in and when all are there |

mod folder;
mod pool;

use std::sync::atomic::AtomicU64;

use kernel::{
    experiment::sweep::{RunRow, Seeds, Shard},
    scenario::Scenario,
};

pub use folder::{SweepFolder, SweepFolderError};
pub use pool::{Outcome, Pool};

use crate::{Plan, SimulationError, calibration::Calibration, run};

/// Which runs there are to be.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// At least one.
    pub variants: Vec<Variant>,
    pub seeds: Seeds,
    pub shard: Shard,
    pub calibration: Calibration,
}

/// A scenario, and how it was varied to be this one.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Each a `key=value` as `--set` takes it.
    pub settings: Vec<String>,
    pub scenario: Scenario,
}

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Task {
    /// From 0.
    pub variant: usize,
    pub seed: u64,
}

impl Sweep {
    /// How many runs there are.
    pub fn count(&self) -> u64 {
        self.shard.count(self.seeds).saturating_mul(self.variants.len() as u64)
    }

    /// Every run, the variants of a seed one after the other: wherever it is interrupted, they can be compared.
    pub fn tasks(&self) -> impl Iterator<Item = Task> {
        let variants = self.variants.len();
        let seeds = self.seeds.iter().zip(0..).filter(|(_, index)| self.shard.contains(*index)).map(|(seed, _)| seed);
        seeds.flat_map(move |seed| (0..variants).map(move |variant| Task { variant, seed }))
    }

    /// Plays one run, as if it were the only one.
    ///
    /// # Errors
    /// It cannot be played, alone neither.
    pub fn play(&self, task: Task) -> Result<RunRow, SimulationError> {
        let Variant { settings, scenario } = &self.variants[task.variant];
        let plan = Plan { scenario: scenario.clone(), seed: task.seed, calibration: self.calibration.clone() };
        let played = run(&plan, &AtomicU64::new(0))?;
        let summary = played.summary(&plan);
        let broken = played.violations(&plan).into_iter().next();
        Ok(RunRow::new(task.variant, settings.clone(), played.records.digest(), summary, broken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(variants: usize, shard: Shard) -> Sweep {
        let text = "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n";
        let variant = Variant { settings: Vec::new(), scenario: Scenario::parse("short.toml", text, &[]).unwrap() };
        let seeds = Seeds { start: 5, end: 15 };
        Sweep { variants: vec![variant; variants], seeds, shard, calibration: Calibration::default() }
    }

    #[test]
    fn variants_of_a_seed_follow_each_other() {
        let tasks: Vec<_> = sweep(2, Shard::WHOLE).tasks().map(|task| (task.seed, task.variant)).collect();
        assert_eq!(tasks[..4], [(5, 0), (5, 1), (6, 0), (6, 1)]);
        assert_eq!(tasks.len(), 20);
    }

    #[test]
    fn there_are_as_many_tasks_as_counted() {
        for number in 1..=3 {
            let sweep = sweep(3, Shard { number, of: 3 });
            assert_eq!(sweep.count(), sweep.tasks().count() as u64, "{number}/3");
        }
    }
}
