//! Timing by rounds.

use std::time::Duration;

/// The fastest of `rounds` runs of each of two, taking turns.
pub(crate) fn compare(rounds: usize, mut ours: impl FnMut(), mut baseline: impl FnMut()) -> (Duration, Duration) {
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..rounds {
        best.0 = best.0.min(time(&mut ours));
        best.1 = best.1.min(time(&mut baseline));
    }
    best
}

/// The fastest of `rounds` runs.
pub(crate) fn fastest(rounds: usize, mut run: impl FnMut()) -> Duration {
    (0..rounds).map(|_| time(&mut run)).min().expect("there is at least one round")
}

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark measures real time")]
fn time(run: &mut impl FnMut()) -> Duration {
    let start = std::time::Instant::now();
    run();
    start.elapsed()
}
