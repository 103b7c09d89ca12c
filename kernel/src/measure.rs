//! Metrics, phases and the verdict of a run, computed from its rows; defined here once for both worlds and for `reports`.
//!
//! [`Summary::compute`] reads the rows as both worlds record them and nothing else: no clock, no file, no scenario file;
//! it finds the faults in the events, and takes what the scenario asks for as a [`Script`]. Every figure is a sum of integers divided once, or a rank among integers, so that
//! the order of the rows does not matter and a summary is the same bytes on every machine. What cannot be computed is
//! null, never 0.
//!
//! The rows may be in files that are larger than memory: each file is read in one pass, in which what the figures need of a
//! row is kept: 40 bytes of a request, 16 of an attempt if there are faults, and 24 of an attempt that a server finished.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `summary` | [`Summary`], the content of `summary.json`, and how it is put together |
//! | `metrics` | [`Metrics`], the figures of one stretch of the run |
//! | `span`, `phase` | a stretch of the run, and which phases there are: before, each fault, between, after |
//! | `extent` | which part of the run a phase is, and which requests and attempts count in it |
//! | `fault` | the faults, as the nemesis recorded them |
//! | `recovery`, `detection` | how a fault's `recovery_time` and `time_to_detect` are computed |
//! | `requests`, `window`, `latency` | requests by intended time, by second, and their percentiles |
//! | `log`, `ranks` | the summary of a log that has only requests, and exact percentiles, in bounded memory |
//! | `events` | what the figures need of events |
//! | [`stages`] | the stages of which the latency of a request consists |
//! | `attempts`, `duplicate`, `ejection` | attempts by phase, work that was wasted, servers that were ejected |
//! | `lateness` | [`Lateness`], by how much faults and sends were late |
//! | `verdict` | [`Verdict`], and [`CheckedExpectation`], an expectation compared with its metric |
//! | [`text`] | [`Summary::render`], what a run prints when it ends, and how figures and tables are written |

use std::time::Duration;

use crate::{fault::Fault, measure::expectation::Expectation, record::Rows, server::settings::ServerNames};

mod attempts;
mod detection;
mod duplicate;
mod edges;
mod events;
pub mod expectation;
mod extent;
mod fault;
mod instants;
mod latency;
mod lateness;
mod log;
pub mod metric;
mod metrics;
mod phase;
#[cfg(test)]
mod properties;
mod ranks;
mod recovery;
mod requests;
#[cfg(test)]
mod sample;
pub mod settings;
mod span;
pub mod stages;
mod streams;
mod summary;
pub mod text;
mod verdict;
mod window;
mod wrong_result;

pub use edges::EdgeSummary;
pub use extent::Extent;
pub use latency::{Latencies, LatencyCounts};
pub use lateness::{Lateness, LatenessFigures};
pub use log::VisitRequests;
pub use metrics::Metrics;
pub use ranks::{EachValue, GroupedValues};
pub use summary::{ChangeSummary, FaultSummary, PhaseSummary, RunLabel, Summary};
pub use text::quantity;
pub use verdict::{CheckedExpectation, Verdict};
pub use wrong_result::WrongResult;

/// The part of a scenario that the rows of a run are compared with. A log of another program has none: [`Script::default`].
#[derive(Debug, Clone, Default)]
pub struct Script<'a> {
    /// The expectations, in the scenario's order.
    pub expectations: &'a [Expectation],
    /// The faults that the run should have played, by index.
    pub faults: &'a [Fault],
    /// The lateness of faults and sends beyond which the run is not trusted; none if any is right.
    pub max_lateness: Option<Duration>,
    /// Why the run was stopped before its end, in a sentence; none if it came to its end.
    pub stopped: Option<&'a str>,
    /// The names of the servers.
    pub names: ServerNames,
}

/// The recorded rows of one run, in any order.
#[derive(Debug, Clone, Copy)]
pub struct RunRows<'a> {
    /// How long load was offered, from the start of the run.
    pub duration: Duration,
    /// Number of servers that the load called: `server-0` to `server-{servers - 1}`, unless they have other names.
    pub servers: usize,
    /// The names of the servers, if they have others.
    names: &'a [String],
    /// The rows of requests, attempts and events.
    pub rows: &'a dyn Rows,
}

impl<'a> RunRows<'a> {
    /// Returns what was recorded of a run with this number of servers of one group, to which load was offered for `duration`.
    pub fn new(servers: usize, duration: Duration, rows: &'a dyn Rows) -> Self {
        Self { duration, servers, names: &[], rows }
    }

    /// Returns what was recorded of a run whose load called the servers of these names, to which load was offered for `duration`.
    pub fn on_servers(names: &'a [String], duration: Duration, rows: &'a dyn Rows) -> Self {
        Self { names, ..Self::new(names.len(), duration, rows) }
    }

    fn duration_us(&self) -> u64 {
        us(self.duration)
    }
}

/// A second, in the unit of the rows.
const SECOND_US: u64 = 1_000_000;

/// Returns a duration in the unit of the rows, rounded down.
pub(crate) fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns microseconds as seconds, rounded once.
pub fn seconds(us: u64) -> f64 {
    us as f64 / SECOND_US as f64
}

/// Returns `part / whole`; none if `whole` is 0.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
