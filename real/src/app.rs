//! The app that this program plays, and what it plays without one.

use std::{io, sync::Arc};

use kernel::{
    app::{App, AppError},
    record::Recorder,
    scenario::Workload,
    server::{self, Injector, ReplicaSettings},
    world::SharedWorld,
};

/// Serves the workloads of this project as `name`, or in place of them `app`, until `stop` completes and the calls under way have ended.
/// Fails as [`server::serve`] and [`App::serve`] do.
pub(crate) async fn serve(
    app: Option<&App>,
    world: SharedWorld,
    recorder: Recorder,
    name: &str,
    settings: ReplicaSettings,
    injector: Arc<Injector>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    match app {
        Some(app) => app.serve(world, recorder, name, settings, injector, stop).await,
        None => server::serve(world, recorder, name, settings, injector, stop).await,
    }
}

/// Returns the app that plays `workload`; `None` if that is one of this project, which calibrations play with every program.
///
/// # Errors
///
/// Returns an error if the workload is an app, and this program has none that is complete.
pub(crate) fn for_workload(workload: &Workload) -> Result<Option<&'static App>, AppError> {
    match workload {
        Workload::App(_) => App::for_workload(App::of_program(), workload),
        _ => Ok(None),
    }
}

/// Checks that the scenario of a user has the workload of this program.
///
/// # Errors
///
/// Returns an error if the app of this program and the workload do not go together, or if the app is not complete.
pub(crate) fn check(workload: &Workload) -> Result<(), AppError> {
    App::for_workload(App::of_program(), workload).map(drop)
}
