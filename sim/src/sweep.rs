//! Sweeps: every variant of a scenario with every seed, run on all cores into one folder.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `pool` | [`Pool`], the threads that run the tasks of a sweep |
//! | `spot_check` | [`spot_check`], which shows that an unfinished sweep may be continued |

mod pool;
mod spot_check;

use std::{sync::atomic::AtomicU64, time::Duration};

use kernel::{
    app::App,
    coverage::Coverage,
    experiment::sweep::{RunRow, Seeds, Shard},
    scenario::Scenario,
    slo::{AlertReport, AlertTally},
};

pub use pool::{Pool, TaskResult};
pub use spot_check::{SpotCheckError, spot_check};

use crate::{Plan, calibration::Calibration, run_so_far};

/// The runs of a sweep.
///
/// ```
/// use kernel::{experiment::sweep::{Seeds, Shard}, scenario::Scenario};
/// use sim::{REAL_TIME_MAX, calibration::Calibration, sweep::{Sweep, Variant}};
///
/// let text = "name = \"short\"\nduration = \"1s\"\nload = { rate = 5 }\nworkload = { sizes = [\"8x8\"] }\n";
/// let settings = vec!["client.retry.max_attempts=1".to_owned()];
/// let scenario = Scenario::parse("short.toml", text, &settings)?;
/// let sweep = Sweep {
///     variants: vec![Variant { settings, scenario }],
///     seeds: Seeds { start: 0, end: 3 },
///     shard: Shard::WHOLE,
///     calibration: Calibration::default(),
///     time_limit: REAL_TIME_MAX,
///     app: None,
/// };
/// for task in sweep.tasks() {
///     let row = sweep.run(task)?;
///     assert_eq!(row.seed, task.seed);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Variants of the scenario; at least one.
    pub variants: Vec<Variant>,
    /// Seeds of the whole sweep, all shards together.
    pub seeds: Seeds,
    /// Shard of the seeds that is run.
    pub shard: Shard,
    /// Calibration of the simulated hosts.
    pub calibration: Calibration,
    /// The real time after which a run is stopped.
    pub time_limit: Duration,
    /// The app that plays scenarios with its own workload.
    pub app: Option<App>,
}

/// A scenario, and the settings by which it was varied.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Settings, each a `key=value` as `--set` takes it.
    pub settings: Vec<String>,
    /// The scenario with these settings.
    pub scenario: Scenario,
}

/// One run of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Task {
    /// Index of the variant, from 0.
    pub variant: usize,
    /// Seed of the run.
    pub seed: u64,
}

impl Sweep {
    /// Returns the number of runs.
    pub fn count(&self) -> u64 {
        self.shard.count(self.seeds).saturating_mul(self.variants.len() as u64)
    }

    /// Returns all runs, the variants of a seed one after the other: if a sweep is interrupted, the variants of nearly all
    /// seeds can still be compared.
    pub fn tasks(&self) -> impl Iterator<Item = Task> {
        let variants = self.variants.len();
        // One after the other would take for ever to find the last of 2^64.
        let first = self.seeds.start.saturating_add(self.shard.number - 1);
        let step = usize::try_from(self.shard.of).unwrap_or(usize::MAX);
        let seeds = (first..self.seeds.end).step_by(step);
        seeds.flat_map(move |seed| (0..variants).map(move |variant| Task { variant, seed }))
    }

