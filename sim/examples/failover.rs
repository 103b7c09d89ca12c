//! Asserts that the client fails over to the other server, as a test of a service would.
//!
//! ```console
//! $ cargo run -p sim --example failover
//! ```

use std::{error::Error, sync::atomic::AtomicU64};

use kernel::{
    scenario::Scenario,
    status::{Code, Outcome},
};
use sim::Plan;

const SCENARIO: &str = r#"
name = "failover"
duration = "10s"

[servers]
replicas = 2

[load]
rate = 20.0

[[fault]]
at = "4s"
kind = "crash"
target = "server-0"
"#;

/// The crash, in microseconds of virtual time.
const CRASH_US: u64 = 4_000_000;

/// A second after the crash, by which the client must have failed over.
const SETTLED_US: u64 = CRASH_US + 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let scenario = Scenario::parse("failover.toml", SCENARIO, &[])?;
    let plan = Plan::new(scenario, 7);
    let run = sim::run(&plan, &AtomicU64::new(0))?;
    let records = &run.records;

    let failed = records.requests.iter().filter(|request| request.status != Outcome::OK).count();
    assert_eq!(failed, 0, "no request fails, as those to the crashed server are retried");

    let served_by_crashed =
        records.attempts.iter().filter(|attempt| attempt.server == "server-0" && attempt.status == Code::Ok);
    let last_us = served_by_crashed.map(|attempt| attempt.end_us).max();
    assert!(last_us.is_some_and(|last| last <= SETTLED_US), "the crashed server answers nothing later on");

    assert!(run.violations(&plan).is_empty(), "the run keeps every invariant");
    println!("{} requests, none failed", records.requests.len());
    Ok(())
}
