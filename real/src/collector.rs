//! Brings the rows of all processes together.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use kernel::record::{EventRow, Records, Row, Sink};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};

use crate::{
    generator::Reports,
    live::{Live, Sight},
    message::Report,
    replica::NewProcess,
};

/// The rows so far.
pub(crate) struct Collector {
    records: Mutex<Records>,
    live: Live,
}

/// How the load process ended.
pub(crate) enum LoadEnded {
    /// As it should, at this time of the run.
    Done { at_us: u64 },
    /// Without a word.
    Silently,
}

impl Collector {
    /// No rows yet. `live` is shown each.
    pub(crate) fn new(live: Live) -> Arc<Self> {
        Arc::new(Self { records: Mutex::default(), live })
    }

    /// Collects what the load process says until its end.
    pub(crate) async fn collect_load(&self, mut reports: Reports) -> LoadEnded {
        while let Some(report) = next(&mut reports).await {
            match report {
                Report::Row(row) => self.take(row),
                Report::Done { at_us } => return LoadEnded::Done { at_us },
                Report::Ready => {}
            }
        }
        LoadEnded::Silently
    }

    /// Collects what a replica's process says until its end, and says whether that is a failure. Its rows are timed
    /// from the start of the machine, the run's from `epoch_us` on.
    pub(crate) async fn collect_replica(&self, process: NewProcess, epoch_us: u64) -> bool {
        self.live.show(Sight::Process { server: process.name.clone(), pid: process.pid });
        let mut reports = BufReader::new(process.reports).lines();
        while let Some(report) = next(&mut reports).await {
            if let Report::Row(Row::Event(row)) = report {
                self.take(Row::Event(EventRow { at_us: row.at_us.saturating_sub(epoch_us), ..row }));
            }
        }
        !process.ending.load(Ordering::Acquire)
    }

    /// Shows that someone wants the run to end.
    pub(crate) fn interrupted(&self) {
        self.live.show(Sight::Interrupted);
    }

    /// Takes the rows out, but those of what happened after `end_us`.
    pub(crate) fn take_until(&self, end_us: u64) -> Records {
        let mut records = std::mem::take(&mut *self.records());
        records.events.retain(|row| row.at_us <= end_us);
        records.sort();
        records
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Collector {
    fn take(&self, row: Row) {
        self.live.row(&row);
        self.records().push(row);
    }
}

/// The next report. A line that is none is the last one of a process that was killed in the middle of it.
async fn next(reports: &mut Lines<BufReader<impl AsyncRead + Unpin>>) -> Option<Report> {
    let line: io::Result<Option<String>> = reports.next_line().await;
    serde_json::from_str(&line.ok()??).ok()
}
