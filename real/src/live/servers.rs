//! What is known of each replica, from the faults, the supervisor and the client.

use std::collections::{BTreeMap, BTreeSet};

use kernel::record::{Event, EventRow};

/// A replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) name: String,
    /// `None` while it has no process.
    pub(super) pid: Option<u32>,
    life: Life,
    /// The freezes that last, by fault.
    freezes: BTreeSet<usize>,
    /// Other faults that last: their kind by fault.
    faults: BTreeMap<usize, String>,
    /// Whether the client believes it healthy.
    pub(super) believed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Crashed,
    Starting,
    Listening,
}

/// What a replica is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// It runs, and the client believes so.
    Healthy,
    /// It runs, and the client thinks ill of it.
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
            believed: true,
        }
    }

    pub(super) fn condition(&self) -> Condition {
        match self.life {
            Life::Crashed => Condition::Crashed,
            Life::Starting => Condition::Starting,
            Life::Listening if !self.freezes.is_empty() => Condition::Frozen,
            Life::Listening if self.believed => Condition::Healthy,
            Life::Listening => Condition::Unhealthy,
        }
    }

    /// What lasts beside crashes and freezes, such as `delay`.
    pub(super) fn faults(&self) -> String {
        self.faults.values().map(String::as_str).collect::<Vec<_>>().join(", ")
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
            (Event::Restart, _) => self.life = Life::Starting,
            (Event::Listening, _) => self.life = Life::Listening,
            (Event::Healthy, _) => self.believed = true,
            (Event::Unhealthy, _) => self.believed = false,
            _ => {}
        }
    }

    fn begin(&mut self, fault: usize, kind: &str) {
        match kind {
            "crash" => {
                self.life = Life::Crashed;
                self.pid = None;
                // They end with the process.
                self.freezes.clear();
            }
            "freeze" => {
                self.freezes.insert(fault);
            }
            // Over as soon as it has begun.
            "reset" => {}
            other => {
                self.faults.insert(fault, other.to_owned());
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
    fn faults_of_the_link_are_named_while_they_last() {
        let rows = [
            fault(0, Event::FaultStart, 0, "server-0", "delay"),
            fault(0, Event::FaultStart, 1, "server-0", "loss"),
            fault(0, Event::FaultStart, 2, "server-0", "reset"),
            fault(2, Event::FaultEnd, 0, "server-0", "delay"),
        ];
        assert_eq!([3, 4].map(|seen| after(&rows[..seen]).faults()), ["delay, loss", "loss"]);
    }
}
