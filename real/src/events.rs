//! Requests, attempts and events as they happen, as messages of a topic of a Kafka broker.
//!
//! | module | contents |
//! | --- | --- |
//! | `target` | the URL of a topic |
//! | `waiting` | rows that wait to be sent, bounded in bytes |
//! | `message` | a row as a message: its key, its value, and its partition |
//! | `batch` | rows that are being sent, as messages to the partitions |
//! | `sender` | the thread that sends them, again and again until the broker has them |
//! | `topic` | a connection to the topic |
//! | `absent` | what stands for the last four in a program that is built without them |
//!
//! What records a row copies the line that it writes to the run's folder, under one lock, and never waits. The thread takes
//! all lines that wait at once. A message is delivered when the broker has acknowledged it: one whose acknowledgement is lost
//! is sent again, so that a consumer sees each message at least once.

#![cfg_attr(not(feature = "events"), allow(dead_code, reason = "without the feature nothing is sent"))]

#[cfg(not(feature = "events"))]
mod absent;
#[cfg(feature = "events")]
mod batch;
#[cfg(feature = "events")]
mod message;
#[cfg(feature = "events")]
mod sender;
mod target;
#[cfg(feature = "events")]
mod topic;
mod waiting;

use clap::Args;
use kernel::cli::Failure;

use crate::facts;
#[cfg(not(feature = "events"))]
pub(crate) use absent::Stream;
#[cfg(feature = "events")]
pub use sender::Stream;
pub use target::Target;
pub use waiting::Waiting;

/// The option of a topic that rows are sent to.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct EventsArgs {
    /// A topic of a Kafka broker that requests, attempts and events are sent to as they happen, such as
    /// kafka://127.0.0.1:9092/rehearsal, which is the topic without one.
    #[arg(long, value_name = "URL")]
    events: Option<Target>,
}

/// The topic that the rows of a run will be sent to.
#[derive(Debug)]
pub(crate) struct Opened {
    target: Target,
    run: String,
}

impl EventsArgs {
    /// Prepares to send the rows of a run of the scenario with this name and seed. Fails if this program cannot send any.
    pub(crate) fn open(&self, scenario: &str, seed: u64) -> Result<Option<Opened>, Failure> {
        let Some(target) = self.events.clone() else { return Ok(None) };
        if cfg!(not(feature = "events")) {
            let missing = "this program was built without event streams; build it with `--features events`";
            return Err(Failure::wrong_input(missing));
        }
        Ok(Some(Opened { target, run: run(scenario, seed) }))
    }
}

/// Returns the identifier of a run that starts now.
fn run(scenario: &str, seed: u64) -> String {
    let (now, micros) = facts::now_exactly();
    let digits: String = now.chars().filter(|letter| !"-:Z".contains(*letter)).collect();
    format!("{scenario}-{seed}-{digits}.{micros:06}Z")
}

#[cfg(feature = "events")]
impl Opened {
    /// Starts to send what is recorded, and counts it in the metrics of `exporter`, if there is one.
    pub(crate) fn start(self, world: &str, exporter: Option<crate::export::Exporter>) -> Result<Stream, Failure> {
        let Self { target, run } = self;
        kernel::cli::complain(&format!("rows of run {run} are sent to {target}"));
        Stream::start_exported(&target, &run, world, exporter).map_err(Failure::run_failed)
    }
}
