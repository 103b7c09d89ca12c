//! Folders of many runs: sweeps, grids, shards.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kernel::{
    cli::Exit,
    experiment::sweep::{Axis, Origin, RunRow, Seeds, Shard, SweepIdentity, SweepRecord, grid},
    measure::Metrics,
    run_folder::{CalibrationInfo, Earlier},
    scenario::Scenario,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::example_run::{SCENARIO, folder, reports, word};

const ATTEMPTS: &str = "client.retry.max_attempts=1,2,3";
const HEDGING: &str = "client.hedging=off,50ms";

/// As many runs of the story as there are of `seeds`, in every combination of what is varied.
fn runs(vary: &[&str], seeds: u64) -> SweepRecord {
    let vary: Vec<Axis> = vary.iter().map(|text| text.parse().unwrap()).collect();
    let variants = grid(&vary).unwrap();
    let keys = (0..variants.len()).flat_map(|variant| (0..seeds).map(move |seed| (variant, seed)));
    let rows = keys.map(|(variant, seed)| row(variant, &variants[variant], seed)).collect();
    let identity = SweepIdentity {
        world: "sim".to_owned(),
        version: "0.1.0".to_owned(),
        scenario: "story".to_owned(),
        scenario_sha256: "abc".to_owned(),
        seeds: Seeds { start: 0, end: seeds },
        shard: Shard::WHOLE,
        vary,
        variants,
        calibration: CalibrationInfo { name: "default".to_owned(), sha256: "def".to_owned() },
        origin: Origin { scenario: "scenarios/story.toml".to_owned(), overrides: Vec::new(), calibration: None },
    };
    let scenario = Scenario::parse("story.toml", SCENARIO, &[]).unwrap().to_toml();
    SweepRecord { identity, scenario, rows }
}

/// The later the variant, the more succeeds, and the longer the last percent takes.
fn row(variant: usize, settings: &[String], seed: u64) -> RunRow {
    let (step, luck) = (variant as f64, (seed * 37 % 20) as f64);
    let success_rate = (0.9 + 0.015 * step + 0.002 * luck).min(1.0);
    let overall = Metrics {
        requests: 120,
        success_rate: Some(success_rate),
        latency_p50: Some(0.02),
        latency_p95: Some(0.025 + 0.000_1 * luck),
        latency_p99: Some(0.3 + 0.1 * step + 0.01 * luck),
        retries: variant as u64 * (seed % 3),
        recovery_time: (!seed.is_multiple_of(5)).then_some(1.0 + luck / 10.0),
        ..Metrics::default()
    };
    let expected = json!({
        "metric": "success_rate", "during": null, "min": 0.92, "max": null,
        "actual": success_rate, "pass": success_rate >= 0.92, "text": null,
    });
    let row = json!({
        "variant": variant, "seed": seed, "settings": settings, "digest": format!("{variant}-{seed}"),
        "pass": success_rate >= 0.92, "end_us": 30_000_000, "overall": overall, "expectations": [expected],
    });
    serde_json::from_value(row).unwrap()
}

/// The folder of `runs`, and where it is.
fn written(runs: &SweepRecord) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("sweep");
    runs.write(&place, Earlier::Replace).unwrap();
    (directory, place)
}

