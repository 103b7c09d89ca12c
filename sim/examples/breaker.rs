//! One policy alone: a circuit breaker in front of a service that fails for ten seconds, in virtual time.
//!
//! ```console
//! $ cargo run -p sim --example breaker
//! ```

use std::{error::Error, sync::atomic::AtomicU64, time::Duration};

use kernel::{
    policy::CircuitBreaker,
    record::{AttemptRow, Event},
    scenario::Scenario,
    time::Instant,
};
use sim::{CompletedRun, Plan};

/// A server that is right, and fails every call from 5 s to 15 s. The client does nothing but call.
const SCENARIO: &str = r#"
name = "breaker"
duration = "20s"

[servers]
replicas = 1

[workload]
kind = "backend"
failure_rate = 0.0
delay = "10ms"

[load]
rate = 20.0

[client]
passive_health = "off"
retry = { max_attempts = 1 }

[[fault]]
at = "5s"
kind = "errors"
target = "server-0"
rate = 1.0
status = "UNAVAILABLE"
duration = "10s"
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let scenario = Scenario::parse("breaker", SCENARIO, &[])?;
    let without = play(scenario.clone())?;
    let mut with = scenario;
    with.client.policies.circuit_breaker = Some(CircuitBreaker {
        consecutive_failures: Some(5),
        reset_timeout: Duration::from_secs(2),
        ..CircuitBreaker::default()
    });
    let with = play(with)?;

    println!("calls that the failing server got: {} without the breaker, {} with it", failed(&without), failed(&with));
    for row in &with.records.events {
        if matches!(row.event, Event::BreakerOpened | Event::BreakerHalfOpened | Event::BreakerClosed) {
            let name: &str = row.event.into();
            let at = Instant::START + Duration::from_micros(row.at_us);
            println!("  {at} {name} {}", row.cause.as_deref().unwrap_or_default());
        }
    }
    Ok(())
}

fn play(scenario: Scenario) -> Result<CompletedRun, Box<dyn Error>> {
    Ok(sim::run(&Plan::new(scenario, 1), &AtomicU64::new(0))?)
}

/// Returns the number of attempts that the server failed.
fn failed(run: &CompletedRun) -> usize {
    let is_failed = |row: &&AttemptRow| row.status != kernel::status::Code::Ok;
    run.records.attempts.iter().filter(is_failed).count()
}
