//! Collects the results of a sweep as they come in.

use std::ops::ControlFlow;

use crate::{
    SimulationError,
    sweep::{Sweep, Task, TaskResult},
};
use kernel::{
    cli::{Failure, progress},
    experiment::sweep::{OpenSweepFolder, RunRow},
};

use crate::cli::failed;

/// Most failed runs that the message names.
const NAMED_MAX: usize = 3;

/// Collector of the results of a sweep: rows go to the folder, failed runs are kept for the message.
pub(super) struct Collector {
    folder: OpenSweepFolder,
    bar: progress::ProgressBar,
    /// Number of runs whose expectations fail.
    failing: u64,
    unplayed: UnplayedRuns,
    /// Error that all other runs would have, too, or that keeps rows from being written.
    fatal: Option<Failure>,
}

impl Collector {
    pub(super) fn new(folder: OpenSweepFolder, sweep: &Sweep) -> Self {
        let template = "{bar:40} {pos} of {len} runs, {per_sec}, {eta} left{msg}";
        let bar = progress::bar(sweep.count(), template).with_position(folder.count() as u64);
        // The runs that were in the folder took no time now, so they must not count towards the speed.
        bar.reset_eta();
        Self { folder, bar, failing: 0, unplayed: UnplayedRuns::default(), fatal: None }
    }

    /// Returns true if the folder has a row of `task`.
    pub(super) fn has(&self, task: Task) -> bool {
        self.folder.contains(task.variant, task.seed)
    }

    /// Takes the result of a task; breaks if no other can succeed.
    pub(super) fn take(&mut self, task: Task, result: TaskResult) -> ControlFlow<()> {
        self.bar.inc(1);
        let row = match result {
            Ok(row) => row,
            // The same in every run: pictures and calibration do not depend on the seed.
            Err(error) if error.is_of_input() => {
                return self.stop(failed(error));
            }
            Err(error) => {
                self.unplayed.0.push((task, error));
                return ControlFlow::Continue(());
            }
        };
        if !row.passes() {
            self.failing += 1;
            self.bar.set_message(format!(", {} fail", self.failing));
        }
        match self.folder.append(row) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => self.stop(Failure::run_failed(error)),
        }
    }

    fn stop(&mut self, failure: Failure) -> ControlFlow<()> {
        self.fatal = Some(failure);
        ControlFlow::Break(())
    }

    /// Closes the folder. Returns all rows in order, and the runs that failed.
    pub(super) fn finish(self) -> Result<(Vec<RunRow>, UnplayedRuns), Failure> {
        self.bar.finish_and_clear();
        // Before the fatal error is reported: the rows so far are complete and must be kept.
        let rows = self.folder.close().map_err(Failure::run_failed)?;
        let mut unplayed = self.unplayed;
        unplayed.0.sort_by_key(|(task, _)| *task);
        self.fatal.map_or(Ok((rows, unplayed)), Err)
    }
}

/// Runs whose simulation failed, and the errors.
#[derive(Default)]
pub(super) struct UnplayedRuns(Vec<(Task, SimulationError)>);

impl UnplayedRuns {
    /// Returns the reason why only `played` of the `planned` runs have a row.
    pub(super) fn why_missing(&self, played: usize, planned: usize) -> String {
        if self.0.is_empty() {
            return format!("interrupted after {played} of {planned} runs; the same command continues from there");
        }
        let named = self.0.iter().take(NAMED_MAX);
        let named: String = named.map(|(task, error)| format!("\nseed {}: {error}", task.seed)).collect();
        let more = match self.0.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!("\nand {more} more"),
        };
        format!("{} of {planned} runs could not be played{named}{more}", planned - played)
    }
}
