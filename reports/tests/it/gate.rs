//! What pipelines check: conditions, and the files and lines that CI systems read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kernel::cli::{Exit, without_variables};
use serde_json::Value;

use crate::example_run::{folder, reports, word};

/// Two logs of a hundred requests, the second 20 % slower and with two failures.
fn logs(directory: &Path) -> [PathBuf; 2] {
    [("before.csv", 100, 0), ("after.csv", 120, 2)].map(|(name, latency_ms, failed)| {
        let status = |index| if index < failed { "UNAVAILABLE" } else { "OK" };
        let rows: String = (0..100).map(|index| format!("{},{latency_ms},{}\n", index * 100, status(index))).collect();
        let path = directory.join(name);
        fs::write(&path, format!("sent_ms,latency_ms,status\n{rows}")).unwrap();
        path
    })
}

#[test]
fn a_comparison_fails_by_a_condition_that_holds() {
    let directory = tempfile::tempdir().unwrap();
    let [before, after] = logs(directory.path());
    let out = directory.path().join("out");
    let compared = |conditions: &[&str]| {
        let mut words = vec![word(&before), word(&after), "--out", word(&out)];
        conditions.iter().for_each(|condition| words.extend(["--fail-if", condition]));
        reports(&words).unwrap()
    };
    let passed = compared(&["latency_p95 > +25%", "success_rate < 90%"]);
    assert_eq!(passed.exit, Exit::Passed);
    assert!(
        passed
            .text
            .contains("✓ fail if latency_p95 > +25%: does not hold for after.csv (120 ms, 100 ms in before.csv)"),
        "{}",
        passed.text
    );
    for condition in [
        "latency_p95 > +10%",
        "latency_p95 > +10ms",
        "latency_p95 > 110ms",
        "success_rate < -1pp",
        "success_rate < 99%",
    ] {
        let failed = compared(&["latency_p95 > +25%", condition]);
        assert_eq!(failed.exit, Exit::Failed, "{condition}");
        assert!(failed.text.contains(&format!("✗ fail if {condition}: holds for after.csv")), "{}", failed.text);
    }
    let words = [word(&before), word(&after), "--out", word(&out), "--json", "--fail-if", "latency_p95 > +10%"];
    let json: Value = serde_json::from_str(&reports(&words).unwrap().text).unwrap();
    assert_eq!(json["conditions"][0]["holds"], true);
}

#[test]
fn what_cannot_be_checked_is_no_pass() {
    let directory = tempfile::tempdir().unwrap();
    let [before, _] = logs(directory.path());
    let out = directory.path().join("out");
    let refused = |words: &[&str]| {
        let failure = reports(&[words, &["--out", word(&out)]].concat()).expect_err("it is refused");
        assert_eq!(failure.exit, Exit::WrongInput);
        failure.message
    };
    let message = refused(&[word(&before), "--fail-if", "latency_p95 > +10%"]);
    assert!(message.contains("there is no value to compare with"), "{message}");
    let message = refused(&[word(&before), word(&before), "--fail-if", "recovery_time > 1s"]);
    assert!(message.contains("it has no such value"), "{message}");
    assert_eq!(
        reports(&[word(&before), "--out", word(&out), "--fail-if", "latency_p95 > 1ms"]).unwrap().exit,
        Exit::Failed
    );
}

#[test]
fn junit_and_github_have_every_check() {
    let directory = tempfile::tempdir().unwrap();
    let [before, after] = logs(directory.path());
    let path = |name: &str| directory.path().join(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_reports"));
    without_variables(&mut command);
    let output = command
        .args([&before, &after])
        .args(["--fail-if", "latency_p95 > +10%", "--fail-if", "success_rate < 90%", "--github"])
        .args(["--junit", word(&path("checks.xml")), "--out", word(&path("out"))])
        .env("GITHUB_STEP_SUMMARY", path("summary.md"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.contains("::error title=latency_p95 > +10%25::after.csv: 120 ms, 100 ms in before.csv\n"),
        "{stdout}"
    );
    let junit = fs::read_to_string(path("checks.xml")).unwrap();
    assert!(junit.contains("tests=\"2\" failures=\"1\""), "{junit}");
    assert!(junit.contains("name=\"latency_p95 &gt; +10%\">\n      <failure message="), "{junit}");
    let summary = fs::read_to_string(path("summary.md")).unwrap();
    assert!(summary.contains("| ❌ | latency\\_p95 &gt; +10% | after.csv |"), "{summary}");
    // The expectations of a run are checks, too.
    let run = folder(directory.path(), "sim", 1, 1);
    reports(&[word(&run), "--junit", word(&path("run.xml"))]).unwrap();
    let junit = fs::read_to_string(path("run.xml")).unwrap();
    assert!(
        junit.contains("name=\"success_rate at least 90.00 %\"/>") && junit.contains("name=\"verdict\"/>"),
        "{junit}"
    );
}

#[test]
fn percentiles_are_written_as_they_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let [_, after] = logs(directory.path());
    let out = directory.path().join("out");
    reports(&[word(&after), "--hgrm", "--out", word(&out)]).unwrap();
    let spectrum = out.join("latencies.hgrm");
    let text = fs::read_to_string(&spectrum).unwrap();
    assert!(text.contains("     120.000 1.000000000000        100\n"), "{text}");
    let compared = reports(&[word(&spectrum), word(&after), "--out", word(&out.join("compared"))]).unwrap().text;
    let p95 = compared.lines().find(|line| line.trim_start().starts_with("p95")).unwrap();
    assert!(p95.matches("120 ms").count() == 2 && p95.contains("+0.0 %"), "{compared}");
}

#[test]
fn a_comparison_has_the_percentiles_of_each_run() {
    let directory = tempfile::tempdir().unwrap();
    let [before, after] = logs(directory.path());
    let alone = directory.path().join("alone");
    reports(&[word(&after), "--hgrm", "--out", word(&alone)]).unwrap();
    let out = directory.path().join("out");
    reports(&[word(&before), word(&after), "--hgrm", "--out", word(&out)]).unwrap();
    let file = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let of = |path: &Path| fs::read_to_string(out.join(format!("latencies-{}.hgrm", file(path)))).unwrap();
    assert_eq!(of(&after), fs::read_to_string(alone.join("latencies.hgrm")).unwrap());
    assert_ne!(of(&before), of(&after));
    let listed = fs::read_to_string(out.join("files.json")).unwrap();
    assert!(listed.contains(&format!("latencies-{}.hgrm", file(&before))), "{listed}");

    let summary = alone.join("latencies.hgrm");
    for words in [[word(&summary), word(&after), "--hgrm"], [word(&before), word(&after), "--parquet"]] {
        let refused = reports(&words).unwrap_err();
        assert_eq!(refused.exit, Exit::WrongInput);
        assert!(
            refused.message.contains("which has no requests") || refused.message.contains("of one run; name one"),
            "{refused:?}"
        );
    }
}
