//! `sim hunt`: faults, and with `--policies` settings, drawn from one seed after another until a run fails.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `arguments` | [`HuntArgs`], the options |
//! | `search` | `Hunt`, which runs the seeds, and its `Finding` |
//! | `finding` | the scenario file and the report of a finding |

mod arguments;
mod finding;
mod search;

use std::path::PathBuf;

use kernel::{
    cli::{self, Exit, Failure},
    json::pretty,
    run_folder::{OsFiles, atomic},
    scenario::Scenario,
    visible::Visible,
};

pub(crate) use self::arguments::HuntArgs;
use self::search::Hunt;

/// Setting that removes all expectations, as they may be about phases of faults that a draw does not have.
const NOTHING_EXPECTED: &str = "expect=[]";

/// Draws and runs until a run fails or the time is over, and prints the report.
pub(crate) fn run(args: &HuntArgs) -> Result<Exit, Failure> {
    let calibration = args.conditions.calibration()?;
    let mut overrides = args.conditions.overrides.clone();
    if args.policies {
        overrides.push(NOTHING_EXPECTED.to_owned());
    }
    let mut base = Scenario::load(&args.scenario, &overrides).map_err(Failure::wrong_input)?;
    base.nemesis.get_or_insert_default();
    if args.invariants || args.policies {
        base.expectations.clear();
    } else if base.expectations.is_empty() {
        return Err(Failure::wrong_input("the scenario expects nothing; add an [[expect]], or give --invariants"));
    }
    let jobs = args.jobs.count()?;
    let folder: PathBuf = args.out.clone().unwrap_or_else(|| format!("runs/{}/hunt", base.name).into());
    let left = atomic::remove_of_ended(&OsFiles, &folder, |file| file.starts_with("seed") && file.ends_with(".toml"));
    left.map_err(|reason| {
        Failure::wrong_input(format!("cannot use {}: {reason}; choose another folder with --out", folder.visible()))
    })?;
    let hunt = Hunt { args, base: &base, calibration: &calibration, folder: &folder };
    let (finding, played) = hunt.search(jobs)?;
    if args.json {
        cli::print(&pretty(&finding::overview(&hunt, finding.as_ref(), &played)?));
        return Ok(finding.map_or(Exit::Passed, |finding| finding.goal.exit()));
    }
    let Some(finding) = finding else {
        let head = format!("NONE  {} (sim, from seed {}):", base.name, args.from_seed);
        let coverage = played.coverage.text() + &played.guidance();
        cli::print(&format!("{head} no failure in {} runs{}\n\n{coverage}", played.runs, played.note()));
        return Ok(Exit::Passed);
    };
    cli::print(&finding::report(&hunt, &finding, &played)?);
    Ok(finding.goal.exit())
}
