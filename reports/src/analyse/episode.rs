//! Episodes: stretches in which requests were worse off than usual, found in the request log alone. Events are not used.
//!
//! [`change`](super::change) cuts the run into segments. A segment is an episode if it is worse than usual by the rule of
//! `recovery_time`: a success rate below 99 % of the usual one, or a p95 above twice the usual one. What is usual is
//! measured as a segment is, over the best segments that together have 40 % of the windows, so up to 60 % of a run may be
//! disturbed: successes and requests are counted, and the levels of p95 are averaged. Too few failures to be no accident
//! are none: with the usual rate, so few successes have a probability below 0.1 %.
//!
//! A log of another program has an episode, too, where for far longer than usual nothing was sent or answered.

use std::ops::Range;

use kernel::record::RequestRow;
use serde::Serialize;

use super::change::{WindowSample, segments};
use crate::{fold::Windows, rows::RowTable};

/// The shortest pause that ends an episode, in seconds. The metric `recovery_time` waits as long.
const HOLD_S: f64 = 3.0;

/// The share of windows that what is usual is taken from.
const USUAL: f64 = 0.4;

/// The greatest probability of a segment's failures, by Chernoff's bound, at which they are no accident.
const ACCIDENT: f64 = 0.001;

/// The number of usual gaps between requests that are a silence at least.
const SILENT_GAPS: f64 = 20.0;

/// The share of the usual success rate that a good segment has at least.
const SUCCESS_SHARE: f64 = 0.99;

/// The multiple of the usual p95 that a good segment has at most.
const LATENCY_FACTOR: f64 = 2.0;

/// A stretch in which requests were worse off than usual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Episode {
    /// The intended start of the first request that failed or was slow, in seconds.
    pub start_s: f64,
    /// The beginning of the next window that is as usual, in seconds; the end of the run if there is none.
    pub end_s: f64,
    /// The lowest share of successes in a window; `None` if nothing was sent.
    pub success_rate_min: Option<f64>,
    /// The highest p95 of a window, in seconds; `None` if no request has a latency.
    pub latency_p95_max_s: Option<f64>,
    /// The usual share of successes in a window.
    pub usual_success_rate: f64,
    /// The usual p95 of a window, in seconds.
    pub usual_latency_p95_s: f64,
    /// True if nothing was sent or answered.
    pub is_silent: bool,
}

impl Episode {
    /// Returns what reports say of an episode that is of no fault.
    pub(crate) fn without_fault(&self) -> &'static str {
        if self.is_silent { "nothing sent or answered" } else { "no known fault" }
    }
}

/// The usual values.
#[derive(Debug, Clone, Copy)]
struct Usual {
    success_rate: f64,
    /// The number of requests that the rate is of.
    trials: u64,
    p95_s: f64,
}

/// The sums over the windows of a segment.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    windows: usize,
    trials: u64,
    successes: u64,
    /// The number of windows that have a p95, and the sum of its levels.
    levels: usize,
    level_sum: f64,
}

/// Returns the episodes of a run, in order of time. `requests` are its rows, in any order. Silence is an episode of a log
/// only: a scenario may script it.
pub(super) fn episodes(windows: &Windows, requests: &RowTable<RequestRow>, is_log: bool) -> Vec<Episode> {
    let loaded: Vec<usize> = (0..windows.count()).filter(|window| windows.offered[*window] > 0).collect();
    let samples: Vec<WindowSample> = loaded.iter().map(|window| sample(windows, *window)).collect();
    let starts = segments(&samples);
    let ends = starts.iter().copied().skip(1).chain([samples.len()]);
    let measured = starts.iter().copied().zip(ends).map(|(start, end)| (start..end, Sums::new(&samples[start..end])));
    let measured: Vec<(Range<usize>, Sums)> = measured.collect();
    // Without requests there is no usual value.
    let Some(usual) = Usual::of_segments(measured.iter().map(|(_, sums)| *sums).collect()) else { return Vec::new() };
    let mut spans: Vec<Range<usize>> = Vec::new();
    for (segment, _) in measured.iter().filter(|(_, sums)| usual.is_missed(sums)) {
        let span = loaded[segment.start]..loaded.get(segment.end).copied().unwrap_or(windows.count());
        match spans.last_mut() {
            Some(last) if (span.start - last.end) as f64 * windows.length_s < HOLD_S => last.end = span.end,
            _ => spans.push(span),
        }
    }
    let first_bad = first_bad(&spans, windows, usual, requests);
    let found = spans.into_iter().zip(first_bad).map(|(span, first_bad)| episode(span, windows, usual, first_bad));
    let mut episodes: Vec<Episode> = found.collect();
    if is_log {
        episodes.extend(silences(windows, &loaded, requests).iter().map(|found| silence(found, usual)));
        episodes.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
    }
    episodes
}

