//! `--seeds`: many runs from one command.

use std::{
    io::{self, Write},
    ops::ControlFlow,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kernel::{
    cli::{Exit, Failure, RunArgs},
    experiment::sweep::{Axis, Origin, RunRow, Seeds, Shard, SweepIdentity, SweepOverview, SweepReport, grid},
    run_folder::sha256,
    scenario::{Scenario, ScenarioError},
};
use serde::Serialize;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};
use sim::{
    SimulationError,
    calibration::Calibration,
    sweep::{Outcome, Pool, Sweep, SweepFolder, SweepFolderError, Task, Variant},
};

use crate::{
    failed,
    options::{Jobs, WORLD, calibration_info},
};

/// Rows are kept in memory, about 2 kB each.
const RUNS_MAX: u64 = 1_000_000;
/// Runs that could not be played are named up to here.
const NAMED_MAX: usize = 3;

/// Options of many runs.
#[derive(Debug, Args)]
#[command(mut_arg("jobs", |jobs| jobs.requires("seeds")))]
pub(crate) struct ManyArgs {
    /// Plays every seed from the first to before the second, on all cores, into one folder
    #[arg(long, value_name = "FROM..TO", conflicts_with = "seed")]
    pub(crate) seeds: Option<Seeds>,

    /// Plays with each of these values, on the same arrivals, and compares; may be repeated for a grid
    #[arg(long, value_name = "KEY=VALUE,VALUE", requires = "seeds")]
    vary: Vec<Axis>,

    /// Plays a part of the seeds: 3/16 is the part of the third of sixteen machines
    #[arg(long, value_name = "N/OF", requires = "seeds")]
    shard: Option<Shard>,

    #[command(flatten)]
    jobs: Jobs,
}

/// Plays all runs that are not in the folder yet, and prints what they add up to.
pub(crate) fn run(
    many: &ManyArgs,
    args: &RunArgs,
    seeds: Seeds,
    calibration: Calibration,
    calibration_file: Option<&Path>,
) -> Result<Exit, Failure> {
    let base = Scenario::load(&args.scenario, &args.overrides).map_err(Failure::wrong_input)?;
    let shard = many.shard.unwrap_or(Shard::WHOLE);
    let sweep = Sweep { variants: variants(args, &many.vary)?, seeds, shard, calibration };
    check_count(&sweep)?;
    warn_of_other_arrivals(&sweep.variants);

    let identity = identity(&sweep, &base, &many.vary, origin(args, calibration_file));
    let place = args.out.clone().unwrap_or_else(|| identity.default_place());
    let folder = SweepFolder::open(&place, &identity, &base).map_err(refused)?;
    folder.spot_check(&sweep).map_err(refused)?;

    let stop = interruptible().map_err(Failure::run_failed)?;
    let jobs = many.jobs.count()?;
    let mut arrivals = Arrivals::new(folder, &sweep);
    let missing: Vec<Task> = sweep.tasks().filter(|&task| !arrivals.folder.has(task)).collect();
    Pool { sweep: &sweep, jobs, stop: &stop }.play(missing.into_iter(), |task, outcome| arrivals.take(task, outcome));
    let (rows, unplayed) = arrivals.end()?;

    let planned = usize::try_from(sweep.count()).expect("there are not that many");
    let replay = |row: &RunRow| identity.replay(row);
    let (scenario, variants) = (&*base.name, &*identity.variants);
    let account = SweepReport { scenario, world: WORLD, seeds, shard, variants, rows: &rows, planned, replay: &replay };
    print(&account, &place, args.json);
    if rows.len() < planned {
        return Err(Failure::run_failed(why_missing(&unplayed, rows.len(), planned)));
    }
    Ok(match account.pass() {
        _ if account.breaks_invariant() => Exit::InvariantViolated,
        true => Exit::Passed,
        false => Exit::Failed,
    })
}

