//! The state of each replica, as the events of the faults, the supervisor and the client show it.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{
    record::{Event, EventRow},
    scenario::{Affects, FaultName},
};

/// A replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) name: String,
    /// `None` while it has no process.
    pub(super) pid: Option<u32>,
    life: Life,
    /// The freezes that last, by fault.
    freezes: BTreeSet<usize>,
    /// The kinds of other active faults, by fault.
    faults: BTreeMap<usize, FaultName>,
    /// True while the client regards it as healthy.
    pub(super) healthy_to_client: bool,
    /// State of its circuit breaker.
    breaker: Breaker,
    /// True while it is ejected.
    is_ejected: bool,
}

/// The state of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breaker {
    Closed,
    Open,
    HalfOpen,
}

impl Breaker {
    /// Returns the state after an event; none if it is not about a breaker.
    pub(super) fn after(event: Event) -> Option<Self> {
        match event {
            Event::BreakerOpened => Some(Self::Open),
            Event::BreakerHalfOpened => Some(Self::HalfOpen),
            Event::BreakerClosed => Some(Self::Closed),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Crashed,
    Starting,
    Listening,
}

/// The condition of a replica, as the dashboard shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// It runs, and the client regards it as healthy.
    Healthy,
    /// It runs, and the client regards it as unhealthy.
    Unhealthy,
    /// Its process has been stopped.
    Frozen,
    /// Its process has been killed.
    Crashed,
    /// It has a new process that does not listen yet.
    Starting,
}

impl Condition {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Frozen => "frozen",
            Self::Crashed => "crashed",
            Self::Starting => "starting",
        }
    }
}

