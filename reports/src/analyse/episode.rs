//! Episodes: stretches in which requests were worse off than usual, found in the request log alone. Events are not used.
//!
//! [`change`](super::change) cuts the run into segments. A segment is an episode if it is worse than usual by the rule of
//! `recovery_time`: a success rate below 99 % of the usual one, or a p95 above twice the usual one. The usual value is that
//! of most windows, so up to 60 % of a run may be disturbed.

use std::ops::Range;

use kernel::record::RequestRow;
use serde::Serialize;

use super::change::{WindowSample, quantile, segments};
use crate::{fold::Windows, rows::RowTable};

/// The shortest pause that ends an episode, in seconds. The metric `recovery_time` waits as long.
const HOLD_S: f64 = 3.0;

/// The share of windows that are no better than usual.
const USUAL: f64 = 0.4;

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
    /// The lowest share of successes in a window.
    pub success_rate_min: f64,
    /// The highest p95 of a window, in seconds; `None` if no request has a latency.
    pub latency_p95_max_s: Option<f64>,
    /// The usual share of successes in a window.
    pub usual_success_rate: f64,
    /// The usual p95 of a window, in seconds.
    pub usual_latency_p95_s: f64,
}

/// The values that most windows have.
#[derive(Debug, Clone, Copy)]
struct Usual {
    success_rate: f64,
    p95_s: f64,
}

/// Returns the episodes of a run, in order of time. `requests` are its rows, in any order.
pub(super) fn episodes(windows: &Windows, requests: &RowTable<RequestRow>) -> Vec<Episode> {
    let loaded: Vec<usize> = (0..windows.count()).filter(|window| windows.offered[*window] > 0).collect();
    let samples: Vec<WindowSample> = loaded.iter().map(|window| sample(windows, *window)).collect();
    // Without requests there is no usual value.
    let Some(usual) = Usual::of_windows(windows, &loaded) else { return Vec::new() };
    let starts = segments(&samples);
    let ends = starts.iter().copied().skip(1).chain([samples.len()]);
    let mut spans: Vec<Range<usize>> = Vec::new();
    for (start, end) in starts.iter().copied().zip(ends).filter(|(start, end)| usual.is_missed(&samples[*start..*end]))
    {
        let span = loaded[start]..loaded.get(end).copied().unwrap_or(windows.count());
        match spans.last_mut() {
            Some(last) if (span.start - last.end) as f64 * windows.length_s < HOLD_S => last.end = span.end,
            _ => spans.push(span),
        }
    }
    let first_bad = first_bad(&spans, windows, usual, requests);
    spans.into_iter().zip(first_bad).map(|(span, first_bad)| episode(span, windows, usual, first_bad)).collect()
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

impl Usual {
    /// Returns the values that most of the `loaded` windows have; `None` if no request was ever sent.
    fn of_windows(windows: &Windows, loaded: &[usize]) -> Option<Self> {
        let rates = windows.success_rate();
        Some(Self {
            success_rate: quantile(loaded.iter().filter_map(|window| rates[*window]).collect(), 1.0 - USUAL)?,
            p95_s: quantile(loaded.iter().filter_map(|window| windows.p95[*window]).collect(), USUAL)?,
        })
    }

    /// Returns true if a segment as a whole is worse: in its share of successes, or in the mean level of its p95.
    fn is_missed(self, segment: &[WindowSample]) -> bool {
        let trials: u64 = segment.iter().map(|sample| sample.trials).sum();
        let successes: u64 = segment.iter().map(|sample| sample.successes).sum();
        let levels: Vec<f64> = segment.iter().filter_map(|sample| sample.levels[1]).collect();
        let level = levels.iter().sum::<f64>() / levels.len() as f64;
        (successes as f64) < SUCCESS_SHARE * self.success_rate * trials as f64
            || (!levels.is_empty() && level > (LATENCY_FACTOR * self.p95_s).log10())
    }

    /// Returns true if the request failed or was slow.
    fn is_missed_by(self, row: &RequestRow) -> bool {
        !row.status.is_success()
            || row.latency_us.is_some_and(|latency_us| latency_us as f64 / 1e6 > LATENCY_FACTOR * self.p95_s)
    }
}

/// Returns the episode of the windows of `span`. `first_bad` is the first request that failed or was slow.
fn episode(span: Range<usize>, windows: &Windows, usual: Usual, first_bad: Option<u64>) -> Episode {
    let Range { start: start_s, end: end_s } = stretch(&span, windows);
    let rates = windows.success_rate();
    Episode {
        start_s: first_bad.map_or(start_s, |us| us as f64 / 1e6),
        end_s,
        success_rate_min: rates[span.clone()].iter().flatten().copied().fold(1.0, f64::min),
        latency_p95_max_s: windows.p95[span].iter().flatten().copied().reduce(f64::max),
        usual_success_rate: usual.success_rate,
        usual_latency_p95_s: usual.p95_s,
    }
}
