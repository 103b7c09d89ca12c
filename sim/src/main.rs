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
    cli::{Account, Exit, RunArgs},
    measure::{Label, Run, Summary},
    record::folder::{CalibrationInfo, RunFolder, RunInfo},
    scenario::Scenario,
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
        Err((exit, message)) => {
            // Not `eprintln!`: it panics when nobody reads any more.
            let _ = writeln!(io::stderr(), "error: {message}");
            exit.into()
        }
    }
}

/// A failure and the code it ends with.
type Failure = (Exit, String);

fn run(options: &Options) -> Result<Exit, Failure> {
    let RunArgs { scenario, seed, out, overrides, json } = &options.run;
    let scenario = Scenario::load(scenario, overrides).map_err(wrong_input)?;
    let calibration = match &options.calibration {
        Some(path) => Calibration::load(path).map_err(wrong_input)?,
        None => Calibration::default(),
    };
    let place = out.clone().unwrap_or_else(|| RunFolder::default_place(&scenario.name, WORLD, *seed));
    let folder = RunFolder::prepare(&place).map_err(wrong_input)?;
    let mut info = RunInfo::new(WORLD, *seed);
    info.calibration =
        Some(CalibrationInfo { name: calibration.name.clone(), sha256: calibration.sha256().to_owned() });

    let plan = Plan { scenario, seed: *seed, calibration };
    let scenario = &plan.scenario;
    let now = Arc::new(AtomicU64::new(0));
    let played = progress::shown(scenario.duration, &now, || sim::play(&plan, &now)).map_err(|error| match error {
        SimulationError::Pictures(_) | SimulationError::NotCalibrated { .. } => wrong_input(error),
        error => (Exit::NotCarriedOut, error.to_string()),
    })?;
    let records = &played.records;
    let run = Run {
        duration: scenario.duration,
        servers: scenario.servers.replicas,
        requests: &records.requests,
        attempts: &records.attempts,
        events: &records.events,
    };
    let label = Label { scenario: &scenario.name, seed: *seed, world: WORLD };
    let summary = Summary::of(label, &run, &scenario.expectations);
    let digest =
        folder.write(scenario, &info, records, &summary).map_err(|error| (Exit::NotCarriedOut, error.to_string()))?;
    let account = Account { folder: &place, digest: Some(&digest), replay: replay(options), summary: &summary };
    Ok(account.print(*json))
}

fn wrong_input(error: impl ToString) -> Failure {
    (Exit::WrongInput, error.to_string())
}

fn replay(options: &Options) -> String {
    let calibration = options.calibration.iter();
    let more: Vec<_> = calibration.flat_map(|path| ["--calibration".to_owned(), path.display().to_string()]).collect();
    options.run.replay("cargo run -p sim --", &more)
}
