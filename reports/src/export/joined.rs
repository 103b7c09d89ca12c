//! One table with everything, for other tools: a row for each attempt, with its request and its events.

use std::iter::Peekable;

use kernel::{
    record::{AttemptRow, Event, EventRow, Ordered, Position, RequestRow},
    status::Outcome,
};
use polars::prelude::*;

use crate::rows::{CHUNK_ROWS, PackedRow, RowTable, RunTables};

/// Calls `write` with the parts of the table, in order of request and attempt. A request without attempts has one row.
/// `finished_us` says when a server finished the work of an attempt, and `backoff_us` how long the client then backed off.
/// A run without requests has one part without rows.
///
/// # Errors
/// Errors of `write` and of polars are passed on. The rows cannot cause any.
pub(super) fn each_part(tables: &RunTables, mut write: impl FnMut(&DataFrame) -> PolarsResult<()>) -> PolarsResult<()> {
    let finished = Moments::collect(&tables.events, Event::Finished, |row| Some(row.at_us));
    let backoff = Moments::collect(&tables.events, Event::Backoff, |row| row.duration_us);
    let mut requests = in_order(&tables.requests);
    let mut attempts = in_order(&tables.attempts).peekable();
    loop {
        let mut part = Vec::with_capacity(CHUNK_ROWS);
        for request in requests.by_ref().take(CHUNK_ROWS) {
            push_joined(&mut part, request, &mut attempts);
        }
        write(&frame(&part, &finished, &backoff)?)?;
        if part.len() < CHUNK_ROWS {
            return Ok(());
        }
    }
}

/// A request with one of its attempts, if it has any.
type JoinedRow = (RequestRow, Option<AttemptRow>);

/// Adds a row for each attempt of the request, or one row if it has none.
fn push_joined(
    part: &mut Vec<JoinedRow>,
    request: RequestRow,
    attempts: &mut Peekable<impl Iterator<Item = AttemptRow>>,
) {
    // Attempts of requests without a row, as in a file that a crash cut off.
    while attempts.next_if(|attempt| attempt.request < request.id).is_some() {}
    let first = part.len();
    while let Some(attempt) = attempts.next_if(|attempt| attempt.request == request.id) {
        part.push((request.clone(), Some(attempt)));
    }
    if part.len() == first {
        part.push((request, None));
    }
}

/// Returns the rows in the order of their file. Rows of a file that does not have this order are sorted in memory.
fn in_order<T: PackedRow + Ordered>(table: &RowTable<T>) -> Box<dyn Iterator<Item = T> + '_> {
    let mut last: Option<Position> = None;
    let mut is_in_order = true;
    table.each(|row| {
        let next = Some(row.position());
        is_in_order &= last <= next;
        last = next;
    });
    if is_in_order {
        return Box::new(table.iter());
    }
    let mut rows: Vec<T> = table.iter().collect();
    rows.sort_by_key(Ordered::position);
    Box::new(rows.into_iter())
}

/// The least value that events of one kind have for each attempt.
struct Moments(Vec<(u64, u32, u64)>);

impl Moments {
    fn collect(events: &RowTable<EventRow>, event: Event, value: fn(&EventRow) -> Option<u64>) -> Self {
        let mut moments = Vec::new();
        events.each(|row| {
            if row.event == event {
                let moment = row.request.zip(row.attempt).zip(value(row));
                moments.extend(moment.map(|((request, attempt), value)| (request, attempt, value)));
            }
        });
        moments.sort_unstable();
        moments.dedup_by_key(|(request, attempt, _)| (*request, *attempt));
        Self(moments)
    }

    fn time_of(&self, attempt: &AttemptRow) -> Option<u64> {
        let key = (attempt.request, attempt.attempt);
        let found = self.0.binary_search_by_key(&key, |(request, attempt, _)| (*request, *attempt));
        found.ok().map(|at| self.0[at].2)
    }

    fn times_of(&self, rows: &[JoinedRow]) -> impl Iterator<Item = Option<u64>> {
        rows.iter().map(|(_, attempt)| self.time_of(attempt.as_ref()?))
    }
}

fn frame(rows: &[JoinedRow], finished: &Moments, backoff: &Moments) -> PolarsResult<DataFrame> {
    let request = |value: fn(&RequestRow) -> Option<u64>| rows.iter().map(move |(request, _)| value(request));
    let attempt = |value: fn(&AttemptRow) -> u64| rows.iter().map(move |(_, attempt)| attempt.as_ref().map(value));
    let attempts = rows.iter().map(|(_, attempt)| attempt.as_ref());
    DataFrame::new(
        rows.len(),
        vec![
            numbers("request", request(|row| Some(row.id))),
            numbers("intended_us", request(|row| Some(row.intended_us))),
            numbers("sent_us", request(|row| row.sent_us)),
            numbers("done_us", request(|row| row.done_us)),
            numbers("latency_us", request(|row| row.latency_us)),
            numbers("uncorrected_us", request(|row| Some(row.done_us?.saturating_sub(row.sent_us?)))),
            counts("attempts_of_call", rows.iter().map(|(request, _)| Some(request.attempts))),
            counts("failovers", rows.iter().map(|(request, _)| Some(request.failovers))),
            flags("ok", rows, |row| row.status.is_success()),
            flags("dropped", rows, |row| row.status == Outcome::Dropped),
            texts("status", rows.iter().map(|(request, _)| Some(request.status.name()))),
            texts("server", rows.iter().map(|(request, _)| request.server.as_deref())),
            texts("size", rows.iter().map(|(request, _)| Some(request.size.as_str()))),
            counts("attempt", attempts.clone().map(|row| Some(row?.attempt))),
            texts("attempt_server", attempts.clone().map(|row| Some(row?.server.as_str()))),
            numbers("start_us", attempt(|row| row.start_us)),
            numbers("end_us", attempt(|row| row.end_us)),
            texts("attempt_status", attempts.clone().map(|row| Some(row?.status.name()))),
            texts("attempt_cause", attempts.map(|row| row?.cause.as_deref())),
            numbers("finished_us", finished.times_of(rows)),
            numbers("backoff_us", backoff.times_of(rows)),
            texts("kind", rows.iter().map(|(request, _)| request.kind.as_deref())),
            counts("user", rows.iter().map(|(request, _)| request.user)),
        ],
    )
}

fn numbers(name: &str, values: impl Iterator<Item = Option<u64>>) -> Column {
    UInt64Chunked::from_iter_options(name.into(), values).into_series().into()
}

fn counts(name: &str, values: impl Iterator<Item = Option<u32>>) -> Column {
    UInt32Chunked::from_iter_options(name.into(), values).into_series().into()
}

fn flags(name: &str, rows: &[JoinedRow], value: fn(&RequestRow) -> bool) -> Column {
    BooleanChunked::from_iter_values(name.into(), rows.iter().map(|(request, _)| value(request))).into_series().into()
}

fn texts<'a>(name: &str, values: impl Iterator<Item = Option<&'a str>>) -> Column {
    StringChunked::from_iter_options(name.into(), values).into_series().into()
}
