//! A turn of a runtime: it runs what is ready, up to the `epoll_wait` that would block.
//!
//! What this assumes of tokio and mio is pinned by tests in `process/tests.rs`:
//!
//! * a `current_thread` runtime with its I/O driver waits in `epoll_wait` only;
//! * it passes the time until its next deadline there, in milliseconds, -1 without one, and 0 while it has something to do;
//! * a future that `block_on` runs is polled behind that, if it was woken there.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Poll, Waker},
    time::Duration,
};

use tokio::runtime::Runtime;

use super::Key;

/// Most looks at the operating system in one turn. tokio takes one every 61 tasks, and one whenever only tasks are left that have yielded.
const LOOKS_MAX: u64 = 10_000_000;

thread_local! {
    /// The process whose turn it is.
    static CURRENT: Cell<Option<Key>> = const { Cell::new(None) };
    /// Looks at the operating system in this turn.
    static LOOKS: Cell<u64> = const { Cell::new(0) };
    /// The event that the runtime waits for, once it does.
    static REST: Cell<Option<Rest>> = const { Cell::new(None) };
    /// Wakes the future that ends the turn.
    static ENDING: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// The event that a runtime waits for at the end of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The end of this time, or that something wakes it.
    For(Duration),
    /// That something wakes it.
    UntilWoken,
    /// Nothing: its tasks run over and over.
    Never,
}

/// Returns whether it is the turn of this process.
pub(super) fn is_of(key: Key) -> bool {
    // A waker may be used while the thread ends.
    CURRENT.try_with(Cell::get).is_ok_and(|current| current == Some(key))
}

/// Returns whether it is the turn of any process on this thread.
pub(crate) fn is_any() -> bool {
    // A thread that ends may have no variables any more.
    CURRENT.try_with(Cell::get).is_ok_and(|current| current.is_some())
}

/// Runs `code` as in the turn of a process.
#[cfg(test)]
pub(crate) fn within<T>(key: Key, code: impl FnOnce() -> T) -> T {
    let _turn = Turn::begin(key);
    code()
}

/// Runs `begin` and what is ready then in `runtime`, and returns what the runtime waits for.
pub(super) fn turn(key: Key, runtime: &Runtime, begin: impl FnOnce()) -> Rest {
    let _turn = Turn::begin(key);
    let mut begin = Some(begin);
    runtime.block_on(poll_fn(|cx| match begin.take() {
        Some(begin) => {
            ENDING.set(Some(cx.waker().clone()));
            begin();
            Poll::Pending
        }
        None => REST.get().map_or(Poll::Pending, Poll::Ready),
    }))
}

/// Is called in place of `epoll_wait`, with its timeout in milliseconds. Returns false if the present thread is in no turn of a process.
/// Otherwise there are no events, and the turn ends if the runtime would wait.
pub(crate) fn parks(timeout_ms: i32) -> bool {
    if !is_any() {
        return false;
    }
    let looks = LOOKS.get() + 1;
    LOOKS.set(looks);
    let rest = match u64::try_from(timeout_ms) {
        Ok(0) if looks < LOOKS_MAX => return true,
        Ok(0) => Rest::Never,
        Ok(millis) => Rest::For(Duration::from_millis(millis)),
        Err(_) => Rest::UntilWoken,
    };
    REST.set(Some(rest));
    ENDING.with_borrow(|ending| ending.iter().for_each(Waker::wake_by_ref));
    true
}

/// The turn of a process on this thread, until it is dropped.
struct Turn;

impl Turn {
    fn begin(key: Key) -> Self {
        CURRENT.set(Some(key));
        LOOKS.set(0);
        REST.set(None);
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        CURRENT.set(None);
        ENDING.set(None);
    }
}
