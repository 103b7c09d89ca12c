#![doc = include_str!("../README.md")]

#[cfg(not(target_os = "linux"))]
compile_error!("`real` runs and signals Linux processes: build and run it in a Linux container or virtual machine");

mod accept;
mod alert_rules;
mod app;
mod asked;
mod authority;
pub mod calibrate;
mod caller;
mod cli;
mod clock;
mod collector;
pub mod diagnostics;
pub mod doctor;
pub mod events;
mod export;
pub mod facts;
pub mod fidelity;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod generator;
mod hold;
mod host;
mod http;
mod interrupt;
mod live;
mod location;
pub mod manual;
mod message;
mod operations;
mod option;
mod outbox;
mod process;
mod recording;
mod rehearsal;
mod remote;
mod replica;
pub mod role;
mod store;
mod tcp;
mod timer;
mod tls;
pub mod token;

pub use cli::main;
pub use hold::hold;
pub use host::{listening_world, world};
pub use kernel::{
    app::{App, BoxError, Broken, Call, Connector, Host, NoConnector, NoEdge},
    client::Channel,
    grpc::{Services, Shape},
    scenario::Scenario,
};
pub use live::View;
pub use rehearsal::{Plan, Played, RehearsalError, play};
pub use store::StoreFailed;
