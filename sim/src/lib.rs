#![doc = include_str!("../README.md")]

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
mod byte_stream;
pub mod calibration;
#[cfg(feature = "canaries")]
pub mod canary;
mod chaos;
mod cli;
mod clock;
mod completed_run;
mod compute;
mod delay;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gate;
pub mod guided;
mod hold;
mod host;
mod host_id;
mod interpose;
mod limits;
mod machine;
mod metrics;
mod misuse;
mod moments;
mod net;
mod operations;
mod pipe;
mod plan;
mod planted;
mod process;
mod processors;
pub mod reduction;
mod replica;
mod run;
#[cfg(test)]
mod semantics;
mod service_links;
mod simulation;
mod stream;
pub mod sweep;
mod system;
mod tasks;
mod thread;
mod tls;
pub mod trace;
mod turn;
mod virtual_time;

pub use cli::main;
pub use completed_run::{CompletedRun, RunSoFar, Stopped};
pub use error::SimulationError;
pub use hold::{hold, hold_calibrated};
pub use interpose::shift_date;
pub use kernel::{
    app::{App, BoxError, Broken, Call, Connector, Host, NoConnector, NoEdge},
    client::Channel,
    grpc::{Services, Shape},
    scenario::Scenario,
    sometimes,
};
pub use limits::{Limit, REAL_TIME_MAX};
pub use metrics::{MeasuredRun, run_measured};
pub use plan::Plan;
pub use run::{run, run_so_far, run_with_listener};
pub use thread::stop_when;

/// The repository's front page, whose Rust blocks are tests of this crate, too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct FrontPage;
