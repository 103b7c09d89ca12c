//! The reasons why a simulation does not complete.

use kernel::{visible::Visible, workload::pictures::PictureFileError};

use crate::completed_run::Stopped;

/// A simulation that cannot begin, or that does not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The workload's pictures cannot be read.
    #[error(transparent)]
    Pictures(#[from] PictureFileError),
    /// The calibration has no service time for the workload.
    #[error(
        "the calibration `{}` has no service_time for the workload `{workload}`; use one that has",
        calibration.visible()
    )]
    NotCalibrated {
        /// Name of the calibration.
        calibration: String,
        /// Name of the scenario's workload.
        workload: &'static str,
    },
    /// No timer is set, but the load has not ended: a bug of this program.
    #[error("the simulation came to a standstill at {at}, {steps} steps in")]
    Standstill {
        /// Virtual time of the standstill.
        at: String,
        /// Steps taken by the driver so far.
        steps: u64,
    },
    /// The run exceeded a bound on its memory or on its time.
    #[error(transparent)]
    Limit(#[from] Stopped),
    /// The software of a host, or a fault operation, failed.
    #[error("the simulation failed: {0}")]
    Failed(String),
}

impl SimulationError {
    /// Returns the error of a panic. The panic hook has already printed where it happened and why.
    pub(crate) fn panicked() -> Self {
        Self::Failed("it panicked, which is a bug of this program".to_owned())
    }
}