fn refused(words: &[&str]) -> String {
    let failure = reports(words).expect_err("it is refused");
    assert_eq!(failure.exit, Exit::WrongInput);
    failure.message
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_sweep_is_reported_with_its_spreads_and_its_worst_runs() {
    let (directory, place) = written(&runs(&[], 40));
    let done = reports(&[word(&place)]).unwrap();
    assert_eq!(done.exit, Exit::Failed);
    insta::assert_snapshot!(done.text.replace(word(directory.path()), "runs/story"));
    // The run's own files stay.
    assert_eq!(files(&place), ["report", "runs.jsonl", "scenario.toml", "sweep.json"]);
}

#[test]
fn the_plots_of_a_sweep_are_distributions_of_what_varies() {
    let (_directory, place) = written(&runs(&[], 40));
    reports(&[word(&place)]).unwrap();
    let names = files(&place.join("report"));
    let plots = ["latency", "recovery", "success"].map(|name| [format!("{name}.png"), format!("{name}.svg")]);
    let rest = ["files.json", "report.html", "report.json", "report.txt"].map(str::to_owned);
    let mut wanted: Vec<String> = plots.concat().into_iter().chain(rest).collect();
    wanted.sort();
    assert_eq!(names, wanted);
    let svg = fs::read_to_string(place.join("report/latency.svg")).unwrap();
    assert!(svg.contains("latency_p99: worst 490 ms, seed 7") && svg.contains("latency_p95"), "{svg}");
    let recovery = fs::read_to_string(place.join("report/recovery.svg")).unwrap();
    assert!(recovery.contains("32 of 40 runs have it"), "{recovery}");
    assert!(svg.contains("The same in every run: latency_p50 20.0 ms."), "{svg}");
}

#[test]
fn a_grid_is_reported_by_variant_and_against_the_first() {
    let (directory, place) = written(&runs(&[HEDGING, ATTEMPTS], 40));
    let done = reports(&[word(&place)]).unwrap();
    insta::assert_snapshot!(done.text.replace(word(directory.path()), "runs/story"));
}

#[test]
fn the_plots_of_a_grid_are_metrics_against_a_setting_with_a_line_for_each_value_of_another() {
    let (_directory, place) = written(&runs(&[HEDGING, ATTEMPTS], 40));
    reports(&[word(&place)]).unwrap();
    let plot = |name: &str| fs::read_to_string(place.join("report").join(name)).unwrap();
    for name in ["success.svg", "latency.svg", "effort.svg"] {
        let svg = plot(name);
        for text in ["client.retry.max_attempts", "hedging=off", "hedging=50ms", "by client.hedging."] {
            assert!(svg.contains(text), "{name} does not say {text}");
        }
        // Numbers have their values below them: one for each panel's foot.
        assert!(svg.contains("\n1\n</text>") && svg.contains("\n3\n</text>"), "{name}: {svg}");
    }
    assert!(plot("latency.svg").contains("latency_p99") && !plot("latency.svg").contains("latency_p50"));
    let page = fs::read_to_string(place.join("report/report.html")).unwrap();
    // Twice, in the values under the pointer and drawn, would be two corrections to compare.
    assert_eq!(page.matches("corrected for 15 comparisons (Bonferroni)").count(), 1);
    let places = ["Settings</h2>", "<figure id=\"difference-latency\"", "<figure id=\"latency\""]
        .map(|part| page.find(part).unwrap());
    assert!(places.is_sorted(), "{places:?}");
    assert!(!place.join("report/recovery.svg").exists(), "no setting changes the recovery");
}

#[test]
fn a_third_setting_has_a_plot_for_each_of_its_values() {
    let (_directory, place) = written(&runs(&[HEDGING, ATTEMPTS, "client.wait_for_ready=false,true"], 3));
    let text = reports(&[word(&place)]).unwrap().text;
    assert!(text.contains("12 variants"), "{text}");
    for (file, common) in [("latency-1.svg", "wait_for_ready=false"), ("latency-2.svg", "wait_for_ready=true")] {
        let svg = fs::read_to_string(place.join("report").join(file)).unwrap();
        assert!(svg.contains(common), "{file}");
    }
}

#[test]
fn a_page_of_many_runs_needs_nothing_else_and_is_the_same_every_time() {
    let (directory, place) = written(&runs(&[HEDGING, ATTEMPTS], 10));
    let outs = ["one", "two"].map(|name| directory.path().join(name));
    for out in &outs {
        reports(&[word(&place), "--out", word(out)]).unwrap();
    }
    for file in files(&outs[0]) {
        assert!(fs::read(outs[0].join(&file)).unwrap() == fs::read(outs[1].join(&file)).unwrap(), "{file} differs");
    }
    let page = fs::read_to_string(outs[0].join("report.html")).unwrap();
    assert!(page.contains("What becomes of &lt;requests&gt; &amp; retries?"));
    assert!(page.contains("--set client.hedging=off --set client.retry.max_attempts=1</pre>"));
    for outside in ["http://", "https://", "<script src", "<link", "url("] {
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(outside), "the page refers to {outside}");
    }
}

#[test]
fn the_json_is_that_of_sim_with_notes() {
    let (_directory, place) = written(&runs(&[ATTEMPTS], 10));
    let json: Value = serde_json::from_str(&reports(&[word(&place), "--json"]).unwrap().text).unwrap();
    assert_eq!((&json["schema"], &json["runs"], &json["planned"]), (&1.into(), &30.into(), &30.into()));
    assert_eq!(json["variants"][2]["settings"], json!(["client.retry.max_attempts=3"]));
    let metrics = json["variants"][2]["metrics"].as_array().unwrap();
    let p99 = metrics.iter().find(|metric| metric["metric"] == "latency_p99").unwrap();
    assert!((p99["to_first"]["difference"].as_f64().unwrap() - 0.2).abs() < 1e-9, "{p99}");
    assert_eq!(json["notes"], json!([]));
}

#[test]
fn what_is_missing_is_noted_and_does_not_pass() {
    let mut runs = runs(&["load.rate=4,8"], 20);
    runs.rows.retain(|row| row.variant == 1 || row.seed < 15);
    let (_directory, place) = written(&runs);
    let done = reports(&[word(&place)]).unwrap();
    assert_eq!(done.exit, Exit::Failed);
    assert!(done.text.contains("note: 5 of 40 runs are missing; repeat the command of the sweep"), "{}", done.text);
    assert!(done.text.contains("note: load.rate is varied, so runs of one seed do not have the same requests"));
}

