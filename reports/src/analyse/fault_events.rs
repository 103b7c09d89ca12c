//! The events of each fault: its own, and what servers, health checks, breakers and ejections did in its phase.

use kernel::record::{Event, EventRow};

use super::FaultImpact;
use crate::rows::RowTable;

/// The greatest number of events that are kept of a fault.
const EVENTS_MAX: usize = 200;

/// The events of a fault.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultEvents {
    /// The index of the fault in the scenario.
    pub fault: usize,
    /// The first events, in order of time, at most 200.
    pub rows: Vec<EventRow>,
    /// The number of events beyond these.
    pub left_out: u64,
}

/// Returns the events of each of `faults`, in their order.
pub(super) fn by_fault(faults: &[FaultImpact], events: &RowTable<EventRow>) -> Vec<FaultEvents> {
    let empty = faults.iter().map(|impact| FaultEvents { fault: impact.fault.index, rows: Vec::new(), left_out: 0 });
    let mut found: Vec<FaultEvents> = empty.collect();
    events.each(|row| {
        for (impact, events) in faults.iter().zip(&mut found).filter(|(impact, _)| belongs(row, impact)) {
            debug_assert_eq!(impact.fault.index, events.fault);
            if events.rows.len() < EVENTS_MAX {
                events.rows.push(row.clone());
            } else {
                events.left_out += 1;
            }
        }
    });
    // The sources of a real run write one after the other, not in order of time.
    found.iter_mut().for_each(|events| events.rows.sort_by_key(|row| row.at_us));
    found
}

/// Returns true for an event of the fault itself, and for a change of state in its phase.
fn belongs(row: &EventRow, impact: &FaultImpact) -> bool {
    match row.fault {
        Some(fault) => fault == impact.fault.index,
        None => is_change(row.event) && (impact.fault.start_us..impact.phase_end_us).contains(&row.at_us),
    }
}

/// Returns true for a change of state. Events of single requests are too many, and are in the log.
fn is_change(event: Event) -> bool {
    matches!(
        event,
        Event::Restart
            | Event::Listening
            | Event::Unhealthy
            | Event::Healthy
            | Event::BreakerOpened
            | Event::BreakerHalfOpened
            | Event::BreakerClosed
            | Event::Ejected
            | Event::Unejected
            | Event::SlowStart
    )
}
