//! The crate's integration tests, one binary.

mod command;
mod command_line;
mod determinism;
mod play;
mod scenarios;
mod soundness;
