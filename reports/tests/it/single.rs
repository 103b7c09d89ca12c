//! The report of one run.

use std::fs;

use crate::example_run::{folder, reports, word};

#[test]
fn a_report_has_its_text_plots_and_page_and_leaves_the_run_alone() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), "sim", 42, 1);
    let before = fs::read(place.join("summary.json")).unwrap();
    let done = reports(&[word(&place), "--parquet"]).unwrap();
    assert_eq!(done.exit, kernel::cli::Exit::Passed);
    let report = place.join("report");
    for plot in ["timeseries", "latency_raw", "latency_uncorrected", "attempts", "decisions"] {
        let svg = fs::read_to_string(report.join(format!("{plot}.svg"))).unwrap();
        assert!(svg.starts_with("<svg width=\"960\"") && svg.ends_with("</svg>\n"), "{plot}");
        assert!(svg.contains("fault-0 freeze server-0"), "{plot} does not name the fault");
        assert!(fs::read(report.join(format!("{plot}.png"))).unwrap().starts_with(b"\x89PNG"));
    }
    assert_eq!(&fs::read(report.join("joined.parquet")).unwrap()[..4], b"PAR1");
    let page = fs::read_to_string(report.join("report.html")).unwrap();
    assert!(page.contains("What becomes of &lt;requests&gt; &amp; retries?"));
    for outside in ["http://", "https://", "<script src", "<link", "url("] {
        let found = page.replace("http://www.w3.org/2000/svg", "").contains(outside);
        assert!(!found, "the page refers to {outside}");
    }
    assert!(page.contains("<a href=\"#timeseries\">Throughput and latency</a>"));
    assert!(page.contains("<a href=\"#events-0\">fault-0 freeze server-0</a>"));
    let events = page.split("<h3 id=\"events-0\">").nth(1).expect("the fault has a section");
    assert!(
        events.contains("fault-0 begins on server-0: freeze") && events.contains("fault-0 is lifted from server-0")
    );
    assert_eq!(fs::read(place.join("summary.json")).unwrap(), before);
}

#[test]
fn the_text_reads_well() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), "sim", 42, 1);
    let done = reports(&[word(&place)]).unwrap();
    insta::assert_snapshot!(done.text.replace(word(directory.path()), "runs/story"));
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), "sim", 42, 1);
    let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
    for out in [&first, &second] {
        reports(&[word(&place), "--parquet", "--out", word(out)]).unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(&first).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names.len(), 15, "{names:?}");
    for name in names {
        assert!(fs::read(first.join(&name)).unwrap() == fs::read(second.join(&name)).unwrap(), "{name:?} differs");
    }
}

#[test]
fn a_report_replaces_one_that_was_not_changed_and_no_file_of_others() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), "sim", 42, 1);
    let report = place.join("report");
    reports(&[word(&place), "--parquet"]).unwrap();
    fs::write(report.join("comments.txt"), "years of work").unwrap();
    reports(&[word(&place)]).unwrap();
    assert!(!report.join("joined.parquet").exists(), "it was of the report before");
    assert_eq!(fs::read_to_string(report.join("comments.txt")).unwrap(), "years of work");

    fs::write(report.join("report.txt"), "my notes").unwrap();
    let changed = reports(&[word(&place)]).unwrap_err();
    assert_eq!(changed.exit, kernel::cli::Exit::WrongInput);
    assert!(
        changed.message.contains("report/report.txt was changed after it was written, and would be lost"),
        "{changed:?}"
    );
    fs::remove_file(report.join("files.json")).unwrap();
    let unlisted = reports(&[word(&place)]).unwrap_err();
    assert!(unlisted.message.contains("was written by an earlier version of this program"), "{unlisted:?}");
    assert_eq!(fs::read_to_string(report.join("report.txt")).unwrap(), "my notes");
    reports(&[word(&place), "--force"]).unwrap();
    assert_ne!(fs::read_to_string(report.join("report.txt")).unwrap(), "my notes");
    assert_eq!(fs::read_to_string(report.join("comments.txt")).unwrap(), "years of work");

    let thesis = directory.path().join("thesis");
    fs::create_dir(&thesis).unwrap();
    fs::write(thesis.join("report.html"), "years of work").unwrap();
    for force in [&[][..], &["--force"]] {
        let refused = reports(&[&[word(&place), "--out", word(&thesis)], force].concat()).unwrap_err();
        assert!(refused.message.contains("thesis exists and is not a report"), "{refused:?}");
    }
    assert_eq!(fs::read_dir(&thesis).unwrap().count(), 1);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn a_fault_is_found_without_looking_at_the_events() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), "sim", 42, 1);
    fs::remove_file(place.join("events.jsonl")).unwrap();
    fs::remove_file(place.join("summary.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&reports(&[word(&place), "--json"]).unwrap().text).unwrap();
    assert_eq!(json["faults"].as_array().unwrap().len(), 0);
    let episodes = json["episodes"].as_array().unwrap();
    assert_eq!(episodes.len(), 1, "{episodes:?}");
    assert_eq!((episodes[0]["start_s"].as_f64(), episodes[0]["end_s"].as_f64()), (Some(10.0), Some(12.0)));
}

#[test]
fn windows_can_be_shorter_or_longer() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), "sim", 42, 1);
    for window in ["250ms", "5s"] {
        reports(&[word(&place), "--window", window]).unwrap();
    }
    let error = reports(&[word(&place), "--window", "1ms", "--out", word(&directory.path().join("out"))]);
    assert!(error.is_ok(), "30,000 windows are fine");
}

#[test]
fn the_timeline_of_a_request_has_its_attempts_and_the_fault_around_it() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), "sim", 42, 1);
    let slowest = reports(&[word(&place), "--slowest", "1"]).unwrap();
    insta::assert_snapshot!(slowest.text);
    let id = slowest.text.split(' ').nth(1).unwrap();
    assert_eq!(reports(&[word(&place), "--request", id]).unwrap().text, slowest.text);
    let json: serde_json::Value =
        serde_json::from_str(&reports(&[word(&place), "--request", id, "--json"]).unwrap().text).unwrap();
    assert_eq!(json[0]["request"]["id"].to_string(), id);
    assert!(!place.join("report").exists(), "it writes nothing");
    let unknown = reports(&[word(&place), "--request", "99999"]).unwrap_err();
    assert_eq!(unknown.exit, kernel::cli::Exit::WrongInput);
    assert!(unknown.message.starts_with("the run has no request 99999; it has "), "{}", unknown.message);
}
