//! The folder of a threshold search.
//!
//! | file | content |
//! | --- | --- |
//! | `tip.json` | [`ThresholdIdentity`]: which search it is |
//! | `scenario.toml` | the scenario whose settings are changed, with every default filled in |
//! | `points.jsonl` | a [`Point`] for each value that was tested, in that order |
//! | `boundary.jsonl` | a [`Boundary`] for each one found; for a value of the second setting without one, a line that says so |

use std::{path::Path, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{Boundary, Point, ThresholdIdentity};
use crate::{
    input,
    json::pretty,
    run_folder::{
        Contents, Earlier, Files, FolderError, FolderKind, OsFiles, Place, Placed, RowKind, SCENARIO,
        lines::{JsonLines, UnfinishedLine, line},
        manifest::MANIFEST,
    },
};

const IDENTITY: &str = "tip.json";
const POINTS: &str = "points.jsonl";
const BOUNDARY: &str = "boundary.jsonl";
const FILES: [&str; 4] = [IDENTITY, SCENARIO, POINTS, BOUNDARY];

const REMEDY: &str = "search again with `sim tip`, which replaces the folder";

/// The words in which errors speak of the folder of a search.
static KIND: FolderKind = FolderKind {
    not_one: "no folder of a boundary",
    cannot: "write ",
    other_version: "is not what this version of the program writes",
    other_version_remedy: REMEDY,
    damaged_remedy: REMEDY,
};
static CONTENTS: Contents = Contents { kind: &KIND, holds: "tip", is_unlisted, is_precious: |_| false, is_abandoned };
static POINT: RowKind = RowKind { folder: &KIND, not_one: "not the result of a value" };
static BOUNDARY_ROW: RowKind = RowKind { folder: &KIND, not_one: "not a boundary" };

/// The content of a search's folder: the search, and what it found.
#[derive(Debug, Clone, PartialEq)]
pub struct ThresholdRecord {
    /// The search.
    pub identity: ThresholdIdentity,
    /// Text of `scenario.toml`.
    pub scenario: String,
    /// Results of the values, in the order in which they were tested; at least one.
    pub points: Vec<Point>,
    /// Boundaries by value of the second setting, then along the first; at least one.
    pub boundaries: Vec<Boundary>,
}

impl ThresholdRecord {
    /// Returns true if `place` is the folder of a search, complete or not.
    pub fn is_at(place: &Path) -> bool {
        [IDENTITY, POINTS].iter().any(|file| place.join(file).is_file())
    }

    /// Prepares to write a search to `place`, and keeps other processes from it.
    ///
    /// # Errors
    ///
    /// Returns an error if there is something else, or a search that was changed, if another process writes there, or if the
    /// operating system refuses.
    pub fn prepare(place: &Path, earlier: Earlier) -> Result<Place, FolderError> {
        Place::prepare(Arc::new(OsFiles), place, &CONTENTS, earlier)
    }

    /// Reads the folder at `place`.
    ///
    /// # Errors
    ///
    /// Returns an error if a file is missing, cannot be read, or contradicts another.
    pub fn read(place: &Path) -> Result<Self, FolderError> {
        let identity = read_identity(place)?;
        let scenario = text(&place.join(SCENARIO))?;
        let points = rows(&place.join(POINTS), &POINT, |point: &Point| point.contradiction(&identity))?;
        let boundaries =
            rows(&place.join(BOUNDARY), &BOUNDARY_ROW, |boundary: &Boundary| boundary.contradiction(&identity))?;
        Ok(Self { identity, scenario, points, boundaries })
    }

    /// Writes the folder to its `place`, where it replaces another search.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    pub fn write(&self, mut place: Place) -> Result<Placed, FolderError> {
        place.write_file(SCENARIO, self.scenario.as_bytes())?;
        place.write_file(POINTS, &lines(&self.points))?;
        place.write_file(BOUNDARY, &lines(&self.boundaries))?;
        place.write_file(IDENTITY, pretty(&self.identity).as_bytes())?;
        place.put_in_place()
    }
}

/// Returns whether the folder at `place` holds a search of a version of this program that wrote no manifest.
fn is_unlisted(place: &Path) -> bool {
    FILES.iter().all(|name| place.join(name).is_file())
        && !place.join(MANIFEST).exists()
        && read_identity(place).is_ok()
}

/// Returns whether at `staging` is what a killed process left, and nothing else.
fn is_abandoned(files: &dyn Files, staging: &Path) -> bool {
    let names = files.list(staging).unwrap_or_default();
    names.iter().all(|name| FILES.iter().chain([&MANIFEST]).any(|ours| name == ours) && staging.join(name).is_file())
}

fn read_identity(place: &Path) -> Result<ThresholdIdentity, FolderError> {
    let path = place.join(IDENTITY);
    serde_json::from_str(&text(&path)?).map_err(|reason| FolderError::OtherVersion { path, kind: &KIND, reason })
}

fn text(path: &Path) -> Result<String, FolderError> {
    input::read_text(path).map_err(KIND.missing_or_unreadable(path))
}

