//! Folders of a search for where runs tip.

use std::{fs, path::PathBuf};

use kernel::{
    cli::Exit,
    experiment::{
        sweep::Origin,
        threshold::{
            Boundary, Criterion, Point, SettingRange, StoppingRule, TestOutcome, ThresholdIdentity, ThresholdRecord,
        },
    },
    run_folder::{CalibrationInfo, Earlier},
    scenario::Scenario,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::example_run::{SCENARIO, reports, word};

fn range(text: &str) -> SettingRange {
    text.parse().unwrap()
}

fn identity(along: SettingRange, and: Option<SettingRange>) -> ThresholdIdentity {
    ThresholdIdentity {
        world: "sim".to_owned(),
        version: "0.1.0".to_owned(),
        scenario: "story".to_owned(),
        criterion: Criterion::Expectations,
        along,
        and,
        samples: 5,
        confidence: 0.95,
        rule: StoppingRule { lead: 6, runs_max: 20 },
        from_seed: 0,
        calibration: CalibrationInfo { name: "default".to_owned(), sha256: "def".to_owned() },
        origin: Origin { scenario: "scenarios/story.toml".to_owned(), overrides: Vec::new(), calibration: None },
    }
}

fn tip(identity: ThresholdIdentity, points: Vec<Point>, crossings: Vec<Boundary>) -> ThresholdRecord {
    let scenario = Scenario::parse("story.toml", SCENARIO, &[]).unwrap().to_toml();
    ThresholdRecord { identity, scenario, points, boundaries: crossings }
}

fn point(settings: Vec<String>, (along, and): (f64, Option<f64>), (runs, passes): (u64, u64)) -> Point {
    let side = if 2 * passes >= runs { TestOutcome::Holds } else { TestOutcome::Fails };
    let decided = (2 * passes).abs_diff(runs) >= 6;
    Point { along, and, settings, runs, passes, outcome: side, decided, seed: 0, stopped: None }
}

/// Runs fail with little load and with much of it.
fn along_one() -> ThresholdRecord {
    let along = range("load.rate=10..40");
    let ballots = [(10.0, 6, 0), (18.0, 10, 8), (25.0, 6, 6), (32.0, 6, 0), (40.0, 6, 0)];
    let halves = [(14.0, 6, 0), (16.0, 8, 1), (17.0, 20, 9), (28.0, 6, 6), (30.0, 20, 12), (31.0, 8, 1)];
    let points = ballots.into_iter().chain(halves);
    let points = points.map(|(value, runs, passes)| point(vec![along.setting(value)], (value, None), (runs, passes)));
    let crossing = |low, high, side| Boundary { and: None, low: Some(low), high: Some(high), outcome: side };
    let crossings = vec![crossing(17.0, 18.0, TestOutcome::Fails), crossing(30.0, 31.0, TestOutcome::Holds)];
    tip(identity(along.clone(), None), points.collect(), crossings)
}

/// The more attempts, the less time they may take.
fn along_two() -> ThresholdRecord {
    let along = range("client.attempt_timeout=10ms..1s").logarithmic().unwrap();
    let and = range("client.retry.max_attempts=1..4");
    let (mut points, mut crossings) = (Vec::new(), Vec::new());
    for (attempts, boundary) in [(1.0, 0.5), (2.0, 0.25), (3.0, 0.125), (4.0, 0.0)] {
        for value in [0.01, 0.1, 0.12, 0.13, 0.25, 0.26, 0.5, 0.52, 1.0] {
            let settings = vec![along.setting(value), and.setting(attempts)];
            let passes = if value > boundary { 6 } else { 0 };
            points.push(point(settings, (value, Some(attempts)), (6, passes)));
        }
        let next = |value: f64| if value == 0.125 { (0.12, 0.13) } else { (value, value * 1.04) };
        let neighbours = (boundary > 0.0).then(|| next(boundary));
        let (low, high) = (neighbours.map(|(low, _)| low), neighbours.map(|(_, high)| high));
        let side = if neighbours.is_some() { TestOutcome::Fails } else { TestOutcome::Holds };
        crossings.push(Boundary { and: Some(attempts), low, high, outcome: side });
    }
    tip(identity(along, Some(and)), points, crossings)
}

fn written(tip: &ThresholdRecord) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("tip");
    tip.write(ThresholdRecord::prepare(&place, Earlier::Replace).unwrap()).unwrap();
    (directory, place)
}

fn refused(words: &[&str]) -> String {
    let failure = reports(words).expect_err("it is refused");
    assert_eq!(failure.exit, Exit::WrongInput);
    failure.message
}

#[test]
fn a_search_along_one_setting_is_reported_with_every_value() {
    let (directory, place) = written(&along_one());
    let done = reports(&[word(&place)]).unwrap();
    assert_eq!(done.exit, Exit::Passed);
    insta::assert_snapshot!(done.text.replace(word(directory.path()), "runs/story"));
}

