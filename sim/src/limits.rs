//! The bounds at which a simulation is aborted.

use std::time::Duration;

use kernel::{
    scenario::{Scenario, duration},
    time::Instant,
};

use crate::thread::is_interrupted;

/// The time that a run may go on after the deadline of its last possible call.
const GRACE: Duration = Duration::from_secs(60);

/// The real time that a simulation may take unless its caller says otherwise.
pub const REAL_TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// The bounds of one simulation. All but that on real time are counted, so that a run hits them at the same point on every
/// machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most requests, attempts and events on record. They are kept in memory, at about 250 bytes each.
    pub(crate) events: usize,
    /// The virtual time beyond which the run may not go.
    pub(crate) until: Instant,
    /// Most steps of the driver at one instant.
    pub(crate) idle_steps: u64,
    /// Most timers that fire. What happens without a record, such as health checks, takes timers, too.
    pub(crate) timers: u64,
    /// The longest real time.
    pub(crate) real_time: Duration,
}

/// How far a simulation has come, to be compared with its limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// Rows on record.
    pub(crate) events: usize,
    pub(crate) now: Instant,
    /// Steps of the driver at this instant.
    pub(crate) idle_steps: u64,
    /// Timers that have fired.
    pub(crate) timers: u64,
    /// True once the real time is over, or if the run is interrupted.
    pub(crate) is_overtime: bool,
}

/// The bound that a run has exceeded, or the interruption of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// More rows were recorded than are kept in memory.
    #[error("it hit the limit of {0} recorded events; lower load.rate or duration")]
    Events(usize),
    /// The run goes on although every call has passed its deadline.
    #[error(
        "it hit the limit of {0} of virtual time, when every call should long have ended, which is a bug of this program"
    )]
    VirtualTime(Instant),
    /// Something happens over and over without taking time.
    #[error(
        "it hit the limit of {0} steps at one instant; a service or a load that does something over and over needs a `host.sleep`, and without \
         one of its own it is a bug of this program"
    )]
    Steps(u64),
    /// More happened than a run can have, on record or not.
    #[error(
        "it hit the limit of {0} timers; lower load.rate or duration, or raise intervals and delays that are short"
    )]
    Timers(u64),
    /// The run took too long on this machine.
    #[error("it hit the limit of {} of real time; lower load.rate or duration, or allow more with --time-limit", duration::text(*.0))]
    RealTime(Duration),
    /// The flag of [`stop_when`](crate::stop_when) was set.
    #[error("it was interrupted")]
    Interruption,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            events: 20_000_000,
            until: Instant::NEVER,
            idle_steps: 1_000_000,
            timers: 500_000_000,
            real_time: REAL_TIME_MAX,
        }
    }
}

impl Limits {
    /// Returns the limits of a run of `scenario`: it must end soon after the deadline of the last call that it can make.
    pub(crate) fn for_scenario(scenario: &Scenario) -> Self {
        Self { until: Instant::START + scenario.duration + scenario.client.deadline + GRACE, ..Self::default() }
    }

    /// Returns the bound that is exceeded, if one is.
    pub(crate) fn hit(&self, progress: Progress) -> Option<Limit> {
        if progress.is_overtime {
            Some(if is_interrupted() { Limit::Interruption } else { Limit::RealTime(self.real_time) })
        } else if progress.events > self.events {
            Some(Limit::Events(self.events))
        } else if progress.now > self.until {
            Some(Limit::VirtualTime(self.until))
        } else if progress.idle_steps > self.idle_steps {
            Some(Limit::Steps(self.idle_steps))
        } else {
            (progress.timers > self.timers).then_some(Limit::Timers(self.timers))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_hit_when_it_is_exceeded() {
        let second = Instant::START + Duration::from_secs(1);
        let limits = Limits { events: 10, until: second, idle_steps: 5, timers: 7, real_time: GRACE };
        let within = Progress { events: 10, now: second, idle_steps: 5, timers: 7, is_overtime: false };
        assert_eq!(limits.hit(within), None);
        assert_eq!(limits.hit(Progress { events: 11, ..within }), Some(Limit::Events(10)));
        let later = second + Duration::from_nanos(1);
        assert_eq!(limits.hit(Progress { now: later, ..within }), Some(Limit::VirtualTime(second)));
        assert_eq!(limits.hit(Progress { idle_steps: 6, ..within }), Some(Limit::Steps(5)));
        assert_eq!(limits.hit(Progress { timers: 8, ..within }), Some(Limit::Timers(7)));
        assert_eq!(limits.hit(Progress { is_overtime: true, ..within }), Some(Limit::RealTime(GRACE)));
    }
}
