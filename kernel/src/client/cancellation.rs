//! The end of every call of a client, asked for by its owner.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Not yet, then for good.
#[derive(Debug, Default)]
pub(super) struct Cancellation {
    cancelled: AtomicBool,
    changed: Notify,
}

impl Cancellation {
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(super) async fn wait(&self) {
        // Made before the look at the flag, it is told of every change after that.
        let changed = self.changed.notified();
        if !self.is_cancelled() {
            changed.await;
        }
    }
}
