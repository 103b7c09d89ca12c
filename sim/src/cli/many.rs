//! `--seeds`: a sweep, many runs from one command.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `arguments` | [`ManyArgs`], the options |
//! | `variants` | the scenario with every combination of `--vary` |
//! | `collector` | `Collector`, which takes the results as they come in |
//! | `output` | what is printed in the end |

mod arguments;
mod collector;
mod output;
mod variants;

use std::path::Path;

use crate::{
    calibration::Calibration,
    sweep::{Pool, SpotCheckError, Sweep, Task, spot_check},
};
use kernel::{
    cli::{Exit, Failure, RunArgs, print, report_page},
    coverage::CoverageTally,
    experiment::sweep::{Axis, OpenSweepFolder, Origin, Seeds, Shard, SweepIdentity, SweepReport},
    object_folder::destination::Destination,
    run_folder::{Earlier, sha256},
    scenario::Scenario,
};

pub(crate) use self::{arguments::ManyArgs, variants::variants};
use self::{collector::Collector, variants::warn_of_other_arrivals};
use crate::cli::{app, command::RunOptions, failed, interrupt, options::WORLD};

/// Most runs of one folder, as their rows are kept in memory, about 2 kB each.
const RUNS_MAX: u64 = 1_000_000;

/// Runs all tasks that have no row in the folder yet, and prints the report over all rows.
pub(crate) fn run(options: &RunOptions, seeds: Seeds, calibration: Calibration) -> Result<Exit, Failure> {
    let RunOptions { many, run: args, calibration: calibration_file, time_limit, .. } = options;
    let calibration_file = calibration_file.as_deref();
    let time_limit = *time_limit;
    let base = Scenario::load(&args.scenario, &args.overrides).map_err(Failure::wrong_input)?;
    let shard = many.shard.unwrap_or(Shard::WHOLE);
    let sweep = Sweep {
        variants: variants(&args.scenario, &args.overrides, &many.vary)?,
        seeds,
        shard,
        calibration,
        time_limit,
        app: app(),
    };
    check_count(&sweep)?;
    warn_of_other_arrivals(&sweep.variants);

    let identity = identity(&sweep, &base, &many.vary, origin(args, calibration_file));
    let destination = Destination::from_path(args.out.clone().unwrap_or_else(|| identity.default_place()))?;
    let place = destination.place();
    let earlier = if args.force { Earlier::Force } else { Earlier::Replace };
    let folder = OpenSweepFolder::open(place, &identity, &base.to_toml(), earlier).map_err(Failure::wrong_input)?;
    spot_check(&folder, &sweep).map_err(cannot_continue)?;

    let stop = interrupt::flag().map_err(Failure::run_failed)?;
    let jobs = many.jobs.count()?;
    let mut collector = Collector::new(folder, &sweep);
    let missing: Vec<Task> = sweep.tasks().filter(|&task| !collector.has(task)).collect();
    Pool { sweep: &sweep, jobs, stop: &stop }.run(missing.into_iter(), |task, result| collector.take(task, result));
    let (rows, unplayed) = collector.finish()?;

    let mut coverage = CoverageTally::default();
    for row in &rows {
        let scenario = &sweep.variants[row.variant].scenario;
        row.reached.iter().for_each(|reached| coverage.add(scenario, reached));
    }
    let planned = usize::try_from(sweep.count()).expect("there are not that many");
    let report = SweepReport {
        scenario: &base.name,
        world: WORLD,
        seeds,
        shard,
        variants: &identity.variants,
        rows: &rows,
        planned,
        coverage,
        replay: &|row| identity.replay(row),
    };
    output::print(&report, place, args.json);
    if args.report {
        report_page(place, args.json);
    }
    if rows.len() < planned {
        return Err(Failure::run_failed(unplayed.why_missing(rows.len(), planned)));
    }
    let stored = destination.deliver(place)?;
    if !args.json {
        print(&stored);
    }
    Ok(report.verdict().into())
}

fn check_count(sweep: &Sweep) -> Result<(), Failure> {
    match sweep.count() {
        0 => Err(Failure::wrong_input(format!(
            "shard {} of the seeds {} is empty; there are work and seeds for {} shards at most",
            sweep.shard,
            sweep.seeds,
            sweep.seeds.count()
        ))),
        count if count > RUNS_MAX => Err(Failure::wrong_input(format!(
            "these are {count} runs, and at most {RUNS_MAX} go into one folder; split them with --shard 1/{}",
            count.div_ceil(RUNS_MAX)
        ))),
        _ => Ok(()),
    }
}

fn identity(sweep: &Sweep, base: &Scenario, axes: &[Axis], origin: Origin) -> SweepIdentity {
    SweepIdentity {
        world: WORLD.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: base.name.clone(),
        scenario_sha256: sha256(base.to_toml().as_bytes()),
        seeds: sweep.seeds,
        shard: sweep.shard,
        vary: axes.to_vec(),
        variants: sweep.variants.iter().map(|variant| variant.settings.clone()).collect(),
        calibration: sweep.calibration.info(),
        origin,
    }
}

fn origin(args: &RunArgs, calibration_file: Option<&Path>) -> Origin {
    Origin {
        scenario: args.scenario.display().to_string(),
        overrides: args.overrides.clone(),
        calibration: calibration_file.map(|path| path.display().to_string()),
    }
}

fn cannot_continue(error: SpotCheckError) -> Failure {
    match error {
        SpotCheckError::Simulation(error) => failed(error),
        error => Failure::wrong_input(error),
    }
}
