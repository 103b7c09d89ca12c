//! The app that this program plays, and what it plays without one.

use std::io;

use kernel::{
    app::{App, AppError, Process},
    cli::Failure,
    scenario::{Scenario, Workload},
    server,
};

/// Serves the workloads of this project as `process`, or in place of them the service called `service` of `app`, or its only one, until `stop`
/// completes and the calls under way have ended. Fails as [`server::serve`] and [`App::serve`] do.
pub(crate) async fn serve(
    app: Option<&App>,
    process: Process,
    service: Option<&str>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let Some(app) = app else {
        let Process { world, recorder, name, settings, injector, .. } = process;
        return server::serve(world, recorder, &name, settings, injector, stop).await;
    };
    app.serve(process, service, stop).await
}

/// Returns the app that plays `scenario`; `None` if its workload is one of this project, which calibrations play with every program.
///
/// # Errors
///
/// Returns an error if the workload is an app, and this program has none that is complete.
pub(crate) fn for_scenario(scenario: &Scenario) -> Result<Option<&'static App>, AppError> {
    match scenario.workload {
        Workload::App(_) => App::for_scenario(App::of_program(), scenario),
        _ => Ok(None),
    }
}

/// Checks that the app of this program, if it has one, has one service, as commands by hand need.
///
/// # Errors
///
/// Returns an error that says how several services are played.
pub(crate) fn has_one_service() -> Result<(), Failure> {
    match App::of_program() {
        Some(app) if app.has_several_services() => Err(Failure::wrong_input(
            "the app has several services, whose processes need the edges of a scenario; play it with `run SCENARIO`",
        )),
        _ => Ok(()),
    }
}

/// Checks that the scenario of a user has the workload of this program.
///
/// # Errors
///
/// Returns an error if the app of this program and the workload do not go together, or if the app is not complete.
pub(crate) fn check(scenario: &Scenario) -> Result<(), AppError> {
    App::for_scenario(App::of_program(), scenario).map(drop)
}
