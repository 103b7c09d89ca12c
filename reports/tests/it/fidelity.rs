//! Campaigns of runs in both worlds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kernel::{
    cli::Exit,
    record::Event,
    run_folder::{
        CalibrationInfo, HostInfo,
        campaign::{CampaignManifest, CampaignScenario, LeftOut, MANIFEST, RateVariant, SCHEMA},
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::example_run::{SCENARIO, folder, records, reports, word, write};

fn manifest(runs: u64, scenarios: Vec<CampaignScenario>) -> CampaignManifest {
    CampaignManifest {
        schema: SCHEMA,
        version: "0.1.0".to_owned(),
        profile: "release".to_owned(),
        started: "2026-01-01T00:00:00Z".to_owned(),
        host: HostInfo { operating_system: "Linux 6".to_owned(), cores: 2, load_average: Some([0.1, 0.1, 0.1]) },
        processor: None,
        calibration: Some(calibration("here", "abc")),
        runs,
        scenarios,
        left_out: Vec::new(),
    }
}

fn calibration(name: &str, sha256: &str) -> CalibrationInfo {
    CalibrationInfo { name: name.to_owned(), sha256: sha256.to_owned() }
}

fn part(name: &str, variant: Option<RateVariant>) -> CampaignScenario {
    CampaignScenario { name: name.to_owned(), sha256: String::new(), variant }
}

fn write_manifest(campaign: &Path, manifest: &CampaignManifest) {
    fs::write(campaign.join(MANIFEST), serde_json::to_string(manifest).unwrap()).unwrap();
}

/// The story, `runs` times in each world; simulated latencies are `scale` times as long.
fn campaign(runs: u64, scale: u64) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for seed in 0..runs {
        folder(&directory.path().join("story"), "real", seed, 1);
        folder(&directory.path().join("story"), "sim", seed, scale);
    }
    write_manifest(directory.path(), &manifest(runs, vec![part("story", None)]));
    directory
}

fn read(campaign: &Path) -> (Value, String) {
    let done = reports(&["fidelity", word(campaign)]).unwrap();
    assert_eq!(done.exit, Exit::Passed);
    let json = fs::read_to_string(campaign.join("report/fidelity.json")).unwrap();
    (serde_json::from_str(&json).unwrap(), done.text)
}

fn cell<'a>(json: &'a Value, phase: &str, measure: &str) -> &'a Value {
    let cells = json["scenarios"][0]["cells"].as_array().unwrap();
    cells.iter().find(|cell| cell["phase"] == phase && cell["measure"] == measure).unwrap()
}

fn refused(campaign: &Path) -> String {
    let failure = reports(&["fidelity", word(campaign)]).expect_err("it is refused");
    assert_eq!(failure.exit, Exit::WrongInput);
    failure.message
}

#[test]
fn a_simulation_that_is_reality_is_within_the_noise_floor_everywhere() {
    let directory = campaign(4, 1);
    let (json, text) = read(directory.path());
    assert!(json["cells"].as_u64().unwrap() > 20, "{json}");
    assert_eq!(json["cells"], json["within_floor"], "{text}");
    assert_eq!(json["goals"]["cells"], json["goals"]["beyond"]);
    for cell in json["scenarios"][0]["cells"].as_array().unwrap() {
        assert!(cell["p"].is_null() || cell["p"] == 1.0, "{cell}");
    }
    for file in ["matrix.svg", "matrix.png", "story-overlay.svg", "report.html", "fidelity.txt"] {
        assert!(directory.path().join("report").join(file).is_file(), "{file}");
    }
}

