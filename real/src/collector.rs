//! Collects the rows of all processes.

use std::{
    io,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use kernel::{
    detect::LiveWatches,
    export::Observer,
    record::{CallRow, EventRow, Name, Row, Sink},
    sync::lock,
};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};

use crate::{
    export::Exporter,
    generator::Reports,
    live::{Live, LiveUpdate},
    message::Report,
    recording::Queue,
    replica::NewProcess,
};

/// Passes the rows of a run on to its folder and its view.
pub(crate) struct Collector {
    queue: Arc<Queue>,
    live: Live,
    exporter: Option<Exporter>,
    /// The detectors of anomalies, if the results are watched.
    detectors: Option<Mutex<LiveWatches>>,
}

/// The end of the load process's output.
pub(crate) enum LoadEnded {
    /// The load ended, at this time of the run.
    Done { at_us: u64 },
    /// The output ended without `Done`: the process has failed.
    Silently,
}

impl Collector {
    /// A collector that passes each row to `queue`, to `live`, and to `exporter` if metrics are exported. With the length of a step,
    /// detectors of anomalies watch the results.
    pub(crate) fn new(queue: Arc<Queue>, live: Live, exporter: Option<Exporter>, step: Option<Duration>) -> Arc<Self> {
        let detectors = step.map(|step| Mutex::new(LiveWatches::new(step)));
        Arc::new(Self { queue, live, exporter, detectors })
    }

    /// Collects the rows of the load process, until the load ends.
    pub(crate) async fn collect_load(&self, mut reports: Reports) -> LoadEnded {
        while let Some(report) = next(&mut reports).await {
            match report {
                Report::Row(row) => {
                    self.queue.room().await;
                    self.take(row);
                }
                Report::Done { at_us } => return LoadEnded::Done { at_us },
                Report::Measured(measured) => self.export(|observer| observer.take_measured_attempts(&measured)),
                Report::Ready => {}
            }
        }
        LoadEnded::Silently
    }

    /// Collects the rows of a replica's process until its output ends. Returns true if the end of the process was not
    /// expected. The times of its rows are relative to the start of the machine; those of the run start at `epoch_us`.
    pub(crate) async fn collect_replica(&self, process: NewProcess, epoch_us: u64) -> bool {
        self.live.show(LiveUpdate::Process { server: process.name.clone(), pid: process.pid });
        let server = Name::from(&process.name);
        let mut reports = BufReader::new(process.reports).lines();
        while let Some(report) = next(&mut reports).await {
            match report {
                Report::Row(Row::Event(row)) => {
                    self.queue.room().await;
                    self.take(Row::Event(EventRow { at_us: row.at_us.saturating_sub(epoch_us), ..row }));
                }
                Report::Row(Row::Call(row)) => {
                    self.queue.room().await;
                    self.take(Row::Call(since(epoch_us, row)));
                }
                Report::Measured(measured) => self.export(|observer| observer.take_measured(&server, &measured)),
                _ => {}
            }
        }
        self.export(|observer| observer.server_ends(&server));
        !process.ending.load(Ordering::Acquire)
    }

    fn export(&self, change: impl FnOnce(&mut Observer)) {
        if let Some(exporter) = &self.exporter {
            exporter.note(change);
        }
    }

    /// Passes a row to the detectors, and their alarms to the view and the metrics.
    fn watch(&self, row: &Row) {
        let Some(detectors) = &self.detectors else { return };
        let alarms = match row {
            Row::Request(row) => lock(detectors).add(&row.into()),
            // While all calls hang, what else happens says how late it is.
            Row::Event(row) => lock(detectors).advance(row.at_us),
            Row::Attempt(_) | Row::Call(_) => Vec::new(),
        };
        for alarm in alarms {
            self.export(|observer| observer.take_alarm(&alarm));
            self.live.show(LiveUpdate::Alarm(alarm));
        }
    }

    /// Shows that a signal has asked the run to end.
    pub(crate) fn interrupted(&self) {
        self.live.show(LiveUpdate::Interrupted);
    }

    /// Completes when rows cannot be written any more.
    pub(crate) async fn cannot_write(&self) {
        self.queue.failed().await;
    }
}

impl Sink for Collector {
    fn take(&self, row: Row) {
        self.live.row(&row);
        self.export(|observer| observer.take(&row));
        self.watch(&row);
        self.queue.push(&row);
    }
}

/// Returns the row with times of the run, which starts at `epoch_us`.
fn since(epoch_us: u64, mut row: CallRow) -> CallRow {
    let attempts = row.attempts.iter_mut().flat_map(|attempt| [&mut attempt.start_us, &mut attempt.end_us]);
    let own = [&mut row.sent_us, &mut row.deadline_us, &mut row.done_us];
    own.into_iter().chain(attempts).for_each(|time_us| *time_us = time_us.saturating_sub(epoch_us));
    row
}

/// The next report. An invalid line is the last one of a process that was killed while it wrote.
async fn next(reports: &mut Lines<BufReader<impl AsyncRead + Unpin>>) -> Option<Report> {
    let line: io::Result<Option<String>> = reports.next_line().await;
    serde_json::from_str(&line.ok()??).ok()
}
