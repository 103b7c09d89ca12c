//! The folder of a sweep.
//!
//! | file | content |
//! | --- | --- |
//! | `sweep.json` | [`SweepIdentity`]: which runs these are |
//! | `scenario.toml` | the scenario that is varied, with every default filled in |
//! | `runs.jsonl` | [`RunRow`]s, by variant, then seed, each with a checksum |
//! | `progress.jsonl` | the same rows in the order in which runs ended, while there are more to come |
//!
//! A folder with a `sweep.json` has been started. Rows that are in both files are the same.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    OpenSweepFolder, RunRow, SweepIdentity, SweepReport,
    checked_rows::{self, Chain, Unchecked},
};
use crate::{
    coverage::CoverageTally,
    input,
    json::pretty,
    run_folder::{
        Earlier, Files, FolderError, FolderKind, OsFiles, RowKind, SCENARIO,
        atomic::{self, is_staging_of},
        manifest::is_file,
        replace::is_absent,
    },
    scenario::Scenario,
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
pub(super) static ROW: RowKind = RowKind { folder: &KIND, not_one: "not the row of a run" };

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
    #[error("{path} holds other runs: {difference}; move it away, or choose another folder with --out", difference = difference.visible(), path = path.visible())]
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
        let rows = checked_rows::read(&OsFiles, place, &identity, Unchecked::Read)?;
        Ok(Self { identity, scenario, rows: rows.into_values().collect() })
    }

    /// Writes the folder, in place of one of the same runs, or of any sweep if `earlier` is [`Earlier::Force`].
    ///
    /// # Errors
    ///
    /// Returns an error if `place` has something else, another process writes to it, or the operating system refuses.
    pub fn write(&self, place: &Path, earlier: Earlier) -> Result<(), SweepError> {
        let mut folder = OpenSweepFolder::open(place, &self.identity, &self.scenario, earlier)?;
        folder.replace_rows(self.rows.clone());
        folder.close().map(drop).map_err(SweepError::from)
    }

    /// Returns the states that the runs reached. Without a valid scenario it is not known which they could have reached.
    fn coverage(&self) -> CoverageTally {
        let variants = self.identity.variants.iter();
        let scenarios: Vec<Option<Scenario>> =
            variants.map(|settings| Scenario::parse(SCENARIO, &self.scenario, settings).ok()).collect();
        let mut tally = CoverageTally::default();
        for row in &self.rows {
            if let (Some(Some(scenario)), Some(reached)) = (scenarios.get(row.variant), &row.reached) {
                tally.add(scenario, reached);
            }
        }
        tally
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
            coverage: self.coverage(),
            replay,
        }
    }
}

/// The present content of the folder that a sweep writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or what a process left that was killed before the folder was begun.
    Nothing,
    /// A folder of the same runs.
    Same,
    /// A folder of a sweep to replace.
    Replaced,
}

/// Finds out whether the runs of `identity` may go to `place`; `scenario` is the text of their scenario.
///
/// # Errors
///
/// Returns an error if `place` has something else, or the operating system refuses.
pub(super) fn examine(
    files: &dyn Files,
    place: &Path,
    identity: &SweepIdentity,
    scenario: &str,
    earlier: Earlier,
) -> Result<Found, SweepError> {
    if !SweepRecord::is_at(place) {
        return match is_begun(files, place, scenario) {
            true => Ok(Found::Nothing),
            false => Err(FolderError::Occupied { path: place.to_owned(), kind: &KIND }.into()),
        };
    }
    // Links would lead to files of others.
    if let Some(path) = FILES.map(|name| place.join(name)).into_iter().find(|path| !is_absent(path) && !is_file(path)) {
        return Err(FolderError::Occupied { path, kind: &KIND }.into());
    }
    if earlier == Earlier::Force {
        return Ok(Found::Replaced);
    }
    let found = read_identity(place)?.ok_or_else(|| SweepError::NotASweep { path: place.to_owned() })?;
    if let Some(difference) = found.difference(identity) {
        return Err(SweepError::OtherRuns { path: place.to_owned(), difference });
    }
    let path = place.join(SCENARIO);
    match input::read_text(&path) {
        Ok(text) if text == scenario => Ok(Found::Same),
        Ok(_) => Err(FolderError::Changed { path }.into()),
        Err(reason) => Err(KIND.missing_or_unreadable(&path)(reason).into()),
    }
}

/// Returns whether there is nothing at `place`, or at most what a process left that was killed before it had written which runs
/// the folder is for. A `scenario.toml` with another content is a file of somebody else.
fn is_begun(files: &dyn Files, place: &Path, scenario: &str) -> bool {
    if is_absent(place) {
        return true;
    }
    let is_ours = |name: &OsString| {
        let path = place.join(name);
        let is_same = name == SCENARIO && input::read_text(&path).is_ok_and(|text| text == scenario);
        let is_empty = name == PROGRESS && fs::metadata(&path).is_ok_and(|found| found.len() == 0);
        is_file(&path) && (is_same || is_empty || FILES.iter().any(|file| is_staging_of(name, file.as_ref())))
    };
    files.list(place).is_ok_and(|names| names.iter().all(is_ours))
}

