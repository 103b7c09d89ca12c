//! Percentiles of stretches of the run.

use kernel::{
    measure::{Extent, GroupedValues},
    record::RequestRow,
};

use crate::rows::RowTable;

/// The latencies of the requests of a stretch, in seconds from their intended start; `None` if there are no requests.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Latency {
    /// The number of requests of the stretch, including dropped ones.
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
    /// Returns the latencies of the requests of each stretch. Stretches may overlap.
    pub fn within(requests: &RowTable<RequestRow>, stretches: &[Extent]) -> Vec<Self> {
        let mut counts = vec![0; stretches.len()];
        requests.each(|row| holding(stretches, row).for_each(|stretch| counts[stretch] += 1));
        let each = |visit: &mut dyn FnMut(usize, u64)| {
            requests.each(|row| {
                if let Some(latency_us) = row.latency_us {
                    holding(stretches, row).for_each(|stretch| visit(stretch, latency_us));
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

/// Returns the places of the stretches in which a request counts.
fn holding<'a>(stretches: &'a [Extent], row: &'a RequestRow) -> impl Iterator<Item = usize> + 'a {
    let done_us = row.done_us.unwrap_or(row.intended_us);
    let held = stretches.iter().enumerate().filter(move |(_, stretch)| stretch.holds(row.intended_us, done_us));
    held.map(|(place, _)| place)
}
