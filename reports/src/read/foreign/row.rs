//! A row of a log as a request.

use std::collections::BTreeSet;

use kernel::{
    record::{Name, RequestRow},
    status::Outcome,
};

use super::{
    super::{
        Columns, Mapping, ReadError,
        columns::{Column, unit_name},
        moment::{TimeError, moment_us, span_us},
        outcome::{Ending, Numbers},
    },
    head::Head,
    log::{Log, LogLine},
    scan::Scan,
    select::{Row, Selection},
};
use crate::rows::{AllRequests, PackedRow, RequestsRead, SERVERS_MAX};

/// The number of texts of statuses whose meaning is remembered.
const OUTCOMES_MAX: usize = 32;

/// Turns rows into requests.
#[derive(Debug)]
pub(super) struct RowReader<'a> {
    selection: Selection<'a>,
    status: Option<usize>,
    error: Option<usize>,
    success: Option<usize>,
    numbers: Numbers,
    times: Times,
    server: Option<usize>,
    attempts: Option<usize>,
    failovers: Option<usize>,
    size: Option<usize>,
    /// The earliest time of the log, in microseconds.
    zero: f64,
}

/// The requests of a part of the log.
#[derive(Debug)]
pub(super) struct RowsPart {
    requests: RequestsRead,
    /// The place in the log of the next request.
    index: u64,
    row: RequestRow,
    outcomes: Vec<(KnownEnding, Outcome)>,
    servers: BTreeSet<Name>,
}

/// The requests of a part of the log that has been read.
#[derive(Debug)]
pub(super) struct RowsRead {
    requests: AllRequests,
    servers: BTreeSet<Name>,
}

/// The endings of requests as rows say them: the status, the error, the success.
type KnownEnding = [Option<String>; 3];

impl<'a> RowReader<'a> {
    /// Returns the reader for a log, and adds notes on times that the log does not have.
    ///
    /// # Errors
    /// There is no column of statuses, or the times of a request do not follow from the columns.
    pub(super) fn new(
        log: &'a Log<'_>,
        head: &Head,
        scan: &Scan,
        mapping: &'a Mapping,
        notes: &mut Vec<String>,
    ) -> Result<Self, ReadError> {
        let columns = &scan.columns;
        // The status is checked before the times, since a log without it is probably not a log of requests.
        if ["status", "error", "success"].into_iter().all(|field| log.place_of(columns, field).is_none()) {
            return Err(log.no_column(head, "status", "status"));
        }
        let times = Times::new(log, columns, mapping.rate);
        times.check(log, head, notes)?;
        Ok(Self {
            selection: Selection::new(log, mapping),
            status: log.place_of(columns, "status"),
            error: log.place_of(columns, "error"),
            success: log.place_of(columns, "success"),
            numbers: scan.numbers,
            times,
            server: log.place_of(columns, "server"),
            attempts: log.place_of(columns, "attempts"),
            failovers: log.place_of(columns, "failovers"),
            size: log.place_of(columns, "size"),
            zero: scan.zero,
        })
    }

    /// Returns a part of the log whose first request is the one at `index`.
    pub(super) fn part(&self, requests: RequestsRead, index: u64) -> RowsPart {
        RowsPart { requests, index, row: RequestRow::blank(), outcomes: Vec::new(), servers: BTreeSet::new() }
    }
}

impl RowsPart {
    /// Returns the requests that were added.
    pub(super) fn finish(self) -> RowsRead {
        RowsRead { requests: self.requests.finish(), servers: self.servers }
    }

    /// Adds the requests of a row. One that is wrong takes its place in the log, too, as it was sent.
    pub(super) fn add(&mut self, reader: &RowReader<'_>, line: &LogLine<'_>) -> Result<(), String> {
        match reader.selection.row(line, &mut [])? {
            Row::Other => Ok(()),
            Row::Request => {
                self.index += 1;
                self.add_request(reader, line)
            }
            Row::Dropped(count) => {
                self.index += count;
                self.add_dropped(reader, line, count)
            }
        }
    }

    fn add_request(&mut self, reader: &RowReader<'_>, line: &LogLine<'_>) -> Result<(), String> {
        let index = self.index - 1;
        let status = self.outcome(reader, line)?;
        let [intended, sent] = reader.times.start(Some(index), line)?.ok_or("it has no time")?;
        self.row.id = index;
        self.row.status = status;
        self.row.server = self.server(line, reader.server);
        self.row.attempts = count(line, reader.attempts, "attempts", u32::from(status != Outcome::Dropped))?;
        self.row.failovers = count(line, reader.failovers, "failovers", 0)?;
        self.row.size.clear();
        self.row.size.push_str(reader.size.and_then(line).unwrap_or_default());
        let done = match status {
            Outcome::Dropped => None,
            _ => Some(reader.times.end(line, intended)?.ok_or("it has neither a latency nor an end")?),
        };
        set_times(&mut self.row, [intended, sent], done, reader.zero);
        self.requests.push(&mut self.row);
        Ok(())
    }

