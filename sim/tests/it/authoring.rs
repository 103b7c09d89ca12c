//! The commands for writing scenarios: `new`, `check`, `list`, `schema`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ended, sim};

/// Two mistakes, on lines 3 and 5.
const BROKEN: &str = "name = \"broken\"\nduration = \"5s\"\nquestoin = \"?\"\n[load]\nrate = -1\n";
const SMALL: &str = "# A small service.\nname = \"small\"\nduration = \"2s\"\n[load]\nrate = 5\n";

fn run(folder: &TempDir, arguments: &[&str]) -> Ended {
    Ended::after(sim(folder.path()).args(arguments))
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap()
}

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

#[test]
fn a_new_scenario_is_valid_and_passes_and_names_the_next_commands() {
    for workload in ["sobel", "dfs", "backend"] {
        let folder = TempDir::new().unwrap();
        let created = run(&folder, &["new", "plans/first", "--workload", workload]);
        assert_eq!((created.code, created.stderr.as_str()), (Some(0), ""));
        assert!(created.stdout.starts_with("created  plans/first.toml\n"), "{created:?}");
        let checked = Ended::printed(folder.path(), created.reported("check"));
        assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), "valid    plans/first.toml\n"));
        let passed = Ended::printed(folder.path(), created.reported("run"));
        assert_eq!(passed.code, Some(0), "{workload}: {passed:?}");
        assert!(
            passed
                .stdout
                .starts_with("PASS  first (sim, seed 0, resilient): 100 % succeeded, 2 of 2 expectations hold\n"),
            "{passed:?}"
        );
    }
}

#[test]
fn a_new_scenario_replaces_no_file() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("mine.toml"), "years of work").unwrap();
    let ended = run(&folder, &["new", "mine.toml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert_eq!(ended.stderr, "error: mine.toml exists; choose another name, or move it\n");
    assert_eq!(fs::read_to_string(folder.path().join("mine.toml")).unwrap(), "years of work");
}

#[test]
fn check_reports_every_mistake_of_every_file() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("broken.toml"), BROKEN).unwrap();
    fs::write(folder.path().join("small.toml"), SMALL).unwrap();
    let ended = run(&folder, &["check", "broken.toml", "small.toml", "missing.toml"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(2), ""));
    insta::assert_snapshot!("checked", ended.stdout);
    assert_eq!(run(&folder, &["check", "small.toml"]).code, Some(0));

    let ended = run(&folder, &["check", "broken.toml", "small.toml", "--json"]);
    assert_eq!(ended.code, Some(2));
    let files = json(&ended);
    assert_eq!((&files[0]["valid"], &files[1]["valid"]), (&Value::from(false), &Value::from(true)));
    let lines: Vec<_> = files[0]["mistakes"].as_array().unwrap().iter().map(|mistake| &mistake["line"]).collect();
    assert_eq!(lines, [3, 5]);
    assert_eq!(files[0]["mistakes"][1]["key"], "load.rate");
}

#[test]
fn check_applies_overrides() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("small.toml"), SMALL).unwrap();
    let ended = run(&folder, &["check", "small.toml", "--set", "load.rate=0"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stdout.contains("--> the command line (load.rate)"), "{ended:?}");
}

#[test]
fn list_describes_every_scenario_of_this_repository() {
    let root = scenarios().join("..");
    let ended = Ended::after(sim(&root).args(["list", "--json"]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let files = json(&ended);
    let crash =
        files.as_array().unwrap().iter().find(|file| file["file"] == "scenarios/crash_then_freeze.toml").unwrap();
    assert_eq!(crash["name"], "crash_then_freeze");
    assert_eq!(
        (&crash["workload"], &crash["replicas"], &crash["duration"]),
        (&"sobel".into(), &2.into(), &"1m30s".into())
    );
    assert_eq!(crash["faults"], serde_json::json!(["crash", "freeze"]));
    for file in files.as_array().unwrap() {
        assert!(file["description"].as_str().is_some_and(|text| text.len() > 10), "{file}");
    }
    let names = crate::simulated::files().len();
    assert!(files.as_array().unwrap().len() > names, "those of the corpus, too");
}

#[test]
fn list_shows_a_broken_file_with_its_mistake() {
    let folder = TempDir::new().unwrap();
    for (name, text) in [
        ("broken.toml", BROKEN),
        ("inner/small.toml", SMALL),
        ("runs/small/scenario.toml", SMALL),
        ("Cargo.toml", "[package]\nname = \"other\"\n"),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let ended = run(&folder, &["list"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(2), ""));
    insta::assert_snapshot!("listed", ended.stdout);
}

#[test]
fn the_schema_is_json_and_names_its_dialect() {
    let folder = TempDir::new().unwrap();
    let ended = run(&folder, &["schema"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let schema = json(&ended);
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema, kernel::scenario::schema());
}
