//! A scenario as a test: an app holds what the scenario expects, with many seeds.

use std::{
    env,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use kernel::{
    app::{App, Broken},
    cli::{RunReport, program, quoted},
    measure::Verdict,
    run_folder::{Earlier, RunFolder, RunInfo},
    scenario::Scenario,
    sync::{ignore_poison, lock},
};

use crate::{Plan, RunSoFar, calibration::Calibration, limits::REAL_TIME_MAX, run::run_so_far};

/// The environment variable with the one seed that [`hold`] plays instead of those that it is given.
const SEED: &str = "REHEARSAL_SEED";

/// Plays `scenario` with `app` in the simulation, once with each of `seeds`, on all cores. It holds if every run passes: its
/// expectations, the checks of the app and the invariants hold, and it comes to its end.
///
/// With `REHEARSAL_SEED` in the environment, only that seed is played.
///
/// # Errors
///
/// Returns the report of the run with the lowest seed that does not pass, whose run folder is kept in `runs/`, with the command that
/// plays it again. Returns an error, too, if the scenario or the app is wrong, or if there is no seed.
///
/// ```
/// use kernel::proto::rehearsal::{GetDataRequest, rehearsal_client::RehearsalClient};
/// use sim::{App, Call, Scenario};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = "name = \"forgotten\"\nduration = \"1s\"\n[workload]\nkind = \"app\"\n[load]\nrate = 5\n";
/// let scenario = Scenario::parse("forgotten.toml", text, &[])?;
/// let app = App::new()
///     .service("stock", |_| async { Ok::<_, std::io::Error>(()) })
///     .load(|call: Call| async move {
///         RehearsalClient::new(call.channel()).get_data(GetDataRequest::default()).await?;
///         Ok(())
///     });
/// let broken = sim::hold(&scenario, &app, 0..3).unwrap_err().to_string();
/// assert!(broken.contains("it has to await `host.serve(…)`"), "{broken}");
/// # Ok(())
/// # }
/// ```
pub fn hold(scenario: &Scenario, app: &App, seeds: Range<u64>) -> Result<(), Broken> {
    hold_calibrated(scenario, app, seeds, &Calibration::default())
}

/// Does what [`hold`] does with the times of `calibration`, such as those that `real calibrate` measured of this app.
///
/// # Errors
///
/// Returns the errors of [`hold`].
///
/// ```
/// use sim::{App, Scenario, calibration::Calibration};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let calibration = Calibration::load("../reports/measured/calibration.toml".as_ref())?;
/// let text = "name = \"empty\"\nduration = \"1s\"\n[workload]\nkind = \"app\"\n[load]\nrate = 5\n";
/// let scenario = Scenario::parse("empty.toml", text, &[])?;
/// let broken = sim::hold_calibrated(&scenario, &App::new(), 0..3, &calibration).unwrap_err();
/// assert!(broken.to_string().contains("service"), "{broken}");
/// # Ok(())
/// # }
/// ```
pub fn hold_calibrated(
    scenario: &Scenario,
    app: &App,
    seeds: Range<u64>,
    calibration: &Calibration,
) -> Result<(), Broken> {
    let seeds = match env::var(SEED) {
        Err(_) => seeds,
        Ok(text) => {
            let seed: u64 = text.parse().map_err(|_| Broken(format!("{SEED}: `{text}` is no seed")))?;
            seed..seed.saturating_add(1)
        }
    };
    if seeds.is_empty() {
        return Err(Broken(format!("there is no seed in {}..{}", seeds.start, seeds.end)));
    }
    let next = AtomicU64::new(seeds.start);
    let found: Mutex<Option<Failed>> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            // A seed below the one that fails may not have been played yet, and one above it does not count.
            if seed >= seeds.end || lock(&found).as_ref().is_some_and(|failed| failed.seed < seed) {
                return;
            }
            let Some(failed) = play(scenario, app, calibration, seed) else { continue };
            let mut found = lock(&found);
            if found.as_ref().is_none_or(|other| failed.seed < other.seed) {
                *found = Some(failed);
            }
        }
    };
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 1..jobs {
            // With fewer threads it takes longer, and ends all the same.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    match ignore_poison(found.into_inner()) {
        None => Ok(()),
        Some(failed) => Err(Broken(failed.report(scenario))),
    }
}

/// A run that does not pass.
struct Failed {
    seed: u64,
    plan: Plan,
    /// The run as it was recorded, or the reason why there is none.
    run: Result<RunSoFar, String>,
}

/// Plays a seed. Returns the run if it does not pass.
fn play(scenario: &Scenario, app: &App, calibration: &Calibration, seed: u64) -> Option<Failed> {
    let calibration = calibration.clone();
    let plan = Plan { app: Some(app.clone()), calibration, ..Plan::new(scenario.explicit(seed), seed) };
    let run = match run_so_far(&plan, REAL_TIME_MAX, &AtomicU64::new(0)) {
        Ok(run) => run,
        Err(error) => return Some(Failed { seed, plan, run: Err(error.to_string()) }),
    };
    let passes = matches!(run.summary(&plan).verdict(), Verdict::Pass | Verdict::NoExpectations)
        && run.stopped.is_none()
        && run.run.violations(&plan).is_empty();
    (!passes).then_some(Failed { seed, plan, run: Ok(run) })
}

impl Failed {
    /// Writes the run folder, and returns the report.
    fn report(&self, scenario: &Scenario) -> String {
        let Self { seed, plan, run } = self;
        let replay = replay(*seed);
        match run {
            Ok(run) => self.keep(run, &replay).unwrap_or_else(|error| {
                let summary = run.summary(plan).render();
                format!("{summary}\n  the run folder cannot be written: {error}\n  replay  {replay}\n")
            }),
            Err(error) => format!("{} (sim, seed {seed}): {error}\n\n  replay  {replay}\n", scenario.name),
        }
    }

    fn keep(&self, run: &RunSoFar, replay: &str) -> Result<String, Box<dyn std::error::Error>> {
        let Self { seed, plan, .. } = self;
        let mut info = RunInfo::new("sim", *seed);
        info.calibration = Some(plan.calibration.info());
        info.stopped = run.stopped.map(|stopped| stopped.to_string());
        let offered = run.offered(plan.scenario.duration);
        let place = RunFolder::default_place(&plan.scenario.name, "sim", *seed);
        let folder = RunFolder::prepare(&place, Earlier::Replace)?;
        let written = folder.write(&plan.scenario, &info, &run.run.records, offered)?;
        let violations = if run.stopped.is_some() { Vec::new() } else { run.run.violations(plan) };
        let report = RunReport {
            folder: &written.placed.place,
            digest: run.stopped.is_none().then_some(&*written.digest),
            replay: replay.to_owned(),
            violations: &violations,
            summary: &written.summary,
        };
        let page = quoted(&written.placed.place.to_string_lossy());
        Ok(format!("{}  report  {} {page}\n", report.text(), program("reports")))
    }
}

/// Returns the command that plays a seed again: the test that runs on this thread, if it is one.
fn replay(seed: u64) -> String {
    let thread = thread::current();
    let test =
        thread.name().filter(|name| *name != "main").map(|name| format!(" {}", quoted(name))).unwrap_or_default();
    format!("{SEED}={seed} cargo test{test}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replay_of_a_test_names_it() {
        let replay = replay(7);
        assert_eq!(replay, "REHEARSAL_SEED=7 cargo test hold::tests::the_replay_of_a_test_names_it");
    }
}
