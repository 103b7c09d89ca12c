//! The folder of many runs.
//!
//! While runs come in, a line each goes to `progress.jsonl`, in the order in which they end: whatever ends the command,
//! they are kept, and the next one with the same runs to play goes on from there. In the end `runs.jsonl` has them all
//! in order, and `progress.jsonl` is gone. Of what is done there is always at least one whole copy.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use kernel::{
    many::{Axis, RunRow, Seeds, Shard},
    record::folder::CalibrationInfo,
    scenario::Scenario,
};
use serde::{Deserialize, Serialize};

use super::{Sweep, Task};
use crate::SimulationError;

const SCENARIO: &str = "scenario.toml";
const IDENTITY: &str = "sweep.json";
const RUNS: &str = "runs.jsonl";
const PROGRESS: &str = "progress.jsonl";
const FILES: [&str; 4] = [SCENARIO, IDENTITY, RUNS, PROGRESS];
/// Behind the name of a file that is being written.
const PARTIAL: &str = ".partial";

/// The content of `sweep.json`: which runs the folder is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// `sim`.
    pub world: String,
    /// Of the program.
    pub version: String,
    /// The scenario's name.
    pub scenario: String,
    /// SHA-256 of `scenario.toml`, in hexadecimal.
    pub scenario_sha256: String,
    pub seeds: Seeds,
    pub shard: Shard,
    /// What is varied.
    pub vary: Vec<Axis>,
    pub calibration: CalibrationInfo,
}

/// Why there is no folder to keep runs in.
#[derive(Debug, thiserror::Error)]
pub enum SweepFolderError {
    /// There is something that is not a folder of many runs.
    #[error("{path} exists and is not a folder of many runs; move it away, or choose another with --out", path = path.display())]
    Occupied {
        /// What is in the way.
        path: PathBuf,
    },
    /// It was begun for other runs.
    #[error("{path} holds other runs: {difference}; move it away, or choose another folder with --out", path = path.display())]
    OtherRuns {
        /// The folder.
        path: PathBuf,
        /// What is not the same.
        difference: String,
    },
    /// A run that is in it comes out differently now.
    #[error(
        "{path} was begun by another build of this program or with other pictures: seed {seed} now comes out differently \
         (digest {now}, not {then}); move it away, or choose another folder with --out", path = path.display()
    )]
    Changed {
        /// The folder.
        path: PathBuf,
        /// Of the run that was played again.
        seed: u64,
        /// Its digest.
        now: String,
        /// The digest in the folder.
        then: String,
    },
    /// Another process is at it.
    #[error("{path} is being filled by another process; wait for it, or choose another folder with --out", path = path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
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
    /// The operating system refused.
    #[error("cannot use the folder of runs: {path}: {reason}; choose another folder with --out", path = path.display())]
    System {
        /// The file or folder it was about.
        path: PathBuf,
        /// The operating system's words.
        reason: io::Error,
    },
    /// A run of it could not be played again.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
}

/// The folder, held by this process only.
#[derive(Debug)]
pub struct SweepFolder {
    place: PathBuf,
    /// Locked while it is open.
    progress: File,
    rows: BTreeMap<Task, RunRow>,
}

impl SweepFolder {
    /// Where many runs are put unless it is said otherwise. What is varied has a name by its fingerprint.
    pub fn default_place(identity: &Identity) -> PathBuf {
        let Seeds { start, end } = identity.seeds;
        let mut name = format!("{}-seeds{start}-{end}", identity.world);
        if !identity.vary.is_empty() {
            let varied = serde_json::to_string(&identity.vary).expect("plain data is always written");
            name += &format!("-vary-{}", &kernel::record::folder::sha256(varied.as_bytes())[..8]);
        }
        if identity.shard != Shard::WHOLE {
            name += &format!("-shard{}of{}", identity.shard.number, identity.shard.of);
        }
        Path::new("runs").join(&identity.scenario).join(name)
    }

