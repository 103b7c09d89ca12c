//! Reads logs of requests that other programs wrote: CSV or JSON lines, with a mapping of the columns.
//!
//! Two of the times `intended` (or `sent`), `done` and `latency` are enough. A log without `intended` cannot show how long
//! a request waited for the load generator; a note says so.

use std::{collections::BTreeMap, fs, path::Path};

use kernel::{
    record::{Records, RequestRow},
    status::Outcome,
};

use super::{
    Columns, Mapping, ReadError,
    columns::Column,
    folder::until_last,
    outcome::{Numbers, outcome},
};
use crate::run::RecordedRun;

/// The cells of a row, by the name of the column.
type Cells = BTreeMap<String, String>;

/// A row of the log.
struct LogLine {
    /// The number of the line, from 1.
    number: usize,
    cells: Cells,
}

impl LogLine {
    /// Returns the value in a column; `None` if the row has none.
    fn cell(&self, column: Option<&Column>) -> Option<&String> {
        self.cells.get(&column?.name)
    }
}

/// A request whose times are as the log has them, in microseconds.
struct TimedRow {
    row: RequestRow,
    intended: f64,
    sent: f64,
    /// The end; `None` for a dropped request.
    done: Option<f64>,
}

pub(super) fn run(path: &Path, mapping: &Mapping) -> Result<RecordedRun, ReadError> {
    let text = fs::read_to_string(path).map_err(ReadError::unreadable(path))?;
    let mut notes = Vec::new();
    let mut lines = if text.trim_start().starts_with('{') { json(path, &text, &mut notes)? } else { csv(path, &text)? };
    for (column, value) in &mapping.only {
        if let Some(present) = missing(&lines, column) {
            let reason = format!("it has no column `{column}` for --only; it has {present}");
            return Err(ReadError::Content { path: path.to_owned(), reason });
        }
        lines.retain(|line| line.cells.get(column) == Some(value));
    }
    let requests = requests(path, &lines, mapping, &mut notes)?;
    Ok(RecordedRun {
        scenario_name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        place: path.to_owned(),
        world: "log".to_owned(),
        seed: 0,
        duration: until_last(&requests),
        servers: 0,
        records: Records { requests, ..Records::default() },
        scenario: None,
        scenario_text: None,
        info: None,
        stored: None,
        notes,
    })
}

fn json(path: &Path, text: &str, notes: &mut Vec<String>) -> Result<Vec<LogLine>, ReadError> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        // A program that was killed leaves a last line without a line break.
        let last = !text.ends_with('\n') && index + 1 == text.lines().count();
        match serde_json::from_str::<BTreeMap<String, serde_json::Value>>(line) {
            Ok(row) => {
                let cells = row.into_iter().filter(|(_, value)| !value.is_null());
                lines.push(LogLine {
                    number: index + 1,
                    cells: cells.map(|(name, value)| (name, plain(&value))).collect(),
                });
            }
            Err(_) if last => {
                notes.push(format!("the log ends in the middle of line {}, which is left out", index + 1))
            }
            Err(error) => {
                return Err(ReadError::Line { path: path.to_owned(), line: index + 1, reason: error.to_string() });
            }
        }
    }
    Ok(lines)
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn csv(path: &Path, text: &str) -> Result<Vec<LogLine>, ReadError> {
    // Other programs leave out empty cells at the end of a row.
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let names: Vec<String> =
        reader.headers().map_err(|error| not_csv(path, &error))?.iter().map(str::to_owned).collect();
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| not_csv(path, &error))?;
        let number = record.position().map_or(0, csv::Position::line) as usize;
        let cells = names.iter().cloned().zip(record.iter().map(str::to_owned));
        lines.push(LogLine { number, cells: cells.filter(|(_, value)| !value.is_empty()).collect() });
    }
    Ok(lines)
}

fn not_csv(path: &Path, error: &csv::Error) -> ReadError {
    ReadError::Content { path: path.to_owned(), reason: error.to_string() }
}

/// Fails if no row has `column`, the one for `what`.
fn require(path: &Path, lines: &[LogLine], what: &'static str, column: &str) -> Result<(), ReadError> {
    match missing(lines, column) {
        None => Ok(()),
        Some(present) => Err(ReadError::NoColumn { path: path.to_owned(), what, column: column.to_owned(), present }),
    }
}

