//! Messages between the orchestrator and its processes: lines of JSON, over standard input and output.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::SocketAddr,
};

use kernel::{
    link::Shape,
    record::{Row, Sink},
    server::Injection,
};
use serde::{Deserialize, Serialize};

/// A command to the load process. The first one is `Prepare`, the second one `Begin`; the others follow in any order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoadCommand {
    /// Prepares the run. The response is [`Report::Ready`].
    Prepare {
        /// The resolved scenario, as TOML.
        scenario: String,
        seed: u64,
        /// Addresses of the servers, by name.
        servers: BTreeMap<String, SocketAddr>,
    },
    /// Starts the run, `epoch_ns` nanoseconds after the start of the machine.
    Begin { epoch_ns: u64 },
    /// Sets the shape of the link to a server.
    Shape { server: usize, shape: Shape },
    /// Resets the connections to a server.
    Reset { server: usize },
    /// Cancels every call and ends the load.
    Cancel,
}

/// A command to a replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplicaCommand {
    /// Sets the faults that the server injects into calls.
    Inject(Injection),
}

/// A report to the orchestrator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The load process is ready for `Begin`.
    Ready,
    /// A row. Its time is relative to the start of the run in the load process, and to the start of the machine in a
    /// replica, which starts before the run.
    Row(Row),
    /// The load and the last call have ended.
    Done { at_us: u64 },
}

impl Report {
    /// Sends the report without any buffer: a process that is killed after this has sent it.
    pub(crate) fn send(&self) {
        let mut line = line(self);
        line.push('\n');
        // An error means that the orchestrator has ended, and the operating system is about to kill this process.
        let _ = io::stdout().lock().write_all(line.as_bytes());
    }
}

/// A message as JSON, without the end of the line.
pub(crate) fn line(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("plain data is always written")
}

/// Sends rows to the orchestrator as they are recorded.
pub(crate) struct ToOrchestrator;

impl Sink for ToOrchestrator {
    fn take(&self, row: Row) {
        Report::Row(row).send();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kernel::{server::InjectedErrors, status::Code};

    use super::*;

    #[test]
    fn a_shape_is_the_same_after_a_round_trip() {
        let shape = Shape {
            latency: Duration::from_nanos(300_001),
            bandwidth: Some(10_000_000),
            loss: 0.1,
            cut_from: true,
            ..Shape::default()
        };
        let command = LoadCommand::Shape { server: 1, shape };
        assert_eq!(serde_json::from_str::<LoadCommand>(&line(&command)).unwrap(), command);
    }

    #[test]
    fn an_injection_is_the_same_after_a_round_trip() {
        let errors = vec![InjectedErrors { fault: 3, rate: 0.25, status: Code::Unavailable }];
        let command = ReplicaCommand::Inject(Injection { errors, slow: 1.5 });
        assert_eq!(serde_json::from_str::<ReplicaCommand>(&line(&command)).unwrap(), command);
    }
}
