//! A run in windows of equal length.

use std::time::Duration;

use polars::prelude::*;

use super::{Frames, percentile, seconds, whole};

/// The greatest number of windows of a run. A plot has fewer pixels, and far more would not fit in memory.
pub(super) const WINDOWS_MAX: u64 = 1_000_000;

/// The run in windows of equal length, from its start to its end.
///
/// Each vector has one entry for each window. Latencies are in seconds, those of the requests intended in the window; `None`
/// where there are none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Windows {
    /// The length of a window, in seconds.
    pub length_s: f64,
    /// The end of the run, in seconds.
    pub end_s: f64,
    /// The number of requests intended in the window, including dropped ones.
    pub offered: Vec<u64>,
    /// The number of these requests that ended OK, in this window or a later one.
    pub succeeded: Vec<u64>,
    /// The number of these requests that were dropped.
    pub dropped: Vec<u64>,
    /// The number of attempts of these requests.
    pub attempts: Vec<u64>,
    /// The median latency, from the intended start.
    pub p50: Vec<Option<f64>>,
    /// The 95th percentile of latency, from the intended start.
    pub p95: Vec<Option<f64>>,
    /// The 99th percentile of latency, from the intended start.
    pub p99: Vec<Option<f64>>,
    /// The greatest latency, from the intended start.
    pub max: Vec<Option<f64>>,
    /// The median latency, from the actual start of the call.
    pub uncorrected_p50: Vec<Option<f64>>,
    /// The 99th percentile of latency, from the actual start of the call.
    pub uncorrected_p99: Vec<Option<f64>>,
    /// The number of calls that ended in the window, with any status.
    pub completed: Vec<u64>,
    /// The number of calls that ended OK in the window.
    pub completed_ok: Vec<u64>,
    /// The number of attempts that began in the window; empty if the run has no attempts.
    pub attempts_begun: Vec<u64>,
    /// The number of attempts that began in the window and failed, in it or later; empty if the run has no attempts.
    pub attempts_failed: Vec<u64>,
}

impl Windows {
    /// Returns the number of windows.
    pub fn count(&self) -> usize {
        self.offered.len()
    }

    /// Returns the number of windows that the run fills, from the first on; all of them if it does not fill any.
    pub fn whole(&self) -> usize {
        // The quotient of decimal fractions such as 0.1 may be just below a whole number.
        let filled = (self.end_s / self.length_s + 1e-9) as usize;
        if filled == 0 { self.count() } else { filled.min(self.count()) }
    }

    /// Returns the index of the window that contains a time. It may be beyond the last window.
    pub fn index_at(&self, at_us: u64) -> usize {
        (at_us as f64 / 1e6 / self.length_s) as usize
    }

    /// Returns the beginning of each window, in seconds.
    pub fn starts(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.count()).map(|index| index as f64 * self.length_s)
    }

    /// Returns the share of the requests intended in each window that succeeded; `None` where there are no requests.
    pub fn success_rate(&self) -> Vec<Option<f64>> {
        self.succeeded.iter().zip(&self.offered).map(|(part, whole)| ratio(*part, *whole)).collect()
    }

    /// Returns the mean number of attempts per call that was sent; `None` where no call was sent.
    pub fn attempts_per_call(&self) -> Vec<Option<f64>> {
        let sent = self.offered.iter().zip(&self.dropped).map(|(offered, dropped)| offered - dropped);
        self.attempts.iter().zip(sent).map(|(attempts, sent)| ratio(*attempts, sent)).collect()
    }

    /// Returns a number per second in each window that the run fills. The last window, which the end of the run cuts
    /// short, has no rate.
    pub fn rates(&self, counts: &[u64]) -> Vec<Option<f64>> {
        let whole = self.whole();
        let rates = counts.iter().enumerate();
        rates.map(|(index, count)| (index < whole).then_some(*count as f64 / self.length_s)).collect()
    }
}

