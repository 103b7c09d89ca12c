//! Many runs as their folder keeps them.
//!
//! | file | content |
//! | --- | --- |
//! | `sweep.json` | [`SweepIdentity`]: which runs these are |
//! | `scenario.toml` | the scenario that is varied, with every default filled in |
//! | `runs.jsonl` | [`RunRow`]s, by variant, then seed |
//! | `progress.jsonl` | rows in the order in which runs ended, while there are more to come |
//!
//! A folder with a `sweep.json` is begun. Rows that are in both files are the same.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{RunRow, SweepIdentity, SweepReport};

const SCENARIO: &str = "scenario.toml";
const IDENTITY: &str = "sweep.json";
/// The rows, in order.
pub const RUNS: &str = "runs.jsonl";
/// The rows, as they come.
pub const PROGRESS: &str = "progress.jsonl";
const FILES: [&str; 4] = [SCENARIO, IDENTITY, RUNS, PROGRESS];
/// Behind the name of a file that is being written.
const PARTIAL: &str = ".partial";

/// SweepRecord that belong together, or as many of them as there are yet.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepRecord {
    pub identity: SweepIdentity,
    /// The text of `scenario.toml`.
    pub scenario: String,
    /// In order of variant, then seed.
    pub rows: Vec<RunRow>,
}

/// Why a folder of many runs cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// There is something that is not a folder of many runs.
    #[error("{path} exists and is not a folder of many runs; move it away, or choose another with --out", path = path.display())]
    Occupied {
        /// What is in the way.
        path: PathBuf,
    },
    /// It is not for these runs.
    #[error("{path} holds other runs: {difference}; move it away, or choose another folder with --out", path = path.display())]
    OtherRuns {
        /// The folder.
        path: PathBuf,
        /// What is not the same.
        difference: String,
    },
    /// Nothing says which runs it holds.
    #[error("{path} is not a folder of many runs: it has no {IDENTITY}; name one that `sim SCENARIO --seeds 0..100` wrote", path = path.display())]
    NotMany {
        /// The folder.
        path: PathBuf,
    },
    /// Another version of the program wrote it.
    #[error("{path} is of another version of this program ({reason}); play its runs again into another folder", path = path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: serde_json::Error,
    },
    /// A line is not what it should be.
    #[error("{path}:{line} is not the row of a run: {reason}; remove the file, and its runs are played again", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What the parser says.
        reason: serde_json::Error,
    },
    /// A row is of a run that the folder is not for.
    #[error("{path} has a run that is not of its sweep, variant {variant} with seed {seed}; remove the file, and its runs are played again", path = path.display())]
    Stray {
        /// The file.
        path: PathBuf,
        /// Of the row.
        variant: usize,
        /// Of the row.
        seed: u64,
    },
    /// The operating system does not let it be read.
    #[error("cannot read {path}: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        reason: io::Error,
    },
    /// The operating system does not let it be used.
    #[error("cannot use the folder of runs: {path}: {reason}; choose another folder with --out", path = path.display())]
    System {
        /// The file or folder it was about.
        path: PathBuf,
        /// The operating system's words.
        reason: io::Error,
    },
}

impl SweepRecord {
    /// Whether `place` is a folder of many runs.
    pub fn is_at(place: &Path) -> bool {
        place.join(IDENTITY).is_file()
    }

