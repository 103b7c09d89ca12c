//! The figures of a run's rows: windows, percentiles of stretches, counts by server.
//!
//! Rows are read in passes over their tables, and only counts and the values of one batch are in memory, so that the length
//! of a run does not matter. Every figure is an integer or one of the values of the rows. A percentile is the nearest
//! rank, as in `kernel::measure`, and exact whatever the length.

mod kinds;
mod latencies;
mod servers;
mod windows;

pub use self::{
    kinds::KindTally,
    latencies::Latency,
    servers::ServerTally,
    windows::{EndedLatencies, TooManyWindows, Windows},
};