/// Returns the stretches in which nothing was sent or answered, for many times the usual gap between requests, in
/// microseconds.
fn silences(windows: &Windows, loaded: &[usize], requests: &RowTable<RequestRow>) -> Vec<Range<u64>> {
    let (Some(first), Some(last)) = (loaded.first(), loaded.last()) else { return Vec::new() };
    let all = (last + 1 - first) as f64;
    // Of requests that come in bursts, silence is usual.
    if all - loaded.len() as f64 > USUAL * all {
        return Vec::new();
    }
    let offered: u64 = windows.offered.iter().sum();
    let usual_gap_s = loaded.len() as f64 * windows.length_s / offered as f64;
    let shortest_us = (SILENT_GAPS * usual_gap_s).max(HOLD_S) * 1e6;
    let between: Vec<usize> =
        (*first..*last).filter(|window| windows.offered[*window] == 0 && windows.completed[*window] == 0).collect();
    let whole = between.chunk_by(|a, b| a + 1 == *b).map(|stretch| stretch[0]..stretch[0] + stretch.len());
    let whole: Vec<Range<usize>> = whole.collect();
    let mut silences = around(&whole, windows, requests);
    silences.retain(|silence| (silence.end - silence.start) as f64 >= shortest_us);
    silences
}

/// Returns the time from the last request or answer before each stretch of windows to the first one after it. The
/// stretches are in order of time, and in none of them is any.
fn around(stretches: &[Range<usize>], windows: &Windows, requests: &RowTable<RequestRow>) -> Vec<Range<u64>> {
    let us = |window: usize| (window as f64 * windows.length_s * 1e6).round() as u64;
    let mut found: Vec<Range<u64>> = vec![0..u64::MAX; stretches.len()];
    if stretches.is_empty() {
        return found;
    }
    requests.each(|row| {
        for at_us in [Some(row.intended_us), row.done_us].into_iter().flatten() {
            let next = stretches.partition_point(|stretch| us(stretch.start) <= at_us);
            if let Some(silence) = found.get_mut(next) {
                silence.start = silence.start.max(at_us);
            }
            let ended = stretches.partition_point(|stretch| us(stretch.end) <= at_us);
            if let Some(silence) = ended.checked_sub(1).and_then(|before| found.get_mut(before)) {
                silence.end = silence.end.min(at_us);
            }
        }
    });
    found
}

/// Returns the episode of a time in which nothing was sent or answered.
fn silence(silence: &Range<u64>, usual: Usual) -> Episode {
    Episode {
        start_s: silence.start as f64 / 1e6,
        end_s: silence.end as f64 / 1e6,
        success_rate_min: None,
        latency_p95_max_s: None,
        usual_success_rate: usual.success_rate,
        usual_latency_p95_s: usual.p95_s,
        is_silent: true,
    }
}

/// Returns the intended start of the first request in each span that failed or was slow, in microseconds. The spans are
/// in order of time and do not overlap.
fn first_bad(
    spans: &[Range<usize>],
    windows: &Windows,
    usual: Usual,
    requests: &RowTable<RequestRow>,
) -> Vec<Option<u64>> {
    let stretches: Vec<Range<f64>> = spans.iter().map(|span| stretch(span, windows)).collect();
    let mut first: Vec<Option<u64>> = vec![None; spans.len()];
    // A run in which nothing happened needs no pass over its rows.
    if spans.is_empty() {
        return first;
    }
    requests.each(|row| {
        let at_s = row.intended_us as f64 / 1e6;
        let found = stretches.partition_point(|stretch| stretch.start <= at_s).checked_sub(1);
        if let Some(span) = found.filter(|span| stretches[*span].contains(&at_s))
            && usual.is_missed_by(row)
        {
            first[span] = Some(first[span].map_or(row.intended_us, |us| us.min(row.intended_us)));
        }
    });
    first
}

/// Returns the seconds from the beginning of the first window to the end of the last.
fn stretch(span: &Range<usize>, windows: &Windows) -> Range<f64> {
    span.start as f64 * windows.length_s..span.end as f64 * windows.length_s
}

fn sample(windows: &Windows, window: usize) -> WindowSample {
    WindowSample {
        trials: windows.offered[window],
        successes: windows.succeeded[window],
        levels: [level(windows.p50[window]), level(windows.p95[window])],
    }
}

/// Returns the decimal logarithm of a latency; `None` if there is none or it is 0.
fn level(latency_s: Option<f64>) -> Option<f64> {
    latency_s.filter(|seconds| *seconds > 0.0).map(f64::log10)
}

impl Sums {
    fn new(segment: &[WindowSample]) -> Self {
        let levels: Vec<f64> = segment.iter().filter_map(|sample| sample.levels[1]).collect();
        Self {
            windows: segment.len(),
            trials: segment.iter().map(|sample| sample.trials).sum(),
            successes: segment.iter().map(|sample| sample.successes).sum(),
            levels: levels.len(),
            level_sum: levels.iter().sum(),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            windows: self.windows + other.windows,
            trials: self.trials + other.trials,
            successes: self.successes + other.successes,
            levels: self.levels + other.levels,
            level_sum: self.level_sum + other.level_sum,
        }
    }

    fn success_rate(&self) -> f64 {
        self.successes as f64 / self.trials as f64
    }

    /// Returns the mean level of p95; `None` if no window has one.
    fn level(&self) -> Option<f64> {
        (self.levels > 0).then(|| self.level_sum / self.levels as f64)
    }
}

