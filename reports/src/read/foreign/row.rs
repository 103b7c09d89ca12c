//! A row of a log as a request.

use std::collections::BTreeSet;

use kernel::{
    record::{Name, RequestRow},
    status::Outcome,
};

use super::{
    super::{
        Columns, Mapping, ReadError,
        columns::Column,
        outcome::{Numbers, outcome},
    },
    log::{Log, LogLine},
    scan::Scan,
};
use crate::rows::{PackedRow, RequestsRead, SERVERS_MAX};

/// The number of texts of statuses whose meaning is remembered.
const OUTCOMES_MAX: usize = 32;

/// Turns rows into requests.
#[derive(Debug)]
pub(super) struct RowReader<'a> {
    only: Vec<(usize, &'a str)>,
    /// The place and the name of the column of the statuses.
    status: (usize, String),
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
    outcomes: Vec<(String, Outcome)>,
    servers: BTreeSet<Name>,
}

impl<'a> RowReader<'a> {
    /// Returns the reader for a log, and adds notes on times that the log does not have.
    ///
    /// # Errors
    /// There is no column of statuses, or the times of a request do not follow from the columns.
    pub(super) fn new(
        log: &Log<'_>,
        scan: &Scan,
        mapping: &'a Mapping,
        notes: &mut Vec<String>,
    ) -> Result<Self, ReadError> {
        let columns = &scan.columns;
        let place = |field| columns.get(field).and_then(|column| log.place(&column.name));
        // The status is checked before the times, since a log without it is probably not a log of requests.
        let Some((column, at)) = columns.get("status").zip(place("status")) else {
            return Err(log.no_column("status", "status")?);
        };
        let times = Times::of(log, columns, mapping.rate);
        times.check(log, notes)?;
        Ok(Self {
            only: mapping.only_places(log),
            status: (at, column.name.clone()),
            numbers: column.numbers.unwrap_or_else(|| guess(scan.highest)),
            times,
            server: place("server"),
            attempts: place("attempts"),
            failovers: place("failovers"),
            size: place("size"),
            zero: scan.zero,
        })
    }

    /// Returns a part of the log whose first request is the one at `index`.
    pub(super) fn part(&self, requests: RequestsRead, index: u64) -> RowsPart {
        RowsPart { requests, index, row: RequestRow::blank(), outcomes: Vec::new(), servers: BTreeSet::new() }
    }
}

impl RowsPart {
    /// Adds a row, unless `--only` leaves it out.
    pub(super) fn add(&mut self, reader: &RowReader<'_>, line: &LogLine<'_>) -> Result<(), String> {
        if !is_wanted(line, &reader.only) {
            return Ok(());
        }
        let status = self.outcome(reader, line)?;
        let [intended, sent] = reader.times.start(Some(self.index), line)?.ok_or("it has no time")?;
        self.row.id = self.index;
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
        self.index += 1;
        self.requests.push(&mut self.row);
        Ok(())
    }

    /// Returns how the request of a row ended.
    fn outcome(&mut self, reader: &RowReader<'_>, line: &LogLine<'_>) -> Result<Outcome, String> {
        let (at, name) = &reader.status;
        let text = line(*at).ok_or_else(|| format!("`{name}` is empty"))?;
        if let Some((_, known)) = self.outcomes.iter().find(|(known, _)| known == text) {
            return Ok(*known);
        }
        let found = outcome(text, reader.numbers).ok_or_else(|| format!("`{text}` is not a known status"))?;
        if self.outcomes.len() == OUTCOMES_MAX {
            self.outcomes.clear();
        }
        self.outcomes.push((text.to_owned(), found));
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
pub(super) fn finished(log: &Log<'_>, parts: Vec<RowsPart>) -> Result<Vec<RequestsRead>, ReadError> {
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

/// Returns whether the row has all values that `--only` asks for.
pub(super) fn is_wanted(line: &LogLine<'_>, only: &[(usize, &str)]) -> bool {
    only.iter().all(|(column, value)| line(*column) == Some(value))
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

/// Returns the meaning of numbers as statuses: those of HTTP, unless all of them could be codes of gRPC.
fn guess(highest: Option<u32>) -> Numbers {
    if highest.is_some_and(|highest| highest > 16) { Numbers::Http } else { Numbers::Grpc }
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
    /// The number of microseconds in one unit.
    unit_us: f64,
}

impl TimeColumn {
    fn of(log: &Log<'_>, column: &Column) -> Option<Self> {
        Some(Self { at: log.place(&column.name)?, name: column.name.clone(), unit_us: column.unit_us.unwrap_or(1.0) })
    }
}

impl Times {
    /// Returns the columns of the times.
    pub(super) fn of(log: &Log<'_>, columns: &Columns, rate: Option<f64>) -> Self {
        let time = |field| columns.get(field).and_then(|column| TimeColumn::of(log, column));
        Self { intended: time("intended"), sent: time("sent"), done: time("done"), latency: time("latency"), rate }
    }

    /// Adds notes on times that the log does not have.
    ///
    /// # Errors
    /// The times of a request do not follow from the columns.
    fn check(&self, log: &Log<'_>, notes: &mut Vec<String>) -> Result<(), ReadError> {
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
                return Err(log.no_column(field, field)?);
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
        let intended = time(self.intended.as_ref(), line)?;
        let sent = time(self.sent.as_ref(), line)?;
        let mut start = intended.or(sent);
        if start.is_none() {
            let ends = time(self.done.as_ref(), line)?.zip(time(self.latency.as_ref(), line)?);
            let scheduled = self.rate.zip(index).map(|(rate, index)| index as f64 * 1e6 / rate);
            start = ends.map(|(done, latency)| done - latency).or(scheduled);
        }
        Ok(start.map(|start| [start, sent.unwrap_or(start)]))
    }

    /// Returns when the request of a row ended, in microseconds, or `None` if the row does not say. `start` is its intended
    /// start.
    fn end(&self, line: &LogLine<'_>, start: f64) -> Result<Option<f64>, String> {
        let latency = || Ok::<_, String>(time(self.latency.as_ref(), line)?.map(|latency| start + latency));
        time(self.done.as_ref(), line)?.map_or_else(latency, |done| Ok(Some(done)))
    }
}

/// Returns a time in microseconds; `None` if there is no such column or its cell is empty.
fn time(column: Option<&TimeColumn>, line: &LogLine<'_>) -> Result<Option<f64>, String> {
    let Some((column, text)) = column.and_then(|column| Some((column, line(column.at)?))) else { return Ok(None) };
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Some(value * column.unit_us)),
        _ => {
            Err(format!("`{text}` in `{}` is not a time; write a number in the unit given with --columns", column.name))
        }
    }
}
