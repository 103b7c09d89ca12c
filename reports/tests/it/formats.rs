//! The formats of load generators and proxies, each by a log in it.

use std::path::{Path, PathBuf};

use clap::Parser;
use kernel::cli::Exit;
use reports::{
    command::Options,
    distribution::Distribution,
    read::{self, Input, Mapping},
    run::RecordedRun,
};

use crate::example_run::{reports, word};

fn log(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs/formats").join(name)
}

fn run(name: &str) -> RecordedRun {
    read::run(&log(name), &Mapping::default()).unwrap()
}

/// The requests as intended start and latency in microseconds, and status.
fn rows(run: &RecordedRun) -> Vec<(u64, Option<u64>, &'static str)> {
    run.rows.requests.iter().map(|row| (row.intended_us, row.latency_us, row.status.name())).collect()
}

fn quantiles(name: &str, columns: &str) -> Distribution {
    let mapping = Mapping { columns: columns.parse().unwrap(), ..Mapping::default() };
    match read::input(&log(name), &mapping).unwrap() {
        Input::Quantiles(named) => named.distribution,
        Input::Run(run) => panic!("{name} has requests: {:?}", run.notes),
    }
}

#[test]
fn k6_csv_has_ends_and_errors_in_words() {
    let run = run("k6.csv");
    // The request that ended at 2 s had begun a minute before.
    assert_eq!(
        rows(&run),
        [
            (57_987_600, Some(12_400), "OK"),
            (58_999_100, Some(900), "UNAVAILABLE"),
            (0, Some(60_000_000), "DEADLINE_EXCEEDED"),
            (60_000_000, None, "DROPPED"),
            (60_000_000, None, "DROPPED"),
            (60_000_000, None, "DROPPED"),
        ]
    );
    assert!(run.notes[0].starts_with("the log is recognised as one of k6 (--out csv)"), "{:?}", run.notes);
}

#[test]
fn k6_json_of_grpc_has_codes() {
    let statuses: Vec<&str> = rows(&run("k6.json")).iter().map(|row| row.2).collect();
    assert_eq!(statuses, ["OK", "UNAVAILABLE", "DROPPED", "DROPPED"]);
}

#[test]
fn vegeta_has_starts_in_nanoseconds_or_with_a_zone() {
    let json = rows(&run("vegeta.json"));
    assert_eq!(
        json,
        [
            (0, Some(12_000), "OK"),
            (100_000, Some(300), "UNAVAILABLE"),
            (200_000, Some(30_000_000), "DEADLINE_EXCEEDED")
        ]
    );
    let csv = rows(&run("vegeta.csv"));
    assert_eq!(
        csv,
        [(0, Some(12_000), "OK"), (100_000, Some(300), "UNAVAILABLE"), (200_000, Some(400), "UNAVAILABLE")]
    );
}

#[test]
fn jmeter_csv_has_failed_assertions_and_no_sums_of_transactions() {
    let found = rows(&run("jmeter.jtl"));
    assert_eq!(
        found,
        [(0, Some(12_000), "OK"), (100_000, Some(5_000), "UNKNOWN"), (200_000, Some(3_000), "DEADLINE_EXCEEDED")]
    );
}

#[test]
fn jmeter_csv_without_its_header_loses_no_row() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bare.jtl");
    let text = std::fs::read_to_string(log("jmeter.jtl")).unwrap();
    std::fs::write(&path, text.split_once('\n').unwrap().1).unwrap();
    let bare = read::run(&path, &Mapping::default()).unwrap();
    assert_eq!(rows(&bare), rows(&run("jmeter.jtl")));
}

#[test]
fn jmeter_xml_has_samples_without_their_parts() {
    assert_eq!(rows(&run("jmeter.xml")), [(0, Some(12_000), "OK"), (100_000, Some(3_000), "UNAVAILABLE")]);
}

#[test]
fn locust_has_exceptions_in_place_of_statuses() {
    let found = rows(&run("locust.csv"));
    assert_eq!(
        found,
        [(0, Some(12_000), "OK"), (100_000, Some(3_000), "UNAVAILABLE"), (200_000, Some(5_000), "UNAVAILABLE")]
    );
}

#[test]
fn locust_with_other_notations_has_the_same_columns() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("requests.csv");
    let text = "Start Time;Request Type;Name;Response Time;Status Code;Exception\n\
                1777852800.0;GET;/;12;200;\n1777852800.1;GET;/;3;0;ConnectionRefusedError\n";
    std::fs::write(&path, text).unwrap();
    let found = rows(&read::run(&path, &Mapping::default()).unwrap());
    assert_eq!(found, [(0, Some(12_000), "OK"), (100_000, Some(3_000), "UNAVAILABLE")]);
}

