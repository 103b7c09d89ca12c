//! The bounds at which a simulation is aborted.

use std::time::Duration;

use kernel::{scenario::Scenario, time::Instant};

/// The time that a run may go on after the deadline of its last possible call.
const GRACE: Duration = Duration::from_secs(60);

/// The bounds of one simulation. The error of a run that exceeds one says which, when, and with what seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most requests, attempts and events on record. They are kept in memory, at about 250 bytes each.
    pub(crate) events: usize,
    /// The virtual time beyond which the run may not go.
    pub(crate) until: Instant,
    /// Most steps of the driver at one instant.
    pub(crate) idle_steps: u64,
}

/// The bound that a run has exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// More rows were recorded than are kept in memory.
    #[error("{0} recorded events; lower load.rate or duration")]
    Events(usize),
    /// The run goes on although every call has passed its deadline.
    #[error("{0} of virtual time, when every call should long have ended, which is a bug of this program")]
    VirtualTime(Instant),
    /// Something happens over and over without taking time.
    #[error("{0} steps at one instant, which is a bug of this program")]
    Steps(u64),
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: 20_000_000, until: Instant::NEVER, idle_steps: 1_000_000 }
    }
}

impl Limits {
    /// Returns the limits of a run of `scenario`: it must end soon after the deadline of the last call that it can make.
    pub(crate) fn for_scenario(scenario: &Scenario) -> Self {
        Self { until: Instant::START + scenario.duration + scenario.client.deadline + GRACE, ..Self::default() }
    }

    /// Returns the bound that is exceeded with `events` rows on record, at `now`, after `steps` steps at this instant.
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
