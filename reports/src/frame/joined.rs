//! One table with everything, for other tools: a row for each attempt, with its request and its events.

use kernel::record::RequestRow;
use polars::prelude::*;

use super::{Frames, texts};

impl Frames {
    /// Returns the requests with their attempts, in order of request and attempt. A request without attempts has one row.
    /// `finished_us` says when a server finished the work of an attempt, and `backoff_us` how long the client then
    /// backed off.
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

    /// Returns the smallest value in `column` that events of a kind have for each attempt, as a column called `name`.
    fn moments(&self, event: &'static str, column: &str, name: &str) -> LazyFrame {
        let is_wanted = col("event").eq(lit(event)).and(col("attempt").is_not_null());
        let values = self.events.clone().lazy().filter(is_wanted);
        values.group_by([col("request"), col("attempt")]).agg([col(column).min().alias(name)])
    }
}