    /// Runs one task. The result does not depend on other runs. The row of a run that hits a limit says so.
    ///
    /// # Errors
    ///
    /// Returns an error if the simulation fails, even when it is run alone.
    pub fn run(&self, task: Task) -> TaskResult {
        let Variant { settings, scenario } = &self.variants[task.variant];
        let plan = Plan {
            scenario: scenario.clone(),
            seed: task.seed,
            branches: Vec::new(),
            calibration: self.calibration.clone(),
            app: self.app.clone(),
        };
        let played = run_so_far(&plan, self.time_limit, &AtomicU64::new(0))?;
        let summary = played.summary(&plan);
        let reached = Coverage::of_run(scenario, task.seed, &played.run.records);
        if played.stopped.is_some() {
            return Ok(RunRow::new(task.variant, settings.clone(), String::new(), summary, None, reached));
        }
        let broken = played.run.violations(&plan).into_iter().next();
        let records = &played.run.records;
        let alerts = AlertReport::of_run(&scenario.slos, records, &summary);
        let alerts = (!scenario.slos.is_empty()).then(|| AlertTally::of_run(&alerts));
        let row = RunRow::new(task.variant, settings.clone(), records.digest(), summary, broken, reached);
        Ok(RunRow { alerts, ..row })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::REAL_TIME_MAX;

    fn sweep(variants: usize, shard: Shard) -> Sweep {
        let text = "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n";
        let variant = Variant { settings: Vec::new(), scenario: Scenario::parse("short.toml", text, &[]).unwrap() };
        let seeds = Seeds { start: 5, end: 15 };
        let calibration = Calibration::default();
        Sweep { variants: vec![variant; variants], seeds, shard, calibration, time_limit: REAL_TIME_MAX, app: None }
    }

    #[test]
    fn the_variants_of_a_seed_are_run_one_after_the_other() {
        let tasks: Vec<_> = sweep(2, Shard::WHOLE).tasks().map(|task| (task.seed, task.variant)).collect();
        assert_eq!(tasks[..4], [(5, 0), (5, 1), (6, 0), (6, 1)]);
        assert_eq!(tasks.len(), 20);
    }

    #[test]
    fn a_shard_of_all_seeds_has_its_seeds_at_once() {
        let seeds = Seeds { start: 0, end: u64::MAX };
        let last = Sweep { seeds, ..sweep(1, Shard { number: u64::MAX, of: u64::MAX }) };
        assert_eq!(last.tasks().collect::<Vec<_>>(), [Task { variant: 0, seed: u64::MAX - 1 }]);
    }

    #[test]
    fn a_run_that_is_stopped_has_a_row_that_says_why() {
        let mut sweep = Sweep { time_limit: Duration::ZERO, ..sweep(1, Shard::WHOLE) };
        // It takes long enough to be stopped, however late the thread is that looks at the time.
        let long = "name = \"long\"\nduration = \"2h\"\n[load]\nrate = 50\n";
        sweep.variants[0].scenario = Scenario::parse("long.toml", long, &[]).unwrap();
        let row = sweep.run(Task { variant: 0, seed: 5 }).unwrap();
        let reason = row.stopped.as_ref().unwrap();
        assert!(
            reason.starts_with("the run with seed 5 was stopped at ") && reason.contains("of real time"),
            "{reason}"
        );
        assert!(!row.counts() && !row.passes() && row.digest.is_empty() && row.broken.is_none());
    }

    #[test]
    fn the_row_of_a_run_with_objectives_has_its_alerts_and_its_digest_is_that_without() {
        let task = Task { variant: 0, seed: 5 };
        let plain = sweep(1, Shard::WHOLE);
        let mut with = plain.clone();
        let text = plain.variants[0].scenario.to_toml() + "[[slo]]\nname = \"a\"\nobjective = 0.99\n";
        with.variants[0].scenario = Scenario::parse("with.toml", &text, &[]).unwrap();
        let [without, row] = [&plain, &with].map(|sweep| sweep.run(task).unwrap());
        assert_eq!((without.alerts, without.digest), (None, row.digest));
        let alerts = row.alerts.unwrap();
        assert_eq!((alerts.runs, alerts.rules.len(), alerts.rules[0].firings), (1, 3, 0));
    }

    #[test]
    fn the_count_is_the_number_of_tasks() {
        for number in 1..=3 {
            let sweep = sweep(3, Shard { number, of: 3 });
            assert_eq!(sweep.count(), sweep.tasks().count() as u64, "{number}/3");
        }
    }
}
