//! The command's options: exit codes, messages, and the files that it writes.

use std::{
    fs::{self, DirEntry},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ended, program, sim};

/// A scenario that passes, and whose run takes hardly any time.
const SCENARIO: &str = r#"name = "story"
duration = "2s"

[workload]
sizes = ["8x8"]

[load]
rate = 20.0
arrivals = "poisson"

[[fault]]
at = "1s"
kind = "crash"
target = "server-0"

[[expect]]
metric = "success_rate"
min = 0.9

[[expect]]
metric = "latency_max"
max = "1s"
"#;

/// Returns a folder with `story.toml` in it.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("story.toml"), SCENARIO).unwrap();
    folder
}

/// Runs the command in `folder`.
fn run(folder: &TempDir, arguments: &[&str]) -> Ended {
    Ended::after(sim(folder.path()).args(arguments))
}

/// Returns everything below `folder`.
fn content(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path.clone());
            }
            paths.push(path);
        }
    }
    paths.sort();
    paths
}

/// Command lines with one mistake each, to be run where [`folder_of_traps`] is.
const WRONG: &[&[&str]] = &[
    &["story.toml", "--sede", "42"],
    &["story.toml", "another.toml"],
    &["--seed", "1", "verify", "story.toml"],
    &["verfy", "story.toml"],
    &["run"],
    &["run", "missing.toml"],
    &["new", "two words"],
    &["new", "story"],
    &["new", "precious/thesis.txt/story"],
    &["new", "other", "--workload", "sobl"],
    &["check"],
    &["list", "missing"],
    &["list", "precious"],
    &["completions", "tcsh"],
    &["man", "--out", "precious/thesis.txt"],
    &["story.toml", "--seed", "abc"],
    &["story.toml", "--seed", "-1"],
    &["story.toml", "--seed", "18446744073709551616"],
    &["story.toml", "--seed", "1", "--seed", "2"],
    &["story.toml", "--seeds", "5..5"],
    &["story.toml", "--seeds", "9..2"],
    &["story.toml", "--seeds", "7"],
    &["story.toml", "--seeds", "0..9", "--seed", "1"],
    &["story.toml", "--seeds", "0..1000001"],
    &["story.toml", "--seeds", "0..9", "--jobs", "0"],
    &["story.toml", "--seeds", "0..9", "--shard", "17/16"],
    &["story.toml", "--seeds", "0..9", "--shard", "0/16"],
    &["story.toml", "--seeds", "0..9", "--shard", "10/16"],
    &["story.toml", "--shard", "1/16"],
    &["story.toml", "--vary", "load.rate=1,2"],
    &["story.toml", "--seeds", "0..9", "--vary", "load.rate"],
    &["story.toml", "--seeds", "0..9", "--vary", "load.rate=1,,2"],
    &["story.toml", "--seeds", "0..9", "--vary", "load.rate=1,1"],
    &["story.toml", "--seeds", "0..9", "--vary", "load.rate=1", "--vary", "load.rate=2"],
    &["story.toml", "--seeds", "0..9", "--vary", "client.retry.max_attemps=1,2"],
    &["story.toml", "--seeds", "0..9", "--vary", "client.retry.max_attempts=1,0"],
    &["story.toml", "--seeds", "0..9", "--vary", "fault.0.at=1s,3s"],
    &["story.toml", "--seeds", "0..9", "--out", "precious"],
    &["story.toml", "--seeds", "0..9", "--out", "link_to_nowhere"],
    &["story.toml", "--seeds", "0..9", "--out", "precious/thesis.txt/runs"],
    &["story.toml", "--seeds", "0..9", "--calibration", "dfs_only.toml", "--out", "/proc/runs"],
    &["missing.toml"],
    &["precious"],
    &["broken.toml"],
    &["story.toml", "--set", "client.retry.max_attemps=1"],
    &["story.toml", "--set", "nothing"],
    &["story.toml", "--set", ""],
    &["story.toml", "--set", "client.deadline=\"10\""],
    &["story.toml", "--set", "client.deadline=\"-10s\""],
    &["story.toml", "--set", "duration=\"1000000h\""],
    &["story.toml", "--set", "load.rate=1e300"],
    &["story.toml", "--set", "servers.replicas=-2"],
    &["story.toml", "--set", "fault.0.target=\"server-2\""],
    &["story.toml", "--set", "workload={images=\"photos/*.png\"}"],
    &["story.toml", "--set", "workload={images=\"*.toml\"}"],
    &["story.toml", "--set", "nemesis.kinds=[\"frieze\"]"],
    &["shrink", "story.toml"],
    &["shrink", "missing.toml"],
    &["shrink", "precious"],
    &["hunt", "story.toml", "--for", "10"],
    &["hunt", "story.toml", "--set", "expect=[]"],
    &["tip", "story.toml", "--along", "load.rate"],
    &["tip", "story.toml", "--along", "load.rate=9..3"],
    &["tip", "story.toml", "--along", "load.rate=1..5s"],
    &["tip", "story.toml", "--along", "load.rat=1..3"],
    &["tip", "story.toml", "--along", "load.rate=1..3", "--and", "load.rate=1..2"],
    &["tip", "story.toml", "--along", "load.rate=1..3", "--set", "expect=[]"],
    &["tip", "story.toml", "--along", "load.rate=1..3", "--set", "fault=[]", "--recovery"],
    &["tip", "story.toml", "--along", "load.rate=1..3", "--out", "precious"],
    &["tip", "story.toml", "--along", "load.rate=20..21"],
    &["tip", "story.toml", "--along", "load.rate=1..3", "--samples", "1"],
    &["tip", "story.toml", "--along", "load.rate=0..3", "--log", "load.rate"],
    &["tip", "story.toml", "--along", "load.rate=1..3", "--log", "servers.workers"],
    &["story.toml", "--calibration", "missing.toml"],
    &["story.toml", "--calibration", "precious"],
    &["story.toml", "--calibration", "broken.toml"],
    &["story.toml", "--calibration", "story.toml"],
    &["story.toml", "--calibration", "descending.toml"],
    &["story.toml", "--calibration", "nothing_to_do.toml"],
    &["story.toml", "--calibration", "dfs_only.toml"],
    &["story.toml", "--out", ""],
    &["story.toml", "--out", "precious"],
    &["story.toml", "--out", "precious/thesis.txt"],
    &["story.toml", "--out", "precious/thesis.txt/run"],
    &["story.toml", "--out", "link_to_nowhere"],
    &["story.toml", "--out", "nowhere/.."],
    &["story.toml", "--out", "."],
    &["story.toml", "--out", "/"],
    &["story.toml", "--out", "/proc/run"],
];

