//! `sim`: runs a scenario in the deterministic simulation.

mod check;
mod command;
mod hunt;
mod interrupt;
mod keys;
mod list;
mod many;
mod new;
mod options;
mod replay;
mod schema;
mod service_config;
mod shrink;
mod single;
mod tip;
mod verify;

use std::{env, process::ExitCode};

use clap::CommandFactory;
use kernel::cli::{self, Exit, Failure};
use sim::SimulationError;

use crate::{
    command::{Command, Options, RunOptions},
    options::calibrated,
};

fn main() -> ExitCode {
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
        kernel::bug::plant(bug);
    }
    match &options.command {
        Command::Run(options) => run_scenario(options),
        Command::New(args) => new::run(args),
        Command::List(args) => list::run(args),
        Command::Check(args) => Ok(check::run(args)),
        Command::Keys(args) => keys::run(args),
        Command::Schema => Ok(schema::run()),
        Command::ServiceConfig(args) => service_config::run(args),
        Command::Hunt(args) => hunt::run(args),
        Command::Shrink(args) => shrink::run(args),
        Command::Tip(args) => tip::run(args),
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
        SimulationError::Pictures(_) | SimulationError::NotCalibrated { .. } => Failure::wrong_input(error),
        error => Failure::run_failed(error),
    }
}
