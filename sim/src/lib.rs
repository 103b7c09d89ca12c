//! The simulated world: plays a scenario on turmoil's hosts and sockets, on a clock of its own.
//!
//! turmoil provides hosts, sockets, and crashes; time is ours. Everything that takes time is a timer of one virtual
//! clock, and turmoil's steps are rounds of turns: the driver steps while anything is under way, then moves the
//! clock to the next timer. Idle time costs nothing, and a microsecond is a microsecond.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `simulation` | [`play`]: hosts, network and clock put together, and the driver |
//! | `clock` | the virtual clock and its timers |
//! | `host` | a host's `kernel::world::World` |
//! | `replica` | the processes of a replica: crash, start, freeze, resume |
//! | `turn` | what a host does in a step, and when it goes on to the next instant by itself |
//! | `gate` | what a frozen process cannot do |
//! | `net`, `pipe`, `delay` | turmoil's sockets as the World's, and how long messages take |
//! | `compute`, `system`, [`calibration`] | results and how long they take, what the operating system takes |
//! | [`sweep`] | many simulations on all cores, into one folder |
//! | [`reduction`] | from a scenario that fails to the least one that does |
//! | [`trace`] | everything that a simulation does, for those who compare two |
//! | `canary` | leaks planted on purpose; only with the feature `canaries` |
//! | `limits` | what ends a simulation that would not end well |
//! | `operations` | what the nemesis can do |
//! | `interpose` | the operating system's clock and randomness, replaced |
//!
//! It knows nothing of requests, policies, faults or metrics: that is `kernel`, and the same in the real world.

#[cfg(not(target_os = "linux"))]
compile_error!("`sim` replaces Linux's clock and randomness: build and run it in a Linux container or virtual machine");

// rustdoc, which builds nothing that runs, does not get the flag.
#[cfg(not(any(tokio_unstable, doc)))]
compile_error!(
    "tokio's `select!` takes its branches in an order that no seed decides, unless the flag `tokio_unstable` is set. \
     The repository's `.cargo/config.toml` sets it, but cargo ignores that file in `cargo install --git` and outside \
     of the repository, and a RUSTFLAGS variable replaces it. The remedy is \
     `cargo --config 'build.rustflags=[\"--cfg\", \"tokio_unstable\"]' install …`, or RUSTFLAGS=\"--cfg tokio_unstable\""
);

pub mod calibration;
#[cfg(feature = "canaries")]
pub mod canary;
mod clock;
mod compute;
mod delay;
mod gate;
mod host;
mod interpose;
mod limits;
mod net;
mod operations;
mod pipe;
pub mod reduction;
mod replica;
#[cfg(test)]
mod semantics;
mod simulation;
pub mod sweep;
mod system;
pub mod trace;
mod turn;

pub use interpose::shift_date;
pub use limits::Limit;
pub use simulation::{Plan, Played, SimulationError, play, play_told};
