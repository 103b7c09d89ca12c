//! Events of calls that have no row.

use serde::{Deserialize, Serialize};

use super::Name;
use crate::status::Code;

/// Something that happens to a call at a server or at the client, for metrics. It is no row: no file has it and no digest covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerMoment {
    /// The time at which it happened.
    pub at_us: u64,
    /// The server, or `client`.
    pub server: Name,
    /// The event.
    pub what: CallMoment,
}

/// The bytes of the messages of a call or an attempt, as they are compressed, without what gRPC and the network put around them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageBytes {
    /// Bytes that were sent by the one who counts.
    pub sent: u64,
    /// Bytes that have come.
    pub received: u64,
}

/// An event of a call at a server, or of an attempt at the client.
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
        status: Code,
        /// The time since it arrived.
        duration_us: u64,
        /// The bytes of its messages.
        bytes: MessageBytes,
    },
    /// An attempt of the client has ended.
    AttemptEnded {
        /// The server that it was sent to.
        server: Name,
        /// Its status.
        status: Code,
        /// The bytes of its messages.
        bytes: MessageBytes,
    },
    /// Outlier detection has found a server, and does not eject it.
    Unenforced {
        /// The server.
        server: Name,
        /// How it was found, as gRPC A91 calls it: `success_rate`, `failure_percentage` or `consecutive_errors`.
        method: Name,
        /// Why it is not ejected, as gRPC A91 calls it: `enforcement_percentage` or `max_ejection_overflow`.
        reason: Name,
    },
}
