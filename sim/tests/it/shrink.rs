//! A reduction keeps the failure and removes all else, and a hunt finds failures.

use std::{
    collections::BTreeSet,
    fs, iter,
    path::Path,
    sync::{Mutex, atomic::AtomicU64},
    thread,
};

use kernel::scenario::Scenario;
use sim::{
    Plan,
    reduction::{Reduced, ReductionError, reduce, short_toml, step},
};
use tempfile::TempDir;

use crate::command::{Ended, sim};

/// A scenario with three faults, of which each expectation below needs one or none to fail.
const SCENARIO: &str = r#"
name = "story"
duration = "40s"

[servers]
replicas = 3
service_time_min = "20ms"

[workload]
sizes = ["8x8"]

[load]
rate = 20.0

[client]
attempt_timeout = "1s"

[[fault]]
at = "10s"
kind = "crash"
target = "server-0"
restart_after = "3s"

[[fault]]
at = "17s"
kind = "freeze"
target = ["server-1", "server-2"]
duration = "4s"

[[fault]]
at = "27s"
kind = "delay"
target = "*"
latency = "100ms"
duration = "5s"

[[expect]]
metric = "success_rate"
min = 0.5

"#;

/// Expectations that fail, and the faults that the minimal scenario keeps for each.
const PLANTED: &[(&str, &[usize])] = &[
    ("metric = \"retries\"\nmax = 0", &[1]),
    ("metric = \"failovers\"\nmax = 0", &[1]),
    ("metric = \"latency_max\"\nmax = \"150ms\"", &[2]),
    ("metric = \"latency_p99\"\nmax = \"900ms\"", &[1]),
    ("metric = \"latency_p50\"\nmax = \"1ms\"", &[]),
    ("metric = \"time_to_detect\"\nduring = \"fault-1\"\nmax = \"10ms\"", &[1]),
    ("metric = \"time_to_detect\"\nduring = \"fault-2\"\nmax = \"1h\"", &[2]),
    ("metric = \"latency_max\"\nduring = \"fault-2\"\nmax = \"150ms\"", &[2]),
    ("metric = \"attempts_per_call\"\nmin = 2", &[]),
    ("metric = \"goodput\"\nmin = 1000", &[]),
];

fn plan(text: &str) -> Plan {
    let scenario = Scenario::parse("story.toml", text, &[]).unwrap();
    Plan::new(scenario, 1)
}

fn reduced(plan: &Plan) -> Reduced {
    reduce(plan, &mut |_, _| {}).unwrap()
}

/// Prints every minimal scenario, with `--nocapture`.
#[test]
fn planted_failures_shrink_until_nothing_more_can_be_removed() {
    for_each_planted(|bound, faults| {
        let plan = plan(&format!("{SCENARIO}[[expect]]\n{bound}\n"));
        let reduced = reduced(&plan);
        let shown = format!("{bound}\n{} runs\n{}", reduced.trials, short_toml(&reduced.scenario));
        let fails = |scenario: &Scenario| reduced.goal.is_met_by(&Plan { scenario: scenario.clone(), ..plan.clone() });
        assert!(fails(&reduced.scenario), "{shown}");
        for step in step::every(&reduced.scenario, false) {
            if let Some(less) = step.apply(&reduced.scenario) {
                assert!(!fails(&less), "{step:?} could be removed\n{shown}");
            }
        }
        assert!(reduced.is_minimal, "{shown}");
        println!("{shown}\n");
        assert_eq!(reduced.origins.len(), faults.len(), "{shown}");
        assert!(reduced.scenario.expectations.len() == 1 && reduced.scenario.servers.replicas < 3, "{shown}");
        assert!(reduced.scenario.load.rate < 20.0 && reduced.scenario.duration < plan.scenario.duration, "{shown}");
    });
}

