//! Detectors of anomalies: over one run, and compared over a set of runs with known faults.
//!
//! | module | contents |
//! | --- | --- |
//! | `run` | the alarms of one run, and the faults that they belong to |
//! | `incident` | what is known of a run of a set: when something was wrong, and how bad it was |
//! | `bench` | the alarms of all runs, counted against what is known |
//! | `program` | a detector of somebody else, as a program |
//! | `figures` | recall, precision, delays and false alarms, with intervals |
//! | `text` | the report for the terminal |

mod bench;
mod figures;
mod incident;
mod program;
mod run;
mod text;

pub use self::{bench::DetectBenchOptions, run::DetectOptions};
pub(crate) use self::{bench::bench, run::RunAlarms};

/// The time after the end of a fault for which an alarm still belongs to it, in microseconds.
///
/// Calls that hung fail later than the fault ends, and a window of a minute contains it for a minute.
const GRACE_US: u64 = 60_000_000;
