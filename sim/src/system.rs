//! What a host's operating system takes for what it is asked to do: to let a process run whose time has come, to take
//! a killed one's connections down. Both are nothing unless they are calibrated.

use std::time::Duration;

use kernel::{distribution::Distribution, entropy::Entropy, time::Instant};

use crate::{calibration::SystemTimes, clock::HostId};

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

    /// When a task of `host` that sleeps until `at` goes on. It depends on the seed, the host and `at` only; those that
    /// sleep until the same instant go on together.
    pub(crate) fn wakes(&self, host: HostId, at: Instant) -> Instant {
        let late = if host == HostId::CLIENT { &self.times.client_late_us } else { &self.times.server_late_us };
        at + self.draw(late, "system.late", host.0 as u64, at)
    }

    /// From a SIGKILL of `server`, now, until its connections break.
    pub(crate) fn exit(&self, server: usize, now: Instant) -> Duration {
        self.draw(&self.times.exit_us, "system.exit", server as u64, now)
    }

    fn draw(&self, times: &Option<Distribution>, name: &str, whose: u64, at: Instant) -> Duration {
        let Some(times) = times else { return Duration::ZERO };
        times.sample(&mut self.entropy.stream_of(name, &[whose, at.as_nanos()]))
    }
}
