//! What the request log alone gives away: stretches in which requests fared worse than usual. No event is looked at.
//!
//! [`change`](super::change) cuts the run into segments; a segment is an episode if it is worse than usual by the rule of
//! `recovery_time`: a success rate below 99 % of the usual one, or a p95 above twice the usual. Usual is what most
//! windows have, so up to 60 % of a run may be disturbed.

use kernel::record::RequestRow;
use serde::Serialize;

use super::change::{WindowSample, quantile, segments};
use crate::frame::Windows;

/// Shorter pauses within an episode do not end it; `recovery_time` asks for the same.
const HOLD_S: f64 = 3.0;
/// The share of windows that are no better than usual.
const USUAL: f64 = 0.4;
/// Against the usual success rate and the usual p95.
const SUCCESS_SHARE: f64 = 0.99;
const LATENCY_FACTOR: f64 = 2.0;

/// A stretch in which requests fared worse than usual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Episode {
    /// When the first request that fared badly was intended.
    pub start_s: f64,
    /// When the first window that is as usual again begins; the end of the run if there is none.
    pub end_s: f64,
    /// The lowest share of successes in a window.
    pub success_rate_min: f64,
    /// The highest p95 of a window, in seconds; `None` if nothing was sent.
    pub latency_p95_max_s: Option<f64>,
    /// What windows usually have.
    pub usual_success_rate: f64,
    pub usual_latency_p95_s: f64,
}

/// The usual state of affairs.
#[derive(Debug, Clone, Copy)]
struct Usual {
    success_rate: f64,
    p95_s: f64,
}

/// The episodes of a run, in order of time. `requests` are its rows, in any order.
pub(super) fn episodes(windows: &Windows, requests: &[RequestRow]) -> Vec<Episode> {
    let loaded: Vec<usize> = (0..windows.count()).filter(|window| windows.offered[*window] > 0).collect();
    let samples: Vec<WindowSample> = loaded.iter().map(|window| sample(windows, *window)).collect();
    let Some(usual) = usual(windows, &loaded) else { return Vec::new() };
    let starts = segments(&samples);
    let ends = starts.iter().copied().skip(1).chain([samples.len()]);
    let bad = starts.iter().copied().zip(ends).filter(|(start, end)| usual.is_missed(&samples[*start..*end]));
    let spans = bad.map(|(start, end)| (loaded[start], loaded.get(end).copied().unwrap_or(windows.count())));
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (start, end) in spans {
        match merged.last_mut() {
            Some(last) if (start - last.1) as f64 * windows.length_s < HOLD_S => last.1 = end,
            _ => merged.push((start, end)),
        }
    }
    merged.into_iter().map(|span| episode(span, windows, usual, requests)).collect()
}

fn sample(windows: &Windows, window: usize) -> WindowSample {
    let level = |latency: Option<f64>| latency.filter(|seconds| *seconds > 0.0).map(f64::log10);
    WindowSample {
        trials: windows.offered[window],
        successes: windows.succeeded[window],
        levels: [level(windows.p50[window]), level(windows.p95[window])],
    }
}

/// `None` if nothing was ever sent.
fn usual(windows: &Windows, loaded: &[usize]) -> Option<Usual> {
    let rates = windows.success_rate();
    Some(Usual {
        success_rate: quantile(loaded.iter().filter_map(|window| rates[*window]).collect(), 1.0 - USUAL)?,
        p95_s: quantile(loaded.iter().filter_map(|window| windows.p95[*window]).collect(), USUAL)?,
    })
}

impl Usual {
    /// Whether a segment as a whole is worse: its rate of successes, or the mean level of its p95.
    fn is_missed(self, segment: &[WindowSample]) -> bool {
        let trials: u64 = segment.iter().map(|sample| sample.trials).sum();
        let successes: u64 = segment.iter().map(|sample| sample.successes).sum();
        let levels: Vec<f64> = segment.iter().filter_map(|sample| sample.levels[1]).collect();
        let level = levels.iter().sum::<f64>() / levels.len() as f64;
        (successes as f64) < SUCCESS_SHARE * self.success_rate * trials as f64
            || (!levels.is_empty() && level > (LATENCY_FACTOR * self.p95_s).log10())
    }

    fn is_missed_by(self, row: &RequestRow) -> bool {
        let slow = |latency_us: u64| latency_us as f64 / 1e6 > LATENCY_FACTOR * self.p95_s;
        !row.status.is_success() || row.latency_us.is_some_and(slow)
    }
}

/// The windows from `span.0` to just before `span.1`.
fn episode(span: (usize, usize), windows: &Windows, usual: Usual, requests: &[RequestRow]) -> Episode {
    let at = |window: usize| window as f64 * windows.length_s;
    let within = |row: &&RequestRow| (at(span.0)..at(span.1)).contains(&(row.intended_us as f64 / 1e6));
    let first_bad =
        requests.iter().filter(within).filter(|row| usual.is_missed_by(row)).map(|row| row.intended_us).min();
    let rates = windows.success_rate();
    Episode {
        start_s: first_bad.map_or(at(span.0), |us| us as f64 / 1e6),
        end_s: at(span.1),
        success_rate_min: rates[span.0..span.1].iter().flatten().copied().fold(1.0, f64::min),
        latency_p95_max_s: windows.p95[span.0..span.1].iter().flatten().copied().reduce(f64::max),
        usual_success_rate: usual.success_rate,
        usual_latency_p95_s: usual.p95_s,
    }
}
