//! What was found in the request log beside what the nemesis really did.

use kernel::measure::FaultSummary;
use serde::Serialize;

use super::Episode;

/// A fault that is over at once is looked for this long, as its phase is.
const HOLD_S: f64 = 3.0;

/// Whether and how well a fault was found in the request log.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sighting {
    /// The fault's index.
    pub fault: usize,
    /// The episode that belongs to it, counted from 0; `None` if the log does not show it.
    pub episode: Option<usize>,
    /// From the fault's start to the episode's: negative if requests that were already on their way suffered.
    pub start_error_s: Option<f64>,
    /// From when the fault was lifted to the episode's end: what was waiting has to be worked off.
    pub end_error_s: Option<f64>,
}

/// A sighting of each fault. An episode may belong to several faults, if they overlap. `window_s` is how exact an
/// episode is.
pub(super) fn sightings(faults: &[FaultSummary], episodes: &[Episode], window_s: f64) -> Vec<Sighting> {
    faults.iter().map(|fault| sighting(fault, episodes, window_s)).collect()
}

fn sighting(fault: &FaultSummary, episodes: &[Episode], window_s: f64) -> Sighting {
    let start_s = fault.start_us as f64 / 1e6;
    let lifted_s = fault.lifted_us.map(|us| us as f64 / 1e6);
    let over_s = lifted_s.unwrap_or(f64::INFINITY).max(start_s + HOLD_S);
    let overlaps = |episode: &Episode| episode.start_s <= over_s + window_s && episode.end_s >= start_s - window_s;
    let candidates = episodes.iter().enumerate().filter(|(_, episode)| overlaps(episode));
    let distance = |episode: &Episode| (episode.start_s - start_s).abs();
    let found = candidates.min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)));
    Sighting {
        fault: fault.index,
        episode: found.map(|(index, _)| index),
        start_error_s: found.map(|(_, episode)| episode.start_s - start_s),
        end_error_s: found.zip(lifted_s).map(|((_, episode), lifted_s)| episode.end_s - lifted_s),
    }
}
