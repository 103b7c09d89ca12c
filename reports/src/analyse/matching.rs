//! The matching of the faults that were injected and the episodes that the request log shows.

use kernel::measure::FaultSummary;
use serde::Serialize;

use super::Episode;

/// The time that a fault counts at least, in seconds. A fault that ends at once has a phase as long.
const HOLD_S: f64 = 3.0;

/// The episode of a fault, and how exact it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sighting {
    /// The index of the fault.
    pub fault: usize,
    /// The index of its episode; `None` if the request log does not show the fault.
    pub episode: Option<usize>,
    /// The time from the start of the fault to the start of the episode, in seconds. It is negative if requests that were
    /// already sent suffered.
    pub start_error_s: Option<f64>,
    /// The time from the end of the fault to the end of the episode, in seconds. Requests that waited are served in it.
    pub end_error_s: Option<f64>,
}

/// Returns the sighting of each fault. An episode may belong to several faults that overlap. `window_s` is the length of
/// the windows that episodes were found in, and so their accuracy.
pub(super) fn sightings(faults: &[FaultSummary], episodes: &[Episode], window_s: f64) -> Vec<Sighting> {
    faults.iter().map(|fault| sighting(fault, episodes, window_s)).collect()
}

fn sighting(fault: &FaultSummary, episodes: &[Episode], window_s: f64) -> Sighting {
    let start_s = fault.start_us as f64 / 1e6;
    let lifted_s = fault.lifted_us.map(|us| us as f64 / 1e6);
    // A fault that was never lifted lasts until the end of the run.
    let over_s = lifted_s.unwrap_or(f64::INFINITY).max(start_s + HOLD_S);
    let overlapping = episodes
        .iter()
        .enumerate()
        .filter(|(_, episode)| episode.start_s <= over_s + window_s && episode.end_s >= start_s - window_s);
    let found = overlapping.min_by(|(_, a), (_, b)| {
        let distances = [a, b].map(|episode| (episode.start_s - start_s).abs());
        distances[0].total_cmp(&distances[1])
    });
    Sighting {
        fault: fault.index,
        episode: found.map(|(index, _)| index),
        start_error_s: found.map(|(_, episode)| episode.start_s - start_s),
        end_error_s: found.zip(lifted_s).map(|((_, episode), lifted_s)| episode.end_s - lifted_s),
    }
}
