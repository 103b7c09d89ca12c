//! Counts of both clients side by side.

use std::fs;

use crate::environment::Peers;

/// Counts of the two clients in one case.
#[derive(Debug)]
pub(crate) struct Compared {
    /// The case, which names the file of its figures.
    pub(crate) case: &'static str,
    /// What is counted.
    pub(crate) what: &'static str,
    /// The number of calls of each client.
    pub(crate) calls: [usize; 2],
    pub(crate) ours: usize,
    pub(crate) theirs: usize,
}

impl Compared {
    /// Keeps the figures for the table that `.ci/peers` prints, and checks that they differ by no more than `allowed`.
    pub(crate) fn agree_within(&self, peers: &Peers, allowed: usize) {
        let Self { case, what, calls, ours, theirs } = self;
        let folder = peers.figures();
        fs::create_dir_all(&folder).expect("there is room");
        let row = format!("{case} | {what} | {ours} of {} | {theirs} of {} | {allowed}\n", calls[0], calls[1]);
        fs::write(folder.join(format!("{case}.txt")), &row).expect("there is room");
        assert!(
            ours.abs_diff(*theirs) <= allowed,
            "{what}: {ours} of {} with our client, {theirs} of {} with grpcio, and {allowed} is the most by which they may differ",
            calls[0],
            calls[1]
        );
    }
}

/// Returns half the width of the two-sided 99.99 % interval of the difference between two counts of `calls` independent calls, each
/// of which counts with probability `share`.
pub(crate) fn chance(calls: usize, share: f64) -> usize {
    const QUANTILE: f64 = 3.89;
    (QUANTILE * (2.0 * calls as f64 * share * (1.0 - share)).sqrt()).ceil() as usize
}

/// Returns the number of calls with `status`.
pub(crate) fn count(statuses: &[String], status: &str) -> usize {
    statuses.iter().filter(|found| *found == status).count()
}
