//! Hunts that are guided by what runs reach.

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ended, sim};

const SCENARIO: &str = r#"
name = "story"
duration = "5s"
[servers]
replicas = 3
[workload]
kind = "backend"
failure_rate = 0.0
delay = "20ms"
[load]
rate = 10.0
arrivals = "poisson"
[client]
deadline = "1s"
attempt_timeout = "200ms"
[client.health_check]
interval = "500ms"
timeout = "150ms"
[client.circuit_breaker]
scope = "server"
consecutive_failures = 2
reset_timeout = "300ms"
[nemesis]
faults_max = 2
duration_max = "800ms"
[[expect]]
metric = "success_rate"
min = 0.6
"#;

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("story.toml"), SCENARIO).unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Ended {
    Ended::after(sim(folder).args(arguments))
}

/// Returns the arguments of a command that a report shows.
fn arguments<'a>(report: &'a str, label: &str) -> Vec<&'a str> {
    let line = report.lines().find_map(|line| line.trim_start().strip_prefix(label));
    line.unwrap_or_else(|| panic!("no {label} in {report}")).split_whitespace().skip(1).collect()
}

#[test]
fn a_finding_is_replayed_and_minimised_by_the_commands_of_its_report() {
    let folder = folder();
    let hunt = ["hunt", "story.toml", "--guided", "--runs", "2000", "--for", "10m"];
    // Seeds from which the finding is not a first run.
    let found = (0..20).map(|seed| seed * 1_000).find_map(|seed| {
        let found = run(folder.path(), &[&hunt[..], &["--from-seed", &seed.to_string()]].concat());
        assert_eq!(found.code, Some(1), "{found:?}");
        found.stdout.contains("--branch").then_some(found)
    });
    let found = found.expect("some finding has a branch");
    assert!(found.stdout.contains("  guided by "), "{}", found.stdout);
    let replayed = run(folder.path(), &arguments(&found.stdout, "replay "));
    assert_eq!(replayed.code, Some(1), "{replayed:?}");
    assert!(replayed.stdout.contains("success_rate"), "{replayed:?}");
    let again = run(folder.path(), &arguments(&replayed.stdout, "replay "));
    let digest = |ended: &Ended| {
        let line = ended.stdout.lines().find(|line| line.trim_start().starts_with("digest"));
        line.expect("a digest").to_owned()
    };
    assert_eq!(digest(&again), digest(&replayed));
    let shrunk = run(folder.path(), &arguments(&found.stdout, "shrink "));
    assert_eq!(shrunk.code, Some(0), "{shrunk:?}");
    let small = run(folder.path(), &arguments(&shrunk.stdout, "replay "));
    assert_eq!(small.code, Some(1), "{small:?}");
}

#[test]
fn the_number_of_threads_makes_no_difference() {
    let folder = folder();
    let hunt = |jobs: &str| {
        let arguments =
            ["hunt", "story.toml", "--guided", "--set", "expect.0.min=0.5", "--runs", "400", "--for", "10m"];
        let ended = run(folder.path(), &[&arguments[..], &["--json", "--jobs", jobs]].concat());
        (ended.code, serde_json::from_str::<Value>(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}")))
    };
    let one = hunt("1");
    assert_eq!(hunt("3"), one);
    assert!(one.1["kept"]["situations"].as_u64() > Some(50), "{}", one.1);
}

#[test]
fn a_guided_hunt_without_a_finding_says_what_it_has_reached() {
    let folder = folder();
    let none = run(folder.path(), &["hunt", "story.toml", "--guided", "--invariants", "--runs", "40", "--for", "10m"]);
    assert_eq!((none.code, &*none.stderr), (Some(0), ""), "{none:?}");
    assert!(none.stdout.starts_with("NONE  story (sim, from seed 0): no failure in 40 runs"), "{none:?}");
    assert!(none.stdout.contains("situations; "), "{none:?}");
}

/// The bug needs a breaker that is half-open while a freeze has just ended, on a server that is down otherwise.
#[cfg(feature = "canaries")]
#[test]
fn a_rare_bug_is_found_sooner() {
    let folder = folder();
    let bug = ["--bug", "twice-done", "--need", "just-thawed", "--need", "half-open-breaker", "--need", "unhealthy"];
    let hunt = |more: &[&str]| {
        let arguments = ["hunt", "story.toml", "--invariants", "--runs", "6000", "--for", "30m", "--json"];
        let ended = run(folder.path(), &[&arguments[..], more, &bug].concat());
        let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        assert_eq!(ended.code, Some(4), "{ended:?}");
        report["runs"].as_u64().unwrap()
    };
    let sum = |guided: &[&str]| {
        (0..3).map(|seed| hunt(&[&["--from-seed", &format!("{seed}0000")], guided].concat())).sum::<u64>()
    };
    let (guided, random) = (sum(&["--guided"]), sum(&[]));
    assert!(guided < random, "{guided} runs guided, {random} at random");
}
