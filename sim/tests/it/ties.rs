//! Faults at one instant: at equal times, where others end, at 0, at the end of the run, and with no duration.

use std::{fs, path::Path, sync::atomic::AtomicU64};

use kernel::{
    record::{Event, EventRow},
    scenario::Scenario,
};
use sim::{CompletedRun, Plan, calibration::Calibration};

/// Runs, each with faults that its seed draws.
const SEEDS: u64 = 300;

const STAGE: &str = r#"
name = "ties"
duration = "6s"
[servers]
workers = 2
service_time_min = "20ms"
[workload]
sizes = ["8x8"]
[load]
rate = 20.0
arrivals = "poisson"
[client]
attempt_timeout = "500ms"
deadline = "2s"
[client.health_check]
interval = "500ms"
timeout = "200ms"
"#;

fn plan(seed: u64, settings: &[String], calibration: &Calibration) -> Plan {
    let scenario = Scenario::parse("ties.toml", STAGE, settings).unwrap_or_else(|error| panic!("{error}"));
    Plan { scenario: scenario.explicit(seed), seed, branches: Vec::new(), calibration: calibration.clone(), app: None }
}

/// Plays `plan`, which must come to its end without a violated invariant.
fn play(plan: &Plan) -> CompletedRun {
    let described = || format!("seed {}\n{}", plan.seed, plan.scenario.to_toml());
    let run = sim::run(plan, &AtomicU64::new(0)).unwrap_or_else(|error| panic!("{error}\n{}", described()));
    let violations: String = run.violations(plan).iter().map(|violation| format!("{violation}\n")).collect();
    assert!(violations.is_empty(), "{violations}{}", described());
    run
}

/// A host on which a killed process takes ten milliseconds to exit, while timers are on time.
const SLOW_EXIT: &str = r#"
name = "slow exit"
link.one_way_us = [[0.0, 50.0]]
process = { exec_to_listen_us = [[0.0, 10000.0]], exit_us = [[0.0, 10000.0]] }
service_time = [{ workload = "sobel", units = 64, us = [[0.0, 5.0]] }]
"#;

/// Returns hosts on which timers are on time, timers are late, and processes exit slowly.
fn calibrations() -> [Calibration; 3] {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/measured/calibration.toml");
    let measured = Calibration::load(&file).unwrap_or_else(|error| panic!("{error}"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("slow_exit.toml");
    fs::write(&file, SLOW_EXIT).unwrap();
    [Calibration::default(), measured, Calibration::load(&file).unwrap_or_else(|error| panic!("{error}"))]
}

/// Returns what the nemesis and the supervisor recorded, without times.
fn faults(run: &CompletedRun) -> Vec<(Event, Option<usize>, Option<&str>)> {
    let theirs = |row: &&EventRow| ["nemesis", "supervisor"].contains(&row.source.as_str());
    let rows = run.records.events.iter().filter(theirs);
    rows.map(|row| (row.event, row.fault, row.target.as_deref())).collect()
}

#[test]
fn no_invariant_breaks_whatever_faults_meet_at_one_instant() {
    for calibration in calibrations() {
        for seed in 0..SEEDS {
            let settings = [
                format!("servers.replicas={}", 1 + seed % 3),
                "nemesis={ ties = true, faults_min = 2, faults_max = 8 }".to_owned(),
            ];
            play(&plan(seed, &settings, &calibration));
        }
    }
}

/// Plays two faults on `server-0` and returns what was recorded of them.
fn two(first: &str, second: &str, calibration: &Calibration) -> Vec<(Event, Option<usize>)> {
    let settings = [
        "servers.replicas=2".to_owned(),
        format!("fault=[{{ target = \"server-0\", {first} }}, {{ target = \"server-0\", {second} }}]"),
    ];
    let mut found = Vec::new();
    // The seed decides nothing about it.
    for seed in 0..10 {
        let run = play(&plan(seed, &settings, calibration));
        let all: Vec<_> = faults(&run).into_iter().map(|(event, fault, _)| (event, fault)).collect();
        assert!(
            found.is_empty() || found == all,
            "{first} and {second} with seed {seed}: {all:?}, and before {found:?}"
        );
        found = all;
    }
    found
}

const CRASH: &str = "kind = \"crash\", at = \"2s\", restart_after = \"0s\"";
const FREEZE: &str = "kind = \"freeze\", at = \"2s\", duration = \"1s\"";

#[test]
fn a_freeze_after_a_crash_of_the_same_instant_finds_the_server_down() {
    for calibration in calibrations() {
        let found = two(CRASH, FREEZE, &calibration);
        let of = |fault: usize| -> Vec<Event> {
            found.iter().filter(|(_, of)| *of == Some(fault)).map(|(event, _)| *event).collect()
        };
        assert_eq!(of(0), [Event::FaultStart, Event::Restart, Event::FaultEnd]);
        assert_eq!(of(1), [Event::FaultStart, Event::NoEffect, Event::FaultEnd]);
    }
}

#[test]
fn a_crash_after_a_freeze_of_the_same_instant_kills_the_frozen_process() {
    for calibration in calibrations() {
        let found = two(FREEZE, CRASH, &calibration);
        assert!(!found.iter().any(|(event, _)| *event == Event::NoEffect), "{found:?}");
        assert_eq!(found[..2], [(Event::FaultStart, Some(0)), (Event::FaultStart, Some(1))]);
    }
}

/// Whatever the order in the file, and however late timers are.
#[test]
fn a_fault_that_ends_is_over_before_another_one_starts() {
    let early = "kind = \"crash\", at = \"1s\", restart_after = \"1s\"";
    for calibration in calibrations() {
        for (first, second, freeze) in [(early, FREEZE, 1), (FREEZE, early, 0)] {
            let found = two(first, second, &calibration);
            let place = |wanted| found.iter().position(|found| *found == wanted);
            assert!(place((Event::Restart, Some(1 - freeze))) < place((Event::FaultStart, Some(freeze))), "{found:?}");
            assert!(!found.iter().any(|(event, _)| *event == Event::NoEffect), "{found:?}");
        }
    }
}

#[test]
fn a_fault_at_the_end_is_not_played_and_the_run_is_trusted() {
    let last = plan(
        1,
        &["fault=[{ kind = \"crash\", at = \"6s\", target = \"server-0\" }]".to_owned()],
        &Calibration::default(),
    );
    let run = play(&last);
    assert_eq!(faults(&run), []);
    assert!(run.summary(&last).trusted);
}

#[test]
fn late_timers_of_a_calibration_make_a_run_untrusted_only_beyond_the_bound() {
    let [_, calibration, _] = calibrations();
    let with = |bound: &str| {
        let settings = [format!("run.max_lateness={bound}"), format!("fault=[{{ target = \"server-0\", {FREEZE} }}]")];
        let plan = plan(1, &settings, &calibration);
        let run = play(&plan);
        let summary = run.summary(&plan);
        assert!(summary.lateness.sends.max_s.is_some_and(|late| late > 0.0), "{:?}", summary.lateness);
        summary.trusted
    };
    assert!(with("250ms"));
    assert!(!with("0s"));
    let exact = plan(1, &["run.max_lateness=0s".to_owned()], &Calibration::default());
    assert!(play(&exact).summary(&exact).trusted, "without such a calibration nothing is late");
}
