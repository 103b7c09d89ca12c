//! The cancellation of every call of a client, by its owner.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A flag that is set once, and can be waited for.
#[derive(Debug, Default)]
pub(super) struct Cancellation {
    cancelled: AtomicBool,
    changed: Notify,
}

impl Cancellation {
    /// Sets the flag, for good.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Completes when the flag is set.
    pub(super) async fn wait(&self) {
        // It is created before the flag is read, so that it sees every change after that.
        let changed = self.changed.notified();
        if !self.is_cancelled() {
            changed.await;
        }
    }
}
