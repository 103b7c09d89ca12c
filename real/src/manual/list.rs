//! `real list`: lists the running servers and proxies.

use clap::Args;
use kernel::{
    cli::{Exit, Failure, print},
    json::pretty,
};
use serde::Serialize;

use super::{
    fault_log::OpenFaults,
    identity::ProcessState,
    registry::{EntryKind, Found, Registry, RegistryEntry},
};
use crate::clock::machine_ns;

/// Options of `real list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Prints the servers and proxies as JSON.
    #[arg(long)]
    json: bool,
}

/// A running server or proxy, for programs.
#[derive(Serialize)]
struct ListedProcess<'a> {
    id: &'a str,
    address: String,
    pid: u32,
    /// `server` or `proxy`.
    kind: &'static str,
    /// The address behind a proxy; null for a server.
    upstream: Option<&'a str>,
    /// True while the process is stopped by a signal.
    frozen: bool,
    faults: Vec<ListedFault<'a>>,
}

/// A fault that is active.
#[derive(Serialize)]
struct ListedFault<'a> {
    kind: &'a str,
    text: &'a str,
    /// Seconds since it began.
    active_s: f64,
}

impl<'a> ListedProcess<'a> {
    fn new(entry: &'a RegistryEntry, open: &'a OpenFaults) -> Self {
        let now_ns = machine_ns();
        let faults = open.of_process(entry).into_iter().map(|(fault, at_ns)| ListedFault {
            kind: &fault.kind,
            text: &fault.text,
            active_s: now_ns.saturating_sub(at_ns) as f64 / 1e9,
        });
        Self {
            id: &entry.id,
            address: entry.address.to_string(),
            pid: entry.process.pid,
            kind: if entry.kind == EntryKind::Server { "server" } else { "proxy" },
            upstream: match &entry.kind {
                EntryKind::Server => None,
                EntryKind::Proxy { upstream } => Some(upstream),
            },
            frozen: entry.process.state() == Some(ProcessState::Frozen),
            faults: faults.collect(),
        }
    }
}

/// Most lines about what is not of the registry.
const FOREIGN_SHOWN_MAX: usize = 20;

/// Prints a line for each running server and proxy with its active faults, and on standard error for what is in the folder besides.
pub fn run(args: &ListArgs) -> Result<Exit, Failure> {
    let registry = Registry::for_user()?;
    let Found { entries, foreign } = registry.look()?;
    let open = OpenFaults::now(registry.folder());
    let open = open.map_err(|error| Failure::run_failed(format!("cannot read the log of faults: {error}")))?;
    for other in foreign.iter().take(FOREIGN_SHOWN_MAX) {
        eprintln!("not a server, and left as it is: {}", other.clause());
    }
    if foreign.len() > FOREIGN_SHOWN_MAX {
        eprintln!("and {} more", foreign.len() - FOREIGN_SHOWN_MAX);
    }
    if entries.is_empty() {
        eprintln!("nothing runs; start servers with `real up 2`");
    }
    if args.json {
        let listed: Vec<ListedProcess<'_>> = entries.iter().map(|entry| ListedProcess::new(entry, &open)).collect();
        print(&pretty(&listed));
        return Ok(Exit::Passed);
    }
    for entry in &entries {
        let faults: Vec<&str> = open.of_process(entry).into_iter().map(|(fault, _)| fault.text.as_str()).collect();
        // That it is frozen is in its line already.
        let faults: Vec<&str> = faults.into_iter().filter(|text| *text != "freeze").collect();
        let active = if faults.is_empty() { String::new() } else { format!(", {}", faults.join(", ")) };
        print(&format!("{}{active}\n", entry.line()));
    }
    Ok(Exit::Passed)
}