/// The scenario with every combination of values. Combinations that exclude each other, as hedging and retries do, are left
/// out of the grid; a value that goes with none is an error.
fn variants(args: &RunArgs, axes: &[Axis]) -> Result<Vec<Variant>, Failure> {
    let (mut variants, mut left_out) = (Vec::<Variant>::new(), Vec::new());
    for settings in grid(axes).map_err(Failure::wrong_input)? {
        let overrides: Vec<_> = args.overrides.iter().chain(&settings).cloned().collect();
        match Scenario::load(&args.scenario, &overrides) {
            Ok(scenario) => variants.push(Variant { settings, scenario }),
            Err(error) => left_out.push((settings, error)),
        }
    }
    let goes = |setting: &String| variants.iter().any(|variant| variant.settings.contains(setting));
    let useless = |(settings, _): &&(Vec<String>, ScenarioError)| settings.is_empty() || !settings.iter().all(goes);
    if let Some((settings, error)) = left_out.iter().find(useless) {
        let whose = format!("\n= in the variant {}", settings.join(" "));
        return Err(Failure::wrong_input(format!("{error}{}", if settings.is_empty() { "" } else { &whose })));
    }
    for (settings, error) in left_out {
        let why = error.to_string();
        let why = why.lines().next().unwrap_or_default();
        let _ = writeln!(io::stderr(), "note: left out {}: {why}", settings.join(" "));
    }
    Ok(variants)
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

/// Who varies what arrivals are drawn from compares other arrivals.
fn warn_of_other_arrivals(variants: &[Variant]) {
    let differ = variants.windows(2).any(|pair| {
        let of = |variant: &Variant| {
            let Scenario { load, duration, workload, .. } = &variant.scenario;
            (load.rate.to_bits(), load.arrivals, *duration, workload.clone())
        };
        of(&pair[0]) != of(&pair[1])
    });
    if differ {
        let note = "note: load or workload is varied, so runs of one seed do not see the same requests in all variants";
        let _ = writeln!(io::stderr(), "{note}");
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
        calibration: calibration_info(&sweep.calibration),
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

fn refused(error: SweepFolderError) -> Failure {
    match error {
        SweepFolderError::Simulation(error) => failed(error),
        error => Failure::wrong_input(error),
    }
}

/// A flag that Ctrl-C sets, and what ends jobs on clusters. A second one ends the process.
fn interruptible() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_conditional_shutdown(signal, Exit::RunFailed as i32, stop.clone())?;
        flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

/// The runs that could not be played, and why.
type Unplayed = Vec<(Task, SimulationError)>;

/// Takes in what becomes of runs.
struct Arrivals {
    folder: SweepFolder,
    bar: ProgressBar,
    failing: u64,
    unplayed: Unplayed,
    /// What keeps all others from being played, too.
    fatal: Option<Failure>,
}

impl Arrivals {
    fn new(folder: SweepFolder, sweep: &Sweep) -> Self {
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len} runs, {per_sec}, {eta} left{msg}")
            .expect("the template is well-formed");
        // It draws nothing where standard error is no terminal.
        let bar = ProgressBar::new(sweep.count()).with_style(style).with_position(folder.count() as u64);
        bar.reset_eta();
        Self { folder, bar, failing: 0, unplayed: Vec::new(), fatal: None }
    }

    fn take(&mut self, task: Task, outcome: Outcome) -> ControlFlow<()> {
        self.bar.inc(1);
        let row = match outcome {
            Ok(row) => row,
            Err(error @ (SimulationError::Pictures(_) | SimulationError::NotCalibrated { .. })) => {
                return self.break_off(failed(error));
            }
            Err(error) => {
                self.unplayed.push((task, error));
                return ControlFlow::Continue(());
            }
        };
        if !row.pass {
            self.failing += 1;
            self.bar.set_message(format!(", {} fail", self.failing));
        }
        match self.folder.keep(row) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => self.break_off(Failure::run_failed(error)),
        }
    }

    fn break_off(&mut self, failure: Failure) -> ControlFlow<()> {
        self.fatal = Some(failure);
        ControlFlow::Break(())
    }

    /// All rows, in order, and the runs that there are none of.
    fn end(self) -> Result<(Vec<RunRow>, Unplayed), Failure> {
        self.bar.finish_and_clear();
        let rows = self.folder.close().map_err(Failure::run_failed)?;
        let mut unplayed = self.unplayed;
        unplayed.sort_by_key(|(task, _)| *task);
        self.fatal.map_or(Ok((rows, unplayed)), Err)
    }
}

fn why_missing(unplayed: &[(Task, SimulationError)], played: usize, planned: usize) -> String {
    if unplayed.is_empty() {
        return format!("interrupted after {played} of {planned} runs; the same command goes on from there");
    }
    let named = unplayed.iter().take(NAMED_MAX);
    let named: String = named.map(|(task, error)| format!("\nseed {}: {error}", task.seed)).collect();
    let more = match unplayed.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!("\nand {more} more"),
    };
    format!("{} of {planned} runs could not be played{named}{more}", planned - played)
}

/// The account for programs.
#[derive(Serialize)]
struct Json<'a> {
    folder: &'a Path,
    #[serde(flatten)]
    overview: SweepOverview,
}

fn print(account: &SweepReport<'_>, folder: &Path, json: bool) {
    let text = if json {
        let json = Json { folder, overview: account.overview() };
        serde_json::to_string_pretty(&json).expect("plain data is always written") + "\n"
    } else {
        format!("{}\n  folder  {}\n", account.render(), folder.display())
    };
    // Whoever reads may have read enough.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