/// Returns the names of all columns if `column` is not among them.
fn missing(lines: &[LogLine], column: &str) -> Option<String> {
    if lines.is_empty() || lines.iter().any(|line| line.cells.contains_key(column)) {
        return None;
    }
    let mut present: Vec<&str> =
        lines.iter().take(100).flat_map(|line| line.cells.keys().map(String::as_str)).collect();
    present.sort_unstable();
    present.dedup();
    Some(present.join(", "))
}

fn requests(
    path: &Path,
    lines: &[LogLine],
    mapping: &Mapping,
    notes: &mut Vec<String>,
) -> Result<Vec<RequestRow>, ReadError> {
    for (field, column) in mapping.columns.iter() {
        require(path, lines, field, &column.name)?;
    }
    let columns = mapping.columns.clone().or_our_own(|name| lines.iter().any(|line| line.cells.contains_key(name)));
    // The status is checked before the times, since a log without it is probably not a log of requests.
    let status = needed(path, lines, &columns, "status")?;
    let times = Times::choose(path, lines, &columns, mapping.rate, notes)?;
    let numbers = status.numbers.unwrap_or_else(|| guess(lines, &status.name));
    let mut rows = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let row = timed_row(index, line, &columns, status, numbers, &times);
        rows.push(row.map_err(|reason| ReadError::Line { path: path.to_owned(), line: line.number, reason })?);
    }
    Ok(since_first(rows))
}

/// Returns the request of a line, the one at `index` in the log.
fn timed_row(
    index: usize,
    line: &LogLine,
    columns: &Columns,
    status: &Column,
    numbers: Numbers,
    times: &Times<'_>,
) -> Result<TimedRow, String> {
    let text = line.cell(Some(status)).ok_or_else(|| format!("`{}` is empty", status.name))?;
    let outcome = outcome(text, numbers).ok_or_else(|| format!("`{text}` is not a known status"))?;
    let [intended, sent] = times.start(index, line)?;
    let row = RequestRow {
        id: index as u64,
        intended_us: 0,
        sent_us: None,
        done_us: None,
        latency_us: None,
        status: outcome,
        server: line.cell(columns.get("server")).cloned().map(Into::into),
        attempts: count(line, columns, "attempts", u32::from(outcome != Outcome::Dropped))?,
        failovers: count(line, columns, "failovers", 0)?,
        hedges: 0,
        rejected: false,
        answer: None,
        size: line.cell(columns.get("size")).cloned().unwrap_or_default(),
    };
    if outcome == Outcome::Dropped {
        return Ok(TimedRow { row, intended, sent: intended, done: None });
    }
    let done = times.end(line, intended)?.ok_or("it has neither a latency nor an end")?;
    Ok(TimedRow { row, intended, sent, done: Some(done) })
}

/// Returns the number in the column of `field`, or `default` if there is none.
fn count(line: &LogLine, columns: &Columns, field: &'static str, default: u32) -> Result<u32, String> {
    let Some(text) = line.cell(columns.get(field)) else { return Ok(default) };
    text.parse().map_err(|_| format!("`{text}` is not a number of {field}"))
}

/// Returns the rows with times that count from the first request, in whole microseconds.
fn since_first(rows: Vec<TimedRow>) -> Vec<RequestRow> {
    let zero = rows.iter().map(|row| row.intended).fold(f64::INFINITY, f64::min);
    rows.into_iter().map(|row| row.since(zero)).collect()
}

impl TimedRow {
    fn since(self, zero: f64) -> RequestRow {
        let intended_us = whole_us(self.intended - zero);
        let latency = self.done.map(|done| (done - self.intended).round());
        let latency_us = latency.filter(|latency| *latency >= 0.0).map(|latency| latency as u64);
        // Rounding one by one could make the three disagree by a microsecond.
        let done_us = latency_us.map(|us| intended_us + us).or_else(|| self.done.map(|done| whole_us(done - zero)));
        RequestRow {
            intended_us,
            sent_us: self.done.map(|_| whole_us(self.sent - zero).max(intended_us)),
            done_us,
            latency_us,
            ..self.row
        }
    }
}