/// Medians over four seeds of requests of 20 to 26 ms, against the same times three.
#[test]
fn a_simulation_three_times_as_slow_is_apart_with_the_least_p() {
    let directory = campaign(4, 3);
    let (json, text) = read(directory.path());
    let p50 = cell(&json, "before", "latency_p50");
    assert_eq!((&p50["verdict"], &p50["goal"]), (&Value::from("apart"), &Value::from("missed")));
    assert_eq!(p50["p"], Value::from(2.0 / 16.0));
    assert!((p50["error"].as_f64().unwrap() - 2.0).abs() < 0.1, "{p50}");
    // Means of 23 and 69 ms.
    let moved = cell(&json, "before", "wasserstein_1")["sim_real"]["median"].as_f64().unwrap();
    assert!((moved - 0.046).abs() < 0.002, "{moved}");
    // What became of the requests is the same.
    assert_eq!(cell(&json, "whole run", "status_mix")["error"], Value::from(0.0));
    assert!(text.contains("apart"), "{text}");
    let sentence = text.lines().find(|line| line.starts_with("story: ")).unwrap();
    assert!(sentence.contains("further off, most of all ") && sentence.contains(" (+"), "{sentence}");
    assert_eq!(json["scenarios"][0]["sentence"], sentence);
    assert_eq!(json["apart"], count(&json, "apart"));
}

/// The number of cells with this verdict.
fn count(json: &Value, verdict: &str) -> usize {
    let cells = json["scenarios"][0]["cells"].as_array().unwrap();
    cells.iter().filter(|cell| cell["verdict"] == verdict).count()
}

/// Real runs that are all alike have no noise, and nothing else is within it.
#[test]
fn a_difference_beyond_the_floor_that_does_not_matter_is_small() {
    let directory = campaign(2, 1);
    let place = |world: &str, seed: u64| directory.path().join(format!("story/{world}-seed{seed}"));
    for (world, seed) in [("real", 1), ("sim", 0), ("sim", 1)] {
        let rows = fs::read_to_string(place("real", 0).join("requests.jsonl")).unwrap();
        let slower = |row: &str| {
            let mut row: Value = serde_json::from_str(row).unwrap();
            // 0.1 ms of some 20 ms.
            let later = if world == "sim" { 100 } else { 0 };
            for time in ["done_us", "latency_us"] {
                row[time] = row[time].as_u64().map(|us| us + later).into();
            }
            serde_json::to_string(&serde_json::from_value::<kernel::record::RequestRow>(row).unwrap()).unwrap() + "\n"
        };
        fs::write(place(world, seed).join("requests.jsonl"), rows.lines().map(slower).collect::<String>()).unwrap();
    }
    let (json, text) = read(directory.path());
    let p50 = cell(&json, "before", "latency_p50");
    assert_eq!((&p50["verdict"], &p50["ratio"]), (&Value::from("small"), &Value::Null), "{p50}");
    assert_eq!((count(&json, "apart"), &json["apart"]), (0, &Value::from(0)), "{text}");
    assert!(count(&json, "small") > 3 && json["within_floor"].as_u64() < json["cells"].as_u64(), "{text}");
    assert!(text.contains("further off by less than matters."), "{text}");
}

#[test]
fn a_p99_of_fewer_than_a_hundred_calls_is_left_out_and_counted() {
    let directory = campaign(2, 1);
    let (json, text) = read(directory.path());
    let cells = json["scenarios"][0]["cells"].as_array().unwrap();
    let phases_of = |measure: &str| -> Vec<&Value> {
        cells.iter().filter(|cell| cell["measure"] == measure).map(|cell| &cell["phase"]).collect()
    };
    // The whole run has 119 calls that were answered; its phases have fewer than a hundred each.
    assert_eq!(phases_of("latency_p99"), ["whole run"]);
    let phases = phases_of("latency_p90").len();
    assert_eq!((&json["p99_left_out"], &json["schema"]), (&Value::from(phases - 1), &Value::from(3)));
    assert_eq!(json["scenarios"][0]["p99_left_out"], json["p99_left_out"]);
    assert!(text.contains("The p99 of phases with fewer than 100 calls a run is left out: 3 cells."), "{text}");
}

