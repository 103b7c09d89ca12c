//! The run folder: what a run leaves on disk, the same files from both worlds.
//!
//! It is written beside its place, under a name that ends in `.partial`, and moved there when it is whole. So a folder
//! under its own name is a whole run, and a run that fails leaves the one before untouched.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Records;
use crate::{
    measure::{Label, Run, Summary},
    scenario::Scenario,
};

/// The resolved scenario.
pub const SCENARIO: &str = "scenario.toml";
/// [`RunInfo`].
pub const RUN: &str = "run.json";
const REQUESTS: &str = "requests.jsonl";
const ATTEMPTS: &str = "attempts.jsonl";
const EVENTS: &str = "events.jsonl";
const SUMMARY: &str = "summary.json";
const FILES: [&str; 6] = [SCENARIO, RUN, REQUESTS, ATTEMPTS, EVENTS, SUMMARY];

/// What processes wrote to their standard error, beside the files.
const LOGS: &str = "logs";

/// The content of `run.json`: how the run came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// `sim` or `real`.
    pub world: String,
    /// The root seed.
    pub seed: u64,
    /// The version of the program that wrote the folder.
    pub version: String,
    /// The times a simulated host went by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationInfo>,
    /// The machine of a real run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostInfo>,
    /// When a real run began: RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
}

/// What a real run depends on and no seed decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Name and version of the operating system's kernel.
    pub kernel: String,
    /// Processors that the run could use.
    pub cores: usize,
    /// Load averages of the last 1, 5 and 15 minutes when the run began, where the host tells.
    pub load_average: Option<[f64; 3]>,
}

/// Which calibration a simulated run used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationInfo {
    /// Its name.
    pub name: String,
    /// SHA-256 of its file, in hexadecimal.
    pub sha256: String,
}

impl RunInfo {
    /// A run of this version of the program.
    pub fn new(world: &str, seed: u64) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { world: world.to_owned(), seed, version, calibration: None, host: None, started: None }
    }
}

/// Why a run folder cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is something that is not a run folder.
    #[error("{path} exists and is not a run folder; move it away, or choose another with --out", path = path.display())]
    Occupied {
        /// What is in the way.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot write the run folder: {path}: {reason}; choose another folder with --out", path = path.display())]
    Unwritable {
        /// The file or folder it was about.
        path: PathBuf,
        /// The operating system's words.
        reason: io::Error,
    },
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// What the run came to.
    pub summary: Summary,
    /// Of the records: SHA-256 over requests, attempts and events, in hexadecimal.
    pub digest: String,
}

/// A run folder in the making. Dropped before it is whole, it leaves nothing.
#[derive(Debug)]
pub struct RunFolder {
    place: PathBuf,
    staging: PathBuf,
    /// The folders above that were not there, the innermost first.
    made: Vec<PathBuf>,
}

impl RunFolder {
    /// Where a run is put unless it is said otherwise.
    pub fn default_place(scenario: &str, world: &str, seed: u64) -> PathBuf {
        Path::new("runs").join(scenario).join(format!("{world}-seed{seed}"))
    }

    /// Prepares to write a run folder at `place`: finds out before the run what could go wrong after it.
    pub fn prepare(place: &Path) -> Result<Self, FolderError> {
        if !may_be_replaced(place) {
            return Err(FolderError::Occupied { path: place.to_owned() });
        }
        let place = match place.canonicalize() {
            // A link goes on pointing to where it did, and `.` gets a name.
            Ok(path) => path,
            Err(_) if place.file_name().is_some() => place.to_owned(),
            Err(reason) => return Err(FolderError::Unwritable { path: place.to_owned(), reason }),
        };
        let staging = beside(&place, ".partial");
        if !is_unfinished(&staging) {
            return Err(FolderError::Occupied { path: staging });
        }
        remove(&staging)?;
        let missing = |parent: &&Path| !parent.as_os_str().is_empty() && !parent.exists();
        let made = place.ancestors().skip(1).take_while(missing).map(Path::to_owned).collect();
        let folder = Self { place, staging, made };
        fs::create_dir_all(&folder.staging).map_err(unwritable(&folder.staging))?;
        Ok(folder)
    }

    /// A folder within it for the logs of a run's processes, to be written from now on.
    pub fn logs(&self) -> Result<PathBuf, FolderError> {
        let logs = self.staging.join(LOGS);
        fs::create_dir_all(&logs).map_err(unwritable(&logs))?;
        Ok(logs)
    }

