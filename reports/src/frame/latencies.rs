//! Percentiles of a stretch of the run.

use polars::prelude::*;

use super::{Frames, percentile, seconds, whole};

/// The latencies of the requests of a stretch, in seconds from their intended start; `None` if there are no requests.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Latency {
    /// The number of requests intended in the stretch, including dropped ones.
    pub requests: u64,
    /// The median.
    pub p50_s: Option<f64>,
    /// The 95th percentile.
    pub p95_s: Option<f64>,
    /// The 99th percentile.
    pub p99_s: Option<f64>,
    /// The greatest latency.
    pub max_s: Option<f64>,
}

impl Frames {
    /// Returns the latencies of the requests intended from `from_us` to just before `to_us`.
    ///
    /// # Errors
    /// Errors of polars are passed on.
    pub fn latency(&self, from_us: u64, to_us: u64) -> PolarsResult<Latency> {
        // Literals of polars are signed.
        let to_us = to_us.min(i64::MAX as u64);
        let within = col("intended_us").gt_eq(lit(from_us)).and(col("intended_us").lt(lit(to_us)));
        let frame = self
            .requests
            .clone()
            .lazy()
            .filter(within)
            .select([
                len().alias("requests"),
                percentile("latency_us", 500).alias("p50"),
                percentile("latency_us", 950).alias("p95"),
                percentile("latency_us", 990).alias("p99"),
                col("latency_us").max().alias("max"),
            ])
            .collect()?;
        Ok(Latency {
            requests: whole(&frame, "requests")?.first().copied().unwrap_or_default(),
            p50_s: first(&frame, "p50")?,
            p95_s: first(&frame, "p95")?,
            p99_s: first(&frame, "p99")?,
            max_s: first(&frame, "max")?,
        })
    }
}

/// Returns the first value of a column of microseconds, in seconds.
fn first(frame: &DataFrame, column: &str) -> PolarsResult<Option<f64>> {
    Ok(seconds(frame, column)?.first().copied().flatten())
}