/// Returns the sums of the first segments that together have the share [`USUAL`] of all windows, as `windows` counts them.
fn first_share(segments: &[Sums], windows: fn(&Sums) -> usize) -> Sums {
    let wanted = USUAL * segments.iter().map(windows).sum::<usize>() as f64;
    let mut sums = Sums::default();
    for segment in segments {
        if sums.windows > 0 && windows(&sums) as f64 >= wanted {
            break;
        }
        sums = sums.and(*segment);
    }
    sums
}

impl Usual {
    /// Returns the values of the best segments; `None` if no request was ever sent.
    fn of_segments(mut segments: Vec<Sums>) -> Option<Self> {
        segments.sort_by(|a, b| b.success_rate().total_cmp(&a.success_rate()));
        let best = first_share(&segments, |sums| sums.windows);
        segments.retain(|sums| sums.levels > 0);
        segments.sort_by(|a, b| a.level().unwrap_or(f64::INFINITY).total_cmp(&b.level().unwrap_or(f64::INFINITY)));
        let level = first_share(&segments, |sums| sums.levels).level()?;
        Some(Self { success_rate: best.success_rate(), trials: best.trials, p95_s: 10_f64.powf(level) })
    }

    /// Returns true if a segment as a whole is worse: in its share of successes, or in the mean level of its p95.
    fn is_missed(self, segment: &Sums) -> bool {
        let is_failing = segment.success_rate() < SUCCESS_SHARE * self.success_rate && !self.is_accident(segment);
        is_failing || segment.level().is_some_and(|level| level > (LATENCY_FACTOR * self.p95_s).log10())
    }

    /// Returns whether so few successes may come from the usual rate. The probability of at most this many is bounded by
    /// Chernoff: it is at most `exp(-trials * divergence)`.
    fn is_accident(self, segment: &Sums) -> bool {
        // A rate of 1 is only as sure as its number of requests.
        let usual = self.success_rate.min(1.0 - 0.5 / (self.trials as f64 + 1.0));
        let rate = segment.success_rate();
        let divergence = divergence_part(rate, usual) + divergence_part(1.0 - rate, 1.0 - usual);
        segment.trials as f64 * divergence < -ACCIDENT.ln()
    }

    /// Returns true if the request failed or was slow.
    fn is_missed_by(self, row: &RequestRow) -> bool {
        !row.status.is_success()
            || row.latency_us.is_some_and(|latency_us| latency_us as f64 / 1e6 > LATENCY_FACTOR * self.p95_s)
    }
}

/// Returns the part of one outcome in the divergence of a rate from the usual one (Kullback-Leibler, in nats).
fn divergence_part(share: f64, usual: f64) -> f64 {
    if share > 0.0 { share * (share / usual).ln() } else { 0.0 }
}

/// Returns the episode of the windows of `span`. `first_bad` is the first request that failed or was slow.
fn episode(span: Range<usize>, windows: &Windows, usual: Usual, first_bad: Option<u64>) -> Episode {
    let Range { start: start_s, end: end_s } = stretch(&span, windows);
    let rates = windows.success_rate();
    Episode {
        start_s: first_bad.map_or(start_s, |us| us as f64 / 1e6),
        end_s,
        success_rate_min: rates[span.clone()].iter().flatten().copied().reduce(f64::min),
        latency_p95_max_s: windows.p95[span].iter().flatten().copied().reduce(f64::max),
        usual_success_rate: usual.success_rate,
        usual_latency_p95_s: usual.p95_s,
        is_silent: false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rows::PackedRow;

    /// The length of a log, in seconds.
    const LENGTH_S: u64 = 60;

    #[test]
    fn a_silence_is_from_the_last_answer_to_the_next_request() {
        let silent = |rate: u64, from_s: f64, length_s: f64| {
            let times = (0..rate * LENGTH_S).map(|id| id as f64 / rate as f64);
            let rows: Vec<RequestRow> = times
                .filter(|at_s| !(from_s..from_s + length_s).contains(at_s))
                .map(|at_s| {
                    let mut row = RequestRow::blank();
                    row.intended_us = (at_s * 1e6) as u64;
                    row.sent_us = Some(row.intended_us);
                    row.latency_us = Some(10_000);
                    row.done_us = Some(row.intended_us + 10_000);
                    row
                })
                .collect();
            let table = RowTable::from_rows(&rows);
            let windows =
                Windows::of_rows(&table, &RowTable::default(), LENGTH_S * 1_000_000, Duration::from_secs(1)).unwrap();
            let found = episodes(&windows, &table, true);
            found.iter().map(|found| [found.start_s, found.end_s]).collect::<Vec<_>>()
        };
        let one = silent(10, 20.5, 3.5);
        assert_eq!(one, [[20.41, 24.0]]);
        assert!(silent(10, 20.5, 2.0).is_empty(), "too short");
        // At one request a second, ten seconds are ten gaps.
        assert!(silent(1, 20.0, 10.0).is_empty(), "few gaps");
        assert_eq!(silent(1, 10.0, 22.0).len(), 1);
    }
}