#[test]
fn ghz_csv_needs_a_rate_and_its_json_does_not() {
    let failure = reports(&[word(&log("ghz.csv"))]).expect_err("it is refused");
    assert!(failure.message.contains("give the rate at which requests were sent with --rate"), "{}", failure.message);
    let csv = read::run(&log("ghz.csv"), &Mapping { rate: Some(2.0), ..Mapping::default() }).unwrap();
    let statuses: Vec<&str> = rows(&csv).iter().map(|row| row.2).collect();
    assert_eq!(statuses, ["OK", "DEADLINE_EXCEEDED", "UNAVAILABLE"]);
    assert_eq!(rows(&run("ghz.json")), [(0, Some(5_510), "OK"), (200_000, Some(10_003_900), "DEADLINE_EXCEEDED")]);
}

#[test]
fn hey_and_oha_have_seconds_since_the_start_and_say_what_is_missing() {
    let hey = run("hey.csv");
    assert_eq!(rows(&hey), [(0, Some(12_000), "OK"), (100_000, Some(13_000), "UNAVAILABLE")]);
    assert!(hey.notes.iter().any(|note| note.contains("no row for a request without a response")), "{:?}", hey.notes);
    assert_eq!(rows(&run("oha.csv")), [(0, Some(2_626), "OK"), (100_126, Some(426), "UNAVAILABLE")]);
}

#[test]
fn gatling_has_lines_of_other_kinds_and_older_columns() {
    let found = rows(&run("gatling.log"));
    assert_eq!(
        found,
        [(0, Some(12_000), "OK"), (100_000, Some(3_000), "UNAVAILABLE"), (200_000, Some(5_000), "UNAVAILABLE")]
    );
    assert_eq!(rows(&run("gatling_old.log")), [(0, Some(12_000), "OK")]);
}

#[test]
fn envoy_has_text_json_and_what_istio_makes_of_it() {
    let wanted = [(0, Some(226_000), "OK"), (1_000_000, Some(3_000), "UNAVAILABLE")];
    assert_eq!(rows(&run("envoy.log")), wanted);
    assert_eq!(rows(&run("envoy.json")), wanted);
    assert_eq!(rows(&run("istio.log")), [(0, Some(4_000), "UNKNOWN")]);
}

#[test]
fn summaries_have_quantiles_only() {
    let at = |distribution: &Distribution| [0.5, 0.99, 1.0].map(|share| distribution.at(share));
    let counts = |distribution: &Distribution| (distribution.count, distribution.failed);
    let fortio = quantiles("fortio.json", "");
    assert_eq!((at(&fortio), counts(&fortio)), ([Some(0.002), Some(0.018), Some(0.02)], (Some(40), Some(2))));
    let artillery = quantiles("artillery.json", "");
    assert_eq!((at(&artillery), counts(&artillery)), ([Some(0.005), Some(0.025), Some(0.03)], (Some(100), Some(10))));
    let locust = quantiles("locust_stats.csv", "");
    assert_eq!((at(&locust), counts(&locust)), ([Some(0.012), Some(0.07), Some(0.1)], (Some(200), Some(4))));
    let oha = quantiles("oha.json", "");
    assert_eq!((at(&oha), counts(&oha)), ([Some(0.004), Some(0.05), Some(0.09)], (Some(100), Some(5))));
    let wrk2 = quantiles("wrk2.txt", "");
    let close = at(&wrk2).map(|seconds| (seconds.unwrap() * 1e6).round());
    assert_eq!((close, counts(&wrk2)), ([1_200.0, 3_000.0, 9_000.0], (Some(60_018), Some(10))));
    let hgrm = quantiles("spectrum.hgrm", "latency=Value:ms");
    assert_eq!((at(&hgrm), hgrm.count), ([Some(0.002), Some(0.009), Some(0.01)], Some(100)));
    let failure = reports(&[word(&log("spectrum.hgrm"))]).expect_err("it has no unit");
    assert!(failure.message.contains("write --columns latency=Value:ms"), "{}", failure.message);
}

#[test]
fn quantiles_are_compared_with_each_other_and_with_requests() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let words = [log("fortio.json"), log("oha.json"), log("hey.csv")].map(|path| word(&path).to_owned());
    let alone = reports(&[&words[0], "--out", word(&out)]).unwrap();
    assert_eq!(alone.exit, Exit::Passed);
    assert!(alone.text.contains("no series over time, no episodes and no verdict"), "{}", alone.text);
    assert!(!alone.text.contains("PASS"), "{}", alone.text);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("no series over time"), "{page}");
    let both = reports(&[&words[0], &words[1], "--out", word(&out)]).unwrap().text;
    assert!(both.contains("p99") && both.contains("+177.8 %"), "{both}");
    let three = reports(&[&words[0], &words[1], &words[2], "--out", word(&out)]).unwrap().text;
    assert!(three.contains("hey.csv"), "{three}");
}

#[test]
fn a_format_can_be_named_and_a_wrong_name_lists_all() {
    let error = Options::try_parse_from(["reports", "x.csv", "--format", "no"]).unwrap_err().to_string();
    assert!(error.contains("the formats are rehearsal, k6-csv, k6-json, vegeta-json"), "{error}");
    let mapping = Mapping { format: Some("hey-csv".to_owned()), ..Mapping::default() };
    assert_eq!(rows(&read::run(&log("hey.csv"), &mapping).unwrap()).len(), 2);
}
