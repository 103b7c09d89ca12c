//! Planted bugs violate an invariant, whatever the scenario expects, and the command reports it.

use std::{fs, path::Path};

use clap::ValueEnum;
use kernel::{bug::Bug, invariant::Invariant, policy::Policies, scenario::Scenario};
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ended, sim};

const SCENARIO: &str = r#"name = "story"
duration = "20s"

[servers]
service_time_min = "20ms"

[workload]
sizes = ["8x8"]

[load]
rate = 20.0

[client]
attempt_timeout = "500ms"

[client.health_check]
interval = "1s"
timeout = "300ms"

[[fault]]
at = "5s"
kind = "crash"
target = "server-0"
restart_after = "1s"

[[fault]]
at = "10s"
kind = "freeze"
target = "server-1"
duration = "2s"
"#;

/// Returns the invariant that each bug violates, and the settings under which it does.
fn breaks(bug: Bug) -> (Invariant, &'static [&'static str]) {
    const EJECTED_AT_ONCE: &str = "client.outlier_detection={ consecutive_errors = 1, interval = \"1s\" }";
    const BREAKER: &str =
        "client.circuit_breaker={ scope = \"server\", consecutive_failures = 2, reset_timeout = \"5s\" }";
    match bug {
        Bug::AttemptTooMany => (Invariant::WithinLimits, &["client.retry.max_attempts=1"]),
        Bug::ShortBackoff => (Invariant::WithinLimits, &["client.retry.initial_backoff=200ms"]),
        Bug::ForgottenDeadline => (Invariant::DeadlinesHold, &["client.deadline=300ms"]),
        Bug::LeakyBreaker => (Invariant::WithinLimits, &[BREAKER]),
        Bug::HastyBreaker => (Invariant::ValidStateTransitions, &[BREAKER]),
        Bug::ManyProbes => (
            Invariant::WithinLimits,
            &[
                BREAKER,
                "client.circuit_breaker.reset_timeout=500ms",
                "client.circuit_breaker.permitted_calls_in_half_open=1",
                "fault.1.target=[\"server-0\", \"server-1\"]",
            ],
        ),
        Bug::WideBulkhead => (Invariant::WithinLimits, &["client.bulkhead.max_concurrent_calls=1"]),
        Bug::WideBucket => {
            (Invariant::WithinLimits, &["client.rate_limit={ limit = 5, burst = 1, max_wait = \"0s\" }"])
        }
        Bug::DeafThrottle => (Invariant::WithinLimits, &["client.retry_throttling={ max_tokens = 1.0 }"]),
        Bug::LargeBudget => {
            (Invariant::WithinLimits, &["client.retry_budget={ percent = 0.0, min_retry_concurrency = 0 }"])
        }
        Bug::EarlyHedge => (Invariant::WithinLimits, &["client.hedging=100ms"]),
        Bug::OldAnswers => (Invariant::WithinLimits, &["client.cache={ ttl = \"100ms\" }"]),
        Bug::ManyEjections => (Invariant::WithinLimits, &[EJECTED_AT_ONCE]),
        Bug::ShortEjection => (Invariant::ValidStateTransitions, &[EJECTED_AT_ONCE]),
        Bug::BlindBalancer => (Invariant::PicksBestServer, &[EJECTED_AT_ONCE]),
        Bug::CallTooMany => (Invariant::WithinLimits, &["load.max_in_flight=1"]),
        Bug::ShortFault => (Invariant::FaultsFollowSchedule, &[]),
        Bug::LeakyCut => (Invariant::PartitionHolds, &["fault.1.kind=partition"]),
        Bug::Grudge => (Invariant::HealthConverges, &["duration=50s"]),
        Bug::UncountedFailover | Bug::WrongServer | Bug::TwiceDone => {
            (Invariant::ConsistentLog, &["load.arrivals=poisson"])
        }
        Bug::WrongAnswer => (Invariant::CorrectResult, &["load.arrivals=poisson"]),
    }
}

/// Returns the settings as `--set` arguments.
fn set(settings: &[&'static str]) -> Vec<&'static str> {
    settings.iter().flat_map(|setting| ["--set", setting]).collect()
}

fn run(folder: &TempDir, arguments: &[&str]) -> Ended {
    Ended::after(sim(folder.path()).args(arguments))
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("story.toml"), SCENARIO).unwrap();
    folder
}

fn name(bug: Bug) -> String {
    bug.to_possible_value().unwrap().get_name().to_owned()
}

#[test]
fn every_bug_violates_its_invariant_and_ends_in_4() {
    let folder = folder();
    for bug in Bug::value_variants() {
        let (invariant, settings) = breaks(*bug);
        let arguments = [&["story.toml"][..], &set(settings)].concat();
        let without = run(&folder, &arguments);
        assert_eq!((without.code, &*without.stderr), (Some(0), ""), "{without:?}");
        let with = run(&folder, &[&arguments[..], &["--bug", &name(*bug)]].concat());
        assert_eq!((with.code, &*with.stderr), (Some(4), ""), "{bug:?} was not found: {with:?}");
        let expected = format!(
            "\n  An invariant is broken (seed 0): a bug of this program, not of the scenario.\n  ✗ \"{invariant}\""
        );
        assert!(with.stdout.contains(&expected), "{with:?}");
    }
}

/// Calls may wait for a connection there, but a retry asks for its permit before that.
#[test]
fn limits_of_retries_are_checked_where_the_choice_of_a_server_follows_its_connection() {
    let folder = folder();
    for bug in [Bug::DeafThrottle, Bug::LargeBudget] {
        let (invariant, settings) = breaks(bug);
        for selection in ["client.server_selection=connection_state", "client.wait_for_ready=true"] {
            let arguments = [&["story.toml", "--set", selection][..], &set(settings)].concat();
            let without = run(&folder, &arguments);
            assert_eq!((without.code, &*without.stderr), (Some(0), ""), "{without:?}");
            let with = run(&folder, &[&arguments[..], &["--bug", &name(bug)]].concat());
            assert_eq!(with.code, Some(4), "{bug:?} was not found with {selection}: {with:?}");
            assert!(with.stdout.contains(&format!("\"{invariant}\"")), "{with:?}");
        }
    }
}

/// The corpus has the bugs that were found, and those that are planted.
#[test]
fn every_bug_has_its_scenario_in_the_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for bug in Bug::value_variants() {
        let name = name(*bug);
        let file = format!("scenarios/corpus/{}.toml", name.replace('-', "_"));
        let text = fs::read_to_string(root.join(&file)).unwrap();
        let command = format!("{file} --seed 0 --bug {name}");
        assert!(text.contains(&format!("# cargo run -p sim --features canaries -- {command}\n")), "{text}");
        let arguments: Vec<_> = command.split(' ').collect();
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("run");
        let broken = Ended::after(sim(&root).args(arguments).arg("--out").arg(out));
        let (invariant, _) = breaks(*bug);
        assert_eq!(broken.code, Some(4), "{broken:?}");
        assert!(broken.stdout.contains(&format!("✗ \"{invariant}\"")), "{broken:?}");
    }
}