    /// Measures what was recorded of `scenario` while load was offered for `duration`, writes all files and puts the
    /// folder in its place, in place of a run that was there.
    pub fn write(
        self,
        scenario: &Scenario,
        info: &RunInfo,
        records: &Records,
        duration: Duration,
    ) -> Result<Written, FolderError> {
        let label = Label { scenario: &scenario.name, seed: info.seed, world: &info.world };
        let summary = Summary::of(label, &Run::of(scenario, duration, records), &scenario.expectations);
        let mut digest = Sha256::new();
        self.write_file(SCENARIO, scenario.to_toml().as_bytes())?;
        self.write_file(RUN, pretty(info).as_bytes())?;
        self.write_rows(REQUESTS, &records.requests, &mut digest)?;
        self.write_rows(ATTEMPTS, &records.attempts, &mut digest)?;
        self.write_rows(EVENTS, &records.events, &mut digest)?;
        self.write_file(SUMMARY, pretty(&summary).as_bytes())?;
        self.put_in_place()?;
        Ok(Written { summary, digest: hexadecimal(&digest.finalize()) })
    }

    fn write_file(&self, name: &str, content: &[u8]) -> Result<(), FolderError> {
        let path = self.staging.join(name);
        fs::write(&path, content).map_err(unwritable(&path))
    }

    fn write_rows<T: Serialize>(&self, name: &str, rows: &[T], digest: &mut Sha256) -> Result<(), FolderError> {
        let path = self.staging.join(name);
        let mut write = || -> io::Result<()> {
            let mut file = BufWriter::new(File::create(&path)?);
            for_each_line(rows, |line| {
                digest.update(line);
                file.write_all(line)
            })?;
            file.flush()
        };
        write().map_err(unwritable(&path))
    }

    fn put_in_place(&self) -> Result<(), FolderError> {
        if !may_be_replaced(&self.place) {
            return Err(FolderError::Occupied { path: self.place.clone() });
        }
        // Moved, then removed: whoever kills this leaves no half of a run under its own name.
        let former = beside(&self.place, ".replaced");
        if !may_be_replaced(&former) {
            return Err(FolderError::Occupied { path: former });
        }
        remove(&former)?;
        if self.place.exists() {
            fs::rename(&self.place, &former).map_err(unwritable(&self.place))?;
        }
        fs::rename(&self.staging, &self.place).map_err(unwritable(&self.place))?;
        remove(&former)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // Once in place there is nothing to remove, and otherwise nothing that can be done about it.
        let _ = fs::remove_dir_all(&self.staging);
        // Removes empty folders only.
        let _ = self.made.iter().try_for_each(fs::remove_dir);
    }
}

/// Whether nothing is lost by putting a run folder there.
fn may_be_replaced(place: &Path) -> bool {
    is_folder_of(place, |mut entries| place.join(RUN).is_file() || entries.next().is_none())
}

/// Whether there is at most what a run that was killed left behind.
fn is_unfinished(staging: &Path) -> bool {
    is_folder_of(staging, |mut entries| {
        let ours = |entry: fs::DirEntry| FILES.iter().chain([&LOGS]).any(|&ours| entry.file_name() == ours);
        entries.all(|entry| entry.is_ok_and(ours))
    })
}

/// Whether there is nothing, not even a link to nowhere, or a folder whose `entries` are as they should be.
fn is_folder_of(path: &Path, entries: impl FnOnce(fs::ReadDir) -> bool) -> bool {
    // What cannot be looked at, such as a path below a file, cannot be made either, and then says why.
    fs::symlink_metadata(path).is_err() || fs::read_dir(path).is_ok_and(entries)
}

/// The path next to `place` whose name has `suffix` behind it.
fn beside(place: &Path, suffix: &str) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    place.with_file_name(name)
}

/// Removes the folder if it is there.
fn remove(folder: &Path) -> Result<(), FolderError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(folder)(error)),
        _ => Ok(()),
    }
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |reason| FolderError::Unwritable { path, reason }
}

fn pretty(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("plain data is always written");
    text.push('\n');
    text
}

/// Each row as its line of a file.
fn for_each_line<T: Serialize>(rows: &[T], mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut line = Vec::new();
    for row in rows {
        line.clear();
        serde_json::to_writer(&mut line, row)?;
        line.push(b'\n');
        take(&line)?;
    }
    Ok(())
}

impl Records {
    /// The digest that [`RunFolder::write`] tells, without a folder.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        let mut take = |line: &[u8]| {
            digest.update(line);
            Ok(())
        };
        for_each_line(&self.requests, &mut take)
            .and_then(|()| for_each_line(&self.attempts, &mut take))
            .and_then(|()| for_each_line(&self.events, &mut take))
            .expect("rows are plain data, and nothing is written anywhere");
        hexadecimal(&digest.finalize())
    }
}