    /// The folder at `place` with the runs that are in it, or a new one.
    ///
    /// # Errors
    /// There is something else, it holds other runs, another process is at it, or the operating system refuses.
    pub fn open(place: &Path, identity: &Identity, scenario: &Scenario) -> Result<Self, SweepFolderError> {
        if !is_ours(place) {
            return Err(SweepFolderError::Occupied { path: place.to_owned() });
        }
        let known = place.join(IDENTITY);
        match fs::read(&known) {
            Ok(content) => compare(place, &content, identity)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => begin(place, identity, scenario)?,
            Err(reason) => return Err(system(&known)(reason)),
        }
        let path = place.join(PROGRESS);
        let progress = File::options().read(true).append(true).create(true).open(&path).map_err(system(&path))?;
        progress.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SweepFolderError::InUse { path: place.to_owned() },
            TryLockError::Error(reason) => system(&path)(reason),
        })?;
        let mut folder = Self { place: place.to_owned(), progress, rows: BTreeMap::new() };
        folder.read(RUNS)?;
        folder.read(PROGRESS)?;
        // A line that was cut off is not to be continued.
        folder.write_runs()?;
        folder.progress.set_len(0).map_err(system(&path))?;
        Ok(folder)
    }

    /// Plays one of the runs in it again, which shows whether what is to come is of the same kind.
    ///
    /// # Errors
    /// It comes out differently.
    pub fn spot_check(&self, sweep: &Sweep) -> Result<(), SweepFolderError> {
        let Some((&task, then)) = self.rows.first_key_value() else { return Ok(()) };
        let now = sweep.play(task)?;
        if now == *then {
            return Ok(());
        }
        let (now, then) = (now.digest, then.digest.clone());
        Err(SweepFolderError::Changed { path: self.place.clone(), seed: task.seed, now, then })
    }

    /// Whether the run is in it.
    pub fn has(&self, task: Task) -> bool {
        self.rows.contains_key(&task)
    }

    /// How many runs are in it.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Keeps a row, from here on whatever happens.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn keep(&mut self, row: RunRow) -> Result<(), SweepFolderError> {
        // In one write, so that a line is whole or the last.
        self.progress.write_all(&line(&row)).map_err(system(&self.place.join(PROGRESS)))?;
        self.rows.insert(task_of(&row), row);
        Ok(())
    }

    /// Writes the rows that there are in order, and returns them.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn close(self) -> Result<Vec<RunRow>, SweepFolderError> {
        self.write_runs()?;
        let path = self.place.join(PROGRESS);
        fs::remove_file(&path).map_err(system(&path))?;
        Ok(self.rows.into_values().collect())
    }

    fn write_runs(&self) -> Result<(), SweepFolderError> {
        let mut lines = Vec::new();
        self.rows.values().for_each(|row| lines.extend(line(row)));
        replace(&self.place.join(RUNS), &lines)
    }

    /// Takes in the rows of a file, but for a last line that was cut off.
    fn read(&mut self, file: &str) -> Result<(), SweepFolderError> {
        let path = self.place.join(file);
        let content = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            content => content.map_err(system(&path))?,
        };
        for (number, line) in (1..).zip(content.split_inclusive(|&byte| byte == b'\n')) {
            if line.last() != Some(&b'\n') {
                break;
            }
            let row: RunRow = serde_json::from_slice(line).map_err(|reason| SweepFolderError::Malformed {
                path: path.clone(),
                line: number,
                reason,
            })?;
            self.rows.insert(task_of(&row), row);
        }
        Ok(())
    }
}

fn task_of(row: &RunRow) -> Task {
    Task { variant: row.variant, seed: row.seed }
}

fn line(row: &RunRow) -> Vec<u8> {
    let mut line = serde_json::to_vec(row).expect("plain data is always written");
    line.push(b'\n');
    line
}

/// Whether there is nothing, or a folder with nothing but what this file writes.
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
    fs::read_dir(place)
        .is_ok_and(|mut entries| place.join(IDENTITY).is_file() || entries.all(|entry| entry.is_ok_and(ours)))
}

