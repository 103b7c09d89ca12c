//! The folder of a sweep.
//!
//! | file | content |
//! | --- | --- |
//! | `sweep.json` | [`SweepIdentity`]: which runs these are |
//! | `scenario.toml` | the scenario that is varied, with every default filled in |
//! | `runs.jsonl` | [`RunRow`]s, by variant, then seed |
//! | `progress.jsonl` | rows in the order in which runs ended, while there are more to come |
//!
//! A folder with a `sweep.json` has been started. Rows that are in both files are the same.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{RunRow, SweepIdentity, SweepReport};
use crate::{
    input,
    json::pretty,
    run_folder::{
        Files, FolderError, FolderKind, OsFiles, RowKind, SCENARIO,
        atomic::{self, is_staging_of},
        lines::{JsonLines, UnfinishedLine, line},
    },
    visible::Visible,
};

const IDENTITY: &str = "sweep.json";
/// Name of the file with the rows in order.
pub(super) const RUNS: &str = "runs.jsonl";
/// Name of the file with the rows of an unfinished sweep, in the order in which runs ended.
pub(super) const PROGRESS: &str = "progress.jsonl";
pub(super) const FILES: [&str; 4] = [SCENARIO, IDENTITY, RUNS, PROGRESS];

/// The words in which errors speak of the folder of a sweep.
pub(super) static KIND: FolderKind = FolderKind {
    not_one: "not a folder of many runs",
    cannot: "use the folder of runs: ",
    other_version: "is of another version of this program",
    other_version_remedy: "play its runs again into another folder",
    damaged_remedy: "remove the file, and its runs are played again",
};
static ROW: RowKind = RowKind { folder: &KIND, not_one: "not the row of a run" };

/// The content of a sweep's folder: as many of its runs as there are yet.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepRecord {
    /// Runs that the folder is for.
    pub identity: SweepIdentity,
    /// Text of `scenario.toml`.
    pub scenario: String,
    /// Rows in order of variant, then seed.
    pub rows: Vec<RunRow>,
}

/// Reason why the folder of a sweep cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The folder or one of its files is wrong, or the operating system refuses.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The folder is of another sweep.
    #[error("{path} holds other runs: {difference}; move it away, or choose another folder with --out", path = path.visible())]
    OtherRuns {
        /// The folder.
        path: PathBuf,
        /// The difference, in words.
        difference: String,
    },
    /// The folder has no file that says which runs it holds.
    #[error("{path} is not a folder of many runs: it has no {IDENTITY}; name one that `sim SCENARIO --seeds 0..100` wrote", path = path.visible())]
    NotASweep {
        /// The folder.
        path: PathBuf,
    },
    /// A row is of a run that the folder is not for.
    #[error("{path} has a run that is not of its sweep, variant {variant} with seed {seed}; remove the file, and its runs are played again", path = path.visible())]
    Stray {
        /// The file.
        path: PathBuf,
        /// Variant of the row.
        variant: usize,
        /// Seed of the row.
        seed: u64,
    },
    /// Another process is writing to the folder.
    #[error("{path} is being filled by another process; wait for it, or choose another folder with --out", path = path.visible())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

impl SweepRecord {
    /// Returns true if `place` is the folder of a sweep.
    pub fn is_at(place: &Path) -> bool {
        place.join(IDENTITY).is_file()
    }

    /// Reads the folder at `place`.
    ///
    /// # Errors
    ///
    /// Returns an error if `place` is not the folder of a sweep, a file cannot be read, or a row is of another sweep.
    pub fn read(place: &Path) -> Result<Self, SweepError> {
        let identity = read_identity(place)?.ok_or_else(|| SweepError::NotASweep { path: place.to_owned() })?;
        let path = place.join(SCENARIO);
        let scenario = input::read_text(&path).map_err(FolderError::unreadable(&path))?;
        let mut rows = BTreeMap::new();
        for path in [RUNS, PROGRESS].map(|file| place.join(file)) {
            for row in read_rows(&OsFiles, &path)? {
                // The rows of another sweep would change the statistics without anyone noticing.
                if !identity.contains(&row) {
                    return Err(SweepError::Stray { path, variant: row.variant, seed: row.seed });
                }
                rows.insert(row.key(), row);
            }
        }
        Ok(Self { identity, scenario, rows: rows.into_values().collect() })
    }

