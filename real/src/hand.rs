//! By hand, for demonstrations in several terminals: each command starts, steers or ends processes of its own.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`serve`], [`proxy`] | a server; a proxy in front of any server |
//! | [`up`], [`down`], [`list`] | servers in the background: start them, end them, see what runs |
//! | [`load`] | the resilient client under open-loop load, live on the terminal |
//! | [`inject`] | faults on what runs |
//! | `registry`, `identity`, `target` | what runs, which process that is, and what the user calls it |
//! | `station`, `door`, `control` | what can be found and steered; the link at its entrance; orders to that link |
//! | `relay` | two connections made one |
//! | `log`, `lines` | what there is to see |
//!
//! Nobody supervises: what is crashed stays down until somebody starts it again. A server in the background outlives the
//! shell that started it, and is ended with `real down`.

mod control;
mod door;
pub mod down;
mod identity;
pub mod inject;
mod lines;
pub mod list;
pub mod load;
mod log;
pub mod proxy;
mod registry;
mod relay;
pub mod serve;
mod station;
mod target;
pub mod up;

use std::io::{self, Write};

use registry::Entry;

/// Says on standard output what runs where, for people and scripts.
fn announce(entry: &Entry) {
    // Whoever reads may have read enough.
    let _ = writeln!(io::stdout(), "{}", entry.line());
}
