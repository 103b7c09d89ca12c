//! The speed of the simulation, as ratios to baselines that are measured in the same run of `cargo bench -p sim`.
//!
//! Each figure and its baseline take turns, and the ratio is that of the fastest rounds, so that a busy machine slows both
//! alike. A simulation runs on one thread; `sweep` and `grid` run several at a time.

#[path = "simulation/all_policies.rs"]
mod all_policies;
#[path = "simulation/duplex.rs"]
mod duplex;
#[path = "simulation/hosts.rs"]
mod hosts;
#[path = "simulation/idle.rs"]
mod idle;
#[path = "simulation/many.rs"]
mod many;
#[path = "simulation/own_runtime.rs"]
mod own_runtime;
#[path = "simulation/rounds.rs"]
mod rounds;
#[path = "simulation/turns.rs"]
mod turns;

use std::{path::Path, sync::atomic::AtomicU64, time::Duration};

use all_policies::{CACHE, OTHERS};
use kernel::{
    run_folder::{Earlier, RunFolder, RunInfo},
    scenario::Scenario,
};
use rounds::{compare, difference_of_turns, fastest, medians_of_turns};
use sim::{CompletedRun, Plan, run};

/// Policies that adapt, each by itself, as two adaptive limits exclude each other.
const ADAPTIVE: [&[&str]; 9] = [
    &["client.adaptive_throttling.multiplier=2"],
    &["client.adaptive_concurrency={ initial_limit = 1000, max_limit = 1000 }"],
    &["client.adaptive_concurrency={ algorithm = \"aimd\", initial_limit = 1000, max_limit = 1000 }"],
    &["client.adaptive_timeout={ min = \"5s\" }"],
    &["client.hedging.hedging_delay=5s", "client.adaptive_hedging={ min = \"5s\" }"],
    &["client.retry_budget.deposit=success"],
    &["servers.adaptive_queue={ newest_first = false }"],
    &["servers.adaptive_queue={ drop_late = false }"],
    &["servers.adaptive_queue=on"],
];

/// Runs the parts that are named, as in `cargo bench -p sim -- request`, or all.
fn main() {
    let parts: [(&str, fn()); 10] = [
        ("demo", demo),
        ("invariants", invariants),
        ("request", per_request),
        ("idle", idle_hour),
        ("hosts", hosts::hosts),
        ("policies", policies),
        ("own_runtime", own_runtime::own_runtime),
        ("adaptive", adaptive),
        ("sweep", many::sweep),
        ("grid", many::grid_of_variants),
    ];
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part();
        }
    }
}

/// Compares the README's scenario, with its records written, to real time and to hosts that idle on ticks of 1 ms.
fn demo() {
    let plan = plan("crash_then_freeze.toml", &[]);
    let virtual_time = plan.scenario.duration;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (ours, ticks) = compare(
        15,
        || write(&plan, &run_now(&plan), folder.path()),
        || idle::tick_for(virtual_time, plan.scenario.servers.replicas),
    );
    println!("crash_then_freeze, {} s, records written", virtual_time.as_secs());
    println!("  wall time                              {:8.1} ms", millis(ours));
    println!("  times real time                        {:8.0} x", virtual_time.as_secs_f64() / ours.as_secs_f64());
    println!("  same hosts idling on 1 ms ticks        {:8.1} ms", millis(ticks));
    println!("  times faster than that                 {:8.1} x\n", ticks.as_secs_f64() / ours.as_secs_f64());
}

/// Compares the check of the invariants to the run itself. Responses are checked during the run, which is not part of this.
fn invariants() {
    let plan = plan("crash_then_freeze.toml", &[]);
    let completed = run_now(&plan);
    let records = &completed.records;
    let rows = records.requests.len() + records.attempts.len() + records.events.len();
    let (check, simulated) = compare(15, || assert!(completed.violations(&plan).is_empty()), || drop(run_now(&plan)));
    println!("the invariants of crash_then_freeze, {rows} rows");
    println!("  wall time                              {:8.2} ms", millis(check));
    println!(
        "  of that of the run                     {:8.1} %\n",
        check.as_secs_f64() / simulated.as_secs_f64() * 100.0
    );
}

/// Compares a request through the simulated network to the same call over a pipe in memory.
fn per_request() {
    println!("wall time per request                     simulated   over duplex     ratio");
    for (size, requests) in [("16x16", 2_000), ("256x256", 1_000), ("512x512", 500)] {
        let seconds = format!("duration=\"{}s\"", requests / 5);
        let sizes = format!("workload.sizes=[\"{size}\"]");
        let plan = plan("baseline.toml", &[&seconds, &sizes, "load.rate=5", "servers.service_time_min=\"0ms\""]);
        let bench = duplex::Duplex::new(size.parse().expect("a size"));
        let (simulated, direct) = compare(9, || drop(run_now(&plan)), || bench.call(requests));
        let steps = run_now(&plan).steps as f64 / requests as f64;
        println!(
            "  {size:<36}  {:8.1} µs   {:8.1} µs  {:7.2} x   {steps:.1} steps",
            micros_each(simulated.as_secs_f64(), requests),
            micros_each(direct.as_secs_f64(), requests),
            simulated.as_secs_f64() / direct.as_secs_f64()
        );
    }
    println!();
}

