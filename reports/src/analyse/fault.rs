//! One fault and what it did to the requests.

use kernel::measure::{FaultSummary, PhaseSummary, Summary};
use polars::error::PolarsResult;
use serde::Serialize;

use crate::frame::{Frames, Latency, Windows};

/// A fault, and the requests before, during and after it. During is its phase, as `kernel::measure` has it; before and
/// after are as long, or as long as the run allows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultImpact {
    #[serde(flatten)]
    pub fault: FaultSummary,
    /// When its phase ended.
    pub phase_end_us: u64,
    pub before: Latency,
    pub during: Latency,
    pub after: Latency,
    /// Requests of its phase that did not succeed at all.
    pub goodput_lost: u64,
    /// By how many successes the client was at worst behind the load in its phase, compared with its beginning.
    pub goodput_behind_max: u64,
    pub retries: u64,
    pub failovers: u64,
    /// Of its phase.
    pub attempts_per_call: Option<f64>,
}

/// An account of each fault of `summary`. `seconds` are the run's windows of a second or so.
pub(super) fn accounts(summary: &Summary, frames: &Frames, seconds: &Windows) -> PolarsResult<Vec<FaultImpact>> {
    let phase = |index: usize| summary.phases.iter().find(|phase| phase.phase == format!("fault-{index}"));
    let with_phase = summary.faults.iter().filter_map(|fault| Some((fault, phase(fault.index)?)));
    with_phase.map(|(fault, phase)| account(fault, phase, frames, seconds)).collect()
}

fn account(
    fault: &FaultSummary,
    phase: &PhaseSummary,
    frames: &Frames,
    seconds: &Windows,
) -> PolarsResult<FaultImpact> {
    let (start_us, end_us) = (phase.start_us, phase.end_us);
    let length_us = end_us - start_us;
    Ok(FaultImpact {
        phase_end_us: end_us,
        before: frames.latency(start_us.saturating_sub(length_us), start_us)?,
        during: frames.latency(start_us, end_us)?,
        after: frames.latency(end_us, end_us + length_us)?,
        goodput_lost: phase.metrics.requests - phase.metrics.succeeded,
        goodput_behind_max: behind_max(seconds, start_us, end_us),
        retries: phase.metrics.retries,
        failovers: phase.metrics.failovers,
        attempts_per_call: phase.metrics.attempts_per_call,
        fault: fault.clone(),
    })
}

/// Requests intended less successes come in, summed from the window in which the phase begins: its maximum.
fn behind_max(windows: &Windows, start_us: u64, end_us: u64) -> u64 {
    let window = |at_us: u64| (at_us as f64 / 1e6 / windows.length_s) as usize;
    let phase = windows.offered.iter().zip(&windows.completed_ok).take(window(end_us) + 1).skip(window(start_us));
    let behind = phase.scan(0_i64, |sum, (offered, completed)| {
        *sum += *offered as i64 - *completed as i64;
        Some(*sum)
    });
    behind.max().unwrap_or(0).max(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_behind_by_what_was_asked_for_and_has_not_come() {
        // Two a second; nothing comes from second 1 to 3, then five at once.
        let windows = Windows {
            length_s: 1.0,
            offered: vec![2, 2, 2, 2, 2],
            completed_ok: vec![2, 0, 0, 5, 3],
            ..Windows::default()
        };
        assert_eq!(behind_max(&windows, 1_000_000, 4_000_000), 4);
        assert_eq!(behind_max(&windows, 0, 500_000), 0);
    }
}
