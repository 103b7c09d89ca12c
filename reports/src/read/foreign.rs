//! A log of requests that another program wrote: CSV or JSON lines, with a mapping of its columns.
//!
//! Of the times, two of `intended` (or `sent`), `done` and `latency` are enough. A log that knows only when a request
//! was sent cannot show how long it waited for the load generator; a note says so.

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

/// The cells of a row, by the column's name.
type Cells = BTreeMap<String, String>;

/// A row of the log and the number of its line.
struct LogLine {
    number: usize,
    cells: Cells,
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
    let broken = |error: csv::Error| ReadError::Content { path: path.to_owned(), reason: error.to_string() };
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers().map_err(broken)?.iter().map(str::to_owned).collect();
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(broken)?;
        let number = record.position().map_or(0, csv::Position::line) as usize;
        let cells = names.iter().cloned().zip(record.iter().map(str::to_owned));
        lines.push(LogLine { number, cells: cells.filter(|(_, value)| !value.is_empty()).collect() });
    }
    Ok(lines)
}

/// Refuses a column that no row has.
fn require(path: &Path, lines: &[LogLine], what: &'static str, column: &str) -> Result<(), ReadError> {
    let refusal = |present| ReadError::NoColumn { path: path.to_owned(), what, column: column.to_owned(), present };
    missing(lines, column).map_or(Ok(()), |present| Err(refusal(present)))
}

/// The columns that there are, if `column` is none of them.
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
    let status = needed(path, lines, &columns, "status")?;
    let times = Times::choose(path, lines, &columns, mapping.rate, notes)?;
    let numbers = status.numbers.unwrap_or_else(|| guess(lines, &status.name));
    let parsed = lines.iter().enumerate().map(|(index, line)| {
        let wrong = |reason| ReadError::Line { path: path.to_owned(), line: line.number, reason };
        let text = line.cells.get(&status.name).ok_or_else(|| wrong(format!("`{}` is empty", status.name)))?;
        let outcome = outcome(text, numbers).ok_or_else(|| wrong(format!("`{text}` is no status that is known")))?;
        let (intended, sent, done) = times.of_row(index, line, outcome).map_err(wrong)?;
        let count = |field, otherwise| {
            let cell = columns.get(field).and_then(|column: &Column| line.cells.get(&column.name));
            cell.map_or(Ok(otherwise), |text| {
                text.parse::<u32>().map_err(|_| wrong(format!("`{text}` is no count of {field}")))
            })
        };
        let name = |field| columns.get(field).and_then(|column: &Column| line.cells.get(&column.name)).cloned();
        let row = RequestRow {
            id: index as u64,
            intended_us: 0,
            sent_us: None,
            done_us: None,
            latency_us: None,
            status: outcome,
            server: name("server").map(Into::into),
            attempts: count("attempts", u32::from(outcome != Outcome::Dropped))?,
            failovers: count("failovers", 0)?,
            hedges: 0,
            rejected: false,
            answer: None,
            size: name("size").unwrap_or_default(),
        };
        Ok((row, intended, sent, done))
    });
    let parsed: Vec<(RequestRow, f64, f64, Option<f64>)> = parsed.collect::<Result<_, ReadError>>()?;
    Ok(since_the_first(parsed))
}

/// Times count from the first request.
fn since_the_first(parsed: Vec<(RequestRow, f64, f64, Option<f64>)>) -> Vec<RequestRow> {
    let zero = parsed.iter().map(|(_, intended, ..)| *intended).fold(f64::INFINITY, f64::min);
    let us = |at: f64| (at - zero).round().max(0.0) as u64;
    let row = |(row, intended, sent, done): (RequestRow, f64, f64, Option<f64>)| {
        let (intended_us, done_us) = (us(intended), done.map(us));
        let latency_us =
            done.map(|done| (done - intended).round()).filter(|latency| *latency >= 0.0).map(|us| us as u64);
        // Rounding one by one could make the three disagree by a microsecond.
        let done_us = latency_us.map(|latency_us| intended_us + latency_us).or(done_us);
        RequestRow { intended_us, sent_us: done.map(|_| us(sent).max(intended_us)), done_us, latency_us, ..row }
    };
    parsed.into_iter().map(row).collect()
}

