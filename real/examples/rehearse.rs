//! Plays a scenario on real processes from code, and prints the summary of the run and the first lines of a process's log.
//!
//! ```console
//! $ cargo run -p real --example rehearse
//! ```

use std::{error::Error, fs};

use kernel::{
    run_folder::{Earlier, RunFolder, RunInfo},
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
    let place = tempfile::tempdir()?;
    let mut folder = RunFolder::prepare(&place.path().join("run"), Earlier::Replace)?;
    let info = RunInfo::new("real", 7);
    let plan = Plan {
        scenario,
        seed: info.seed,
        branches: Vec::new(),
        logs: folder.logs()?,
        view: View::Lines,
        measures_computing: false,
        detect: None,
        allow_remote: false,
    };
    let played = real::play(&plan, &mut folder, &info)?;
    let written = folder.conclude(&plan.scenario, &info, played.end)?;
    print!("{}", written.summary.render());

    println!("\nthe log of server-0:");
    let log = written.placed.place.join("logs/server-0.log");
    for line in fs::read_to_string(log)?.lines().take(LOG_LINES) {
        println!("  {line}");
    }
    Ok(())
}
