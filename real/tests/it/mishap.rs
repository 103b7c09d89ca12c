//! What goes wrong around a run, and what it says then.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Output,
};

use tempfile::TempDir;

use crate::command::command_of;

const PROGRAM: &str = env!("CARGO_BIN_EXE_real");

/// A second of a run.
const STORY: &str = r#"
name = "mishap"
duration = "1s"
[workload]
sizes = ["8x8"]
[load]
rate = 500
"#;

fn story() -> TempDir {
    let directory = tempfile::tempdir().expect("there is room for a folder");
    fs::write(directory.path().join("mishap.toml"), STORY).expect("there is room for a file");
    directory
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_second_run_leaves_the_first_one_in_its_place() {
    let directory = story();
    let run = |more: &[&str]| {
        let words = ["mishap.toml", "--set", "load.rate=20", "--set", "duration=300ms", "--out", "run"];
        let mut command = command_of(PROGRAM);
        command.args(words).args(more).current_dir(directory.path()).output().expect("it starts")
    };
    assert_eq!(run(&[]).status.code(), Some(0));
    let first = fs::read(directory.path().join("run/requests.jsonl")).expect("it was written");
    let second = run(&[]);
    let said = said(&second);
    assert_eq!(second.status.code(), Some(0), "{said}");
    assert!(
        said.contains("note: run holds an earlier run; this one goes to run-2, and --force would replace"),
        "{said}"
    );
    assert!(String::from_utf8_lossy(&second.stdout).contains("  folder  run-2\n"), "{second:?}");
    assert_eq!(fs::read(directory.path().join("run/requests.jsonl")).expect("it was kept"), first);
    assert_eq!(run(&["--force"]).status.code(), Some(0));
    assert_ne!(fs::read(directory.path().join("run/requests.jsonl")).expect("it was written"), first);
    assert_eq!(fs::read_dir(directory.path()).expect("it is there").count(), 3, "the scenario and two runs");
}

#[test]
fn an_error_that_cannot_be_printed_still_has_its_exit_code() {
    let directory = story();
    let unwritable = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let status = command_of(PROGRAM)
        .args(["mishap.toml", "--set", "load.rate=-1"])
        .current_dir(directory.path())
        .stderr(unwritable)
        .status()
        .expect("the program starts");
    assert_eq!(status.code(), Some(2));
}

#[test]
fn a_place_that_cannot_be_written_to_is_said_before_the_run() {
    let directory = story();
    let output = command_of(PROGRAM)
        .args(["mishap.toml", "--out", "/proc/run"])
        .current_dir(directory.path())
        .output()
        .expect("the program starts");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("error: cannot write the run folder: /proc/run"), "{said}");
}

#[test]
#[expect(clippy::disallowed_types, reason = "takes the port as any other program would")]
fn a_replica_whose_port_is_taken_says_so_and_ends() {
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are free ports");
    let address: SocketAddr = taken.local_addr().expect("it is bound");
    let parent = std::process::id().to_string();
    let output = command_of(PROGRAM)
        .args(["replica", "--id", "server-0", "--port", &address.port().to_string(), "--workers", "1", "--queue", "1"])
        .args(["--service-time-min", "0ms", "--seed", "0", "--parent", &parent])
        .output()
        .expect("the program starts");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].contains(" INFO real::role::replica: replica starts "), "{said}");
    assert!(lines[1].starts_with(&format!("error: cannot listen at {address}: Address")), "{said}");
    assert_eq!(lines.len(), 2, "{said}");
}
