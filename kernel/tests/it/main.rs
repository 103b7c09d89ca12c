//! The crate's integration tests, one binary.

mod messages;
mod round_trip;
