//! The time that a host's operating system takes to wake a process whose timer has expired, and to close the connections
//! of a killed one. Both are zero unless they are calibrated.

use std::time::Duration;

use kernel::{distribution::Distribution, entropy::Entropy, time::Instant};

use crate::{calibration::SystemTimes, host_id::HostId};

/// The operating systems of all hosts.
#[derive(Debug)]
pub(crate) struct System {
    times: SystemTimes,
    entropy: Entropy,
}

impl System {
    pub(crate) fn new(times: SystemTimes, entropy: Entropy) -> Self {
        Self { times, entropy }
    }

    /// Draws when a task of `host` that sleeps until `at` continues. The draw depends on the seed, the host and `at` only,
    /// so tasks that sleep until the same instant continue together.
    pub(crate) fn wakes(&self, host: HostId, at: Instant) -> Instant {
        let late = if host == HostId::CLIENT { &self.times.client_late_us } else { &self.times.server_late_us };
        at + self.draw(late, "system.late", host.number as u64, at)
    }

    /// Draws the time from a SIGKILL of `server`, at `now`, until its connections break.
    pub(crate) fn exit(&self, server: usize, now: Instant) -> Duration {
        self.draw(&self.times.exit_us, "system.exit", server as u64, now)
    }

    /// Draws from `times`, with the random stream `name` of this host or server at this instant.
    fn draw(&self, times: &Option<Distribution>, name: &str, index: u64, at: Instant) -> Duration {
        let Some(times) = times else { return Duration::ZERO };
        times.sample(&mut self.entropy.stream_of(name, &[index, at.as_nanos()]))
    }
}