    /// Adds requests that were dropped at the time of the row.
    fn add_dropped(&mut self, reader: &RowReader<'_>, line: &LogLine<'_>, count: u64) -> Result<(), String> {
        let first = self.index - count;
        let [at, _] = reader.times.at(Some(first), line)?.ok_or("it has no time")?;
        self.row.status = Outcome::Dropped;
        self.row.server = None;
        self.row.attempts = 0;
        self.row.failovers = 0;
        self.row.size.clear();
        set_times(&mut self.row, [at, at], None, reader.zero);
        for id in first..self.index {
            self.row.id = id;
            self.requests.push(&mut self.row);
        }
        Ok(())
    }

    /// Returns how the request of a row ended.
    fn outcome(&mut self, reader: &RowReader<'_>, line: &LogLine<'_>) -> Result<Outcome, String> {
        let cells = [reader.status, reader.error, reader.success].map(|column| line(column?));
        let mut known = self.outcomes.iter();
        if let Some((_, known)) = known.find(|(known, _)| known.each_ref().map(Option::as_deref) == cells) {
            return Ok(*known);
        }
        let [status, error, success] = cells;
        // Locust has an exception or nothing.
        if reader.status.is_none() && cells == [None; 3] {
            return Ok(Outcome::OK);
        }
        let found = Ending { status, error, success }.outcome(reader.numbers)?;
        if self.outcomes.len() == OUTCOMES_MAX {
            self.outcomes.clear();
        }
        self.outcomes.push((cells.map(|cell| cell.map(str::to_owned)), found));
        Ok(found)
    }

    fn server(&mut self, line: &LogLine<'_>, column: Option<usize>) -> Option<Name> {
        let text = column.and_then(line)?;
        if let Some(last) = self.row.server.as_ref().filter(|last| last.as_str() == text) {
            return Some(last.clone());
        }
        let name = Name::from(text);
        if let Some(known) = self.servers.get(&name) {
            return Some(known.clone());
        }
        // With one more than are allowed, it is known that there are too many.
        if self.servers.len() <= SERVERS_MAX {
            self.servers.insert(name.clone());
        }
        Some(name)
    }
}

/// Returns the requests of all parts.
///
/// # Errors
/// They have too many servers.
pub(super) fn finished(log: &Log<'_>, parts: Vec<RowsRead>) -> Result<Vec<AllRequests>, ReadError> {
    let mut servers = BTreeSet::new();
    let mut requests = Vec::with_capacity(parts.len());
    for part in parts {
        servers.extend(part.servers);
        requests.push(part.requests);
        if servers.len() > SERVERS_MAX {
            let reason = format!(
                "its requests have more than {SERVERS_MAX} different servers; map a column that has the name of a server \
                 with --columns server=NAME"
            );
            return Err(log.content(reason));
        }
    }
    Ok(requests)
}

/// Sets the times of a row, which count from `zero`, in whole microseconds. A dropped request has no end.
fn set_times(row: &mut RequestRow, [intended, sent]: [f64; 2], done: Option<f64>, zero: f64) {
    let latency = done.map(|done| (done - intended).round()).filter(|latency| *latency >= 0.0);
    row.intended_us = whole_us(intended - zero);
    row.latency_us = latency.map(|latency| latency as u64);
    // Rounding one by one could make the three disagree by a microsecond.
    let by_latency = row.latency_us.map(|us| row.intended_us.saturating_add(us));
    row.done_us = by_latency.or_else(|| done.map(|done| whole_us(done - zero)));
    row.sent_us = done.map(|_| whole_us(sent - zero).max(row.intended_us));
}

fn whole_us(us: f64) -> u64 {
    us.round().max(0.0) as u64
}

/// Returns the number in a column, or `default` if there is none.
fn count(line: &LogLine<'_>, column: Option<usize>, field: &str, default: u32) -> Result<u32, String> {
    let Some(text) = column.and_then(line) else { return Ok(default) };
    text.parse().map_err(|_| format!("`{text}` is not a number of {field}"))
}

/// The columns of the times.
#[derive(Debug)]
pub(super) struct Times {
    intended: Option<TimeColumn>,
    sent: Option<TimeColumn>,
    done: Option<TimeColumn>,
    latency: Option<TimeColumn>,
    rate: Option<f64>,
}

/// A column of times.
#[derive(Debug)]
struct TimeColumn {
    at: usize,
    name: String,
    /// The number of microseconds in one unit; `None` if each value has its own.
    unit_us: Option<f64>,
    field: &'static str,
}

