//! The requests of a run as Prometheus has them: counters as they are scraped, and their rates.

use std::collections::BTreeMap;

use super::settings::{Slo, SloKind};
use crate::{record::RequestRow, status::Outcome};

/// Microseconds in a millisecond, the resolution of Prometheus's times.
const US_PER_MS: u64 = 1_000;

/// A counter, and its value at each scrape. It only grows, as no process of a client restarts in a run.
#[derive(Debug, Clone, Default)]
struct Counter {
    /// The first scrape that has it.
    first: u64,
    values: Vec<u64>,
}

impl Counter {
    /// Counts one more from the scrape with this number on; the sums are formed by `accumulate`.
    fn count(&mut self, scrape: u64) {
        let at = usize::try_from(scrape).unwrap_or(usize::MAX);
        if self.values.len() <= at {
            self.values.resize(at + 1, 0);
        }
        self.values[at] += 1;
    }

    /// Turns the counts of single scrapes into sums, up to the scrape `last`.
    fn accumulate(&mut self, last: u64) {
        self.values.resize(usize::try_from(last).unwrap_or(usize::MAX).saturating_add(1), 0);
        let mut sum = 0;
        for value in &mut self.values {
            sum += *value;
            *value = sum;
        }
    }

    fn value(&self, scrape: u64) -> u64 {
        let at = usize::try_from(scrape).unwrap_or(usize::MAX);
        self.values.get(at).or(self.values.last()).copied().unwrap_or(0)
    }

    /// Returns `rate(counter[window])` at `at_ms` as Prometheus 2 computes it (`extrapolatedRate`): the growth between the first and the
    /// last scrape in the window, both ends included, extrapolated to its ends, by the second. `None` with fewer than two scrapes in it.
    fn rate(&self, interval_ms: u64, (window_ms, at_ms): (u64, u64)) -> Option<f64> {
        let first = at_ms.saturating_sub(window_ms).div_ceil(interval_ms).max(self.first);
        let last = (at_ms / interval_ms).min(self.values.len().saturating_sub(1) as u64);
        if last <= first {
            return None;
        }
        let seconds = |ms: u64| ms as f64 / 1_000.0;
        let from = self.value(first) as f64;
        let growth = (self.value(last) - self.value(first)) as f64;
        let sampled = seconds((last - first) * interval_ms);
        // The start of the window may be before that of the run.
        let to_start = seconds((first * interval_ms + window_ms) - at_ms);
        let to_end = seconds(at_ms - last * interval_ms);
        // A counter is not extrapolated to a time at which it would have been below zero.
        let to_zero = if growth > 0.0 { sampled * (from / growth) } else { f64::INFINITY };
        let average = sampled / (last - first) as f64;
        let reached = |gap: f64| if gap < average * 1.1 { gap } else { average / 2.0 };
        let extrapolated = sampled + reached(to_start.min(to_zero)) + reached(to_end);
        Some(growth * (extrapolated / sampled / seconds(window_ms)))
    }
}

/// The counters that the rules of an objective read.
#[derive(Debug, Clone)]
pub(super) struct Scraped {
    kind: SloKind,
    interval_us: u64,
    /// The counters of the requests: for availability by status; for latency those with the status OK, all as `ALL` and the good ones as
    /// `GOOD`.
    counters: BTreeMap<&'static str, Counter>,
    /// The number of the last scrape.
    last: u64,
}

/// The counters of a latency: a bucket of the histogram, and the count of it. Each is a series of its own to Prometheus.
const GOOD: &str = "good";
const ALL: &str = "all";

impl Scraped {
    /// Creates the counters of an objective, without requests.
    pub(super) fn new(slo: &Slo) -> Self {
        let interval_us = u64::try_from(slo.scrape_interval.as_micros()).unwrap_or(u64::MAX).max(US_PER_MS);
        Self { kind: slo.kind, interval_us, counters: BTreeMap::new(), last: 0 }
    }

    /// Counts a request at its end.
    pub(super) fn add(&mut self, slo: &Slo, row: &RequestRow) {
        let Some(is_good) = slo.is_good(row) else { return };
        let scrape = row.done_us.unwrap_or(row.intended_us).div_ceil(self.interval_us);
        self.last = self.last.max(scrape);
        let mut count = |name| self.counters.entry(name).or_default().count(scrape);
        match self.kind {
            SloKind::Availability => count(row.status.name()),
            SloKind::Latency => {
                count(ALL);
                if is_good {
                    count(GOOD);
                }
            }
        }
    }

