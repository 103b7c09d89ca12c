//! Messages between the orchestrator and its processes: lines of JSON, over standard input and output.

use std::{
    collections::BTreeMap,
    io::{self, Stdout},
    net::SocketAddr,
    sync::Arc,
};

use kernel::{
    link::Shape,
    record::{Row, Sink},
    server::Injection,
};
use serde::{Deserialize, Serialize};

use crate::outbox::Outbox;

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

/// A message as JSON, without the end of the line.
pub(crate) fn line(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("plain data is always written")
}

/// Sends reports to the orchestrator, over standard output.
pub(crate) struct ToOrchestrator(Arc<Outbox<Stdout>>);

impl ToOrchestrator {
    /// Starts to send reports. Fails if the operating system refuses.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self(Outbox::start(io::stdout())?)))
    }

    /// Sends a report.
    pub(crate) fn send(&self, report: &Report) {
        self.0.send((line(report) + "\n").as_bytes());
    }

    /// Waits until the orchestrator has been sent everything.
    pub(crate) fn flush(&self) {
        self.0.flush();
    }
}

impl Sink for ToOrchestrator {
    /// Sends the row as it is recorded.
    fn take(&self, row: Row) {
        self.send(&Report::Row(row));
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
