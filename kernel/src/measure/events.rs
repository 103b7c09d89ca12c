//! The part of the events of a run that the figures need, collected in one pass.

use super::{
    attempts::NamedAttempts,
    detection::HealthEvents,
    duplicate::FinishedWork,
    fault::{FaultEvents, RecordedFault},
    instants::Instants,
    lateness::FaultTimes,
    summary::ChangeSummary,
    wrong_result::WrongResult,
};
use crate::record::{Event, Rows};

/// The part of the events of a run that the figures need.
pub(super) struct Events {
    /// Every fault that began, ascending by index.
    pub(super) faults: Vec<RecordedFault>,
    /// The instants of faults, to be compared with the script.
    pub(super) fault_times: FaultTimes,
    pub(super) health: HealthEvents,
    pub(super) ejections: Instants,
    /// The results that were wrong, the first of them in full.
    pub(super) wrong_results: Instants,
    pub(super) wrong: Vec<WrongResult>,
    /// The times of commands that the store of the cache did not carry out.
    pub(super) store_failures: Instants,
    /// The first attempt that failed: its time, its request, and why.
    pub(super) first_failure: Option<(u64, Option<u64>, Option<String>)>,
    /// The attempts that are hedges or failovers.
    pub(super) named_attempts: NamedAttempts,
    /// The changes of settings, in order of time.
    pub(super) changes: Vec<ChangeSummary>,
    /// The work that servers finished, 24 bytes each.
    pub(super) finished: Vec<FinishedWork>,
}

impl Events {
    pub(super) fn collect(rows: &dyn Rows) -> Self {
        let mut faults = FaultEvents::default();
        let mut fault_times = FaultTimes::default();
        let mut health = HealthEvents::default();
        let mut ejected_us = Vec::new();
        let mut wrong_us = Vec::new();
        let mut wrong = Vec::new();
        let mut store_failed_us = Vec::new();
        let mut first_failure: Option<(u64, Option<u64>, Option<String>)> = None;
        let mut finished = Vec::new();
        let mut changes = Vec::new();
        let mut named_attempts = NamedAttempts::default();
        for row in rows.events() {
            faults.note(&row);
            fault_times.note(&row);
            health.note(&row);
            match row.event {
                Event::Ejected => ejected_us.push(row.at_us),
                Event::StoreFailed => store_failed_us.push(row.at_us),
                Event::WrongResult => {
                    wrong_us.push(row.at_us);
                    WrongResult::keep(&mut wrong, row.into_owned());
                }
                Event::AttemptFailed => {
                    // Rows may come in any order.
                    let is_first = first_failure
                        .as_ref()
                        .is_none_or(|(at_us, request, _)| (row.at_us, row.request) < (*at_us, *request));
                    if is_first {
                        first_failure = Some((row.at_us, row.request, row.cause.clone()));
                    }
                }
                Event::Hedge => named_attempts.hedges.extend(row.request.zip(row.attempt)),
                Event::Failover => named_attempts.failovers.extend(row.request.zip(row.attempt)),
                Event::SettingChanged => {
                    let change = row.cause.clone().unwrap_or_default();
                    changes.push(ChangeSummary { at_us: row.at_us, change });
                }
                Event::Finished => finished.extend(FinishedWork::from_event(&row)),
                _ => {}
            }
        }
        // Rows may come in any order; those of one instant stay in that of the script.
        changes.sort_by_key(|change| change.at_us);
        Self {
            changes,
            faults: faults.into_faults(),
            fault_times,
            health,
            ejections: Instants::at(ejected_us),
            wrong_results: Instants::at(wrong_us),
            wrong,
            store_failures: Instants::at(store_failed_us),
            first_failure,
            named_attempts,
            finished,
        }
    }
}
