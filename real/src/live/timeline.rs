//! The requests of a run over time, in a limited number of slots.

use super::tally::{RequestTally, SECOND_US};
use kernel::record::RequestRow;

/// Number of slots, which is more than the number of columns of a terminal.
const SLOTS: u64 = 240;

/// The requests that ended in each slot of a run. A slot is one second, or several seconds of a long run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timeline {
    slot_us: u64,
    slots: Vec<RequestTally>,
}

impl Timeline {
    /// The timeline of a run with this duration.
    pub(super) fn new(duration_us: u64) -> Self {
        let seconds = duration_us.div_ceil(SECOND_US).div_ceil(SLOTS).max(1);
        Self { slot_us: seconds * SECOND_US, slots: Vec::new() }
    }

    /// Counts a request that ended at `at_us`. A request that ends after twice the duration is not counted.
    pub(super) fn add(&mut self, at_us: u64, row: &RequestRow) {
        let slot = at_us / self.slot_us;
        if slot < 2 * SLOTS {
            let slot = slot as usize;
            self.slots.resize_with(self.slots.len().max(slot + 1), RequestTally::default);
            self.slots[slot].add(row);
        }
    }

    /// The columns of a chart up to `now_us`, where `columns` columns are `axis_us` wide. Each column has the requests of
    /// the slots that start in it, or of the slot that contains it, and the duration of these slots in seconds. The
    /// current slot is left out, as it is not complete.
    pub(super) fn columns(&self, axis_us: u64, columns: u64, now_us: u64) -> Vec<(RequestTally, f64)> {
        let complete = now_us / self.slot_us;
        let axis = Axis { axis_us, columns: columns.max(1), slot_us: self.slot_us };
        let slots = (0..columns).map(|column| axis.slots(column)).take_while(|(from, _)| *from < complete);
        slots.map(|(from, to)| self.between(from, to.min(complete))).collect()
    }

    fn between(&self, from: u64, to: u64) -> (RequestTally, f64) {
        let mut tally = RequestTally::default();
        self.slots.iter().take(to as usize).skip(from as usize).for_each(|slot| tally.merge(slot));
        (tally, ((to - from) * self.slot_us) as f64 / SECOND_US as f64)
    }
}

/// The axis of a chart over the slots of a timeline.
struct Axis {
    axis_us: u64,
    columns: u64,
    slot_us: u64,
}

impl Axis {
    /// The slots of a column, as a half-open range.
    fn slots(&self, column: u64) -> (u64, u64) {
        let from = self.first_slot(column);
        let to = self.first_slot(column + 1);
        if from < to {
            return (from, to);
        }
        // No slot starts in a column that is narrower than a slot: it shows the slot that contains it.
        let slot = self.axis_us * column / self.columns / self.slot_us;
        (slot, slot + 1)
    }

    /// The first slot that starts at or after the start of a column.
    fn first_slot(&self, column: u64) -> u64 {
        (self.axis_us * column).div_ceil(self.columns).div_ceil(self.slot_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::board::sample::request;

    fn ended(timeline: &Timeline, axis_s: u64, columns: u64, now_s: u64) -> Vec<u64> {
        let columns = timeline.columns(axis_s * SECOND_US, columns, now_s * SECOND_US);
        columns.iter().map(|(tally, _)| tally.ended).collect()
    }

    /// A timeline where second N has N requests.
    fn ramp(seconds: u64) -> Timeline {
        let mut timeline = Timeline::new(seconds * SECOND_US);
        for second in 0..seconds {
            (0..second).for_each(|id| timeline.add(second * SECOND_US, &request(id, second * SECOND_US, 1)));
        }
        timeline
    }

    #[test]
    fn columns_contain_every_complete_second_once() {
        assert_eq!(ended(&ramp(10), 10, 10, 10), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(ended(&ramp(10), 10, 5, 10), [1, 5, 9, 13, 17]);
        assert_eq!(ended(&ramp(10), 10, 10, 4), [0, 1, 2, 3]);
        for columns in 1..=10 {
            assert_eq!(ended(&ramp(10), 10, columns, 10).iter().sum::<u64>(), 45, "{columns} columns");
        }
    }

    #[test]
    fn with_more_columns_than_seconds_a_second_is_several_columns_wide() {
        assert_eq!(ended(&ramp(3), 3, 6, 3), [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn a_long_run_has_a_limited_number_of_slots() {
        let day_us = 86_400 * SECOND_US;
        let mut timeline = Timeline::new(day_us);
        for at_us in [0, day_us, 3 * day_us] {
            timeline.add(at_us, &request(0, 0, 1));
        }
        assert_eq!((timeline.slot_us, timeline.slots.len()), (360 * SECOND_US, 241));
        assert_eq!(ended(&timeline, 86_400, 100, 86_400 * 2).iter().sum::<u64>(), 1);
    }
}
