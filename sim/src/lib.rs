//! The simulated world: runs a scenario on simulated hosts, under a virtual clock.
//!
//! The client, the servers, the load and the faults are `kernel`'s, and run unchanged. This crate gives them hosts,
//! sockets, time, randomness and computing, and drives them from one instant to the next. A run depends on its [`Plan`]
//! only: the same scenario, seed and calibration give the same records, byte for byte.
//!
//! turmoil provides hosts, sockets and crashes, but not time. Everything that takes time is a timer of one virtual clock,
//! and a step of turmoil takes none: the driver takes steps while anything is under way at an instant, then moves the
//! clock to the next timer. Idle time costs nothing, and times are exact to the nanosecond.
//!
//! # What it does not do
//!
//! * It has no requests, policies, faults or metrics of its own: those are `kernel`, and the same in the real world.
//! * It does no I/O while it simulates, except to read a workload's pictures. Writing run folders is `kernel`'s,
//!   and sweep folders are written by [`sweep`].
//! * It does not model processors that tasks compete for, packets, or congestion; how long anything takes is drawn from a
//!   [`calibration`], which was measured on a real host.
//! * It never reads the host's clock, random numbers or environment: on a simulation's thread the system's clock and
//!   random numbers are replaced.
//!
//! # Map
//!
//! | module | content |
//! | --- | --- |
//! | `plan`, `run`, `completed_run`, `error` | [`Plan`], [`run()`], [`CompletedRun`], [`SimulationError`]: the input, the function and its results |
//! | `simulation` | hosts, network and clock put together, and the driver that steps them |
//! | `clock`, `virtual_time` | the virtual clock and its timers; its time as the present thread sees it |
//! | `host`, `host_id` | a host's `kernel::world::World`, and its number |
//! | `turn`, `activity` | a host's turn in a step; what keeps the driver at the present instant |
//! | `replica`, `gate` | the processes of a server: start, crash, freeze, resume |
//! | `operations` | the operations that faults are made of |
//! | `net`, `stream`, `pipe`, `delay` | the network, connections, chunks on their way, and how long they take |
//! | `compute`, `system`, [`calibration`] | results and service times; the operating system's times; where times come from |
//! | `limits` | the bounds at which a simulation is aborted |
//! | `thread`, `interpose` | a simulation's own thread, and the system clock and randomness replaced on it |
//! | [`trace`] | everything that a simulation does, for comparing two |
//! | [`sweep`] | many simulations on all cores, into one folder |
//! | [`reduction`] | minimises a scenario that fails |
//! | `canary`, `planted` | leaks planted on purpose; only with the feature `canaries` |

#[cfg(not(target_os = "linux"))]
compile_error!("`sim` replaces Linux's clock and randomness: build and run it in a Linux container or virtual machine");

// rustdoc builds nothing that runs, and does not get the flag.
#[cfg(not(any(tokio_unstable, doc)))]
compile_error!(
    "tokio's `select!` takes its branches in an order that no seed decides, unless the flag `tokio_unstable` is set. \
     The repository's `.cargo/config.toml` sets it, but cargo ignores that file in `cargo install --git` and outside \
     of the repository, and a RUSTFLAGS variable replaces it. The remedy is \
     `cargo --config 'build.rustflags=[\"--cfg\", \"tokio_unstable\"]' install …`, or RUSTFLAGS=\"--cfg tokio_unstable\""
);

mod activity;
pub mod calibration;
#[cfg(feature = "canaries")]
pub mod canary;
mod clock;
mod completed_run;
mod compute;
mod delay;
mod error;
mod gate;
mod host;
mod host_id;
mod interpose;
mod limits;
mod net;
mod operations;
mod pipe;
mod plan;
mod planted;
pub mod reduction;
mod replica;
mod run;
#[cfg(test)]
mod semantics;
mod simulation;
mod stream;
pub mod sweep;
mod system;
mod thread;
pub mod trace;
mod turn;
mod virtual_time;

pub use completed_run::CompletedRun;
pub use error::SimulationError;
pub use interpose::shift_date;
pub use limits::Limit;
pub use plan::Plan;
pub use run::{run, run_with_listener};
