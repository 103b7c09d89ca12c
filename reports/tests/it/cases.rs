//! Logs from the field, each the case of a kind, and what each gives.

use std::path::{Path, PathBuf};

use kernel::cli::Exit;
use serde_json::Value;

use crate::example_run::{reports, word};

/// A copy of a case in a folder of its own, beside which the report is written.
struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn copy(&self, name: &str) -> PathBuf {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs/cases").join(name);
        let to = self.folder.path().join(name);
        std::fs::copy(from, &to).unwrap();
        to
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let to = self.folder.path().join(name);
        std::fs::write(&to, text).unwrap();
        to
    }
}

fn json(path: &Path, words: &[&str]) -> Value {
    let output = reports(&[&[word(path), "--json"], words].concat()).unwrap();
    serde_json::from_str(&output.text).unwrap()
}

fn statuses(report: &Value) -> String {
    let statuses = report["summary"]["statuses"].as_object().unwrap();
    let parts: Vec<String> = statuses.iter().map(|(name, count)| format!("{count} {name}")).collect();
    parts.join(", ")
}

fn notes(report: &Value) -> String {
    report["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_total_outage_in_k6_is_no_success_with_or_without_columns() {
    let case = Case::new();
    let path = case.copy("k6_total_outage.csv");
    let only = ["--only", "metric_name=http_req_duration"];
    let mapped = ["--columns", "done=timestamp:s,latency=metric_value:ms,status=status"];
    for words in [&[][..], &[only, mapped].concat()] {
        let report = json(&path, words);
        assert_eq!(statuses(&report), "3 UNAVAILABLE", "{words:?}");
        assert_eq!(report["summary"]["overall"]["success_rate"], 0.0);
    }
}

#[test]
fn zeros_that_may_mean_anything_are_refused() {
    let case = Case::new();
    let path = case.write("zeros.csv", "sent_ms,latency_ms,status\n0,5,0\n10,5,0\n");
    let failure = reports(&[word(&path)]).expect_err("it is refused");
    assert_eq!(failure.exit, Exit::WrongInput);
    assert!(failure.message.contains("every status is 0"), "{}", failure.message);
    assert!(failure.message.contains("status=status:grpc or status=status:http"), "{}", failure.message);
    assert_eq!(statuses(&json(&path, &["--columns", "status=status:http"])), "2 UNAVAILABLE");
    assert_eq!(statuses(&json(&path, &["--columns", "status=status:grpc"])), "2 OK");
    let path =
        case.write("explained.csv", "sent_ms,latency_ms,status,error\n0,5,0,dial tcp: i/o timeout\n10,5,0,EOF\n");
    assert_eq!(statuses(&json(&path, &[])), "1 DEADLINE_EXCEEDED, 1 UNAVAILABLE");
}

#[test]
fn an_array_of_objects_is_read_a_request_an_element() {
    let case = Case::new();
    let path = case.copy("array.json");
    let report = json(&path, &["--columns", "sent=t:s,latency=l:ms,status=s:http"]);
    assert_eq!(statuses(&report), "1 OK, 1 UNAVAILABLE");
    assert_eq!(report["summary"]["overall"]["latency_max"], 0.013);
}

#[test]
fn nested_fields_and_times_with_a_zone_are_read() {
    let case = Case::new();
    let path = case.copy("k6.jsonl");
    let by_hand =
        ["--format", "json-lines", "--columns", "done=data.time,latency=data.value:ms,status=data.tags.status"];
    for words in [&[][..], &["--format", "k6-json"], &by_hand] {
        let report = json(&path, words);
        assert_eq!(statuses(&report), "1 OK, 1 UNAVAILABLE", "{words:?}");
        assert_eq!(report["summary"]["overall"]["latency_max"], 0.0135);
    }
}

#[test]
fn a_table_without_a_header_loses_no_row() {
    let case = Case::new();
    assert_eq!(statuses(&json(&case.copy("vegeta_noheader.csv"), &[])), "2 OK, 1 UNAVAILABLE");
    assert_eq!(statuses(&json(&case.copy("vegeta.jsonl"), &[])), "2 OK");
}

#[test]
fn the_words_of_one_row_do_not_lose_the_log() {
    let case = Case::new();
    assert_eq!(statuses(&json(&case.copy("jmeter_refused.jtl"), &[])), "1 OK, 1 UNAVAILABLE");
}

#[test]
fn dropped_iterations_are_dropped_requests() {
    let case = Case::new();
    let path = case.copy("k6_dropped.csv");
    for words in [&[][..], &["--only", "metric_name=http_req_duration"]] {
        let report = json(&path, words);
        assert_eq!(statuses(&report), "40 DROPPED, 2 OK", "{words:?}");
        assert_eq!(report["summary"]["overall"]["dropped"], 40);
    }
    let path = case.write("many.csv", "metric_name,timestamp,metric_value,status\ndropped_iterations,1700000000,1e12,\nhttp_req_duration,1700000000,1,200\n");
    let message = reports(&[word(&path)]).expect_err("it is refused").message;
    assert!(message.contains("line 2: `1e12` in `metric_value` is not a number of dropped requests"), "{message}");
}

#[test]
fn a_hole_in_a_log_is_an_episode() {
    let case = Case::new();
    let path = case.copy("hole.csv");
    let mapped = ["--columns", "sent=offset:s,latency=response-time:s,status=status-code:http"];
    for words in [&[][..], &mapped] {
        let report = json(&path, words);
        let episodes = report["episodes"].as_array().unwrap();
        assert_eq!(episodes.len(), 1, "{episodes:?}");
        assert_eq!(episodes[0]["is_silent"], true);
        let length = episodes[0]["end_s"].as_f64().unwrap() - episodes[0]["start_s"].as_f64().unwrap();
        assert!((19.0..=21.0).contains(&length), "{length}");
    }
    let text = reports(&[word(&path)]).unwrap().text;
    assert!(text.contains("nothing sent or answered"), "{text}");
}

#[test]
fn steady_errors_are_no_episode_and_units_of_names_are_noted() {
    let case = Case::new();
    let path = case.copy("steady_errors.csv");
    let report = json(&path, &["--columns", "sent=sent_ms,latency=latency_ms,status=status"]);
    assert_eq!(report["episodes"], Value::Array(Vec::new()));
    assert_eq!(report["summary"]["overall"]["latency_p50"], 0.01);
    assert!(notes(&report).contains("`latency_ms` in ms, `sent_ms` in ms"), "{}", notes(&report));
    let report = json(&path, &[]);
    assert!(notes(&report).contains("as --columns latency=latency_ms:ms,sent=sent_ms:ms"), "{}", notes(&report));
}

#[test]
fn errors_that_become_more_are_an_episode_beside_steady_ones() {
    let case = Case::new();
    // Every 80th fails; from 30 s to 36 s every fourth does.
    let row = |index: u64| {
        let is_bad = index.is_multiple_of(80) || ((600..720).contains(&index) && index.is_multiple_of(4));
        format!("{},10,{}\n", index * 50, if is_bad { "UNAVAILABLE" } else { "OK" })
    };
    let rows: String = (0..1_200).map(row).collect();
    let report = json(&case.write("burst.csv", &format!("sent_ms,latency_ms,status\n{rows}")), &[]);
    let episodes = report["episodes"].as_array().unwrap();
    assert_eq!(episodes.len(), 1, "{episodes:?}");
    assert_eq!([&episodes[0]["start_s"], &episodes[0]["end_s"]].map(|at| at.as_f64().unwrap().round()), [30.0, 36.0]);
}

#[test]
fn logs_are_compared_whatever_their_names() {
    let case = Case::new();
    let out = case.folder.path().join("out");
    let words = [word(&case.copy("clean.csv")).to_owned(), word(&case.copy("bg1.csv")).to_owned()];
    let output = reports(&[&words[0], &words[1], "--out", word(&out), "--json"]).unwrap();
    let json: Value = serde_json::from_str(&output.text).unwrap();
    let scenarios = json["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), 1);
    assert_eq!(scenarios[0]["pairs"][0]["side"], "bg1.csv");
    assert_eq!(scenarios[0]["reference"], "clean.csv");
}

#[test]
fn nothing_is_not_a_pass() {
    let case = Case::new();
    for (name, text, words, wanted) in [
        ("empty.csv", "", &[][..], "it has no requests"),
        ("header.csv", "sent_ms,latency_ms,status\n", &[], "it has no requests"),
        ("array.json", "[]", &[], "it has no requests"),
        ("lines.jsonl", "\n\n", &[], "it has no requests"),
        ("k6.csv", "metric_name,timestamp,metric_value,status\nvus,1700000000,1,\n", &[], "it has no requests"),
        ("only.csv", "sent_ms,latency_ms,status\n0,1,OK\n", &["--only", "status=what"], "no row has the values"),
    ] {
        let failure = reports(&[&[word(&case.write(name, text))], words].concat()).expect_err("it is refused");
        assert_eq!(failure.exit, Exit::WrongInput, "{name}");
        assert!(failure.message.contains(wanted), "{name}: {}", failure.message);
    }
}

#[test]
fn rows_that_cannot_be_read_are_counted_and_end_the_reading_if_they_are_many() {
    let case = Case::new();
    let rows: String = (0..198).map(|index| format!("{index},1,OK\n")).collect();
    let path = case.write("few.csv", &format!("sent_ms,latency_ms,status\n{rows}x,1,OK\n5,1,what\n"));
    let report = json(&path, &[]);
    assert_eq!(report["summary"]["overall"]["requests"], 198);
    assert!(
        notes(&report).contains("2 of 200 rows cannot be read and are left out; the first is in line 200"),
        "{}",
        notes(&report)
    );
    let failure = reports(&[word(&path), "--bad-rows", "1"]).expect_err("it is refused");
    assert_eq!(failure.exit, Exit::WrongInput);
    assert!(failure.message.contains("line 200: `x` in `sent_ms` is not a time"), "{}", failure.message);
    assert!(failure.message.ends_with("(2 rows of 200 cannot be read; --bad-rows allows 1)"), "{}", failure.message);
    // A line that is no JSON is one of them, in the middle too.
    let rows: String =
        (0..300).map(|index| format!("{{\"sent_ms\":{index},\"latency_ms\":1,\"status\":\"OK\"}}\n")).collect();
    let report = json(&case.write("few.jsonl", &format!("{rows}not JSON\n{rows}")), &[]);
    assert_eq!(report["summary"]["overall"]["requests"], 600);
    assert!(notes(&report).contains("the first is in line 301"), "{}", notes(&report));
}

#[test]
fn a_number_without_a_unit_is_refused_with_the_remedy() {
    let case = Case::new();
    let path = case.write("units.csv", "sent,latency,status\n0,1,OK\n");
    let message = reports(&[word(&path)]).expect_err("it is refused").message;
    assert!(message.contains("line 2: `0` in `sent` has no unit; write --columns sent=sent:ms"), "{message}");
    let path = case.write("cells.csv", "start,took,code\n2026-05-04 12:00:00,12.3ms,200\n2026-05-04 12:00:01,850µs,200\n2026-05-04 12:00:02,1.2s,503\n");
    let report = json(&path, &[]);
    assert_eq!(report["summary"]["overall"]["latency_max"], 1.2);
    assert_eq!(report["summary"]["overall"]["latency_p50"], 0.0123);
    assert!(notes(&report).contains("statuses of HTTP"), "{}", notes(&report));
}

#[test]
fn encodings_and_delimiters_are_recognised() {
    use std::io::Write;
    let case = Case::new();
    let text = "sent_ms;latency_ms;status;path\n0;5;OK;\"a;\nb\"\n10;6;UNAVAILABLE;c\n";
    let utf_16: Vec<u8> = "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let big_endian: Vec<u8> = "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    compressed.write_all(text.as_bytes()).unwrap();
    for (name, bytes) in [
        ("plain.csv", text.as_bytes().to_vec()),
        ("marked.csv", format!("\u{feff}{text}").into_bytes()),
        ("le.csv", utf_16),
        ("be.csv", big_endian),
        ("packed.csv.gz", compressed.finish().unwrap()),
        ("tabs.tsv", text.replace(';', "\t").into_bytes()),
    ] {
        let path = case.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let report = json(&path, &[]);
        assert_eq!(statuses(&report), "1 OK, 1 UNAVAILABLE", "{name}");
        assert_eq!(report["summary"]["overall"]["latency_max"], 0.006, "{name}");
    }
}
