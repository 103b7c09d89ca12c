//! The scenario file and the report of a finding.

use std::path::PathBuf;

use crate::{guided::Recipe, reduction::short_toml};
use kernel::{
    cli::Failure,
    coverage::CoverageTally,
    entropy::branch::Branch,
    run_folder::{OsFiles, SingleFile},
    scenario::Scenario,
    visible::Visible,
};
use serde::Serialize;

use super::search::{Finding, Hunt, Kept, Played};
use crate::cli::replay::command;

/// Writes the scenario of the run with this number, with everything that its recipe draws. Returns the path.
///
/// # Errors
///
/// Returns an error if there is a file of somebody else, or the operating system refuses.
pub(super) fn write(hunt: &Hunt<'_>, number: u64, recipe: &Recipe, scenario: &Scenario) -> Result<PathBuf, Failure> {
    let Recipe { seed, branches } = recipe;
    // Many runs have the same seed, and differ by their branches.
    let run = if branches.is_empty() { String::new() } else { format!("-run{number}") };
    let place = hunt.folder.join(format!("seed{seed}{run}.toml"));
    let what = if hunt.args.policies { "settings and faults" } else { "faults" };
    let with: String = branches.iter().map(|branch| format!(" with branch {branch}")).collect();
    let head = format!("# `{}` with the {what} that seed {seed}{with} draws.\n\n", scenario.name);
    let file = SingleFile { path: &place, comment: "# ", force: hunt.args.force };
    let written = file.write(&OsFiles, &(head + &short_toml(scenario)));
    let again = if hunt.args.guided { String::new() } else { format!(", and go on with --from-seed {seed}") };
    written.map_err(|error| Failure::run_failed(format!("{error}{again}")))?;
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
    found: Option<FoundOverview<'a>>,
    /// The runs that a guided search has kept; left out for a search at random.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<Kept>,
}

#[derive(Serialize)]
struct FoundOverview<'a> {
    seed: u64,
    /// The times from which everything was drawn again, each with its salt.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    branches: &'a [Branch],
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
    finding: Option<&'a Finding>,
    played: &'a Played,
) -> Result<HuntOverview<'a>, Failure> {
    let found = finding.map(|finding| {
        let file = write(hunt, finding.number, &finding.recipe, &finding.scenario)?;
        let calibration = hunt.args.conditions.times.as_deref();
        Ok(FoundOverview {
            seed: finding.recipe.seed,
            branches: &finding.recipe.branches,
            failure: finding.goal.to_string(),
            settings: finding.settings.clone(),
            faults: finding.scenario.faults.iter().map(|fault| fault.text(&finding.scenario.names())).collect(),
            replay: command(None, &file, finding.recipe.draws(), calibration),
            shrink: command(Some("shrink"), &file, finding.recipe.draws(), calibration),
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
        kept: played.kept,
    })
}

/// Writes the scenario of a finding. Returns the report, with the commands that repeat and minimise it.
///
/// # Errors
///
/// Returns an error if the scenario cannot be written.
pub(super) fn report(hunt: &Hunt<'_>, finding: &Finding, played: &Played) -> Result<String, Failure> {
    let Finding { number, recipe, settings, scenario, goal } = finding;
    let place = write(hunt, *number, recipe, scenario)?;
    let seed = recipe.seed;
    let calibration = hunt.args.conditions.times.as_deref();
    let replay = command(None, &place, recipe.draws(), calibration);
    let shrink = command(Some("shrink"), &place, recipe.draws(), calibration);
    let mut text =
        format!("FOUND  {} (sim, seed {seed}) after {} runs{}: {goal}\n\n", scenario.name, played.runs, played.note());
    settings.iter().for_each(|setting| text += &format!("  {setting}\n"));
    let names = scenario.names();
    scenario.faults.iter().for_each(|fault| text += &format!("  {}\n", fault.text(&names)));
    text += &format!("\n{}{}", played.coverage.text(), played.guidance());
    text += &format!("\n  scenario  {}\n", place.visible());
    Ok(text + &format!("  replay    {replay}\n  shrink    {shrink}\n"))
}
