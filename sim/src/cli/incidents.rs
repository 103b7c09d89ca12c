//! `sim incidents`: draws runs with known faults and plays them, as the set with which detectors are compared.
//!
//! Everything is drawn from the seed of the set before anything is played, and a run depends only on that seed and on its number. So the
//! set can be published as one number, and a set that was interrupted goes on where it was.

mod draw;

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use clap::Args;
use kernel::{
    cli::{Exit, Failure, print, program, progress, quoted},
    detect::{
        Call,
        set::{self, SetRun},
    },
    run_folder::{OsFiles, atomic, lines},
    scenario::Scenario,
    sync::{ignore_poison, lock},
    visible::Visible,
};

use crate::{
    Plan, SimulationError,
    calibration::Calibration,
    cli::{failed, interrupt, options::Jobs},
};

/// Options of `sim incidents`.
#[derive(Debug, Args)]
pub(crate) struct IncidentsArgs {
    /// The folder to write the set to. One of the same draw that was interrupted is continued.
    folder: PathBuf,

    /// The seed of the draw.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// The number of runs of 15 minutes, four fifths of which have faults.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(2..=100_000))]
    runs: u64,

    /// The number of further runs of twelve hours without faults.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    calm_runs: u64,

    #[command(flatten)]
    jobs: Jobs,
}

/// Draws and plays the set.
pub(crate) fn run(args: &IncidentsArgs) -> Result<Exit, Failure> {
    let runs: Vec<SetRun> = (0..args.runs + args.calm_runs).map(|run| draw::draw(args.seed, run, args.runs)).collect();
    prepare(&args.folder, &runs)?;
    let missing: Vec<&SetRun> = runs.iter().filter(|run| !set::calls_path(&args.folder, run.run).exists()).collect();
    let stop = interrupt::flag().map_err(Failure::run_failed)?;
    let played = play(&args.folder, &missing, args.jobs.count()?, &stop)?;
    if played < missing.len() as u64 {
        let left = missing.len() as u64 - played;
        return Err(Failure::run_failed(format!("interrupted; {left} runs are left, which the same command plays")));
    }
    let faults: usize = runs.iter().map(|run| run.faults.len()).sum();
    let folder = quoted(&args.folder.to_string_lossy());
    print(&format!(
        "{} runs of seed {} with {faults} faults, and {} h without any\n\n  folder    {}\n  compare   {} detect-bench {folder}\n",
        args.runs,
        args.seed,
        args.calm_runs * draw::CALM_S / 3_600,
        args.folder.visible(),
        program("reports"),
    ));
    Ok(Exit::Passed)
}

/// Writes the list of runs to a new folder, or checks that the folder is of the same runs.
fn prepare(folder: &Path, runs: &[SetRun]) -> Result<(), Failure> {
    let shown = folder.visible().to_string();
    let list: Vec<u8> = runs.iter().flat_map(lines::line).collect();
    let path = folder.join(set::RUNS);
    let fails =
        |error| Failure::wrong_input(format!("cannot write the set to {shown}: {error}; choose another folder"));
    match fs::read(&path) {
        Ok(found) if found == list => return Ok(()),
        Ok(_) => {
            return Err(Failure::wrong_input(format!(
                "{shown} holds a set of another draw, or of another version; choose another folder"
            )));
        }
        Err(_) => {}
    }
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::wrong_input(format!("{shown} is not empty and no set; choose another folder")));
    }
    fs::create_dir_all(folder.join("calls")).map_err(fails)?;
    atomic::write(&OsFiles, &path, &list).map_err(fails)
}

/// Plays runs, several at a time, until all were played or `stop` is set, and returns how many were.
fn play(folder: &Path, runs: &[&SetRun], jobs: NonZeroUsize, stop: &AtomicBool) -> Result<u64, Failure> {
    let next = AtomicU64::new(0);
    let played = AtomicU64::new(0);
    let failure = Mutex::new(None);
    let bar = progress::bar(runs.len() as u64, "{bar:40} {pos} of {len} runs, {eta} left");
    let work = || {
        while !stop.load(Relaxed) && lock(&failure).is_none() {
            let index = usize::try_from(next.fetch_add(1, Relaxed)).unwrap_or(usize::MAX);
            let Some(run) = runs.get(index) else { return };
            if let Err(error) = play_one(folder, run) {
                lock(&failure).get_or_insert(error);
                return;
            }
            bar.set_position(played.fetch_add(1, Relaxed) + 1);
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.get() {
            // With fewer threads than were asked for it takes longer, and ends all the same.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    bar.finish_and_clear();
    ignore_poison(failure.into_inner()).map_or_else(|| Ok(played.into_inner()), Err)
}

/// Plays a run and writes its results.
fn play_one(folder: &Path, set_run: &SetRun) -> Result<(), Failure> {
    let path = set::calls_path(folder, set_run.run);
    let calls = results(set_run).map_err(failed)?;
    atomic::write(&OsFiles, &path, &set::pack(calls)).map_err(|error| {
        Failure::run_failed(format!("cannot write {}: {error}; the same command continues", path.visible()))
    })
}

/// Plays a run and returns the results of its calls, in the order of their ends.
fn results(set_run: &SetRun) -> Result<Vec<Call>, SimulationError> {
    let name = format!("run {} of the set", set_run.run);
    let scenario =
        Scenario::parse(&name, &set_run.scenario, &[]).expect("a drawn scenario is valid: a test draws all kinds");
    let plan =
        Plan { scenario, seed: set_run.seed, branches: Vec::new(), calibration: Calibration::default(), app: None };
    let completed = crate::run(&plan, &AtomicU64::new(0))?;
    let mut calls: Vec<Call> = completed.records.requests.iter().map(Call::from).collect();
    calls.sort_by_key(|call| call.end_us);
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawn_scenario_is_valid_and_depends_on_its_number_only() {
        for index in (0..400).chain([5_000, 5_001]) {
            let drawn = draw::draw(3, index, 5_000);
            assert_eq!(drawn, draw::draw(3, index, 5_000));
            let scenario = Scenario::parse("drawn", &drawn.scenario, &[])
                .unwrap_or_else(|error| panic!("{index}: {error}\n{}", drawn.scenario));
            assert_eq!(scenario.explicit(drawn.seed).faults.len(), drawn.faults.len(), "{index}");
        }
    }

    #[test]
    fn the_faults_of_a_run_are_in_its_results() {
        // The first run of the set of seed 1 in which every call fails for a while.
        let drawn = (0..)
            .map(|run| draw::draw(1, run, 5_000))
            .find(|run| run.scenario.contains("kind = \"partition\""))
            .unwrap();
        let calls = results(&drawn).unwrap();
        assert!(calls.is_sorted_by_key(|call| call.end_us));
        let [fault, ..] = &*drawn.faults else { panic!("it has a fault") };
        let failures = calls.iter().filter(|call| call.is_failure).count();
        assert!(calls.len() > 1_000 && fault.start_us > 300_000_000, "{} calls, {failures} failed", calls.len());
    }
}
