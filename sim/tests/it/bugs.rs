//! Bugs that are planted break an invariant, whatever the scenario expects, and the command says so.

use std::fs;

use clap::ValueEnum;
use kernel::{bug::Bug, invariant::Invariant, scenario::Scenario};
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ended, sim};

const STORY: &str = r#"name = "story"
duration = "20s"

[servers]
service_time_min = "20ms"

[workload]
sizes = ["8x8"]

[load]
rate = 20.0

[client]
attempt_timeout = "500ms"

[client.health_check]
interval = "1s"
timeout = "300ms"

[[fault]]
at = "5s"
kind = "crash"
target = "server-0"
restart_after = "1s"

[[fault]]
at = "10s"
kind = "freeze"
target = "server-1"
duration = "2s"
"#;

/// What each breaks, and with which setting.
fn breaks(bug: Bug) -> (Invariant, &'static str) {
    match bug {
        Bug::AttemptTooMany => (Invariant::WithinLimits, "client.retry.max_attempts=1"),
        Bug::ShortBackoff => (Invariant::WithinLimits, "client.retry.initial_backoff=200ms"),
        Bug::ForgottenDeadline => (Invariant::InTime, "client.deadline=300ms"),
        Bug::LeakyBreaker => (
            Invariant::WithinLimits,
            "client.circuit_breaker={ scope = \"server\", consecutive_failures = 2, reset_timeout = \"5s\" }",
        ),
        Bug::WideBulkhead => (Invariant::WithinLimits, "client.bulkhead.max_concurrent_calls=1"),
        Bug::Grudge => (Invariant::HealthConverges, "duration=50s"),
        Bug::UncountedFailover => (Invariant::OneStory, "load.arrivals=poisson"),
        Bug::WrongAnswer => (Invariant::RightResult, "load.arrivals=poisson"),
    }
}

fn run(folder: &TempDir, arguments: &[&str]) -> Ended {
    Ended::of(sim(folder.path()).args(arguments))
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("story.toml"), STORY).unwrap();
    folder
}

fn name(bug: Bug) -> String {
    bug.to_possible_value().unwrap().get_name().to_owned()
}

#[test]
fn every_bug_breaks_its_invariant_and_ends_in_4() {
    let folder = folder();
    for bug in Bug::value_variants() {
        let (invariant, setting) = breaks(*bug);
        let without = run(&folder, &["story.toml", "--set", setting]);
        assert_eq!((without.code, &*without.stderr), (Some(0), ""), "{without:?}");
        let with = run(&folder, &["story.toml", "--set", setting, "--bug", &name(*bug)]);
        assert_eq!((with.code, &*with.stderr), (Some(4), ""), "{bug:?} was not found: {with:?}");
        let told = format!(
            "\n  An invariant is broken (seed 0): a bug of this program, not of the scenario.\n  ✗ \"{invariant}\""
        );
        assert!(with.stdout.contains(&told), "{with:?}");
    }
}

/// One fault at most, and a request or two: with `--nocapture` it prints how small each gets.
#[test]
fn what_a_bug_breaks_shrinks_to_what_still_breaks() {
    let folder = folder();
    for bug in Bug::value_variants() {
        let (invariant, setting) = breaks(*bug);
        let arguments = ["--set", setting, "--bug", &name(*bug)];
        let shrunk = run(&folder, &[&["shrink", "story.toml", "--out", "small.toml"][..], &arguments].concat());
        let told = format!("SHRUNK  story (sim, seed 0): the invariant \"{invariant}\" is broken\n");
        assert!(shrunk.code == Some(0) && shrunk.stdout.starts_with(&told), "{shrunk:?}");
        let small = Scenario::load(&folder.path().join("small.toml"), &[]).unwrap();
        assert!(small.faults.len() == 1 && small.faults[0].targets.len() == 1, "{shrunk:?}");
        let with = run(&folder, &["small.toml", "--bug", &name(*bug)]);
        assert_eq!(with.code, Some(4), "{with:?}");
        assert_eq!(run(&folder, &["small.toml"]).code, Some(0), "the bug, and nothing else, breaks it");
        println!("{}", shrunk.stdout);
    }
}

#[test]
fn a_bug_is_told_to_programs_and_of_every_seed_of_a_sweep() {
    let folder = folder();
    let bug = ["--bug", "wrong-answer"];
    let json = run(&folder, &[&["story.toml", "--json"][..], &bug].concat());
    let account: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &account["pass"]), (Some(4), &Value::Bool(true)));
    let broken = &account["broken_invariants"][0];
    assert_eq!(broken["invariant"], "right_result");
    assert!(broken["request"].is_u64() && broken["at_us"].is_u64() && broken["what"].is_string(), "{broken}");
    let sweep = run(&folder, &[&["story.toml", "--seeds", "0..3"][..], &bug].concat());
    assert_eq!(sweep.code, Some(4), "{sweep:?}");
    assert!(sweep.stdout.contains("3 of 3 runs break an invariant"), "{sweep:?}");
}
