//! `sim run` with one seed.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use kernel::{
    cli::{Exit, Failure, RunArgs, Session, progress},
    run_folder::{Earlier, RunInfo},
};
use sim::{Plan, calibration::Calibration};

use crate::{
    failed,
    options::{WORLD, calibration_info},
    replay::replay,
};

/// Runs the scenario, writes its folder, and prints its report. `calibration_file` is the file that `calibration` was read
/// from, if one was given.
pub(crate) fn run(args: &RunArgs, calibration: Calibration, calibration_file: Option<&Path>) -> Result<Exit, Failure> {
    let session = Session::open(args, WORLD, Earlier::Replace)?;
    let mut info = RunInfo::new(WORLD, args.seed);
    info.calibration = Some(calibration_info(&calibration));

    let plan = Plan { scenario: session.scenario.clone(), seed: args.seed, calibration };
    let duration = plan.scenario.duration;
    let late = plan.calibration.timers_late_max();
    let now = AtomicU64::new(0);
    let completed = progress::while_working(
        || progress::bar(duration.as_secs(), "{bar:40} {pos} of {len} s simulated, {eta} left"),
        |bar| bar.set_position(now.load(Relaxed) / 1_000_000_000),
        || sim::run(&plan, &now),
    );
    let completed = completed.map_err(failed)?;
    session.conclude(&info, &completed.records, duration, Some(late), replay(args, calibration_file))
}
