//! Reports of runs that are not complete.

use std::{fs, io::Write, path::PathBuf};

use kernel::{
    cli::Exit,
    record::Row,
    run_folder::{Earlier, RunFolder, RunInfo, WaitingLines, read_records},
    scenario::Scenario,
};
use tempfile::TempDir;

use crate::example_run::{SCENARIO, folder, reports, word};

/// The folder of a run of the story that ended after half of its requests, whose rows came out of order; the last one was cut
/// off.
fn interrupted() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let complete = read_records(&folder(directory.path(), "sim", 1, 1)).unwrap();
    let scenario = Scenario::parse("story.toml", SCENARIO, &[]).unwrap();
    let mut folder = RunFolder::prepare(&directory.path().join("run"), Earlier::Keep).unwrap();
    let mut journal = folder.begin(&scenario, &RunInfo::new("real", 1)).unwrap();
    let mut lines = WaitingLines::default();
    for row in complete.requests.iter().take(60).rev() {
        lines.push(&Row::Request(row.clone()));
    }
    for row in complete.attempts.iter().rev() {
        lines.push(&Row::Attempt(row.clone()));
    }
    for row in complete.events.iter() {
        lines.push(&Row::Event(row.clone()));
    }
    journal.append(&mut lines).unwrap();
    folder.interrupt("load ended with signal: 9 (SIGKILL)");
    let left = folder.remains().expect("rows are there").to_owned();
    fs::File::options().append(true).open(left.join("requests.jsonl")).unwrap().write_all(b"{\"id\":60,").unwrap();
    (directory, left)
}

#[test]
fn a_run_that_ended_before_its_time_is_shown_as_interrupted_with_what_was_recorded() {
    let (_directory, left) = interrupted();
    let output = reports(&[word(&left)]).unwrap();
    assert_eq!(output.exit, Exit::RunFailed);
    assert!(output.text.starts_with("INTERRUPTED  story (real, seed 1, resilient): "), "{}", output.text);
    let note = "note: the run ended before its time: load ended with signal: 9 (SIGKILL)";
    assert!(output.text.contains(note), "{}", output.text);
    assert!(output.text.contains("  60 requests in 14.8 s"), "{}", output.text);
    assert!(!output.text.contains("summary.json is missing"), "{}", output.text);
    let page = fs::read_to_string(left.join("report/report.html")).unwrap();
    assert!(page.contains("INTERRUPTED") && page.contains("load ended with signal: 9 (SIGKILL)"));
    let json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(left.join("report/report.json")).unwrap()).unwrap();
    assert_eq!(json["state"]["state"], "interrupted");
}