#[test]
fn the_report_begins_with_a_summary_by_measure() {
    let directory = campaign(4, 3);
    let (json, text) = read(directory.path());
    let measures = json["measures"].as_array().unwrap();
    for key in ["cells", "within_floor", "within_twice_the_floor", "apart"] {
        let all: u64 = measures.iter().map(|measure| measure[key].as_u64().unwrap()).sum();
        assert_eq!(json[key], Value::from(all), "{key}");
    }
    let of = |name: &str| measures.iter().find(|measure| measure["measure"] == name).unwrap();
    // Medians are three times as long in every phase: far from 10 %. What became of the requests is the same.
    let p50 = of("latency_p50");
    assert_eq!(p50["goals"], json!({ "cells": p50["cells"], "reached": 0, "beyond": 0 }));
    assert_eq!(p50["goal_bounds"], json!({ "share": [0.1, 0.03], "seconds": null }));
    assert!((p50["median_error"].as_f64().unwrap() - 2.0).abs() < 0.2, "{p50}");
    let mix = of("status_mix");
    assert_eq!(mix["goals"], json!({ "cells": mix["cells"], "reached": mix["cells"], "beyond": mix["cells"] }));
    assert_eq!(of("recovery_time")["goal_bounds"]["seconds"], json!([0.1, 0.05]));
    assert_eq!(of("p95_lag")["goal_bounds"], Value::Null);

    let line = |name: &str| text.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
    let columns =
        |name: &str| line(name).split("  ").map(str::trim).filter(|word| !word.is_empty()).collect::<Vec<_>>();
    let p50 = ["latency_p50", "4", "0 (0.0 %)", "0 (0.0 %)", "4 (100.0 %)", "0 (0.0 %) in 10 %", "0 (0.0 %) in 3 %"];
    assert_eq!(columns("latency_p50")[..7], p50, "{text}");
    assert_eq!(columns("status_mix")[5..7], ["4 (100.0 %) in 1 point", "4 (100.0 %) in 0.3 points"], "{text}");
    assert_eq!(
        columns("recovery_time")[5..7],
        ["1 (100.0 %) in 10 % or 100 ms", "1 (100.0 %) in 3 % or 50 ms"],
        "{text}"
    );
    assert_eq!(columns("all measures")[1], json["cells"].to_string());
    let page = fs::read_to_string(directory.path().join("report/report.html")).unwrap();
    assert!(page.contains("all measures"));
}

/// Two halves of a campaign on two machines, in one report.
#[test]
fn campaigns_are_joined_and_every_cell_has_its_campaign() {
    let parent = tempfile::tempdir().unwrap();
    let half = |name: &str, scale: u64, change: &dyn Fn(&mut CampaignManifest)| -> (PathBuf, Value) {
        let place = parent.path().join(name);
        fs::rename(campaign(2, scale).keep(), &place).unwrap();
        let mut manifest = manifest(2, vec![part("story", None)]);
        change(&mut manifest);
        write_manifest(&place, &manifest);
        let (json, _) = read(&place);
        (place, json)
    };
    let (one, json_of_one) = half("half-1", 1, &|manifest| {
        manifest.processor = Some("AMD EPYC".to_owned());
        manifest.calibration = Some(calibration("Linux 6, 2 cores, 2026-01-01T00:00:00Z", "abc"));
    });
    let (other, json_of_other) = half("half-2", 3, &|manifest| {
        manifest.host.cores = 4;
        manifest.host.load_average = Some([3.0, 0.0, 0.0]);
        manifest.calibration = Some(calibration("Linux 6, 2 cores, 2026-01-02T00:00:00Z", "def"));
    });
    assert_eq!(json_of_one["campaigns"][0]["calibrated_on_another_machine"], false);
    assert_eq!(json_of_one["manifest"]["processor"], "AMD EPYC");
    assert_eq!(json_of_other["campaigns"][0]["calibrated_on_another_machine"], true);

    let out = parent.path().join("both");
    let text = reports(&["fidelity", word(&one), word(&other), "--out", word(&out)]).unwrap().text;
    let json: Value = serde_json::from_str(&fs::read_to_string(out.join("fidelity.json")).unwrap()).unwrap();
    assert_eq!(json["manifest"], Value::Null);
    for (place, (name, alone)) in [("half-1", &json_of_one), ("half-2", &json_of_other)].into_iter().enumerate() {
        assert_eq!(json["campaigns"][place]["campaign"], name);
        assert_eq!(json["campaigns"][place]["manifest"], alone["manifest"]);
        let scenario = &json["scenarios"][place];
        assert_eq!((&scenario["scenario"], &scenario["campaign"]), (&Value::from("story"), &Value::from(name)));
        assert!(scenario["cells"].as_array().unwrap().iter().all(|cell| cell["campaign"] == name));
        // Runs of one machine are compared with each other only.
        assert_eq!(scenario["cells"], alone["scenarios"][0]["cells"]);
        assert!(
            text.contains(&format!("{name}/story: ")) && text.contains(&format!("  campaign     {name}\n")),
            "{text}"
        );
        assert!(out.join(format!("{name}-story-overlay.svg")).is_file());
    }
    for key in ["cells", "within_floor", "within_twice_the_floor", "apart", "p99_left_out"] {
        let sum = [&json_of_one, &json_of_other].iter().map(|json| json[key].as_u64().unwrap()).sum::<u64>();
        assert_eq!(json[key], Value::from(sum), "{key}");
    }
    assert!(text.contains("  host         Linux 6, 2 cores, AMD EPYC, load averages [0.1, 0.1, 0.1]\n"), "{text}");
    assert!(text.contains("note: half-2: the machine had a load average of 3 on 4 cores"), "{text}");
    let measured = "note: half-2: the calibration was measured on another machine, Linux 6, 2 cores, 2026-01-02T00:00:00Z, than \
                    the campaign was played on, Linux 6, 4 cores";
    assert!(text.replace("\n      ", " ").contains(measured) && !text.contains("note: half-1"), "{text}");

    let failure = reports(&["fidelity", word(&one), word(&one)]).expect_err("it is refused");
    assert!(failure.message.contains("is named twice"), "{}", failure.message);
}