impl TimeColumn {
    fn new(log: &Log<'_>, field: &'static str, column: &Column) -> Option<Self> {
        Some(Self { at: log.place(&column.name)?, name: column.name.clone(), unit_us: column.unit_us, field })
    }

    /// Returns the mistake of a cell that is no time.
    fn mistake(&self, text: &str, error: TimeError) -> String {
        let Self { name, field, .. } = self;
        match error {
            TimeError::NoUnit => format!(
                "`{text}` in `{name}` has no unit; write --columns {field}={name}:ms, or the unit that it has: s, ms, us or ns"
            ),
            TimeError::NotATime => {
                let unit = self.unit_us.map_or("a unit", unit_name);
                format!(
                    "`{text}` in `{name}` is not a time; a time is a number in {unit}, 12.3ms, or 2026-05-04T12:00:00Z"
                )
            }
        }
    }
}

impl Times {
    /// Returns the columns of the times.
    pub(super) fn new(log: &Log<'_>, columns: &Columns, rate: Option<f64>) -> Self {
        let time = |field| columns.get(field).and_then(|column| TimeColumn::new(log, field, column));
        Self { intended: time("intended"), sent: time("sent"), done: time("done"), latency: time("latency"), rate }
    }

    /// Adds notes on times that the log does not have.
    ///
    /// # Errors
    /// The times of a request do not follow from the columns.
    fn check(&self, log: &Log<'_>, head: &Head, notes: &mut Vec<String>) -> Result<(), ReadError> {
        let starts = self.intended.as_ref().or(self.sent.as_ref()).is_some();
        match (starts, self.done.is_some(), self.latency.is_some()) {
            (true, true, _) | (true, _, true) | (_, true, true) => {}
            (false, false, true) if self.rate.is_some() => notes.push(
                "the log has no times; the report assumes that the requests were sent at the given rate".to_owned(),
            ),
            (false, false, true) => {
                let reason = "it has latencies but no times; map intended, sent or done with --columns, or give the rate \
                              at which requests were sent with --rate";
                return Err(log.content(reason.to_owned()));
            }
            _ => {
                let field = if starts { "latency" } else { "intended" };
                return Err(log.no_column(head, field, field));
            }
        }
        if self.intended.is_none() {
            notes.push(
                "the log has no intended start times; latency counts from the actual start, so that a stalled load \
                 generator is not visible"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Returns when the request of a row was intended and sent, in microseconds, or `None` if the row does not say. `index`
    /// is its place in the log, from which its time follows if there is a rate.
    pub(super) fn start(&self, index: Option<u64>, line: &LogLine<'_>) -> Result<Option<[f64; 2]>, String> {
        let intended = moment(self.intended.as_ref(), line)?;
        let sent = moment(self.sent.as_ref(), line)?;
        let mut start = intended.or(sent);
        if start.is_none() {
            let ends = moment(self.done.as_ref(), line)?.zip(span(self.latency.as_ref(), line)?);
            let scheduled = self.rate.zip(index).map(|(rate, index)| index as f64 * 1e6 / rate);
            start = ends.map(|(done, latency)| done - latency).or(scheduled);
        }
        Ok(start.map(|start| [start, sent.unwrap_or(start)]))
    }

    /// Returns when a row that is no request happened, twice.
    fn at(&self, index: Option<u64>, line: &LogLine<'_>) -> Result<Option<[f64; 2]>, String> {
        let done = moment(self.done.as_ref(), line)?.map(|done| [done, done]);
        done.map_or_else(|| self.start(index, line), |done| Ok(Some(done)))
    }

    /// Returns when the request of a row ended, in microseconds, or `None` if the row does not say. `start` is its intended
    /// start.
    fn end(&self, line: &LogLine<'_>, start: f64) -> Result<Option<f64>, String> {
        if let Some(done) = moment(self.done.as_ref(), line)? {
            return Ok(Some(done));
        }
        Ok(span(self.latency.as_ref(), line)?.map(|latency| start + latency))
    }
}

/// Returns a point in time in microseconds; `None` if there is no such column or its cell is empty.
fn moment(column: Option<&TimeColumn>, line: &LogLine<'_>) -> Result<Option<f64>, String> {
    time(column, line, moment_us)
}

/// Returns a length of time in microseconds; `None` if there is no such column or its cell is empty.
fn span(column: Option<&TimeColumn>, line: &LogLine<'_>) -> Result<Option<f64>, String> {
    time(column, line, span_us)
}

fn time(
    column: Option<&TimeColumn>,
    line: &LogLine<'_>,
    read: fn(&str, Option<f64>) -> Result<f64, TimeError>,
) -> Result<Option<f64>, String> {
    let Some((column, text)) = column.and_then(|column| Some((column, line(column.at)?))) else { return Ok(None) };
    read(text, column.unit_us).map(Some).map_err(|error| column.mistake(text, error))
}
