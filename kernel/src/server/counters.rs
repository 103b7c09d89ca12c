//! Counters of a replica, which `GetMetrics` returns.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counters since the replica began to listen.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Requests that arrived, with any response.
    pub(crate) received: AtomicU64,
    /// Requests that a worker completed with a result.
    pub(crate) finished: AtomicU64,
    /// Requests refused because the replica had no room.
    pub(crate) refused: AtomicU64,
    /// Requests refused because their input was invalid.
    pub(crate) invalid: AtomicU64,
    /// Requests dropped before a worker started them.
    pub(crate) skipped: AtomicU64,
    /// Requests dropped while a worker answered them, as their caller had left or the deadline of a stream had passed.
    pub(crate) cancelled: AtomicU64,
    /// Requests that a fault or the workload failed on purpose.
    pub(crate) aborted: AtomicU64,
    /// Sum of the queueing times of finished requests, in microseconds.
    pub(crate) queue_us: AtomicU64,
    /// Sum of the service times of finished requests, in microseconds.
    pub(crate) service_us: AtomicU64,
    /// Number of requests that wait for a worker now.
    pub(crate) queued: AtomicU64,
    /// Number of requests that occupy a worker now.
    pub(crate) running: AtomicU64,
}

impl Counters {
    /// Adds one to `counter`.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// Counts a finished request that waited for `queued` and occupied its worker for `service`.
    pub(crate) fn finish(&self, queued: Duration, service: Duration) {
        Self::count(&self.finished);
        self.queue_us.fetch_add(queued.as_micros() as u64, Relaxed);
        self.service_us.fetch_add(service.as_micros() as u64, Relaxed);
    }
}
