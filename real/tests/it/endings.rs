//! What ends a run before its time, and what remains of it: the lines of the table in the README.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kernel::{
    record::Records,
    run_folder::{FileRows, Progress, RunState},
};
use rustix::{
    process::{Signal, kill_process},
    time::{ClockId, clock_gettime},
};
use tempfile::TempDir;

use crate::{
    child::{self, Run, command_line, lives, pid, wait_until},
    command::command_of,
};

/// A run that lasts longer than every test.
const STORY: &str = r#"
name = "endings"
duration = "60s"
[servers]
replicas = 2
[workload]
sizes = ["8x8"]
[load]
rate = 100.0
"#;

/// Rows of requests that a test waits for before it ends the run.
const ROWS: usize = 30;

/// The most by which the last row that remains may precede the end of the run. On an idle machine it is less than a tenth of
/// a second; a test machine may stop a process for a while.
const LOSS_MAX_US: u64 = 10_000_000;

/// A run with some rows in its folder.
struct Recording {
    run: Run,
    directory: TempDir,
    /// The folder while the run is not complete.
    partial: PathBuf,
    /// The requests whose rows were there when it was looked at last.
    seen: BTreeSet<u64>,
}

impl Recording {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("there is room for a folder");
        let scenario = directory.path().join("endings.toml");
        fs::write(&scenario, STORY).expect("there is room for a file");
        let run = Run::start(&scenario, 1, &directory.path().join("run"));
        let mut seen = BTreeSet::new();
        wait_until("rows are in the folder", || {
            seen = partial(directory.path()).map(|place| requests(&place)).unwrap_or_default();
            seen.len() >= ROWS
        });
        let partial = partial(directory.path()).expect("it was there before");
        Self { run, directory, partial, seen }
    }

    /// Sends a signal to the child called `name`.
    fn signal_child(&self, name: &str, signal: Signal) {
        let is_it = |id: &&u32| command_line(**id).is_some_and(|words| words.iter().any(|word| word == name));
        let children = self.run.children();
        let child = children.iter().find(is_it).expect("it runs");
        kill_process(pid(*child), signal).expect("it lives");
    }

    /// Waits for the end of the run. Returns its exit code, what it said, and what remains.
    fn end(self) -> Ended {
        let children = self.run.children();
        let end_us = now_us();
        let (status, said) = self.run.end();
        wait_until("the children are gone", || !children.iter().any(|id| lives(*id)));
        let complete = self.directory.path().join("run");
        Ended {
            code: status.code(),
            said,
            partial: self.partial,
            complete,
            seen: self.seen,
            end_us,
            _directory: self.directory,
        }
    }
}

/// A run that has ended.
struct Ended {
    code: Option<i32>,
    said: String,
    partial: PathBuf,
    complete: PathBuf,
    seen: BTreeSet<u64>,
    /// When it was asked to end, since the start of the machine.
    end_us: u64,
    _directory: TempDir,
}

impl Ended {
    /// Checks that what remains is a folder that is not complete, says `cause`, and has every row but those of the end.
    fn remains(&self, state: Progress, cause: &str) {
        let found =
            RunState::read(&self.partial).unwrap_or_else(|| panic!("it does not say what it is: {}", self.said));
        assert_eq!(found.state, state);
        assert!(found.describe().contains(cause), "{}", found.describe());
        assert!(!self.complete.exists(), "a folder that is not complete is not in its place");
        for file in ["scenario.toml", "run.json", "attempts.jsonl", "events.jsonl"] {
            assert!(self.partial.join(file).is_file(), "{file} is missing");
        }
        let requests = requests(&self.partial);
        assert!(self.seen.is_subset(&requests), "a row has gone");
        let last_us = requests_done_us(&self.partial);
        let epoch_us = self.epoch_us();
        assert!(epoch_us + last_us + LOSS_MAX_US >= self.end_us, "the last row is of {last_us} µs");
    }

    /// The start of the run, since the start of the machine, from the log of the load process.
    fn epoch_us(&self) -> u64 {
        let log = fs::read_to_string(self.partial.join("logs/load.log")).expect("logs remain");
        let (_, rest) = log.split_once("epoch_ns=").expect("it says when the load begins");
        rest.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).expect("it is a number") / 1_000
    }
}

fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// The folder in `directory` of a run that is not complete.
fn partial(directory: &Path) -> Option<PathBuf> {
    let mut paths = fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.is_dir() && path.extension().is_some_and(|end| end == "partial"))
}

