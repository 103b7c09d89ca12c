//! The run folder: what a run leaves on disk, the same files from both worlds.
//!
//! It is written beside its [`Place`], and moved there when it is complete. So a folder under its own name is a complete
//! run, and a run that fails leaves the earlier one untouched.

use std::{
    fs,
    io::{BufWriter, Write},
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    atomic::{self, is_staging_of},
    blocks::{FoldedRows, fold_rows},
    digest::RecordsDigest,
    error::{FolderError, FolderKind, RowKind},
    files::{Files, OsFiles},
    info::RunInfo,
    journal::Journal,
    lines::{JsonLines, UnfinishedLine, for_each_line},
    manifest::{MANIFEST, Manifest, is_file},
    place::{Contents, Earlier, Place, Placed},
    rows::FileRows,
    sorted::Sorter,
    state::{RunState, STATE},
};
use crate::{
    input,
    json::pretty,
    measure::{RunLabel, RunRows, Script, Summary},
    record::{AttemptRow, EventRow, Keyed, Records, RequestRow},
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

/// Names of the files of rows.
static ROWS: [&str; 3] = [REQUESTS.name, ATTEMPTS.name, EVENTS.name];

/// Name of the folder with what processes wrote to their standard error.
const LOGS: &str = "logs";

/// The words in which errors speak of a run folder.
static KIND: FolderKind = FolderKind {
    not_one: "not a run folder",
    cannot: "write the run folder: ",
    other_version: "is of another version of this program",
    other_version_remedy: "run its scenario again into another folder",
    damaged_remedy: "run its scenario again",
};

static CONTENTS: Contents = Contents { kind: &KIND, holds: "run", is_unlisted, is_precious, is_abandoned };

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

impl<T: DeserializeOwned> RowFile<T> {
    /// Opens this file in the run folder at `place` to read its rows one by one, without a last line that is cut off.
    ///
    /// # Errors
    ///
    /// Returns an error if the file is missing or cannot be read.
    pub fn lines(&'static self, place: &Path) -> Result<JsonLines<T>, FolderError> {
        JsonLines::open(&OsFiles, &place.join(self.name), &self.kind, UnfinishedLine::Skip)
    }

    /// Folds the rows of this file in the run folder at `place`, block by block on all processors: `start` makes what collects
    /// the rows of a block, `add` adds a row to it, and `end` makes it the result of the block.
    ///
    /// # Errors
    ///
    /// The file is missing or cannot be read, or a line with a line break is not a row.
    pub fn fold<P, R: Send>(
        &'static self,
        place: &Path,
        start: impl Fn() -> P + Sync,
        add: impl Fn(&mut P, T) + Sync,
        end: impl Fn(P) -> R + Sync,
    ) -> Result<FoldedRows<R>, FolderError> {
        fold_rows(&place.join(self.name), &self.kind, start, add, end)
    }
}

/// The end of a run whose rows were written to its folder as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunEnd {
    /// How long load was offered, from the start of the run.
    pub duration: Duration,
    /// The time at which the run ended in microseconds. Later events belong to the end of its processes, and not to it.
    pub end_us: u64,
}

/// The results of writing a run folder.
#[derive(Debug)]
pub struct Written {
    /// The metrics and the verdict.
    pub summary: Summary,
    /// SHA-256 over the lines of requests, attempts and events, in hexadecimal.
    pub digest: String,
    /// Where the folder is.
    pub placed: Placed,
}

/// A run folder that is being written. Dropped before it is complete, it leaves nothing, unless rows were recorded to it from
/// [`begin`](Self::begin) on: those are never lost.
///
/// ```
/// use std::time::Duration;
/// use kernel::{record::Records, run_folder::{Earlier, RunFolder, RunInfo}, scenario::Scenario};
///
/// let place = tempfile::tempdir()?;
/// let scenario = Scenario::load("../scenarios/baseline.toml".as_ref(), &[])?;
/// let folder = RunFolder::prepare(&place.path().join("run"), Earlier::Replace)?;
/// let written = folder.write(&scenario, &RunInfo::new("sim", 7), &Records::default(), Duration::from_secs(30))?;
/// assert!(!written.summary.pass, "nothing was recorded, so nothing holds");
/// assert!(place.path().join("run/requests.jsonl").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RunFolder {
    place: Place,
    /// The files that say which run it is, once it has begun.
    identity: Vec<(&'static str, String)>,
}

