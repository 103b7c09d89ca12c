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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn waits_before_and_after_the_cancellation_complete() {
        let cancellation = Cancellation::default();
        let mut before = pin!(cancellation.wait());
        assert_eq!(before.as_mut().now_or_never(), None);
        cancellation.cancel();
        assert_eq!(before.now_or_never(), Some(()));
        assert_eq!(cancellation.wait().now_or_never(), Some(()));
    }
}
