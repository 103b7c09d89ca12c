//! `sim shrink`: minimises a scenario that fails.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    Plan,
    reduction::{Part, Reduced, ReductionError, reduce_keeping, removed, short_toml},
};
use clap::Args;
use kernel::{
    cli::{Exit, Failure, print, progress},
    entropy::branch::Branch,
    input,
    json::pretty,
    run_folder::{OsFiles, RUN, RunInfo, SCENARIO, SingleFile},
    scenario::{Scenario, duration},
    visible::Visible,
};
use serde_json::json;

use crate::cli::{app, failed, options::Conditions, replay::command};

/// Options of `sim shrink`.
#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    /// The scenario file that fails, or the folder of a run that failed.
    scenario: PathBuf,

    /// The seed with which it fails [default: that of the run, or 0].
    #[arg(long)]
    seed: Option<u64>,

    /// The branches with which it fails, as `sim run` takes them [default: those of the run].
    #[arg(long = "branch", value_name = "TIME:SALT")]
    branches: Vec<Branch>,

    #[command(flatten)]
    conditions: Conditions,

    /// A part of the scenario that stays as it is: load, duration, replicas, faults, times or settings; may be repeated.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    keep: Vec<Part>,

    /// The file to write the result to [default: runs/SCENARIO/shrunk-seedN.toml].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Replaces the file even if this program has not written it.
    #[arg(long)]
    force: bool,

    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Minimises the scenario, and writes the result.
pub(crate) fn run(args: &ShrinkArgs) -> Result<Exit, Failure> {
    let (path, seed, branches) = scenario_and_draws(args)?;
    let calibration = args.conditions.calibration()?;
    let scenario = Scenario::load(&path, &args.conditions.overrides).map_err(Failure::wrong_input)?;
    let scenario = scenario.explicit_with(seed, &branches);
    let out = args.out.clone();
    let out = out.unwrap_or_else(|| PathBuf::from(format!("runs/{}/shrunk-seed{seed}.toml", scenario.name)));
    let output = SingleFile { path: &out, comment: "# ", force: args.force };
    // Before the search, which may take minutes.
    output.prepare(&OsFiles).map_err(Failure::wrong_input)?;
    let plan = Plan { scenario: scenario.clone(), seed, branches, calibration, app: app() };
    let bar = progress::spinner("{spinner} {pos} runs, {msg} left");
    let reduced = reduce_keeping(&plan, &args.keep, &mut |trials, left| {
        bar.set_position(trials);
        bar.set_message(size(left));
    });
    bar.finish_and_clear();
    let reduced = reduced.map_err(|error| match error {
        ReductionError::Passes { .. } => Failure::wrong_input(error),
        ReductionError::Simulation(error) => failed(error),
    })?;

    let replay = command(None, &out, plan.draws(), args.conditions.times.as_deref());
    let lines = removed(&scenario, &reduced);
    output.write(&OsFiles, &file(&plan, &reduced, &lines, &replay)).map_err(Failure::run_failed)?;
    let text = if args.json {
        overview(&plan, &reduced, &lines, &out, &replay)
    } else {
        report(&plan, &reduced, &lines, &out, &replay)
    };
    print(&text);
    Ok(Exit::Passed)
}

/// Returns the scenario's file, the seed and the branches: those of the run, if a run folder is given.
fn scenario_and_draws(args: &ShrinkArgs) -> Result<(PathBuf, u64, Vec<Branch>), Failure> {
    let folder = &args.scenario;
    if !folder.is_dir() {
        return Ok((folder.clone(), args.seed.unwrap_or_default(), args.branches.clone()));
    }
    let info = read_run_info(&folder.join(RUN)).map_err(|error| {
        Failure::wrong_input(format!("{} is no run folder: {}: {error}", folder.visible(), folder.join(RUN).visible()))
    })?;
    // Those of the run go with its seed.
    let own = if args.seed.is_none() && args.branches.is_empty() { info.branches } else { args.branches.clone() };
    Ok((folder.join(SCENARIO), args.seed.unwrap_or(info.seed), own))
}

fn read_run_info(path: &Path) -> Result<RunInfo, io::Error> {
    Ok(serde_json::from_str(&input::read_text(path)?)?)
}

/// Describes how large a scenario is, such as `2 faults, 10 requests/s for 5s, 3 replicas`.
fn size(scenario: &Scenario) -> String {
    let faults = counted(scenario.faults.len(), "fault");
    let replicas = counted(scenario.replicas(), "replica");
    let load = scenario.load.description(scenario.duration);
    format!("{faults}, {load} for {}, {replicas}", duration::text(scenario.duration))
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Describes why the reduction ended.
fn limit(reduced: &Reduced) -> &'static str {
    match reduced.is_minimal {
        true => "removing one more item, or lowering one number by one step, ends the failure",
        false => "the limit on runs was hit, so there may be more to remove",
    }
}

/// Returns the content of the file that is written: how the scenario came about, as comments, and the scenario.
fn file(plan: &Plan, reduced: &Reduced, lines: &[String], replay: &str) -> String {
    let mut text = format!("# Minimised from `{}`, seed {}: {}.\n", plan.scenario.name, plan.seed, reduced.goal);
    text += &format!("# replay: {replay}\n#\n");
    let head = if lines.is_empty() { "# Nothing could be removed.\n" } else { "# Removed:\n" };
    text += head;
    lines.iter().for_each(|line| text += &format!("#   {line}\n"));
    text + &format!("# After {} runs, {}.\n\n", reduced.trials, limit(reduced)) + &short_toml(&reduced.scenario)
}

/// Returns the result for programs.
fn overview(plan: &Plan, reduced: &Reduced, lines: &[String], out: &Path, replay: &str) -> String {
    pretty(&json!({
        "scenario": plan.scenario.name,
        "seed": plan.seed,
        "failure": reduced.goal.to_string(),
        "from": size(&plan.scenario),
        "to": size(&reduced.scenario),
        "removed": lines,
        "runs": reduced.trials,
        "is_minimal": reduced.is_minimal,
        "file": out,
        "replay": replay,
    }))
}

/// Returns the text that is printed.
fn report(plan: &Plan, reduced: &Reduced, lines: &[String], out: &Path, replay: &str) -> String {
    let Plan { scenario, seed, .. } = plan;
    let mut text = format!("SHRUNK  {} (sim, seed {seed}): {}\n\n", scenario.name, reduced.goal);
    text += &format!("  from  {}\n  to    {}\n\n", size(scenario), size(&reduced.scenario));
    lines.iter().for_each(|line| text += &format!("  - {line}\n"));
    text += &format!("\n  {} runs; {}\n", reduced.trials, limit(reduced));
    text + &format!("\n  scenario  {}\n  replay    {replay}\n", out.visible())
}
