//! What a search for boundaries leaves on disk.
//!
//! | file | content |
//! | --- | --- |
//! | `tip.json` | [`Identity`]: which search it is |
//! | `scenario.toml` | the scenario whose settings are changed, with every default filled in |
//! | `points.jsonl` | a [`Point`] a value that was asked, in that order |
//! | `boundary.jsonl` | a [`Crossing`] a boundary; of a value of the other setting that has none, one that says so |

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Ballot, Range, Rule, Side};
use crate::{
    cli::RunArgs,
    experiment::sweep::Origin,
    run_folder::{CalibrationInfo, SCENARIO},
};

const IDENTITY: &str = "tip.json";
const POINTS: &str = "points.jsonl";
const BOUNDARY: &str = "boundary.jsonl";
const FILES: [&str; 4] = [IDENTITY, SCENARIO, POINTS, BOUNDARY];
/// What to do with a folder that is not whole.
const AGAIN: &str = "search again with `sim tip`, which replaces the folder";

/// A search for boundaries, and what it found.
#[derive(Debug, Clone, PartialEq)]
pub struct Tip {
    pub identity: Identity,
    /// The text of `scenario.toml`.
    pub scenario: String,
    /// In the order in which they were asked, at least one.
    pub points: Vec<Point>,
    /// By the value of the other setting, then along the first; at least one.
    pub crossings: Vec<Crossing>,
}

/// The content of `tip.json`: which search it is, and how one of its runs is played alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// `sim`.
    pub world: String,
    /// Of the program.
    pub version: String,
    /// The scenario's name.
    pub scenario: String,
    pub judged: Judged,
    pub along: Range,
    /// The other setting; null if there is none.
    pub and: Option<Range>,
    /// Values along the range that are asked first, of each value of the other setting.
    pub samples: u64,
    /// That all values are on their side.
    pub confidence: f64,
    pub rule: Rule,
    /// The seed of the first run of each value.
    pub from_seed: u64,
    pub calibration: CalibrationInfo,
    pub origin: Origin,
}

/// What of a run decides on which side it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judged {
    /// What the scenario expects.
    Expectations,
    /// Whether it recovers from every fault.
    Recovery,
}

impl Judged {
    /// What holds or fails, in words.
    pub fn what(self) -> &'static str {
        match self {
            Self::Expectations => "what the scenario expects",
            Self::Recovery => "recovery",
        }
    }
}

/// What came of one value: a line of `points.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// In seconds if it is a time, as all values are.
    pub along: f64,
    pub and: Option<f64>,
    /// Each a `key=value` as `--set` takes it.
    pub settings: Vec<String>,
    pub runs: u64,
    pub passes: u64,
    pub side: Side,
    /// Whether that is as sure as it is to be; otherwise it is what most runs say.
    pub decided: bool,
    /// The first on that side.
    pub seed: u64,
}

impl Point {
    pub fn ballot(&self) -> Ballot {
        Ballot { runs: self.runs, passes: self.passes }
    }
}

/// A boundary, or that there is none: a line of `boundary.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Crossing {
    pub and: Option<f64>,
    /// The two neighbours that differ; null if all of the range is on one side.
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// Of `low`, or of all.
    pub side: Side,
}

impl Crossing {
    /// The two neighbours that differ.
    pub fn between(&self) -> Option<(f64, f64)> {
        self.low.zip(self.high)
    }
}

/// Why a folder of a search cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TipError {
    /// There is something that is no such folder.
    #[error("{path} exists and is no folder of a boundary; move it away, or choose another with --out", path = path.display())]
    Occupied {
        /// What is in the way.
        path: PathBuf,
    },
    /// A file is missing.
    #[error("{path} is missing; {AGAIN}", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Another version of the program wrote it, or it is damaged.
    #[error("{path} is not what this version of the program writes ({reason}); {AGAIN}", path = path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: serde_json::Error,
    },
    /// A line is not what it should be.
    #[error("{path}:{line} is {what}: {reason}; {AGAIN}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What it is not.
        what: &'static str,
        /// What the parser says, or what does not go together.
        reason: String,
    },
    /// There is no line.
    #[error("{path} is empty; {AGAIN}", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The operating system does not let it be read.
    #[error("cannot read {path}: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        reason: io::Error,
    },
    /// The operating system does not let it be written.
    #[error("cannot write {path}: {reason}; choose another folder with --out", path = path.display())]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's words.
        reason: io::Error,
    },
}

impl Identity {
    /// Where the search is put unless it is said otherwise.
    pub fn default_place(scenario: &str, along: &Range, and: Option<&Range>) -> PathBuf {
        let keys: Vec<_> = [along].into_iter().chain(and).map(|range| range.key.replace('.', "-")).collect();
        Path::new("runs").join(scenario).join(format!("tip-{}", keys.join("-and-")))
    }

