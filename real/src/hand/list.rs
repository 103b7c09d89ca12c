//! `real list`: what runs.

use kernel::cli::{Exit, Failure};

use super::{announce, registry::Registry};

/// Prints a line for each server and proxy.
pub fn run() -> Result<Exit, Failure> {
    let entries = Registry::of_user()?.entries()?;
    if entries.is_empty() {
        eprintln!("nothing runs; start servers with `real up 2`");
    }
    entries.iter().for_each(announce);
    Ok(Exit::Passed)
}
