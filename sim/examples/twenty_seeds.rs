//! Runs a scenario under twenty seeds, and prints for each how many requests failed.
//!
//! ```console
//! $ cargo run -p sim --example twenty_seeds -- scenarios/overload.toml
//! ```

use std::{env, error::Error, path::PathBuf, sync::atomic::AtomicU64};

use kernel::{scenario::Scenario, status::Outcome};
use sim::Plan;

fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args_os().nth(1).map_or_else(|| PathBuf::from("scenarios/overload.toml"), PathBuf::from);
    let scenario = Scenario::load(&file, &[])?;

    println!("seed  requests  failed  digest");
    for seed in 0..20 {
        let plan = Plan::new(scenario.clone(), seed);
        let records = sim::run(&plan, &AtomicU64::new(0))?.records;
        let failed = records.requests.iter().filter(|request| request.status != Outcome::OK).count();
        println!("{seed:4}  {:8}  {failed:6}  {}", records.requests.len(), records.digest());
    }
    Ok(())
}
