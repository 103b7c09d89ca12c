//! Percentiles of stretches of the run.

use std::ops::Range;

use kernel::{measure::GroupedValues, record::RequestRow};

use crate::rows::RowTable;

/// The latencies of the requests of a stretch, in seconds from their intended start; `None` if there are no requests.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Latency {
    /// The number of requests intended in the stretch, including dropped ones.
    pub requests: u64,
    /// The median.
    pub p50_s: Option<f64>,
    /// The 95th percentile.
    pub p95_s: Option<f64>,
    /// The 99th percentile.
    pub p99_s: Option<f64>,
    /// The greatest latency.
    pub max_s: Option<f64>,
}

impl Latency {
    /// Returns the latencies of the requests intended in each stretch, in microseconds and without its end. Stretches may
    /// overlap.
    pub fn within(requests: &RowTable<RequestRow>, stretches: &[Range<u64>]) -> Vec<Self> {
        let overlaps = Overlaps::of(stretches);
        let mut counts = vec![0; stretches.len()];
        requests.each(|row| overlaps.at(row.intended_us).iter().for_each(|stretch| counts[*stretch] += 1));
        let each = |visit: &mut dyn FnMut(usize, u64)| {
            requests.each(|row| {
                if let Some(latency_us) = row.latency_us {
                    overlaps.at(row.intended_us).iter().for_each(|stretch| visit(*stretch, latency_us));
                }
            });
        };
        let percentiles = GroupedValues { groups: stretches.len(), each: &each }.percentiles(Self::RANKS);
        counts.into_iter().zip(percentiles).map(|(requests, values)| Self::of_values(requests, values)).collect()
    }

    /// The ranks of the percentiles, in thousandths.
    pub(super) const RANKS: [u32; 4] = [500, 950, 990, 1000];

    /// Returns the latencies of that many requests with the values in microseconds at [`Self::RANKS`].
    pub(super) fn of_values(requests: u64, values_us: [Option<u64>; 4]) -> Self {
        let [p50_s, p95_s, p99_s, max_s] = values_us.map(|us| us.map(|us| us as f64 / 1e6));
        Self { requests, p50_s, p95_s, p99_s, max_s }
    }
}

/// The stretches at any time, found in a few steps however many there are.
pub(crate) struct Overlaps {
    /// The times at which a stretch begins or ends, ascending.
    edges: Vec<u64>,
    /// The stretches from each edge to the next.
    stretches: Vec<Vec<usize>>,
}

impl Overlaps {
    pub(crate) fn of(stretches: &[Range<u64>]) -> Self {
        let mut edges: Vec<u64> = stretches.iter().flat_map(|stretch| [stretch.start, stretch.end]).collect();
        edges.sort_unstable();
        edges.dedup();
        let at = |edge: &u64| (0..stretches.len()).filter(|index| stretches[*index].contains(edge)).collect();
        Self { stretches: edges.iter().map(at).collect(), edges }
    }

    /// Returns the stretches that contain a time.
    pub(crate) fn at(&self, at_us: u64) -> &[usize] {
        let edge = self.edges.partition_point(|edge| *edge <= at_us).checked_sub(1);
        edge.map_or(&[], |edge| &self.stretches[edge])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_every_stretch_around_it() {
        let overlaps = Overlaps::of(&[10..20, 0..15, 15..15, 20..30]);
        let at: Vec<&[usize]> = [0, 10, 14, 15, 19, 20, 30, 99].iter().map(|at| overlaps.at(*at)).collect();
        let (both, none): (&[usize], &[usize]) = (&[0, 1], &[]);
        assert_eq!(at, [&[1], both, both, &[0], &[0], &[3], none, none]);
    }
}