    /// Ends the counting of a run that lasted until `end_us`.
    pub(super) fn finish(mut self, end_us: u64) -> Self {
        self.last = self.last.max(end_us.div_ceil(self.interval_us));
        if self.kind == SloKind::Latency {
            self.counters.entry(GOOD).or_default();
        }
        // The series of a histogram begin with its first request. Those of statuses are there from the start.
        let begin = self.counters.get(ALL).and_then(|all| all.values.iter().position(|count| *count > 0));
        let begin = begin.unwrap_or(0).saturating_sub(1) as u64;
        for counter in self.counters.values_mut() {
            counter.first = begin;
            counter.accumulate(self.last);
        }
        self
    }

    /// Returns the time of the last scrape, in milliseconds.
    pub(super) fn end_ms(&self) -> u64 {
        self.last * self.interval_ms()
    }

    fn interval_ms(&self) -> u64 {
        self.interval_us / US_PER_MS
    }

    /// Returns the share of bad requests over a window that ends at `at_ms`, as the rules compute it. `None` if Prometheus has no value, or
    /// one that is not a number, as of no request.
    pub(super) fn error_ratio(&self, window_ms: u64, at_ms: u64) -> Option<f64> {
        let rate = |counter: &Counter| counter.rate(self.interval_ms(), (window_ms, at_ms));
        let ratio = match self.kind {
            SloKind::Availability => {
                let mut bad = 0.0;
                let mut all = 0.0;
                for (status, counter) in &self.counters {
                    let rate = rate(counter)?;
                    all += rate;
                    bad += if *status == Outcome::OK.name() { 0.0 } else { rate };
                }
                bad / all
            }
            SloKind::Latency => 1.0 - rate(self.counters.get(GOOD)?)? / rate(self.counters.get(ALL)?)?,
        };
        Some(ratio).filter(|ratio| !ratio.is_nan())
    }

    /// Returns the numbers of good and of bad requests that ended after `from_us` and until `to_us`, to a scrape.
    pub(super) fn counts(&self, from_us: u64, to_us: u64) -> (u64, u64) {
        let from = from_us / self.interval_us;
        let to = to_us.div_ceil(self.interval_us);
        let count = |name: &str| self.counters.get(name).map_or(0, |counter| counter.value(to) - counter.value(from));
        match self.kind {
            SloKind::Availability => {
                let all: u64 = self.counters.keys().map(|name| count(name)).sum();
                let good = count(Outcome::OK.name());
                (good, all - good)
            }
            SloKind::Latency => (count(GOOD), count(ALL) - count(GOOD)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(values: &[u64]) -> Counter {
        Counter { first: 0, values: values.to_vec() }
    }

    #[track_caller]
    fn near(rate: Option<f64>, expected: f64) {
        assert!(rate.is_some_and(|rate| (rate - expected).abs() < 1e-12), "{rate:?}, not {expected}");
    }

    #[test]
    fn a_rate_is_extrapolated_to_the_ends_of_the_window_as_in_prometheus() {
        // A scrape each second, on both ends of the window: no extrapolation.
        near(counter(&[0, 10, 20, 30]).rate(1_000, (2_000, 3_000)), 10.0);
        // Half a second behind the last scrape, and before the first one in the window.
        near(counter(&[0, 10, 20, 30]).rate(1_000, (2_500, 3_500)), 10.0);
        // A window that begins before the run is extrapolated by half an interval, but not below zero.
        near(counter(&[0, 10, 20]).rate(1_000, (60_000, 2_000)), 20.0 / 60.0);
        near(counter(&[100, 110, 120]).rate(1_000, (60_000, 2_000)), 25.0 / 60.0);
        near(counter(&[2, 12, 22]).rate(1_000, (60_000, 2_000)), 22.0 / 60.0);
        near(counter(&[5, 5, 5]).rate(1_000, (2_000, 2_000)), 0.0);
    }

    #[test]
    fn a_rate_needs_two_scrapes() {
        assert_eq!(counter(&[0, 10]).rate(1_000, (5_000, 500)), None);
        assert_eq!(counter(&[0, 10, 20]).rate(1_000, (900, 2_500)), None);
        assert_eq!(Counter { first: 2, values: vec![0, 0, 3] }.rate(1_000, (5_000, 2_000)), None);
    }
}
