//! Commands that repeat a run.

use std::path::Path;

use kernel::cli::{RunArgs, quoted};

/// Returns the command that repeats the run of `args` alone.
pub(crate) fn replay(args: &RunArgs, calibration: Option<&Path>) -> String {
    let more: Vec<_> =
        calibration.iter().flat_map(|path| ["--calibration".to_owned(), path.display().to_string()]).collect();
    args.replay("cargo run -p sim --", &more)
}

/// Returns the arguments with which `sim` runs a scenario that it has written, quoted for a shell.
pub(crate) fn arguments(scenario: &Path, seed: u64, calibration: Option<&Path>) -> String {
    let calibration = calibration.map(|path| format!(" --calibration {}", quoted(&path.to_string_lossy())));
    format!("{} --seed {seed}{}", quoted(&scenario.to_string_lossy()), calibration.unwrap_or_default())
}
