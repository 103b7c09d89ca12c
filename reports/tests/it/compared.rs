//! Several runs.

use std::fs;

use serde_json::Value;

use crate::example_run::{folder, reports, word};

fn compare(scales: [u64; 2]) -> (Value, String) {
    let directory = tempfile::tempdir().unwrap();
    let real = folder(directory.path(), "real", 42, scales[0]);
    let sim = folder(directory.path(), "sim", 42, scales[1]);
    let other_sim = folder(directory.path(), "sim", 43, scales[1]);
    let out = directory.path().join("out");
    let text = reports(&[word(&sim), word(&other_sim), word(&real), "--out", word(&out)]).unwrap().text;
    for plot in ["overlay", "cdf", "qq"] {
        assert!(out.join(format!("{plot}.svg")).is_file() && out.join(format!("{plot}.png")).is_file(), "{plot}");
    }
    assert!(out.join("report.html").is_file() && out.join("comparison.txt").is_file());
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(
        page.contains("<p class=\"answer\">The success rates of sim x2 and real do not differ; "),
        "the page begins with an answer"
    );
    let json = serde_json::from_str(&fs::read_to_string(out.join("comparison.json")).unwrap()).unwrap();
    (json, text)
}

fn phase<'a>(json: &'a Value, name: &str) -> &'a Value {
    let phases = json["scenarios"][0]["pairs"][0]["phases"].as_array().unwrap();
    phases.iter().find(|phase| phase["phase"] == name).unwrap()
}

#[test]
fn the_simulation_is_held_against_the_real_run() {
    let (json, text) = compare([1, 1]);
    let scenario = &json["scenarios"][0];
    assert_eq!((scenario["reference"].as_str(), scenario["scenario"].as_str()), (Some("real"), Some("story")));
    assert_eq!(scenario["pairs"][0]["side"], "sim x2");
    let before = phase(&json, "before");
    let p50 = before["metrics"].as_array().unwrap().iter().find(|metric| metric["metric"] == "latency_p50").unwrap();
    assert_eq!((&p50["unit"], &p50["relative"]), (&Value::from("s"), &Value::from(0.0)));
    assert_eq!(phase(&json, "whole run")["distances"]["total_variation"], Value::from(0.0));
    assert!(text.contains("sim x2 against real: metrics"), "{text}");
}

#[test]
fn twice_as_slow_is_100_percent_more_and_as_far_in_seconds() {
    let (json, _) = compare([1, 2]);
    let distances = &phase(&json, "before")["distances"];
    assert!((distances["p50_relative"].as_f64().unwrap() - 1.0).abs() < 0.05, "{distances}");
    // Latencies of 20 to 26 ms twice as long: 23 ms further.
    assert!((distances["wasserstein_1_s"].as_f64().unwrap() - 0.023).abs() < 0.001, "{distances}");
    assert_eq!(distances["kolmogorov_smirnov"], Value::from(1.0));
    let goodput = &json["scenarios"][0]["pairs"][0]["series"]["goodput"];
    assert_eq!(goodput["lag_s"], Value::from(0.0));
}

#[test]
fn runs_of_one_world_are_compared_with_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = [1, 2].map(|seed| folder(directory.path(), "sim", seed, seed));
    let out = directory.path().join("out");
    let done = reports(&[word(&first), word(&second), "--json", "--out", word(&out)]).unwrap();
    let json: Value = serde_json::from_str(&done.text).unwrap();
    assert_eq!(json["scenarios"][0]["reference"], "sim-seed1");
    assert_eq!(json["scenarios"][0]["pairs"][0]["side"], "sim-seed2");
}