impl RunFolder {
    /// Returns where a run is written unless the user chooses another place.
    pub fn default_place(scenario: &str, world: &str, seed: u64) -> PathBuf {
        Path::new("runs").join(scenario).join(format!("{world}-seed{seed}"))
    }

    /// Returns the path of a file of the run at `place` that is missing or was changed since; `None` if all are as they were
    /// written.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be read.
    pub fn damage(place: &Path) -> Result<Option<PathBuf>, FolderError> {
        let Some(manifest) = Manifest::read(place) else { return Ok(Some(place.join(MANIFEST))) };
        let missing = manifest.names().map(|name| place.join(name)).find(|path| !path.exists());
        let changed = manifest.changed(place).map_err(FolderError::unreadable(place))?;
        Ok(missing.or_else(|| changed.into_iter().next()))
    }

    /// Prepares to write a run folder at `place`: what could go wrong after the run is found out before it.
    ///
    /// # Errors
    ///
    /// Returns an error if there is something that is not a run folder, or a run that was changed, if another process writes
    /// there, or if the operating system refuses.
    pub fn prepare(place: &Path, earlier: Earlier) -> Result<Self, FolderError> {
        Self::prepare_with(Arc::new(OsFiles), place, earlier)
    }

    /// Does the same as [`prepare`](Self::prepare), and changes the folder through `files`.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases.
    pub fn prepare_with(files: Arc<dyn Files>, place: &Path, earlier: Earlier) -> Result<Self, FolderError> {
        let place = Place::prepare(files, place, &CONTENTS, earlier)?;
        Ok(Self { place, identity: Vec::new() })
    }