#[test]
fn the_same_campaign_gives_the_same_bytes() {
    let directory = campaign(2, 2);
    let outs = ["one", "two"].map(|name| directory.path().join(name));
    for out in &outs {
        reports(&["fidelity", word(directory.path()), "--out", word(out)]).unwrap();
    }
    for file in fs::read_dir(&outs[0]).unwrap().map(|entry| entry.unwrap().file_name()) {
        assert_eq!(fs::read(outs[0].join(&file)).unwrap(), fs::read(outs[1].join(&file)).unwrap(), "{file:?}");
    }
}

#[test]
fn what_is_no_campaign_is_refused_with_what_would_be_one() {
    let directory = tempfile::tempdir().unwrap();
    assert!(refused(directory.path()).ends_with("name a folder that `real fidelity` wrote, such as runs/fidelity"));
    fs::write(directory.path().join(MANIFEST), "{\"schema\": 1").unwrap();
    assert!(refused(directory.path()).contains("manifest.json: EOF while parsing"));
    write_manifest(directory.path(), &CampaignManifest { schema: 99, ..manifest(2, Vec::new()) });
    assert!(refused(directory.path()).contains("its schema is 99, not 1"));
}

#[test]
fn too_few_runs_are_refused_and_missing_ones_noted() {
    let directory = campaign(3, 1);
    let run = |world: &str, seed: u64| directory.path().join(format!("story/{world}-seed{seed}"));
    fs::remove_dir_all(run("real", 1)).unwrap();
    let (_, text) = read(directory.path());
    assert!(text.contains("note: story: 1 of 3 real runs are missing"), "{text}");
    fs::remove_dir_all(run("real", 0)).unwrap();
    assert!(
        refused(directory.path())
            .contains("has 1 real and 3 simulated runs of story that are trusted; comparing needs 2 of each")
    );
}

/// Replaces `from` in a run's `run.json`.
fn tamper(run: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(run.join("run.json")).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(run.join("run.json"), text.replace(from, to)).unwrap();
}

#[test]
fn a_run_that_does_not_belong_to_the_campaign_is_refused() {
    let directory = campaign(2, 1);
    let run = directory.path().join("story/sim-seed1");
    tamper(&run, "\"seed\": 1", "\"seed\": 7");
    assert!(refused(directory.path()).contains("is a run of seed 7 of `story` in the world sim"));
    tamper(&run, "\"seed\": 7", "\"calibration\": {\"name\": \"there\", \"sha256\": \"def\"},\n\"seed\": 1");
    assert!(refused(directory.path()).contains("was simulated with another calibration than the rest, def"));
}

