//! Logs of other programs.

use std::{fs, path::Path};

use kernel::{cli::Exit, record::RequestRow};
use reports::{
    read::{self, Mapping},
    run::RecordedRun,
};

use crate::example_run::{reports, word};

fn log(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs").join(name)
}

fn read(path: &Path, columns: &str, only: &[(&str, &str)], rate: Option<f64>) -> RecordedRun {
    let only = only.iter().map(|(column, value)| ((*column).to_owned(), (*value).to_owned())).collect();
    read::run(path, &Mapping { columns: columns.parse().unwrap(), only, rate, ..Mapping::default() }).unwrap()
}

#[test]
fn k6_writes_a_row_a_metric_and_times_that_end() {
    let only = [("metric_name", "http_req_duration")];
    let run = read(&log("k6.csv"), "done=timestamp:s,latency=metric_value:ms,status=status:http", &only, None);
    let requests: Vec<RequestRow> = run.rows.requests.iter().collect();
    let statuses: Vec<&str> = requests.iter().map(|row| row.status.name()).collect();
    assert_eq!(statuses, ["OK", "OK", "UNAVAILABLE", "UNAVAILABLE"]);
    // 12.4 ms before …000 is the start of everything; the next ended a second later and took 0.5 ms less.
    let times: Vec<(u64, Option<u64>)> = requests.iter().map(|row| (row.intended_us, row.latency_us)).collect();
    assert_eq!(times[..2], [(0, Some(12_400)), (1_000_500, Some(11_900))]);
    assert!(run.notes.iter().any(|note| note.contains("has no intended start times")));
}

#[test]
fn ghz_writes_no_times_so_the_rate_is_given() {
    let run = read(&log("ghz.csv"), "latency=duration (ms),status=status", &[], Some(2.0));
    let rows: Vec<(u64, Option<u64>, &str)> =
        run.rows.requests.iter().map(|row| (row.intended_us, row.latency_us, row.status.name())).collect();
    assert_eq!(
        rows,
        [
            (0, Some(5_510), "OK"),
            (500_000, Some(5_830), "OK"),
            (1_000_000, Some(10_003_900), "DEADLINE_EXCEEDED"),
            (1_500_000, Some(620), "UNAVAILABLE"),
        ]
    );
    assert!(run.notes.iter().any(|note| note.contains("the log has no times")));
}

#[test]
fn a_log_gets_a_report_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ghz.csv");
    fs::copy(log("ghz.csv"), &path).unwrap();
    let words = [word(&path), "--columns", "latency=duration (ms),status=status", "--rate", "2"];
    let done = reports(&words).unwrap();
    assert_eq!(done.exit, Exit::Passed);
    assert!(done.text.contains("4 requests in 2 s: 2 OK, 1 DEADLINE_EXCEEDED, 1 UNAVAILABLE"), "{}", done.text);
    assert!(directory.path().join("ghz.csv.report/report.html").is_file());
}

#[test]
fn json_lines_with_names_of_their_own_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let text = "{\"ts\":1000.5,\"dur_ms\":3,\"code\":14,\"who\":\"a\"}\n{\"ts\":1000,\"dur_ms\":2.5,\"code\":0,\"who\":null}\n{\"ts\":1";
    fs::write(&path, text).unwrap();
    let run = read(&path, "intended=ts:s,latency=dur_ms,status=code,server=who", &[], None);
    let rows: Vec<_> =
        run.rows.requests.iter().map(|row| (row.intended_us, row.latency_us, row.status.name())).collect();
    assert_eq!(rows, [(500_000, Some(3_000), "UNAVAILABLE"), (0, Some(2_500), "OK")]);
    assert_eq!(run.rows.requests.iter().next().unwrap().server.as_deref(), Some("a"));
    let notes = run.notes.join("\n");
    assert!(notes.contains("ends in the middle of line 3"), "{notes}");
    assert!(notes.contains("numbers in `code` are statuses of gRPC, as all numbers are from 0 to 16"), "{notes}");
}

#[test]
fn our_own_rows_need_no_mapping() {
    let directory = tempfile::tempdir().unwrap();
    let place = crate::example_run::folder(directory.path(), "sim", 1, 1);
    let run = read(&place.join("requests.jsonl"), "", &[], None);
    assert_eq!(run.rows.requests.len(), 120);
    assert!(run.notes.is_empty(), "{:?}", run.notes);
}

#[test]
fn a_missing_column_is_named_with_what_there_is() {
    let refused = |words: &[&str]| {
        let failure = reports(words).expect_err("it is refused");
        assert_eq!(failure.exit, Exit::WrongInput);
        failure.message
    };
    let path = log("ghz.csv");
    let message = refused(&[word(&path), "--columns", "latency=latency_ms,status=status"]);
    assert!(message.contains("has no column `latency_ms` for latency; it has"), "{message}");
    assert!(message.ends_with("map it with --columns latency=NAME"), "{message}");
    let message = refused(&[word(&path), "--columns", "latency=duration (ms)"]);
    assert!(message.contains("give the rate at which requests were sent with --rate"), "{message}");
    let message = refused(&[word(&path), "--columns", "latency=status,status=status", "--rate", "1"]);
    assert!(message.contains("line 2: `OK` in `status` is not a time"), "{message}");
    let message = refused(&[word(&path), "--columns", "latency=duration (ms)", "--only", "kind=x", "--rate", "1"]);
    assert!(message.contains("it has no column `kind` for --only; it has"), "{message}");
}