/// Compares the time that all policies together add to a call to the same call over a pipe in memory.
fn policies() {
    const REQUESTS: u64 = 500;
    const TURNS: usize = 400;
    let seconds = format!("duration=\"{}s\"", REQUESTS / 10);
    let calls = [&*seconds, "workload.sizes=[\"256x256\"]"];
    let [none, others, all] = [&[][..], &OTHERS, &[&OTHERS[..], &CACHE].concat()]
        .map(|policies: &[&str]| plan("baseline.toml", &[&calls[..], policies].concat()));
    let [mut none, mut others, mut all] = [&none, &others, &all].map(|plan| move || drop(run_now(plan)));
    let duplex = duplex::Duplex::new("256x256".parse().expect("a size"));
    let figures = medians_of_turns(
        TURNS,
        [&mut none, &mut others, &mut all, &mut || duplex.call(REQUESTS)],
        |[none, others, all, bare]| [bare, all - none, (all - none) / bare * 100.0, (all - others) / bare * 100.0],
    );
    let [bare, added, share, cache] = figures;
    println!("a call with all policies on, 256x256");
    println!("  the bare call over a pipe in memory    {:8.1} µs", micros_each(bare, REQUESTS));
    println!("  added by the policies                  {:8.1} µs", micros_each(added, REQUESTS));
    println!("  of the bare call                       {share:8.1} %");
    println!("  and of that by the cache's answers     {cache:8.1} %\n");
}

/// Measures what each policy that adapts adds to a call. They decide nothing here, and note everything: a run with the policy and one without it
/// take turns, and have the same calls and attempts.
fn adaptive() {
    const REQUESTS: u64 = 1_000;
    const TURNS: usize = 250;
    // Without a service time, as calls that wait, fail or are tried again would have the policies decide.
    let calls = ["duration=\"10s\"", "load.rate=100", "workload.sizes=[\"8x8\"]", "servers.service_time_min=\"0ms\""];
    println!("what an adaptive policy adds to a call, with a 95 % interval");
    // A policy may need another one, which is in both. The first row compares equal runs.
    let each = ADAPTIVE.iter().map(|settings| {
        let (policy, others) = settings.split_last().expect("each has a policy");
        (*policy, others, *settings)
    });
    for (policy, others, settings) in [("none", &[][..], &[][..])].into_iter().chain(each) {
        let [none, one] = [others, settings].map(|policies| plan("baseline.toml", &[&calls[..], policies].concat()));
        for plan in [&none, &one] {
            let records = run_now(plan).records;
            assert!(records.requests.iter().all(|row| row.status.is_success()), "{policy}");
            assert_eq!([records.requests.len(), records.attempts.len()], [REQUESTS as usize; 2], "{policy}");
        }
        let [mut none, mut one] = [&none, &one].map(|plan| move || drop(run_now(plan)));
        let (added, [low, high]) = difference_of_turns(TURNS, [&mut none, &mut one]);
        let [added, low, high] = [added, low, high].map(|seconds| micros_each(seconds, REQUESTS));
        println!("  {policy:76} {added:6.2} µs  ({low:.2} to {high:.2})");
    }
    println!();
}

/// Measures an hour in which a call is made every 1,000 s, and otherwise nothing happens but health checks, most of them skipped.
fn idle_hour() {
    let plan = plan("baseline.toml", &["duration=\"1h\"", "load.rate=0.001", "workload.sizes=[\"16x16\"]"]);
    let wall = fastest(5, || drop(run_now(&plan)));
    println!("an hour with 4 calls                      {:8.1} ms", millis(wall));
}

fn plan(file: &str, overrides: &[&str]) -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(file);
    let overrides: Vec<_> = overrides.iter().map(ToString::to_string).collect();
    let scenario = Scenario::load(&path, &overrides).unwrap_or_else(|error| panic!("{error}"));
    Plan::new(scenario, 42)
}

fn run_now(plan: &Plan) -> CompletedRun {
    run(plan, &AtomicU64::new(0)).unwrap_or_else(|error| panic!("{error}"))
}

/// Checks the invariants and writes the run folder, as the command does.
fn write(plan: &Plan, completed: &CompletedRun, folder: &Path) {
    assert!(completed.violations(plan).is_empty());
    let Plan { scenario, seed, .. } = plan;
    let folder = RunFolder::prepare(&folder.join("run"), Earlier::Replace).unwrap_or_else(|error| panic!("{error}"));
    let written = folder.write(scenario, &RunInfo::new("sim", *seed), &completed.records, scenario.duration);
    written.unwrap_or_else(|error| panic!("{error}"));
}

/// Returns the microseconds of each of `requests` that take `seconds` together.
fn micros_each(seconds: f64, requests: u64) -> f64 {
    seconds * 1e6 / requests as f64
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