/// Returns the rows of a file, at least one. `contradiction` returns what is wrong with a row beside its form.
fn rows<T: DeserializeOwned>(
    path: &Path,
    kind: &'static RowKind,
    contradiction: impl Fn(&T) -> Option<&'static str>,
) -> Result<Vec<T>, FolderError> {
    let mut rows = Vec::new();
    let mut lines = JsonLines::open(&OsFiles, path, kind, UnfinishedLine::Read)?;
    while let Some(row) = lines.next() {
        let row = row?;
        if let Some(reason) = contradiction(&row) {
            return Err(lines.contradiction(reason));
        }
        rows.push(row);
    }
    if rows.is_empty() { Err(FolderError::Empty { path: path.to_owned(), kind: &KIND }) } else { Ok(rows) }
}

fn lines<T: Serialize>(rows: &[T]) -> Vec<u8> {
    rows.iter().flat_map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use tempfile::TempDir;

    use super::{super::sample::record, *};

    fn write(record: &ThresholdRecord, place: &Path, earlier: Earlier) -> Result<Placed, FolderError> {
        record.write(ThresholdRecord::prepare(place, earlier)?)
    }

    fn written(folder: &TempDir) -> PathBuf {
        let place = folder.path().join("runs/tip");
        write(&record(None), &place, Earlier::Force).unwrap();
        place
    }

    /// Returns the message about a folder one of whose files has other content, or is missing.
    fn damaged(folder: &TempDir, file: &str, content: Option<&str>) -> String {
        let place = written(folder);
        match content {
            Some(content) => fs::write(place.join(file), content).unwrap(),
            None => fs::remove_file(place.join(file)).unwrap(),
        }
        let message = ThresholdRecord::read(&place).unwrap_err().to_string();
        assert!(message.contains(&format!("runs/tip/{file}")) && message.contains("sim tip"), "{message}");
        message
    }

    #[test]
    fn a_folder_is_read_back_exactly() {
        let folder = TempDir::new().unwrap();
        for and in [None, Some("servers.workers=1..2")] {
            let place = folder.path().join("runs/tip");
            write(&record(and), &place, Earlier::Replace).unwrap();
            assert!(ThresholdRecord::is_at(&place));
            assert_eq!(ThresholdRecord::read(&place).unwrap(), record(and));
        }
    }

    #[test]
    fn a_damaged_file_is_named_with_its_line_and_the_remedy() {
        let folder = TempDir::new().unwrap();
        assert!(damaged(&folder, "points.jsonl", None).contains("points.jsonl is missing; search again"));
        assert!(damaged(&folder, "tip.json", None).contains("tip.json is missing; search again"));
        assert!(damaged(&folder, "scenario.toml", None).contains("scenario.toml is missing"));
        assert!(damaged(&folder, "points.jsonl", Some("")).contains("points.jsonl is empty"));
        assert!(
            damaged(&folder, "tip.json", Some("{}"))
                .contains("is not what this version of the program writes (missing field")
        );
        let whole = fs::read_to_string(written(&folder).join(BOUNDARY)).unwrap();
        let cut_off = format!("{whole}{{\"and\":nul");
        assert!(damaged(&folder, "boundary.jsonl", Some(&cut_off)).contains("boundary.jsonl:2 is not a boundary: "));
        let half = whole.replace("13.0", "null");
        assert!(
            damaged(&folder, "boundary.jsonl", Some(&half))
                .contains(":1 is not a boundary: `low` and `high` are both there")
        );
        let points = fs::read_to_string(written(&folder).join(POINTS)).unwrap();
        let of_none = points.replacen("\"runs\":5,\"passes\":4", "\"runs\":0,\"passes\":0", 1);
        assert!(
            damaged(&folder, "points.jsonl", Some(&of_none))
                .contains("points.jsonl:2 is not the result of a value: `passes`")
        );
        let of_two = points.replacen("\"and\":null", "\"and\":1.0", 1);
        assert!(
            damaged(&folder, "points.jsonl", Some(&of_two))
                .contains(":1 is not the result of a value: `and` is there if")
        );
    }

    #[test]
    fn a_folder_of_something_else_is_left_unchanged() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        for earlier in [Earlier::Replace, Earlier::Force] {
            let refused = write(&record(None), folder.path(), earlier);
            assert!(matches!(refused, Err(FolderError::Occupied { .. })), "{refused:?}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_search_replaces_another_but_nothing_that_somebody_changed() {
        let folder = TempDir::new().unwrap();
        let place = written(&folder);
        fs::write(place.join("thesis.txt"), "years of work").unwrap();
        write(&record(Some("servers.workers=1..2")), &place, Earlier::Replace).unwrap();
        assert_eq!(fs::read_to_string(place.join("thesis.txt")).unwrap(), "years of work");
        fs::write(place.join(POINTS), "my notes").unwrap();
        assert!(matches!(write(&record(None), &place, Earlier::Replace), Err(FolderError::Changed { .. })));
        fs::remove_file(place.join(MANIFEST)).unwrap();
        assert!(matches!(write(&record(None), &place, Earlier::Replace), Err(FolderError::Unlisted { .. })));
        write(&record(None), &place, Earlier::Force).unwrap();
        assert_eq!(ThresholdRecord::read(&place).unwrap(), record(None));
        assert_eq!(fs::read_to_string(place.join("thesis.txt")).unwrap(), "years of work");
        assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 1);
    }
}
