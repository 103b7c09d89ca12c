//! The reasons why a simulation does not complete.

use std::io;

use kernel::{
    app::{AppError, ServiceError},
    load::LoadError,
    visible::Visible,
    workload::pictures::PictureFileError,
};

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
    /// The program has no app for the scenario, or another one.
    #[error(transparent)]
    App(#[from] AppError),
    /// The app computes something whose time is not known.
    #[error(
        "`{what}` is computed at {at}, and the calibration `{}` has no service_time for it; calibrate the app with `real calibrate`, or \
         give the time of a unit: --set workload.compute_time=1ms",
        calibration.visible()
    )]
    UnknownTime {
        /// The name of the computation.
        what: String,
        /// Virtual time at which it began.
        at: String,
        /// Name of the calibration.
        calibration: String,
    },
    /// The service of the app failed, or did not serve.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// Code does what only the World may do: it sleeps on tokio's clock, spawns tasks past the World, or waits for other threads.
    #[error("the simulation failed: {0}")]
    Misuse(String),
    /// The load of the app cannot be offered as it is written.
    #[error(transparent)]
    Load(#[from] LoadError),
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
    /// Returns whether the input is wrong: the same run with another seed has the same error.
    pub fn is_of_input(&self) -> bool {
        matches!(self, Self::Pictures(_) | Self::NotCalibrated { .. } | Self::App(_) | Self::UnknownTime { .. })
    }

    /// Returns the error of a host's software that ended with `error`.
    pub(crate) fn of_software(error: io::Error) -> Self {
        match error.downcast::<ServiceError>() {
            Ok(error) => Self::Service(error),
            Err(error) => Self::Failed(error.to_string()),
        }
    }

    /// Returns the error of a panic. The panic hook has already printed where it happened and why.
    pub(crate) fn panicked() -> Self {
        Self::Failed("it panicked, which is a bug of this program".to_owned())
    }
}