/// Checks each of [`PLANTED`], on all cores.
fn for_each_planted(check: impl Fn(&str, &[usize]) + Sync) {
    let planted = Mutex::new(PLANTED.iter());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let next = iter::from_fn(|| planted.lock().expect("taking the next one does not panic").next());
                next.for_each(|&(bound, faults)| check(bound, faults));
            });
        }
    });
}

#[test]
fn the_failure_that_is_kept_is_the_first_with_its_bound() {
    let bounds = "[[expect]]\nmetric = \"retries\"\nmin = 1\nmax = 1\n[[expect]]\nmetric = \"goodput\"\nmin = 1000\n";
    let plan = plan(&format!("{SCENARIO}{bounds}"));
    let reduced = reduced(&plan);
    assert_eq!(reduced.goal.to_string(), "retries is over its max");
    let completed = sim::run(&Plan { scenario: reduced.scenario.clone(), ..plan }, &AtomicU64::new(0)).unwrap();
    let retries = completed.records.requests.iter().map(|row| row.attempts.saturating_sub(1)).sum::<u32>();
    assert!(retries > 1, "no retry at all would fail the expectation, too, and in another way");
}

#[test]
fn a_scenario_that_passes_is_not_shrunk() {
    let refused = reduce(&plan(SCENARIO), &mut |_, _| {}).unwrap_err();
    assert!(matches!(refused, ReductionError::Passes { seed: 1, .. }));
}

/// Returns a folder with the scenario, which expects no retries, and with `calm.toml`, which passes.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let text = format!("{SCENARIO}[[expect]]\nmetric = \"retries\"\nmax = 0\n");
    fs::write(folder.path().join("story.toml"), text).unwrap();
    fs::write(folder.path().join("calm.toml"), SCENARIO).unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Ended {
    Ended::after(sim(folder).args(arguments))
}

