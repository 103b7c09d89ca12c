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
    record::{AttemptRow, CallRow, EventRow, Keyed, Records, RequestRow},
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

/// The file of inner calls, which a run has whose scenario has `[[service]]` tables.
pub static CALLS: RowFile<CallRow> = RowFile::new("calls.jsonl", "not the row of a call");

/// Names of the files of rows that each run has.
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

/// A file with a row a line, of which a run folder has three, or four if its services call each other.
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
    /// SHA-256 over the lines of requests, attempts and events, and of inner calls if there are some, in hexadecimal.
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
        let calls = scenario.has_services().then_some(CALLS.name);
        let journal = Journal::create(self.place.files(), &KIND, self.place.staging(), names, calls)?;
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
        if scenario.has_services() {
            self.sort(&CALLS, &mut digest, |row| row.done_us() <= end.end_us)?;
        }
        let label = RunLabel {
            scenario: &scenario.name,
            seed: info.seed,
            world: &info.world,
            profile: Some(scenario.client.profile),
        };
        let names = scenario.entry_names();
        let summary = FileRows::read(self.place.staging(), |rows| {
            let run = RunRows::on_servers(&names, end.duration, rows);
            Summary::compute(label, &run, &Script { stopped: info.stopped.as_deref(), ..scenario.script() })
        })?;
        self.place.write_file(SUMMARY, pretty(&summary).as_bytes())?;
        if info.events.is_some() {
            // What became of the rows on their way is known when the run has ended.
            let unwritable = KIND.unwritable(&self.place.staging().join(RUN));
            self.place.rewrite(RUN, |output| output.write_all(pretty(info).as_bytes()).map_err(unwritable))?;
        }
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
        let names = scenario.entry_names();
        let rows = RunRows::on_servers(&names, duration, records);
        let script = Script { stopped: info.stopped.as_deref(), ..scenario.script() };
        let summary = Summary::compute(label, &rows, &script);
        let mut digest = RecordsDigest::default();
        self.place.write_file(SCENARIO, scenario.to_toml().as_bytes())?;
        self.place.write_file(RUN, pretty(info).as_bytes())?;
        self.write_rows(REQUESTS.name, &records.requests, &mut digest)?;
        self.write_rows(ATTEMPTS.name, &records.attempts, &mut digest)?;
        self.write_rows(EVENTS.name, &records.events, &mut digest)?;
        if scenario.has_services() {
            self.write_rows(CALLS.name, &records.calls, &mut digest)?;
        }
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
    sort_file(&EVENTS, place, to)?;
    sort_file(&CALLS, place, to)
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
        let mut ours = ROWS.iter().chain([&CALLS.name, &SCENARIO, &RUN, &SUMMARY, &MANIFEST, &STATE]);
        let is_ours = ours.any(|ours| name == ours || is_staging_of(name, ours.as_ref()));
        if name == LOGS { has_logs_alone(files, &staging.join(LOGS)) } else { is_ours && is_file(&staging.join(name)) }
    })
}

/// Returns whether a row was recorded to the folder at `place`.
fn has_rows(place: &Path) -> bool {
    ROWS.iter().chain([&CALLS.name]).any(|name| fs::metadata(place.join(name)).is_ok_and(|found| found.len() > 0))
}

/// Returns whether there are only logs of processes in the folder at `path`.
fn has_logs_alone(files: &dyn Files, path: &Path) -> bool {
    let names = files.list(path).unwrap_or_default();
    names.iter().all(|name| is_file(&path.join(name)) && Path::new(name).extension().is_some_and(|end| end == "log"))
}

#[cfg(test)]
mod tests;
