//! The moments of calls at the servers of a simulation, for its metrics.
//!
//! They are kept only if they are asked for, and are no part of the run: nothing in it depends on them.

use std::cell::{Cell, RefCell};

use kernel::record::ServerMoment;

thread_local! {
    static KEEPING: Cell<bool> = const { Cell::new(false) };
    static KEPT: RefCell<Vec<ServerMoment>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the moments of this thread's simulation until it is dropped.
pub(crate) struct Moments;

impl Moments {
    pub(crate) fn begin() -> Self {
        KEEPING.set(true);
        Self
    }

    /// Returns what was kept, in the order in which it happened.
    pub(crate) fn end(self) -> Vec<ServerMoment> {
        KEPT.take()
    }
}

impl Drop for Moments {
    fn drop(&mut self) {
        KEEPING.set(false);
        KEPT.take();
    }
}

/// Keeps no moments until it is dropped.
pub(crate) struct Paused(bool);

impl Paused {
    pub(crate) fn begin() -> Self {
        Self(KEEPING.replace(false))
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        KEEPING.set(self.0);
    }
}

/// Ends what is kept with the run: what is dropped after it did not happen.
pub(crate) fn end() {
    KEEPING.set(false);
}

/// Returns whether moments are kept.
pub(crate) fn are_kept() -> bool {
    KEEPING.get()
}

/// Keeps a moment, if moments are kept now: a call that began while they were may be dropped while they are not.
pub(crate) fn keep(moment: impl FnOnce() -> ServerMoment) {
    if !are_kept() {
        return;
    }
    // A thread that ends has no place for it any more.
    let _ = KEPT.try_with(|kept| kept.borrow_mut().push(moment()));
}
