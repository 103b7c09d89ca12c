//! `sim`: runs a scenario in the deterministic simulation.

mod command;
mod hunt;
mod keys;
mod many;
mod options;
mod replay;
mod shrink;
mod single;
mod tip;
mod verify;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use kernel::cli::{Exit, Failure, RunArgs};
use sim::SimulationError;

use crate::{
    command::{Command, Options},
    options::calibrated,
};

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(exit) => exit.into(),
        Err(Failure { exit, message }) => {
            // `eprintln!` would panic if the reader of standard error has closed it.
            let _ = writeln!(io::stderr(), "error: {message}");
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
    match (&options.command, &options.run) {
        (Some(Command::Verify(args)), None) => verify::run(args),
        (Some(Command::Shrink(args)), None) => shrink::run(args),
        (Some(Command::Hunt(args)), None) => hunt::run(args),
        (Some(Command::Tip(args)), None) => tip::run(args),
        (Some(Command::Keys(args)), None) => keys::run(args),
        (Some(Command::Side(args)), None) => verify::side::run(args),
        (Some(_), Some(_)) => {
            Err(Failure::wrong_input("options go behind the command: sim verify SCENARIO --seeds 0..20"))
        }
        (None, Some(args)) => run_scenario(options, args),
        (None, None) => Err(Failure::wrong_input("there is no scenario to play; see --help")),
    }
}

/// Runs a scenario once, or with each of `--seeds`.
fn run_scenario(options: &Options, args: &RunArgs) -> Result<Exit, Failure> {
    let file = options.calibration.as_deref();
    let calibration = calibrated(file)?;
    match options.many.seeds {
        Some(seeds) => many::run(&options.many, args, seeds, calibration, file),
        None => single::run(args, calibration, file),
    }
}

/// Returns the failure of a command whose simulation failed: wrong input, or a failed run.
pub(crate) fn failed(error: SimulationError) -> Failure {
    match error {
        SimulationError::Pictures(_) | SimulationError::NotCalibrated { .. } => Failure::wrong_input(error),
        error => Failure::run_failed(error),
    }
}
