//! The run folder: what a run leaves on disk, the same files from both worlds.
//!
//! It is written beside its place, under a name that ends in `.partial`, and moved there when it is complete. So a folder
//! under its own name is a complete run, and a run that fails leaves the earlier one untouched.

use std::{
    fs,
    io::{self, BufWriter, Write},
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    atomic::PARTIAL,
    blocks::{AllRows, read_all},
    digest::RecordsDigest,
    error::{FolderError, FolderKind, RowKind},
    files::{Files, OsFiles},
    info::RunInfo,
    lines::for_each_line,
};
use crate::{
    json::pretty,
    measure::{RunLabel, RunRows, Summary},
    record::{AttemptRow, EventRow, Records, RequestRow},
    scenario::Scenario,
};

/// Name of the file with the resolved scenario.
pub const SCENARIO: &str = "scenario.toml";
/// Name of the file with the [`RunInfo`].
pub const RUN: &str = "run.json";
/// Name of the file with the [`Summary`].
pub const SUMMARY: &str = "summary.json";
/// The file of requests.
pub static REQUESTS: RowFile<RequestRow> = RowFile::new("requests.jsonl", "not the row of a request");
/// The file of attempts.
pub static ATTEMPTS: RowFile<AttemptRow> = RowFile::new("attempts.jsonl", "not the row of an attempt");
/// The file of events.
pub static EVENTS: RowFile<EventRow> = RowFile::new("events.jsonl", "not the row of an event");

static FILES: [&str; 6] = [SCENARIO, RUN, REQUESTS.name, ATTEMPTS.name, EVENTS.name, SUMMARY];

/// Name of the folder with what processes wrote to their standard error.
const LOGS: &str = "logs";

/// Suffix of the former folder's name while a new one takes its place.
const REPLACED: &str = ".replaced";

/// The words in which errors speak of a run folder.
static KIND: FolderKind = FolderKind {
    not_one: "not a run folder",
    cannot: "write the run folder: ",
    other_version: "is of another version of this program",
    other_version_remedy: "run its scenario again into another folder",
    damaged_remedy: "run its scenario again",
};

/// A file with a row a line, of which a run folder has three.
#[derive(Debug)]
pub struct RowFile<T> {
    /// The name of the file in the folder.
    pub name: &'static str,
    kind: RowKind,
    row: PhantomData<fn() -> T>,
}

impl<T> RowFile<T> {
    const fn new(name: &'static str, not_one: &'static str) -> Self {
        Self { name, kind: RowKind { folder: &KIND, not_one }, row: PhantomData }
    }
}

impl<T: DeserializeOwned + Send> RowFile<T> {
    /// Reads all rows of this file in the run folder at `place`.
    ///
    /// # Errors
    /// The file is missing or cannot be read, or a line with a line break is not a row.
    pub fn read(&'static self, place: &Path) -> Result<AllRows<T>, FolderError> {
        read_all(&place.join(self.name), &self.kind)
    }
}

/// The results of writing a run folder.
#[derive(Debug)]
pub struct Written {
    /// The metrics and the verdict.
    pub summary: Summary,
    /// SHA-256 over the lines of requests, attempts and events, in hexadecimal.
    pub digest: String,
}

/// A run folder that is being written. Dropped before it is complete, it leaves nothing.
///
/// ```
/// use std::time::Duration;
/// use kernel::{record::Records, run_folder::{RunFolder, RunInfo}, scenario::Scenario};
///
/// let place = tempfile::tempdir()?;
/// let scenario = Scenario::load("../scenarios/baseline.toml".as_ref(), &[])?;
/// let folder = RunFolder::prepare(&place.path().join("run"))?;
/// let written = folder.write(&scenario, &RunInfo::new("sim", 7), &Records::default(), Duration::from_secs(30))?;
/// assert!(!written.summary.pass, "nothing was recorded, so nothing holds");
/// assert!(place.path().join("run/requests.jsonl").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RunFolder {
    files: Arc<dyn Files>,
    place: PathBuf,
    staging: PathBuf,
    /// The folders above that did not exist, the innermost first.
    created: Vec<PathBuf>,
}

