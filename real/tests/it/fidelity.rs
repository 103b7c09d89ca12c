//! Calibrations and campaigns: what is wrong is said before any time is spent, and what is played is played once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use kernel::run_folder::campaign::CampaignManifest;
use tempfile::TempDir;

use crate::command::command_of;

/// One second, so that four real runs of it are soon over.
const STORY: &str = "name = \"story\"\nduration = \"1s\"\n[workload]\nsizes = [\"8x8\"]\n[load]\nrate = 20.0\n\
                     [run]\nmax_lateness = \"1h\"\n";

/// A calibration that anything can be simulated with.
const CALIBRATION: &str = "name = \"test\"\n[link]\none_way_us = [[0.0, 50.0]]\nconnect_us = [[0.0, 90.0]]\n\
                           [process]\nexec_to_listen_us = [[0.0, 5000.0]]\n\
                           [[service_time]]\nworkload = \"sobel\"\nunits = 64\nus = [[0.0, 5.0]]\n";

/// The program, and beside it the simulation, which is built unless it is there already.
fn program() -> &'static Path {
    let program = Path::new(env!("CARGO_BIN_EXE_real"));
    if !program.with_file_name("sim").is_file() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--bin", "sim"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../sim"));
        assert!(build.status().expect("cargo starts").success());
    }
    program
}

fn run(program: &Path, directory: &Path, words: &[&str]) -> Output {
    let mut command = command_of(program);
    command.args(words).current_dir(directory).stdin(Stdio::null()).output().expect("the program starts")
}

/// A folder with `story.toml` and `calibration.toml` in it.
fn folder() -> TempDir {
    let directory = tempfile::tempdir().expect("there is room for a folder");
    fs::write(directory.path().join("story.toml"), STORY).expect("there is room for a file");
    fs::write(directory.path().join("calibration.toml"), CALIBRATION).expect("there is room for a file");
    directory
}

/// Asserts the exit code, and that the only line said holds `words`.
fn fails(ended: &Output, code: i32, words: &str) {
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "{said}");
}

const PLAY: [&str; 6] = ["fidelity", "story.toml", "--calibration", "calibration.toml", "--out", "campaign"];

fn play(directory: &Path, more: &[&str]) -> Output {
    run(program(), directory, &[&PLAY, more].concat())
}