/// Writes what the folder is for, the identity last: with it the folder is begun.
fn begin(place: &Path, identity: &Identity, scenario: &Scenario) -> Result<(), SweepFolderError> {
    fs::create_dir_all(place).map_err(system(place))?;
    replace(&place.join(SCENARIO), scenario.to_toml().as_bytes())?;
    let mut content = serde_json::to_vec_pretty(identity).expect("plain data is always written");
    content.push(b'\n');
    replace(&place.join(IDENTITY), &content)
}

/// Puts a whole file in the place of another.
fn replace(path: &Path, content: &[u8]) -> Result<(), SweepFolderError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(PARTIAL);
    let partial = PathBuf::from(partial);
    fs::write(&partial, content).map_err(system(&partial))?;
    fs::rename(&partial, path).map_err(system(path))
}

fn compare(place: &Path, content: &[u8], wanted: &Identity) -> Result<(), SweepFolderError> {
    let other = |difference| SweepFolderError::OtherRuns { path: place.to_owned(), difference };
    let found: Identity = serde_json::from_slice(content)
        .map_err(|error| other(format!("{IDENTITY} is of another version of this program ({error})")))?;
    if found == *wanted {
        return Ok(());
    }
    Err(other(difference(&found, wanted)))
}

/// The first thing in which they differ.
fn difference(found: &Identity, wanted: &Identity) -> String {
    let differs = |what: &str, found: &str, wanted: &str| {
        (found != wanted).then(|| format!("its {what} is {found}, not {wanted}"))
    };
    let axes = |identity: &Identity| {
        let axes: Vec<_> =
            identity.vary.iter().map(|axis| format!("--vary {}={}", axis.key, axis.values.join(","))).collect();
        if axes.is_empty() { "nothing".to_owned() } else { axes.join(" ") }
    };
    differs("scenario", &found.scenario, &wanted.scenario)
        .or_else(|| differs("range of seeds", &found.seeds.to_string(), &wanted.seeds.to_string()))
        .or_else(|| differs("shard", &found.shard.to_string(), &wanted.shard.to_string()))
        .or_else(|| differs("variation", &axes(found), &axes(wanted)))
        .or_else(|| differs("calibration", &found.calibration.name, &wanted.calibration.name))
        .or_else(|| differs("program's version", &found.version, &wanted.version))
        .unwrap_or_else(|| {
            let same = found.scenario_sha256 == wanted.scenario_sha256;
            let what = if same { "calibration" } else { "scenario, or a --set," };
            format!("its {what} has changed since")
        })
}

fn system(path: &Path) -> impl FnOnce(io::Error) -> SweepFolderError {
    let path = path.to_owned();
    move |reason| SweepFolderError::System { path, reason }
}

#[cfg(test)]
mod tests {
    use kernel::measure::Metrics;
    use tempfile::TempDir;

    use super::*;

    fn scenario() -> Scenario {
        Scenario::parse("short.toml", "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n", &[]).unwrap()
    }

    fn identity() -> Identity {
        Identity {
            world: "sim".to_owned(),
            version: "1".to_owned(),
            scenario: "short".to_owned(),
            scenario_sha256: String::new(),
            seeds: Seeds { start: 0, end: 10 },
            shard: Shard::WHOLE,
            vary: Vec::new(),
            calibration: CalibrationInfo { name: "default".to_owned(), sha256: String::new() },
        }
    }

    fn row(seed: u64) -> RunRow {
        RunRow {
            variant: 0,
            seed,
            settings: Vec::new(),
            digest: format!("digest of {seed}"),
            pass: true,
            end_us: 1_000_000,
            overall: Metrics { success_rate: Some(1.0 / 3.0), ..Metrics::default() },
            expectations: Vec::new(),
            broken: None,
        }
    }

