//! The app that this program plays.

use std::sync::OnceLock;

use kernel::{
    app::{App, AppError},
    scenario::Workload,
};

static APP: OnceLock<Option<App>> = OnceLock::new();

/// Sets the app of this program; `None` if it plays the workloads of this project. Of several calls the first one counts: a process is
/// one program.
pub(crate) fn set(app: Option<App>) {
    APP.get_or_init(|| app);
}

/// Returns the app of this program.
pub(crate) fn of_program() -> Option<&'static App> {
    APP.get().and_then(Option::as_ref)
}

/// Returns the app that plays `workload`; `None` if that is one of this project, which calibrations play with every program.
///
/// # Errors
///
/// Returns an error if the workload is an app, and this program has none that is complete.
pub(crate) fn for_workload(workload: &Workload) -> Result<Option<&'static App>, AppError> {
    match workload {
        Workload::App(_) => App::for_workload(of_program(), workload),
        _ => Ok(None),
    }
}

/// Checks that the scenario of a user has the workload of this program.
///
/// # Errors
///
/// Returns an error if the app of this program and the workload do not go together, or if the app is not complete.
pub(crate) fn check(workload: &Workload) -> Result<(), AppError> {
    App::for_workload(of_program(), workload).map(drop)
}
