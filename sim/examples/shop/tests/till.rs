//! Two services, of which one calls the other: faults between them, and what the policies of their edge make of them.

#[path = "../src/till.rs"]
mod till;

use std::sync::atomic::AtomicU64;

use sim::{App, CompletedRun, Plan, Scenario};

type Tested = Result<(), Box<dyn std::error::Error>>;

/// The number of seeds of each scenario.
const SEEDS: u64 = 20;

fn scenario(settings: &[&str]) -> Scenario {
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    Scenario::load("scenarios/checkout.toml".as_ref(), &settings).expect("it is a scenario")
}

fn fault(text: &str) -> String {
    format!("fault=[{{ at = \"2s\", {text} }}]")
}

#[test]
fn a_crash_of_the_stock_costs_no_order() -> Tested {
    let scenario = scenario(&["name=\"till_crash\""]);
    sim::hold(&scenario, &till::app(), 0..SEEDS)?;
    Ok(real::hold(&scenario, env!("CARGO_BIN_EXE_till-real").as_ref(), 0)?)
}

#[test]
fn a_partition_a_freeze_and_a_restart_of_the_stock_cost_no_order() -> Tested {
    for (name, text) in [
        ("partition", "kind = \"partition\", target = \"stock-0\", duration = \"1s\""),
        ("freeze", "kind = \"freeze\", target = \"stock-2\", duration = \"1s\""),
        ("drain", "kind = \"drain\", target = \"stock-1\", restart_after = \"1s\""),
    ] {
        sim::hold(&scenario(&[&format!("name=\"till_{name}\""), &fault(text)]), &till::app(), 0..SEEDS)?;
    }
    Ok(())
}

#[test]
fn a_crash_of_a_till_costs_no_order() -> Tested {
    let crash = fault("kind = \"crash\", target = \"till-0\", restart_after = \"1s\"");
    Ok(sim::hold(&scenario(&["name=\"till_own\"", &crash]), &till::app(), 0..SEEDS)?)
}

/// Plays the scenario with these settings twice, which gives the same run.
fn play(app: App, settings: &[&str]) -> CompletedRun {
    let plan = Plan { app: Some(app), ..Plan::new(scenario(settings), 1) };
    let run = sim::run(&plan, &AtomicU64::new(0)).expect("it comes to its end");
    assert_eq!(run.violations(&plan), []);
    assert!(run == sim::run(&plan, &AtomicU64::new(0)).expect("it comes to its end"), "equal plans give equal runs");
    run
}

#[test]
fn the_record_says_what_the_till_asked_of_the_stock() {
    let run = play(till::app(), &[]);
    assert_eq!((run.records.requests.len(), run.records.calls.len()), (300, 300));
    assert!(run.records.calls.iter().all(|row| row.status.name() == "OK"));
    let edges = run.summary(&Plan::new(scenario(&[]), 1)).edges;
    let edge = &edges[0];
    assert_eq!((edges.len(), &*edge.from, &*edge.to, edge.calls), (1, "till", "stock", 300));
    assert!(edge.attempts >= 300 && edge.latency_p50_s > Some(0.007), "5 ms of the stock, and 1 ms each way: {edge:?}");
}

/// The README of `sim` shows what a run of this scenario prints.
#[test]
fn the_readme_shows_what_a_run_prints() -> Tested {
    let plan = Plan { app: Some(till::app()), ..Plan::new(scenario(&[]), 42) };
    let printed = sim::run(&plan, &AtomicU64::new(0))?.summary(&plan).render();
    let readme = std::fs::read_to_string("../../README.md")?;
    assert!(readme.contains(&format!("```text\n{printed}```")), "{printed}");
    Ok(())
}

#[test]
fn a_stack_of_the_service_has_no_policies_of_the_edge() {
    // It is connected to one replica, and a call that meets the crash fails.
    let crash = fault("kind = \"crash\", target = \"stock-0\", restart_after = \"1s\"");
    let run = play(till::app_with_transport(), &[&crash, "client.retry.max_attempts=1", "expect=[]"]);
    let failed = run.records.requests.iter().filter(|row| row.status.name() != "OK").count();
    assert!((30..=60).contains(&failed), "a second of 50 orders: {failed}");
    assert!(run.records.calls.is_empty(), "they have no rows");
    // Those of the stock name the request of each, and the call.
    let finished = run.records.events.iter().filter(|row| &*row.source == "stock-0" && row.call.is_some());
    assert!(finished.filter(|row| row.request.is_some()).count() > 200);
}