fn folder_of_traps() -> TempDir {
    let folder = folder();
    let calibration = include_str!("../../calibration.toml");
    let (descending, nothing_to_do) =
        (calibration.replace("[0.5, 46.0]", "[0.5, 6.0]"), calibration.replace("65536", "0"));
    for (name, text) in [
        ("broken.toml", "name = \"broken\"\nduration = 90s\n"),
        ("descending.toml", &descending),
        ("nothing_to_do.toml", &nothing_to_do),
        ("dfs_only.toml", &calibration.replace("sobel", "dfs")),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::create_dir(folder.path().join("precious")).unwrap();
    fs::write(folder.path().join("precious/thesis.txt"), "years of work").unwrap();
    std::os::unix::fs::symlink("gone", folder.path().join("link_to_nowhere")).unwrap();
    folder
}

#[test]
fn wrong_input_is_reported_in_a_few_lines_and_writes_nothing() {
    let folder = folder_of_traps();
    let before = content(folder.path());
    let mut messages = String::new();
    for arguments in WRONG {
        let ended = Ended::after(sim(folder.path()).args(*arguments).env("RUST_BACKTRACE", "1"));
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
        assert!(ended.stderr.starts_with("error: "), "{arguments:?}: {ended:?}");
        assert!((1..=8).contains(&ended.stderr.lines().count()), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.contains("panicked") && !ended.stderr.contains("backtrace"), "{arguments:?}: {ended:?}");
        assert_eq!(content(folder.path()), before, "{arguments:?} left something, or took it away");
        messages += &format!("$ sim {}\n{}\n", arguments.join(" "), ended.stderr);
    }
    // The snapshot is read as a user would read the messages.
    insta::assert_snapshot!("wrong_input", messages);
}

#[test]
fn an_error_without_a_reader_has_its_exit_code() {
    let folder = folder();
    let script = r#"{ "$0" missing.toml; echo $? >code; } 2>&1 >/dev/null | true"#;
    // The message may be written before the reader has exited. A few tries make it likely that it is written after.
    for _ in 0..5 {
        let sh = program("sh").args(["-c", script, env!("CARGO_BIN_EXE_sim")]).current_dir(&folder).status();
        assert!(sh.unwrap().success());
        assert_eq!(fs::read_to_string(folder.path().join("code")).unwrap(), "2\n");
    }
}

#[test]
fn a_run_whose_expectations_hold_ends_in_0() {
    let folder = folder();
    let ended = run(&folder, &["story.toml"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.starts_with("PASS  story (sim, seed 0, resilient)"), "{ended:?}");
    assert_eq!(ended.reported("folder"), "runs/story/sim-seed0");
}

#[test]
fn a_failed_expectation_ends_in_1_with_the_run_kept() {
    let folder = folder();
    let ended = run(&folder, &["story.toml", "--set", "expect.1.max=\"1us\"", "--out", "kept"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""));
    assert!(ended.stdout.starts_with("FAIL  story"), "{ended:?}");
    let mut files: Vec<_> = fs::read_dir(folder.path().join("kept")).unwrap().map(|e| e.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(
        files,
        ["attempts.jsonl", "events.jsonl", "files.json", "requests.jsonl", "run.json", "scenario.toml", "summary.json"]
    );
}

#[test]
fn a_run_without_requests_does_not_pass() {
    let folder = folder();
    let none = ["story.toml", "--set", "load.rate=0.001", "--set", "fault=[]", "--set", "expect=[]", "--json"];
    let ended = run(&folder, &none);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""));
    assert_eq!(fs::read(folder.path().join("runs/story/sim-seed0/requests.jsonl")).unwrap(), b"");
}

#[test]
fn json_has_the_fields_of_the_report() {
    let folder = folder();
    let plain = run(&folder, &["story.toml", "--seed", "7"]);
    let json = run(&folder, &["story.toml", "--seed", "7", "--json"]);
    assert_eq!((json.code, json.stderr.as_str()), (Some(0), ""));
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    for label in ["folder", "digest", "replay"] {
        assert_eq!(report[label], plain.reported(label));
    }
    let summary = fs::read_to_string(folder.path().join("runs/story/sim-seed7/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert!(summary.as_object().unwrap().len() > 5);
    for (key, value) in summary.as_object().unwrap() {
        assert_eq!(&report[key], value, "{key}");
    }
    assert_eq!(report["pass"], true);
}

#[test]
fn the_replay_command_repeats_the_run() {
    let folder = folder();
    fs::rename(folder.path().join("story.toml"), folder.path().join("the crew's story.toml")).unwrap();
    fs::write(folder.path().join("slow link.toml"), include_str!("../../calibration.toml").replace("18.0", "21.0"))
        .unwrap();
    let mut command = sim(folder.path());
    command.args([
        "the crew's story.toml",
        "--seed",
        "9",
        "--out",
        "my run",
        "--set",
        "workload.sizes=[\"9x9\", \"8x8\"]",
    ]);
    let first = Ended::after(command.args(["--set", "load.rate=30", "--calibration", "slow link.toml"]));
    assert_ne!(first.reported("digest"), run(&folder, &["the crew's story.toml", "--seed", "9"]).reported("digest"));

    fs::remove_dir_all(folder.path().join("my run")).unwrap();
    assert_eq!(Ended::printed(folder.path(), first.reported("replay")), first);
    assert!(folder.path().join("my run/run.json").is_file());
}

#[test]
fn a_rerun_replaces_the_run() {
    let folder = folder();
    run(&folder, &["story.toml", "--out", "run"]);
    let before = fs::read_to_string(folder.path().join("run/requests.jsonl")).unwrap();
    run(&folder, &["story.toml", "--out", "run", "--seed", "1"]);
    let after = fs::read_to_string(folder.path().join("run/requests.jsonl")).unwrap();
    assert_ne!(before, after);
    run(&folder, &["story.toml", "--out", "run/"]);
    assert_eq!(fs::read_to_string(folder.path().join("run/requests.jsonl")).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the scenario and the run");
}

#[test]
fn a_killed_run_leaves_no_folder_under_its_own_name() {
    let folder = folder();
    kill_a_run(&folder);
    assert!(!folder.path().join("run").exists());

    // The remains of a killed run do not disturb the next one, and a killed run leaves the one before it.
    run(&folder, &["story.toml", "--out", "run"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the scenario and the run");
    let before = fs::read(folder.path().join("run/requests.jsonl")).unwrap();
    kill_a_run(&folder);
    assert_eq!(fs::read(folder.path().join("run/requests.jsonl")).unwrap(), before);
}

fn is_staging(entry: &DirEntry) -> bool {
    entry.path().extension().is_some_and(|end| end == "partial")
}

/// Starts a run that would take hours and be written to `run`, and kills it.
#[expect(clippy::disallowed_methods, reason = "waits for another process")]
fn kill_a_run(folder: &TempDir) {
    let mut command = sim(folder.path());
    command.args(["story.toml", "--out", "run", "--set", "duration=\"24h\"", "--set", "load.rate=200"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    while !fs::read_dir(folder.path()).unwrap().any(|entry| is_staging(&entry.unwrap())) {
        assert_eq!(child.try_wait().unwrap(), None, "it should take hours");
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(20));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "the signal ended it");
}

#[test]
fn a_command_line_without_words_shows_the_commands() {
    let folder = TempDir::new().unwrap();
    let ended = run(&folder, &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("\nUsage: sim <COMMAND>\n       sim <SCENARIO> [OPTIONS]\n"), "{ended:?}");
}

#[test]
fn run_is_the_same_as_no_command() {
    let folder = folder();
    let short = run(&folder, &["story.toml", "--seed", "7"]);
    assert_eq!(run(&folder, &["run", "story.toml", "--seed", "7"]), short);
    assert_eq!(run(&folder, &["run", "--seed", "7", "story.toml"]), short);
}

#[test]
fn keys_prints_the_reference_of_a_table() {
    let folder = TempDir::new().unwrap();
    let retry = Ended::after(sim(folder.path()).args(["keys", "client.retry."]));
    assert_eq!(retry.code, Some(0), "{retry:?}");
    assert!(retry.stdout.starts_with("client.retry.max_attempts = 3\n    integer, 1 to 100\n"), "{}", retry.stdout);
    let unknown = Ended::after(sim(folder.path()).args(["keys", "client.retires"]));
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("no key starts with `client.retires`"), "{}", unknown.stderr);
}
