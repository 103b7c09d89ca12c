//! The crate's integration tests, one binary.

#![expect(clippy::unwrap_used, reason = "what a test helper unwraps, the test asserts")]

mod bounds;
mod dashboard;
mod generated;
mod messages;
mod peer_cases;
mod recorded;
mod round_trip;
mod run_folders;
mod schema;
mod service_config;
mod trace;
