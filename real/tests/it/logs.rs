//! The logs of the processes in the run folder, and the environment variable that changes them.

use std::{fs, path::Path, process::Output};

use tempfile::TempDir;

use crate::command::command_of;

const PROGRAM: &str = env!("CARGO_BIN_EXE_real");

const VARIABLE: &str = "REHEARSAL_LOG";

/// One fault of each kind that a process can see: it ends, it stops, its calls fail, its links change. The crashed server is away for so
/// long that a client on a busy machine finds it away.
const SCENARIO: &str = r#"
name = "logs"
duration = "2500ms"
[run]
max_lateness = "1h"
[servers]
replicas = 2
[workload]
sizes = ["8x8"]
[load]
rate = 20
[[fault]]
at = "200ms"
kind = "crash"
target = "server-0"
restart_after = "1s"
[[fault]]
at = "300ms"
kind = "freeze"
target = "server-1"
duration = "200ms"
[[fault]]
at = "700ms"
kind = "errors"
target = "server-1"
rate = 0.5
duration = "200ms"
[[fault]]
at = "1s"
kind = "delay"
target = "server-1"
latency = "5ms"
duration = "200ms"
"#;

/// Plays the scenario with `filter` in the environment.
fn play(filter: Option<&str>) -> (TempDir, Output) {
    let directory = tempfile::tempdir().expect("there is room for a folder");
    fs::write(directory.path().join("logs.toml"), SCENARIO).expect("there is room for a file");
    let mut command = command_of(PROGRAM);
    command.args(["logs.toml", "--out", "run"]).current_dir(directory.path()).env_remove(VARIABLE);
    if let Some(filter) = filter {
        command.env(VARIABLE, filter);
    }
    let output = command.output().expect("the program starts");
    (directory, output)
}

fn log(directory: &TempDir, process: &str) -> String {
    let file = directory.path().join(Path::new("run/logs")).join(process).with_extension("log");
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The values of the field `name` in the lines of `log` that contain `message`, in their order.
fn values<'a>(log: &'a str, message: &str, name: &str) -> Vec<&'a str> {
    let lines = log.lines().filter(|line| line.contains(message));
    lines.filter_map(|line| line.split_once(&format!(" {name}="))?.1.split(' ').next()).collect()
}

#[test]
fn each_process_of_a_run_logs_its_start_and_its_faults_and_the_program_logs_nothing() {
    let (directory, output) = play(None);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains(" INFO "), "diagnostics are off in the program itself: {said}");

    let crashed = log(&directory, "server-0");
    let pids = values(&crashed, "replica starts", "pid");
    assert!(pids.len() == 2 && pids[0] != pids[1], "one process before the crash and one after it: {crashed}");
    let addresses = values(&crashed, "listening", "address");
    assert!(addresses.len() == 2 && addresses[0] == addresses[1], "{crashed}");
    let starts = crashed.lines().filter(|line| line.contains("replica starts"));
    for start in starts {
        let version = env!("CARGO_PKG_VERSION");
        for field in [&format!("version=\"{version}\""), "id=\"server-0\"", "seed=0", "--queue 64"] {
            assert!(start.contains(field), "{field}: {start}");
        }
    }
    assert!(crashed.contains("connection accepted"), "{crashed}");

    let frozen = log(&directory, "server-1");
    assert_eq!(values(&frozen, "replica starts", "pid").len(), 1, "{frozen}");
    assert_eq!(frozen.matches("WARN real::role: runs again after a stop (SIGCONT)").count(), 1, "{frozen}");
    assert_eq!(frozen.matches("injected faults change").count(), 2, "the fault and its end: {frozen}");

    let load = log(&directory, "load");
    for message in ["load generator starts", "ready", "load begins", "connection opened", "load has ended"] {
        assert!(load.contains(&format!(": {message}")), "{message}: {load}");
    }
    for latency in ["5ms", "0ns"] {
        let change = format!("link changes server=\"server-1\" shape=Shape {{ latency: {latency},");
        assert!(load.contains(&change), "the fault and its end: {load}");
    }
    assert!(!values(&load, "connection closed", "reason").is_empty(), "the crash closes one: {load}");
}

#[test]
fn the_variable_turns_the_logs_of_all_processes_on_and_off() {
    let (directory, output) = play(Some("off"));
    assert!(output.status.success(), "{}", stderr(&output));
    for process in ["server-0", "server-1", "load"] {
        assert_eq!(log(&directory, process), "", "{process}");
    }

    let (directory, output) = play(Some("real=debug"));
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("INFO real::process: process started name=\"server-0\""), "{said}");
    assert!(log(&directory, "load").contains("DEBUG real::host: cannot connect"), "server-0 was down");
}

#[test]
fn an_invalid_value_of_the_variable_is_an_error_of_the_input() {
    let (directory, output) = play(Some("info,real=loud"));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("error: REHEARSAL_LOG: `real=loud` is neither LEVEL nor MODULE=LEVEL"), "{said}");
    assert!(!directory.path().join("run").exists());
}
