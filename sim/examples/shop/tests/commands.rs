//! The commands of the shop's program in the simulation.

use std::{path::Path, process::Command};

/// Runs `shop-sim` in a folder of its own, and returns its exit code and what it prints.
fn run(name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    run_program(env!("CARGO_BIN_EXE_shop-sim"), name, arguments)
}

fn run_program(program: &str, name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("it can be created");
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/crash.toml");
    let scenario = scenario.to_string_lossy();
    let words = arguments.iter().map(|word| word.replace("SCENARIO", &scenario));
    let ended = Command::new(program).args(words).current_dir(folder).output();
    let ended = ended.expect("it can be started");
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn ends_with(code: i32, name: &str, arguments: &[&str], text: &str) {
    let (ended, said) = run(name, arguments);
    assert!(ended == Some(code) && said.contains(text), "{arguments:?} ended with {ended:?}: {said}");
}

#[test]
fn every_command_plays_the_app() {
    ends_with(0, "run", &["SCENARIO", "--seed", "1"], "shop-sim");
    ends_with(1, "many", &["SCENARIO", "--seeds", "0..3", "--vary", "client.retry.max_attempts=1,3"], "3");
    ends_with(0, "hunt", &["hunt", "SCENARIO", "--runs", "3", "--invariants"], "no failure in 3 runs");
    ends_with(0, "verify", &["verify", "SCENARIO", "--seeds", "0..2"], "SAME  2 pairs");
    let shrink =
        ["shrink", "SCENARIO", "--set", "client.retry.max_attempts=1", "--seed", "0", "--keep", "load,duration"];
    ends_with(0, "shrink", &shrink, "SHRUNK");
    let tip = ["tip", "SCENARIO", "--along", "servers.workers=1..4", "--samples", "2", "--runs", "3"];
    let (ended, said) = run("tip", &tip);
    assert!([Some(0), Some(2)].contains(&ended), "{said}");
    assert!(said.contains("servers.workers"), "{said}");
}

#[test]
fn an_app_that_is_written_with_tokio_repeats() {
    let (ended, said) =
        run_program(env!("CARGO_BIN_EXE_depot-sim"), "depot", &["verify", "SCENARIO", "--seeds", "0..6"]);
    assert!(ended == Some(0) && said.contains("SAME  6 pairs"), "{said}");
}

#[test]
fn a_client_stack_of_the_loads_own_repeats() {
    let (ended, said) =
        run_program(env!("CARGO_BIN_EXE_stack-sim"), "stack", &["verify", "SCENARIO", "--seeds", "0..20"]);
    assert!(ended == Some(0) && said.contains("SAME  20 pairs"), "{said}");
}
