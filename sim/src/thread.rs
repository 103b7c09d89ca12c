//! The thread that a simulation has for itself.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use kernel::memory;

use crate::{error::SimulationError, interpose::Interposed, planted::planted};

/// Runs `simulate` on a new thread that sees the virtual clock and the randomness of `seed`.
///
/// The thread is new because thread-local variables that another simulation has left behind could make a difference. If the
/// simulation takes longer than the real time that `watch` has, its flag is set, and the simulation is to end itself.
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
        if ended.recv_timeout(real_time) == Err(mpsc::RecvTimeoutError::Timeout) {
            overtime.store(true, Relaxed);
        }
        let joined = spawned.join();
        joined.unwrap_or_else(|_| Err(SimulationError::panicked()))
    })
}
