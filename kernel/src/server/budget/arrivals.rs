//! How many new connections a server accepts.

use std::time::Duration;

use crate::time::Instant;

/// Most new connections at once, and a second. Those whose peer then sends a whole request do not count. A peer that reconnects
/// without end takes a millisecond of processor time each time, at both ends together.
pub(in crate::server) const ARRIVALS: u32 = 256;
pub(in crate::server) const ARRIVALS_PER_S: u32 = 200;

/// The new connections that may be accepted.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// Their number.
    left: u32,
    /// The time until which the number has grown.
    grown: Instant,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { left: ARRIVALS, grown: Instant::START }
    }
}

impl Arrivals {
    /// Takes one off, or returns when there is one again.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let span = Duration::from_secs(1) / ARRIVALS_PER_S;
        let new = u32::try_from(now.since(self.grown).as_nanos() / span.as_nanos()).unwrap_or(u32::MAX);
        // A full number does not grow: the time in which it was full is no credit.
        self.grown = if new >= ARRIVALS - self.left { now } else { self.grown + span * new };
        self.left = self.left.saturating_add(new).min(ARRIVALS);
        if self.left == 0 {
            return Err(self.grown + span);
        }
        self.left -= 1;
        Ok(())
    }

    /// Takes back that a connection counted.
    pub(super) fn give_back(&mut self) {
        self.left = (self.left + 1).min(ARRIVALS);
    }
}