/// HTTP's numbers, unless all of them could be gRPC's.
fn guess(lines: &[LogLine], column: &str) -> Numbers {
    let numbers = lines.iter().filter_map(|line| line.cells.get(column)?.parse::<u32>().ok());
    if numbers.max().is_some_and(|highest| highest > 16) { Numbers::Http } else { Numbers::Grpc }
}

fn needed<'a>(
    path: &Path,
    lines: &[LogLine],
    columns: &'a Columns,
    field: &'static str,
) -> Result<&'a Column, ReadError> {
    let nothing = || ReadError::Content {
        path: path.to_owned(),
        reason: "it holds no request; write CSV with a line of names, or JSON lines".into(),
    };
    match columns.get(field) {
        Some(column) => Ok(column),
        None => Err(require(path, lines, field, field).err().unwrap_or_else(nothing)),
    }
}

/// Where a row's times are.
struct Times<'a> {
    intended: Option<&'a Column>,
    sent: Option<&'a Column>,
    done: Option<&'a Column>,
    latency: Option<&'a Column>,
    rate: Option<f64>,
}

impl<'a> Times<'a> {
    fn choose(
        path: &Path,
        lines: &[LogLine],
        columns: &'a Columns,
        rate: Option<f64>,
        notes: &mut Vec<String>,
    ) -> Result<Self, ReadError> {
        let get = |field| columns.get(field);
        let times =
            Self { intended: get("intended"), sent: get("sent"), done: get("done"), latency: get("latency"), rate };
        let starts = times.intended.or(times.sent).is_some();
        match (starts, times.done.is_some(), times.latency.is_some()) {
            (true, true, _) | (true, _, true) | (_, true, true) => {}
            (false, false, true) if rate.is_some() => notes.push(
                "the log has no times: its rows are taken to have been sent one after another at the given rate"
                    .to_owned(),
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
                "the log does not say when a request was meant to be sent: latency counts from when it was sent, and a \
                 load generator that stalls does not show"
                    .to_owned(),
            );
        }
        Ok(times)
    }

    /// When the row's request was intended, sent and done, in microseconds; it is not done if it was dropped.
    fn of_row(&self, index: usize, line: &LogLine, outcome: Outcome) -> Result<(f64, f64, Option<f64>), String> {
        let intended = self.intended.map(|column| time(column, line)).transpose()?.flatten();
        let sent = self.sent.map(|column| time(column, line)).transpose()?.flatten();
        let done = self.done.map(|column| time(column, line)).transpose()?.flatten();
        let latency = self.latency.map(|column| time(column, line)).transpose()?.flatten();
        let scheduled = self.rate.map(|rate| index as f64 * 1e6 / rate);
        let start = intended.or(sent).or(done.zip(latency).map(|(done, latency)| done - latency)).or(scheduled);
        let start = start.ok_or("there is no time in it")?;
        let end = done.or(latency.map(|latency| start + latency));
        match (outcome, end) {
            (Outcome::Dropped, _) => Ok((start, start, None)),
            (_, Some(end)) => Ok((start, sent.unwrap_or(start), Some(end))),
            (_, None) => Err("it has neither a latency nor an end".to_owned()),
        }
    }
}

/// In microseconds; `None` of an empty cell.
fn time(column: &Column, line: &LogLine) -> Result<Option<f64>, String> {
    let Some(text) = line.cells.get(&column.name) else { return Ok(None) };
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Some(value * column.unit_us.unwrap_or(1.0))),
        _ => Err(format!("`{text}` in `{}` is no time; write a number, in the unit that --columns says", column.name)),
    }
}
