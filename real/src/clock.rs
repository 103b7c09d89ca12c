//! The time of a run: the machine's monotonic clock, relative to the epoch of the run.

use kernel::time::Instant;
use rustix::time::{ClockId, clock_gettime};

/// A clock with an epoch. Processes with the same epoch have the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    epoch_ns: u64,
}

impl Clock {
    /// The clock whose epoch is the start of the machine. Processes use it before the epoch of their run is known.
    pub(crate) const MACHINE: Self = Self::since(0);

    /// A clock whose epoch is `epoch_ns` nanoseconds after the start of the machine.
    pub(crate) const fn since(epoch_ns: u64) -> Self {
        Self { epoch_ns }
    }

    /// The current time; the start of the run before the epoch.
    pub(crate) fn now(self) -> Instant {
        Instant::from_nanos(machine_ns().saturating_sub(self.epoch_ns))
    }

    /// Nanoseconds between the start of the machine and `at`.
    pub(crate) fn machine_ns_at(self, at: Instant) -> u64 {
        self.epoch_ns.saturating_add(at.as_nanos())
    }
}

/// Nanoseconds since the machine started, from `CLOCK_MONOTONIC`.
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
        let one = Clock::since(epoch_ns);
        let other = Clock::since(epoch_ns);
        let early = one.now();
        let late = other.now();
        assert!(early <= late && late < Instant::from_nanos(1_000_000_000));
        assert_eq!(Clock::since(u64::MAX).now(), Instant::START);
        assert_eq!(one.machine_ns_at(Instant::from_nanos(5)), epoch_ns + 5);
        assert_eq!(one.machine_ns_at(Instant::NEVER), u64::MAX);
    }
}