impl RunFolder {
    /// Returns where a run is written unless the user chooses another place.
    pub fn default_place(scenario: &str, world: &str, seed: u64) -> PathBuf {
        Path::new("runs").join(scenario).join(format!("{world}-seed{seed}"))
    }

    /// Prepares to write a run folder at `place`: what could go wrong after the run is found out before it.
    ///
    /// # Errors
    ///
    /// Returns an error if there is something that is not a run folder, or the operating system refuses.
    pub fn prepare(place: &Path) -> Result<Self, FolderError> {
        Self::prepare_with(Arc::new(OsFiles), place)
    }

    /// Does the same as [`prepare`](Self::prepare), and changes the folder through `files`.
    ///
    /// # Errors
    ///
    /// Returns an error if there is something that is not a run folder, or the operating system refuses.
    pub fn prepare_with(files: Arc<dyn Files>, place: &Path) -> Result<Self, FolderError> {
        if !may_be_replaced(&*files, place) {
            return Err(FolderError::Occupied { path: place.to_owned(), kind: &KIND });
        }
        let place = match place.canonicalize() {
            // A link goes on pointing to where it did, and `.` gets a name.
            Ok(path) => path,
            Err(_) if place.file_name().is_some() => place.to_owned(),
            Err(reason) => return Err(KIND.unwritable(place)(reason)),
        };
        let staging = beside(&place, PARTIAL);
        if !is_unfinished(&*files, &staging) {
            return Err(FolderError::Occupied { path: staging, kind: &KIND });
        }
        remove(&*files, &staging)?;
        let parents = place.ancestors().skip(1);
        let created = parents.take_while(|parent| !parent.as_os_str().is_empty() && !parent.exists());
        let created = created.map(Path::to_owned).collect();
        let folder = Self { files, place, staging, created };
        folder.files.create_folder(&folder.staging).map_err(KIND.unwritable(&folder.staging))?;
        Ok(folder)
    }

    /// Creates a folder within it for the logs of the run's processes, which write to it during the run.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    pub fn logs(&self) -> Result<PathBuf, FolderError> {
        let logs = self.staging.join(LOGS);
        self.files.create_folder(&logs).map_err(KIND.unwritable(&logs))?;
        Ok(logs)
    }

    /// Measures `records`, which a run of `scenario` left while load was offered for `duration`, writes all files, and
    /// moves the folder into its place, where it replaces an earlier run.
    ///
    /// # Errors
    ///
    /// Returns an error if something else has come into its place, or the operating system refuses.
    pub fn write(
        self,
        scenario: &Scenario,
        info: &RunInfo,
        records: &Records,
        duration: Duration,
    ) -> Result<Written, FolderError> {
        let label = RunLabel { scenario: &scenario.name, seed: info.seed, world: &info.world };
        let summary = Summary::compute(
            label,
            &RunRows::new(scenario.servers.replicas, duration, records),
            &scenario.expectations,
        );
        let mut digest = RecordsDigest::default();
        self.write_file(SCENARIO, scenario.to_toml().as_bytes())?;
        self.write_file(RUN, pretty(info).as_bytes())?;
        self.write_rows(REQUESTS.name, &records.requests, &mut digest)?;
        self.write_rows(ATTEMPTS.name, &records.attempts, &mut digest)?;
        self.write_rows(EVENTS.name, &records.events, &mut digest)?;
        self.write_file(SUMMARY, pretty(&summary).as_bytes())?;
        self.put_in_place()?;
        Ok(Written { summary, digest: digest.finish() })
    }

    fn write_file(&self, name: &str, content: &[u8]) -> Result<(), FolderError> {
        let path = self.staging.join(name);
        create_and_sync(&*self.files, &path, |file| file.write_all(content)).map_err(KIND.unwritable(&path))
    }

    fn write_rows<T: Serialize>(&self, name: &str, rows: &[T], digest: &mut RecordsDigest) -> Result<(), FolderError> {
        let path = self.staging.join(name);
        let written = create_and_sync(&*self.files, &path, |file| {
            for_each_line(rows, |line| {
                digest.add(line);
                file.write_all(line)
            })
        });
        written.map_err(KIND.unwritable(&path))
    }

    fn put_in_place(&self) -> Result<(), FolderError> {
        let files = &*self.files;
        if !may_be_replaced(files, &self.place) {
            return Err(FolderError::Occupied { path: self.place.clone(), kind: &KIND });
        }
        // Moved, then removed: a process that is killed here leaves no half of a run under the run's own name.
        let former = beside(&self.place, REPLACED);
        if !may_be_replaced(files, &former) {
            return Err(FolderError::Occupied { path: former, kind: &KIND });
        }
        remove(files, &former)?;
        files.sync_folder(&self.staging).map_err(KIND.unwritable(&self.staging))?;
        let replaces = self.place.exists();
        if replaces {
            files.rename(&self.place, &former).map_err(KIND.unwritable(&self.place))?;
        }
        if let Err(reason) = files.rename(&self.staging, &self.place) {
            if replaces {
                // The earlier run must not be lost to a run that is not there. Only the first error is reported.
                let _ = files.rename(&former, &self.place);
            }
            return Err(KIND.unwritable(&self.place)(reason));
        }
        let parent = self.place.parent().unwrap_or(Path::new(""));
        files.sync_folder(parent).map_err(KIND.unwritable(parent))?;
        remove(files, &former)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // Once it is in place there is nothing to remove; an error here can be neither fixed nor reported.
        let _ = self.files.remove_folder(&self.staging);
        // Stops at the first folder that holds something, such as the run.
        let _ = self.created.iter().try_for_each(|folder| self.files.remove_empty_folder(folder));
    }
}

