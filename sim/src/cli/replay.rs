//! Commands that repeat a run.

use std::path::Path;

use kernel::cli::{RunArgs, program, quoted};

use crate::cli::options::WORLD;

/// Returns the command that repeats the run of `args` alone.
pub(crate) fn replay(args: &RunArgs, calibration: Option<&Path>) -> String {
    let more: Vec<_> =
        calibration.iter().flat_map(|path| ["--calibration".to_owned(), path.display().to_string()]).collect();
    args.replay(&program(WORLD), &more)
}

/// Returns the command that gives `subcommand`, such as `shrink`, a scenario that was written to a file. Without a subcommand
/// it repeats the run.
pub(crate) fn command(subcommand: Option<&str>, scenario: &Path, seed: u64, calibration: Option<&Path>) -> String {
    let program = program(WORLD);
    let subcommand = subcommand.map(|name| format!(" {name}")).unwrap_or_default();
    let scenario = quoted(&scenario.to_string_lossy());
    let calibration = calibration.map(|path| format!(" --calibration {}", quoted(&path.to_string_lossy())));
    format!("{program}{subcommand} {scenario} --seed {seed}{}", calibration.unwrap_or_default())
}