/// Returns the quotient; `None` for a denominator of 0.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Frames {
    /// Returns the run in windows of `length`.
    ///
    /// # Errors
    /// There are too many windows. Errors of polars are passed on.
    pub fn windows(&self, length: Duration) -> PolarsResult<Windows> {
        // Polars divides by the length.
        let length_us = u64::try_from(length.as_micros()).unwrap_or(u64::MAX).max(1);
        // A run that ends at 0 still has a window, so that plots have something to draw.
        let count = self.end_us.div_ceil(length_us).max(1);
        polars_ensure!(
            count <= WINDOWS_MAX,
            ComputeError: "{count} windows are too many; choose a longer --window"
        );
        // Windows without requests must be in the result, too.
        let every = every_window(count, length_us)?;
        let frame = every
            .lazy()
            .left_join(self.by_intention(length_us), col("window"), col("window"))
            .left_join(self.by_completion(length_us), col("window"), col("window"))
            .left_join(self.attempts_by_start(length_us), col("window"), col("window"))
            .sort(["window"], SortMultipleOptions::default())
            .collect()?;
        // Without rows of attempts nothing is known of them, and zeros would say that there were none.
        let has_attempts = self.attempts.height() > 0;
        Ok(Windows {
            length_s: length_us as f64 / 1e6,
            end_s: self.end_us as f64 / 1e6,
            offered: whole(&frame, "offered")?,
            succeeded: whole(&frame, "succeeded")?,
            dropped: whole(&frame, "dropped")?,
            attempts: whole(&frame, "attempts")?,
            p50: seconds(&frame, "p50")?,
            p95: seconds(&frame, "p95")?,
            p99: seconds(&frame, "p99")?,
            max: seconds(&frame, "max")?,
            uncorrected_p50: seconds(&frame, "uncorrected_p50")?,
            uncorrected_p99: seconds(&frame, "uncorrected_p99")?,
            completed: whole(&frame, "completed")?,
            completed_ok: whole(&frame, "completed_ok")?,
            attempts_begun: if has_attempts { whole(&frame, "attempts_begun")? } else { Vec::new() },
            attempts_failed: if has_attempts { whole(&frame, "attempts_failed")? } else { Vec::new() },
        })
    }

    fn by_intention(&self, length_us: u64) -> LazyFrame {
        self.requests.clone().lazy().group_by([window_of("intended_us", length_us)]).agg([
            len().alias("offered"),
            total("ok").alias("succeeded"),
            total("dropped"),
            total("attempts"),
            percentile("latency_us", 500).alias("p50"),
            percentile("latency_us", 950).alias("p95"),
            percentile("latency_us", 990).alias("p99"),
            col("latency_us").max().alias("max"),
            percentile("uncorrected_us", 500).alias("uncorrected_p50"),
            percentile("uncorrected_us", 990).alias("uncorrected_p99"),
        ])
    }

    fn by_completion(&self, length_us: u64) -> LazyFrame {
        let ended =
            self.requests.clone().lazy().select([col("done_us"), col("ok")]).filter(col("done_us").is_not_null());
        ended
            .group_by([window_of("done_us", length_us)])
            .agg([len().alias("completed"), col("ok").cast(DataType::UInt64).sum().alias("completed_ok")])
    }

    fn attempts_by_start(&self, length_us: u64) -> LazyFrame {
        self.attempts.clone().lazy().group_by([window_of("start_us", length_us)]).agg([
            len().alias("attempts_begun"),
            col("attempt_status").neq(lit("OK")).cast(DataType::UInt64).sum().alias("attempts_failed"),
        ])
    }
}

/// Returns the sum of a column of counts or flags.
fn total(column: &str) -> Expr {
    col(column).cast(DataType::UInt64).sum()
}

/// Returns the beginning of the window that contains the time in `column`.
fn window_of(column: &str, length_us: u64) -> Expr {
    (col(column) - col(column) % lit(length_us)).alias("window")
}

fn every_window(count: u64, length_us: u64) -> PolarsResult<DataFrame> {
    let starts = (0..count).map(|index| Some(index * length_us));
    DataFrame::new(count as usize, vec![super::numbers("window", starts)])
}