#[test]
fn a_sweep_without_runs_is_reported_without_plots() {
    let (_directory, place) = written(&SweepRecord { rows: Vec::new(), ..runs(&[], 4) });
    let done = reports(&[word(&place)]).unwrap();
    assert!(done.text.starts_with("FAIL  story (sim, seeds 0..4): 0 of 0 runs pass; 4 of 4 were not played\n"));
    assert_eq!(files(&place.join("report")), ["files.json", "report.html", "report.json", "report.txt"]);
}

/// The folders of the shards of `whole`, in no order.
fn shards(whole: &SweepRecord, of: u64, directory: &Path) -> Vec<PathBuf> {
    let folder = |number| {
        let shard = Shard { number, of };
        let identity = SweepIdentity { shard, ..whole.identity.clone() };
        let rows = whole.rows.iter().filter(|row| identity.contains(row)).cloned().collect();
        let place = directory.join(format!("shard{number}"));
        SweepRecord { identity, rows, ..whole.clone() }.write(&place, Earlier::Replace).unwrap();
        place
    };
    (1..=of).rev().map(folder).collect()
}

fn merge(shards: &[PathBuf], out: &Path) -> Vec<String> {
    let shards = shards.iter().map(|place| word(place).to_owned());
    ["merge".to_owned()].into_iter().chain(shards).chain(["--out".to_owned(), word(out).to_owned()]).collect()
}

#[test]
fn sixteen_merged_shards_are_the_sweep_and_its_report() {
    let whole = runs(&[ATTEMPTS], 40);
    let (directory, place) = written(&whole);
    let alone = reports(&[word(&place)]).unwrap();
    let merged = directory.path().join("merged");
    let command = merge(&shards(&whole, 16, directory.path()), &merged);
    let done = reports(&command.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert_eq!(done.exit, alone.exit);
    let text = alone.text.replace(word(&place), word(&merged));
    assert_eq!(done.text, format!("{text}  folder  {}\n", merged.display()));
    for file in ["runs.jsonl", "sweep.json", "scenario.toml", "report/report.html", "report/report.json"] {
        assert!(fs::read(merged.join(file)).unwrap() == fs::read(place.join(file)).unwrap(), "{file} differs");
    }
    // And again, over what is there.
    reports(&command.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
}

#[test]
fn a_shard_alone_is_reported_as_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let shards = shards(&runs(&[], 40), 4, directory.path());
    let text = reports(&[word(&shards[1])]).unwrap().text;
    assert!(text.contains("(sim, seeds 0..40, shard 3/4): "), "{text}");
    assert!(text.contains("note: this is shard 3/4 only; merge all shards with `reports merge`"), "{text}");
}

#[test]
fn shards_that_are_not_all_of_one_sweep_are_not_merged() {
    let directory = tempfile::tempdir().unwrap();
    let whole = runs(&[], 40);
    let shards = shards(&whole, 4, directory.path());
    let out = directory.path().join("merged");
    let message = |places: &[PathBuf]| {
        let command = merge(places, &out);
        refused(&command.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(message(&shards[1..]).starts_with("shard 4/4 is missing; name the folders of all 4 shards"));
    assert!(message(&[shards.clone(), shards[..1].to_vec()].concat()).contains("are both shard 4/4; name one of them"));
    let other = SweepIdentity { version: "0.2.0".to_owned(), ..SweepRecord::read(&shards[0]).unwrap().identity };
    let place = directory.path().join("other");
    SweepRecord { identity: other, ..SweepRecord::read(&shards[0]).unwrap() }.write(&place, Earlier::Replace).unwrap();
    let mixed = message(&[vec![place], shards[1..].to_vec()].concat());
    assert!(mixed.contains("its program's version is 0.1.0, not 0.2.0"), "{mixed}");
    let run = folder(directory.path(), "sim", 1, 1);
    assert!(message(&[run]).contains("is not a folder of many runs: it has no sweep.json"));
    assert!(!out.exists(), "nothing is written");
    // What is in the way stays.
    fs::create_dir(&out).unwrap();
    fs::write(out.join("thesis.txt"), "years of work").unwrap();
    assert!(message(&shards).contains("exists and is not a folder of many runs"));
}

#[test]
fn many_runs_are_not_compared_with_others() {
    let (directory, place) = written(&runs(&[], 4));
    let run = folder(directory.path(), "sim", 1, 1);
    for places in [[word(&run), word(&place)], [word(&place), word(&place)]] {
        let message = refused(&places);
        assert!(message.contains("is a sweep, which cannot be compared; report it alone"), "{message}");
    }
    assert!(refused(&[word(&place), "--parquet"]).contains("which has no requests"));
}