#[test]
fn a_campaign_that_has_no_calibration_yet_is_refused() {
    let directory = campaign(2, 1);
    write_manifest(directory.path(), &CampaignManifest { calibration: None, ..manifest(2, vec![part("story", None)]) });
    assert!(refused(directory.path()).contains("has no calibration yet"));
}

#[test]
fn a_run_beyond_the_load_up_to_which_predictions_are_promised_is_warned_of() {
    let directory = campaign(2, 1);
    let busy = |seed: u64| -> PathBuf { directory.path().join(format!("story/real-seed{seed}/events.jsonl")) };
    for path in [0, 1].map(busy) {
        let rows = fs::read_to_string(&path).unwrap();
        let finished = "\"event\":\"finished\"";
        assert!(rows.contains(finished));
        // Some 60 requests a server of 1.5 s each, in 30 s with two workers: one and a half times what there is.
        fs::write(&path, rows.replace(finished, &format!("\"duration_us\":1500000,{finished}"))).unwrap();
    }
    let (json, text) = read(directory.path());
    assert!(json["scenarios"][0]["utilisation"].as_f64().unwrap() > 1.0);
    assert!(text.contains("predictions are promised up to 50 %"), "{text}");
}

/// Servers have a request for 10 ms in real runs and for twice that in simulated ones; the rest of its 20 to 26 ms is before that.
#[test]
fn the_stages_of_requests_are_compared() {
    let unknown = read(campaign(2, 1).path()).0["scenarios"][0]["stages"].clone();
    assert_eq!(unknown, json!([]), "no row says how long a server had a request");

    let directory = tempfile::tempdir().unwrap();
    for (world, held_us) in [("real", 10_000), ("sim", 20_000)] {
        for seed in 0..2 {
            let mut records = records(1, seed);
            let finished = records.events.iter_mut().filter(|row| row.event == Event::Finished);
            finished.for_each(|row| row.duration_us = Some(held_us));
            write(&directory.path().join(format!("story/{world}-seed{seed}")), world, seed, SCENARIO, &records);
        }
    }
    write_manifest(directory.path(), &manifest(2, vec![part("story", None)]));
    let (json, text) = read(directory.path());
    let stages = json["scenarios"][0]["stages"].as_array().unwrap();
    let times = |world: &str| stages.iter().map(|stage| stage[world].as_f64().unwrap()).collect::<Vec<_>>();
    assert_eq!(times("real"), [0.000_01, 0.012_99, 0.01, 0.0]);
    assert_eq!(times("sim"), [0.000_01, 0.002_99, 0.02, 0.0]);
    let clustering = json["scenarios"][0]["clustering"].as_array().unwrap();
    // Servers have all requests for the same time, so that nothing correlates with it. The latencies are those of both worlds.
    let [stages, successive] = [0, 1].map(|place| (&clustering[place]["real"], &clustering[place]["sim"]));
    assert_eq!((stages.0, successive.0), (&json!(0.0), successive.1));
    assert!(text.contains("What slow times have in common"), "{text}");
    let row =
        text.lines().skip_while(|line| !line.contains("timer late by")).find(|line| line.contains("story")).unwrap();
    let words: Vec<_> = row.split_whitespace().collect();
    assert_eq!(
        words,
        ["story", "0.01", "ms", "+0.0", "%", "13.0", "ms", "-77.0", "%", "10.0", "ms", "+100.0", "%", "0", "s", "n/a"]
    );
}

