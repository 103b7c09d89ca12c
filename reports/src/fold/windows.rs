//! A run in windows of equal length.

use std::time::Duration;

use kernel::{
    measure::{GroupedValues, seconds},
    record::{AttemptRow, RequestRow},
    status::{Code, Outcome},
};

use crate::rows::RowTable;

/// The greatest number of windows of a run. A plot has fewer pixels, and far more would not fit in memory.
const WINDOWS_MAX: u64 = 1_000_000;

/// The error of a run with more windows than fit in a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} windows are too many; choose a longer --window")]
pub struct TooManyWindows(u64);

/// The run in windows of equal length, from its start to its end.
///
/// Each vector has one entry for each window. Latencies are in seconds; `None` where there are none. Metrics count a request
/// at its intended start, and a plot at its end, so that no line rises before what made it rise.
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
    /// The median latency of the requests intended in the window, from the intended start.
    pub p50: Vec<Option<f64>>,
    /// The 95th percentile of latency of the requests intended in the window, from the intended start.
    pub p95: Vec<Option<f64>>,
    /// The latencies of the requests that ended in the window.
    pub ended: EndedLatencies,
    /// The number of calls that ended in the window, with any status.
    pub completed: Vec<u64>,
    /// The number of calls that ended OK in the window.
    pub completed_ok: Vec<u64>,
    /// The number of attempts of the calls that ended in the window.
    pub completed_attempts: Vec<u64>,
    /// The number of attempts that began in the window; empty if the run has no attempts.
    pub attempts_begun: Vec<u64>,
    /// The number of attempts that ended in the window and failed; empty if the run has no attempts.
    pub attempts_failed: Vec<u64>,
}

/// The latencies of the requests that ended in each window, in seconds; `None` where none did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EndedLatencies {
    /// The median, from the intended start.
    pub p50: Vec<Option<f64>>,
    /// The 95th percentile, from the intended start.
    pub p95: Vec<Option<f64>>,
    /// The 99th percentile, from the intended start.
    pub p99: Vec<Option<f64>>,
    /// The greatest latency, from the intended start.
    pub max: Vec<Option<f64>>,
    /// The median, from the actual start of the call.
    pub uncorrected_p50: Vec<Option<f64>>,
    /// The 99th percentile, from the actual start of the call.
    pub uncorrected_p99: Vec<Option<f64>>,
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

    /// Returns the share of successes among the requests that ended in each window and those that were dropped in it; `None`
    /// where there are none.
    pub fn ended_success_rate(&self) -> Vec<Option<f64>> {
        let ended = self.completed.iter().zip(&self.dropped).map(|(completed, dropped)| completed + dropped);
        self.completed_ok.iter().zip(ended).map(|(part, whole)| ratio(*part, whole)).collect()
    }

    /// Returns the mean number of attempts of the calls that ended in each window; `None` where no call did.
    pub fn attempts_per_call(&self) -> Vec<Option<f64>> {
        let ended = self.completed_attempts.iter().zip(&self.completed);
        ended.map(|(attempts, completed)| ratio(*attempts, *completed)).collect()
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

impl Windows {
    /// Returns a run that ended at `end_us` in windows of `length`.
    ///
    /// # Errors
    /// There are too many windows.
    pub fn of_rows(
        requests: &RowTable<RequestRow>,
        attempts: &RowTable<AttemptRow>,
        end_us: u64,
        length: Duration,
    ) -> Result<Self, TooManyWindows> {
        // The length is a divisor.
        let length_us = u64::try_from(length.as_micros()).unwrap_or(u64::MAX).max(1);
        // A run that ends at 0 still has a window, so that plots have something to draw.
        let count = end_us.div_ceil(length_us).max(1);
        if count > WINDOWS_MAX {
            return Err(TooManyWindows(count));
        }
        let mut windows = Self::empty(count as usize, length_us, end_us);
        windows.count_requests(requests, length_us);
        windows.measure_latencies(requests, length_us);
        // Without rows of attempts nothing is known of them, and zeros would say that there were none.
        if !attempts.is_empty() {
            windows.count_attempts(attempts, length_us);
        }
        Ok(windows)
    }

    fn empty(count: usize, length_us: u64, end_us: u64) -> Self {
        Self {
            length_s: length_us as f64 / 1e6,
            end_s: end_us as f64 / 1e6,
            offered: vec![0; count],
            succeeded: vec![0; count],
            dropped: vec![0; count],
            completed: vec![0; count],
            completed_attempts: vec![0; count],
            completed_ok: vec![0; count],
            ..Self::default()
        }
    }

    fn count_requests(&mut self, requests: &RowTable<RequestRow>, length_us: u64) {
        requests.each(|row| {
            let is_ok = u64::from(row.status.is_success());
            let intended = (row.intended_us / length_us) as usize;
            if intended < self.offered.len() {
                self.offered[intended] += 1;
                self.succeeded[intended] += is_ok;
                self.dropped[intended] += u64::from(row.status == Outcome::Dropped);
            }
            if let Some(done) =
                row.done_us.map(|us| (us / length_us) as usize).filter(|done| *done < self.offered.len())
            {
                self.completed[done] += 1;
                self.completed_ok[done] += is_ok;
                self.completed_attempts[done] += u64::from(row.attempts);
            }
        });
    }

    /// Measures all latencies at once, in three groups for each window, as each pass over millions of rows takes time.
    fn measure_latencies(&mut self, requests: &RowTable<RequestRow>, length_us: u64) {
        let count = self.count();
        let each = |visit: &mut dyn FnMut(usize, u64)| {
            requests.each(|row| {
                let intended = (row.intended_us / length_us) as usize;
                if let Some(us) = row.latency_us.filter(|_| intended < count) {
                    visit(intended, us);
                }
                let Some(done) = row.done_us.map(|us| (us / length_us) as usize).filter(|done| *done < count) else {
                    return;
                };
                if let Some(us) = row.latency_us {
                    visit(count + done, us);
                }
                if let Some(us) = since_sent(row) {
                    visit(2 * count + done, us);
                }
            });
        };
        let percentiles = GroupedValues { groups: 3 * count, each: &each }.percentiles([500, 950, 990, 1000]);
        let percentiles: Vec<[Option<f64>; 4]> =
            percentiles.into_iter().map(|group| group.map(|us| us.map(seconds))).collect();
        let pick = |part: usize, place: usize| -> Vec<Option<f64>> {
            percentiles[part * count..(part + 1) * count].iter().map(|group| group[place]).collect()
        };
        self.p50 = pick(0, 0);
        self.p95 = pick(0, 1);
        self.ended = EndedLatencies {
            p50: pick(1, 0),
            p95: pick(1, 1),
            p99: pick(1, 2),
            max: pick(1, 3),
            uncorrected_p50: pick(2, 0),
            uncorrected_p99: pick(2, 2),
        };
    }

    fn count_attempts(&mut self, attempts: &RowTable<AttemptRow>, length_us: u64) {
        self.attempts_begun = vec![0; self.count()];
        self.attempts_failed = vec![0; self.count()];
        attempts.each(|row| {
            if let Some(begun) = self.attempts_begun.get_mut((row.start_us / length_us) as usize) {
                *begun += 1;
            }
            if row.status != Code::Ok
                && let Some(failed) = self.attempts_failed.get_mut((row.end_us / length_us) as usize)
            {
                *failed += 1;
            }
        });
    }
}

/// Returns the time from when a call began to when it ended.
fn since_sent(row: &RequestRow) -> Option<u64> {
    Some(row.done_us?.saturating_sub(row.sent_us?))
}
