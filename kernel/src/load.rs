//! The load generator: an open loop that follows one arrival schedule and never waits for responses.

#[cfg(feature = "service")]
mod generator;
mod schedule;
pub mod settings;

#[cfg(feature = "service")]
pub use generator::LoadGenerator;
pub use schedule::Schedule;
