//! What is left of a run that does not come to its end.

use std::{fs, path::PathBuf};

use kernel::status::{Code, Outcome};
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use crate::child::{self, Run, is_stopped, lives, pid, wait_until};

/// A freeze that outlasts every test, and calls that do not come back before it.
const STORY: &str = r#"
name = "stopped"
duration = "60s"
[servers]
replicas = 2
workers = 64
service_time_min = "20s"
[workload]
sizes = ["16x16"]
[load]
rate = 50.0
[[fault]]
at = "500ms"
kind = "freeze"
target = "server-1"
duration = "50s"
"#;

/// A run in the middle of the freeze, its children, and where its folder goes.
fn frozen() -> (Run, Vec<u32>, PathBuf, TempDir) {
    let directory = tempfile::tempdir().expect("there is room for a folder");
    let (scenario, out) = (directory.path().join("stopped.toml"), directory.path().join("run"));
    fs::write(&scenario, STORY).expect("there is room for a file");
    let mut run = Run::start(&scenario, 1, &out);
    run.wait_until_it_says("nemesis: freeze server-1");
    let children = run.children();
    assert_eq!(children.len(), 3, "two replicas and the load");
    wait_until("a child is frozen", || children.iter().any(|id| is_stopped(*id)));
    (run, children, out, directory)
}

#[test]
fn a_killed_orchestrator_leaves_no_child_not_even_a_frozen_one() {
    let (run, children, _, _directory) = frozen();
    run.signal(Signal::KILL);
    run.end();
    wait_until("the children are gone", || !children.iter().any(|id| lives(*id)));
}

#[test]
fn an_interrupted_run_leaves_a_whole_folder_and_no_child() {
    let (run, children, out, _directory) = frozen();
    run.signal(Signal::INT);
    let (status, said) = run.end();
    assert!(!children.iter().any(|id| lives(*id)));
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("error: interrupted at "), "{said}");
    for file in ["scenario.toml", "run.json", "summary.json", "logs/server-0.log", "logs/server-1.log", "logs/load.log"]
    {
        assert!(out.join(file).is_file(), "{file} is missing");
    }
    let records = child::records(&out);
    let rows: Vec<_> = records.requests.iter().map(|row| (row.id, row.intended_us)).collect();
    let intended: Vec<_> = (0..rows.len() as u64).map(|id| (id, id * 20_000)).collect();
    assert_eq!(rows, intended, "every request until then has one row");
    assert!(rows.len() >= 20, "it went on for half a second");
    let cancelled = |status: Outcome| status == Outcome::Status(Code::Cancelled);
    assert!(records.requests.iter().all(|row| cancelled(row.status) && row.attempts == 1), "nothing had come back");
    assert_eq!(records.attempts.len(), rows.len());
}

#[test]
fn a_replica_that_dies_by_itself_fails_the_run() {
    let (run, children, out, _directory) = frozen();
    let victim = children.iter().find(|id| is_stopped(**id)).expect("one is frozen");
    kill_process(pid(*victim), Signal::KILL).expect("it lives");
    let (status, said) = run.end();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("error: server-1 ended with signal: 9 (SIGKILL)"), "{said}");
    assert!(!children.iter().any(|id| lives(*id)));
    assert!(!out.exists(), "a run that failed is not in its place");
}