    /// The command that plays a run that is on the side of `point`.
    pub fn replay(&self, point: &Point) -> String {
        let Origin { scenario, overrides, calibration } = &self.origin;
        let args = RunArgs {
            scenario: PathBuf::from(scenario),
            seed: point.seed,
            out: None,
            overrides: overrides.iter().chain(&point.settings).cloned().collect(),
            json: false,
        };
        let calibration = calibration.iter().flat_map(|file| ["--calibration".to_owned(), file.clone()]);
        args.replay(&format!("cargo run -p {} --", self.world), &calibration.collect::<Vec<_>>())
    }
}

impl Tip {
    /// Whether `place` is the folder of a search, whole or not.
    pub fn is_at(place: &Path) -> bool {
        [IDENTITY, POINTS].iter().any(|file| place.join(file).is_file())
    }

    /// Whether a search may be written to `place`: there is nothing, or another search.
    ///
    /// # Errors
    /// There is something else.
    pub fn prepare(place: &Path) -> Result<(), TipError> {
        let ours = |entry: io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| FILES.iter().any(|file| entry.file_name() == *file))
        };
        // A run folder has a scenario too, and more.
        let is_ours = || fs::read_dir(place).is_ok_and(|mut entries| Self::is_at(place) || entries.all(ours));
        if fs::symlink_metadata(place).is_err() || is_ours() {
            return Ok(());
        }
        Err(TipError::Occupied { path: place.to_owned() })
    }

    /// What is in the folder at `place`.
    ///
    /// # Errors
    /// A file is missing, or not what it should be.
    pub fn read(place: &Path) -> Result<Self, TipError> {
        let path = place.join(IDENTITY);
        let identity = serde_json::from_str(&text(&path)?).map_err(|reason| TipError::OtherVersion { path, reason })?;
        let scenario = text(&place.join(SCENARIO))?;
        let points = rows(&place.join(POINTS), "not what came of a value", |point| wrong_point(&identity, point))?;
        let crossings = rows(&place.join(BOUNDARY), "not a boundary", |crossing| wrong_crossing(&identity, crossing))?;
        Ok(Self { identity, scenario, points, crossings })
    }

    /// Writes the folder at `place`, in place of another search.
    ///
    /// # Errors
    /// There is something else, or the operating system refuses.
    pub fn write(&self, place: &Path) -> Result<(), TipError> {
        Self::prepare(place)?;
        let write = |file: &str, content: String| {
            let path = place.join(file);
            fs::write(&path, content).map_err(unwritable(&path))
        };
        fs::create_dir_all(place).map_err(unwritable(place))?;
        let identity = place.join(IDENTITY);
        if identity.exists() {
            fs::remove_file(&identity).map_err(unwritable(&identity))?;
        }
        write(SCENARIO, self.scenario.clone())?;
        write(POINTS, lines(&self.points))?;
        write(BOUNDARY, lines(&self.crossings))?;
        // Last: where it is, all is.
        write(IDENTITY, serde_json::to_string_pretty(&self.identity).expect("plain data is always written") + "\n")
    }
}

/// What does not go together in it.
fn wrong_point(identity: &Identity, point: &Point) -> Option<&'static str> {
    if point.and.is_some() != identity.and.is_some() {
        return Some("`and` is there if there is a second setting, and only then");
    }
    (point.runs == 0 || point.passes > point.runs).then_some("`passes` are of `runs`, of which there is at least one")
}

fn wrong_crossing(identity: &Identity, crossing: &Crossing) -> Option<&'static str> {
    if crossing.and.is_some() != identity.and.is_some() {
        return Some("`and` is there if there is a second setting, and only then");
    }
    match (crossing.low, crossing.high) {
        (Some(low), Some(high)) => (low >= high).then_some("`low` is below `high`"),
        (None, None) => None,
        _ => Some("`low` and `high` are both there, or neither"),
    }
}

fn text(path: &Path) -> Result<String, TipError> {
    fs::read_to_string(path).map_err(|reason| match reason.kind() {
        io::ErrorKind::NotFound => TipError::Missing { path: path.to_owned() },
        _ => TipError::Unreadable { path: path.to_owned(), reason },
    })
}

/// The rows of a file, each of which is in order unless `wrong` says why not.
fn rows<T: DeserializeOwned>(
    path: &Path,
    what: &'static str,
    wrong: impl Fn(&T) -> Option<&'static str>,
) -> Result<Vec<T>, TipError> {
    let text = text(path)?;
    let row = |(line, text): (usize, &str)| {
        let row: Result<T, String> = serde_json::from_str(text).map_err(|reason| reason.to_string());
        let row = row.and_then(|row| wrong(&row).map_or(Ok(row), |reason| Err(reason.to_owned())));
        row.map_err(|reason| TipError::Malformed { path: path.to_owned(), line, what, reason })
    };
    let rows = (1..).zip(text.lines()).map(row).collect::<Result<Vec<_>, _>>()?;
    if rows.is_empty() { Err(TipError::Empty { path: path.to_owned() }) } else { Ok(rows) }
}

