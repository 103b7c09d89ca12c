//! `sim shrink`: the least scenario that fails as this one does.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kernel::{
    cli::{Exit, Failure},
    run_folder::{RUN, RunInfo, SCENARIO},
    scenario::Scenario,
};
use sim::{
    Plan,
    reduction::{Reduced, ReductionError, reduce, short_toml, story},
};

use crate::{arguments, failed, options::Conditions};

/// Options of a reduction.
#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    /// The scenario file that fails, or the folder of a run that did
    scenario: PathBuf,

    /// The seed that it fails with [default: the run's, or 0]
    #[arg(long)]
    seed: Option<u64>,

    #[command(flatten)]
    conditions: Conditions,

    /// Where to write the result [default: runs/SCENARIO/shrunk-seedN.toml]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Takes away what is not needed for the failure, and writes what is left.
pub(crate) fn run(args: &ShrinkArgs) -> Result<Exit, Failure> {
    let (path, seed) = what(args)?;
    let calibration = args.conditions.calibration()?;
    let scenario = Scenario::load(&path, &args.conditions.overrides).map_err(Failure::wrong_input)?.explicit(seed);
    let place = || PathBuf::from(format!("runs/{}/shrunk-seed{seed}.toml", scenario.name));
    let out = args.out.clone().unwrap_or_else(place);
    if out.is_dir() {
        return Err(Failure::wrong_input(format!("{} is a folder; name a file with --out", out.display())));
    }
    let plan = Plan { scenario: scenario.clone(), seed, calibration };
    let bar = bar();
    let reduced = reduce(&plan, &mut |trials, left| {
        bar.set_position(trials);
        bar.set_message(size(left));
    });
    bar.finish_and_clear();
    let reduced = reduced.map_err(|error| match error {
        ReductionError::Passes { .. } => Failure::wrong_input(error),
        ReductionError::Simulation(error) => failed(error),
    })?;

    let replay = format!("cargo run -p sim -- {}", arguments(&out, seed, args.conditions.times.as_deref()));
    let lines = story(&scenario, &reduced);
    write(&out, &file(&plan, &reduced, &lines, &replay)).map_err(|reason| {
        Failure::run_failed(format!("cannot write {}: {reason}; choose another file with --out", out.display()))
    })?;
    // Whoever reads may have read enough.
    let _ = io::stdout().write_all(account(&plan, &reduced, &lines, &out, &replay).as_bytes());
    Ok(Exit::Passed)
}

/// The scenario's file and the seed.
fn what(args: &ShrinkArgs) -> Result<(PathBuf, u64), Failure> {
    let folder = &args.scenario;
    if !folder.is_dir() {
        return Ok((folder.clone(), args.seed.unwrap_or_default()));
    }
    let path = folder.join(RUN);
    let refused = |reason: String| {
        Failure::wrong_input(format!("{} is no run folder: {}: {reason}", folder.display(), path.display()))
    };
    let text = fs::read_to_string(&path).map_err(|error| refused(error.to_string()))?;
    let info: RunInfo = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    Ok((folder.join(SCENARIO), args.seed.unwrap_or(info.seed)))
}

/// It draws nothing where standard error is no terminal.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {pos} runs, {msg} left").expect("the template is well-formed");
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn size(scenario: &Scenario) -> String {
    let Scenario { faults, load, duration, servers, .. } = scenario;
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (faults, replicas) = (counted(faults.len(), "fault"), counted(servers.replicas, "replica"));
    let (rate, time) = (load.rate, kernel::scenario::duration::text(*duration));
    format!("{faults}, {rate} requests/s for {time}, {replicas}")
}

fn limit(reduced: &Reduced) -> &'static str {
    match reduced.is_minimal {
        true => "taking away one more thing, or lowering one number by one rung, ends the failure",
        false => "the limit on runs was hit, so there may be more to take away",
    }
}

fn file(plan: &Plan, reduced: &Reduced, lines: &[String], replay: &str) -> String {
    let mut text = format!("# What is left of `{}`, seed {}: {}.\n", plan.scenario.name, plan.seed, reduced.goal);
    text += &format!("# replay: {replay}\n#\n");
    let head = if lines.is_empty() { "# Nothing could be taken away.\n" } else { "# Taken away:\n" };
    text += head;
    lines.iter().for_each(|line| text += &format!("#   {line}\n"));
    text + &format!("# After {} runs, {}.\n\n", reduced.trials, limit(reduced)) + &short_toml(&reduced.scenario)
}

fn account(plan: &Plan, reduced: &Reduced, lines: &[String], out: &Path, replay: &str) -> String {
    let Plan { scenario, seed, .. } = plan;
    let mut text = format!("SHRUNK  {} (sim, seed {seed}): {}\n\n", scenario.name, reduced.goal);
    text += &format!("  from  {}\n  to    {}\n\n", size(scenario), size(&reduced.scenario));
    lines.iter().for_each(|line| text += &format!("  - {line}\n"));
    text += &format!("\n  {} runs; {}\n", reduced.trials, limit(reduced));
    text + &format!("\n  scenario  {}\n  replay    {replay}\n", out.display())
}

fn write(out: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    fs::write(out, text)
}
