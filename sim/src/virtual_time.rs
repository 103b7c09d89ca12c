//! The virtual time of the simulation that the present thread runs.
//!
//! It is a copy of the [`Clock`](crate::clock::Clock)'s time, for code that has no reference to the clock: the replaced
//! functions of the C library, and the trace.

use std::cell::Cell;

use kernel::time::Instant;

thread_local! {
    /// Virtual nanoseconds; `None` on threads that run no simulation.
    static NOW: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes this thread one that runs a simulation, at the start of virtual time.
pub(crate) fn begin() {
    NOW.set(Some(0));
}

/// Makes this thread an ordinary one again.
pub(crate) fn end() {
    NOW.set(None);
}

/// Moves this thread's time, if it runs a simulation.
pub(crate) fn set(now: Instant) {
    if NOW.get().is_some() {
        NOW.set(Some(now.as_nanos()));
    }
}

/// Returns the virtual time in nanoseconds, or `None` on a thread that runs no simulation.
pub(crate) fn nanos() -> Option<u64> {
    NOW.get()
}
