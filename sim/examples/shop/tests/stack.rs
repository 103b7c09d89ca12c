//! A client stack of the load's own, over the links of the scenario: its timeouts, reconnects and retries are those of production.

#[path = "../src/stack.rs"]
mod stack;

use std::{sync::atomic::AtomicU64, time::Duration};

use sim::{App, CompletedRun, Plan, Scenario};

type Tested = Result<(), Box<dyn std::error::Error>>;

/// The number of seeds of each scenario.
const SEEDS: u64 = 24;

fn scenario(name: &str, settings: &[&str]) -> Scenario {
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    Scenario::load(format!("scenarios/{name}.toml").as_ref(), &settings).expect("it is a scenario")
}

/// Plays the scenario with every seed.
fn holds(name: &str) -> Tested {
    Ok(sim::hold(&scenario(name, &[&format!("name=\"stack_{name}\"")]), &stack::app(), 0..SEEDS)?)
}

#[test]
fn a_crash_costs_no_order() -> Tested {
    holds("crash")?;
    let scenario = scenario("crash", &["name=\"stack_crash\""]);
    Ok(real::hold(&scenario, env!("CARGO_BIN_EXE_stack-real").as_ref(), 0)?)
}

#[test]
fn a_freeze_costs_no_order() -> Tested {
    holds("freeze")
}

#[test]
fn a_partition_costs_no_order() -> Tested {
    holds("partition")
}

#[test]
fn a_restart_costs_no_order() -> Tested {
    holds("drain")
}

/// Plays the scenario with this seed twice, which gives the same run.
fn play(name: &str, settings: &[&str], app: App, seed: u64) -> CompletedRun {
    let plan = Plan { app: Some(app), ..Plan::new(scenario(name, settings), seed) };
    let run = sim::run(&plan, &AtomicU64::new(0)).expect("it comes to its end");
    assert_eq!(run.violations(&plan), []);
    assert!(run == sim::run(&plan, &AtomicU64::new(0)).expect("it comes to its end"), "equal plans give equal runs");
    run
}

#[test]
fn a_stack_connects_again_when_its_server_is_back() {
    for seed in 0..3 {
        let run = play("crash", &[], stack::app(), seed);
        let rows = run.records.events.iter().filter(|row| &*row.source == "server-1" && row.request.is_some());
        let (before, after): (Vec<u64>, Vec<u64>) = rows.map(|row| row.at_us).partition(|at_us| *at_us < 2_500_000);
        // A third of 200 orders a second, for two seconds and for the three behind the restart.
        assert!(before.len() > 120 && before.iter().all(|at_us| *at_us <= 2_000_000), "{before:?}");
        assert!(after.len() > 180 && after.iter().all(|at_us| *at_us >= 3_000_000), "{after:?}");
    }
}

#[test]
fn a_layer_of_tower_gives_up_what_a_slow_link_delays() {
    let faults: Vec<String> = (0..3)
        .map(|server| format!("{{ at = \"2s\", kind = \"delay\", target = \"server-{server}\", latency = \"400ms\", duration = \"2s\" }}"))
        .collect();
    let run = play("crash", &[&format!("fault=[{}]", faults.join(", "))], stack::app(), 1);
    let requests = &run.records.requests;
    assert_eq!(requests.len(), 1_200);
    let from = |start_us, end_us| requests.iter().filter(move |row| (start_us..end_us).contains(&row.intended_us));
    let during = from(2_000_000, 2_800_000).map(|row| (row.status.name(), row.latency_us.unwrap_or_default()));
    let during: Vec<_> = during.collect();
    // Three replicas, one after the other. Each timer of tokio is late by up to a millisecond.
    let whole = u64::try_from(3 * stack::PATIENCE.as_micros()).expect("it is short");
    let is_given_up =
        |(status, latency): &&(&str, u64)| *status == "UNKNOWN" && (whole..=whole + 3_000).contains(latency);
    assert_eq!(during.iter().filter(is_given_up).count(), 160, "{during:?}");
    // The answers to the pings of keep-alive are too late, too, and the connections end.
    assert!(from(2_900_000, 3_400_000).any(|row| row.status.name() == "UNAVAILABLE"));
    assert!(from(0, 1_900_000).chain(from(4_500_000, 6_000_000)).all(|row| row.status.name() == "OK"));
}

#[test]
fn a_layer_of_tower_gives_up_a_search_in_the_process_of_the_service() {
    // The faster of two clerks takes 2 to 10 ms.
    let run = play("crash", &["fault=[]"], stack::app_with(Duration::from_millis(5)), 2);
    let aborted = run.records.requests.iter().filter(|row| row.status.name() == "UNKNOWN").count();
    let fine = run.records.requests.iter().filter(|row| row.status.name() == "OK").count();
    assert!(aborted > 20 && fine > 1_000 && aborted + fine == 1_200, "{aborted} and {fine}");
}

#[test]
fn a_stack_to_a_replica_that_there_is_not_names_those_that_there_are() {
    let app = stack::app().load_with(|host| {
        let stack = stack::stack(&host, 7)?;
        Ok(move |call| stack::order(call, [stack.clone()].into()))
    });
    let scenario = scenario("crash", &["name=\"stack_unknown\""]);
    let report = sim::hold(&scenario, &app, 0..1).expect_err("there is no such replica").to_string();
    assert!(report.contains("`stock` has 3 replica(s), numbered from 0, and none is 7"), "{report}");
}
