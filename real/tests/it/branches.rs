//! Branches of a run, in both worlds.

use std::{fs, sync::atomic::AtomicU64, time::Duration};

use kernel::{
    entropy::branch::Branch,
    record::{Event, Records},
    run_folder::RunInfo,
    scenario::Scenario,
};

use crate::child::{Run, records};

const SEED: u64 = 5;

/// Arrivals, faults and which calls fail are random.
const SCENARIO: &str = r#"
name = "branched"
duration = "4s"
[servers]
replicas = 2
workers = 8
service_time_min = "5ms"
[workload]
sizes = ["8x8", "16x16"]
[load]
rate = 40
arrivals = "poisson"
[client.retry]
max_attempts = 1
[nemesis]
kinds = ["delay", "errors"]
faults_min = 3
faults_max = 5
duration_min = "200ms"
duration_max = "1s"
[[fault]]
at = "2500ms"
kind = "errors"
rate = 0.5
status = "UNAVAILABLE"
target = ["server-0", "server-1"]
duration = "1s"
"#;

fn simulated(branches: &[Branch]) -> Records {
    let scenario = Scenario::parse("branched.toml", SCENARIO, &[]).unwrap_or_else(|error| panic!("{error}"));
    let mut plan = sim::Plan::new(scenario.explicit_with(SEED, branches), SEED);
    plan.branches = branches.to_vec();
    sim::run(&plan, &AtomicU64::new(0)).unwrap_or_else(|error| panic!("{error}")).records
}

/// The planned requests.
fn planned(records: &Records) -> Vec<(u64, u64, String)> {
    let mut rows: Vec<_> = records.requests.iter().map(|row| (row.id, row.intended_us, row.size.clone())).collect();
    rows.sort_unstable();
    rows
}

/// The faults that began, each with its target and its kind.
fn faults(records: &Records) -> Vec<(Option<usize>, Option<String>, Option<String>)> {
    let began = records.events.iter().filter(|row| row.event == Event::FaultStart);
    let mut faults: Vec<_> = began
        .map(|row| (row.fault, row.target.as_ref().map(ToString::to_string), row.cause.as_deref().map(str::to_owned)))
        .collect();
    faults.sort_unstable();
    faults
}

/// The requests that failed in the middle of the last fault of the file, whichever they are.
fn failed(records: &Records) -> Vec<u64> {
    let in_the_middle = records.requests.iter().filter(|row| (2_800_000..3_200_000).contains(&row.intended_us));
    let mut failed: Vec<u64> = in_the_middle.filter(|row| !row.status.is_success()).map(|row| row.id).collect();
    failed.sort_unstable();
    failed
}

#[test]
fn a_run_with_branches_has_the_arrivals_and_the_faults_of_the_simulated_one() {
    let branches =
        [Branch { at: Duration::from_millis(1_200), salt: 7 }, Branch { at: Duration::from_secs(2), salt: 3 }];
    let folder = tempfile::tempdir().expect("there is room");
    let (file, out) = (folder.path().join("branched.toml"), folder.path().join("run"));
    fs::write(&file, SCENARIO).expect("there is room");
    let options: Vec<String> = branches.iter().flat_map(|branch| ["--branch".to_owned(), branch.to_string()]).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).chain(["--set", "run.max_lateness=1h"]).collect();
    let (status, said) = Run::start_with(&file, SEED, &out, &options).end();
    assert!(status.success(), "{said}");
    let real = records(&out);
    let simulated = [simulated(&[]), simulated(&branches)];
    assert_eq!(planned(&real), planned(&simulated[1]));
    assert_eq!(faults(&real), faults(&simulated[1]));
    assert_eq!(failed(&real), failed(&simulated[1]), "which calls a server fails is drawn with the salt, too");
    let before = |records: &Records| -> Vec<_> {
        planned(records).into_iter().take_while(|(_, intended_us, _)| *intended_us < 1_200_000).collect()
    };
    assert_eq!(before(&real), before(&simulated[0]), "the run without branches up to the first one");
    assert_ne!(planned(&real), planned(&simulated[0]));
    let info: RunInfo = serde_json::from_slice(&fs::read(out.join("run.json")).expect("there is one")).expect("JSON");
    assert_eq!(info.branches, branches);
    let written = Scenario::load(&out.join("scenario.toml"), &[]).expect("it can be read again");
    let explicit = Scenario::parse("branched.toml", SCENARIO, &[]).expect("it is valid").explicit_with(SEED, &branches);
    assert_eq!(written.faults, explicit.faults);
}
