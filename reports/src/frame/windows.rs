//! The run in windows of equal length.

use std::time::Duration;

use polars::prelude::*;

use super::{Frames, percentile, seconds, whole};

/// Windows in a run, at most: more than a plot has pixels and less than memory has room for.
pub(super) const WINDOWS_MAX: u64 = 1_000_000;

/// What happened in each window of the run, from its start to its end; one entry a window. Latencies are in seconds, of
/// the requests that were intended in the window; `None` where there is none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Windows {
    pub length_s: f64,
    /// When the run was over.
    pub end_s: f64,
    /// Requests intended in the window, dropped ones included.
    pub offered: Vec<u64>,
    /// Those of them that ended OK, whenever they did.
    pub succeeded: Vec<u64>,
    pub dropped: Vec<u64>,
    /// Attempts of the calls intended in the window.
    pub attempts: Vec<u64>,
    /// From the intended start.
    pub p50: Vec<Option<f64>>,
    pub p95: Vec<Option<f64>>,
    pub p99: Vec<Option<f64>>,
    pub max: Vec<Option<f64>>,
    /// From when the call began.
    pub uncorrected_p50: Vec<Option<f64>>,
    pub uncorrected_p99: Vec<Option<f64>>,
    /// Calls that ended in the window, whatever their status.
    pub completed: Vec<u64>,
    /// Those of them that ended OK.
    pub completed_ok: Vec<u64>,
    /// Attempts that began in the window; empty without a record of attempts.
    pub attempts_begun: Vec<u64>,
    /// Those that began in it and failed, whenever they did; empty likewise.
    pub attempts_failed: Vec<u64>,
}

impl Windows {
    pub fn count(&self) -> usize {
        self.offered.len()
    }

    /// How many windows, from the first, the run fills; all of them if it does not even fill one.
    pub fn whole(&self) -> usize {
        let filled = (self.end_s / self.length_s + 1e-9) as usize;
        if filled == 0 { self.count() } else { filled.min(self.count()) }
    }

    /// Where each window begins, in seconds.
    pub fn starts(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.count()).map(|index| index as f64 * self.length_s)
    }

    /// The share of the requests intended in each window that succeeded; `None` where there was none.
    pub fn success_rate(&self) -> Vec<Option<f64>> {
        let share = |(part, whole): (&u64, &u64)| (*whole > 0).then(|| *part as f64 / *whole as f64);
        self.succeeded.iter().zip(&self.offered).map(share).collect()
    }

    /// Mean number of attempts a call that was sent; `None` where there was none.
    pub fn attempts_per_call(&self) -> Vec<Option<f64>> {
        let sent = self.offered.iter().zip(&self.dropped).map(|(offered, dropped)| offered - dropped);
        self.attempts
            .iter()
            .zip(sent)
            .map(|(attempts, sent)| (sent > 0).then(|| *attempts as f64 / sent as f64))
            .collect()
    }
}

impl Frames {
    /// The run in windows of `length`.
    ///
    /// # Errors
    /// The windows are too many; polars' own are passed on.
    pub fn windows(&self, length: Duration) -> PolarsResult<Windows> {
        let length_us = u64::try_from(length.as_micros()).unwrap_or(u64::MAX).max(1);
        let count = self.end_us.div_ceil(length_us).max(1);
        polars_ensure!(
            count <= WINDOWS_MAX,
            ComputeError: "{count} windows are too many; choose a longer --window"
        );
        let every = every_window(count, length_us)?;
        let frame = every
            .lazy()
            .left_join(self.by_intention(length_us), col("window"), col("window"))
            .left_join(self.by_completion(length_us), col("window"), col("window"))
            .left_join(self.attempts_by_start(length_us), col("window"), col("window"))
            .sort(["window"], SortMultipleOptions::default())
            .collect()?;
        let (begun, failed) = if self.attempts.height() > 0 {
            (whole(&frame, "attempts_begun")?, whole(&frame, "attempts_failed")?)
        } else {
            Default::default()
        };
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
            attempts_begun: begun,
            attempts_failed: failed,
        })
    }

    fn by_intention(&self, length_us: u64) -> LazyFrame {
        let count = |column: &str| col(column).cast(DataType::UInt64).sum();
        self.requests.clone().lazy().group_by([window_of("intended_us", length_us)]).agg([
            len().alias("offered"),
            count("ok").alias("succeeded"),
            count("dropped"),
            count("attempts"),
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

/// Where the window begins that holds the time in `column`.
fn window_of(column: &str, length_us: u64) -> Expr {
    (col(column) - col(column) % lit(length_us)).alias("window")
}

fn every_window(count: u64, length_us: u64) -> PolarsResult<DataFrame> {
    let starts = (0..count).map(|index| Some(index * length_us));
    DataFrame::new(count as usize, vec![super::numbers("window", starts)])
}