/// Creates the file at `path`, lets `write` fill it, and waits until it is on the disk.
fn create_and_sync(
    files: &dyn Files,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = BufWriter::new(files.create(path)?);
    write(&mut file)?;
    file.flush()?;
    file.get_mut().sync()
}

/// Returns whether nothing is lost if a run folder is put at `place`.
fn may_be_replaced(files: &dyn Files, place: &Path) -> bool {
    is_absent(place) || files.list(place).is_ok_and(|names| names.is_empty() || place.join(RUN).is_file())
}

/// Returns whether there is at most what a killed run left at `staging`.
fn is_unfinished(files: &dyn Files, staging: &Path) -> bool {
    is_absent(staging)
        || files
            .list(staging)
            .is_ok_and(|names| names.iter().all(|name| FILES.iter().chain([&LOGS]).any(|&ours| name == ours)))
}

/// Returns whether there is nothing at `path`, not even a link to a path that does not exist.
fn is_absent(path: &Path) -> bool {
    // What cannot be looked at, such as a path below a file, cannot be created either: that error then says why.
    fs::symlink_metadata(path).is_err()
}

/// Returns the path next to `place` whose name is that of `place` and `suffix`.
fn beside(place: &Path, suffix: &str) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    place.with_file_name(name)
}

/// Removes the folder at `path` if there is one.
fn remove(files: &dyn Files, path: &Path) -> Result<(), FolderError> {
    match files.remove_folder(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(KIND.unwritable(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::files::failing::FailingFiles, *};
    use crate::{record::RequestRow, status::Outcome};

    fn records() -> Records {
        let requests = (0..3).map(|id| RequestRow {
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
        });
        Records { requests: requests.collect(), ..Records::default() }
    }

    fn write(place: &Path, records: &Records) -> Result<String, FolderError> {
        write_with(Arc::new(OsFiles), place, records)
    }

    fn write_with(files: Arc<dyn Files>, place: &Path, records: &Records) -> Result<String, FolderError> {
        let text = "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n";
        let scenario = Scenario::parse("short.toml", text, &[]).unwrap();
        let folder = RunFolder::prepare_with(files, place)?;
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
        assert_eq!(fs::read_to_string(place.join(REQUESTS.name)).unwrap().lines().count(), 3);
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
        assert_eq!(fs::read_to_string(place.join(REQUESTS.name)).unwrap(), "");

        let precious = directory.path().join("precious");
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("thesis.txt"), "years of work").unwrap();
        assert!(matches!(write(&precious, &records()), Err(FolderError::Occupied { .. })));
        assert!(precious.join("thesis.txt").is_file());
    }

    #[test]
    fn a_run_that_fails_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        drop(RunFolder::prepare(&directory.path().join("runs/short/run")).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_the_way_is_reported_before_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(RunFolder::prepare(&file), Err(FolderError::Occupied { .. })));
        assert!(matches!(RunFolder::prepare(&file.join("run")), Err(FolderError::Unwritable { .. })));
        assert!(matches!(RunFolder::prepare(&directory.path().join("none/..")), Err(FolderError::Unwritable { .. })));
    }

    #[test]
    fn what_a_killed_run_left_is_removed_but_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        write(&beside(&place, REPLACED), &records()).unwrap();
        fs::create_dir(beside(&place, PARTIAL)).unwrap();
        fs::write(beside(&place, PARTIAL).join(EVENTS.name), "{\"at_us").unwrap();
        fs::create_dir(beside(&place, PARTIAL).join(LOGS)).unwrap();
        write(&place, &records()).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

        for suffix in [PARTIAL, REPLACED] {
            let precious = beside(&place, suffix);
            fs::create_dir(&precious).unwrap();
            fs::write(precious.join("thesis.txt"), "years of work").unwrap();
            assert!(matches!(write(&place, &records()), Err(FolderError::Occupied { .. })));
            assert!(precious.join("thesis.txt").is_file());
            fs::remove_dir_all(&precious).unwrap();
        }
        assert!(place.join(RUN).is_file());
    }

    /// Returns how many requests the complete run folder at `place` holds; none if there is no complete one.
    fn requests_at(place: &Path) -> Option<usize> {
        FILES.iter().all(|file| place.join(file).is_file()).then_some(())?;
        Some(fs::read_to_string(place.join(REQUESTS.name)).ok()?.lines().count())
    }

    #[test]
    fn a_process_that_stops_at_any_call_leaves_the_earlier_run_or_the_new_one() {
        let mut calls = 0;
        loop {
            let directory = tempfile::tempdir().unwrap();
            let place = directory.path().join("run");
            write(&place, &Records::default()).unwrap();
            let files = FailingFiles::stopping_at(calls);
            let written = write_with(files.clone(), &place, &records());
            // Between the two moves there is none under the run's own name.
            let kept = requests_at(&place).or_else(|| requests_at(&beside(&place, REPLACED)));
            assert!(matches!(kept, Some(0 | 3)), "stopped at call {calls}: {kept:?}");
            // Whatever was left, the next run writes its folder.
            write(&place, &records()).unwrap();
            assert_eq!(requests_at(&place), Some(3));
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
            if !files.has_stopped() {
                written.unwrap();
                break;
            }
            calls += 1;
        }
        assert!(calls > 20, "only {calls} calls");
    }

    #[test]
    fn an_error_at_any_call_leaves_the_earlier_run_or_the_new_one_in_its_place() {
        let mut calls = 0;
        loop {
            let directory = tempfile::tempdir().unwrap();
            let place = directory.path().join("run");
            write(&place, &Records::default()).unwrap();
            let files = FailingFiles::failing_at(calls);
            let written = write_with(files.clone(), &place, &records());
            assert!(matches!(requests_at(&place), Some(0 | 3)), "failed at call {calls}");
            if !files.has_stopped() {
                written.unwrap();
                break;
            }
            calls += 1;
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_goes_on_pointing_to_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        let link = directory.path().join("latest");
        write(&place, &records()).unwrap();
        std::os::unix::fs::symlink(&place, &link).unwrap();
        write(&link, &Records::default()).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(place.join(REQUESTS.name)).unwrap(), "");

        let nowhere = directory.path().join("nowhere");
        std::os::unix::fs::symlink("gone", &nowhere).unwrap();
        assert!(matches!(RunFolder::prepare(&nowhere), Err(FolderError::Occupied { .. })));
    }
}
