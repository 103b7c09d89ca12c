//! Runs a scenario file under a seed, and prints the summary of the run.
//!
//! ```console
//! $ cargo run -p sim --example run_scenario -- scenarios/crash_then_freeze.toml 42
//! ```

use std::{env, error::Error, path::PathBuf, sync::atomic::AtomicU64};

use kernel::scenario::Scenario;
use sim::Plan;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let file = arguments.next().map_or_else(|| PathBuf::from("scenarios/crash_then_freeze.toml"), PathBuf::from);
    let seed = arguments.next().map_or(Ok(42), |seed| seed.to_string_lossy().parse())?;

    let plan = Plan::new(Scenario::load(&file, &[])?, seed);
    let run = sim::run(&plan, &AtomicU64::new(0))?;

    print!("{}", run.summary(&plan).render());
    for violation in run.violations(&plan) {
        println!("violated: {violation}");
    }
    Ok(())
}
