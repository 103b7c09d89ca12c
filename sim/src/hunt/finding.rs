//! The scenario file and the report of a finding.

use std::path::PathBuf;

use kernel::{
    cli::Failure,
    run_folder::{OsFiles, SingleFile},
    scenario::Scenario,
    visible::Visible,
};
use sim::reduction::short_toml;

use super::search::{Finding, Hunt, Played};
use crate::replay::command;

/// Writes the scenario of a seed, with everything that the seed draws. Returns the path.
///
/// # Errors
///
/// Returns an error if there is a file of somebody else, or the operating system refuses.
pub(super) fn write(hunt: &Hunt<'_>, seed: u64, scenario: &Scenario) -> Result<PathBuf, Failure> {
    let place = hunt.folder.join(format!("seed{seed}.toml"));
    let what = if hunt.args.policies { "settings and faults" } else { "faults" };
    let head = format!("# `{}` with the {what} that seed {seed} draws.\n\n", scenario.name);
    let file = SingleFile { path: &place, comment: "# ", force: hunt.args.force };
    let written = file.write(&OsFiles, &(head + &short_toml(scenario)));
    written.map_err(|error| Failure::run_failed(format!("{error}, and go on with --from-seed {seed}")))?;
    Ok(place)
}

/// Writes the scenario of a finding. Returns the report, with the commands that repeat and minimise it.
///
/// # Errors
///
/// Returns an error if the scenario cannot be written.
pub(super) fn report(hunt: &Hunt<'_>, finding: &Finding, played: &Played) -> Result<String, Failure> {
    let Finding { seed, settings, scenario, goal } = finding;
    let place = write(hunt, *seed, scenario)?;
    let calibration = hunt.args.conditions.times.as_deref();
    let replay = command(None, &place, *seed, calibration);
    let shrink = command(Some("shrink"), &place, *seed, calibration);
    let mut text =
        format!("FOUND  {} (sim, seed {seed}) after {} runs{}: {goal}\n\n", scenario.name, played.runs, played.note());
    settings.iter().for_each(|setting| text += &format!("  {setting}\n"));
    scenario.faults.iter().for_each(|fault| text += &format!("  {fault}\n"));
    text += &format!("\n  scenario  {}\n", place.visible());
    Ok(text + &format!("  replay    {replay}\n  shrink    {shrink}\n"))
}
