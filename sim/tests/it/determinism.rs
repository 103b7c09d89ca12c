//! The same scenario and seed give the same bytes, whatever else differs between two runs.

mod comparison;

use std::{
    fs, hint,
    path::Path,
    sync::{atomic::AtomicU64, mpsc},
    thread,
};

use kernel::run_folder::sha256;
use sim::{CompletedRun, Plan, calibration::Calibration};
use tempfile::TempDir;

use self::comparison::assert_same;
use crate::{
    command::{Ended, scenario, sim},
    simulated,
};

/// Runs `file` twice, in processes that have as little in common as can be arranged, and compares all that they write.
fn assert_repeats(file: &Path, seed: u64) {
    let what = format!("{} with seed {seed}", file.file_stem().unwrap().display());
    let plain = TempDir::new().unwrap();
    let other = TempDir::new().unwrap();
    let deeper = other.path().join("a folder/with a longer name");
    fs::create_dir_all(&deeper).unwrap();

    let first = Ended::after(sim(plain.path()).arg(file).args(["--seed", &seed.to_string()]).env_clear());
    // The sizes of the paddings move the stack; malloc uses one arena and fills the memory that it returns; threads get
    // larger stacks.
    let second = under_load(|| {
        let mut command = sim(&deeper);
        command.arg(file).args(["--seed", &seed.to_string()]);
        command
            .envs((0..=seed % 7).map(|n| (format!("PADDING_{n}"), "x".repeat(1 + (seed * 7_919 % 30_011) as usize))));
        command.envs([("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full"), ("RUST_MIN_STACK", "16777216")]);
        command.envs([("LANG", "de_DE.UTF-8"), ("LC_ALL", "tr_TR.UTF-8"), ("TZ", "Pacific/Chatham")]);
        command.envs([("MALLOC_ARENA_MAX", "1"), ("MALLOC_PERTURB_", "165"), ("MALLOC_TOP_PAD_", "1048576")]);
        Ended::after(command.env("HOME", &deeper))
    });
    assert!(matches!(first.code, Some(0 | 1)), "{what} was not run: {first:?}");
    assert_same(plain.path(), &deeper, &what);
    assert_eq!(first, second, "{what}: the output differs");
}

/// Keeps a core busy while `work` is done.
fn under_load<T>(work: impl FnOnce() -> T) -> T {
    let (busy, done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while done.try_recv() == Err(mpsc::TryRecvError::Empty) {
                hint::spin_loop();
            }
        });
        let _busy = busy;
        work()
    })
}

#[test]
fn every_scenario_repeats_byte_for_byte_in_another_process() {
    let files = simulated::files();
    for seed in 0..files.len().max(20) {
        assert_repeats(&files[seed % files.len()], seed as u64);
    }
}

/// Takes minutes. Run it after a change to the driver or the network:
/// `cargo test -p sim --test it -- --ignored every_scenario_repeats_with_every_seed`
#[test]
#[ignore = "takes minutes"]
fn every_scenario_repeats_with_every_seed() {
    for file in simulated::files() {
        for seed in 100..120 {
            assert_repeats(&file, seed);
        }
    }
}

fn plan(name: &str, seed: u64) -> Plan {
    Plan {
        scenario: simulated::scenario(name),
        seed,
        branches: Vec::new(),
        calibration: Calibration::default(),
        app: None,
    }
}

fn run(plan: &Plan) -> CompletedRun {
    sim::run(plan, &AtomicU64::new(0)).unwrap()
}

#[track_caller]
fn assert_same_run(left: &CompletedRun, right: &CompletedRun) {
    // `assert_eq!` would print every record of both.
    assert!(left.records.requests == right.records.requests, "the requests differ");
    assert!(left.records.attempts == right.records.attempts, "the attempts differ");
    assert!(left.records.events == right.records.events, "the events differ");
    assert_eq!((left.steps, left.instants), (right.steps, right.instants));
}

#[test]
fn simulations_on_several_threads_do_not_affect_each_other() {
    let plans = [plan("crash_then_freeze", 1), plan("crash_then_freeze", 2)];
    let alone = plans.each_ref().map(run);
    let together =
        thread::scope(|scope| plans.each_ref().map(|plan| scope.spawn(|| run(plan))).map(|p| p.join().unwrap()));
    assert_same_run(&alone[0], &together[0]);
    assert_same_run(&alone[1], &together[1]);
}

#[test]
fn a_simulation_is_not_affected_by_those_before_it() {
    let plan_again = plan("crash_then_freeze", 3);
    let first = run(&plan_again);
    thread::scope(|scope| {
        scope.spawn(|| run(&plan("crash_then_freeze", 4)));
        scope.spawn(|| run(&plan("crash_then_freeze", 5)));
    });
    // It runs again on this thread, and then on a thread that has run another one.
    assert_same_run(&first, &run(&plan_again));
    let after_another = thread::scope(|scope| {
        let runs = scope.spawn(|| {
            run(&plan("crash_then_freeze", 6));
            run(&plan_again)
        });
        runs.join().unwrap()
    });
    assert_same_run(&first, &after_another);
}

#[test]
fn another_seed_is_another_run() {
    let folder = TempDir::new().unwrap();
    let digests: std::collections::BTreeSet<_> = (0..5)
        .map(|seed| {
            let mut command = sim(folder.path());
            let ended = Ended::after(command.arg(scenario("crash_then_freeze")).args(["--seed", &seed.to_string()]));
            ended.reported("digest").to_owned()
        })
        .collect();
    assert_eq!(digests.len(), 5);
}

#[test]
fn the_digest_is_the_sha_256_of_the_records() {
    let folder = TempDir::new().unwrap();
    let ended = Ended::after(sim(folder.path()).arg(scenario("crash_then_freeze")).args(["--out", "run"]));
    let content = ["requests.jsonl", "attempts.jsonl", "events.jsonl"]
        .map(|file| fs::read(folder.path().join("run").join(file)).unwrap())
        .concat();
    assert_eq!(ended.reported("digest"), sha256(&content));
}
