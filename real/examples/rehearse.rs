//! Plays a scenario on real processes from code, and prints the summary of the run and the first lines of a process's log.
//!
//! ```console
//! $ cargo run -p real --example rehearse
//! ```

use std::{error::Error, fs};

use kernel::{
    measure::{RunLabel, RunRows, Summary},
    scenario::Scenario,
};
use real::{Plan, View, role::Role};

const SCENARIO: &str = r#"
name = "restart"
duration = "4s"

[servers]
replicas = 2

[load]
rate = 20.0

[[fault]]
at = "1s"
kind = "crash"
target = "server-0"
restart_after = "1s"

[[expect]]
metric = "success_rate"
min = 0.9
"#;

/// The number of lines of the log that are printed.
const LOG_LINES: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    // The servers and the load are processes of this same program: `play` starts it with a role on its command line.
    if let Some(role) = Role::from_command_line() {
        return Ok(role.play()?);
    }

    let scenario = Scenario::parse("restart.toml", SCENARIO, &[])?;
    let logs = tempfile::tempdir()?;
    let plan = Plan { scenario, seed: 7, logs: logs.path().to_owned(), view: View::Lines };
    let played = real::play(&plan)?;

    let rows = RunRows::new(plan.scenario.servers.replicas, played.duration, &played.records);
    let label = RunLabel { scenario: &plan.scenario.name, seed: plan.seed, world: "real" };
    let summary = Summary::compute(label, &rows, &plan.scenario.expectations);
    print!("{}", summary.render());

    println!("\nthe log of server-0:");
    for line in fs::read_to_string(logs.path().join("server-0.log"))?.lines().take(LOG_LINES) {
        println!("  {line}");
    }
    Ok(())
}
