//! What is wrong with the input is said, and never shown as a wrong figure.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

use kernel::{
    cli::Exit,
    record::{Records, RequestRow},
    status::{Code, Outcome},
};

use crate::example_run::{SCENARIO, folder, reports, word, write};

fn refused(words: &[&str]) -> String {
    let failure = reports(words).expect_err("it is refused");
    assert_eq!(failure.exit, Exit::WrongInput);
    failure.message
}

fn row(id: u64, intended_us: u64, latency_us: u64, status: Outcome) -> RequestRow {
    RequestRow {
        id,
        intended_us,
        sent_us: Some(intended_us),
        done_us: Some(intended_us + latency_us),
        latency_us: Some(latency_us),
        status,
        server: None,
        attempts: 1,
        failovers: 0,
        hedges: 0,
        rejected: false,
        answer: None,
        kind: None,
        user: None,
        stream: None,
        size: String::new(),
    }
}

fn append(file: &Path, text: &str) {
    OpenOptions::new().append(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn an_empty_folder_holds_no_run() {
    let directory = tempfile::tempdir().unwrap();
    let message = refused(&[word(directory.path())]);
    assert!(
        message.ends_with("holds no run: requests.jsonl is missing; name a run folder, such as runs/crash/sim-seed42")
    );
    assert!(refused(&[word(&directory.path().join("nowhere"))]).contains("does not exist; name a run folder"));
}

#[test]
fn the_folder_above_the_runs_leads_to_them() {
    let directory = tempfile::tempdir().unwrap();
    folder(directory.path(), "sim", 1, 1);
    assert!(refused(&[word(directory.path())]).ends_with("sim-seed1?"));
    folder(directory.path(), "sim", 2, 1);
    assert!(refused(&[word(directory.path())]).contains("it holds 2 run folders"));
}

#[test]
fn a_truncated_last_line_is_left_out_and_noted() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), "sim", 1, 1);
    append(&place.join("requests.jsonl"), "{\"id\":120,\"intended_us\":300");
    let text = reports(&[word(&place)]).unwrap().text;
    assert!(
        text.contains("note: requests.jsonl ends in the middle of line 121; the lines before it are used"),
        "{text}"
    );
}

#[test]
fn a_missing_column_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), "sim", 1, 1);
    let path = place.join("requests.jsonl");
    let rows = fs::read_to_string(&path).unwrap().replacen("\"status\":\"OK\",", "", 1);
    fs::write(&path, rows).unwrap();
    assert!(
        refused(&[word(&place)])
            .contains("requests.jsonl:1 is not the row of a request: missing field `status` (column ")
    );
}

#[test]
fn unknown_extra_columns_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), "sim", 1, 1);
    let plain = reports(&[word(&place)]).unwrap().text;
    for file in ["requests.jsonl", "attempts.jsonl", "events.jsonl"] {
        let rows = fs::read_to_string(place.join(file)).unwrap().replace("}\n", ",\"moon\":{\"phase\":[1,2]}}\n");
        fs::write(place.join(file), rows).unwrap();
    }
    assert_eq!(reports(&[word(&place)]).unwrap().text, plain);
}

#[test]
fn mixed_scenarios_are_compared_each_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let first = folder(directory.path(), "sim", 1, 1);
    let second = folder(directory.path(), "sim", 2, 1);
    let other = directory.path().join("other");
    write(&other, "sim", 1, &SCENARIO.replace("\"story\"", "\"other\""), &Records::default());
    let out = directory.path().join("out");
    let text = reports(&[word(&first), word(&other), word(&second), "--out", word(&out)]).unwrap().text;
    assert!(text.contains("note: the runs are of 2 scenarios; each scenario is compared separately"), "{text}");
    assert!(text.contains("note: other has only one run, so there is no comparison"), "{text}");
    assert!(text.contains("sim-seed2 against sim-seed1: metrics"), "{text}");
    assert!(out.join("story-overlay.svg").is_file() && out.join("other-cdf.png").is_file());
}

#[test]
fn a_run_without_any_success_is_reported_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let requests = (0..60).map(|id| row(id, id * 500_000, 3_000, Outcome::Status(Code::Unavailable))).collect();
    // Without rows of events, the scripted fault never began, which would be too late.
    let scenario = format!("{SCENARIO}[run]\nmax_lateness = \"24h\"\n");
    write(&place, "sim", 1, &scenario, &Records { requests, ..Records::default() });
    let done = reports(&[word(&place)]).unwrap();
    assert_eq!(done.exit, Exit::Failed);
    assert!(done.text.contains("✗ success_rate"), "{}", done.text);
    assert!(done.text.contains("nothing unusual"), "{}", done.text);
}

#[test]
fn a_run_of_which_nothing_was_sent_has_no_percentiles() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let dropped = |id: u64| RequestRow {
        sent_us: None,
        done_us: None,
        latency_us: None,
        attempts: 0,
        ..row(id, id * 500_000, 0, Outcome::Dropped)
    };
    write(&place, "sim", 1, SCENARIO, &Records { requests: (0..60).map(dropped).collect(), ..Records::default() });
    let text = reports(&[word(&place)]).unwrap().text;
    let whole = text.lines().find(|line| line.trim_start().starts_with("whole run")).unwrap();
    assert!(whole.contains("n/a") && !whole.contains(" ms"), "{whole}");
}

#[test]
fn a_run_of_one_request_and_a_run_of_none_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    for (name, requests) in [("one", vec![row(0, 0, 1_500, Outcome::OK)]), ("none", Vec::new())] {
        let place = directory.path().join(name);
        write(&place, "sim", 1, SCENARIO, &Records { requests, ..Records::default() });
        let text = reports(&[word(&place), "--parquet"]).unwrap().text;
        let wanted = if name == "one" { "1 request in 30 s: 1 OK" } else { "no request in 30 s" };
        assert!(text.contains(wanted), "{text}");
        // Alone and beside each other.
        let out = directory.path().join(format!("{name}-compared"));
        reports(&[word(&place), word(&place), "--out", word(&out)]).unwrap();
    }
}

#[test]
fn clocks_that_go_backwards_give_no_latency() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let mut requests: Vec<RequestRow> = (0..60).map(|id| row(id, id * 500_000, 2_000, Outcome::OK)).collect();
    // It ends before it begins; as an unsigned number its latency would be enormous.
    requests[7].done_us = Some(100);
    requests[7].latency_us = Some(u64::MAX - 5);
    write(&place, "real", 1, SCENARIO, &Records { requests, ..Records::default() });
    let text = reports(&[word(&place)]).unwrap().text;
    assert!(text.contains("note: 1 request has inconsistent times"), "{text}");
    assert!(text.contains("the first is request 7"), "{text}");
    let whole = text.lines().find(|line| line.trim_start().starts_with("whole run")).unwrap();
    assert!(whole.contains("2.00 ms") && whole.trim_start().contains("60"), "{whole}");
}

#[test]
fn windows_beyond_counting_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let requests = vec![row(0, 0, 1_000, Outcome::OK), row(1, 2_000_000_000, 1_000, Outcome::OK)];
    write(&place, "sim", 1, SCENARIO, &Records { requests, ..Records::default() });
    let message = refused(&[word(&place), "--window", "1ms"]);
    assert!(message.contains("windows are too many; choose a longer --window"), "{message}");
}
