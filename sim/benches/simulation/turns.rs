//! The order of turns, and processor time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Returns the order of `runs` functions in a turn. Each function follows each of the others equally often, so that none has
/// an advantage from the state of the caches. It is Williams' Latin square, whose rows are 0, 1, -1, 2, -2, ... from different
/// starts; with an odd number of functions, every other square is mirrored.
pub(crate) fn order(runs: usize, turn: usize) -> impl Iterator<Item = usize> {
    let is_mirrored = runs % 2 == 1 && turn / runs % 2 == 1;
    (0..runs).map(move |place| {
        let place = if is_mirrored { runs - 1 - place } else { place };
        let step = place.div_ceil(2);
        (turn + if place % 2 == 1 { step } else { runs - step }) % runs
    })
}

/// Returns the processor time of all threads of this process so far. On a busy machine it shows the cost of code better than
/// the wall clock does.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
