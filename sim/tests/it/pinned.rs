//! The table of pinned digests: what every scenario file plays and resolves to, in every profile and on every day.
//!
//! A change of what a simulation does changes a digest, and a change of the scenario language changes the hash of a
//! resolved `scenario.toml`. If a change is meant, accept it with
//! `INSTA_UPDATE=always cargo test -p sim --test it pinned`
//! and list every changed row, with its reason, in the commit.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, atomic::AtomicU64},
    thread,
};

use kernel::{
    run_folder::sha256,
    scenario::{Scenario, setting_generator},
};
use sim::{Plan, SimulationError, calibration::Calibration};

const SEEDS: [u64; 2] = [42, 7];
const DRAWN_SEEDS: u64 = 20;

/// Files that came after the table of drawn runs. It pairs files and seeds by their places, so these come behind the others, in the
/// order in which they came.
const LATER: [&str; 12] = [
    "scenarios/closed_loop.toml",
    "scenarios/rush_hour.toml",
    "scenarios/rolling_restart.toml",
    "scenarios/connection_age.toml",
    "scenarios/half_open.toml",
    "scenarios/flapping.toml",
    "scenarios/operator.toml",
    "scenarios/labs/cap_stale.toml",
    "scenarios/labs/cap_refused.toml",
    "scenarios/alerts.toml",
    "scenarios/expired_certificate.toml",
    "scenarios/shared_cache.toml",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of `scenarios/`, of `scenarios/corpus/` and of `scenarios/labs/`, sorted, as paths from the workspace's root.
fn scenario_files() -> Vec<String> {
    let mut files = Vec::new();
    for folder in ["scenarios", "scenarios/corpus", "scenarios/labs"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".toml") {
                files.push(format!("{folder}/{name}"));
            }
        }
    }
    files.sort();
    files
}

fn load(file: &str, overrides: &[String]) -> Scenario {
    Scenario::load(&root().join(file), overrides).unwrap_or_else(|error| panic!("{error}"))
}

/// The digest of a run. A calibration that has no times for the workload is a row, too: its words are not pinned.
fn digest(scenario: Scenario, seed: u64, calibration: &Calibration) -> String {
    let plan = Plan { scenario, seed, branches: Vec::new(), calibration: calibration.clone(), app: None };
    match sim::run(&plan, &AtomicU64::new(0)) {
        Ok(played) => played.records.digest(),
        Err(SimulationError::NotCalibrated { .. }) => "not calibrated".to_owned(),
        Err(error) => panic!("{error}"),
    }
}

/// One row for each of `jobs`, in their order, computed on all cores.
fn rows<J: Sync>(jobs: &[J], row: impl Fn(&J) -> String + Sync) -> String {
    let next = Mutex::new(0);
    let done = Mutex::new(vec![String::new(); jobs.len()]);
    let work = || {
        loop {
            let index = {
                let mut next = next.lock().unwrap();
                *next += 1;
                *next - 1
            };
            let Some(job) = jobs.get(index) else { return };
            let text = row(job);
            done.lock().unwrap()[index] = text;
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    done.into_inner().unwrap().join("\n")
}

#[test]
fn pinned_runs_of_every_scenario_file() {
    let measured = Calibration::load(&root().join("reports/measured/calibration.toml")).unwrap();
    let calibrations = [("built-in", Calibration::default()), ("measured", measured)];
    let mut jobs = Vec::new();
    for file in scenario_files() {
        for seed in SEEDS {
            for (name, calibration) in &calibrations {
                jobs.push((file.clone(), seed, *name, calibration));
            }
        }
    }
    let table = rows(&jobs, |(file, seed, name, calibration)| {
        format!("{file} {seed} {name} {}", digest(load(file, &[]), *seed, calibration))
    });
    insta::assert_snapshot!("pinned_runs", table);
}

#[test]
fn pinned_text_of_every_resolved_scenario_file() {
    let table = rows(&scenario_files(), |file| {
        let scenario = load(file, &[]);
        let explicit = SEEDS.map(|seed| sha256(scenario.explicit(seed).to_toml().as_bytes()));
        format!("{file} {} {}", sha256(scenario.to_toml().as_bytes()), explicit.join(" "))
    });
    insta::assert_snapshot!("pinned_scenarios", table);
}

/// The settings that `hunt --policies` draws for `file` with `seed`, and what the file is with them.
fn drawn(file: &str, seed: u64) -> (Vec<String>, Scenario) {
    let settings = setting_generator::settings(&load(file, &[]), seed);
    let overrides = [&settings[..], &["expect=[]".to_owned()]].concat();
    let mut scenario = load(file, &overrides);
    scenario.nemesis.get_or_insert_default();
    (settings, scenario.explicit(seed))
}

#[test]
fn pinned_settings_drawn_for_every_scenario_file() {
    let table = rows(&scenario_files(), |file| {
        let mut settings = String::new();
        let mut resolved = String::new();
        for seed in 0..DRAWN_SEEDS {
            let (drawn, scenario) = drawn(file, seed);
            settings.push_str(&drawn.join("\n"));
            resolved.push_str(&scenario.to_toml());
        }
        format!("{file} {} {}", sha256(settings.as_bytes()), sha256(resolved.as_bytes()))
    });
    insta::assert_snapshot!("pinned_drawn_settings", table);
}

#[test]
fn pinned_runs_of_drawn_settings() {
    let files = scenario_files();
    let first: Vec<&str> = files.iter().map(String::as_str).filter(|file| !LATER.contains(file)).collect();
    let paired = (0..DRAWN_SEEDS).map(|seed| (first[seed as usize % first.len()], seed));
    let jobs: Vec<(&str, u64)> = paired.chain(LATER.into_iter().zip(DRAWN_SEEDS..)).collect();
    let table = rows(&jobs, |&(file, seed)| {
        let (_, scenario) = drawn(file, seed);
        let resolved = sha256(scenario.to_toml().as_bytes());
        format!("{file} {seed} {resolved} {}", digest(scenario, seed, &Calibration::default()))
    });
    insta::assert_snapshot!("pinned_drawn_runs", table);
}