    /// What is in the folder at `place`.
    ///
    /// # Errors
    /// It is no folder of many runs, or not all of it can be read and belongs together.
    pub fn read(place: &Path) -> Result<Self, SweepError> {
        let identity = read_identity(place)?.ok_or_else(|| SweepError::NotMany { path: place.to_owned() })?;
        let path = place.join(SCENARIO);
        let scenario = fs::read_to_string(&path).map_err(unreadable(&path))?;
        let mut rows = BTreeMap::new();
        for path in [RUNS, PROGRESS].map(|file| place.join(file)) {
            for row in read_rows(&path)? {
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
    /// There is something else, or the operating system refuses.
    pub fn write(&self, place: &Path) -> Result<(), SweepError> {
        prepare(place, &self.identity, &self.scenario)?;
        write_rows(place, &self.rows)
    }

    /// What they come to. `replay` is the command that plays a run alone.
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

/// Makes the folder at `place` one for the runs of `identity`, whose scenario reads `scenario`, unless it is already.
///
/// # Errors
/// There is something else, or the operating system refuses.
pub fn prepare(place: &Path, identity: &SweepIdentity, scenario: &str) -> Result<(), SweepError> {
    if !is_ours(place) {
        return Err(SweepError::Occupied { path: place.to_owned() });
    }
    match read_identity(place)? {
        None => begin(place, identity, scenario),
        Some(found) => found
            .difference(identity)
            .map_or(Ok(()), |difference| Err(SweepError::OtherRuns { path: place.to_owned(), difference })),
    }
}

/// Whether there is nothing, or a folder with nothing but what belongs in it.
fn is_ours(place: &Path) -> bool {
    if fs::symlink_metadata(place).is_err() {
        return true;
    }
    let ours = |entry: fs::DirEntry| {
        let name = entry.file_name();
        FILES
            .iter()
            .any(|&file| name == file || name.to_str().and_then(|name| name.strip_suffix(PARTIAL)) == Some(file))
    };
    // A run folder has a scenario too, and more.
    fs::read_dir(place).is_ok_and(|mut entries| SweepRecord::is_at(place) || entries.all(|entry| entry.is_ok_and(ours)))
}

fn read_identity(place: &Path) -> Result<Option<SweepIdentity>, SweepError> {
    let path = place.join(IDENTITY);
    match fs::read(&path) {
        Ok(content) => {
            serde_json::from_slice(&content).map(Some).map_err(|reason| SweepError::OtherVersion { path, reason })
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(reason) => Err(SweepError::Unreadable { path, reason }),
    }
}

/// Writes what the folder is for, the identity last: with it the folder is begun.
fn begin(place: &Path, identity: &SweepIdentity, scenario: &str) -> Result<(), SweepError> {
    fs::create_dir_all(place).map_err(system(place))?;
    replace(&place.join(SCENARIO), scenario.as_bytes())?;
    let mut content = serde_json::to_vec_pretty(identity).expect("plain data is always written");
    content.push(b'\n');
    replace(&place.join(IDENTITY), &content)
}

/// The rows of a file, but for a last line that was cut off; none if there is no file.
///
/// # Errors
/// A line is no row, or the operating system refuses.
pub fn read_rows(path: &Path) -> Result<Vec<RunRow>, SweepError> {
    let content = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        content => content.map_err(unreadable(path))?,
    };
    let whole = content.split_inclusive(|&byte| byte == b'\n').take_while(|line| line.last() == Some(&b'\n'));
    let row = |(line, text): (usize, &[u8])| {
        serde_json::from_slice(text).map_err(|reason| SweepError::Malformed { path: path.to_owned(), line, reason })
    };
    (1..).zip(whole).map(row).collect()
}

/// Writes `rows`, which are in order, as those of the folder at `place`.
///
/// # Errors
/// The operating system refuses.
pub fn write_rows<'a>(place: &Path, rows: impl IntoIterator<Item = &'a RunRow>) -> Result<(), SweepError> {
    let lines: Vec<u8> = rows.into_iter().flat_map(line).collect();
    replace(&place.join(RUNS), &lines)
}

/// A row as its line of a file.
pub fn line(row: &RunRow) -> Vec<u8> {
    let mut line = serde_json::to_vec(row).expect("plain data is always written");
    line.push(b'\n');
    line
}

/// Puts a whole file in the place of another.
fn replace(path: &Path, content: &[u8]) -> Result<(), SweepError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(PARTIAL);
    let partial = PathBuf::from(partial);
    fs::write(&partial, content).map_err(system(&partial))?;
    fs::rename(&partial, path).map_err(system(path))
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> SweepError {
    let path = path.to_owned();
    move |reason| SweepError::Unreadable { path, reason }
}

fn system(path: &Path) -> impl FnOnce(io::Error) -> SweepError {
    let path = path.to_owned();
    move |reason| SweepError::System { path, reason }
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
    fn what_is_still_coming_in_counts_but_for_a_line_that_is_cut_off() {
        let folder = TempDir::new().unwrap();
        runs([1, 4]).write(folder.path()).unwrap();
        let progress = [line(&row(&identity(), 0, 7)), line(&row(&identity(), 0, 2)), b"{\"variant\":0,\"se".to_vec()];
        fs::write(folder.path().join(PROGRESS), progress.concat()).unwrap();
        assert_eq!(SweepRecord::read(folder.path()).unwrap(), runs([1, 2, 4, 7]));
    }

    #[test]
    fn only_the_same_runs_are_written_over() {
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
            assert!(matches!(runs(0..3).write(precious), Err(SweepError::Occupied { .. })));
        }
        assert!(matches!(runs(0..3).write(&thesis.join("runs")), Err(SweepError::System { .. })));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_remedy() {
        let folder = TempDir::new().unwrap();
        let message = || SweepRecord::read(folder.path()).unwrap_err().to_string();
        assert!(message().contains("it has no sweep.json; name one that `sim SCENARIO --seeds 0..100` wrote"));
        runs(0..3).write(folder.path()).unwrap();
        fs::write(folder.path().join(RUNS), line(&row(&identity(), 0, 10))).unwrap();
        assert!(message().contains("runs.jsonl has a run that is not of its sweep, variant 0 with seed 10;"));
        fs::write(folder.path().join(RUNS), [line(&row(&identity(), 0, 1)), b"{}\n".to_vec()].concat()).unwrap();
        assert!(message().contains("runs.jsonl:2 is not the row of a run: missing field"));
        fs::write(folder.path().join(IDENTITY), "{}").unwrap();
        assert!(message().contains("sweep.json is of another version of this program (missing field"));
    }
}
