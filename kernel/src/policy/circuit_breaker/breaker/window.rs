//! The calls that a breaker's rates are computed of: the last ones, or those of the last seconds. These are the count-based and the
//! time-based sliding window in Resilience4j's documentation.

use std::{collections::VecDeque, time::Duration};

use crate::time::Instant;

/// The longest part of a window by time whose calls are counted together; Resilience4j's, too.
const PART_MAX: Duration = Duration::from_secs(1);

/// The number of parts of a window that is shorter than the longest part.
const PARTS_OF_SHORT: u32 = 10;

/// A call that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallResult {
    pub(super) failed: bool,
    pub(super) slow: bool,
}

/// Counts of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: usize,
    pub(super) failed: usize,
    pub(super) slow: usize,
}

impl Counts {
    fn add(&mut self, call: CallResult) {
        self.calls += 1;
        self.failed += usize::from(call.failed);
        self.slow += usize::from(call.slow);
    }

    fn remove(&mut self, other: Self) {
        self.calls -= other.calls;
        self.failed -= other.failed;
        self.slow -= other.slow;
    }
}

impl From<CallResult> for Counts {
    fn from(call: CallResult) -> Self {
        let mut counts = Self::default();
        counts.add(call);
        counts
    }
}

/// The calls of a state that count.
#[derive(Debug)]
pub(super) struct CallWindow {
    counts: Counts,
    failed_in_a_row: usize,
    kept: Kept,
}

/// The calls that leave the window one day.
#[derive(Debug)]
enum Kept {
    /// The last `size` calls.
    Calls { calls: VecDeque<CallResult>, size: usize },
    /// The calls of the last `count` parts of the time, each `length` long, the current part included. Parts without calls are
    /// left out.
    Parts { parts: VecDeque<Part>, length: Duration, count: u64 },
}

/// The calls that ended in one part of the time.
#[derive(Debug)]
struct Part {
    /// The part's place in the time since the start.
    number: u64,
    counts: Counts,
}

impl CallWindow {
    /// Creates an empty window of the last `size` calls.
    pub(super) fn of_calls(size: usize) -> Self {
        Self::new(Kept::Calls { calls: VecDeque::new(), size })
    }

    /// Creates an empty window of the last `duration`, which a window of whole seconds covers as Resilience4j's does: the
    /// current second and those before it.
    pub(super) fn of_time(duration: Duration) -> Self {
        let length = if duration < PART_MAX { duration / PARTS_OF_SHORT } else { PART_MAX };
        // A window of a few nanoseconds has parts of one.
        let length = length.max(Duration::from_nanos(1));
        let count = duration.as_nanos().div_ceil(length.as_nanos()) as u64;
        Self::new(Kept::Parts { parts: VecDeque::new(), length, count })
    }

    fn new(kept: Kept) -> Self {
        Self { counts: Counts::default(), failed_in_a_row: 0, kept }
    }

    /// Adds a call that ended `now`, and removes those that are too old by that.
    pub(super) fn add(&mut self, call: CallResult, now: Instant) {
        self.failed_in_a_row = if call.failed { self.failed_in_a_row + 1 } else { 0 };
        match &mut self.kept {
            Kept::Calls { calls, size } => {
                if calls.len() == *size
                    && let Some(oldest) = calls.pop_front()
                {
                    self.counts.remove(oldest.into());
                }
                calls.push_back(call);
            }
            Kept::Parts { parts, length, count } => {
                let number = (u128::from(now.as_nanos()) / length.as_nanos()) as u64;
                while let Some(oldest) = parts.front().filter(|part| part.number + *count <= number) {
                    self.counts.remove(oldest.counts);
                    parts.pop_front();
                }
                match parts.back_mut() {
                    // Of two threads, the one that read the clock first may get here second.
                    Some(part) if part.number >= number => part.counts.add(call),
                    _ => parts.push_back(Part { number, counts: call.into() }),
                }
            }
        }
        self.counts.add(call);
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn failed_in_a_row(&self) -> usize {
        self.failed_in_a_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    const FAILED: CallResult = CallResult { failed: true, slow: false };
    const SLOW: CallResult = CallResult { failed: false, slow: true };

    fn calls_at(window: &mut CallWindow, millis: u64) -> usize {
        window.add(FAILED, at(millis));
        window.counts().calls
    }

    /// Resilience4j's `SlidingTimeWindowMetrics`: an array of one aggregation a second, "the head contains the call outcomes of
    /// the current epoch second". A window of 3 s at second 4 covers the seconds 2, 3 and 4.
    #[test]
    fn a_window_of_seconds_covers_the_current_second_and_those_before_it() {
        let mut window = CallWindow::of_time(Duration::from_secs(3));
        let counts = [500, 1_999, 2_000, 2_999, 3_000, 4_000, 9_000].map(|millis| calls_at(&mut window, millis));
        assert_eq!(counts, [1, 2, 3, 4, 4, 4, 1]);
    }

    #[test]
    fn a_window_of_less_than_a_second_has_ten_parts() {
        let mut window = CallWindow::of_time(Duration::from_millis(100));
        let counts = [0, 50, 99, 100, 160].map(|millis| calls_at(&mut window, millis));
        assert_eq!(counts, [1, 2, 3, 3, 3]);
        let mut shortest = CallWindow::of_time(Duration::from_nanos(1));
        assert_eq!([0, 0, 1].map(|millis| calls_at(&mut shortest, millis)), [1, 2, 1]);
    }

    #[test]
    fn counts_are_those_of_the_calls_that_are_left() {
        let mut window = CallWindow::of_calls(2);
        for call in [FAILED, SLOW, SLOW] {
            window.add(call, at(0));
        }
        assert_eq!(window.counts(), Counts { calls: 2, failed: 0, slow: 2 });
        window.add(FAILED, at(0));
        assert_eq!((window.counts(), window.failed_in_a_row()), (Counts { calls: 2, failed: 1, slow: 1 }, 1));
    }

    #[test]
    fn a_call_with_an_older_clock_counts_in_the_newest_part() {
        let mut window = CallWindow::of_time(Duration::from_secs(1));
        assert_eq!([5_000, 4_999].map(|millis| calls_at(&mut window, millis)), [1, 2]);
    }
}
