//! The thread that a simulation has for itself.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use kernel::memory;

use crate::{error::SimulationError, interpose::Interposed, planted::planted};

/// The flag that ends the simulations of this process, if it has one.
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Time between two looks at the flag.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Ends all simulations of this process within a tenth of a second after `stop` was set, as at a limit: what they have recorded is
/// kept. A signal handler can set it. Of several calls the first one counts.
pub fn stop_when(stop: Arc<AtomicBool>) {
    STOP.get_or_init(|| stop);
}

/// Returns whether the simulations of this process are to end.
pub(crate) fn is_interrupted() -> bool {
    STOP.get().is_some_and(|stop| stop.load(Relaxed))
}

/// Waits until a simulation has `ended`, for `real_time` at most. Returns false if it goes on then, or is interrupted.
fn ends_within(real_time: Duration, ended: &Receiver<()>) -> bool {
    let mut left = real_time;
    while STOP.get().is_some() && left > LOOK_INTERVAL && !is_interrupted() {
        if ended.recv_timeout(LOOK_INTERVAL) != Err(RecvTimeoutError::Timeout) {
            return true;
        }
        left -= LOOK_INTERVAL;
    }
    let left = if is_interrupted() { Duration::ZERO } else { left };
    ended.recv_timeout(left) != Err(RecvTimeoutError::Timeout)
}

/// Runs `simulate` on a new thread that sees the virtual clock and the randomness of `seed`.
///
/// The thread is new because thread-local variables that another simulation has left behind could make a difference. If the
/// simulation takes longer than the real time that `watch` has, or is interrupted, its flag is set, and the simulation is to end
/// itself.
pub(crate) fn on_own_thread<T: Send>(
    seed: u64,
    watch: (Duration, &AtomicBool),
    simulate: impl FnOnce() -> Result<T, SimulationError> + Send,
) -> Result<T, SimulationError> {
    if planted!(Canary::SharedThread) {
        let _interposed = Interposed::enter(seed);
        return simulate();
    }
    let (running, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let spawned = thread::Builder::new().name("simulation".to_owned()).spawn_scoped(scope, move || {
            let _running = running;
            let _interposed = Interposed::enter(seed);
            memory::keep();
            simulate()
        });
        let spawned = spawned.map_err(|error| SimulationError::Failed(format!("no thread for it: {error}")))?;
        let (real_time, overtime) = watch;
        // The simulation's own thread cannot measure it: the clock that it sees is virtual.
        if !ends_within(real_time, &ended) {
            overtime.store(true, Relaxed);
        }
        let joined = spawned.join();
        joined.unwrap_or_else(|_| Err(SimulationError::panicked()))
    })
}
