//! What the orchestrator and its processes tell each other: lines of JSON, over standard input and output.

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

/// What the load process is told, in this order: prepare, begin, then the others as they come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Get ready; answer with [`Report::Ready`].
    Prepare {
        /// The resolved scenario, as TOML.
        scenario: String,
        seed: u64,
        /// Where the servers listen, by name.
        servers: BTreeMap<String, SocketAddr>,
    },
    /// The run begins at this nanosecond of the machine.
    Begin { epoch_ns: u64 },
    /// The link to this server has this shape from now on.
    Shape { server: usize, shape: Shape },
    /// Reset the connections to this server.
    Reset { server: usize },
    /// End every call and offer no more load.
    Cancel,
}

/// What a replica is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplicaOrder {
    /// Inject this from now on.
    Inject(Injection),
}

/// What the orchestrator is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The load process awaits the beginning.
    Ready,
    /// This happened. The load process times its rows from the beginning of the run, a replica from the start of the
    /// machine: it may be up before the run is.
    Row(Row),
    /// The load has ended and the last call too.
    Done { at_us: u64 },
}

impl Report {
    /// Sends it to the orchestrator, past every buffer: whoever is killed after this has said it.
    pub(crate) fn send(&self) {
        let mut line = line(self);
        line.push('\n');
        // Without an orchestrator there is nobody to tell, and this process is about to be killed.
        let _ = io::stdout().lock().write_all(line.as_bytes());
    }
}

/// A message as a line, without its end.
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
    fn a_shape_survives_the_way() {
        let shape = Shape {
            latency: Duration::from_nanos(300_001),
            bandwidth: Some(10_000_000),
            loss: 0.1,
            cut_from: true,
            ..Shape::default()
        };
        let order = Order::Shape { server: 1, shape };
        assert_eq!(serde_json::from_str::<Order>(&line(&order)).unwrap(), order);
    }

    #[test]
    fn an_injection_survives_the_way() {
        let errors = vec![InjectedErrors { fault: 3, rate: 0.25, status: Code::Unavailable }];
        let order = ReplicaOrder::Inject(Injection { errors, slow: 1.5 });
        assert_eq!(serde_json::from_str::<ReplicaOrder>(&line(&order)).unwrap(), order);
    }
}