/// A minimal scenario has hardly a fault, and a request or two. With `--nocapture` the test prints each.
#[test]
fn a_scenario_that_shows_a_bug_shrinks_to_one_that_still_shows_it() {
    let folder = folder();
    for bug in Bug::value_variants() {
        let (invariant, settings) = breaks(*bug);
        let settings = set(settings);
        let name = name(*bug);
        let arguments = [&["shrink", "story.toml", "--out", "small.toml", "--bug", &name][..], &settings].concat();
        let shrunk = run(&folder, &arguments);
        let expected = format!("SHRUNK  story (sim, seed 0): the invariant \"{invariant}\" is broken\n");
        assert!(shrunk.code == Some(0) && shrunk.stdout.starts_with(&expected), "{shrunk:?}");
        let small = Scenario::load(&folder.path().join("small.toml"), &[]).unwrap();
        let targets: Vec<_> = small.faults.iter().map(|fault| fault.targets.len()).collect();
        // Two servers have to fail for one ejection too many. For a probe too many one would do, with more requests: each
        // step on the way there ends the failure.
        let most = if matches!(bug, Bug::ManyEjections | Bug::ManyProbes) { 2 } else { 1 };
        assert!(targets.len() <= most && targets.iter().all(|targets| *targets <= most), "{shrunk:?}");
        let with = run(&folder, &["small.toml", "--bug", &name]);
        assert_eq!(with.code, Some(4), "{with:?}");
        // Its one call may fail, which is no success and breaks no invariant.
        let without = run(&folder, &["small.toml"]);
        assert!(matches!(without.code, Some(0 | 1)), "the bug, and nothing else, breaks it: {without:?}");
        println!("{}", shrunk.stdout);
    }
}

/// The drawn settings are printed and written to the file, which shrinks to the policy with the bug.
#[test]
fn a_hunt_among_policies_finds_a_bug_and_the_policy_that_has_it() {
    let folder = folder();
    let bug = ["--bug", "wide-bulkhead"];
    let arguments = ["hunt", "story.toml", "--policies", "--runs", "60", "--for", "10m", "--jobs", "1"];
    let found = run(&folder, &[&arguments[..], &bug].concat());
    assert_eq!(found.code, Some(4), "{found:?}");
    assert!(found.stdout.contains("\n  client.bulkhead={"), "{found:?}");
    let scenario = Scenario::load(&folder.path().join(found.reported("scenario")), &[]).unwrap();
    assert!(scenario.nemesis.is_none() && scenario.client.policies.bulkhead.is_some());
    let shrink = format!("{} --out small.toml {}", found.reported("shrink"), bug.join(" "));
    let shrunk = Ended::printed(folder.path(), &shrink);
    let small = Scenario::load(&folder.path().join("small.toml"), &[]).unwrap();
    let Policies { bulkhead, cache, circuit_breaker, rate_limit, outlier_detection, .. } = small.client.policies;
    assert!(bulkhead.is_some(), "{shrunk:?}");
    assert_eq!((cache, circuit_breaker, rate_limit, outlier_detection), (None, None, None, None), "{shrunk:?}");
    assert_eq!(run(&folder, &["small.toml"]).code, Some(0));
}

#[test]
fn a_bug_is_reported_as_json_and_for_every_seed_of_a_sweep() {
    let folder = folder();
    let bug = ["--bug", "wrong-answer"];
    let json = run(&folder, &[&["story.toml", "--json"][..], &bug].concat());
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    // A wrong result fails the run, too; the broken invariant decides the exit code.
    assert_eq!((json.code, &report["pass"]), (Some(4), &Value::Bool(false)));
    let broken = &report["broken_invariants"][0];
    assert_eq!(broken["invariant"], "right_result");
    assert!(broken["request"].is_u64() && broken["at_us"].is_u64() && broken["what"].is_string(), "{broken}");
    let sweep = run(&folder, &[&["story.toml", "--seeds", "0..3"][..], &bug].concat());
    assert_eq!(sweep.code, Some(4), "{sweep:?}");
    assert!(sweep.stdout.contains("3 of 3 runs break an invariant"), "{sweep:?}");
}
