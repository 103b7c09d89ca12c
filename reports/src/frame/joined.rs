//! One table of everything, for other tools: a row an attempt, with its request and what the events tell of it.

use std::{fs::File, path::Path};

use kernel::record::RequestRow;
use polars::prelude::*;
use polars_io::parquet::write::ParquetWriter;

use super::{Frames, texts};

/// Writes the joined table of `frames`, whose requests are `rows`, to `path`.
///
/// # Errors
/// The file cannot be written; polars' own are passed on.
pub fn write_parquet(frames: &Frames, rows: &[RequestRow], path: &Path) -> PolarsResult<()> {
    let mut table = frames.joined(rows)?;
    let file = File::create(path)?;
    ParquetWriter::new(file).finish(&mut table).map(|_| ())
}

impl Frames {
    /// Requests with their attempts, and of each attempt when a server finished its work and how long the client then
    /// backed off. A request without attempts has one row. In order of request and attempt.
    pub(crate) fn joined(&self, rows: &[RequestRow]) -> PolarsResult<DataFrame> {
        let mut requests = self.requests.clone();
        requests.with_column(texts("status", rows.iter().map(|row| Some(row.status.name()))))?;
        requests.with_column(texts("server", rows.iter().map(|row| row.server.as_deref())))?;
        requests.with_column(texts("size", rows.iter().map(|row| Some(row.size.as_str()))))?;
        let requests = requests.lazy().rename(["id", "attempts"], ["request", "attempts_of_call"], true);
        let attempt = [col("request"), col("attempt")];
        requests
            .left_join(self.attempts.clone().lazy(), col("request"), col("request"))
            .join(self.moments("finished", "at_us", "finished_us"), &attempt, &attempt, JoinArgs::new(JoinType::Left))
            .join(
                self.moments("backoff", "backoff_us", "backoff_us"),
                &attempt,
                &attempt,
                JoinArgs::new(JoinType::Left),
            )
            .sort(["request", "attempt"], SortMultipleOptions::default().with_nulls_last(true))
            .collect()
    }

    /// The first value that events of a kind have for each attempt.
    fn moments(&self, event: &'static str, column: &str, name: &str) -> LazyFrame {
        let of_kind = col("event").eq(lit(event)).and(col("attempt").is_not_null());
        let values = self.events.clone().lazy().filter(of_kind);
        values.group_by([col("request"), col("attempt")]).agg([col(column).min().alias(name)])
    }
}
