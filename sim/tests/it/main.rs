//! The crate's integration tests, one binary.

mod command;
mod determinism;
mod play;
mod scenarios;
mod soundness;