#[test]
fn a_search_along_two_settings_is_reported_by_the_second() {
    let (directory, place) = written(&along_two());
    let done = reports(&[word(&place)]).unwrap();
    insta::assert_snapshot!(done.text.replace(word(directory.path()), "runs/story"));
}

#[test]
fn the_plot_of_one_setting_has_shares_sides_and_boundaries() {
    let (_directory, place) = written(&along_one());
    reports(&[word(&place)]).unwrap();
    let svg = fs::read_to_string(place.join("report/tip.svg")).unwrap();
    let texts = [
        "share of runs",
        "load.rate",
        "95 % interval",
        "holds by majority, undecided",
        "fails by majority, undecided",
        "fails with 17, holds with 18",
        "holds with 30, fails with 31",
    ];
    for text in texts {
        assert!(svg.contains(text), "it does not say {text}");
    }
    assert!(fs::read(place.join("report/tip.png")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn the_plot_of_two_settings_is_their_plane_with_the_boundary() {
    let (_directory, place) = written(&along_two());
    reports(&[word(&place)]).unwrap();
    let svg = fs::read_to_string(place.join("report/tip.svg")).unwrap();
    let texts = ["client.retry.max_attempts", "client.attempt_timeout", "boundary, between", "\n100 ms\n", "\n1 s\n"];
    for text in texts {
        assert!(svg.contains(text), "it does not say {text}");
    }
    assert!(!svg.contains("undecided"), "every value is decided");
}

#[test]
fn the_json_has_all_points_and_boundaries() {
    let (_directory, place) = written(&along_one());
    let json: Value = serde_json::from_str(&reports(&[word(&place), "--json"]).unwrap().text).unwrap();
    assert_eq!((&json["schema"], &json["tip"]["along"]["key"]), (&1.into(), &"load.rate".into()));
    assert_eq!(json["boundaries"].as_array().unwrap().len(), 2);
    let third = &json["points"][2];
    assert_eq!((&third["along"], &third["share"], &third["decided"]), (&16.0.into(), &0.125.into(), &true.into()));
    let interval: Vec<f64> = third["interval_95"].as_array().unwrap().iter().map(|end| end.as_f64().unwrap()).collect();
    assert!(interval[0] < 0.125 && interval[1] > 0.125, "{interval:?}");
    assert_eq!(json["replays"].as_array().unwrap().len(), 4);
    let stored: Value = serde_json::from_str(&fs::read_to_string(place.join("report/report.json")).unwrap()).unwrap();
    assert_eq!(json, stored);
}

#[test]
fn a_page_of_a_search_needs_nothing_else_and_is_the_same_every_time() {
    for tip in [along_one(), along_two()] {
        let (directory, place) = written(&tip);
        let outs = ["one", "two"].map(|name| directory.path().join(name));
        for out in &outs {
            reports(&[word(&place), "--out", word(out)]).unwrap();
        }
        for file in ["report.html", "report.json", "report.txt", "tip.svg", "tip.png"] {
            assert!(fs::read(outs[0].join(file)).unwrap() == fs::read(outs[1].join(file)).unwrap(), "{file} differs");
        }
        let page = fs::read_to_string(outs[0].join("report.html")).unwrap();
        assert!(page.contains("What becomes of &lt;requests&gt; &amp; retries?"));
        assert!(page.contains("<pre>sim scenarios/story.toml --seed 0 --set "));
        for outside in ["http://", "https://", "<script src", "<link", "url("] {
            assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(outside), "the page refers to {outside}");
        }
    }
}

#[test]
fn what_is_damaged_is_named_with_its_line_and_the_remedy() {
    let (_directory, place) = written(&along_one());
    let points = fs::read_to_string(place.join("points.jsonl")).unwrap();
    fs::write(place.join("points.jsonl"), points.replacen("\"runs\":10", "\"runs\":\"ten\"", 1)).unwrap();
    let message = refused(&[word(&place)]);
    assert!(message.contains("points.jsonl:2 is not the result of a value: invalid type: string"), "{message}");
    assert!(message.ends_with("search again with `sim tip`, which replaces the folder"), "{message}");
    for file in ["points.jsonl", "boundary.jsonl", "scenario.toml", "tip.json"] {
        let (_directory, place) = written(&along_one());
        fs::remove_file(place.join(file)).unwrap();
        let message = refused(&[word(&place)]);
        assert!(message.contains(&format!("{file} is missing; search again with `sim tip`")), "{message}");
        assert!(!place.join("report").exists());
    }
}

#[test]
fn a_search_is_not_compared_and_has_no_requests() {
    let (directory, place) = written(&along_one());
    assert!(
        refused(&[word(&place), word(&place)])
            .ends_with("is a threshold search, which cannot be compared; report it alone")
    );
    assert!(refused(&[word(&place), "--parquet"]).contains("which has no requests"));
    assert!(refused(&[word(directory.path())]).ends_with("tip?"), "the folder above leads to it");
}
