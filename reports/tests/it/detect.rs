//! Detectors of anomalies: the alarms of a run, and their comparison over a set.

use std::{fs, path::Path};

use kernel::{
    cli::Exit,
    detect::{
        Call,
        set::{self, Half, SetFault, SetRun},
    },
    run_folder::lines::line,
};
use serde_json::Value;

use crate::example_run::{S, folder, reports, word};

/// Writes a set of four runs of 15 minutes, ten calls a second. In the first two, all calls fail from 400 s to 460 s.
fn write_set(place: &Path) {
    fs::create_dir_all(place.join("calls")).unwrap();
    let mut runs = Vec::new();
    for run in 0..4 {
        let fault = SetFault { kind: "crash".into(), start_us: 400 * S, end_us: 460 * S };
        let row = SetRun {
            run,
            half: if run % 2 == 0 { Half::Tuning } else { Half::Evaluation },
            seed: run,
            duration_us: 900 * S,
            faults: if run < 2 { vec![fault] } else { Vec::new() },
            scenario: String::new(),
        };
        runs.extend(line(&row));
        let calls = (0..9_000_u64).map(|call| Call {
            end_us: call * S / 10,
            latency_us: 900 + call * 7 % 200,
            is_failure: run < 2 && (4_000..4_600).contains(&call),
        });
        fs::write(set::calls_path(place, run), set::pack(calls)).unwrap();
    }
    fs::write(place.join(set::RUNS), runs).unwrap();
}

#[test]
fn detectors_are_compared_over_a_set() {
    let directory = tempfile::tempdir().unwrap();
    write_set(directory.path());
    let output = reports(&["detect-bench", word(directory.path()), "--curve", "--json"]).unwrap();
    assert_eq!(output.exit, Exit::Passed);
    let json: Value = serde_json::from_str(&output.text).unwrap();
    assert_eq!((&json["half"], &json["runs"]), (&"evaluation".into(), &2.into()));
    let detectors = json["detectors"].as_array().unwrap();
    assert_eq!(detectors.len(), 5);
    for detector in &detectors[..4] {
        assert_eq!(detector["recall"]["count"], 1, "{detector}");
        assert_eq!(detector["false_alarms"], 0, "{detector}");
    }
    assert_eq!(json["curves"].as_array().unwrap().len(), 65);
    let never = ["detect-bench", word(directory.path()), "--json", "--threshold", "cusum=1000"];
    let json: Value = serde_json::from_str(&reports(&never).unwrap().text).unwrap();
    assert_eq!(
        (&json["detectors"][1]["detector"], &json["detectors"][1]["recall"]["count"]),
        (&"cusum".into(), &0.into())
    );
    let text = reports(&["detect-bench", word(directory.path())]).unwrap().text;
    assert!(text.starts_with("2 runs of the half `evaluation`"), "{text}");
    assert!(text.contains("cusum") && text.contains("20 % and more       1"), "{text}");
}

#[test]
fn a_program_enters_with_its_alarms() {
    let directory = tempfile::tempdir().unwrap();
    write_set(directory.path());
    // It raises an alarm in every run, from 410 s to 470 s.
    let script = r#"while read -r line; do case "$line" in *run_end*) echo '{"start_us":410000000,"end_us":470000000}'; echo '{"done":true}';; esac; done"#;
    let words = ["detect-bench", word(directory.path()), "--json", "--program", script];
    let json: Value = serde_json::from_str(&reports(&words).unwrap().text).unwrap();
    let entry = &json["detectors"][5];
    assert_eq!((&entry["detector"], &entry["threshold"]), (&script.into(), &Value::Null));
    assert_eq!((&entry["recall"]["share"], &entry["false_alarms"]), (&1.0.into(), &1.into()));
    assert_eq!(entry["start_delay_s"], serde_json::json!([10.0, 10.0]));

    let failure = reports(&["detect-bench", word(directory.path()), "--program", "exit 1"]).unwrap_err();
    assert_eq!(failure.exit, Exit::RunFailed);
    assert!(failure.message.contains("in run 1 the detector `exit 1` has ended"), "{}", failure.message);
}

#[test]
fn a_set_that_is_missing_or_damaged_is_an_error_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("nothing");
    let fails = |place: &Path| {
        let failure = reports(&["detect-bench", word(place)]).unwrap_err();
        assert_eq!(failure.exit, Exit::WrongInput, "{}", failure.message);
        failure.message
    };
    assert!(fails(&missing).contains("runs.jsonl"));
    write_set(directory.path());
    let calls = set::calls_path(directory.path(), 1);
    fs::write(&calls, [0x80]).unwrap();
    assert!(fails(directory.path()).contains("00001 is damaged; play it again with `sim incidents`"));
    fs::remove_file(&calls).unwrap();
    assert!(fails(directory.path()).contains("00001 is missing: the set is not complete"));
    fs::write(directory.path().join(set::RUNS), "{\"run\":0}\n").unwrap();
    let message = fails(directory.path());
    assert!(message.contains("not a run of a set") && message.contains("sim incidents"), "{message}");
}

#[test]
fn the_alarms_of_a_run_have_the_fault_that_they_belong_to() {
    let directory = tempfile::tempdir().unwrap();
    let run = folder(directory.path(), "sim", 7, 1);
    // The freeze is 10 s after the start, and 30 steps of 300 ms are 9 s.
    let output = reports(&["detect", word(&run), "--step", "300ms", "--json"]).unwrap();
    assert_eq!(output.exit, Exit::Passed);
    let json: Value = serde_json::from_str(&output.text).unwrap();
    let alarms: Vec<&Value> =
        json["detectors"].as_array().unwrap().iter().flat_map(|d| d["alarms"].as_array().unwrap()).collect();
    assert!(!alarms.is_empty(), "{json}");
    assert!(
        alarms.iter().all(|alarm| alarm["start_us"].as_u64() > Some(10 * S) && alarm["kind"] == "freeze"),
        "{json}"
    );
    let text = reports(&["detect", word(&run), "--step", "300ms"]).unwrap().text;
    assert!(text.contains("fault-0 freeze"), "{text}");
}

#[test]
fn a_log_with_a_row_years_after_the_others_has_too_many_steps() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log.csv");
    fs::write(&log, "sent_ms,latency_ms,status\n0,20,OK\n100000000000,20,OK\n").unwrap();
    let failure = reports(&["detect", word(&log)]).unwrap_err();
    assert_eq!(failure.exit, Exit::WrongInput);
    assert!(
        failure.message.contains("100000001 steps") && failure.message.contains("longer --step"),
        "{}",
        failure.message
    );
}
