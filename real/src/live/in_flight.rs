//! The calls that have begun and not ended.

use std::collections::{BTreeMap, BTreeSet};

/// The most calls of which it is remembered that they were answered from a stale cache entry.
const STALE_MAX: usize = 10_000;

/// The calls under way. Without them a freeze would look like a success of everything that has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InFlight {
    /// The time of the first event of each call, by request.
    begun: BTreeMap<u64, u64>,
    /// The calls that were answered from a stale entry: attempts that renew it follow, and are no calls.
    stale: BTreeSet<u64>,
}

impl InFlight {
    /// A call has an attempt, or waits for one.
    pub(super) fn begin(&mut self, request: u64, at_us: u64) {
        if !self.stale.contains(&request) {
            self.begun.entry(request).or_insert(at_us);
        }
    }

    /// A call has ended; its answer was `stale` if it was from such a cache entry.
    pub(super) fn end(&mut self, request: u64, stale: bool) {
        self.begun.remove(&request);
        if stale {
            self.stale.insert(request);
            if self.stale.len() > STALE_MAX {
                self.stale.pop_first();
            }
        }
    }

    /// Events were lost, so that it is not known which calls have ended.
    pub(super) fn forget(&mut self) {
        self.begun.clear();
    }

    /// The number of calls.
    pub(super) fn count(&self) -> usize {
        self.begun.len()
    }

    /// The age of the oldest call, in microseconds.
    pub(super) fn oldest_us(&self, now_us: u64) -> Option<u64> {
        self.begun.values().min().map(|at_us| now_us.saturating_sub(*at_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_in_flight_from_its_first_event_to_its_end() {
        let mut calls = InFlight::default();
        calls.begin(1, 100);
        calls.begin(2, 300);
        calls.begin(1, 400);
        assert_eq!((calls.count(), calls.oldest_us(1_000)), (2, Some(900)));
        calls.end(1, false);
        assert_eq!((calls.count(), calls.oldest_us(1_000)), (1, Some(700)));
        calls.end(2, false);
        assert_eq!((calls.count(), calls.oldest_us(1_000)), (0, None));
    }

    #[test]
    fn attempts_that_renew_a_stale_entry_are_no_call() {
        let mut calls = InFlight::default();
        calls.begin(1, 100);
        calls.end(1, true);
        calls.begin(1, 200);
        assert_eq!(calls.count(), 0);
    }
}
