//! Events of the calls at a server that have no row.

use super::Name;

/// Something that happens to a call at a server, for metrics. It is no row: no file has it and no digest covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerMoment {
    /// The time at which it happened.
    pub at_us: u64,
    /// The server.
    pub server: Name,
    /// The event.
    pub what: CallMoment,
}

/// An event of a call at a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallMoment {
    /// A call has arrived.
    Arrived {
        /// The full name of its method, such as `rehearsal.v1.Rehearsal/GetData`.
        method: Name,
    },
    /// It waits for a worker.
    Queued,
    /// A worker has taken it.
    Taken,
    /// The worker is free again.
    Left,
    /// A call has ended.
    Ended {
        /// The full name of its method.
        method: Name,
        /// Its status.
        status: crate::status::Code,
        /// The time since it arrived.
        duration_us: u64,
    },
}
