//! The time of a run: the machine's monotonic clock, from the run's epoch on.

use kernel::time::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Counts from an epoch. Processes that share the epoch share the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    epoch_ns: u64,
}

impl Clock {
    /// Counts from when the machine was started. A process that begins before its run does goes by this one.
    pub(crate) const MACHINE: Self = Self::since(0);

    /// Counts from `epoch_ns` nanoseconds after the machine was started.
    pub(crate) const fn since(epoch_ns: u64) -> Self {
        Self { epoch_ns }
    }

    /// The start of the run before the epoch.
    pub(crate) fn now(self) -> Instant {
        Instant::from_nanos(machine_ns().saturating_sub(self.epoch_ns))
    }

    /// The nanosecond of the machine at which it is `at`.
    pub(crate) fn machine_ns_at(self, at: Instant) -> u64 {
        self.epoch_ns.saturating_add(at.as_nanos())
    }
}

/// Nanoseconds since the machine was started: `CLOCK_MONOTONIC`.
pub(crate) fn machine_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_one_epoch_agree_and_stand_still_before_it() {
        let epoch_ns = machine_ns();
        let (one, other) = (Clock::since(epoch_ns), Clock::since(epoch_ns));
        let (early, late) = (one.now(), other.now());
        assert!(early <= late && late < Instant::from_nanos(1_000_000_000));
        assert_eq!(Clock::since(u64::MAX).now(), Instant::START);
        assert_eq!(one.machine_ns_at(Instant::from_nanos(5)), epoch_ns + 5);
        assert_eq!(one.machine_ns_at(Instant::NEVER), u64::MAX);
    }
}