fn said(ended: &Output) -> String {
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

#[test]
fn a_campaign_plays_what_is_missing_and_keeps_what_is_there() {
    let directory = folder();
    let first = said(&play(directory.path(), &["--runs", "2"]));
    assert!(first.contains("4 runs: 1 scenarios x 2 worlds x 2 seeds; 4 played, 0 kept"), "{first}");
    let campaign = directory.path().join("campaign");
    let runs: Vec<PathBuf> =
        ["real-seed0", "real-seed1", "sim-seed0", "sim-seed1"].map(|run| campaign.join("story").join(run)).into();
    let requests = |run: &PathBuf| fs::read_to_string(run.join("requests.jsonl")).unwrap();
    assert!(runs.iter().all(|run| requests(run).lines().count() == 20));
    let manifest: CampaignManifest =
        serde_json::from_str(&fs::read_to_string(campaign.join("manifest.json")).unwrap()).unwrap();
    assert_eq!((manifest.runs, manifest.calibration.unwrap().name.as_str()), (2, "test"));
    assert_eq!(fs::read_to_string(campaign.join("calibration.toml")).unwrap(), CALIBRATION);

    let before: Vec<String> = runs.iter().map(requests).collect();
    fs::remove_dir_all(&runs[1]).unwrap();
    let second = said(&play(directory.path(), &["--runs", "2"]));
    assert!(second.contains("1 played, 3 kept"), "{second}");
    assert_eq!((requests(&runs[0]), requests(&runs[2])), (before[0].clone(), before[2].clone()));

    fails(&play(directory.path(), &["--runs", "2", "--leave-out", "timers"]), 2, "the calibration has no late timers");
    fails(&play(directory.path(), &["--runs", "2", "--leave-out", "luck"]), 2, "choose all, or some of machine, ");
    let third = said(&play(directory.path(), &["--runs", "2", "--leave-out", "connection"]));
    assert!(
        third.contains("6 runs: 1 scenarios x (2 worlds and 1 mechanism left out) x 2 seeds; 2 played, 4 kept"),
        "{third}"
    );
    let without = fs::read_to_string(campaign.join("calibration-without-connection.toml")).unwrap();
    assert!(CALIBRATION.contains("connect_us") && !without.contains("connect_us"), "{without}");
    assert!(campaign.join("story/sim-without-connection-seed1/summary.json").is_file());

    // What is there already must be as it was written, of the same scenario and the same calibration.
    let summary = runs[0].join("summary.json");
    let text = fs::read_to_string(&summary).unwrap();
    fs::write(&summary, text.replacen('1', "2", 1)).unwrap();
    fails(&play(directory.path(), &["--runs", "2"]), 2, "summary.json is missing, or was changed");
    fs::write(&summary, text).unwrap();
    fs::write(campaign.join("calibration.toml"), "my notes").unwrap();
    fails(&play(directory.path(), &["--runs", "2"]), 2, "calibration.toml was changed after it was written");
    fs::write(campaign.join("calibration.toml"), CALIBRATION).unwrap();
    fails(
        &play(directory.path(), &["--runs", "2", "--set", "load.rate=10"]),
        2,
        "a run of another version of the scenario",
    );
    let manifest = campaign.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let fact = |from: &str, to: &str, words: &str| {
        assert!(text.contains(from), "{text}");
        fs::write(&manifest, text.replace(from, to)).unwrap();
        fails(&play(directory.path(), &["--runs", "2"]), 2, words);
        fs::write(&manifest, &text).unwrap();
    };
    fact("\"kernel\": \"Linux ", "\"kernel\": \"Linux 1.", "was started on another machine, Linux 1.");
    fact("\"cores\": ", "\"cores\": 9", "was started on another machine, ");
    fact("\"version\": \"", "\"version\": \"9", "was started with another build, a ");
    // A manifest of an earlier version does not say what the processors are.
    if let Some(processor) = text.lines().find(|line| line.contains("\"processor\": ")) {
        fact(processor, "\"processor\": \"i386\",", "i386, and this is Linux ");
        fs::write(&manifest, text.replace(&format!("{processor}\n"), "")).unwrap();
        assert!(said(&play(directory.path(), &["--runs", "2"])).contains("0 played, 4 kept"));
    }
    fs::write(directory.path().join("calibration.toml"), CALIBRATION.replace("5.0]", "6.0]")).unwrap();
    fails(&play(directory.path(), &["--runs", "2"]), 2, "was started with another calibration");
}

/// A calibration takes six minutes: here it is one that the campaign had measured before it was interrupted.
#[test]
fn a_campaign_that_measured_its_calibration_goes_on_with_it() {
    let directory = folder();
    let path = directory.path();
    let campaign = path.join("campaign");
    let calibrate = |more: &[&str]| {
        let words = [&["fidelity", "story.toml", "--runs", "2", "--calibrate", "--out", "campaign"], more].concat();
        run(program(), path, &words)
    };
    fails(&calibrate(&["--calibration", "calibration.toml"]), 2, "cannot be used with");
    fs::create_dir(&campaign).unwrap();
    fs::write(campaign.join("calibration.toml"), CALIBRATION).unwrap();
    let first = said(&calibrate(&[]));
    assert!(first.contains("4 played, 0 kept"), "{first}");
    assert!(said(&calibrate(&[])).contains("0 played, 4 kept"));

    // Until the calibration is complete, the manifest has none.
    let manifest = campaign.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let mut table: serde_json::Value = serde_json::from_str(&text).unwrap();
    table.as_object_mut().unwrap().remove("calibration").unwrap();
    fs::write(&manifest, table.to_string()).unwrap();
    fails(&play(path, &["--runs", "2"]), 2, "measures its calibration itself; continue with --calibrate");
    assert!(said(&calibrate(&[])).contains("0 played, 4 kept"));
    assert_eq!(fs::read_to_string(&manifest).unwrap(), text);
    fs::remove_file(campaign.join("calibration.toml")).unwrap();
    fails(&calibrate(&[]), 2, "has lost its calibration.toml, ");
}

#[test]
fn a_campaign_says_of_which_world_the_untrusted_runs_are() {
    let directory = folder();
    // Whatever the real runs are, the sends of simulated ones are later than the scenario allows, again and again.
    let late = format!("{CALIBRATION}[timer]\nclient_late_us = [[0.0, 3000000.0]]\n");
    fs::write(directory.path().join("calibration.toml"), late).unwrap();
    let ended = play(directory.path(), &["--runs", "2", "--set", "run.max_lateness=2s"]);
    fails(&ended, 3, "of 4 runs are untrusted");
    fails(
        &ended,
        3,
        "\n  2 simulated, the first in campaign/story/sim-seed0: by this calibration the machine does not keep up",
    );
}

#[test]
fn what_is_wrong_with_a_campaign_is_said_before_anything_is_played() {
    let directory = folder();
    let path = directory.path();
    fails(&play(path, &[]), 2, "--runs");
    fails(&play(path, &["--runs", "1"]), 2, "1 is not in 2..=1000");
    fails(&play(path, &["--runs", "2", "--rates", "10,many"]), 2, "a number");
    fails(&play(path, &["story.toml", "--runs", "2"]), 2, "two scenarios are called `story`");
    fails(&play(path, &["missing.toml", "--runs", "2"]), 2, "missing.toml");
    let words = ["fidelity", "story.toml", "--runs", "2"];
    fails(&run(program(), path, &words), 2, "measure this host first: ");
    fs::write(path.join("calibration.toml"), CALIBRATION.replace("[process]", "[proces]")).unwrap();
    fails(&play(path, &["--runs", "2"]), 2, "the simulation: not a calibration: unknown field `proces`");
    assert!(!path.join("campaign").exists());
    fs::create_dir(path.join("campaign")).unwrap();
    fs::write(path.join("campaign/thesis.txt"), "years of work").unwrap();
    fails(&play(path, &["--runs", "2"]), 2, "exists and holds no campaign");
}

#[test]
fn without_the_simulation_beside_it_the_program_says_how_to_build_it() {
    let directory = folder();
    let alone = directory.path().join("real");
    fs::copy(env!("CARGO_BIN_EXE_real"), &alone).unwrap();
    fails(
        &run(&alone, directory.path(), &[&PLAY[..], &["--runs", "2"]].concat()),
        3,
        "is missing; build it: cargo build",
    );
}

#[test]
fn a_calibration_that_could_not_be_written_is_not_begun() {
    let directory = folder();
    let path = directory.path();
    let calibrate =
        |words: &[&str]| run(Path::new(env!("CARGO_BIN_EXE_real")), path, &[&["calibrate"], words].concat());
    fails(&calibrate(&["--out", "."]), 2, "is a folder; name a file with --out");
    fails(&calibrate(&["--out", "story.toml/calibration.toml"]), 2, "choose another file with --out");
    fails(&calibrate(&["--sizes", "big"]), 2, "is not a picture size");
    fails(&calibrate(&["--sizes", "99999x1"]), 2, "out of range");
}