    /// Returns the place of the folder.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Creates a folder within it for the logs of the run's processes, which write to it during the run.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    pub fn logs(&self) -> Result<PathBuf, FolderError> {
        self.place.create_folder(LOGS)
    }

    /// Writes what identifies the run, which is about to begin, and creates its files of rows. From here on the folder stays
    /// whatever ends the run, and [`STATE`] in it says what it is.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    pub fn begin(&mut self, scenario: &Scenario, info: &RunInfo) -> Result<Journal, FolderError> {
        self.identity = vec![(SCENARIO, scenario.to_toml()), (RUN, pretty(info))];
        for (name, content) in &self.identity {
            self.place.write_file(name, content.as_bytes())?;
        }
        self.write_state(&RunState::running())?;
        let names = [REQUESTS.name, ATTEMPTS.name, EVENTS.name];
        let journal = Journal::create(self.place.files(), &KIND, self.place.staging(), names)?;
        self.place.set_stays(true);
        Ok(journal)
    }

    /// Notes in the folder that `cause` ended the run before its time. Of a run of which no row was recorded nothing stays.
    pub fn interrupt(&mut self, cause: &str) {
        let staging = self.place.staging();
        let stays = has_rows(staging);
        if stays {
            // A disk may be full: what can be written is.
            for (name, content) in self.identity.iter().filter(|(name, _)| !staging.join(name).exists()) {
                let _ = atomic::write(&*self.place.files(), &staging.join(name), content.as_bytes());
            }
            let state = RunState::interrupted(cause);
            let _ = self.write_state(&state).or_else(|_| state.write_over(staging));
        }
        self.place.set_stays(stays);
    }

    /// Returns where the rows of a run are that has begun and is not complete; `None` if there are none.
    pub fn remains(&self) -> Option<&Path> {
        self.place.stays().then(|| self.place.staging())
    }

    fn write_state(&self, state: &RunState) -> Result<(), FolderError> {
        let path = self.place.staging().join(STATE);
        atomic::write(&*self.place.files(), &path, pretty(state).as_bytes()).map_err(KIND.unwritable(&path))
    }

    /// Brings the rows of the run of `scenario` into their order, which were written to its journal until it ended as `end`
    /// says, measures them, writes all other files, and moves the folder into its place, as [`write`](Self::write) does. The
    /// files have the same bytes as if it had written them. Memory does not depend on the number of rows, but for about 64
    /// bytes of each request, and for those that [`FileRows`] keeps.
    ///
    /// # Errors
    ///
    /// Returns an error if a file was changed meanwhile, or the operating system refuses. The folder then stays where it was
    /// written, with all rows.
    pub fn conclude(mut self, scenario: &Scenario, info: &RunInfo, end: RunEnd) -> Result<Written, FolderError> {
        let completed = self.complete(scenario, info, end);
        let (summary, digest) = completed.inspect_err(|error| self.interrupt(&error.to_string()))?;
        Ok(Written { summary, digest, placed: self.place.put_in_place()? })
    }

    fn complete(&mut self, scenario: &Scenario, info: &RunInfo, end: RunEnd) -> Result<(Summary, String), FolderError> {
        let mut digest = RecordsDigest::default();
        self.sort(&REQUESTS, &mut digest, |_| true)?;
        self.sort(&ATTEMPTS, &mut digest, |_| true)?;
        self.sort(&EVENTS, &mut digest, |row| row.at_us <= end.end_us)?;
        let label = RunLabel {
            scenario: &scenario.name,
            seed: info.seed,
            world: &info.world,
            profile: Some(scenario.client.profile),
        };
        let summary = FileRows::read(self.place.staging(), |rows| {
            let run = RunRows::new(scenario.servers.replicas, end.duration, rows);
            Summary::compute(label, &run, &Script { stopped: info.stopped.as_deref(), ..scenario.script() })
        })?;
        self.place.write_file(SUMMARY, pretty(&summary).as_bytes())?;
        self.place.add_folder(LOGS)?;
        let state = self.place.staging().join(STATE);
        self.place.files().remove_file(&state).map_err(KIND.unwritable(&state))?;
        Ok((summary, digest.finish()))
    }

    /// Brings the rows of a file into their order, and leaves out those whose key `keep` refuses. Whether the rest of each line is
    /// a row is found out when they are measured.
    fn sort<T: Keyed>(
        &mut self,
        file: &'static RowFile<T>,
        digest: &mut RecordsDigest,
        keep: impl Fn(&T::Key) -> bool,
    ) -> Result<(), FolderError> {
        let files = self.place.files();
        let path = self.place.staging().join(file.name);
        self.place.rewrite(file.name, |output| {
            Sorter::new(&*files, &path, &path, &file.kind).sort(keep, |line| {
                digest.add(line);
                output.write_all(line)
            })
        })
    }

    /// Measures `records`, which a run of `scenario` left while load was offered for `duration`, writes all files, and
    /// moves the folder into its place, where it replaces an earlier run. If something else has come into the place during
    /// the run, the folder goes to a free place beside it.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    pub fn write(
        mut self,
        scenario: &Scenario,
        info: &RunInfo,
        records: &Records,
        duration: Duration,
    ) -> Result<Written, FolderError> {
        let label = RunLabel {
            scenario: &scenario.name,
            seed: info.seed,
            world: &info.world,
            profile: Some(scenario.client.profile),
        };
        let rows = RunRows::new(scenario.servers.replicas, duration, records);
        let script = Script { stopped: info.stopped.as_deref(), ..scenario.script() };
        let summary = Summary::compute(label, &rows, &script);
        let mut digest = RecordsDigest::default();
        self.place.write_file(SCENARIO, scenario.to_toml().as_bytes())?;
        self.place.write_file(RUN, pretty(info).as_bytes())?;
        self.write_rows(REQUESTS.name, &records.requests, &mut digest)?;
        self.write_rows(ATTEMPTS.name, &records.attempts, &mut digest)?;
        self.write_rows(EVENTS.name, &records.events, &mut digest)?;
        self.place.write_file(SUMMARY, pretty(&summary).as_bytes())?;
        self.place.add_folder(LOGS)?;
        Ok(Written { summary, digest: digest.finish(), placed: self.place.put_in_place()? })
    }

    fn write_rows<T: Serialize>(
        &mut self,
        name: &str,
        rows: &[T],
        digest: &mut RecordsDigest,
    ) -> Result<(), FolderError> {
        self.place.write(name, |file| {
            for_each_line(rows, |line| {
                digest.add(line);
                file.write_all(line)
            })
        })
    }
}

