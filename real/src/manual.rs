//! Manual sessions: servers, load and faults that a user starts one by one in several terminals.
//!
//! | module | contents |
//! | --- | --- |
//! | [`serve`], [`proxy`] | a server; a proxy in front of any server |
//! | [`up`], [`down`], [`list`] | servers in the background: start, end and list them |
//! | [`load`] | the resilient client under open-loop load, live on the terminal |
//! | [`inject`] | faults on running servers and proxies |
//! | [`set`], `settings_log`, `running_load` | other settings of running servers, loads and links; the file from which loads learn of them; the loads that run |
//! | `registry`, `identity`, `target` | running servers and proxies; the identity of a process; names that users give |
//! | `session`, `link_listener` | the parts that servers and proxies share; the link in front of their socket |
//! | `control`, `active_faults` | the control socket, and the faults that it adds and ends |
//! | `fault_log` | the file from which loads and lists learn of the faults that others inject |
//! | `relay` | a pair of connections that a proxy joins |
//! | `toxiproxy` | the HTTP API of toxiproxy, through which its clients steer a proxy |
//! | `log`, `request_lines` | lines for people |
//!
//! There is no supervisor: a server that crashed stays down until a user starts it again. A server in the background
//! outlives the shell that started it, and ends with `real down`.

mod active_faults;
mod control;
pub mod down;
mod fault_log;
mod identity;
pub mod inject;
mod link_listener;
pub mod list;
pub mod load;
mod log;
pub mod proxy;
mod registry;
mod relay;
mod request_lines;
mod running_load;
pub mod serve;
mod session;
pub mod set;
mod settings_log;
mod target;
mod toxiproxy;
pub mod up;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use control::{ControlRequest, ControlResponse};
use kernel::cli::print;
use registry::RegistryEntry;

/// Prints an entry of the registry on standard output, for people and scripts.
fn announce(entry: &RegistryEntry) {
    print(&format!("{}\n", entry.line()));
}