/// The requests that have a row in the folder at `place`, whose last line may be cut off; none while it has no files.
fn requests(place: &Path) -> BTreeSet<u64> {
    FileRows::read(place, |rows| rows.requests().map(|row| row.id).collect()).unwrap_or_default()
}

/// The end of the last call that has a row.
fn requests_done_us(place: &Path) -> u64 {
    FileRows::read(place, |rows| rows.requests().filter_map(|row| row.done_us).max()).ok().flatten().unwrap_or_default()
}

#[test]
fn a_signal_to_the_command_ends_the_run_in_order_and_its_folder_is_complete() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let recording = Recording::start();
        recording.run.signal(signal);
        let ended = recording.end();
        assert_eq!(ended.code, Some(3), "{}", ended.said);
        assert!(ended.said.contains("what was recorded is in the folder"), "{}", ended.said);
        assert!(!ended.partial.exists() && ended.complete.join("summary.json").is_file());
        assert_eq!(RunState::read(&ended.complete), None);
        let Records { requests, .. } = child::records(&ended.complete);
        assert!(requests.iter().map(|row| row.id).eq(0..requests.len() as u64), "sorted, and none is missing");
        assert!(requests.len() >= ended.seen.len());
    }
}

#[test]
fn a_command_that_is_killed_leaves_what_was_recorded() {
    let recording = Recording::start();
    recording.run.signal(Signal::KILL);
    let ended = recording.end();
    assert_eq!(ended.code, None);
    ended.remains(Progress::Running, "or that process was killed");
}

#[test]
fn a_load_process_that_ends_leaves_what_was_recorded() {
    for signal in [Signal::KILL, Signal::TERM] {
        let recording = Recording::start();
        recording.signal_child("generator", signal);
        let ended = recording.end();
        assert_eq!(ended.code, Some(3), "{}", ended.said);
        assert!(ended.said.contains("error: load ended with signal: "), "{}", ended.said);
        let place = format!("what was recorded until then is in {}", ended.partial.display());
        assert!(ended.said.contains(&place), "{}", ended.said);
        ended.remains(Progress::Interrupted, "load ended with signal: ");
    }
}

#[test]
fn a_replica_that_ends_by_itself_leaves_what_was_recorded() {
    let recording = Recording::start();
    recording.signal_child("server-1", Signal::KILL);
    let ended = recording.end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    ended.remains(Progress::Interrupted, "server-1 ended with signal: 9 (SIGKILL)");
}

#[test]
fn a_folder_that_is_removed_ends_the_run_and_is_written_again() {
    let recording = Recording::start();
    fs::remove_dir_all(&recording.partial).expect("it is there");
    let ended = recording.end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    let found = RunState::read(&ended.partial).unwrap_or_else(|| panic!("{}", ended.said));
    assert!(found.describe().contains("was removed during the run; what was recorded is there again"), "{found:?}");
    for file in ["scenario.toml", "run.json"] {
        assert!(ended.partial.join(file).is_file(), "{file} is missing");
    }
    let requests = requests(&ended.partial);
    assert!(ended.seen.is_subset(&requests), "a row has gone");
}

/// A limit on files stands in for a disk that is full, which takes privilege to make: a write fails half-way.
#[test]
fn a_disk_that_fills_up_ends_the_run_and_leaves_what_was_recorded() {
    let directory = tempfile::tempdir().expect("there is room for a folder");
    fs::write(directory.path().join("endings.toml"), STORY).expect("there is room for a file");
    // In units of 512 or 1,024 bytes: less than the rows take, and more than any other file.
    let output = command_of("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_real")])
        .args(["endings.toml", "--out", "deep/run"])
        .current_dir(directory.path())
        .output()
        .expect("there is a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("error: cannot write the run folder: deep/run."), "{said}");
    assert!(said.contains("choose another folder with --out\nwhat was recorded until then is in deep/run."), "{said}");
    let left = partial(&directory.path().join("deep")).expect("it is kept");
    let state = RunState::read(&left).expect("it says what it is");
    assert!(state.describe().contains("cannot write the run folder"), "{state:?}");
    let events = fs::read_to_string(left.join("events.jsonl")).expect("it is there");
    assert!(events.len() > 16 << 10 && events.ends_with('\n'), "all that was written before, in complete lines");
    assert!(left.join("logs/load.log").is_file());
}
