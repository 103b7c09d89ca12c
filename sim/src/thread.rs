//! The thread that a simulation has for itself.

use std::thread;

use kernel::memory;

use crate::{error::SimulationError, interpose::Interposed, planted::planted};

/// Runs `simulate` on a new thread that sees the virtual clock and the randomness of `seed`.
///
/// The thread is new because thread-local variables that another simulation has left behind could make a difference.
pub(crate) fn on_own_thread<T: Send>(
    seed: u64,
    simulate: impl FnOnce() -> Result<T, SimulationError> + Send,
) -> Result<T, SimulationError> {
    if planted!(Canary::SharedThread) {
        let _interposed = Interposed::enter(seed);
        return simulate();
    }
    thread::scope(|scope| {
        let spawned = thread::Builder::new().name("simulation".to_owned()).spawn_scoped(scope, || {
            let _interposed = Interposed::enter(seed);
            memory::keep();
            simulate()
        });
        let joined = spawned.map_err(|error| SimulationError::Failed(format!("no thread for it: {error}")))?.join();
        joined.unwrap_or_else(|_| Err(SimulationError::panicked()))
    })
}