#[test]
fn a_run_folder_and_its_scenario_shrink_to_the_same_file_which_fails_alone() {
    let folder = folder();
    let place = folder.path();
    let failed = run(place, &["story.toml", "--seed", "1", "--out", "run"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let of_file = run(place, &["shrink", "story.toml", "--seed", "1", "--out", "file/small.toml"]);
    assert_eq!((of_file.code, &*of_file.stderr), (Some(0), ""), "{of_file:?}");
    assert!(of_file.stdout.starts_with("SHRUNK  story (sim, seed 1): retries is over its max\n"), "{of_file:?}");
    let of_run = run(place, &["shrink", "run", "--out", "small.toml"]);
    assert_eq!(of_run.code, Some(0), "{of_run:?}");
    assert_eq!(without_comments(&place.join("small.toml")), without_comments(&place.join("file/small.toml")));
    assert!(fs::read_to_string(place.join("small.toml")).unwrap().contains("#   fault 2, the delay of "));
    let again = run(place, &["small.toml", "--seed", "1"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    let calm = run(place, &["shrink", "calm.toml", "--seed", "1"]);
    assert_eq!(calm.code, Some(2), "{calm:?}");
    assert!(calm.stderr.starts_with("error: `story` passes with seed 1, so there is nothing to shrink"), "{calm:?}");
}

/// Returns the lines of a file that are not comments.
fn without_comments(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Runs the command behind `label` in the report.
fn again(folder: &Path, ended: &Ended, label: &str) -> Ended {
    Ended::printed(folder, ended.reported(label))
}

#[test]
fn a_hunt_finds_a_scenario_that_fails_by_itself() {
    let folder = folder();
    let place = folder.path();
    let arguments = ["hunt", "story.toml", "--set", "fault=[]", "--runs", "40", "--for", "10m"];
    let found = run(place, &arguments);
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(found.stdout.contains(": retries is over its max\n"), "{found:?}");
    let scenario = Scenario::load(&place.join(found.reported("scenario")), &[]).unwrap();
    assert!(scenario.nemesis.is_none() && !scenario.faults.is_empty());
    assert!(scenario.faults.iter().all(|fault| found.stdout.contains(&format!("\n  {fault}\n"))), "{found:?}");
    assert_eq!(again(place, &found, "replay").code, Some(1));
    let shrunk = again(place, &found, "shrink");
    assert_eq!(shrunk.code, Some(0), "{shrunk:?}");
    // The first failure by its seed is found, on however many cores.
    let one = run(place, &[&arguments[..], &["--jobs", "1"]].concat());
    assert_eq!(one.stdout.split(" after ").next(), found.stdout.split(" after ").next());
    assert_eq!(one.reported("scenario"), found.reported("scenario"));
}

#[test]
fn a_hunt_that_finds_nothing_says_so_and_keeps_the_scenarios_if_asked() {
    let folder = folder();
    let place = folder.path();
    let none = run(place, &["hunt", "calm.toml", "--runs", "3", "--invariants", "--keep", "--out", "kept"]);
    assert_eq!(none.code, Some(0), "{none:?}");
    assert!(none.stdout.starts_with("NONE  story (sim, from seed 0): no failure in 3 runs\n\n"), "{none:?}");
    assert!(none.stdout.contains("  states reached, by runs: retry 3, "), "{none:?}");
    assert!(none.stdout.contains("  states never reached: "), "{none:?}");
    assert_eq!(fs::read_dir(place.join("kept")).unwrap().count(), 3);
    let policies = ["hunt", "calm.toml", "--runs", "12", "--policies", "--keep", "--out", "drawn"];
    let none = run(place, &policies);
    assert_eq!((none.code, &*none.stderr), (Some(0), ""), "{none:?}");
    let drawn = fs::read_dir(place.join("drawn")).unwrap().map(|entry| {
        let scenario = Scenario::load(&entry.unwrap().path(), &[]).unwrap();
        (scenario.servers.replicas, scenario.client.retry.max_attempts, scenario.client.policies.cache.is_some())
    });
    assert!(drawn.collect::<BTreeSet<_>>().len() > 4, "they differ");
    let none = run(place, &[&policies[..7], &["adaptive", "--adaptive"]].concat());
    assert_eq!((none.code, &*none.stderr), (Some(0), ""), "{none:?}");
    let read = |folder: &str, seed: u64| Scenario::load(&place.join(format!("{folder}/seed{seed}.toml")), &[]).unwrap();
    let pairs: Vec<_> = (0..12).map(|seed| (read("drawn", seed), read("adaptive", seed))).collect();
    assert!(pairs.iter().all(|(plain, adaptive)| plain.client.retry == adaptive.client.retry), "what they share");
    assert!(pairs.iter().any(|(_, adaptive)| adaptive.client.policies.adaptive_timeout.is_some()));
}

#[test]
fn drawn_faults_are_printed_and_written_and_run_as_those_of_a_file() {
    let folder = folder();
    let place = folder.path();
    let drawn = run(place, &["calm.toml", "--set", "nemesis={}", "--seed", "5", "--out", "run"]);
    let written = Scenario::load(&place.join("run/scenario.toml"), &[]).unwrap();
    assert!(written.nemesis.is_none() && written.faults.len() > 3, "behind those of the file");
    assert!(drawn.stderr.starts_with("note: seed 5 draws these faults"), "{drawn:?}");
    let printed: Vec<_> = drawn.stderr.lines().skip(1).map(|line| line.trim().to_owned()).collect();
    assert_eq!(printed, written.faults[3..].iter().map(ToString::to_string).collect::<Vec<_>>());
    let as_it_is = run(place, &["run/scenario.toml", "--seed", "5", "--out", "again"]);
    assert_eq!(as_it_is.reported("digest"), drawn.reported("digest"));
    let sweep = run(place, &["calm.toml", "--set", "nemesis={}", "--seeds", "5..6", "--out", "sweep"]);
    assert_eq!(sweep.stderr, "", "{sweep:?}");
    let row = fs::read_to_string(place.join("sweep/runs.jsonl")).unwrap();
    assert!(row.contains(drawn.reported("digest")), "{row}");
}