fn lines<T: Serialize>(rows: &[T]) -> String {
    rows.iter().map(|row| serde_json::to_string(row).expect("plain data is always written") + "\n").collect()
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> TipError {
    let path = path.to_owned();
    move |reason| TipError::Unwritable { path, reason }
}

#[cfg(test)]
pub(super) mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A search along the load, with and without the number of workers.
    pub(in crate::experiment::threshold) fn tip(and: Option<&str>) -> Tip {
        let point = |along: f64, and: Option<f64>, passes: u64| Point {
            along,
            and,
            settings: vec![format!("load.rate={along}")],
            runs: 5,
            passes,
            side: if passes > 2 { Side::Holds } else { Side::Fails },
            decided: passes.is_multiple_of(5),
            seed: 3,
        };
        let others = if and.is_some() { vec![Some(1.0), Some(2.0)] } else { vec![None] };
        let of = |and: Option<f64>| {
            [(10.0, 5), (12.0, 4), (13.0, 0), (30.0, 0)].map(|(along, runs)| point(along, and, runs))
        };
        let crossing = |and| Crossing { and, low: Some(12.0), high: Some(13.0), side: Side::Holds };
        Tip {
            identity: Identity {
                world: "sim".to_owned(),
                version: "1".to_owned(),
                scenario: "short".to_owned(),
                judged: Judged::Recovery,
                along: "load.rate=10..30".parse().unwrap(),
                and: and.map(|and| and.parse().unwrap()),
                samples: 6,
                confidence: 0.95,
                rule: Rule { lead: 5, runs_max: 5 },
                from_seed: 0,
                calibration: CalibrationInfo { name: "default".to_owned(), sha256: String::new() },
                origin: Origin {
                    scenario: "my stories/short.toml".to_owned(),
                    overrides: vec!["load.arrivals=poisson".to_owned()],
                    calibration: Some("here.toml".to_owned()),
                },
            },
            scenario: "name = \"short\"\n".to_owned(),
            points: others.iter().flat_map(|and| of(*and)).collect(),
            crossings: others.iter().map(|and| crossing(*and)).collect(),
        }
    }

    fn written(folder: &TempDir) -> PathBuf {
        let place = folder.path().join("runs/tip");
        tip(None).write(&place).unwrap();
        place
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = TempDir::new().unwrap();
        for and in [None, Some("servers.workers=1..2")] {
            let place = folder.path().join("runs/tip");
            tip(and).write(&place).unwrap();
            assert!(Tip::is_at(&place));
            assert_eq!(Tip::read(&place).unwrap(), tip(and));
        }
    }

    #[test]
    fn what_is_not_whole_is_named_with_its_line() {
        let folder = TempDir::new().unwrap();
        let damaged = |file: &str, content: Option<&str>| {
            let place = written(&folder);
            match content {
                Some(content) => fs::write(place.join(file), content).unwrap(),
                None => fs::remove_file(place.join(file)).unwrap(),
            }
            let message = Tip::read(&place).unwrap_err().to_string();
            assert!(message.contains(&format!("runs/tip/{file}")) && message.contains("sim tip"), "{message}");
            message
        };
        assert!(damaged("points.jsonl", None).contains("points.jsonl is missing; search again"));
        assert!(damaged("tip.json", None).contains("tip.json is missing; search again"));
        assert!(damaged("scenario.toml", None).contains("scenario.toml is missing"));
        assert!(damaged("points.jsonl", Some("")).contains("points.jsonl is empty"));
        assert!(
            damaged("tip.json", Some("{}")).contains("is not what this version of the program writes (missing field")
        );
        let whole = fs::read_to_string(written(&folder).join(BOUNDARY)).unwrap();
        let cut_off = format!("{whole}{{\"and\":nul");
        assert!(damaged("boundary.jsonl", Some(&cut_off)).contains("boundary.jsonl:2 is not a boundary: "));
        let half = whole.replace("13.0", "null");
        assert!(
            damaged("boundary.jsonl", Some(&half)).contains(":1 is not a boundary: `low` and `high` are both there")
        );
        let points = fs::read_to_string(written(&folder).join(POINTS)).unwrap();
        let of_none = points.replacen("\"runs\":5,\"passes\":4", "\"runs\":0,\"passes\":0", 1);
        assert!(
            damaged("points.jsonl", Some(&of_none)).contains("points.jsonl:2 is not what came of a value: `passes`")
        );
        let of_two = points.replacen("\"and\":null", "\"and\":1.0", 1);
        assert!(damaged("points.jsonl", Some(&of_two)).contains(":1 is not what came of a value: `and` is there if"));
    }

    #[test]
    fn what_is_no_search_is_left_alone() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        assert!(matches!(tip(None).write(folder.path()), Err(TipError::Occupied { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // What an interrupted search left is replaced.
        let place = written(&folder);
        fs::remove_file(place.join(IDENTITY)).unwrap();
        tip(None).write(&place).unwrap();
    }

    #[test]
    fn a_run_is_replayed_with_its_settings_behind_those_of_all() {
        let tip = tip(None);
        assert_eq!(
            tip.identity.replay(&tip.points[0]),
            "cargo run -p sim -- 'my stories/short.toml' --seed 3 --set load.arrivals=poisson --set load.rate=10 \
             --calibration here.toml"
        );
    }
}