impl Server {
    /// A replica that runs when its run begins.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            pid: None,
            life: Life::Listening,
            freezes: BTreeSet::new(),
            faults: BTreeMap::new(),
            healthy_to_client: true,
            breaker: Breaker::Closed,
            is_ejected: false,
        }
    }

    pub(super) fn condition(&self) -> Condition {
        match self.life {
            Life::Crashed => Condition::Crashed,
            Life::Starting => Condition::Starting,
            Life::Listening if !self.freezes.is_empty() => Condition::Frozen,
            Life::Listening if self.healthy_to_client => Condition::Healthy,
            Life::Listening => Condition::Unhealthy,
        }
    }

    /// Returns what the server is to the client. What keeps calls away from it comes first.
    pub(super) fn to_client(&self) -> &'static str {
        match self.breaker {
            _ if self.is_ejected => "ejected",
            Breaker::Open => "breaker open",
            Breaker::HalfOpen => "half-open",
            Breaker::Closed if self.healthy_to_client => "healthy",
            Breaker::Closed => "unhealthy",
        }
    }

    /// Returns the active faults besides crashes and freezes, by what they apply to, such as `link: delay, loss`.
    pub(super) fn faults(&self) -> String {
        let groups =
            [(Affects::Link, "link"), (Affects::Work, "work"), (Affects::Handshakes, "TLS")].map(|(affects, label)| {
                let kinds = self.faults.values().filter(|kind| kind.affects() == affects).map(|kind| kind.name());
                let kinds = kinds.collect::<Vec<_>>().join(", ");
                if kinds.is_empty() { kinds } else { format!("{label}: {kinds}") }
            });
        groups.into_iter().filter(|group| !group.is_empty()).collect::<Vec<_>>().join("; ")
    }

    /// Draws the consequence of an event that concerns it.
    pub(super) fn observe(&mut self, row: &EventRow) {
        let cause = row.cause.as_deref().unwrap_or_default();
        match (row.event, row.fault) {
            (Event::FaultStart, Some(fault)) => self.begin(fault, cause),
            (Event::FaultEnd | Event::NoEffect, Some(fault)) => {
                self.freezes.remove(&fault);
                self.faults.remove(&fault);
            }
            (Event::Restart, _) => {
                self.life = Life::Starting;
                // They have ended with the process before.
                self.freezes.clear();
            }
            (Event::Listening, _) => self.life = Life::Listening,
            (Event::Healthy, _) => self.healthy_to_client = true,
            (Event::Unhealthy, _) => self.healthy_to_client = false,
            (Event::Ejected, _) => self.is_ejected = true,
            (Event::Unejected, _) => self.is_ejected = false,
            (event, _) => self.breaker = Breaker::after(event).unwrap_or(self.breaker),
        }
    }

    fn begin(&mut self, fault: usize, kind: &str) {
        match kind.parse() {
            Ok(FaultName::Crash) => {
                self.life = Life::Crashed;
                self.pid = None;
                // They end with the process.
                self.freezes.clear();
            }
            // It serves on for a while, and is down when its process has ended.
            Ok(FaultName::Drain) => self.life = Life::Crashed,
            Ok(FaultName::Freeze) => {
                self.freezes.insert(fault);
            }
            // A reset is over as soon as it has begun; an unknown kind is of a later version.
            Ok(FaultName::Reset) | Err(_) => {}
            Ok(kind) => {
                self.faults.insert(fault, kind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::board::sample::{event, fault};

    fn after(rows: &[EventRow]) -> Server {
        let mut server = Server::new("server-0");
        rows.iter().for_each(|row| server.observe(row));
        server
    }

    #[test]
    fn a_crashed_server_is_back_when_it_listens() {
        let rows = [
            fault(0, Event::FaultStart, 0, "server-0", "crash"),
            event(1, "supervisor", Event::Restart, "server-0", ""),
            event(2, "server-0", Event::Listening, "server-0", ""),
        ];
        let conditions = [1, 2, 3].map(|seen| after(&rows[..seen]).condition());
        assert_eq!(conditions, [Condition::Crashed, Condition::Starting, Condition::Healthy]);
    }

    #[test]
    fn a_crash_that_nothing_restarts_is_lifted_and_leaves_a_crashed_server() {
        let rows = [
            fault(0, Event::FaultStart, 0, "server-0", "crash"),
            fault(0, Event::FaultEnd, 0, "server-0", "crash"),
            // What a fault could not do is not shown as done.
            fault(1, Event::FaultStart, 1, "server-0", "freeze"),
            fault(1, Event::NoEffect, 1, "server-0", "the server is down"),
        ];
        assert_eq!(after(&rows).condition(), Condition::Crashed);
        assert!(after(&rows).freezes.is_empty());
    }

    #[test]
    fn a_server_stands_still_while_any_freeze_lasts() {
        let rows = [
            fault(0, Event::FaultStart, 0, "server-0", "freeze"),
            fault(0, Event::FaultStart, 1, "server-0", "freeze"),
            event(1, "client", Event::Unhealthy, "server-0", "attempt timeout"),
            fault(2, Event::FaultEnd, 0, "server-0", "freeze"),
            fault(3, Event::FaultEnd, 1, "server-0", "freeze"),
            event(4, "client", Event::Healthy, "server-0", ""),
        ];
        let conditions = [3, 4, 5, 6].map(|seen| after(&rows[..seen]).condition());
        use Condition::{Frozen, Healthy, Unhealthy};
        assert_eq!(conditions, [Frozen, Frozen, Unhealthy, Healthy]);
    }

    #[test]
    fn active_faults_are_named_by_what_they_apply_to() {
        let rows = [
            fault(0, Event::FaultStart, 0, "server-0", "delay"),
            fault(0, Event::FaultStart, 1, "server-0", "slow"),
            fault(0, Event::FaultStart, 2, "server-0", "loss"),
            fault(0, Event::FaultStart, 3, "server-0", "reset"),
            fault(0, Event::FaultStart, 4, "server-0", "errors"),
            fault(2, Event::FaultEnd, 0, "server-0", "delay"),
            fault(3, Event::FaultEnd, 2, "server-0", "loss"),
        ];
        let shown = [1, 5, 6, 7].map(|seen| after(&rows[..seen]).faults());
        assert_eq!(
            shown,
            [
                "link: delay",
                "link: delay, loss; work: slow, errors",
                "link: loss; work: slow, errors",
                "work: slow, errors"
            ]
        );
    }
}
