//! What a replica counts, for `GetMetrics`.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counters since the replica began to listen.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) received: AtomicU64,
    pub(super) finished: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) invalid: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) aborted: AtomicU64,
    pub(super) queue_us: AtomicU64,
    pub(super) service_us: AtomicU64,
    /// Waiting for a worker, now.
    pub(super) queued: AtomicU64,
    /// Holding a worker, now.
    pub(super) running: AtomicU64,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn finish(&self, queued: Duration, service: Duration) {
        Self::count(&self.finished);
        self.queue_us.fetch_add(queued.as_micros() as u64, Relaxed);
        self.service_us.fetch_add(service.as_micros() as u64, Relaxed);
    }
}
