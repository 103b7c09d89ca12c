//! Faults at one instant have the same effect in both worlds.

use std::{collections::BTreeMap, fs, sync::atomic::AtomicU64};

use kernel::{
    record::{Event, Records},
    scenario::Scenario,
};

use crate::child::{self, Run};

const SEED: u64 = 7;

/// Every fault is over by three seconds, so that a busy machine has time to start the processes again.
const STAGE: &str = r#"
name = "ties"
duration = "6s"
[servers]
replicas = 3
[workload]
sizes = ["8x8"]
[load]
rate = 10
[client]
deadline = "1s"
"#;

/// Faults as the server, the start, and the rest of the table.
type Faults = &'static [(&'static str, &'static str, &'static str)];

const FREEZE: &str = "kind = 'freeze', duration = '500ms'";
const CRASH: &str = "kind = 'crash', restart_after = '0s'";

/// A crash and a freeze in both orders, and faults that follow each other without a gap.
const EQUAL_STARTS: Faults = &[
    ("server-0", "1s", CRASH),
    ("server-0", "1s", FREEZE),
    ("server-1", "1s", FREEZE),
    ("server-1", "1s", CRASH),
    ("server-2", "1500ms", FREEZE),
    ("server-2", "1s", FREEZE),
    ("server-2", "0s", "kind = 'freeze', duration = '1s'"),
    ("server-2", "2s", "kind = 'errors', rate = 1.0, duration = '1ns'"),
    ("server-2", "2s", "kind = 'partition', duration = '1ns'"),
    ("server-2", "2s", "kind = 'reset'"),
    ("server-0", "6s", CRASH),
];

/// Faults on servers that are down or start at that instant.
const DOWN_AND_STARTING: Faults = &[
    ("server-0", "2s", FREEZE),
    ("server-0", "1s", "kind = 'crash', restart_after = '1s'"),
    ("server-1", "0s", "kind = 'crash', restart_after = '500ms'"),
    ("server-1", "500ms", CRASH),
    ("server-1", "500ms", "kind = 'slow', factor = 3, duration = '1s'"),
    ("server-2", "1s", "kind = 'crash'"),
    ("server-2", "1s", CRASH),
    ("server-2", "1s", FREEZE),
    ("server-2", "1s", "kind = 'errors', rate = 1.0, duration = '1s'"),
    ("server-2", "1s", "kind = 'delay', latency = '5ms', duration = '1s'"),
    ("server-2", "2s", FREEZE),
];

fn text(faults: Faults) -> String {
    let faults = faults.iter().map(|(server, at, rest)| format!("{{ target = '{server}', at = '{at}', {rest} }}"));
    format!("fault = [{}]\n{STAGE}", faults.collect::<Vec<_>>().join(", "))
}

/// What was recorded of each fault, by its index, without times.
fn outcomes(records: &Records) -> BTreeMap<usize, Vec<Event>> {
    let mut outcomes: BTreeMap<usize, Vec<Event>> = BTreeMap::new();
    for row in &records.events {
        if let Some(fault) = row.fault {
            outcomes.entry(fault).or_default().push(row.event);
        }
    }
    outcomes
}

fn simulated(text: &str) -> Records {
    let scenario = Scenario::parse("ties.toml", text, &[]).unwrap_or_else(|error| panic!("{error}"));
    let plan = sim::Plan::new(scenario, SEED);
    sim::run(&plan, &AtomicU64::new(0)).unwrap_or_else(|error| panic!("{error}")).records
}

fn real(text: &str) -> Records {
    let directory = tempfile::tempdir().expect("there is room for a folder");
    let (scenario, out) = (directory.path().join("ties.toml"), directory.path().join("run"));
    fs::write(&scenario, text).expect("there is room for a file");
    let (status, said) = Run::start(&scenario, SEED, &out).end();
    assert!(status.success(), "{status}: {said}");
    child::records(&out)
}

/// Plays the faults in both worlds. Returns what became of each.
fn play(faults: Faults) -> BTreeMap<usize, Vec<Event>> {
    let text = text(faults);
    let found = outcomes(&simulated(&text));
    assert_eq!(outcomes(&real(&text)), found, "real, and simulated");
    found
}

#[test]
fn faults_that_start_at_one_instant_have_the_same_effect_in_both_worlds() {
    use Event::{FaultEnd, FaultStart, NoEffect, Restart};
    let found = play(EQUAL_STARTS);
    assert_eq!(found[&0], [FaultStart, Restart, FaultEnd]);
    assert_eq!(found[&1], [FaultStart, NoEffect, FaultEnd], "the process was killed before");
    assert_eq!(found[&2], [FaultStart, FaultEnd]);
    assert_eq!(found[&3], [FaultStart, Restart, FaultEnd]);
    assert!((4..10).all(|fault| found[&fault] == [FaultStart, FaultEnd]), "{found:?}");
    assert_eq!(found.get(&10), None, "the run ends before");
}

#[test]
fn faults_on_servers_that_are_down_or_starting_have_the_same_effect_in_both_worlds() {
    use Event::{FaultEnd, FaultStart, NoEffect, Restart};
    let found = play(DOWN_AND_STARTING);
    assert_eq!(found[&0], [FaultStart, FaultEnd], "the server is started first");
    assert_eq!(found[&2], [FaultStart, Restart, NoEffect, FaultEnd], "the process that starts is killed");
    assert_eq!(found[&3], [FaultStart, Restart, FaultEnd]);
    assert_eq!(found[&5], [FaultStart, FaultEnd]);
    for fault in [4, 6, 7, 8, 10] {
        assert_eq!(found[&fault], [FaultStart, NoEffect, FaultEnd], "fault {fault}");
    }
    assert_eq!(found[&9], [FaultStart, FaultEnd], "a link has no process");
}
