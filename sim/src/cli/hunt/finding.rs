//! The scenario file and the report of a finding.

use std::path::PathBuf;

use crate::reduction::short_toml;
use kernel::{
    cli::Failure,
    coverage::CoverageTally,
    run_folder::{OsFiles, SingleFile},
    scenario::Scenario,
    visible::Visible,
};
use serde::Serialize;

use super::search::{Finding, Hunt, Played};
use crate::cli::replay::command;

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

/// The report of a hunt for programs.
#[derive(Serialize)]
pub(super) struct HuntOverview<'a> {
    scenario: &'a str,
    from_seed: u64,
    runs: u64,
    /// The seeds of runs that were stopped at a limit, which count for nothing.
    stopped: &'a [u64],
    coverage: &'a CoverageTally,
    /// The run that fails; null if there is none.
    found: Option<FoundOverview>,
}

#[derive(Serialize)]
struct FoundOverview {
    seed: u64,
    /// The failure, in words.
    failure: String,
    settings: Vec<String>,
    faults: Vec<String>,
    file: PathBuf,
    replay: String,
    shrink: String,
}

/// Writes the scenario of a finding, if there is one, and returns the report for programs.
///
/// # Errors
///
/// Returns an error if the scenario cannot be written.
pub(super) fn overview<'a>(
    hunt: &Hunt<'a>,
    finding: Option<&Finding>,
    played: &'a Played,
) -> Result<HuntOverview<'a>, Failure> {
    let found = finding.map(|finding| {
        let file = write(hunt, finding.seed, &finding.scenario)?;
        let calibration = hunt.args.conditions.times.as_deref();
        Ok(FoundOverview {
            seed: finding.seed,
            failure: finding.goal.to_string(),
            settings: finding.settings.clone(),
            faults: finding.scenario.faults.iter().map(ToString::to_string).collect(),
            replay: command(None, &file, (finding.seed, &[]), calibration),
            shrink: command(Some("shrink"), &file, (finding.seed, &[]), calibration),
            file,
        })
    });
    Ok(HuntOverview {
        scenario: &hunt.base.name,
        from_seed: hunt.args.from_seed,
        runs: played.runs,
        stopped: &played.stopped,
        coverage: &played.coverage,
        found: found.transpose()?,
    })
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
    let replay = command(None, &place, (*seed, &[]), calibration);
    let shrink = command(Some("shrink"), &place, (*seed, &[]), calibration);
    let mut text =
        format!("FOUND  {} (sim, seed {seed}) after {} runs{}: {goal}\n\n", scenario.name, played.runs, played.note());
    settings.iter().for_each(|setting| text += &format!("  {setting}\n"));
    scenario.faults.iter().for_each(|fault| text += &format!("  {fault}\n"));
    text += &format!("\n{}", played.coverage.text());
    text += &format!("\n  scenario  {}\n", place.visible());
    Ok(text + &format!("  replay    {replay}\n  shrink    {shrink}\n"))
}
