//! A trace of arrivals as a scenario reads it: the file that it names, and the resolved scenario that needs it no more.

use std::{fs, time::Duration};

use kernel::{
    entropy::Entropy,
    load::Schedule,
    scenario::{Scenario, ScenarioError},
    time::Instant,
};
use tempfile::TempDir;

/// A scenario of 2 s beside a file `times.txt`, with `more` in its load.
fn load(times: &str, more: &str) -> Result<Scenario, ScenarioError> {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("times.txt"), times).unwrap();
    let text = format!("name = 'a'\nduration = '2s'\n[load]\narrivals = 'trace'\ntrace = 'times.txt'\n{more}\n");
    fs::write(folder.path().join("scenario.toml"), text).unwrap();
    Scenario::load(&folder.path().join("scenario.toml"), &[])
}

fn arrivals(scenario: &Scenario) -> Vec<u64> {
    let schedule = Schedule::new(&scenario.load, scenario.duration, Entropy::new(1));
    schedule.map(Instant::as_micros).collect()
}

#[test]
fn the_resolved_scenario_has_the_times_and_plays_the_same_without_the_file() {
    let scenario = load("0\n1.5\n250ms\n2.5\n", "").unwrap();
    let resolved = scenario.to_toml();
    assert!(resolved.contains("\nrate = 0.0\narrivals = \"trace\"\n") && !resolved.contains("times.txt"), "{resolved}");
    assert!(resolved.contains("\ntrace_us = \"0 250000 1250000 1000000\"\n"), "{resolved}");
    let again = Scenario::parse("scenario.toml", &resolved, &[]).unwrap();
    assert_eq!(again, scenario);
    assert_eq!(arrivals(&again), [0, 250_000, 1_500_000], "the last one is after the end");
}

#[test]
fn a_trace_is_replaced_by_other_arrivals_that_are_set() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("times.txt"), "0\n1\n").unwrap();
    let file = folder.path().join("scenario.toml");
    fs::write(&file, "name = 'a'\nduration = '2s'\nload = { arrivals = 'trace', trace = 'times.txt' }\n").unwrap();
    let overrides = ["load.arrivals=constant".to_owned(), "load.rate=1.5".to_owned()];
    let scenario = Scenario::load(&file, &overrides).unwrap();
    assert_eq!((arrivals(&scenario), scenario.load.trace_us), (vec![0, 666_666, 1_333_333], None));
}

#[test]
fn a_wrong_trace_is_refused_with_its_place() {
    for (times, more, messages) in [
        ("0\nsoon\n", "", ["trace times.txt: line 2: ", "it is looked for at "]),
        ("", "", ["trace times.txt: it has no time", "each of its lines is a time or a row of requests.jsonl"]),
        ("3\n", "", ["nothing is sent before the run is over", "raise `duration`"]),
        ("0\n", "rate = 5", ["`rate` and arrivals = \"trace\" exclude each other", "leave `rate` out"]),
        ("0\n", "trace_us = '0'", ["`trace_us` and `trace` exclude each other", "keep `trace`"]),
    ] {
        let error = load(times, more).unwrap_err().to_string();
        messages.iter().for_each(|message| assert!(error.contains(message), "{error}"));
    }
}

#[test]
fn users_stand_beside_a_trace() {
    let scenario = load("0\n", "users = 3").unwrap();
    // Three users who think for a second call at most three times each in two seconds.
    assert_eq!(scenario.load.requests(Duration::from_secs(2)), 1.0 + 3.0 * 2.0 + 3.0);
}
