//! Changes of what the client knows of its servers, which attempts without a candidate wait for.

use std::sync::Arc;

use tokio::sync::{Notify, futures::Notified};

/// Notifies those who wait that a connection, a health rating or an ejection has changed. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes(Arc<Notify>);

impl Changes {
    /// Notes a change.
    pub(crate) fn notify(&self) {
        self.0.notify_waiters();
    }

    /// Returns a future that completes at the next change. It sees every change from its creation on, so it is created before the
    /// state is read.
    pub(crate) fn next(&self) -> Notified<'_> {
        self.0.notified()
    }
}
