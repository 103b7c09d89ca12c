//! Commands that take long are killed, and started again: the result is that of a command that was never killed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::command::{Ended, sim};

const SCENARIO: &str = r#"name = "story"
duration = "10s"

[servers]
workers = 1
queue = 1000
service_time_min = "20ms"

[workload]
sizes = ["8x8"]

[load]
rate = 30.0
arrivals = "poisson"

[[fault]]
at = "2s"
kind = "crash"
target = "server-0"
restart_after = "1s"

[[fault]]
at = "4s"
kind = "freeze"
target = "server-1"
duration = "1s"

[[expect]]
metric = "latency_max"
max = "1500ms"
"#;

/// Times after which each command is killed, in milliseconds: while it starts, works and, on a fast machine, has ended.
const KILLS_MS: [u64; 5] = [10, 40, 150, 500, 1_500];

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("story.toml"), SCENARIO).unwrap();
    folder
}

/// Returns the content of every file below `folder`.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = sim(folder);
    command.args(words);
    command
}

/// Starts the command, and kills it after `time` if it is still running then.
#[expect(clippy::disallowed_methods, reason = "waits for another process")]
fn kill_after(time: Duration, command: &mut Command) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Runs `words` to their end in one folder, and in another after kills: the output and all files are the same.
#[track_caller]
fn assert_same_after_kills(words: &[&str]) {
    let whole = folder();
    let uninterrupted = Ended::after(&mut command(whole.path(), words));
    assert!(matches!(uninterrupted.code, Some(0 | 1)), "{uninterrupted:?}");

    let killed = folder();
    for time_ms in KILLS_MS {
        kill_after(Duration::from_millis(time_ms), &mut command(killed.path(), words));
    }
    let continued = Ended::after(&mut command(killed.path(), words));
    assert_eq!(continued, uninterrupted);
    let found = files(killed.path());
    let expected = files(whole.path());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (path, content) in expected {
        assert!(found[&path] == content, "{} is another one after kills", path.display());
    }
}

#[test]
fn a_sweep_that_was_killed_ends_as_one_that_was_not() {
    assert_same_after_kills(&["story.toml", "--seeds", "0..60", "--vary", "servers.queue=10,1000", "--out", "sweep"]);
}

#[test]
fn a_hunt_that_was_killed_ends_as_one_that_was_not() {
    assert_same_after_kills(&[
        "hunt",
        "story.toml",
        "--invariants",
        "--runs",
        "30",
        "--for",
        "10m",
        "--keep",
        "--jobs",
        "1",
    ]);
}

#[test]
fn a_search_for_a_threshold_that_was_killed_ends_as_one_that_was_not() {
    assert_same_after_kills(&[
        "tip",
        "story.toml",
        "--along",
        "load.rate=5..200",
        "--samples",
        "5",
        "--runs",
        "6",
        "--out",
        "tip",
    ]);
}

#[test]
fn a_reduction_that_was_killed_ends_as_one_that_was_not() {
    assert_same_after_kills(&["shrink", "story.toml", "--set", "expect.0.max=\"1us\"", "--out", "small.toml"]);
}

#[test]
fn a_run_that_was_killed_ends_as_one_that_was_not() {
    assert_same_after_kills(&["story.toml", "--set", "duration=\"3m\"", "--out", "run"]);
}

#[test]
fn shards_that_were_killed_merge_to_the_sweep_that_was_not_split() {
    let whole = folder();
    let ended = Ended::after(&mut command(whole.path(), &["story.toml", "--seeds", "0..40", "--out", "sweep"]));
    assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
    let folder = folder();
    for shard in ["1/2", "2/2"] {
        let place = format!("shard{}", &shard[..1]);
        let words = ["story.toml", "--seeds", "0..40", "--shard", shard, "--out", &place];
        for kill in 1..=3 {
            kill_after(Duration::from_millis(40) * kill, &mut command(folder.path(), &words));
        }
        let ended = Ended::after(&mut command(folder.path(), &words));
        assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
    }
    let shards = ["shard1", "shard2"].map(|shard| folder.path().join(shard));
    let shards = shards.map(|place| (place.clone(), kernel::experiment::sweep::SweepRecord::read(&place).unwrap()));
    let merged = kernel::experiment::sweep::merge(shards.into()).unwrap();
    let place = folder.path().join("merged");
    merged.write(&place, kernel::run_folder::Earlier::Replace).unwrap();
    assert_eq!(files(&place), files(&whole.path().join("sweep")));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "waits for another process")]
fn a_run_that_is_interrupted_keeps_what_it_has() {
    let folder = folder();
    let words = ["story.toml", "--set", "duration=24h", "--set", "load.rate=200", "--out", "cut"];
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = command(folder.path(), &words);
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // From when the simulation runs, signals are listened to.
        let tasks = PathBuf::from(format!("/proc/{}/task", child.id()));
        let is_simulating = || {
            let mut names = fs::read_dir(&tasks)
                .unwrap()
                .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
            names.any(|name| name.trim() == "simulation")
        };
        while !is_simulating() {
            thread::sleep(Duration::from_millis(5));
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert!(stdout.starts_with("INTERRUPTED  story (sim, seed 0, resilient)"), "{stdout}");
        assert!(stderr.contains("it was interrupted; what was recorded is in the folder"), "{stderr}");
        for document in ["run.json", "summary.json"] {
            let text = fs::read_to_string(folder.path().join("cut").join(document)).unwrap();
            assert!(text.contains("it was interrupted"), "{text}");
        }
    }
}