/// Writes the rows of the run folder at `place`, which are in order of arrival if the run is not complete, to new files of the
/// same names in the folder at `to`, in their order. A file that is missing stays so.
///
/// # Errors
///
/// Returns an error if a line is not a row, or if the operating system refuses.
pub fn sort_rows(place: &Path, to: &Path) -> Result<(), FolderError> {
    sort_file(&REQUESTS, place, to)?;
    sort_file(&ATTEMPTS, place, to)?;
    sort_file(&EVENTS, place, to)
}

fn sort_file<T: Keyed>(file: &'static RowFile<T>, place: &Path, to: &Path) -> Result<(), FolderError> {
    let input = place.join(file.name);
    if !is_file(&input) {
        return Ok(());
    }
    let path = to.join(file.name);
    let mut output = BufWriter::new(OsFiles.create(&path).map_err(KIND.unwritable(&path))?);
    Sorter::new(&OsFiles, &input, &path, &file.kind).sort(|_: &T::Key| true, |line| output.write_all(line))?;
    output.flush().map_err(KIND.unwritable(&path))
}

/// Returns whether the folder at `place` holds a run of a version of this program that wrote no manifest.
fn is_unlisted(place: &Path) -> bool {
    let has_files = ROWS.iter().chain([&SCENARIO, &RUN, &SUMMARY]).all(|name| is_file(&place.join(name)));
    has_files && !place.join(MANIFEST).exists() && info_at(place).is_some()
}

/// Returns whether the folder at `place` holds a run of real processes.
fn is_precious(place: &Path) -> bool {
    info_at(place).is_none_or(|info| info.world != "sim")
}

fn info_at(place: &Path) -> Option<RunInfo> {
    serde_json::from_slice(&input::read(&place.join(RUN)).ok()?).ok()
}

/// Returns whether at `staging` is what a killed process left, and nothing that cannot be had again: a simulated run, or one
/// of which nothing was recorded.
fn is_abandoned(files: &dyn Files, staging: &Path) -> bool {
    if has_rows(staging) && is_precious(staging) {
        return false;
    }
    let names = files.list(staging).unwrap_or_default();
    names.iter().all(|name| {
        let mut ours = ROWS.iter().chain([&SCENARIO, &RUN, &SUMMARY, &MANIFEST, &STATE]);
        let is_ours = ours.any(|ours| name == ours || is_staging_of(name, ours.as_ref()));
        if name == LOGS { has_logs_alone(files, &staging.join(LOGS)) } else { is_ours && is_file(&staging.join(name)) }
    })
}

/// Returns whether a row was recorded to the folder at `place`.
fn has_rows(place: &Path) -> bool {
    ROWS.iter().any(|name| fs::metadata(place.join(name)).is_ok_and(|found| found.len() > 0))
}

