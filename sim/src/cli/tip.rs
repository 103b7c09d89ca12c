//! `sim tip`: a threshold search, along one setting or two.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `arguments` | [`TipArgs`], the options |
//! | `search` | `ThresholdSearch`, which runs what the search needs |

mod arguments;
mod search;

pub(crate) use self::arguments::TipArgs;
use self::search::ThresholdSearch;
use crate::cli::options::WORLD;
use std::path::Path;

use kernel::{
    cli::{self, Exit, Failure, warn_of_place},
    experiment::{
        sweep::Origin,
        threshold::{
            Boundary, Point, SettingRange, StoppingRule, TestOutcome, ThresholdIdentity, ThresholdRecord, decisions_max,
        },
    },
    json::pretty,
    run_folder::Earlier,
    scenario::Scenario,
    visible::Visible,
};
use serde::Serialize;

/// The result of a search for programs.
#[derive(Serialize)]
struct ThresholdOverview<'a> {
    search: &'a ThresholdIdentity,
    boundaries: &'a [Boundary],
    points: &'a [Point],
    folder: &'a Path,
}

/// Searches for thresholds, writes the folder and prints the report.
pub(crate) fn run(args: &TipArgs) -> Result<Exit, Failure> {
    let base = Scenario::load(&args.scenario, &args.conditions.overrides).map_err(Failure::wrong_input)?;
    let criterion = args.criterion(&base)?;
    let (along, and) = args.ranges()?;
    let default_place = ThresholdIdentity::default_place(&base.name, &along, and.as_ref());
    let place = args.out.clone().unwrap_or(default_place);
    // Before the search, which may take hours.
    let earlier = if args.force { Earlier::Force } else { Earlier::Replace };
    let place = ThresholdRecord::prepare(&place, earlier).map_err(Failure::wrong_input)?;

    let second_values = second_values(args, and.as_ref());
    let values = decisions_max(&along.samples(args.samples)).saturating_mul(second_values.len() as u64);
    let calibration = args.conditions.calibration()?;
    let identity = ThresholdIdentity {
        world: WORLD.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: base.name.clone(),
        criterion,
        along,
        and,
        samples: args.samples,
        confidence: args.confidence,
        rule: StoppingRule::new(args.confidence, values, args.runs),
        from_seed: args.from_seed,
        calibration: calibration.info(),
        origin: origin(args),
    };
    let mut search = ThresholdSearch::new(args, &identity, args.jobs.count()?, calibration);
    let mut boundaries = Vec::new();
    for and in second_values {
        boundaries.extend(search.boundaries(and)?);
    }
    let points = search.finish();
    if boundaries.iter().all(|boundary| boundary.between().is_none()) {
        return Err(Failure::wrong_input(no_boundary(&identity, &boundaries)));
    }
    let record = ThresholdRecord { identity, scenario: base.to_toml(), points, boundaries };
    let asked = place.path().to_owned();
    let placed = record.write(place).map_err(Failure::run_failed)?;
    warn_of_place(&placed, &asked);
    if args.json {
        cli::print(&pretty(&ThresholdOverview {
            search: &record.identity,
            boundaries: &record.boundaries,
            points: &record.points,
            folder: &placed.place,
        }));
    } else {
        cli::print(&format!("{}\n  folder  {}\n", record.render(), placed.place.visible()));
    }
    Ok(Exit::Passed)
}

/// Returns the values of the second setting; a single `None` if there is none.
fn second_values(args: &TipArgs, and: Option<&SettingRange>) -> Vec<Option<f64>> {
    // A range of whole numbers may have fewer values than were asked for.
    and.map_or_else(|| vec![None], |and| and.spaced(args.values).into_iter().map(Some).collect())
}

fn origin(args: &TipArgs) -> Origin {
    Origin {
        scenario: args.scenario.display().to_string(),
        overrides: args.conditions.overrides.clone(),
        calibration: args.conditions.times.as_ref().map(|path| path.display().to_string()),
    }
}

/// Returns the message of a search that found no boundary.
fn no_boundary(identity: &ThresholdIdentity, boundaries: &[Boundary]) -> String {
    let along = &identity.along;
    let key = &along.key;
    let low = along.text(along.low);
    let high = along.text(along.high);
    let tested = along.samples(identity.samples).len();
    let how = match identity.criterion.what() {
        what if all_have(boundaries, TestOutcome::Holds) => format!("{what} holds at all"),
        what if all_have(boundaries, TestOutcome::Fails) => format!("{what} fails at all"),
        what => format!("{what} holds at all or fails at all with each value of the other setting"),
    };
    let closer = if identity.unseen().is_some() { ", or look closer with --samples" } else { "" };
    format!(
        "there is no boundary with `{}` between {low} and {high}: of {tested} values asked, {how}; widen the range{closer}",
        key.visible()
    )
}

fn all_have(boundaries: &[Boundary], outcome: TestOutcome) -> bool {
    boundaries.iter().all(|boundary| boundary.outcome == outcome)
}
