//! The search: which runs it needs, and what they decide.

use std::{num::NonZeroUsize, ops::ControlFlow, sync::atomic::AtomicBool};

use crate::{
    REAL_TIME_MAX,
    calibration::Calibration,
    sweep::{Pool, Sweep, Task, TaskResult, Variant},
};
use kernel::{
    cli::{Exit, Failure, progress},
    experiment::{
        sweep::{RunRow, Seeds, Shard},
        threshold::{
            Boundary, Criterion, Outcomes, Point, SequentialTest, TestOutcome, ThresholdIdentity, ValueGrid, search,
        },
    },
    scenario::Scenario,
    visible::Visible,
};

use super::TipArgs;
use crate::cli::{app, failed};

/// A threshold search that is running.
pub(super) struct ThresholdSearch<'a> {
    args: &'a TipArgs,
    identity: &'a ThresholdIdentity,
    /// Values along the range.
    grid: ValueGrid,
    jobs: NonZeroUsize,
    calibration: Calibration,
    bar: progress::ProgressBar,
    /// Values tested so far.
    points: Vec<Point>,
}

impl<'a> ThresholdSearch<'a> {
    pub(super) fn new(
        args: &'a TipArgs,
        identity: &'a ThresholdIdentity,
        jobs: NonZeroUsize,
        calibration: Calibration,
    ) -> Self {
        let grid = identity.along.grid();
        let bar = progress::spinner("{spinner} {pos} runs, {msg}");
        Self { args, identity, grid, jobs, calibration, bar, points: Vec::new() }
    }

    /// Looks for every boundary with the value `and` of the second setting. Returns one line at least.
    pub(super) fn boundaries(&mut self, and: Option<f64>) -> Result<Vec<Boundary>, Failure> {
        let grid = self.grid.clone();
        let samples = self.identity.along.samples(self.identity.samples);
        let Outcomes { first, changes } = search(&samples, |step| self.test(grid.value(step), and))?;
        if changes.is_empty() {
            return Ok(vec![Boundary { and, low: None, high: None, outcome: first }]);
        }
        // Each change is from one outcome to the other, so they alternate.
        let outcomes = [first, !first].into_iter().cycle();
        let boundaries = changes.into_iter().zip(outcomes).map(|(step, outcome)| {
            let low = Some(grid.value(step));
            let high = Some(grid.value(step + 1));
            Boundary { and, low, high, outcome }
        });
        Ok(boundaries.collect())
    }

    /// Ends the progress display. Returns the values that were tested, in order.
    pub(super) fn finish(self) -> Vec<Point> {
        self.bar.finish_and_clear();
        self.points
    }

    /// Tests a value: runs one seed after another until one outcome leads by enough, or there were enough runs.
    fn test(&mut self, along: f64, and: Option<f64>) -> Result<TestOutcome, Failure> {
        let rule = self.identity.rule;
        let variant = self.variant(along, and)?;
        let mut test = SequentialTest::default();
        let mut results = Vec::new();
        let mut stopped = None;
        self.bar.set_message(variant.settings.join(" "));
        while test.missing(rule) > 0 {
            // As many runs at a time as are needed at least, so that none is wasted.
            let start = self.args.from_seed.saturating_add(test.runs);
            let seeds = Seeds { start, end: start.saturating_add(test.missing(rule)) };
            for row in self.run(variant.clone(), seeds)? {
                let passes = passes(&row, self.identity.criterion);
                test.add(passes, rule);
                results.push((row.seed, passes));
                stopped = stopped.or(row.stopped);
            }
        }
        let outcome = test.outcome();
        let example = results.iter().find(|(_, passes)| *passes == (outcome == TestOutcome::Holds));
        self.points.push(Point {
            along,
            and,
            settings: variant.settings,
            runs: test.runs,
            passes: test.passes,
            outcome,
            decided: test.is_decided(rule),
            seed: example.map_or(self.args.from_seed, |(seed, _)| *seed),
            stopped,
        });
        Ok(outcome)
    }

    /// Returns the scenario with these values.
    fn variant(&self, along: f64, and: Option<f64>) -> Result<Variant, Failure> {
        let mut settings = vec![self.identity.along.setting(along)];
        settings.extend(self.identity.and.iter().zip(and).map(|(range, value)| range.setting(value)));
        let overrides: Vec<_> = self.args.conditions.overrides.iter().chain(&settings).cloned().collect();
        let scenario = Scenario::load(&self.args.scenario, &overrides).map_err(Failure::wrong_input)?;
        Ok(Variant { settings, scenario })
    }

    /// Returns the rows of `seeds`, in their order.
    fn run(&self, variant: Variant, seeds: Seeds) -> Result<Vec<RunRow>, Failure> {
        let calibration = self.calibration.clone();
        let sweep = Sweep {
            variants: vec![variant],
            seeds,
            shard: Shard::WHOLE,
            calibration,
            time_limit: REAL_TIME_MAX,
            app: app(),
        };
        let stop = AtomicBool::new(false);
        let mut rows = Vec::new();
        let mut failure = None;
        Pool { sweep: &sweep, jobs: self.jobs, stop: &stop }.run(sweep.tasks(), |_: Task, result| {
            self.bar.inc(1);
            match valid(result, &sweep.variants[0]) {
                Ok(row) => rows.push(row),
                Err(error) => {
                    failure = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        // Rows come in the order in which runs end, which differs from machine to machine.
        rows.sort_by_key(|row| row.seed);
        failure.map_or(Ok(rows), Err)
    }
}

/// Returns the row of a run, unless it failed, is untrusted or violates an invariant, after which its figures mean nothing.
fn valid(result: TaskResult, variant: &Variant) -> Result<RunRow, Failure> {
    let row = result.map_err(failed)?;
    let settings = variant.settings.join(" ");
    if row.untrusted && row.stopped.is_none() {
        return Err(Failure::run_failed(format!(
            "with seed {} and {} the calibration's timers are later than [run] max_lateness allows, so that the run is \
             untrusted; calibrate a machine whose timers are on time, or allow more",
            row.seed,
            settings.visible()
        )));
    }
    let Some(broken) = &row.broken else { return Ok(row) };
    let message = format!("an invariant is broken, with seed {} and {}: {broken}", row.seed, settings.visible());
    Err(Failure { exit: Exit::InvariantViolated, message })
}

fn passes(row: &RunRow, criterion: Criterion) -> bool {
    match criterion {
        Criterion::Recovery => row.overall.recovery_time.is_some() && row.stopped.is_none(),
        Criterion::Expectations => row.passes(),
    }
}
