//! The folder that a run is written to: what is in it already, and what else is written to it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Stdio,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ended, sim};

const SCENARIO: &str =
    "name = \"story\"\nduration = \"2s\"\n[workload]\nsizes = [\"8x8\"]\n[load]\nrate = 20\narrivals = \"poisson\"\n";

/// Pairs of runs that start at once. `for` loops of a shell with 200 of them are in no test, as they take half a minute.
const PAIRS: u64 = 20;

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("story.toml"), SCENARIO).unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Ended {
    Ended::after(sim(folder).arg("story.toml").args(arguments))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_folder_with_a_file_called_as_one_of_a_run_is_left_alone() {
    let folder = folder();
    let place = folder.path().join("p");
    fs::create_dir_all(place.join("src")).unwrap();
    fs::write(place.join("run.json"), "{}").unwrap();
    fs::write(place.join("src/thesis.txt"), "years of work").unwrap();
    for arguments in [&["--out", "p"][..], &["--out", "p", "--force"]] {
        let ended = run(folder.path(), arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(
            ended
                .stderr
                .contains("error: p exists and is not a run folder; move it away, or choose another with --out"),
            "{ended:?}"
        );
    }
    assert_eq!(fs::read_to_string(place.join("src/thesis.txt")).unwrap(), "years of work");
    assert_eq!(fs::read_to_string(place.join("run.json")).unwrap(), "{}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn what_is_in_the_folder_of_a_run_stays_when_another_run_is_written_to_it() {
    let folder = folder();
    run(folder.path(), &["--out", "run"]);
    fs::create_dir(folder.path().join("run/src")).unwrap();
    fs::write(folder.path().join("run/src/thesis.txt"), "years of work").unwrap();
    assert_eq!(run(folder.path(), &["--out", "run", "--seed", "1"]).code, Some(0));
    assert_eq!(json(&folder.path().join("run/run.json"))["seed"], 1);
    assert_eq!(fs::read_to_string(folder.path().join("run/src/thesis.txt")).unwrap(), "years of work");

    fs::write(folder.path().join("run/summary.json"), "my notes").unwrap();
    let changed = run(folder.path(), &["--out", "run"]);
    assert_eq!(changed.code, Some(2));
    assert!(
        changed.stderr.contains("run/summary.json was changed after it was written, and would be lost"),
        "{changed:?}"
    );
    assert_eq!(run(folder.path(), &["--out", "run", "--force"]).code, Some(0));
    assert_eq!(json(&folder.path().join("run/run.json"))["seed"], 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn places_that_cannot_hold_a_run_are_refused_before_it_plays() {
    let folder = folder();
    let path = folder.path();
    fs::create_dir(path.join("locked")).unwrap();
    fs::set_permissions(path.join("locked"), fs::Permissions::from_mode(0o555)).unwrap();
    symlink("nowhere", path.join("dangling")).unwrap();
    symlink(path, path.join("around")).unwrap();
    // Whether a folder is locked depends on the user: the superuser may write to each.
    let places =
        ["/", ".", "..", "story.toml", "story.toml/run", "dangling", "around", "around/.", "/proc/run", "none/.."];
    for place in places {
        let ended = run(path, &["--out", place, "--set", "duration=\"24h\""]);
        assert_eq!(ended.code, Some(2), "{place}: {ended:?}");
        assert!(ended.stderr.contains("--out"), "{place}: {ended:?}");
    }
    assert_eq!(fs::read_dir(path).unwrap().count(), 4, "the scenario, the folder and the links");
    assert_eq!(fs::read_to_string(path.join("story.toml")).unwrap(), SCENARIO);
}

#[test]
fn a_run_in_the_folder_of_another_run_outlives_it() {
    let folder = folder();
    run(folder.path(), &["--out", "run"]);
    run(folder.path(), &["--out", "run/inner", "--seed", "7"]);
    run(folder.path(), &["--out", "run", "--seed", "1"]);
    assert_eq!(json(&folder.path().join("run/run.json"))["seed"], 1);
    assert_eq!(json(&folder.path().join("run/inner/run.json"))["seed"], 7);
    let of_its_own_scenario =
        Ended::after(sim(folder.path()).args(["run/scenario.toml", "--out", "run", "--seed", "3"]));
    assert_eq!(of_its_own_scenario.code, Some(0), "{of_its_own_scenario:?}");
    assert_eq!(json(&folder.path().join("run/run.json"))["seed"], 3);
}

#[cfg(unix)]
#[test]
fn a_name_that_is_not_text_is_a_name() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let name = std::ffi::OsStr::from_bytes(b"r\xffn");
    for seed in ["0", "1"] {
        let ended = Ended::after(sim(folder.path()).args(["story.toml", "--seed", seed, "--out"]).arg(name));
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert_eq!(json(&folder.path().join(name).join("run.json"))["seed"], 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn two_runs_into_one_folder_never_mix() {
    let folder = folder();
    for pair in 0..PAIRS {
        let seeds = [2 * pair, 2 * pair + 1];
        let children = seeds.map(|seed| {
            let mut command = sim(folder.path());
            command.args(["story.toml", "--out", "deep/run", "--seed", &seed.to_string()]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        });
        let ended = children.map(|child| child.wait_with_output().unwrap());
        let written: Vec<u64> = seeds
            .iter()
            .zip(&ended)
            .filter(|(_, output)| output.status.code() == Some(0))
            .map(|(seed, _)| *seed)
            .collect();
        for output in ended.iter().filter(|output| output.status.code() != Some(0)) {
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains("deep/run is being written by another process"), "{said}");
        }
        let place = folder.path().join("deep/run");
        let seed = json(&place.join("run.json"))["seed"].as_u64().unwrap();
        assert!(written.contains(&seed), "{written:?} {seed}");
        assert_eq!(json(&place.join("summary.json"))["seed"].as_u64(), Some(seed));
        let rows = fs::read(place.join("requests.jsonl")).unwrap();
        run(folder.path(), &["--out", "alone", "--seed", &seed.to_string()]);
        assert!(rows == fs::read(folder.path().join("alone/requests.jsonl")).unwrap(), "the rows are of seed {seed}");
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
    }
}
