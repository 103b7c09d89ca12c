//! Percentiles of any stretch of the run.

use polars::prelude::*;

use super::{Frames, percentile, seconds, whole};

/// How long the requests of a stretch took, in seconds from their intended start; `None` of nothing.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Latency {
    /// Intended in the stretch, dropped ones included.
    pub requests: u64,
    pub p50_s: Option<f64>,
    pub p95_s: Option<f64>,
    pub p99_s: Option<f64>,
    pub max_s: Option<f64>,
}

impl Frames {
    /// Of the requests intended from `from_us` to just before `to_us`.
    ///
    /// # Errors
    /// Polars' own.
    pub fn latency(&self, from_us: u64, to_us: u64) -> PolarsResult<Latency> {
        // Polars' literals are signed.
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
        let first = |column: &str| Ok::<_, PolarsError>(seconds(&frame, column)?.first().copied().flatten());
        Ok(Latency {
            requests: whole(&frame, "requests")?.first().copied().unwrap_or_default(),
            p50_s: first("p50")?,
            p95_s: first("p95")?,
            p99_s: first("p99")?,
            max_s: first("max")?,
        })
    }
}
