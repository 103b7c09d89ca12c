//! Measurements of code that takes turns with other code.

use std::time::Duration;

use crate::turns::{order, processor_time};

/// Returns the times of the fastest of `rounds` runs of each of two functions, which take turns.
pub(crate) fn compare(rounds: usize, mut ours: impl FnMut(), mut baseline: impl FnMut()) -> (Duration, Duration) {
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..rounds {
        best.0 = best.0.min(time(&mut ours));
        best.1 = best.1.min(time(&mut baseline));
    }
    best
}

/// Returns the medians of `figures` over `turns` turns. `figures` gets the processor time in seconds of one run of each of
/// `runs`. A machine that is slow for a while slows all runs of a turn, so short turns show differences that the fastest
/// rounds do not.
pub(crate) fn medians_of_turns<const RUNS: usize, const FIGURES: usize>(
    turns: usize,
    runs: [&mut dyn FnMut(); RUNS],
    figures: impl Fn([f64; RUNS]) -> [f64; FIGURES],
) -> [f64; FIGURES] {
    let figures_of_turns: Vec<_> = seconds_of_turns(turns, runs).into_iter().map(figures).collect();
    std::array::from_fn(|figure| {
        let mut values: Vec<_> = figures_of_turns.iter().map(|figures| figures[figure]).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    })
}

/// Returns the median over `turns` turns of the processor time in seconds that the second of `runs` takes more than the first one, and its 95 %
/// interval, which is that of the ranks of a median: it assumes nothing of how the differences vary.
pub(crate) fn difference_of_turns(turns: usize, runs: [&mut dyn FnMut(); 2]) -> (f64, [f64; 2]) {
    let mut differences: Vec<_> = seconds_of_turns(turns, runs).into_iter().map(|[one, other]| other - one).collect();
    differences.sort_unstable_by(f64::total_cmp);
    let spread = (0.98 * (turns as f64).sqrt()).ceil() as usize;
    let middle = turns / 2;
    let at = |rank: usize| differences[rank.min(turns - 1)];
    (at(middle), [at(middle.saturating_sub(spread)), at(middle + spread)])
}

/// Returns the processor time in seconds of each of `runs`, in each of `turns` turns.
fn seconds_of_turns<const RUNS: usize>(turns: usize, mut runs: [&mut dyn FnMut(); RUNS]) -> Vec<[f64; RUNS]> {
    let each = |turn| {
        let mut seconds = [0.0; RUNS];
        for run in order(RUNS, turn) {
            seconds[run] = processor_time_of(&mut runs[run]).as_secs_f64();
        }
        seconds
    };
    (0..turns).map(each).collect()
}

/// Returns the processor time that this process takes for `work`.
pub(crate) fn processor_time_of(work: impl FnOnce()) -> Duration {
    let start = processor_time();
    work();
    processor_time() - start
}

/// Returns the time of the fastest of `rounds` runs.
pub(crate) fn fastest(rounds: usize, mut run: impl FnMut()) -> Duration {
    (0..rounds).map(|_| time(&mut run)).min().expect("there is at least one round")
}

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark measures real time")]
fn time(run: &mut impl FnMut()) -> Duration {
    let start = std::time::Instant::now();
    run();
    start.elapsed()
}