/// Returns whether there are only logs of processes in the folder at `path`.
fn has_logs_alone(files: &dyn Files, path: &Path) -> bool {
    let names = files.list(path).unwrap_or_default();
    names.iter().all(|name| is_file(&path.join(name)) && Path::new(name).extension().is_some_and(|end| end == "log"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            digest::sha256, files::failing::FailingFiles, journal::WaitingLines, place::Earlier, replace::REPORT,
            rows::read_records,
        },
        *,
    };
    use crate::{
        record::{RequestRow, Row},
        status::Outcome,
    };

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
            kind: None,
            user: None,
            stream: None,
        });
        Records { requests: requests.collect(), ..Records::default() }
    }

    fn write(place: &Path, records: &Records) -> Result<String, FolderError> {
        write_with(Arc::new(OsFiles), place, records)
    }

    fn write_with(files: Arc<dyn Files>, place: &Path, records: &Records) -> Result<String, FolderError> {
        Ok(write_as(files, place, records, Earlier::Replace)?.digest)
    }

    fn write_as(
        files: Arc<dyn Files>,
        place: &Path,
        records: &Records,
        earlier: Earlier,
    ) -> Result<Written, FolderError> {
        let text = "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n";
        let scenario = Scenario::parse("short.toml", text, &[]).unwrap();
        let folder = RunFolder::prepare_with(files, place, earlier)?;
        folder.write(&scenario, &RunInfo::new("sim", 1), records, scenario.duration)
    }

    /// Records `records` to a folder at `place` as they would come, and completes it.
    fn record_with(files: Arc<dyn Files>, place: &Path, records: &Records) -> Result<Written, FolderError> {
        let text = "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n";
        let scenario = Scenario::parse("short.toml", text, &[]).unwrap();
        let info = RunInfo::new("real", 1);
        let mut folder = RunFolder::prepare_with(files, place, Earlier::Keep)?;
        let mut journal = folder.begin(&scenario, &info)?;
        for row in records.requests.iter().rev() {
            let mut lines = WaitingLines::default();
            lines.push(&Row::Request(row.clone()));
            if let Err(error) = journal.append(&mut lines) {
                folder.interrupt(&error.to_string());
                return Err(error);
            }
        }
        folder.conclude(&scenario, &info, RunEnd { duration: scenario.duration, end_us: 1_000_000 })
    }

    /// Returns the folders in `directory` whose runs are not complete.
    fn partial(directory: &Path) -> Vec<PathBuf> {
        let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "partial")).collect()
    }

    #[test]
    fn an_error_at_any_call_leaves_all_rows_that_were_written_before() {
        for calls in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let files = FailingFiles::failing_at(calls);
            let recorded = record_with(files.clone(), &directory.path().join("run"), &records());
            let ids =
                |place: &Path| -> Vec<u64> { read_records(place).unwrap().requests.iter().map(|row| row.id).collect() };
            match (recorded, partial(directory.path()).as_slice()) {
                (Ok(written), []) => assert_eq!(ids(&written.placed.place), [0, 1, 2]),
                // Nothing had been recorded.
                (Err(_), []) => {}
                (Err(error), [left]) => {
                    let ids = ids(left);
                    let is_as_they_came = !ids.is_empty() && [2, 1, 0].starts_with(&ids);
                    assert!(is_as_they_came || ids == [0, 1, 2], "failed at call {calls}: {ids:?}");
                    let what = RunState::read(left).map(|state| state.describe());
                    assert!(what.is_none_or(|what| what.contains(&error.to_string())), "failed at call {calls}");
                }
                (recorded, left) => panic!("failed at call {calls}: {recorded:?}, and there is {left:?}"),
            }
            if !files.has_stopped() {
                break;
            }
        }
    }

    #[test]
    fn a_process_that_stops_at_any_call_leaves_a_folder_that_the_next_run_does_not_remove() {
        for calls in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let place = directory.path().join("run");
            let files = FailingFiles::stopping_at(calls);
            let recorded = record_with(files.clone(), &place, &records());
            let left = partial(directory.path());
            record_with(Arc::new(OsFiles), &place, &records()).unwrap();
            let kept = partial(directory.path());
            let with_rows: Vec<_> = left.into_iter().filter(|left| has_rows(left)).collect();
            assert_eq!(kept, with_rows, "stopped at call {calls}");
            if !files.has_stopped() {
                assert!(recorded.is_ok());
                break;
            }
        }
    }

    #[test]
    fn a_folder_holds_its_files_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("runs/short/sim-seed1");
        write(&place, &records()).unwrap();
        for file in files_of_a_run() {
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
        drop(RunFolder::prepare(&directory.path().join("runs/short/run"), Earlier::Replace).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_the_way_is_reported_before_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(RunFolder::prepare(&file, Earlier::Replace), Err(FolderError::Occupied { .. })));
        assert!(matches!(RunFolder::prepare(&file.join("run"), Earlier::Replace), Err(FolderError::Unwritable { .. })));
        assert!(matches!(
            RunFolder::prepare(&directory.path().join("none/.."), Earlier::Replace),
            Err(FolderError::Unwritable { .. })
        ));
        assert!(matches!(RunFolder::prepare("/".as_ref(), Earlier::Force), Err(FolderError::Occupied { .. })));
    }

    #[test]
    fn a_folder_with_a_file_that_is_called_as_one_of_a_run_is_not_a_run() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("p");
        fs::create_dir_all(place.join("src")).unwrap();
        fs::write(place.join(RUN), "{}").unwrap();
        fs::write(place.join("src/thesis.txt"), "years of work").unwrap();
        for earlier in [Earlier::Replace, Earlier::Keep, Earlier::Force] {
            let refused = RunFolder::prepare(&place, earlier);
            assert!(matches!(refused, Err(FolderError::Occupied { .. })), "{earlier:?}: {refused:?}");
        }
        assert_eq!(fs::read_to_string(place.join("src/thesis.txt")).unwrap(), "years of work");
        assert_eq!(fs::read_to_string(place.join(RUN)).unwrap(), "{}");
    }

    #[test]
    fn files_of_others_stay_in_the_folder_when_its_run_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        write(&place, &records()).unwrap();
        fs::create_dir_all(place.join("logs/mine")).unwrap();
        for name in ["notes.txt", "logs/mine/a.log", "logs/b.log"] {
            fs::write(place.join(name), name).unwrap();
        }
        let mut report = Manifest::new(REPORT);
        fs::create_dir(place.join("report")).unwrap();
        for (name, listed) in [("report.txt", true), ("comments.txt", false)] {
            fs::write(place.join("report").join(name), name).unwrap();
            if listed {
                report.add(name, sha256(name.as_bytes()));
            }
        }
        fs::write(place.join("report").join(MANIFEST), report.to_json()).unwrap();

        write(&place, &Records::default()).unwrap();
        assert_eq!(requests_at(&place), Some(0));
        for name in ["notes.txt", "logs/mine/a.log", "logs/b.log"] {
            assert_eq!(fs::read_to_string(place.join(name)).unwrap(), name);
        }
        // The report of the replaced run is gone, but for what somebody else has put there.
        assert_eq!(OsFiles.list(&place.join("report")).unwrap(), ["comments.txt"]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_run_that_was_changed_is_replaced_by_force_only() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        write(&place, &records()).unwrap();
        assert_eq!(RunFolder::damage(&place).unwrap(), None);
        fs::write(place.join(EVENTS.name), "my notes").unwrap();
        assert_eq!(RunFolder::damage(&place).unwrap(), Some(place.join(EVENTS.name)));
        let error = write(&place, &records()).unwrap_err();
        assert!(matches!(&error, FolderError::Changed { path } if *path == place.join(EVENTS.name)), "{error}");
        assert_eq!(fs::read_to_string(place.join(EVENTS.name)).unwrap(), "my notes");
        write_as(Arc::new(OsFiles), &place, &records(), Earlier::Force).unwrap();
        assert_eq!(fs::read_to_string(place.join(EVENTS.name)).unwrap(), "");
    }

    #[test]
    fn an_earlier_run_that_is_kept_leaves_the_next_name() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("real-seed42");
        for (name, records) in
            [("real-seed42", records()), ("real-seed42-2", Records::default()), ("real-seed42-3", records())]
        {
            let written = write_as(Arc::new(OsFiles), &place, &records, Earlier::Keep).unwrap();
            assert_eq!(written.placed.place, directory.path().join(name));
            assert_eq!(requests_at(&written.placed.place), Some(records.requests.len()));
        }
        assert_eq!(requests_at(&place), Some(3));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_simulated_run_does_not_replace_a_real_one() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        let scenario =
            Scenario::parse("short.toml", "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n", &[]).unwrap();
        let folder = RunFolder::prepare(&place, Earlier::Keep).unwrap();
        folder.write(&scenario, &RunInfo::new("real", 1), &records(), scenario.duration).unwrap();
        let written = write_as(Arc::new(OsFiles), &place, &Records::default(), Earlier::Replace).unwrap();
        assert_eq!(written.placed.place, directory.path().join("run-2"));
        assert_eq!((requests_at(&place), requests_at(&written.placed.place)), (Some(3), Some(0)));
        write_as(Arc::new(OsFiles), &place, &Records::default(), Earlier::Force).unwrap();
        assert_eq!(requests_at(&place), Some(0));
    }

    #[test]
    fn a_second_run_into_a_place_is_refused_before_it_starts() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        let first = RunFolder::prepare(&place, Earlier::Replace).unwrap();
        for earlier in [Earlier::Replace, Earlier::Keep, Earlier::Force] {
            assert!(matches!(RunFolder::prepare(&place, earlier), Err(FolderError::InUse { .. })));
        }
        drop(first);
        write(&place, &records()).unwrap();
    }

    #[test]
    fn a_run_is_not_lost_to_what_came_into_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        let text = "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n";
        let scenario = Scenario::parse("short.toml", text, &[]).unwrap();
        let folder = RunFolder::prepare(&place, Earlier::Replace).unwrap();
        fs::create_dir(&place).unwrap();
        fs::write(place.join("thesis.txt"), "years of work").unwrap();
        let written = folder.write(&scenario, &RunInfo::new("sim", 1), &records(), scenario.duration).unwrap();
        assert_eq!(written.placed.place, directory.path().join("run-2"));
        assert_eq!(requests_at(&written.placed.place), Some(3));
        assert_eq!(OsFiles.list(&place).unwrap(), ["thesis.txt"]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_a_killed_run_left_is_removed_but_nothing_that_cannot_be_had_again() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        let left = |number: u32, files: &[(&str, &str)]| {
            let folder = directory.path().join(format!("run.12-{number}.partial"));
            for (name, content) in files {
                let path = folder.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            folder
        };
        let info = |world: &str| pretty(&RunInfo::new(world, 1));
        let removed = [
            left(0, &[("logs/server-0.log", "ready")]),
            left(1, &[(RUN, &info("sim")), (REQUESTS.name, "{\"id"), (EVENTS.name, "")]),
            left(2, &[(RUN, &info("real")), (EVENTS.name, "")]),
        ];
        let kept = [
            left(3, &[("thesis.txt", "years of work")]),
            left(4, &[("logs/thesis.txt", "years of work")]),
            left(5, &[("run.json/thesis.txt", "years of work")]),
            left(6, &[(RUN, &info("real")), (EVENTS.name, "{\"at_us")]),
            left(7, &[(EVENTS.name, "{\"at_us")]),
        ];
        write(&place, &records()).unwrap();
        assert!(removed.iter().all(|folder| !folder.exists()), "{removed:?}");
        assert!(kept.iter().all(|folder| folder.exists()), "{kept:?}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1 + kept.len());
    }

    #[test]
    fn a_folder_that_is_called_as_a_replaced_one_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        write(&place, &records()).unwrap();
        // A copy by the user, and what a kill left that somebody has put something into.
        write(&directory.path().join("run.replaced"), &records()).unwrap();
        let other = directory.path().join("run.12-3.replaced");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("thesis.txt"), "years of work").unwrap();
        write(&place, &Records::default()).unwrap();
        assert_eq!(requests_at(&directory.path().join("run.replaced")), Some(3));
        assert!(other.join("thesis.txt").is_file());
    }

    #[test]
    fn a_run_without_a_manifest_is_replaced_by_force_and_kept_by_a_real_run() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        write(&place, &records()).unwrap();
        fs::remove_file(place.join(MANIFEST)).unwrap();
        fs::write(place.join("thesis.txt"), "years of work").unwrap();
        assert!(matches!(RunFolder::prepare(&place, Earlier::Replace), Err(FolderError::Unlisted { .. })));
        let beside = RunFolder::prepare(&place, Earlier::Keep).unwrap();
        assert_eq!(beside.place().path(), directory.path().join("run-2"));
        drop(beside);
        write_as(Arc::new(OsFiles), &place, &Records::default(), Earlier::Force).unwrap();
        assert_eq!(requests_at(&place), Some(0));
        assert_eq!(fs::read_to_string(place.join("thesis.txt")).unwrap(), "years of work");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn nothing_outside_the_folder_is_touched_whatever_its_manifest_lists() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        let elsewhere = directory.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("thesis.txt"), "years of work").unwrap();
        write(&place, &records()).unwrap();
        let mut manifest = Manifest::read(&place).unwrap();
        manifest.add("logs/thesis.txt", sha256(b"years of work"));
        manifest.add("thesis.txt", sha256(b"years of work"));
        fs::write(place.join(MANIFEST), manifest.to_json()).unwrap();
        std::os::unix::fs::symlink(&elsewhere, place.join("logs")).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("thesis.txt"), place.join("thesis.txt")).unwrap();

        assert!(matches!(write(&place, &records()), Err(FolderError::Changed { .. })));
        write_as(Arc::new(OsFiles), &place, &records(), Earlier::Force).unwrap();
        assert_eq!(fs::read_to_string(elsewhere.join("thesis.txt")).unwrap(), "years of work");
        assert!(place.join("logs").is_symlink());
    }

    fn files_of_a_run() -> impl Iterator<Item = &'static str> {
        ROWS.into_iter().chain([SCENARIO, RUN, SUMMARY, MANIFEST])
    }

    /// Returns how many requests the complete run folder at `place` holds; none if there is no complete one.
    fn requests_at(place: &Path) -> Option<usize> {
        files_of_a_run().all(|file| place.join(file).is_file()).then_some(())?;
        Some(fs::read_to_string(place.join(REQUESTS.name)).ok()?.lines().count())
    }

    /// Calls `check` with a folder that holds a run and a file of somebody else, and with operations that fail from each
    /// call on, or at each call alone, until a run is written without reaching the call.
    fn with_every_failure(failing: impl Fn(usize) -> Arc<FailingFiles>, check: impl Fn(&Path, &Path)) {
        for calls in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let place = directory.path().join("run");
            write(&place, &Records::default()).unwrap();
            fs::write(place.join("thesis.txt"), "years of work").unwrap();
            let files = failing(calls);
            let written = write_with(files.clone(), &place, &records());
            check(directory.path(), &place);
            // Whatever was left, the next run writes its folder.
            write(&place, &records()).unwrap();
            assert_eq!(requests_at(&place), Some(3));
            assert_eq!(fs::read_to_string(place.join("thesis.txt")).unwrap(), "years of work");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "call {calls}");
            if !files.has_stopped() {
                written.unwrap();
                assert!(calls > 30, "only {calls} calls");
                break;
            }
        }
    }

    #[test]
    fn a_process_that_stops_at_any_call_leaves_the_earlier_run_or_the_new_one() {
        with_every_failure(FailingFiles::stopping_at, |folder, place| {
            // Between the two moves there is none under the run's own name.
            let folders: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            let kept = requests_at(place).or_else(|| folders.iter().find_map(|former| requests_at(former)));
            assert!(matches!(kept, Some(0 | 3)), "{kept:?}");
            assert!(folders.iter().any(|folder| folder.join("thesis.txt").is_file()));
        });
    }

    #[test]
    fn an_error_at_any_call_leaves_the_earlier_run_or_the_new_one_in_its_place() {
        with_every_failure(FailingFiles::failing_at, |_, place| {
            assert!(matches!(requests_at(place), Some(0 | 3)), "{:?}", requests_at(place));
        });
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
        assert!(matches!(RunFolder::prepare(&nowhere, Earlier::Replace), Err(FolderError::Occupied { .. })));
    }
}
