//! The crate's integration tests, one binary.

mod play;
mod scenarios;
mod soundness;
