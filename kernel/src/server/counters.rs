//! Counters of a replica, which `GetMetrics` returns.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counters since the replica began to listen.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Requests that arrived, with any response.
    pub(super) received: AtomicU64,
    /// Requests that a worker completed with a result.
    pub(super) finished: AtomicU64,
    /// Requests refused because the replica had no room.
    pub(super) refused: AtomicU64,
    /// Requests refused because their input was invalid.
    pub(super) invalid: AtomicU64,
    /// Requests dropped before a worker started them.
    pub(super) skipped: AtomicU64,
    /// Requests that a fault or the workload failed on purpose.
    pub(super) aborted: AtomicU64,
    /// Sum of the queueing times of finished requests, in microseconds.
    pub(super) queue_us: AtomicU64,
    /// Sum of the service times of finished requests, in microseconds.
    pub(super) service_us: AtomicU64,
    /// Number of requests that wait for a worker now.
    pub(super) queued: AtomicU64,
    /// Number of requests that occupy a worker now.
    pub(super) running: AtomicU64,
}

impl Counters {
    /// Adds one to `counter`.
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// Counts a finished request that waited for `queued` and occupied its worker for `service`.
    pub(super) fn finish(&self, queued: Duration, service: Duration) {
        Self::count(&self.finished);
        self.queue_us.fetch_add(queued.as_micros() as u64, Relaxed);
        self.service_us.fetch_add(service.as_micros() as u64, Relaxed);
    }
}
