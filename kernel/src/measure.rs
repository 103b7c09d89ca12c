//! What a run's rows add up to: metrics, phases and the verdict, defined here once for both worlds and for `reports`.
//!
//! [`Summary::of`] reads the rows as both worlds record them and nothing else; no clock, file or scenario file is
//! looked at, and which faults there were is read from the events. Every figure is a sum of integers divided once, or a
//! rank among integers, so the order of the rows does not matter and a summary is the same bytes on every machine.
//! What cannot be computed is null, never 0.
//!
//! | module | holds |
//! | --- | --- |
//! | `summary` | [`Summary`], the content of `summary.json`, and how it is put together |
//! | `metrics` | [`Metrics`], the figures of one stretch of the run |
//! | `phase` | which stretches there are: before, each fault, after |
//! | `fault` | the faults, as the nemesis recorded them |
//! | `recovery`, `detection` | how a fault's `recovery_time` and `time_to_detect` come about |
//! | `requests`, `window`, `latency`, `duplicate` | rows by intended time, by second, their percentiles, wasted work |
//! | `verdict` | [`Checked`], an expectation held against its metric |
//! | [`text`] | [`Summary::render`], what a run prints when it ends, and how figures and tables read |

use std::time::Duration;

use crate::{
    record::{AttemptRow, EventRow, Records, RequestRow},
    scenario::Scenario,
};

mod detection;
mod duplicate;
mod fault;
mod latency;
mod metrics;
mod phase;
#[cfg(test)]
mod properties;
mod recovery;
mod requests;
#[cfg(test)]
mod sample;
mod summary;
pub mod text;
mod verdict;
mod window;

pub use latency::{Latencies, LatencyCounts};
pub use metrics::Metrics;
pub use summary::{FaultSummary, Label, PhaseSummary, Summary};
pub use text::quantity;
pub use verdict::Checked;

/// The recorded rows of one run, in any order.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Load is offered from 0 to here.
    pub duration: Duration,
    /// `server-0` to `server-{servers - 1}` took part.
    pub servers: usize,
    pub requests: &'a [RequestRow],
    pub attempts: &'a [AttemptRow],
    pub events: &'a [EventRow],
}

impl<'a> Run<'a> {
    /// What was recorded of `scenario` while load was offered for `duration`.
    pub fn of(scenario: &Scenario, duration: Duration, records: &'a Records) -> Self {
        let Records { requests, attempts, events } = records;
        Self { duration, servers: scenario.servers.replicas, requests, attempts, events }
    }

    fn duration_us(&self) -> u64 {
        u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX)
    }

    /// When the run is over: the load has ended and the last call too.
    fn end_us(&self) -> u64 {
        self.requests.iter().filter_map(|row| row.done_us).fold(self.duration_us(), u64::max)
    }
}

/// A second, in the unit of the rows.
const SECOND_US: u64 = 1_000_000;

/// Microseconds as seconds, rounded once.
fn seconds(us: u64) -> f64 {
    us as f64 / SECOND_US as f64
}

/// `part / whole`, or `None` of nothing.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
