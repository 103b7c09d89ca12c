//! The crate's integration tests, one binary.

#![allow(clippy::unwrap_used, reason = "clippy knows the test functions, not what they call")]

mod adaptive;
mod app;
mod authoring;
mod backend;
mod branches;
#[cfg(feature = "canaries")]
mod bugs;
mod changes;
mod chaos;
mod command;
mod command_line;
mod corpus;
mod determinism;
mod documentation;
mod folders;
mod guided;
mod help;
mod hostile;
mod incidents;
mod kills;
mod labs;
mod many;
mod metrics;
mod pinned;

mod scenarios;
mod service_config;
mod services;
mod shop;
mod shrink;
mod simulated;
mod soundness;
mod streaming;
mod sweep_job;
mod ties;
mod tip;
mod tls;
mod variables;
mod verify;
