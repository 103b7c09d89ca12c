//! Commands that repeat a run.

use std::path::Path;

use kernel::{
    cli::{RunArgs, program, quoted},
    entropy::branch::Branch,
};

use crate::cli::options::WORLD;

/// Returns the command that repeats the run of `args` alone.
pub(crate) fn replay(args: &RunArgs, branches: &[Branch], calibration: Option<&Path>) -> String {
    let mut more: Vec<_> = branches.iter().flat_map(|branch| ["--branch".to_owned(), branch.to_string()]).collect();
    more.extend(calibration.iter().flat_map(|path| ["--calibration".to_owned(), path.display().to_string()]));
    args.replay(&program(WORLD), &more)
}

/// Returns the command that gives `subcommand`, such as `shrink`, a scenario that was written to a file. Without a subcommand
/// it repeats the run.
pub(crate) fn command(
    subcommand: Option<&str>,
    scenario: &Path,
    (seed, branches): (u64, &[Branch]),
    calibration: Option<&Path>,
) -> String {
    let program = program(WORLD);
    let subcommand = subcommand.map(|name| format!(" {name}")).unwrap_or_default();
    let scenario = quoted(&scenario.to_string_lossy());
    let calibration = calibration.map(|path| format!(" --calibration {}", quoted(&path.to_string_lossy())));
    let branches: String = branches.iter().map(|branch| format!(" --branch {branch}")).collect();
    format!("{program}{subcommand} {scenario} --seed {seed}{branches}{}", calibration.unwrap_or_default())
}
