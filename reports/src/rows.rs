//! The rows of a run, packed: some 15 bytes a row, where a row in memory takes two hundred, and on disk beyond a limit.
//!
//! A report reads its rows several times: for the metrics, for each kind of window, for the plots. A [`RowTable`] keeps
//! them for these passes, in chunks of [`CHUNK_ROWS`] rows. Nothing is rounded: a row comes back as it was.

mod pack;
mod requests;
mod spill;
mod table;

use std::borrow::Cow;

use kernel::record::{AttemptRow, CallRow, EventRow, Pass, RequestRow, Rows};

pub(crate) use self::requests::{AllRequests, RequestsRead, SERVERS_MAX};
pub use self::{
    pack::PackedRow,
    spill::Spill,
    table::{CHUNK_ROWS, RowTable, TableBuilder},
};

/// The rows of requests, attempts and events of a run.
#[derive(Debug, Default)]
pub struct RunTables {
    /// The rows of the requests.
    pub requests: RowTable<RequestRow>,
    /// The rows of their attempts.
    pub attempts: RowTable<AttemptRow>,
    /// The rows of the events but those of inner calls, which reports do not show one by one.
    pub events: RowTable<EventRow>,
    /// The rows of inner calls, which most runs do not have. They are in memory.
    pub calls: Vec<CallRow>,
}

impl Rows for RunTables {
    fn requests(&self) -> Pass<'_, RequestRow> {
        Box::new(self.requests.iter().map(Cow::Owned))
    }

    fn each_request(&self, visit: &mut dyn FnMut(&RequestRow)) {
        self.requests.each(visit);
    }

    fn attempts(&self) -> Pass<'_, AttemptRow> {
        Box::new(self.attempts.iter().map(Cow::Owned))
    }

    fn all_events(&self) -> Pass<'_, EventRow> {
        Box::new(self.events.iter().map(Cow::Owned))
    }

    fn calls(&self) -> Pass<'_, CallRow> {
        Box::new(self.calls.iter().map(Cow::Borrowed))
    }
}