/// SHA-256 of `content`, in hexadecimal.
pub fn sha256(content: &[u8]) -> String {
    hexadecimal(&Sha256::digest(content))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record::RequestRow, status::Outcome};

    fn records() -> Records {
        let row = |id| RequestRow {
            id,
            intended_us: id * 1_000,
            sent_us: Some(id * 1_000),
            done_us: Some(id * 1_000 + 500),
            latency_us: Some(500),
            status: Outcome::OK,
            server: Some("server-0".into()),
            attempts: 1,
            failovers: 0,
            size: "8x8".to_owned(),
            hedges: 0,
            rejected: false,
            answer: None,
        };
        Records { requests: (0..3).map(row).collect(), ..Records::default() }
    }

    fn write(place: &Path, records: &Records) -> Result<String, FolderError> {
        let text = "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n";
        let scenario = Scenario::parse("short.toml", text, &[]).unwrap();
        let folder = RunFolder::prepare(place)?;
        Ok(folder.write(&scenario, &RunInfo::new("sim", 1), records, scenario.duration)?.digest)
    }

    #[test]
    fn a_folder_holds_the_six_files_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("runs/short/sim-seed1");
        write(&place, &records()).unwrap();
        for file in FILES {
            assert!(place.join(file).is_file(), "{file} is missing");
        }
        assert_eq!(fs::read_to_string(place.join(REQUESTS)).unwrap().lines().count(), 3);
        assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn the_digest_follows_the_records() {
        let directory = tempfile::tempdir().unwrap();
        let first = write(&directory.path().join("a"), &records()).unwrap();
        assert_eq!(write(&directory.path().join("b"), &records()).unwrap(), first);
        assert_eq!(records().digest(), first);
        let mut other = records();
        other.requests[1].attempts = 2;
        assert_ne!(write(&directory.path().join("c"), &other).unwrap(), first);
    }

    #[test]
    fn a_run_replaces_the_one_before_but_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        write(&place, &records()).unwrap();
        write(&place, &Records::default()).unwrap();
        assert_eq!(fs::read_to_string(place.join(REQUESTS)).unwrap(), "");

        let precious = directory.path().join("precious");
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("thesis.txt"), "years of work").unwrap();
        assert!(matches!(write(&precious, &records()), Err(FolderError::Occupied { .. })));
        assert!(precious.join("thesis.txt").is_file());
    }

    #[test]
    fn a_run_that_fails_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        drop(RunFolder::prepare(&directory.path().join("runs/story/run")).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_the_way_is_said_before_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(RunFolder::prepare(&file), Err(FolderError::Occupied { .. })));
        assert!(matches!(RunFolder::prepare(&file.join("run")), Err(FolderError::Unwritable { .. })));
        assert!(matches!(RunFolder::prepare(&directory.path().join("none/..")), Err(FolderError::Unwritable { .. })));
    }

    #[test]
    fn what_a_killed_run_left_is_cleared_away_but_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        write(&beside(&place, ".replaced"), &records()).unwrap();
        fs::create_dir(beside(&place, ".partial")).unwrap();
        fs::write(beside(&place, ".partial").join(EVENTS), "{\"at_us").unwrap();
        fs::create_dir(beside(&place, ".partial").join(LOGS)).unwrap();
        write(&place, &records()).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

        for suffix in [".partial", ".replaced"] {
            let precious = beside(&place, suffix);
            fs::create_dir(&precious).unwrap();
            fs::write(precious.join("thesis.txt"), "years of work").unwrap();
            assert!(matches!(write(&place, &records()), Err(FolderError::Occupied { .. })));
            assert!(precious.join("thesis.txt").is_file());
            fs::remove_dir_all(&precious).unwrap();
        }
        assert!(place.join(RUN).is_file());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_goes_on_pointing_to_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let (place, link) = (directory.path().join("run"), directory.path().join("latest"));
        write(&place, &records()).unwrap();
        std::os::unix::fs::symlink(&place, &link).unwrap();
        write(&link, &Records::default()).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(place.join(REQUESTS)).unwrap(), "");

        let nowhere = directory.path().join("nowhere");
        std::os::unix::fs::symlink("gone", &nowhere).unwrap();
        assert!(matches!(RunFolder::prepare(&nowhere), Err(FolderError::Occupied { .. })));
    }
}
