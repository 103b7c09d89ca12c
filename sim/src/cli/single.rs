//! `sim run` with one seed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{CompletedRun, Plan, RunSoFar, calibration::Calibration};
use kernel::{
    cli::{Exit, Failure, Session, progress},
    run_folder::{Earlier, RunInfo},
};

use crate::cli::{app, command::RunOptions, failed, interrupt, metrics::MetricsFile, options::WORLD, replay::replay};

/// Runs the scenario, writes its folder, and prints its report.
pub(crate) fn run(options: &RunOptions, calibration: Calibration) -> Result<Exit, Failure> {
    let RunOptions { run: args, calibration: calibration_file, time_limit, metrics, .. } = options;
    let session = Session::open(args, &options.branches, WORLD, Earlier::Replace)?;
    metrics.check(session.scenario.duration)?;
    let file = metrics.file.as_deref().map(|file| MetricsFile::create(file, args.force)).transpose()?;
    let mut info = RunInfo::new(WORLD, args.seed);
    info.branches.clone_from(&options.branches);
    info.calibration = Some(calibration.info());

    crate::stop_when(interrupt::flag().map_err(Failure::run_failed)?);
    let plan = Plan {
        scenario: session.scenario.clone(),
        seed: args.seed,
        branches: options.branches.clone(),
        calibration,
        app: app(),
    };
    let duration = plan.scenario.duration;
    let late = plan.calibration.timers_late_max();
    let now = AtomicU64::new(0);
    let so_far = progress::while_working(
        || progress::bar(duration.as_secs(), "{bar:40} {pos} of {len} s simulated, {eta} left"),
        |bar| bar.set_position(now.load(Relaxed) / 1_000_000_000),
        || match file {
            None => crate::run_so_far(&plan, *time_limit, &now).map(|run| (run, None)),
            Some(file) => crate::run_measured(&plan, *time_limit, &now).map(|measured| {
                let written = file.write(&measured.timeline(&plan, metrics.interval));
                (measured.run, Some(written))
            }),
        },
    );
    let (so_far, written) = so_far.map_err(failed)?;
    let offered = so_far.offered(duration);
    let RunSoFar { run: CompletedRun { records, .. }, stopped } = so_far;
    let replay = replay(args, &options.branches, calibration_file.as_deref());
    let Some(stopped) = stopped else {
        let exit = session.conclude(&info, &records, offered, late, replay)?;
        return written.unwrap_or(Ok(())).map(|()| exit);
    };
    info.stopped = Some(stopped.to_string());
    session.conclude(&info, &records, offered, late, replay)?;
    Err(Failure::run_failed(format!("{stopped}; what was recorded is in the folder")))
}