    /// Writes the folder, in place of one of the same runs.
    ///
    /// # Errors
    ///
    /// Returns an error if `place` has something else, or the operating system refuses.
    pub fn write(&self, place: &Path) -> Result<(), SweepError> {
        prepare(&OsFiles, place, &self.identity, &self.scenario)?;
        Ok(write_rows(&OsFiles, place, &self.rows)?)
    }

    /// Returns the report of the runs. `replay` returns the command that repeats a run alone.
    pub fn report<'a>(&'a self, replay: &'a dyn Fn(&RunRow) -> String) -> SweepReport<'a> {
        let SweepIdentity { scenario, world, seeds, shard, variants, .. } = &self.identity;
        SweepReport {
            scenario,
            world,
            seeds: *seeds,
            shard: *shard,
            variants,
            rows: &self.rows,
            planned: usize::try_from(self.identity.runs()).unwrap_or(usize::MAX),
            replay,
        }
    }
}

/// Creates the folder at `place` for the runs of `identity`, unless it exists already; `scenario` is the text of its
/// scenario.
///
/// # Errors
///
/// Returns an error if `place` has something else, or the operating system refuses.
pub(super) fn prepare(
    files: &dyn Files,
    place: &Path,
    identity: &SweepIdentity,
    scenario: &str,
) -> Result<(), SweepError> {
    if !may_be_used(files, place) {
        return Err(FolderError::Occupied { path: place.to_owned(), kind: &KIND }.into());
    }
    match read_identity(place)? {
        None => Ok(start(files, place, identity, scenario)?),
        Some(found) => found
            .difference(identity)
            .map_or(Ok(()), |difference| Err(SweepError::OtherRuns { path: place.to_owned(), difference })),
    }
}

/// Returns true if nothing is there, or a folder with nothing but the files of a sweep.
fn may_be_used(files: &dyn Files, place: &Path) -> bool {
    // Nothing can be lost where nothing is. A link to nowhere is something.
    if fs::symlink_metadata(place).is_err() {
        return true;
    }
    // The folder of a single run has a scenario, too, and other files.
    SweepRecord::is_at(place)
        || files.list(place).is_ok_and(|names| {
            names.iter().all(|name| FILES.iter().any(|file| name == file || is_staging_of(name, file.as_ref())))
        })
}

/// Returns the identity of the sweep in `place`; `None` if there is no folder, or none of a sweep.
fn read_identity(place: &Path) -> Result<Option<SweepIdentity>, FolderError> {
    let path = place.join(IDENTITY);
    match input::read(&path) {
        Ok(content) => serde_json::from_slice(&content).map(Some).map_err(|reason| FolderError::OtherVersion {
            path,
            kind: &KIND,
            reason,
        }),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(reason) => Err(FolderError::Unreadable { path, reason }),
    }
}

/// Writes what the folder is for. The identity is last, as a folder that has one is complete but for its rows.
fn start(files: &dyn Files, place: &Path, identity: &SweepIdentity, scenario: &str) -> Result<(), FolderError> {
    files.create_folder(place).map_err(KIND.unwritable(place))?;
    replace(files, &place.join(SCENARIO), scenario.as_bytes())?;
    replace(files, &place.join(IDENTITY), pretty(identity).as_bytes())
}

/// Returns the rows of a file without a last line that was cut off; none if there is no file.
///
/// # Errors
///
/// Returns an error if a line is no row, or the operating system refuses.
pub(super) fn read_rows(files: &dyn Files, path: &Path) -> Result<Vec<RunRow>, FolderError> {
    match JsonLines::open(files, path, &ROW, UnfinishedLine::Skip) {
        // A sweep that has just started has no rows, and one that has ended no progress.
        Err(FolderError::Missing { .. }) => Ok(Vec::new()),
        rows => rows?.collect(),
    }
}

