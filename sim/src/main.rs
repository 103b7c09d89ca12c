//! `sim`: plays a scenario in the deterministic simulation.

mod progress;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicU64},
};

use clap::Parser;
use kernel::{
    cli::{Exit, Failure, RunArgs, Session},
    record::folder::{CalibrationInfo, RunInfo},
};
use sim::{Plan, SimulationError, calibration::Calibration};

const WORLD: &str = "sim";

/// Plays a scenario in a deterministic simulation: same file, same seed, same bytes.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Options {
    #[command(flatten)]
    run: RunArgs,

    /// The host's times; the built-in ones unless given
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
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
    let session = Session::open(&options.run, WORLD)?;
    let calibration = match &options.calibration {
        Some(path) => Calibration::load(path).map_err(Failure::wrong_input)?,
        None => Calibration::default(),
    };
    let seed = options.run.seed;
    let mut info = RunInfo::new(WORLD, seed);
    info.calibration =
        Some(CalibrationInfo { name: calibration.name.clone(), sha256: calibration.sha256().to_owned() });

    let plan = Plan { scenario: session.scenario.clone(), seed, calibration };
    let duration = plan.scenario.duration;
    let now = Arc::new(AtomicU64::new(0));
    let played = progress::shown(duration, &now, || sim::play(&plan, &now)).map_err(|error| match error {
        SimulationError::Pictures(_) | SimulationError::NotCalibrated { .. } => Failure::wrong_input(error),
        error => Failure::not_carried_out(error),
    })?;
    session.conclude(&info, &played.records, duration, replay(options))
}

fn replay(options: &Options) -> String {
    let calibration = options.calibration.iter();
    let more: Vec<_> = calibration.flat_map(|path| ["--calibration".to_owned(), path.display().to_string()]).collect();
    options.run.replay("cargo run -p sim --", &more)
}
