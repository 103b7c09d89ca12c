//! Runs with branches: equal to the run without them up to the branch, and drawn again from there.

use std::{path::Path, sync::atomic::AtomicU64, time::Duration};

use kernel::{
    entropy::branch::Branch,
    record::Records,
    scenario::{Scenario, Workload},
};
use sim::{Plan, calibration::Calibration};

use crate::{
    command::{Ended, sim},
    simulated,
};

/// Everything that is random at once: arrivals, users, service times, loss, jitter, connections with a backoff, and faults.
const MIXED: &str = r#"
name = "mixed"
duration = "6s"
[servers]
workers = 2
service_time_min = "5ms"
[workload]
sizes = ["8x8", "16x16"]
[load]
rate = 20.0
arrivals = "poisson"
users = 2
think_time = "200ms"
think_time_distribution = "exponential"
[network]
latency = "1ms"
jitter = "1ms"
[client]
attempt_timeout = "500ms"
deadline = "2s"
[client.health_check]
interval = "500ms"
timeout = "200ms"
[nemesis]
faults_min = 4
faults_max = 8
"#;

fn branch(at: Duration, salt: u64) -> Branch {
    Branch { at, salt }
}

/// Plays the run, which must come to its end without a violated invariant.
fn play(scenario: &Scenario, seed: u64, branches: &[Branch], calibration: &Calibration) -> Records {
    let mut plan = Plan::new(scenario.clone(), seed);
    plan.branches = branches.to_vec();
    plan.calibration = calibration.clone();
    let run = sim::run(&plan, &AtomicU64::new(0)).unwrap_or_else(|error| panic!("seed {seed}, {branches:?}: {error}"));
    assert_eq!(run.violations(&plan), [], "seed {seed}, {branches:?}");
    run.records
}

/// Returns what was recorded before `at`.
fn before(records: &Records, at: Duration) -> Records {
    let us = u64::try_from(at.as_micros()).unwrap();
    let mut records = records.clone();
    records.events.retain(|row| row.at_us < us);
    records.attempts.retain(|row| row.end_us < us);
    records.requests.retain(|row| row.done_us.unwrap_or(row.intended_us) < us);
    records
}

fn calibrations() -> [Calibration; 2] {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/measured/calibration.toml");
    [Calibration::default(), Calibration::load(&file).unwrap()]
}

#[test]
fn a_branch_changes_nothing_before_its_time_and_much_behind_it() {
    let scenario = Scenario::parse("mixed.toml", MIXED, &[]).unwrap();
    for calibration in &calibrations() {
        for seed in 0..20 {
            let whole = play(&scenario, seed, &[], calibration);
            let first = branch(Duration::from_micros(1_500_000 + seed * 99_991), 7);
            let once = play(&scenario, seed, &[first], calibration);
            assert_eq!(before(&once, first.at), before(&whole, first.at), "seed {seed}");
            assert_ne!(once.digest(), whole.digest(), "seed {seed}");
            let second = branch(first.at + Duration::from_secs(1), 8);
            let twice = play(&scenario, seed, &[first, second], calibration);
            assert_eq!(before(&twice, second.at), before(&once, second.at), "seed {seed}");
            assert_ne!(twice.digest(), once.digest(), "seed {seed}");
            assert_eq!(
                play(&scenario, seed, &[first, second], calibration),
                twice,
                "seed {seed}: a recipe is repeatable"
            );
            let other = branch(first.at, 9);
            assert_ne!(play(&scenario, seed, &[other], calibration).digest(), once.digest(), "seed {seed}");
        }
    }
}

/// Faults of the file stay; those that the seed draws are drawn again if they have not begun.
#[test]
fn a_branch_draws_the_faults_that_have_not_begun() {
    let scenario = Scenario::parse("mixed.toml", MIXED, &[]).unwrap();
    let at = Duration::from_secs(2);
    let mut changed = 0;
    for seed in 0..50 {
        let whole = scenario.explicit(seed).faults;
        let branched = scenario.explicit_with(seed, &[branch(at, 5)]).faults;
        let begun = whole.iter().take_while(|fault| fault.at <= at).count();
        assert_eq!(branched[..begun], whole[..begun], "seed {seed}");
        assert!(branched[begun..].iter().all(|fault| fault.at > at && fault.at <= scenario.duration), "seed {seed}");
        assert!(branched.len() <= 8, "seed {seed}: {}", branched.len());
        changed += u32::from(branched[begun..] != whole[begun..]);
    }
    assert!(changed > 45, "{changed}");
}

/// The scenario of a branch has no faults left to draw, so its file needs the seed and the branches only.
#[test]
fn the_command_that_replays_a_branch_gives_the_same_digest() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mixed.toml"), MIXED).unwrap();
    let run = |arguments: &[&str]| {
        let ended = Ended::after(sim(folder.path()).args(arguments));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout.lines().find(|line| line.trim_start().starts_with("digest")).unwrap().to_owned()
    };
    let branches = ["--branch", "1.5s:7", "--branch", "2.25s:8"];
    let first = run(&[&["mixed.toml", "--seed", "3"][..], &branches].concat());
    let written = "runs/mixed/sim-seed3/scenario.toml";
    std::fs::copy(folder.path().join(written), folder.path().join("again.toml")).unwrap();
    let info = std::fs::read_to_string(folder.path().join("runs/mixed/sim-seed3/run.json")).unwrap();
    assert!(info.contains("\"branches\": [\n    \"1.5s:7\",\n    \"2.25s:8\"\n  ]"), "{info}");
    let again = run(&[&["again.toml", "--seed", "3", "--out", "again"][..], &branches].concat());
    assert_eq!(again, first);
    assert_ne!(run(&["again.toml", "--seed", "3", "--out", "other"]), first);
}

#[test]
fn scenarios_of_the_project_keep_their_invariants_behind_a_branch() {
    for file in simulated::files() {
        let mut scenario = Scenario::load(&file, &[]).unwrap();
        if matches!(scenario.workload, Workload::App(_)) {
            continue;
        }
        scenario.duration = scenario.duration.min(Duration::from_secs(60));
        let at = Duration::from_millis(u64::try_from(scenario.duration.as_millis()).unwrap() / 3);
        play(&scenario, 1, &[branch(at, 3)], &Calibration::default());
    }
}