fn whole_us(us: f64) -> u64 {
    us.round().max(0.0) as u64
}

/// Returns the meaning of numbers in a column: statuses of HTTP, unless all of them could be codes of gRPC.
fn guess(lines: &[LogLine], column: &str) -> Numbers {
    let numbers = lines.iter().filter_map(|line| line.cells.get(column)?.parse::<u32>().ok());
    if numbers.max().is_some_and(|highest| highest > 16) { Numbers::Http } else { Numbers::Grpc }
}

/// Returns the column of a field that is required.
fn needed<'a>(
    path: &Path,
    lines: &[LogLine],
    columns: &'a Columns,
    field: &'static str,
) -> Result<&'a Column, ReadError> {
    let Some(column) = columns.get(field) else {
        require(path, lines, field, field)?;
        // The column is there under its own name, or there is no line at all: then no column is missing either.
        let reason = "it has no requests; the format is CSV with a header line, or JSON lines".to_owned();
        return Err(ReadError::Content { path: path.to_owned(), reason });
    };
    Ok(column)
}

/// The columns of the times.
struct Times<'a> {
    intended: Option<&'a Column>,
    sent: Option<&'a Column>,
    done: Option<&'a Column>,
    latency: Option<&'a Column>,
    rate: Option<f64>,
}

impl<'a> Times<'a> {
    /// Returns the columns of the times, and adds notes on times that the log does not have.
    ///
    /// # Errors
    /// The times of a request do not follow from the columns.
    fn choose(
        path: &Path,
        lines: &[LogLine],
        columns: &'a Columns,
        rate: Option<f64>,
        notes: &mut Vec<String>,
    ) -> Result<Self, ReadError> {
        let times = Self {
            intended: columns.get("intended"),
            sent: columns.get("sent"),
            done: columns.get("done"),
            latency: columns.get("latency"),
            rate,
        };
        let starts = times.intended.or(times.sent).is_some();
        match (starts, times.done.is_some(), times.latency.is_some()) {
            (true, true, _) | (true, _, true) | (_, true, true) => {}
            (false, false, true) if rate.is_some() => notes.push(
                "the log has no times; the report assumes that the requests were sent at the given rate".to_owned(),
            ),
            (false, false, true) => {
                let reason = "it has latencies but no times; map intended, sent or done with --columns, or give the rate \
                              at which requests were sent with --rate";
                return Err(ReadError::Content { path: path.to_owned(), reason: reason.to_owned() });
            }
            _ => return needed(path, lines, columns, if starts { "latency" } else { "intended" }).map(|_| times),
        }
        if times.intended.is_none() {
            notes.push(
                "the log has no intended start times; latency counts from the actual start, so that a stalled load \
                 generator is not visible"
                    .to_owned(),
            );
        }
        Ok(times)
    }

    /// Returns when the request of a line was intended and sent, in microseconds. `index` is its place in the log.
    fn start(&self, index: usize, line: &LogLine) -> Result<[f64; 2], String> {
        let intended = time(self.intended, line)?;
        let sent = time(self.sent, line)?;
        let before_end = time(self.done, line)?.zip(time(self.latency, line)?).map(|(done, latency)| done - latency);
        let scheduled = self.rate.map(|rate| index as f64 * 1e6 / rate);
        let start = intended.or(sent).or(before_end).or(scheduled).ok_or("it has no time")?;
        Ok([start, sent.unwrap_or(start)])
    }

    /// Returns when the request of a line ended, in microseconds, or `None` if the line does not say. `start` is its
    /// intended start.
    fn end(&self, line: &LogLine, start: f64) -> Result<Option<f64>, String> {
        Ok(time(self.done, line)?.or(time(self.latency, line)?.map(|latency| start + latency)))
    }
}

/// Returns a time in microseconds; `None` if there is no such column or its cell is empty.
fn time(column: Option<&Column>, line: &LogLine) -> Result<Option<f64>, String> {
    let Some((column, text)) = column.and_then(|column| Some((column, line.cells.get(&column.name)?))) else {
        return Ok(None);
    };
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Some(value * column.unit_us.unwrap_or(1.0))),
        _ => {
            Err(format!("`{text}` in `{}` is not a time; write a number in the unit given with --columns", column.name))
        }
    }
}