/// Writes `rows`, which are in order, as those of the folder at `place`.
///
/// # Errors
///
/// Returns an error if the operating system refuses.
pub(super) fn write_rows<'a>(
    files: &dyn Files,
    place: &Path,
    rows: impl IntoIterator<Item = &'a RunRow>,
) -> Result<(), FolderError> {
    let lines: Vec<u8> = rows.into_iter().flat_map(line).collect();
    replace(files, &place.join(RUNS), &lines)
}

fn replace(files: &dyn Files, path: &Path, content: &[u8]) -> Result<(), FolderError> {
    atomic::write(files, path, content).map_err(KIND.unwritable(path))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::experiment::sweep::{
        Seeds,
        sample::{identity, row},
    };

    fn runs(seeds: impl IntoIterator<Item = u64>) -> SweepRecord {
        let rows = seeds.into_iter().map(|seed| row(&identity(), 0, seed)).collect();
        SweepRecord { identity: identity(), scenario: "name = \"short\"\n".to_owned(), rows }
    }

    fn message(folder: &TempDir) -> String {
        SweepRecord::read(folder.path()).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_is_read_back_exactly() {
        let folder = TempDir::new().unwrap();
        let place = folder.path().join("runs/short");
        assert!(!SweepRecord::is_at(&place));
        runs(0..10).write(&place).unwrap();
        assert!(SweepRecord::is_at(&place));
        assert_eq!(SweepRecord::read(&place).unwrap(), runs(0..10));
        assert_eq!(fs::read_dir(&place).unwrap().count(), 3);
    }

    #[test]
    fn rows_of_the_progress_are_read_but_for_a_line_that_is_cut_off() {
        let folder = TempDir::new().unwrap();
        runs([1, 4]).write(folder.path()).unwrap();
        let progress = [line(&row(&identity(), 0, 7)), line(&row(&identity(), 0, 2)), b"{\"variant\":0,\"se".to_vec()];
        fs::write(folder.path().join(PROGRESS), progress.concat()).unwrap();
        assert_eq!(SweepRecord::read(folder.path()).unwrap(), runs([1, 2, 4, 7]));
    }

    #[test]
    fn only_a_folder_of_the_same_runs_is_replaced() {
        let folder = TempDir::new().unwrap();
        let place = folder.path().join("sweep");
        runs(0..3).write(&place).unwrap();
        runs(0..10).write(&place).unwrap();
        assert_eq!(SweepRecord::read(&place).unwrap().rows.len(), 10);
        let others = SweepIdentity { seeds: Seeds { start: 0, end: 5 }, ..identity() };
        let error = SweepRecord { identity: others, ..runs(0..5) }.write(&place).unwrap_err().to_string();
        assert!(error.contains("holds other runs: its range of seeds is 0..10, not 0..5;"), "{error}");

        let thesis = folder.path().join("thesis.txt");
        fs::write(&thesis, "years of work").unwrap();
        for precious in [folder.path(), &thesis] {
            assert!(matches!(runs(0..3).write(precious), Err(SweepError::Folder(FolderError::Occupied { .. }))));
        }
        assert!(matches!(
            runs(0..3).write(&thesis.join("runs")),
            Err(SweepError::Folder(FolderError::Unwritable { .. }))
        ));
    }

    #[test]
    fn an_error_names_the_file_and_the_remedy() {
        let folder = TempDir::new().unwrap();
        assert!(message(&folder).contains("it has no sweep.json; name one that `sim SCENARIO --seeds 0..100` wrote"));
        runs(0..3).write(folder.path()).unwrap();
        fs::write(folder.path().join(RUNS), line(&row(&identity(), 0, 10))).unwrap();
        assert!(message(&folder).contains("runs.jsonl has a run that is not of its sweep, variant 0 with seed 10;"));
        fs::write(folder.path().join(RUNS), [line(&row(&identity(), 0, 1)), b"{}\n".to_vec()].concat()).unwrap();
        assert!(message(&folder).contains("runs.jsonl:2 is not the row of a run: missing field"));
        fs::write(folder.path().join(IDENTITY), "{}").unwrap();
        assert!(message(&folder).contains("sweep.json is of another version of this program (missing field"));
    }
}
