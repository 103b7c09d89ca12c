//! Messages between the orchestrator and its processes: lines of JSON, over standard input and output.

use std::{
    collections::BTreeMap,
    io::{self, Stdout},
    net::SocketAddr,
    sync::Arc,
};

use kernel::{
    entropy::branch::Branch,
    export::{Measured, Measuring},
    link::{LinkShape, Selection},
    record::{CallMoment, Recorder, Row, Sink},
    server::{Injection, Tuning},
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use crate::{outbox::Outbox, store::StorePlace, tls::ProcessTls};

/// A command to the load process. The first one is `Prepare`, the second one `Begin`; the others follow in any order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoadCommand {
    /// Prepares the run. The response is [`Report::Ready`].
    Prepare {
        /// The resolved scenario, as TOML.
        scenario: String,
        seed: u64,
        /// The times from which everything random is drawn again.
        #[serde(default)]
        branches: Vec<Branch>,
        /// Addresses of the servers, by name.
        servers: BTreeMap<String, SocketAddr>,
        /// Certificates and keys, if connections are encrypted.
        #[serde(default)]
        tls: Option<ProcessTls>,
        /// Where the store of the client's cache is, if it has one.
        #[serde(default)]
        store: Option<StorePlace>,
    },
    /// Starts the run, `epoch_ns` nanoseconds after the start of the machine.
    Begin { epoch_ns: u64 },
    /// Sets the shape of the link to a server, or to the store.
    Shape { server: usize, shape: LinkShape },
    /// Resets the connections to a server, or to the store, that a fault applies to.
    Reset { server: usize, fault: u64, connections: Selection },
    /// Cancels every call and ends the load.
    Cancel,
}

/// A command to a replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplicaCommand {
    /// Gives the server its certificates and keys. It is the first command if connections are encrypted, and the server waits for it.
    Secure(ProcessTls),
    /// Says which services the process calls. It is the first command but that for certificates if it calls some, and the process waits for it.
    Call(Box<Calling>),
    /// Sets the shape of the process's link to another server.
    Shape { server: usize, shape: LinkShape },
    /// Resets the process's connections to another server that a fault applies to.
    Reset { server: usize, fault: u64, connections: Selection },
    /// Sets the faults that the server injects into calls.
    Inject(Injection),
    /// Gives the server other settings.
    Tune(Tuning),
    /// Draws everything random again from now on, with the salt of this branch.
    Branch(Branch),
}

/// The settings that a process needs to call other services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calling {
    /// The resolved scenario, as TOML.
    pub(crate) scenario: String,
    /// The position of the process's service among those of the scenario.
    pub(crate) service: usize,
    /// The addresses of the servers, by name.
    pub(crate) servers: BTreeMap<String, SocketAddr>,
    /// The shapes of its links so far, by the index of the server behind each.
    pub(crate) shapes: BTreeMap<usize, LinkShape>,
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
    /// The measurements of a replica since its last report, if metrics are exported.
    Measured(Measured),
    /// The load and the last call have ended.
    Done { at_us: u64 },
}

/// Reads a line of at most `bytes_max` bytes, its end included, and returns it without the end; `None` at the end of the stream.
/// Fails if the line is longer, has no end or is no text. A line that is longer is not read to its end.
pub(crate) async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    bytes_max: usize,
) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.take(bytes_max as u64).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => String::from_utf8(line).map(Some).map_err(|_| invalid("it is no text".to_owned())),
        Some(_) if line.len() + 1 < bytes_max => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(_) => Err(invalid(format!("it is longer than {bytes_max} bytes"))),
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A message as JSON, without the end of the line.
pub(crate) fn line(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("plain data is always written")
}

/// Sends reports to the orchestrator, over standard output.
pub(crate) struct ToOrchestrator {
    outbox: Arc<Outbox<Stdout>>,
    /// The measurements since the last report of them; `None` if the process measures nothing.
    measured: Option<Measuring>,
}

