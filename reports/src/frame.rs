//! The rows of a run as polars frames, and the queries on them: windows, joins, percentiles.
//!
//! Every result has an order that the query demands (ascending windows, ids, names), and consists of integers or of values
//! of the rows. So the same rows give the same figures, however polars distributes the work. A percentile is the nearest
//! rank, as in `kernel::measure`; polars calls it equiprobable.

mod joined;
mod latencies;
mod servers;
mod windows;

use kernel::{
    record::{AttemptRow, EventRow, RequestRow},
    status::Outcome,
};
use polars::prelude::*;

pub use self::{latencies::Latency, servers::ServerTally, windows::Windows};

/// The three tables of a run, as polars frames.
#[derive(Debug, Clone)]
pub struct Frames {
    pub(crate) requests: DataFrame,
    pub(crate) attempts: DataFrame,
    pub(crate) events: DataFrame,
    /// The end of the run, in microseconds.
    pub(crate) end_us: u64,
}

impl Frames {
    /// Returns the frames of a run that ended at `end_us`.
    ///
    /// # Errors
    /// Errors of polars are passed on. The rows cannot cause any.
    pub fn from_rows(
        requests: &[RequestRow],
        attempts: &[AttemptRow],
        events: &[EventRow],
        end_us: u64,
    ) -> PolarsResult<Self> {
        Ok(Self {
            requests: request_frame(requests)?,
            attempts: attempt_frame(attempts)?,
            events: event_frame(events)?,
            end_us,
        })
    }
}

/// Returns the frame of the requests. It is filled in one pass, because each pass over millions of rows takes seconds.
fn request_frame(rows: &[RequestRow]) -> PolarsResult<DataFrame> {
    let mut numbers = ["id", "intended_us", "sent_us", "done_us", "latency_us", "uncorrected_us"]
        .map(|name| PrimitiveChunkedBuilder::<UInt64Type>::new(name.into(), rows.len()));
    let mut counts =
        ["attempts", "failovers"].map(|name| PrimitiveChunkedBuilder::<UInt32Type>::new(name.into(), rows.len()));
    let mut flags = ["ok", "dropped"].map(|name| BooleanChunkedBuilder::new(name.into(), rows.len()));
    for row in rows {
        let uncorrected_us = row.done_us.zip(row.sent_us).map(|(done_us, sent_us)| done_us.saturating_sub(sent_us));
        let values = [Some(row.id), Some(row.intended_us), row.sent_us, row.done_us, row.latency_us, uncorrected_us];
        numbers.iter_mut().zip(values).for_each(|(column, value)| column.append_option(value));
        counts.iter_mut().zip([row.attempts, row.failovers]).for_each(|(column, value)| column.append_value(value));
        let values = [row.status.is_success(), row.status == Outcome::Dropped];
        flags.iter_mut().zip(values).for_each(|(column, value)| column.append_value(value));
    }
    let numbers = numbers.into_iter().map(|column| column.finish().into_series());
    let counts = counts.into_iter().map(|column| column.finish().into_series());
    let flags = flags.into_iter().map(|column| column.finish().into_series());
    DataFrame::new(rows.len(), numbers.chain(counts).chain(flags).map(Column::from).collect())
}

fn attempt_frame(rows: &[AttemptRow]) -> PolarsResult<DataFrame> {
    DataFrame::new(
        rows.len(),
        vec![
            numbers("request", rows.iter().map(|row| Some(row.request))),
            counts("attempt", rows.iter().map(|row| row.attempt)),
            texts("attempt_server", rows.iter().map(|row| Some(row.server.as_str()))),
            numbers("start_us", rows.iter().map(|row| Some(row.start_us))),
            numbers("end_us", rows.iter().map(|row| Some(row.end_us))),
            texts("attempt_status", rows.iter().map(|row| Some(row.status.name()))),
            texts("attempt_cause", rows.iter().map(|row| row.cause.as_deref())),
        ],
    )
}

fn event_frame(rows: &[EventRow]) -> PolarsResult<DataFrame> {
    DataFrame::new(
        rows.len(),
        vec![
            numbers("at_us", rows.iter().map(|row| Some(row.at_us))),
            texts("source", rows.iter().map(|row| Some(row.source.as_str()))),
            texts("event", rows.iter().map(|row| Some(row.event.into()))),
            numbers("request", rows.iter().map(|row| row.request)),
            Column::from(row_attempts(rows)),
            numbers("backoff_us", rows.iter().map(|row| row.duration_us)),
        ],
    )
}

fn row_attempts(rows: &[EventRow]) -> Series {
    UInt32Chunked::from_iter_options("attempt".into(), rows.iter().map(|row| row.attempt)).into_series()
}

fn numbers(name: &str, values: impl Iterator<Item = Option<u64>>) -> Column {
    UInt64Chunked::from_iter_options(name.into(), values).into_series().into()
}

fn counts(name: &str, values: impl Iterator<Item = u32>) -> Column {
    UInt32Chunked::from_iter_values(name.into(), values).into_series().into()
}

fn texts<'a>(name: &str, values: impl Iterator<Item = Option<&'a str>>) -> Column {
    StringChunked::from_iter_options(name.into(), values).into_series().into()
}

/// Returns the nearest-rank percentile of a column, in thousandths as in `kernel::measure`.
fn percentile(column: &str, per_mille: u32) -> Expr {
    col(column).quantile(lit(f64::from(per_mille) / 1000.0), QuantileMethod::Equiprobable)
}

/// Returns a column as whole numbers. A missing value is 0.
fn whole(frame: &DataFrame, column: &str) -> PolarsResult<Vec<u64>> {
    let column = frame.column(column)?.cast(&DataType::UInt64)?;
    Ok(column.u64()?.iter().map(Option::unwrap_or_default).collect())
}

/// Returns a column of microseconds as seconds.
fn seconds(frame: &DataFrame, column: &str) -> PolarsResult<Vec<Option<f64>>> {
    let column = frame.column(column)?.cast(&DataType::Float64)?;
    Ok(column.f64()?.iter().map(|value| value.map(|us| us / 1e6)).collect())
}
