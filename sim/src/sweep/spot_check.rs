//! The check that an unfinished sweep may be continued: runs of it still have the same results.

use std::path::PathBuf;

use kernel::{experiment::sweep::OpenSweepFolder, visible::Visible};

use super::{Sweep, Task};
use crate::SimulationError;

/// Reason why a sweep cannot be continued in its folder.
#[derive(Debug, thiserror::Error)]
pub enum SpotCheckError {
    /// A run of the folder has another result now.
    #[error(
        "{path} was begun by another build of this program or with other pictures: seed {seed} now comes out differently \
         (digest {now}, not {then}); move it away, or choose another folder with --out", path = path.visible()
    )]
    Changed {
        /// The folder.
        path: PathBuf,
        /// Seed of the run.
        seed: u64,
        /// Digest of the run now.
        now: String,
        /// Digest of the run in the folder.
        then: String,
    },
    /// The run could not be repeated.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
}

/// Repeats the first and the last run of `folder`, if it has any: rows of another build must not be mixed with those of this one.
///
/// # Errors
///
/// Returns an error if a run has another result, or fails.
pub fn spot_check(folder: &OpenSweepFolder, sweep: &Sweep) -> Result<(), SpotCheckError> {
    // Where a run is stopped may depend on the machine.
    folder.samples().filter(|then| then.stopped.is_none()).try_for_each(|then| {
        let now = sweep.run(Task { variant: then.variant, seed: then.seed })?;
        if now == *then {
            return Ok(());
        }
        let path = folder.place().to_owned();
        Err(SpotCheckError::Changed { path, seed: then.seed, now: now.digest, then: then.digest.clone() })
    })
}