impl ToOrchestrator {
    /// Starts to send reports, and to measure calls if `measures`. Fails if the operating system refuses.
    pub(crate) fn start(measures: bool) -> io::Result<Arc<Self>> {
        let measured = measures.then(Measuring::default);
        Ok(Arc::new(Self { outbox: Outbox::start(io::stdout())?, measured }))
    }

    /// Sends a report.
    pub(crate) fn send(&self, report: &Report) {
        self.outbox.send((line(report) + "\n").as_bytes());
    }

    /// Sends what was measured since the last time, if that is something.
    pub(crate) fn send_measured(&self) {
        if let Some(measured) = self.measured.as_ref().and_then(Measuring::take_news) {
            self.send(&Report::Measured(measured));
        }
    }

    /// Waits until the orchestrator has been sent everything.
    pub(crate) fn flush(&self) {
        self.outbox.flush();
    }
}

impl Sink for ToOrchestrator {
    /// Sends the row as it is recorded.
    fn take(&self, row: Row) {
        self.send(&Report::Row(row));
    }

    fn measures(&self) -> bool {
        self.measured.is_some()
    }

    /// Counts the moment, which is reported later: a report of each would cost as much as the row of a call.
    fn measure(&self, _: &Recorder, moment: CallMoment) {
        if let Some(measured) = &self.measured {
            measured.count(moment);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kernel::{
        link::{BurstLoss, LinkEffect, PartialShape, Shape, Way},
        server::InjectedErrors,
        status::Code,
        tls::Presented,
    };

    use super::*;

    #[test]
    fn a_line_is_read_up_to_its_end_and_no_further_than_its_limit() {
        let read = |text: &'static [u8]| {
            let mut reader = text;
            let line = tokio::runtime::Runtime::new().unwrap().block_on(read_line(&mut reader, 4));
            (line.map_err(|error| error.kind()), reader)
        };
        assert_eq!(read(b"abc\ndef\n"), (Ok(Some("abc".to_owned())), &b"def\n"[..]));
        assert_eq!(read(b"\n"), (Ok(Some(String::new())), &b""[..]));
        assert_eq!(read(b""), (Ok(None), &b""[..]));
        assert_eq!(read(b"abcd\n"), (Err(io::ErrorKind::InvalidData), &b"\n"[..]));
        assert_eq!(read(b"ab"), (Err(io::ErrorKind::UnexpectedEof), &b""[..]));
        assert_eq!(read(b"\xff\n"), (Err(io::ErrorKind::InvalidData), &b""[..]));
    }

    #[test]
    fn a_shape_is_the_same_after_a_round_trip() {
        let shape = Shape {
            latency: Duration::from_nanos(300_001),
            bandwidth: Some(10_000_000),
            loss: 0.1,
            cut_from: true,
            ..Shape::default()
        };
        let burst = BurstLoss { enter: 0.1, exit: 0.2, loss_in_burst: 0.9, loss_outside: 0.01 };
        let connections = Selection { open_at_start: true, share: 0.25 };
        let effect = LinkEffect { shape, burst: Some(burst), connections, way: Some(Way::From) };
        let shape = LinkShape { all: shape, partial: vec![PartialShape { fault: 7, effect }] };
        let shapes = LoadCommand::Shape { server: 1, shape };
        for command in [shapes, LoadCommand::Reset { server: 1, fault: 7, connections }] {
            assert_eq!(serde_json::from_str::<LoadCommand>(&line(&command)).unwrap(), command);
        }
    }

    #[test]
    fn an_injection_is_the_same_after_a_round_trip() {
        let errors =
            vec![InjectedErrors { fault: 3, rate: 0.25, status: Some(Code::Unavailable), delay: Duration::ZERO }];
        let command = ReplicaCommand::Inject(Injection { errors, slow: 1.5, presented: Presented::Expired });
        assert_eq!(serde_json::from_str::<ReplicaCommand>(&line(&command)).unwrap(), command);
    }
}
