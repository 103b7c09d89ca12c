//! `real list`: lists the running servers and proxies.

use kernel::cli::{Exit, Failure};

use super::{announce, registry::Registry};

/// Prints a line for each running server and proxy.
pub fn run() -> Result<Exit, Failure> {
    let entries = Registry::for_user()?.entries()?;
    if entries.is_empty() {
        eprintln!("nothing runs; start servers with `real up 2`");
    }
    entries.iter().for_each(announce);
    Ok(Exit::Passed)
}
