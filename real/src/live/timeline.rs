//! How a run has gone from its start on, in a bounded number of slots.

use super::tally::{SECOND_US, Tally};
use kernel::record::RequestRow;

/// More than a terminal has columns for.
const SLOTS: u64 = 240;

/// What ended in each slot of a run. A slot is a second, or more seconds of a long run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timeline {
    slot_us: u64,
    slots: Vec<Tally>,
}

impl Timeline {
    /// Of a run that is meant to take `duration_us`.
    pub(super) fn new(duration_us: u64) -> Self {
        let seconds = duration_us.div_ceil(SECOND_US).div_ceil(SLOTS).max(1);
        Self { slot_us: seconds * SECOND_US, slots: Vec::new() }
    }

    /// Counts a request that ended at `at_us`. What ends later than twice the duration has no slot.
    pub(super) fn add(&mut self, at_us: u64, row: &RequestRow) {
        let slot = at_us / self.slot_us;
        if slot < 2 * SLOTS {
            let slot = slot as usize;
            self.slots.resize_with(self.slots.len().max(slot + 1), Tally::default);
            self.slots[slot].add(row);
        }
    }

    /// The time to `now_us` as columns, of which `columns` make `axis_us`: what ended in the slots that begin in a
    /// column's time, or in the slot that it is part of, and for how many seconds that was. The slot that is not over
    /// yet is left out.
    pub(super) fn columns(&self, axis_us: u64, columns: u64, now_us: u64) -> Vec<(Tally, f64)> {
        let over = now_us / self.slot_us;
        let slot_at = |column: u64| (axis_us * column).div_ceil(columns.max(1)).div_ceil(self.slot_us);
        let part_of = |column: u64| axis_us * column / columns.max(1) / self.slot_us;
        let slots = (0..columns).map(|column| {
            let (from, to) = (slot_at(column), slot_at(column + 1));
            if from < to { (from, to) } else { (part_of(column), part_of(column) + 1) }
        });
        slots.take_while(|(from, _)| *from < over).map(|(from, to)| self.between(from, to.min(over))).collect()
    }

    fn between(&self, from: u64, to: u64) -> (Tally, f64) {
        let mut tally = Tally::default();
        self.slots.iter().take(to as usize).skip(from as usize).for_each(|slot| tally.merge(slot));
        (tally, ((to - from) * self.slot_us) as f64 / SECOND_US as f64)
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

    /// As many requests in each second as its number.
    fn ramp(seconds: u64) -> Timeline {
        let mut timeline = Timeline::new(seconds * SECOND_US);
        for second in 0..seconds {
            (0..second).for_each(|id| timeline.add(second * SECOND_US, &request(id, second * SECOND_US, 1)));
        }
        timeline
    }

    #[test]
    fn columns_hold_every_second_that_is_over_once() {
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
    fn a_long_run_and_its_drain_have_a_bounded_number_of_slots() {
        let day_us = 86_400 * SECOND_US;
        let mut timeline = Timeline::new(day_us);
        for at_us in [0, day_us, 3 * day_us] {
            timeline.add(at_us, &request(0, 0, 1));
        }
        assert_eq!((timeline.slot_us, timeline.slots.len()), (360 * SECOND_US, 241));
        assert_eq!(ended(&timeline, 86_400, 100, 86_400 * 2).iter().sum::<u64>(), 1);
    }
}
