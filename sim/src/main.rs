//! `sim`: plays a scenario in the deterministic simulation.

mod hunt;
mod many;
mod options;
mod progress;
mod shrink;
mod tip;
mod verify;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicU64},
};

use clap::{Parser, Subcommand};
use kernel::{
    cli::{Exit, Failure, RunArgs, Session, quoted},
    run_folder::{CalibrationInfo, RunInfo},
};
use sim::{Plan, SimulationError, calibration::Calibration};

use crate::{
    hunt::HuntArgs,
    many::ManyArgs,
    shrink::ShrinkArgs,
    tip::TipArgs,
    verify::{VerifyArgs, side::SideArgs},
};

const WORLD: &str = "sim";

/// Plays a scenario in a deterministic simulation: same file, same seed, same bytes.
#[derive(Debug, Parser)]
#[command(name = "sim", version, subcommand_negates_reqs = true)]
struct Options {
    #[command(flatten)]
    run: Option<RunArgs>,

    #[command(flatten)]
    many: ManyArgs,

    /// The host's times; the built-in ones unless given
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,

    /// Plants a bug, which is to be found
    #[cfg(feature = "canaries")]
    #[arg(long, global = true)]
    bug: Option<kernel::bug::Bug>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays every run twice, in processes as different as can be arranged, and compares all that happens
    Verify(VerifyArgs),

    /// Takes away from a scenario that fails what is not needed for it to fail
    Shrink(ShrinkArgs),

    /// Draws faults until a run fails
    Hunt(HuntArgs),

    /// Finds where runs tip: from holding what is expected to failing it, or from recovery to none
    Tip(TipArgs),

    /// One of those processes
    #[command(hide = true)]
    Side(SideArgs),
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(exit) => exit.into(),
        Err(Failure { exit, message }) => {
            // Not `eprintln!`: it panics when nobody reads any more.
            let _ = writeln!(io::stderr(), "error: {message}");
            exit.into()
        }
    }
}

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
        (Some(Command::Side(args)), None) => verify::side::run(args),
        (Some(_), Some(_)) => {
            Err(Failure::wrong_input("options go behind the command: sim verify SCENARIO --seeds 0..20"))
        }
        (None, Some(args)) => play(options, args),
        (None, None) => Err(Failure::wrong_input("there is no scenario to play; see --help")),
    }
}

fn play(options: &Options, args: &RunArgs) -> Result<Exit, Failure> {
    let calibration = calibrated(options.calibration.as_deref())?;
    match options.many.seeds {
        Some(seeds) => many::run(options, args, seeds, calibration),
        None => run_once(options, args, calibration),
    }
}

fn run_once(options: &Options, args: &RunArgs, calibration: Calibration) -> Result<Exit, Failure> {
    let session = Session::open(args, WORLD)?;
    let mut info = RunInfo::new(WORLD, args.seed);
    info.calibration = Some(calibration_info(&calibration));

    let plan = Plan { scenario: session.scenario.clone(), seed: args.seed, calibration };
    let (duration, late) = (plan.scenario.duration, plan.calibration.timers_late_max());
    let now = Arc::new(AtomicU64::new(0));
    let played = progress::shown(duration, &now, || sim::run(&plan, &now)).map_err(failed)?;
    session.conclude(&info, &played.records, duration, Some(late), replay(options, args))
}

/// The calibration of this file, or the built-in one.
fn calibrated(path: Option<&Path>) -> Result<Calibration, Failure> {
    path.map_or_else(|| Ok(Calibration::default()), Calibration::load).map_err(Failure::wrong_input)
}

/// What has `sim` play a scenario of its own making, as a shell reads it.
fn arguments(scenario: &Path, seed: u64, calibration: Option<&Path>) -> String {
    let calibration = calibration.map(|path| format!(" --calibration {}", quoted(&path.to_string_lossy())));
    format!("{} --seed {seed}{}", quoted(&scenario.to_string_lossy()), calibration.unwrap_or_default())
}

fn calibration_info(calibration: &Calibration) -> CalibrationInfo {
    CalibrationInfo { name: calibration.name.clone(), sha256: calibration.sha256().to_owned() }
}

/// Whose fault it is that a simulation could not be played.
fn failed(error: SimulationError) -> Failure {
    match error {
        SimulationError::Pictures(_) | SimulationError::NotCalibrated { .. } => Failure::wrong_input(error),
        error => Failure::run_failed(error),
    }
}

/// The command that plays the run of `args` again, alone.
fn replay(options: &Options, args: &RunArgs) -> String {
    let calibration = options.calibration.iter();
    let more: Vec<_> = calibration.flat_map(|path| ["--calibration".to_owned(), path.display().to_string()]).collect();
    args.replay("cargo run -p sim --", &more)
}
