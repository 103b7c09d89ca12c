//! `real list`: lists the running servers and proxies.

use kernel::cli::{Exit, Failure};

use super::{
    announce,
    registry::{Found, Registry},
};

/// Most lines about what is not of the registry.
const FOREIGN_SHOWN_MAX: usize = 20;

/// Prints a line for each running server and proxy, and on standard error for what is in the folder besides.
pub fn run() -> Result<Exit, Failure> {
    let Found { entries, foreign } = Registry::for_user()?.look()?;
    for other in foreign.iter().take(FOREIGN_SHOWN_MAX) {
        eprintln!("not a server, and left as it is: {}", other.clause());
    }
    if foreign.len() > FOREIGN_SHOWN_MAX {
        eprintln!("and {} more", foreign.len() - FOREIGN_SHOWN_MAX);
    }
    if entries.is_empty() {
        eprintln!("nothing runs; start servers with `real up 2`");
    }
    entries.iter().for_each(announce);
    Ok(Exit::Passed)
}
