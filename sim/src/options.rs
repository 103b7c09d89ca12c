//! Options that several commands have.

use std::{num::NonZeroUsize, path::PathBuf, thread};

use clap::Args;
use kernel::cli::Failure;
use sim::calibration::Calibration;

use crate::calibrated;

/// What is played instead of what the scenario says, and at whose speed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Conditions {
    /// Overrides a setting of the scenario, such as client.retry.max_attempts=1; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,

    /// The host's times; the built-in ones unless given
    #[arg(long = "calibration", value_name = "FILE")]
    pub(crate) times: Option<PathBuf>,
}

impl Conditions {
    /// Of the file, or the built-in one.
    pub(crate) fn calibration(&self) -> Result<Calibration, Failure> {
        calibrated(self.times.as_deref())
    }
}

/// How many runs are played at once.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Jobs {
    /// Runs, or pairs of them, at a time [default: one a core]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

impl Jobs {
    /// As many as are asked for, or one a core.
    pub(crate) fn count(self) -> Result<NonZeroUsize, Failure> {
        self.jobs.map_or_else(thread::available_parallelism, Ok).map_err(Failure::run_failed)
    }
}
