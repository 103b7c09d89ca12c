//! Reads logs of requests that other programs wrote: CSV or JSON lines, with a mapping of the columns.
//!
//! Two of the times `intended` (or `sent`), `done` and `latency` are enough. A log without `intended` cannot show how long
//! a request waited for the load generator; a note says so.
//!
//! The log is read twice. What has to be known of all rows before the first one becomes a request (which columns there
//! are, the earliest time, what the numbers of statuses mean) comes from a scan ([`scan`]). Neither pass keeps lines.

mod csv;
mod json;
mod log;
mod row;
mod scan;

use std::path::Path;

use self::{
    log::{LineError, Log},
    row::RowReader,
    scan::Scan,
};
use kernel::visible::Visible;

use super::{Mapping, ReadError, folder::until_last};
use crate::{
    rows::{AllRequests, RequestsRead, RowTable, RunTables, Spill},
    run::RecordedRun,
};

pub(super) fn run(path: &Path, mapping: &Mapping) -> Result<RecordedRun, ReadError> {
    let mut notes = Vec::new();
    let log = Log::open(path, mapping)?;
    let scan = Scan::of(&log, mapping)?;
    let reader = RowReader::new(&log, &scan, mapping, &mut notes)?;
    let requests = requests(&log, &scan, &reader)?;
    notes.extend(scan.cut_off.map(|line| format!("the log ends in the middle of line {line}, which is left out")));
    notes.extend(requests.note());
    Ok(RecordedRun {
        scenario_name: path.file_stem().unwrap_or_default().visible().to_string(),
        place: path.to_owned(),
        world: "log".to_owned(),
        seed: 0,
        duration: until_last(requests.last_us),
        servers: requests.servers,
        rows: RunTables { requests: requests.table, attempts: RowTable::default(), events: RowTable::default() },
        scenario: None,
        scenario_text: None,
        info: None,
        stored: None,
        state: None,
        notes,
    })
}

/// Reads the requests.
fn requests(log: &Log<'_>, scan: &Scan, reader: &RowReader<'_>) -> Result<AllRequests, ReadError> {
    let spill = Spill::default();
    // The place of a request in the log is its id, so the parts have to know how many precede them.
    let start = |part: usize| reader.part(RequestsRead::new(&spill), scan.rows_before(part));
    let passed = log.pass(start, |part, line| part.add(reader, line).map_err(LineError::Row))?;
    Ok(AllRequests::from_parts(row::finished(log, passed.parts)?))
}
