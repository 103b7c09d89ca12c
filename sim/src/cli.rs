//! The command line of `sim`, and of a program that plays an app in the simulation.

mod check;
mod command;
mod from_chaos;
mod hunt;
mod incidents;
mod interrupt;
mod keys;
mod list;
mod many;
mod metrics;
mod new;
mod options;
mod replay;
mod schema;
mod service_config;
mod shrink;
mod single;
mod sweep_job;
mod tip;
mod verify;

use std::{env, process::ExitCode};

use clap::CommandFactory;
use kernel::{
    app::App,
    cli::{self, Exit, Failure},
};

use self::{
    command::{Command, Options, RunOptions},
    options::calibrated,
};
use crate::SimulationError;

/// Returns the app that this program plays.
fn app() -> Option<App> {
    App::of_program().cloned()
}

/// Does what the command line of this process asks for, as the program `sim` does, and returns its exit code.
///
/// A program whose `main` calls it with an app plays the scenarios whose `[workload]` has `kind = "app"`, with all commands of `sim`.
/// Without an app it is `sim` itself.
///
/// ```no_run
/// use std::process::ExitCode;
/// use sim::App;
///
/// fn app() -> App {
///     App::new() // with a service and a load
/// }
///
/// fn main() -> ExitCode {
///     sim::main(app())
/// }
/// ```
pub fn main(app: impl Into<Option<App>>) -> ExitCode {
    App::set_for_program(app.into());
    let options: Options = cli::parse(env::args_os()).unwrap_or_else(|error| cli::end(&error));
    match run(&options) {
        Ok(exit) => exit.into(),
        Err(Failure { exit, message }) => {
            cli::complain(&format!("error: {message}"));
            exit.into()
        }
    }
}

/// Runs the command that `options` ask for.
fn run(options: &Options) -> Result<Exit, Failure> {
    #[cfg(feature = "canaries")]
    if let Some(bug) = options.bug {
        kernel::bug::plant(bug, options.needs.clone());
    }
    match &options.command {
        Command::Run(options) => run_scenario(options),
        Command::New(args) => new::run(args),
        Command::List(args) => list::run(args),
        Command::Check(args) => Ok(check::run(args)),
        Command::Keys(args) => keys::run(args),
        Command::Schema => Ok(schema::run()),
        Command::ServiceConfig(args) => service_config::run(args),
        Command::FromChaos(args) => from_chaos::from(args),
        Command::ToChaos(args) => from_chaos::to(args),
        Command::Hunt(args) => hunt::run(args),
        Command::Incidents(args) => incidents::run(args),
        Command::Shrink(args) => shrink::run(args),
        Command::Tip(args) => tip::run(args),
        Command::SweepJob(args) => sweep_job::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Completions(args) => Ok(args.run(Options::command())),
        Command::Man(args) => args.run(Options::command()),
        Command::Side(args) => verify::side::run(args),
    }
}

/// Runs a scenario once, or with each of `--seeds`.
fn run_scenario(options: &RunOptions) -> Result<Exit, Failure> {
    let calibration = calibrated(options.calibration.as_deref())?;
    match options.many.seeds {
        Some(seeds) => many::run(options, seeds, calibration),
        None => single::run(options, calibration),
    }
}

/// Returns the failure of a command whose simulation failed: wrong input, or a failed run.
pub(crate) fn failed(error: SimulationError) -> Failure {
    match error {
        error if error.is_of_input() => Failure::wrong_input(error),
        error => Failure::run_failed(error),
    }
}
