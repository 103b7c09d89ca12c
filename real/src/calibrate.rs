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
    cli::{Exit, Failure, complain, print, program, progress, quoted},
    run_folder::{HostInfo, OsFiles, SingleFile, sha256},
    scenario::{Scenario, Size},
    visible::Visible,
};

use crate::{app, facts, rehearsal::RehearsalError};
pub(crate) use findings::{Findings, units};
pub(crate) use machine::reply_bytes;
use measurement::{CalibrationError, Measurement};
use plan::CalibrationPlan;

/// Default path of the calibration, here and in `real fidelity`.
pub(crate) const DEFAULT_PLACE: &str = "runs/calibration.toml";

/// Sizes of images, here and in `real fidelity`.
pub(crate) const DEFAULT_SIZES: &str = "16x16,64x64,256x256,512x512";

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
    #[arg(long, value_delimiter = ',', default_value = DEFAULT_SIZES, value_name = "SIZE,…")]
    sizes: Vec<Size>,

    /// Measures a program that was built without optimization, too, and writes the calibration even if the host is too busy for a reliable one,
    /// or too slow for some rates: the model of the machine is fitted to the others then.
    #[arg(long)]
    anyway: bool,
}

/// Measures this host for about six minutes, prints the result and writes the calibration.
pub fn run(args: &CalibrateArgs) -> Result<Exit, Failure> {
    // A build or a path that is of no use should fail before minutes of measurement, not after.
    check_build(facts::is_optimized(), args.anyway)?;
    let output = SingleFile { path: &args.out, comment: "# ", force: args.force };
    output.prepare(&OsFiles).map_err(Failure::wrong_input)?;
    let app = args.app.as_deref().map(|path| app_scenario(path, &args.overrides)).transpose()?;
    let mut calibrating = Calibrating::begin(&args.sizes, app.as_ref())?;
    let bar = progress::time_bar(calibrating.takes(), "{bar:40} measuring this host, {eta} left; keep it idle");
    for round in 0..Calibrating::ROUNDS {
        let place = tempfile::tempdir().map_err(|error| failed(error.into()))?;
        calibrating.play(round, place.path(), |time| progress::advance(&bar, time))?;
    }
    let findings = calibrating.end()?;
    bar.finish_and_clear();

    print(&findings.table());
    let problem = problem(&findings);
    if let Some(problem) = &problem {
        if !args.anyway {
            let remedy = "Stop what else runs on this machine and try again, or write it with --anyway";
            return Err(Failure::run_failed(format!("{problem}; nothing was written. {remedy}")));
        }
        complain(&format!("warning: {problem}"));
    }
    let verdict = findings.verdict(NOISE_WORTH_A_WARNING, NOISE_MAX);
    let text = findings.to_toml();
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

/// A calibration that is being measured, round by round.
pub(crate) struct Calibrating {
    plan: CalibrationPlan,
    host: HostInfo,
    started: String,
    measurement: Measurement,
}

impl Calibrating {
    /// Number of rounds.
    pub(crate) const ROUNDS: usize = plan::ROUNDS;

    /// Prepares the runs, with images of `sizes`, and with the scenario of an app.
    pub(crate) fn begin(sizes: &[Size], app: Option<&Scenario>) -> Result<Self, Failure> {
        let plan = CalibrationPlan::new(sizes, app).map_err(Failure::wrong_input)?;
        // Before the first process starts: the load average is that of the host alone.
        Ok(Self { plan, host: facts::host(), started: facts::now(), measurement: Measurement::default() })
    }

    /// About how long all rounds take together.
    pub(crate) fn takes(&self) -> Duration {
        self.plan.takes()
    }

    /// Plays a round in folders below `place`; runs that are there are read. Calls `progress` after each run with about how long it takes.
    pub(crate) fn play(&mut self, round: usize, place: &Path, progress: impl Fn(Duration)) -> Result<(), Failure> {
        self.plan.play(round, place, &mut self.measurement, progress).map_err(failed)
    }

    /// Measures what needs no run, and combines it with all rounds.
    pub(crate) fn end(self) -> Result<Findings, Failure> {
        let processes = processes::measure().map_err(|error| Failure::run_failed(format!("{error}")))?;
        let handshakes = handshakes::measure()
            .map_err(|error| Failure::run_failed(format!("cannot measure handshakes of TLS: {error}")))?;
        Ok(Findings::new(&self.host, &self.started, (processes, handshakes), self.measurement))
    }
}

/// Returns why the findings are no calibration of this host, if there is a reason.
pub(crate) fn problem(findings: &Findings) -> Option<String> {
    if findings.noise() > NOISE_MAX {
        return Some(findings.verdict(NOISE_WORTH_A_WARNING, NOISE_MAX));
    }
    findings.overload()
}

/// Refuses a program whose times are not those of the build that anyone would run.
fn check_build(is_optimized: bool, anyway: bool) -> Result<(), Failure> {
    if is_optimized || anyway {
        return Ok(());
    }
    Err(Failure::wrong_input(
        "this program was built without optimization, and everything takes several times as long as in a release build; build it with \
         `cargo build --release` and calibrate that, or measure this one with --anyway",
    ))
}

/// Reads the scenario of an app, without faults and expectations.
pub(crate) fn app_scenario(path: &Path, overrides: &[String]) -> Result<Scenario, Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_optimization_is_measured_only_if_asked() {
        let refused = check_build(false, false).unwrap_err();
        assert_eq!(refused.exit, Exit::WrongInput);
        assert!(refused.message.contains("cargo build --release"), "{}", refused.message);
        assert!(check_build(false, true).is_ok() && check_build(true, false).is_ok());
    }
}