#[test]
fn where_goodput_stops_following_is_compared() {
    let directory = tempfile::tempdir().unwrap();
    let mut parts = Vec::new();
    for rate in [10.0, 20.0] {
        let name = format!("story-at-{rate}");
        let variant = RateVariant { of: "story".to_owned(), rate };
        parts.push(part(&name, Some(variant)));
        for (world, seed) in [("real", 0), ("real", 1), ("sim", 0), ("sim", 1)] {
            let place = directory.path().join(&name).join(format!("{world}-seed{seed}"));
            let text = SCENARIO.replace("\"story\"", &format!("\"{name}\""));
            // Without rows of events, the scripted fault never began, which would be too late.
            let text = format!("{text}[run]\nmax_lateness = \"24h\"\n");
            let scratch = directory.path().join("scratch");
            folder(&scratch, world, seed, 1);
            let mut records = kernel::record::Records::default();
            let rows = fs::read_to_string(scratch.join(format!("{world}-seed{seed}/requests.jsonl"))).unwrap();
            records.requests = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            // At 20 a second, one in ten is lost in reality and two in ten in the simulation; one is lost anyway.
            let every = if world == "real" { 10 } else { 5 };
            for row in records.requests.iter_mut().filter(|row| rate > 15.0 && row.id % every == 1) {
                row.status = kernel::status::Outcome::Status(kernel::status::Code::ResourceExhausted);
            }
            write(&place, world, seed, &text, &records);
        }
    }
    write_manifest(directory.path(), &manifest(2, parts));
    let (json, text) = read(directory.path());
    let onset = &json["onsets"][0];
    // Shares that follow: 119/120 at 10, then 107/120 and 95/120 at 20. The lines fall below 95 % at these rates.
    let at = |low: f64| 10.0 + 10.0 * (119.0 / 120.0 - 0.95) / ((119.0 - low) / 120.0);
    let close = |value: &Value, wanted: f64| (value.as_f64().unwrap() - wanted).abs() < 1e-9;
    assert!(close(&onset["real_per_second"], at(107.0)) && close(&onset["sim_per_second"], at(95.0)), "{onset}");
    assert!(text.contains("story: goodput falls behind the load at"), "{text}");
}

#[test]
fn the_json_says_which_unit_and_whether_a_goal_is_reached() {
    let directory = campaign(2, 1);
    let done = reports(&["fidelity", word(directory.path()), "--json"]).unwrap();
    let json: Value = serde_json::from_str(&done.text).unwrap();
    assert_eq!(cell(&json, "fault-0", "recovery_time")["unit"], "s");
    assert_eq!(cell(&json, "fault-0", "recovery_time")["goal"], "beyond");
    assert_eq!(json["manifest"]["calibration"], json!({"name": "here", "sha256": "abc"}));
}

/// A simulation three times as slow as reality that is as fast without one mechanism, and no faster without another.
#[test]
fn runs_without_a_mechanism_say_what_it_explains() {
    let directory = campaign(3, 3);
    let story = directory.path().join("story");
    let mut manifest = manifest(3, vec![part("story", None)]);
    for (mechanism, scale) in [("pauses", 1), ("timers", 3)] {
        let left_out = LeftOut { mechanism: mechanism.to_owned(), meaning: String::new(), sha256: "abc".to_owned() };
        for seed in 0..3 {
            let place = story.join(format!("{}-seed{seed}", left_out.world()));
            write(&place, "sim", seed, SCENARIO, &records(scale, seed));
        }
        manifest.left_out.push(left_out);
    }
    write_manifest(directory.path(), &manifest);
    let (json, text) = read(directory.path());
    let rows = json["mechanisms"].as_array().unwrap();
    let row = |place: usize| (&rows[place]["left_out"], &rows[place]["p50"]["goals"]["reached"]);
    assert_eq!((rows.len(), row(0).0, row(1).0, row(2).0), (3, &Value::Null, &"pauses".into(), &"timers".into()));
    assert_eq!((row(0).1, row(2).1), (&0.into(), &0.into()));
    assert_eq!(rows[1]["p50"]["goals"]["reached"], rows[1]["p50"]["goals"]["cells"]);
    let off = json["off"].as_array().unwrap();
    assert_eq!(off.len(), off.iter().filter(|cell| cell["excess"] == "pauses").count(), "{off:?}");
    let p50 = off.iter().find(|cell| cell["measure"] == "latency_p50").unwrap();
    assert_eq!(p50["difference_without"]["pauses"], 0.0);
    assert_eq!(p50["difference_without"]["timers"], p50["difference"]);
    assert!(text.contains("left out") && text.contains("too much of"), "{text}");

    let without = self::campaign(3, 3);
    assert!(!read(without.path()).1.contains("too much of"));
}
