//! `real calibrate`: measures the times of this host that the simulation needs, and writes them as a calibration.
//!
//! It measures on ordinary runs: the same processes, started the same way, with the same server and client code, and a
//! load without faults. The parts of a request's path are computed from the rows of both ends, which share one clock.
//! Only the times of processes themselves are measured without a run: the time until a replica listens, and the time
//! between SIGKILL and the end of its connections.
//!
//! | module | contents |
//! | --- | --- |
//! | `plan` | the runs, in rounds |
//! | `observed` | the times in the rows of one run |
//! | `measurement` | the times of all runs |
//! | `machine` | the model of the machine, fitted to runs at several rates |
//! | `processes` | starts and ends of processes, and the bare round trip |
//! | `handshakes` | handshakes of TLS |
//! | `samples` | many samples of one time, and their spread between rounds |
//! | `findings` | everything as a table and as a calibration file |

mod findings;
mod handshakes;
mod machine;
mod measurement;
mod observed;
mod plan;
mod processes;
mod samples;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use kernel::{
    app::App,
    cli::{Exit, Failure, print, program, progress, quoted},
    run_folder::{OsFiles, SingleFile, sha256},
    scenario::{Scenario, Size},
    visible::Visible,
};

use crate::{app, facts, rehearsal::RehearsalError};
use findings::Findings;
use measurement::CalibrationError;
use plan::CalibrationPlan;

/// Default path of the calibration, here and in `real fidelity`.
pub(crate) const DEFAULT_PLACE: &str = "runs/calibration.toml";

/// Share of itself by which a median may differ between rounds without a warning.
const NOISE_WORTH_A_WARNING: f64 = 0.25;

/// Share of itself by which a median may differ between rounds; beyond it the calibration does not describe the host.
const NOISE_MAX: f64 = 1.0;

/// The longest time for which the load of an app is offered in a round.
const APP_TIME_MAX: Duration = Duration::from_secs(8);

/// Options of `real calibrate`.
#[derive(Debug, Clone, Args)]
pub struct CalibrateArgs {
    /// The scenario of an app whose computing is measured, too: its load is offered without its faults, for 8 s at most in each round.
    #[arg(value_name = "SCENARIO")]
    app: Option<PathBuf>,

    /// Overrides a setting of that scenario, such as load.rate=20; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "app")]
    overrides: Vec<String>,

    /// The file to write the calibration to.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PLACE)]
    out: PathBuf,

    /// Replaces the file even if this program has not written it.
    #[arg(long)]
    force: bool,

    /// The sizes of the images to measure with; the times of other sizes are interpolated.
    #[arg(long, value_delimiter = ',', default_value = "16x16,64x64,256x256,512x512", value_name = "SIZE,…")]
    sizes: Vec<Size>,

    /// Writes the calibration even if the host is too busy for a reliable one.
    #[arg(long)]
    anyway: bool,
}

/// Measures this host for about five minutes, prints the result and writes the calibration.
pub fn run(args: &CalibrateArgs) -> Result<Exit, Failure> {
    // A path that cannot be written should fail before minutes of measurement, not after.
    let output = SingleFile { path: &args.out, comment: "# ", force: args.force };
    output.prepare(&OsFiles).map_err(Failure::wrong_input)?;
    // Before the first process starts: the load average is that of the host alone.
    let host = facts::host();
    let started = facts::now();
    let app = args.app.as_deref().map(|path| app_scenario(path, &args.overrides)).transpose()?;
    let plan = CalibrationPlan::new(&args.sizes, app).map_err(Failure::wrong_input)?;
    let bar = progress::bar(plan.seconds(), "{bar:40} measuring this host, {eta} left; keep it idle");
    let processes = processes::measure().map_err(|error| Failure::run_failed(format!("{error}")))?;
    let handshakes = handshakes::measure()
        .map_err(|error| Failure::run_failed(format!("cannot measure handshakes of TLS: {error}")))?;
    let measurement = plan.play(|seconds| bar.inc(seconds)).map_err(failed)?;
    bar.finish_and_clear();

    let findings = Findings::new(&host, &started, (processes, handshakes), measurement);
    let text = findings.to_toml();
    let noise = findings.noise();
    let verdict = findings.verdict(NOISE_WORTH_A_WARNING, NOISE_MAX);
    print(&findings.table());
    if noise > NOISE_MAX && !args.anyway {
        return Err(Failure::run_failed(format!(
            "{verdict}; nothing was written. Stop what else runs on this machine and try again, or write it with --anyway"
        )));
    }
    let text = output.write(&OsFiles, &text).map_err(Failure::run_failed)?;
    print(&format!(
        "\n  {verdict}\n\n  calibration  {}\n  sha256       {}\n  use          {} run SCENARIO --calibration {}\n",
        args.out.visible(),
        sha256(text.as_bytes()),
        program("sim"),
        quoted(&args.out.to_string_lossy()),
    ));
    Ok(Exit::Passed)
}

/// Reads the scenario of an app, without faults and expectations.
fn app_scenario(path: &Path, overrides: &[String]) -> Result<Scenario, Failure> {
    let mut scenario = Scenario::load(path, overrides).map_err(Failure::wrong_input)?;
    app::check(&scenario).map_err(Failure::wrong_input)?;
    if App::of_program().is_none() {
        return Err(Failure::wrong_input(
            "the workloads of this project are measured without a scenario; leave it out",
        ));
    }
    scenario.nemesis = None;
    scenario.faults.clear();
    scenario.expectations.clear();
    scenario.duration = scenario.duration.min(APP_TIME_MAX);
    Ok(scenario)
}

fn failed(error: CalibrationError) -> Failure {
    match error {
        CalibrationError::Rehearsal(error @ RehearsalError::Pictures(_)) => Failure::wrong_input(error),
        error => Failure::run_failed(error),
    }
}