/// Removes which runs the folder is for, and their rows but for the progress, which is the lock. Without its identity a folder is
/// not one of a sweep, so that a kill in between leaves no rows of other runs.
pub(super) fn remove_rows(files: &dyn Files, place: &Path) -> Result<(), FolderError> {
    for path in [RUNS, SCENARIO, IDENTITY].map(|name| place.join(name)) {
        if !is_absent(&path) {
            files.remove_file(&path).map_err(KIND.unwritable(&path))?;
        }
    }
    Ok(())
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
pub(super) fn start(
    files: &dyn Files,
    place: &Path,
    identity: &SweepIdentity,
    scenario: &str,
) -> Result<(), FolderError> {
    replace(files, &place.join(SCENARIO), scenario.as_bytes())?;
    replace(files, &place.join(IDENTITY), pretty(identity).as_bytes())
}

/// Writes `rows`, which are in order, as those of the folder at `place` for the runs of `identity`.
///
/// # Errors
///
/// Returns an error if the operating system refuses.
pub(super) fn write_rows<'a>(
    files: &dyn Files,
    place: &Path,
    identity: &SweepIdentity,
    rows: impl IntoIterator<Item = &'a RunRow>,
) -> Result<(), FolderError> {
    let mut chain = Chain::new(identity, RUNS);
    let lines: Vec<u8> = rows.into_iter().flat_map(|row| chain.line(row)).collect();
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
        runs(0..10).write(&place, Earlier::Replace).unwrap();
        assert!(SweepRecord::is_at(&place));
        assert_eq!(SweepRecord::read(&place).unwrap(), runs(0..10));
        assert_eq!(fs::read_dir(&place).unwrap().count(), 3);
    }

    #[test]
    fn rows_of_the_progress_are_read_but_for_a_line_that_is_cut_off() {
        let folder = TempDir::new().unwrap();
        runs([1, 4]).write(folder.path(), Earlier::Replace).unwrap();
        let mut chain = Chain::new(&identity(), PROGRESS);
        let progress = [7, 2].map(|seed| chain.line(&row(&identity(), 0, seed)));
        let progress = [progress.concat(), b"{\"variant\":0,\"se".to_vec()];
        fs::write(folder.path().join(PROGRESS), progress.concat()).unwrap();
        assert_eq!(SweepRecord::read(folder.path()).unwrap(), runs([1, 2, 4, 7]));
    }

    #[test]
    fn only_a_folder_of_the_same_runs_is_replaced() {
        let folder = TempDir::new().unwrap();
        let place = folder.path().join("sweep");
        runs(0..3).write(&place, Earlier::Replace).unwrap();
        runs(0..10).write(&place, Earlier::Replace).unwrap();
        assert_eq!(SweepRecord::read(&place).unwrap().rows.len(), 10);
        let others = SweepIdentity { seeds: Seeds { start: 0, end: 5 }, ..identity() };
        let error =
            SweepRecord { identity: others, ..runs(0..5) }.write(&place, Earlier::Replace).unwrap_err().to_string();
        assert!(error.contains("holds other runs: its range of seeds is 0..10, not 0..5;"), "{error}");
        let others = SweepIdentity { seeds: Seeds { start: 0, end: 5 }, ..identity() };
        fs::write(place.join("thesis.txt"), "years of work").unwrap();
        SweepRecord { identity: others, ..runs(0..5) }.write(&place, Earlier::Force).unwrap();
        assert_eq!(SweepRecord::read(&place).unwrap().rows.len(), 5);
        assert!(place.join("thesis.txt").is_file());

        let thesis = folder.path().join("thesis.txt");
        fs::write(&thesis, "years of work").unwrap();
        // The folder of a scenario is not that of its runs.
        let scenarios = folder.path().join("scenarios");
        fs::create_dir(&scenarios).unwrap();
        fs::write(scenarios.join(SCENARIO), "name = \"mine\"\n").unwrap();
        for precious in [folder.path(), &thesis, &scenarios] {
            assert!(matches!(
                runs(0..3).write(precious, Earlier::Replace),
                Err(SweepError::Folder(FolderError::Occupied { .. }))
            ));
        }
        assert!(matches!(
            runs(0..3).write(&thesis.join("runs"), Earlier::Replace),
            Err(SweepError::Folder(FolderError::Unwritable { .. }))
        ));
    }

    #[test]
    fn an_error_names_the_file_and_the_remedy() {
        let folder = TempDir::new().unwrap();
        assert!(message(&folder).contains("it has no sweep.json; name one that `sim SCENARIO --seeds 0..100` wrote"));
        runs(0..3).write(folder.path(), Earlier::Replace).unwrap();
        let stray = Chain::new(&identity(), RUNS).line(&row(&identity(), 0, 10));
        fs::write(folder.path().join(RUNS), stray).unwrap();
        assert!(message(&folder).contains("runs.jsonl has a run that is not of its sweep, variant 0 with seed 10;"));
        let first = Chain::new(&identity(), RUNS).line(&row(&identity(), 0, 1));
        fs::write(folder.path().join(RUNS), [first, b"{}\n".to_vec()].concat()).unwrap();
        assert!(message(&folder).contains("runs.jsonl:2 is not the row of a run: missing field"));
        fs::write(folder.path().join(IDENTITY), "{}").unwrap();
        assert!(message(&folder).contains("sweep.json is of another version of this program (missing field"));
    }
}
