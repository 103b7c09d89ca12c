//! The alerts of runs and of sweeps.

use std::{fs, path::Path};

use kernel::{
    cli::Exit,
    experiment::sweep::{Origin, RunRow, Seeds, Shard, SweepIdentity, SweepRecord},
    measure::{RunLabel, RunRows, Summary},
    run_folder::{CalibrationInfo, Earlier},
    scenario::Scenario,
    slo::{AlertReport, AlertTally},
};
use serde_json::{Value, json};

use crate::example_run::{SCENARIO, records, reports, word, write};

/// Two objectives, of which the story breaks that of latency: requests wait for two seconds while a server is frozen.
const SLOS: &str = r#"
[[slo]]
name = "availability"
objective = 0.95
window = "12h"
[[slo]]
name = "fast-enough"
objective = 0.99
kind = "latency"
threshold = "1s"
window = "12h"
"#;

fn scenario() -> String {
    format!("{SCENARIO}{SLOS}")
}

/// The folder of a run of the story with objectives.
fn folder(directory: &Path, seed: u64) -> String {
    let place = directory.join(format!("sim-seed{seed}"));
    write(&place, "sim", seed, &scenario(), &records(1, seed));
    word(&place).to_owned()
}

/// The row of a run in a sweep.
fn row(seed: u64) -> RunRow {
    let scenario = Scenario::parse("story.toml", &scenario(), &[]).unwrap();
    let records = records(1, seed);
    let label = RunLabel { scenario: "story", seed, world: "sim", profile: None };
    let summary = Summary::compute(label, &RunRows::new(2, scenario.duration, &records), &scenario.script());
    let alerts = AlertTally::of_run(&AlertReport::of_run(&scenario.slos, &records, &summary));
    let row = json!({
        "variant": 0, "seed": seed, "settings": [], "digest": seed.to_string(), "pass": true, "end_us": summary.end_us,
        "overall": summary.overall, "expectations": [], "alerts": alerts,
    });
    serde_json::from_value(row).unwrap()
}

/// Writes the folder of a sweep of three runs.
fn sweep(place: &Path, scenario: &str, row: impl Fn(u64) -> RunRow) {
    let identity = SweepIdentity {
        world: "sim".to_owned(),
        version: "0.1.0".to_owned(),
        scenario: "story".to_owned(),
        scenario_sha256: "abc".to_owned(),
        seeds: Seeds { start: 0, end: 3 },
        shard: Shard::WHOLE,
        vary: Vec::new(),
        variants: vec![Vec::new()],
        calibration: CalibrationInfo { name: "default".to_owned(), sha256: "def".to_owned() },
        origin: Origin { scenario: "scenarios/story.toml".to_owned(), overrides: Vec::new(), calibration: None },
    };
    let scenario = Scenario::parse("story.toml", scenario, &[]).unwrap().to_toml();
    let record = SweepRecord { identity, scenario, rows: (0..3).map(row).collect() };
    record.write(place, Earlier::Replace).unwrap();
}

fn refused(words: &[&str]) -> String {
    let failure = reports(words).expect_err("it is refused");
    assert_eq!(failure.exit, Exit::WrongInput);
    failure.message
}

#[test]
fn the_alerts_of_a_run_say_after_which_fault_and_how_late() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), 42);
    let output = reports(&["alerts", &place]).unwrap();
    assert_eq!(output.exit, Exit::Passed);
    insta::assert_snapshot!(output.text);
    let report: Value = serde_json::from_str(&reports(&["alerts", &place, "--json"]).unwrap().text).unwrap();
    assert_eq!(report["run"], "story, sim, seed 42");
    let rules = &report["slos"][1]["rules"];
    let [fast, steady] = [&rules[0], &rules[2]];
    assert_eq!((&fast["rule"], &fast["severity"], &fast["long"]), (&json!("fast"), &json!("page"), &json!("1m")));
    assert_eq!((&fast["firings"], &fast["faults"][0]["outcome"]), (&json!([]), &json!("missed")));
    assert_eq!((&steady["firings"][0]["fault"], &steady["faults"][0]["outcome"]), (&json!(0), &json!("fired")));
    assert_eq!(steady["faults"][0]["delay_us"], 3_000_000);
}

#[test]
fn several_runs_and_a_sweep_of_them_have_one_table() {
    let directory = tempfile::tempdir().unwrap();
    let places = [0, 1, 2].map(|seed| folder(directory.path(), seed));
    let place = directory.path().join("sweep");
    sweep(&place, &scenario(), row);
    let of_sweep = reports(&["alerts", word(&place)]).unwrap().text;
    insta::assert_snapshot!(of_sweep);
    let of_runs = reports(&["alerts", &places[0], &places[1], &places[2]]).unwrap().text;
    let tables = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(tables(&of_runs), tables(&of_sweep));
    let json: Value = serde_json::from_str(&reports(&["alerts", word(&place), "--json"]).unwrap().text).unwrap();
    let fast = &json["variants"][0]["rules"][3];
    assert_eq!((&fast["slo"], &fast["kinds"]["freeze"]["faults"]), (&json!("fast-enough"), &json!(3)));
}