    fn open(place: &Path) -> Result<SweepFolder, SweepFolderError> {
        SweepFolder::open(place, &identity(), &scenario())
    }

    fn seeds(rows: &[RunRow]) -> Vec<u64> {
        rows.iter().map(|row| row.seed).collect()
    }

    #[test]
    fn rows_end_up_in_order_whenever_they_came() {
        let folder = TempDir::new().unwrap();
        let place = folder.path().join("runs/short");
        let mut sweep = open(&place).unwrap();
        for seed in [3, 1, 2] {
            sweep.keep(row(seed)).unwrap();
        }
        assert_eq!(seeds(&sweep.close().unwrap()), [1, 2, 3]);
        let lines = fs::read_to_string(place.join(RUNS)).unwrap();
        assert_eq!(lines.lines().count(), 3);
        assert!(!place.join(PROGRESS).exists());
        // Read back exactly: the figures too.
        assert_eq!(open(&place).unwrap().close().unwrap(), [row(1), row(2), row(3)]);
        assert_eq!(fs::read_to_string(place.join(RUNS)).unwrap(), lines);
    }

    #[test]
    fn what_came_before_a_kill_is_kept_and_a_cut_off_line_is_not() {
        let folder = TempDir::new().unwrap();
        let mut sweep = open(folder.path()).unwrap();
        for seed in [4, 2] {
            sweep.keep(row(seed)).unwrap();
        }
        sweep.progress.write_all(b"{\"variant\":0,\"se").unwrap();
        drop(sweep);
        let mut again = open(folder.path()).unwrap();
        assert!(again.has(Task { variant: 0, seed: 4 }) && !again.has(Task { variant: 0, seed: 3 }));
        again.keep(row(3)).unwrap();
        assert_eq!(seeds(&again.close().unwrap()), [2, 3, 4]);
    }

    #[test]
    fn a_folder_of_other_runs_is_refused_by_what_is_different() {
        let folder = TempDir::new().unwrap();
        open(folder.path()).unwrap().close().unwrap();
        let refused = |identity: &Identity| {
            SweepFolder::open(folder.path(), identity, &scenario()).map(|_| ()).unwrap_err().to_string()
        };
        let others = [
            (Identity { scenario: "long".to_owned(), ..identity() }, "its scenario is short, not long;"),
            (Identity { seeds: Seeds { start: 0, end: 20 }, ..identity() }, "its range of seeds is 0..10, not 0..20;"),
            (Identity { shard: Shard { number: 2, of: 3 }, ..identity() }, "its shard is 1/1, not 2/3;"),
            (Identity { vary: vec!["a=1,2".parse().unwrap()], ..identity() }, "is nothing, not --vary a=1,2;"),
            (
                Identity { scenario_sha256: "f".to_owned(), ..identity() },
                "its scenario, or a --set, has changed since;",
            ),
        ];
        for (other, difference) in others {
            let message = refused(&other);
            assert!(message.contains(difference), "{message}");
        }
    }

    #[test]
    fn one_process_at_a_time_fills_a_folder() {
        let folder = TempDir::new().unwrap();
        let first = open(folder.path()).unwrap();
        assert!(matches!(open(folder.path()), Err(SweepFolderError::InUse { .. })));
        drop(first);
        open(folder.path()).unwrap();
    }

    #[test]
    fn what_is_no_folder_of_runs_is_left_alone() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        assert!(matches!(open(folder.path()), Err(SweepFolderError::Occupied { .. })));
        let file = folder.path().join("thesis.txt");
        assert!(matches!(open(&file), Err(SweepFolderError::Occupied { .. })));
        assert!(matches!(open(&file.join("runs")), Err(SweepFolderError::System { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_malformed_row_is_told_by_its_line() {
        let folder = TempDir::new().unwrap();
        open(folder.path()).unwrap().close().unwrap();
        fs::write(folder.path().join(RUNS), "{}\n").unwrap();
        let message = open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("runs.jsonl:1 is not the row of a run"), "{message}");
    }
}
