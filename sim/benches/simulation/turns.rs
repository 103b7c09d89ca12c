//! Taking turns, and the time that each takes.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Who runs when in a turn. Each finds the machine as each of the others leaves it, as often: Williams' Latin square, whose rows
/// are 0, 1, -1, 2, -2, ... from another start. Of an odd number every other square has to be mirrored for that.
pub(crate) fn order(runs: usize, turn: usize) -> impl Iterator<Item = usize> {
    let is_mirrored = runs % 2 == 1 && turn / runs % 2 == 1;
    (0..runs).map(move |place| {
        let place = if is_mirrored { runs - 1 - place } else { place };
        let step = place.div_ceil(2);
        (turn + if place % 2 == 1 { step } else { runs - step }) % runs
    })
}

/// What all threads of this process have taken together so far: on a machine that has other things to do it tells better than
/// the wall clock what something costs.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