#[test]
fn a_page_has_the_burn_rates_of_each_objective_its_tables_and_the_faults() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), 42);
    let out = directory.path().join("page");
    let output = reports(&["alerts", &place, "--out", word(&out)]).unwrap();
    let text = reports(&["alerts", &place]).unwrap().text;
    assert_eq!(output.text, format!("{text}  report  {}\n", out.join("report.html").display()));
    let names = ["alerts.txt", "alerts.json", "report.html"].map(str::to_owned).into_iter();
    let plots = ["availability", "fast-enough"]
        .iter()
        .flat_map(|slo| ["svg", "png"].map(|end| format!("burn_rate_{slo}.{end}")));
    names.chain(plots).for_each(|name| assert!(out.join(&name).is_file(), "{name}"));
    assert_eq!(fs::read_to_string(out.join("alerts.txt")).unwrap(), text);
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    for part in [
        "<figure id=\"burn_rate_fast-enough\"",
        "fast-enough",
        "99 % of OK requests take up to 1s",
        "14.4 times the budget",
        "over 1m",
        "over 5s",
        "fault-0 freeze",
        "missed",
        "a rule is late by",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let json: Value = serde_json::from_str(&fs::read_to_string(out.join("alerts.json")).unwrap()).unwrap();
    assert_eq!(json["slos"][1]["slo"], "fast-enough");
    // A bar for each time that a rule fires, beside one for each rule in the legends.
    let rules = json["slos"][1]["rules"].as_array().unwrap();
    let firings: usize = rules.iter().map(|rule| rule["firings"].as_array().unwrap().len()).sum();
    let plot = fs::read_to_string(out.join("burn_rate_fast-enough.svg")).unwrap();
    assert_eq!((firings, plot.matches("fill=\"#D55E00\"").count()), (1, rules.len() + 1));
    // The same run gives the same page; what was changed is not replaced.
    reports(&["alerts", &place, "--out", word(&out)]).unwrap();
    assert_eq!(fs::read_to_string(out.join("report.html")).unwrap(), page);
    fs::write(out.join("alerts.txt"), "mine").unwrap();
    assert!(refused(&["alerts", &place, "--out", word(&out)]).contains("--force"));
    reports(&["alerts", &place, "--out", word(&out), "--force"]).unwrap();

    let sweep_place = directory.path().join("sweep");
    sweep(&sweep_place, &scenario(), row);
    let of_sweep = directory.path().join("of-sweep");
    reports(&["alerts", word(&sweep_place), "--out", word(&of_sweep)]).unwrap();
    let page = fs::read_to_string(of_sweep.join("report.html")).unwrap();
    assert!(page.contains("as written: 3 runs") && !page.contains("<figure"), "{page}");
}

#[test]
fn an_objective_of_a_kind_that_no_request_of_the_run_has_is_noted() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), 42);
    let file = directory.path().join("slos.toml");
    let kind = "[[load.request]]\nname = \"thumbnail\"\n";
    fs::write(&file, format!("{SCENARIO}{kind}[[slo]]\nname = \"a\"\nobjective = 0.9\nrequest = \"thumbnail\"\n"))
        .unwrap();
    let text = reports(&["alerts", &place, "--slos", word(&file)]).unwrap().text;
    assert!(text.contains("a: 90 % of requests of the kind thumbnail are OK; 0 of 0 were bad"), "{text}");
    assert!(text.contains("no request of the kind thumbnail has ended, which the objective a counts"), "{text}");
}

#[test]
fn what_has_no_objectives_is_refused_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    write(&plain, "sim", 7, SCENARIO, &records(1, 7));
    let plain = word(&plain);
    assert!(refused(&["alerts", plain]).contains("has no [[slo]]; name a scenario that has some by --slos FILE"));
    let file = directory.path().join("slos.toml");
    fs::write(&file, scenario()).unwrap();
    let text = reports(&["alerts", plain, "--slos", word(&file)]).unwrap().text;
    assert!(text.contains("fast-enough: 99 % of OK requests take up to 1s"), "{text}");
    fs::write(&file, SCENARIO).unwrap();
    assert!(refused(&["alerts", plain, "--slos", word(&file)]).contains("slos.toml has no [[slo]]"));
    assert!(refused(&["alerts", "nowhere"]).contains("nowhere"));

    let place = directory.path().join("sweep");
    sweep(&place, SCENARIO, |seed| RunRow { alerts: None, ..row(seed) });
    assert!(refused(&["alerts", word(&place)]).contains("the scenario story has no [[slo]]"));
    let other = directory.path().join("other");
    sweep(&other, &scenario(), |seed| RunRow { alerts: None, ..row(seed) });
    assert!(refused(&["alerts", word(&other)]).contains("play the runs again with --force"));
    fs::write(&file, scenario()).unwrap();
    assert!(refused(&["alerts", word(&other), "--slos", word(&file)]).contains("keeps no requests"));
    assert!(refused(&["alerts", &folder(directory.path(), 1), word(&other)]).contains("is a sweep; name it alone"));
}
