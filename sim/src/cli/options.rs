//! The options that several commands have.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
};

use crate::calibration::Calibration;
use clap::Args;
use kernel::cli::Failure;

/// Name of this world in run folders and reports.
pub(crate) const WORLD: &str = "sim";

/// The settings and the calibration with which a command runs a scenario.
#[derive(Debug, Clone, Args)]
pub(crate) struct Conditions {
    /// Overrides a setting of the scenario, such as client.retry.max_attempts=1; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,

    /// A calibration: the service times and delays of a host, as `real calibrate` writes them; built in unless given.
    #[arg(long = "calibration", value_name = "FILE")]
    pub(crate) times: Option<PathBuf>,
}

impl Conditions {
    /// Returns the calibration of the file, or the built-in one.
    pub(crate) fn calibration(&self) -> Result<Calibration, Failure> {
        calibrated(self.times.as_deref())
    }
}

/// The number of runs that are simulated at once.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Jobs {
    /// The number of runs that are simulated at once, up to 1024 [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = jobs)]
    jobs: Option<NonZeroUsize>,
}

/// The most runs that are simulated at once: each takes two threads, and the memory of a run.
const JOBS_MAX: usize = 1_024;

fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    let jobs = text.parse().ok().filter(|jobs: &NonZeroUsize| jobs.get() <= JOBS_MAX);
    jobs.ok_or_else(|| format!("a number from 1 to {JOBS_MAX} is wanted"))
}

impl Jobs {
    /// Returns the number that was given, or the number of cores.
    ///
    /// # Errors
    ///
    /// Returns an error if the number of cores is not known.
    pub(crate) fn count(self) -> Result<NonZeroUsize, Failure> {
        self.jobs.map_or_else(thread::available_parallelism, Ok).map_err(Failure::run_failed)
    }
}

/// Returns the calibration of this file, or the built-in one.
pub(crate) fn calibrated(path: Option<&Path>) -> Result<Calibration, Failure> {
    path.map_or_else(|| Ok(Calibration::default()), Calibration::load).map_err(Failure::wrong_input)
}
