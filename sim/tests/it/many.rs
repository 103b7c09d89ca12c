//! Many runs from one command: sweeps, shards, grids.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use kernel::{
    experiment::sweep::{RunRow, SweepRecord, merge},
    run_folder::Earlier,
    scenario::Scenario,
};
use sim::Plan;
use tempfile::TempDir;

use crate::command::{Ended, sim};

const SCENARIO: &str = r#"name = "story"
duration = "2s"

[workload]
sizes = ["8x8", "9x9"]

[load]
rate = 20.0
arrivals = "poisson"

[[fault]]
at = "1s"
kind = "loss"
target = "server-0"
rate = 0.3

[[expect]]
metric = "success_rate"
min = 0.9
"#;

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("story.toml"), SCENARIO).unwrap();
    folder
}

fn run(folder: &TempDir, arguments: &[&str]) -> Ended {
    Ended::after(sim(folder.path()).arg("story.toml").args(arguments))
}

fn rows(folder: &Path) -> Vec<RunRow> {
    let lines = fs::read_to_string(folder.join("runs.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_sweep_has_the_row_of_every_seed_alone() {
    let folder = folder();
    let ended = run(&folder, &["--seeds", "3..9"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.starts_with("PASS  story (sim, seeds 3..9): 6 of 6 runs pass\n"), "{ended:?}");
    assert_eq!(ended.reported("folder"), "runs/story/sim-seeds3-9");
    let rows = rows(&folder.path().join("runs/story/sim-seeds3-9"));
    assert_eq!(rows.iter().map(|row| row.seed).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8]);
    for row in rows {
        let alone = run(&folder, &["--seed", &row.seed.to_string(), "--out", "alone"]);
        assert_eq!(alone.reported("digest"), row.digest);
        let summary = fs::read_to_string(folder.path().join("alone/summary.json")).unwrap();
        let summary: kernel::measure::Summary = serde_json::from_str(&summary).unwrap();
        assert_eq!((summary.overall, summary.expectations, summary.pass), (row.overall, row.expectations, row.pass));
    }
}

#[test]
fn the_order_in_which_runs_end_makes_no_difference() {
    let folder = folder();
    run(&folder, &["--seeds", "0..12", "--jobs", "1", "--out", "one"]);
    run(&folder, &["--seeds", "0..12", "--jobs", "5", "--out", "five"]);
    for file in ["runs.jsonl", "sweep.json", "scenario.toml"] {
        let read = |out: &str| fs::read(folder.path().join(out).join(file)).unwrap();
        assert!(read("one") == read("five"), "{file} differs");
    }
    assert!(!folder.path().join("one/progress.jsonl").exists());
}

#[test]
fn sixteen_merged_shards_are_one_sweep() {
    let folder = folder();
    let sweep = ["--seeds", "0..20", "--vary", "client.retry.max_attempts=1,2"];
    run(&folder, &[&sweep[..], &["--out", "whole"]].concat());
    let shard = |number: u64| {
        let ended = run(&folder, &[&sweep[..], &["--shard", &format!("{number}/16")]].concat());
        let place = folder.path().join(ended.reported("folder"));
        assert!(place.to_str().unwrap().ends_with(&format!("-shard{number}of16")), "{ended:?}");
        (place.clone(), SweepRecord::read(&place).unwrap())
    };
    let merged = folder.path().join("merged");
    merge((1..=16).map(shard).collect()).unwrap().write(&merged, Earlier::Replace).unwrap();
    for file in ["runs.jsonl", "sweep.json", "scenario.toml"] {
        let read = |place: &Path| fs::read(place.join(file)).unwrap();
        assert!(read(&merged) == read(&folder.path().join("whole")), "{file} is not that of the sweep");
    }
    // The command continues from the merged folder, and finds no run that is missing.
    let again = run(&folder, &[&sweep[..], &["--out", "merged"]].concat());
    assert!(again.stdout.contains("(sim, seeds 0..20, 2 variants)"), "{again:?}");
}

#[test]
fn the_worst_runs_are_printed_with_the_command_that_repeats_them() {
    let folder = folder();
    let ended = run(&folder, &["--seeds", "0..8", "--set", "expect.0={metric=\"latency_max\",max=\"1us\"}"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let replay = ended.stdout.lines().find(|line| line.contains(" --seed ")).unwrap();
    let alone = Ended::printed(folder.path(), replay);
    assert_eq!(alone.code, Some(1), "{alone:?}");
    assert!(alone.stdout.starts_with("FAIL"));
}

/// Starts a sweep that would take long, waits until some runs of it are done and sends it `signal`.
#[expect(clippy::disallowed_methods, reason = "waits for another process")]
fn interrupted(folder: &TempDir, signal: &str) -> (Option<i32>, String, usize) {
    let mut command = sim(folder.path());
    command.args(["story.toml", "--seeds", "0..200", "--out", "sweep", "--set", "duration=\"5s\""]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let progress = folder.path().join("sweep/progress.jsonl");
    let done = || fs::read_to_string(&progress).unwrap_or_default().lines().count();
    let before = fs::read_to_string(folder.path().join("sweep/runs.jsonl")).unwrap_or_default().lines().count();
    while done() < 3 {
        assert_eq!(child.try_wait().unwrap(), None, "it should take longer");
        thread::sleep(Duration::from_millis(1));
    }
    let at_least = before + done();
    let kill = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap(), at_least)
}

#[test]
fn an_interrupted_sweep_continues_where_it_stopped() {
    let folder = folder();
    let (code, stderr, at_least) = interrupted(&folder, "INT");
    assert_eq!(code, Some(3));
    assert!(stderr.starts_with("error: interrupted after "), "{stderr}");
    let kept = rows(&folder.path().join("sweep"));
    assert!((at_least..200).contains(&kept.len()), "{} rows of {at_least}", kept.len());

    // A sweep that is killed prints nothing, but keeps its runs too.
    let (code, ..) = interrupted(&folder, "KILL");
    assert_eq!(code, None);

    let arguments = ["--seeds", "0..200", "--set", "duration=\"5s\""];
    let ended = run(&folder, &[&arguments[..], &["--out", "sweep"]].concat());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let whole = rows(&folder.path().join("sweep"));
    assert_eq!(whole.len(), 200);
    assert!(kept.iter().all(|row| whole.contains(row)));
    let at_once = run(&folder, &[&arguments[..], &["--out", "at once"]].concat());
    assert_eq!(at_once.code, Some(0));
    assert!(whole == rows(&folder.path().join("at once")), "interruptions made a difference");
}

#[test]
fn a_finished_sweep_is_reported_again_without_new_runs() {
    let folder = folder();
    let first = run(&folder, &["--seeds", "0..5"]);
    let place = folder.path().join("runs/story/sim-seeds0-5");
    assert_eq!(run(&folder, &["--seeds", "0..5"]), first);
    // The changed row shows that no run was repeated. Only the first and the last are, to check that the program is the same.
    let mut record = SweepRecord::read(&place).unwrap();
    record.rows[3].pass = false;
    record.write(&place, Earlier::Replace).unwrap();
    let again = run(&folder, &["--seeds", "0..5"]);
    assert!(again.stdout.contains("4 of 5 runs pass"), "{again:?}");

    for (index, seed) in [(0, "seed 0"), (4, "seed 4")] {
        let mut changed = record.clone();
        changed.rows[index].pass = false;
        changed.write(&place, Earlier::Replace).unwrap();
        let other = run(&folder, &["--seeds", "0..5"]);
        assert_eq!(other.code, Some(2));
        assert!(other.stderr.contains(&format!("{seed} now comes out differently")), "{other:?}");
    }
}

#[test]
fn a_row_that_somebody_changed_is_refused_and_stays() {
    let folder = folder();
    run(&folder, &["--seeds", "0..5"]);
    let runs = folder.path().join("runs/story/sim-seeds0-5/runs.jsonl");
    let changed = fs::read_to_string(&runs).unwrap().replacen("\"pass\":true", "\"pass\":false", 1);
    fs::write(&runs, &changed).unwrap();
    let refused = run(&folder, &["--seeds", "0..5"]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("runs.jsonl:1 is not the row of a run: its checksum is missing or wrong"),
        "{refused:?}"
    );
    assert_eq!(fs::read_to_string(&runs).unwrap(), changed);
    assert!(run(&folder, &["--seeds", "0..5", "--force"]).stdout.contains("5 of 5 runs pass"));
}

#[test]
fn the_folder_of_another_scenario_is_refused() {
    let folder = folder();
    run(&folder, &["--seeds", "0..2", "--out", "sweep"]);
    let other = run(&folder, &["--seeds", "0..2", "--out", "sweep", "--set", "load.rate=21"]);
    assert_eq!((other.code, other.stdout.as_str()), (Some(2), ""));
    assert!(other.stderr.contains("its scenario, or a --set, is not the same"), "{other:?}");
    // Neither is the folder of one run taken for one of many, nor the other way round.
    run(&folder, &["--out", "run"]);
    assert!(run(&folder, &["--seeds", "0..2", "--out", "run"]).stderr.contains("is not a folder of many runs"));
    assert!(run(&folder, &["--out", "sweep"]).stderr.contains("is not a run folder"));
    assert_eq!(rows(&folder.path().join("sweep")).len(), 2);
}

#[test]
fn json_has_the_figures_of_the_table() {
    let folder = folder();
    let ended = run(&folder, &["--seeds", "0..3", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&json["runs"], &json["passed"], &json["planned"]), (&3.into(), &3.into(), &3.into()));
    assert_eq!(json["folder"], "runs/story/sim-seeds0-3");
    assert_eq!(json["worst"].as_array().unwrap().len(), 3);
}

#[test]
fn a_grid_compares_variants_seed_by_seed() {
    let folder = folder();
    let grid =
        ["--seeds", "0..4", "--vary", "client.retry.max_attempts=1,3", "--vary", "client.attempt_timeout=100ms,1s"];
    let ended = run(&folder, &[&grid[..], &["--out", "grid"]].concat());
    assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
    assert!(ended.stdout.contains("(sim, seeds 0..4, 4 variants)"), "{ended:?}");
    let rows = rows(&folder.path().join("grid"));
    let keys: Vec<_> = rows.iter().map(|row| row.key()).collect();
    assert_eq!(keys, (0..4).flat_map(|variant| (0..4).map(move |seed| (variant, seed))).collect::<Vec<_>>());
    assert_eq!(rows[4].settings, ["client.retry.max_attempts=1", "client.attempt_timeout=1s"]);
    // Each row is that of the run alone.
    let row = &rows[13];
    let settings: Vec<_> = row.settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let alone = run(&folder, &[&["--seed", &row.seed.to_string()], &settings[..]].concat());
    assert_eq!(alone.reported("digest"), row.digest);
}

#[test]
fn combinations_that_exclude_each_other_are_left_out_of_a_grid() {
    let folder = folder();
    let grid = ["--vary", "client.retry.max_attempts=1,2,3,4", "--vary", "client.hedging=off,50ms"];
    let ended = run(&folder, &[&grid[..], &["--seeds", "0..3", "--out", "grid", "--set", "expect=[]"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 3, "{ended:?}");
    let note = "note: left out client.retry.max_attempts=2 client.hedging=50ms: `max_attempts` in [client.retry] and";
    assert!(ended.stderr.starts_with(note), "{ended:?}");
    assert!(ended.stdout.contains("(sim, seeds 0..3, 5 variants)"), "{ended:?}");
    let rows = rows(&folder.path().join("grid"));
    assert_eq!(rows.len(), 15);
    // The same holds if the file hedges: a value that fits no combination is an error.
    let wrong =
        run(&folder, &["--seeds", "0..3", "--vary", "client.retry.max_attempts=1,2", "--set", "client.hedging=50ms"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.ends_with("= in the variant client.retry.max_attempts=2\n"), "{wrong:?}");
    let hedged = &rows[3];
    assert_eq!(hedged.settings, ["client.retry.max_attempts=1", "client.hedging=50ms"]);
}

/// Common random numbers: the requests do not depend on what the client does.
#[test]
fn variants_of_a_seed_see_the_same_arrivals_inputs_and_service_times() {
    let variants: [&[&str]; 4] = [
        &[],
        &["client.retry.max_attempts=1"],
        &["client.attempt_timeout=10ms", "client.retry.jitter=full", "client.health_check.interval=100ms"],
        &["servers.replicas=3", "servers.workers=1", "fault=[]", "load.max_in_flight=3"],
    ];
    for seed in 0..5 {
        let base = arrivals(variants[0], seed);
        assert!(base.len() > 20);
        for variant in &variants[1..] {
            assert_eq!(arrivals(variant, seed), base, "{variant:?} with seed {seed}");
        }
    }
    assert_ne!(arrivals(&[], 0), arrivals(&[], 1));
}

/// Returns the time and the input of each request of a run, by its id.
fn arrivals(settings: &[&str], seed: u64) -> BTreeMap<u64, (u64, String)> {
    let settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
    let scenario = Scenario::parse("story.toml", SCENARIO, &settings).unwrap();
    let plan = Plan::new(scenario, seed);
    let requests = sim::run(&plan, &Default::default()).unwrap().records.requests;
    requests.into_iter().map(|row| (row.id, (row.intended_us, row.size.to_string()))).collect()
}

/// Loss is drawn for each byte that is sent, so variants that send the same bytes have the same losses.
#[test]
fn a_setting_that_never_matters_changes_nothing() {
    let folder = folder();
    let grid = ["--seeds", "0..4", "--vary", "client.retry.max_attempts=3,4,5", "--out", "grid"];
    run(&folder, &grid);
    let digests: Vec<_> = rows(&folder.path().join("grid")).into_iter().map(|row| row.digest).collect();
    assert_eq!(digests[..4], digests[4..8]);
    assert_eq!(digests[..4], digests[8..]);
}
