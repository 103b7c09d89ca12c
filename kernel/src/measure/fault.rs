//! The faults of a run, as the nemesis recorded them.

use std::collections::BTreeMap;

use crate::record::{Event, EventRow, Name};

/// A fault that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordedFault {
    /// The fault's index in the scenario file, from 0.
    pub(super) index: usize,
    /// The fault's kind as a scenario writes it, such as `crash`.
    pub(super) kind: String,
    /// The servers that it began on, ascending by name.
    pub(super) targets: Vec<String>,
    /// The time at which it began on the first of its targets.
    pub(super) start_us: u64,
    /// The time at which it was lifted from the last of them; none if one still had it when the run ended.
    pub(super) lifted_us: Option<u64>,
}

/// The events about faults, by the fault's index.
#[derive(Default)]
pub(super) struct FaultEvents(BTreeMap<usize, Sighting>);

impl FaultEvents {
    /// Adds an event. One without a fault is skipped.
    pub(super) fn note(&mut self, row: &EventRow) {
        if let Some(index) = row.fault {
            self.0.entry(index).or_default().note(row);
        }
    }

    /// Returns every fault that began, ascending by index. The end of a fault that never began is skipped.
    pub(super) fn into_faults(self) -> Vec<RecordedFault> {
        self.0.into_iter().filter_map(|(index, sighting)| sighting.into_fault(index)).collect()
    }
}

/// The events of one fault, target by target.
#[derive(Default)]
struct Sighting {
    /// The least of the causes, if they differ, so that their order does not matter.
    kind: Option<String>,
    targets: BTreeMap<Name, OnTarget>,
}

/// The time at which a fault began and ended on one target.
#[derive(Default)]
struct OnTarget {
    start_us: Option<u64>,
    end_us: Option<u64>,
}

impl Sighting {
    fn note(&mut self, row: &EventRow) {
        if !matches!(row.event, Event::FaultStart | Event::FaultEnd) {
            return;
        }
        // A foreign log may leave out the target: then all count as one.
        let target = self.targets.entry(row.target.clone().unwrap_or_else(|| "*".into())).or_default();
        if row.event == Event::FaultStart {
            target.start_us = Some(target.start_us.map_or(row.at_us, |at| at.min(row.at_us)));
            self.kind = self.kind.take().into_iter().chain(row.cause.clone()).min();
        } else {
            target.end_us = target.end_us.max(Some(row.at_us));
        }
    }

    fn into_fault(mut self, index: usize) -> Option<RecordedFault> {
        self.targets.retain(|_, target| target.start_us.is_some());
        let start_us = self.targets.values().filter_map(|target| target.start_us).min()?;
        let lifted_us = self.targets.values().map(|target| target.end_us).collect::<Option<Vec<_>>>();
        Some(RecordedFault {
            index,
            kind: self.kind.unwrap_or_else(|| "unknown".to_owned()),
            targets: self.targets.into_keys().map(|target| target.as_str().to_owned()).collect(),
            start_us,
            lifted_us: lifted_us.and_then(|ends| ends.into_iter().max()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::{fault_end, fault_start};

    fn faults(rows: &[EventRow]) -> Vec<RecordedFault> {
        let mut events = FaultEvents::default();
        rows.iter().for_each(|row| events.note(row));
        events.into_faults()
    }

    #[test]
    fn a_fault_spans_its_first_start_to_its_last_end() {
        let events = [
            fault_end(0, "server-0", 7_000_000),
            fault_start(0, "partition", "server-1", 5_000_001),
            fault_start(0, "partition", "server-0", 5_000_000),
            fault_end(0, "server-1", 7_000_003),
        ];
        let expected = RecordedFault {
            index: 0,
            kind: "partition".into(),
            targets: vec!["server-0".into(), "server-1".into()],
            start_us: 5_000_000,
            lifted_us: Some(7_000_003),
        };
        assert_eq!(faults(&events), [expected]);
    }

    #[test]
    fn a_fault_is_not_lifted_while_one_target_still_has_it() {
        let events = [
            fault_start(0, "freeze", "server-0", 1_000_000),
            fault_start(0, "freeze", "server-1", 1_000_000),
            fault_end(0, "server-0", 2_000_000),
        ];
        assert_eq!(faults(&events)[0].lifted_us, None);
    }

    #[test]
    fn faults_come_by_index_and_one_that_never_began_is_none() {
        let events = [
            fault_start(2, "crash", "server-0", 1_000_000),
            fault_end(1, "server-0", 1_500_000),
            fault_start(0, "freeze", "server-1", 9_000_000),
        ];
        let found: Vec<(usize, String)> = faults(&events).into_iter().map(|fault| (fault.index, fault.kind)).collect();
        assert_eq!(found, [(0, "freeze".to_owned()), (2, "crash".to_owned())]);
    }
}
