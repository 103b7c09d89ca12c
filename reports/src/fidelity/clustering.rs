//! How slow times come together in both worlds.
//!
//! A machine is slow at one time and fast at another, so that a request with one late stage is late in the others, too, and so is the next request.
//! Simulated times that are drawn independently of each other have the right medians, but their sums have too thin a tail, and queues are too short.

use std::collections::BTreeMap;

use kernel::measure::stages::STAGES;
use serde::Serialize;

use super::stages::{RequestStages, median};
use crate::correlation::pearson;

/// The fewest requests of a run whose correlations mean something: their standard error is up to 0.1.
const REQUESTS_MIN: usize = 100;

/// A rank correlation of times: the median over the runs of each world.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Clustering {
    /// The times that it is a correlation of.
    pub between: &'static str,
    /// That of real runs, from -1 to 1.
    pub real: f64,
    /// That of simulated runs.
    pub sim: f64,
}

/// The times that correlations are of: the stages of a request, as a mean over their pairs, and the latencies of a request and the next one.
pub(crate) const BETWEEN: [&str; 2] = ["stages of a request", "successive requests"];

impl Clustering {
    /// Compares the correlations of runs. Empty if a world has none.
    pub(super) fn compare(real: &[[f64; BETWEEN.len()]], sim: &[[f64; BETWEEN.len()]]) -> Vec<Self> {
        let compared = BETWEEN.into_iter().enumerate().map(|(place, between)| {
            let [real, sim] = [real, sim].map(|runs| median(runs.iter().map(|run| run[place]).collect()));
            Some(Self { between, real: real?, sim: sim? })
        });
        compared.collect::<Option<_>>().unwrap_or_default()
    }
}

/// Returns the correlations of a run; `None` if it has too few requests.
pub(super) fn of_run(requests: &[RequestStages]) -> Option<[f64; BETWEEN.len()]> {
    if requests.len() < REQUESTS_MIN {
        return None;
    }
    let stages: Vec<_> = (0..STAGES)
        .map(|stage| ranks(requests.iter().map(|request| (&*request.size, request.took_us[stage]))))
        .collect();
    let mut pairs = Vec::new();
    for (place, one) in stages.iter().enumerate() {
        pairs.extend(stages[place + 1..].iter().map(|other| correlation(one, other)));
    }
    let latencies = ranks(requests.iter().map(|request| (&*request.size, request.took_us.iter().sum())));
    let successive = correlation(&latencies[1..], &latencies[..latencies.len() - 1]);
    Some([pairs.iter().sum::<f64>() / pairs.len() as f64, successive])
}

/// Returns the rank of each value among those of its size, from 0 to 1. Equal values have their mean rank.
fn ranks<'a>(values: impl Iterator<Item = (&'a str, u64)>) -> Vec<f64> {
    let mut by_size: BTreeMap<&str, Vec<(u64, usize)>> = BTreeMap::new();
    let mut count = 0;
    for (place, (size, value)) in values.enumerate() {
        by_size.entry(size).or_default().push((value, place));
        count = place + 1;
    }
    let mut ranks = vec![0.0; count];
    for mut of_size in by_size.into_values() {
        of_size.sort_unstable();
        let all = of_size.len() as f64;
        let mut before = 0.0;
        for equal in of_size.chunk_by(|one, other| one.0 == other.0) {
            let rank = (before + equal.len() as f64 / 2.0) / all;
            equal.iter().for_each(|(_, place)| ranks[*place] = rank);
            before += equal.len() as f64;
        }
    }
    ranks
}

/// Returns the correlation of two lists of ranks.
fn correlation(one: &[f64], other: &[f64]) -> f64 {
    pearson(&one.iter().copied().zip(other.iter().copied()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests of two sizes, of which all stages take longer by `late` of their place.
    fn requests(late: impl Fn(u64) -> [u64; STAGES]) -> Vec<RequestStages> {
        let request = |place: u64| {
            let (size, longer) = if place.is_multiple_of(2) { ("64x64", 0) } else { ("512x512", 1_000) };
            RequestStages {
                size: size.to_owned(),
                intended_us: place * 10_000,
                took_us: late(place).map(|late| late + longer),
            }
        };
        (0..200).map(request).collect()
    }

    #[test]
    fn slow_times_that_come_together_correlate() {
        // Ten slow requests follow ten fast ones. That an image is larger is no correlation.
        let slow = |place: u64| place / 10 % 2 * 100;
        let together = of_run(&requests(|place| [50 + slow(place) + place % 7; STAGES])).unwrap();
        assert!((together[0] - 1.0).abs() < 1e-9 && together[1] > 0.5, "{together:?}");
        let apart =
            of_run(&requests(|place| [place * 7 % 11, place * 5 % 13, place * 11 % 17, place * 3 % 19])).unwrap();
        assert!(apart[0].abs() < 0.1, "{apart:?}");
        let constant = of_run(&requests(|_| [50; STAGES])).unwrap();
        assert_eq!(constant, [0.0, 0.0]);
        assert_eq!(of_run(&requests(|_| [50; STAGES])[..99]), None);
    }

    #[test]
    fn worlds_are_compared_by_the_medians_of_runs() {
        let compared = Clustering::compare(&[[0.5, 0.25], [0.75, 0.5], [1.0, 0.0]], &[[0.125, 0.0]]);
        let values: Vec<_> = compared.iter().map(|of| (of.between, of.real, of.sim)).collect();
        assert_eq!(values, [("stages of a request", 0.75, 0.125), ("successive requests", 0.25, 0.0)]);
        assert_eq!(Clustering::compare(&[], &[[0.1, 0.2]]), []);
    }
}
