//! What ends a simulation that would not end well.

use std::time::Duration;

use kernel::{scenario::Scenario, time::Instant};

/// How long after the last call's deadline a run may go on.
const GRACE: Duration = Duration::from_secs(60);

/// Bounds of one simulation. Who hits one is told which, when, and with what seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Requests, attempts and events on record. They are kept in memory, at about 250 bytes each.
    pub(crate) events: usize,
    /// Virtual time.
    pub(crate) until: Instant,
    /// Turns of the driver in which the clock does not move.
    pub(crate) idle_steps: u64,
}

/// The bound that was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// More was recorded than memory is meant for.
    #[error("{0} recorded events; lower load.rate or duration")]
    Events(usize),
    /// Every call has ended by its deadline, so what goes on is none of them.
    #[error("{0} of virtual time, when every call should long have ended, which is a bug of this program")]
    VirtualTime(Instant),
    /// Something happens again and again without taking time.
    #[error("{0} steps at one instant, which is a bug of this program")]
    Steps(u64),
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: 20_000_000, until: Instant::NEVER, idle_steps: 1_000_000 }
    }
}

impl Limits {
    /// Of a run of `scenario`.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        Self { until: Instant::START + scenario.duration + scenario.client.deadline + GRACE, ..Self::default() }
    }

    /// The bound that is hit with so many `events` on record, at `now`, where the driver has taken `steps`.
    pub(crate) fn hit(&self, events: usize, now: Instant, steps: u64) -> Option<Limit> {
        if events > self.events {
            Some(Limit::Events(self.events))
        } else if now > self.until {
            Some(Limit::VirtualTime(self.until))
        } else {
            (steps > self.idle_steps).then_some(Limit::Steps(self.idle_steps))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_hit_when_it_is_exceeded() {
        let second = Instant::START + Duration::from_secs(1);
        let limits = Limits { events: 10, until: second, idle_steps: 5 };
        assert_eq!(limits.hit(10, second, 5), None);
        assert_eq!(limits.hit(11, second, 5), Some(Limit::Events(10)));
        assert_eq!(limits.hit(10, second + Duration::from_nanos(1), 5), Some(Limit::VirtualTime(second)));
        assert_eq!(limits.hit(10, second, 6), Some(Limit::Steps(5)));
    }
}
