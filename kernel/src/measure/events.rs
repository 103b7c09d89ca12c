//! What the figures need of the events of a run, collected in one pass.

use super::{
    attempts::NamedAttempts,
    detection::HealthEvents,
    duplicate::FinishedWork,
    ejection::Ejections,
    fault::{FaultEvents, RecordedFault},
    lateness::FaultTimes,
};
use crate::record::{Event, Rows};

/// What the figures need of events.
pub(super) struct Events {
    /// Every fault that began, ascending by index.
    pub(super) faults: Vec<RecordedFault>,
    /// The instants of faults, to be compared with the script.
    pub(super) fault_times: FaultTimes,
    pub(super) health: HealthEvents,
    pub(super) ejections: Ejections,
    /// The attempts that are hedges or failovers.
    pub(super) named_attempts: NamedAttempts,
    /// The work that servers finished, 24 bytes each.
    pub(super) finished: Vec<FinishedWork>,
}

impl Events {
    pub(super) fn collect(rows: &dyn Rows) -> Self {
        let mut faults = FaultEvents::default();
        let mut fault_times = FaultTimes::default();
        let mut health = HealthEvents::default();
        let mut ejected_us = Vec::new();
        let mut finished = Vec::new();
        let mut named_attempts = NamedAttempts::default();
        for row in rows.events() {
            faults.note(&row);
            fault_times.note(&row);
            health.note(&row);
            match row.event {
                Event::Ejected => ejected_us.push(row.at_us),
                Event::Hedge => named_attempts.hedges.extend(row.request.zip(row.attempt)),
                Event::Failover => named_attempts.failovers.extend(row.request.zip(row.attempt)),
                Event::Finished => finished.extend(FinishedWork::of(&row)),
                _ => {}
            }
        }
        Self {
            faults: faults.into_faults(),
            fault_times,
            health,
            ejections: Ejections::at(ejected_us),
            named_attempts,
            finished,
        }
    }
}
