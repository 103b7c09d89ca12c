//! What a search for a boundary leaves on disk.
//!
//! | file | content |
//! | --- | --- |
//! | `tip.json` | which search it is |
//! | `scenario.toml` | the scenario whose settings are changed, with every default filled in |
//! | `points.jsonl` | a line a value that was asked, in that order |
//! | `boundary.jsonl` | a line a value of the other setting, or one |

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kernel::{record::folder::SCENARIO, scenario::Scenario};
use serde::Serialize;
use sim::boundary::{Range, Rule};

use super::{Crossing, Point};

const TIP: &str = "tip.json";
const POINTS: &str = "points.jsonl";
const BOUNDARY: &str = "boundary.jsonl";

/// The content of `tip.json`.
#[derive(Debug, Serialize)]
pub(super) struct Identity<'a> {
    pub(super) version: &'a str,
    pub(super) scenario: &'a str,
    /// `expectations` or `recovery`.
    pub(super) judged: &'a str,
    pub(super) along: &'a Range,
    pub(super) and: Option<&'a Range>,
    /// That all values are on their side.
    pub(super) confidence: f64,
    pub(super) rule: Rule,
}

/// A place for it.
#[derive(Debug)]
pub(super) struct TipFolder {
    place: PathBuf,
}

impl TipFolder {
    /// At `place`, or at one of its own. What is there may be such a folder, which will be replaced, and nothing else.
    pub(super) fn prepare(place: Option<PathBuf>, scenario: &str, ranges: &[&Range]) -> Result<Self, String> {
        let keys: Vec<_> = ranges.iter().map(|range| range.key.replace('.', "-")).collect();
        let place =
            place.unwrap_or_else(|| Path::new("runs").join(scenario).join(format!("tip-{}", keys.join("-and-"))));
        let is_empty = || fs::read_dir(&place).is_ok_and(|mut entries| entries.next().is_none());
        if place.exists() && !place.join(TIP).is_file() && !is_empty() {
            let place = place.display();
            return Err(format!(
                "{place} exists and is no folder of a boundary; move it away, or choose another with --out"
            ));
        }
        Ok(Self { place })
    }

    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    pub(super) fn write(
        &self,
        identity: &Identity<'_>,
        scenario: &Scenario,
        points: &[Point],
        crossings: &[Crossing],
    ) -> Result<(), String> {
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.place)?;
            fs::write(self.place.join(SCENARIO), scenario.to_toml())?;
            fs::write(self.place.join(POINTS), lines(points)?)?;
            fs::write(self.place.join(BOUNDARY), lines(crossings)?)?;
            // Last: where it is, all is.
            fs::write(self.place.join(TIP), serde_json::to_string_pretty(identity)? + "\n")
        };
        write().map_err(|reason| {
            let place = self.place.display();
            format!("cannot write {place}: {reason}; choose another folder with --out")
        })
    }
}

fn lines<T: Serialize>(rows: &[T]) -> io::Result<String> {
    rows.iter().map(|row| Ok(serde_json::to_string(row)? + "\n")).collect()
}
