//! One fault and its effect on the requests.

use kernel::{
    measure::{Extent, FaultSummary, PhaseSummary, Summary},
    record::RequestRow,
};
use serde::Serialize;

use crate::{
    fold::{Latency, Windows},
    rows::RowTable,
};

/// A fault, and the requests before, during and after it.
///
/// The time during the fault is its phase, as `kernel::measure` defines it, with every request that overlaps it. The times before and
/// after are as long, or as long as the run allows: before are the requests that are over when the fault begins, after those that
/// are intended when its phase is over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultImpact {
    /// The fault with its times.
    #[serde(flatten)]
    pub fault: FaultSummary,
    /// The end of its phase, in microseconds.
    pub phase_end_us: u64,
    /// The latencies before the fault.
    pub before: Latency,
    /// The latencies during the fault.
    pub during: Latency,
    /// The latencies after the fault.
    pub after: Latency,
    /// The number of requests of its phase that did not succeed.
    pub goodput_lost: u64,
    /// The greatest number of successes that the client was behind the load in its phase, compared with its beginning.
    pub goodput_behind_max: u64,
    /// The number of retries in its phase.
    pub retries: u64,
    /// The number of failovers in its phase.
    pub failovers: u64,
    /// The mean number of attempts per call in its phase.
    pub attempts_per_call: Option<f64>,
}

/// Returns the impact of each fault of `summary` that has a phase. `windows` are about a second long.
pub(super) fn impacts(summary: &Summary, requests: &RowTable<RequestRow>, windows: &Windows) -> Vec<FaultImpact> {
    let phases = summary.faults.iter().filter_map(|fault| Some((fault, phase_of(fault, summary)?)));
    let phases: Vec<(&FaultSummary, &PhaseSummary)> = phases.collect();
    let mut stretches = Vec::with_capacity(3 * phases.len());
    for (_, phase) in &phases {
        let start_us = phase.start_us;
        let end_us = phase.end_us;
        let length_us = end_us - start_us;
        stretches.push(Extent::inside(start_us.saturating_sub(length_us)..start_us));
        stretches.push(Extent::overlapping(start_us..end_us));
        stretches.push(Extent::beginning_in(end_us..end_us.saturating_add(length_us)));
    }
    // All at once, as each pass over millions of rows takes time.
    let latencies = if stretches.is_empty() { Vec::new() } else { Latency::within(requests, &stretches) };
    let impacts = phases.into_iter().zip(latencies.chunks_exact(3));
    impacts.map(|((fault, phase), latencies)| impact(fault, phase, latencies, windows)).collect()
}

fn phase_of<'a>(fault: &FaultSummary, summary: &'a Summary) -> Option<&'a PhaseSummary> {
    let name = format!("fault-{}", fault.index);
    summary.phases.iter().find(|phase| phase.phase == name)
}

/// Returns the impact of a fault. `latencies` are those before, during and after its phase.
fn impact(fault: &FaultSummary, phase: &PhaseSummary, latencies: &[Latency], windows: &Windows) -> FaultImpact {
    FaultImpact {
        phase_end_us: phase.end_us,
        before: latencies[0],
        during: latencies[1],
        after: latencies[2],
        goodput_lost: phase.metrics.requests - phase.metrics.succeeded,
        goodput_behind_max: behind_max(windows, phase.start_us, phase.end_us),
        retries: phase.metrics.retries,
        failovers: phase.metrics.failovers,
        attempts_per_call: phase.metrics.attempts_per_call,
        fault: fault.clone(),
    }
}

/// Returns the maximum over the phase of the requests intended less the successes received, both counted from its
/// beginning.
fn behind_max(windows: &Windows, start_us: u64, end_us: u64) -> u64 {
    let first = windows.index_at(start_us);
    let last = windows.index_at(end_us);
    let mut behind = 0_i64;
    let mut behind_max = 0_i64;
    for (offered, completed) in windows.offered.iter().zip(&windows.completed_ok).take(last + 1).skip(first) {
        behind += *offered as i64 - *completed as i64;
        behind_max = behind_max.max(behind);
    }
    behind_max as u64
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
