//! A queue that adapts to an overload: controlled delay and adaptive LIFO, as in "Fail at Scale" (Maurer, ACM Queue 2015), which derives its
//! controlled delay from CoDel (Nichols and Jacobson, 2012).
//!
//! ```text
//! CALM ──(a request arrives, and for `interval` some request has waited all the time)──> STANDING ──(none waits)──> CALM
//! ```
//!
//! * Controlled delay (`drop_late`): a request that arrives while the queue is CALM may wait for `interval`, and one that arrives while it is
//!   STANDING for `target`. One that a worker gets to later than that is refused with RESOURCE_EXHAUSTED. So a burst is served, and a queue
//!   that does not become empty by itself is cut down.
//! * Adaptive LIFO (`newest_first`): while the queue is STANDING, workers take the newest request first, whose caller still waits.

use std::time::Duration;

use super::settings::AdaptiveQueue;
use crate::time::Instant;

/// The state of an adaptive queue.
#[derive(Debug)]
pub(super) struct QueueState {
    settings: AdaptiveQueue,
    /// Number of requests that wait.
    waiting: usize,
    /// The last time at which none waited.
    empty: Instant,
    /// True from the arrival of a request at a queue that has not been empty for the interval, until it is.
    is_standing: bool,
}

impl QueueState {
    pub(super) fn new(settings: AdaptiveQueue, now: Instant) -> Self {
        Self { settings, waiting: 0, empty: now, is_standing: false }
    }

    /// Notes that a request arrives. Returns how long it may wait; `None` if it may wait for any time.
    pub(super) fn arrive(&mut self, now: Instant) -> Option<Duration> {
        if self.waiting == 0 {
            self.empty = now;
        }
        self.is_standing = now.since(self.empty) > self.settings.interval;
        self.waiting += 1;
        let patience = if self.is_standing { self.settings.target } else { self.settings.interval };
        self.settings.drop_late.then_some(patience)
    }

    /// Notes that a worker has taken a request.
    pub(super) fn take(&mut self, now: Instant) {
        self.waiting -= 1;
        if self.waiting == 0 {
            self.empty = now;
            self.is_standing = false;
        }
    }

    /// Returns whether the newest request is taken first.
    pub(super) fn takes_newest(&self) -> bool {
        self.settings.newest_first && self.is_standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    fn millis(patience: Option<Duration>) -> Option<u128> {
        patience.map(|time| time.as_millis())
    }

    #[test]
    fn a_burst_may_wait_for_the_interval_and_what_arrives_at_a_standing_queue_for_the_target() {
        let mut queue = QueueState::new(AdaptiveQueue::default(), at(0));
        assert_eq!(millis(queue.arrive(at(1_000))), Some(100), "it was empty until now");
        assert_eq!(millis(queue.arrive(at(1_100))), Some(100));
        assert!(!queue.takes_newest());
        assert_eq!(millis(queue.arrive(at(1_101))), Some(5));
        assert!(queue.takes_newest());
        (0..3).for_each(|_| queue.take(at(1_200)));
        assert!(!queue.takes_newest(), "it is empty");
        assert_eq!(millis(queue.arrive(at(1_250))), Some(100));
    }

    #[test]
    fn each_half_can_be_off() {
        let never = AdaptiveQueue { drop_late: false, ..AdaptiveQueue::default() };
        let mut queue = QueueState::new(never, at(0));
        queue.arrive(at(0));
        assert_eq!(queue.arrive(at(500)), None);
        assert!(queue.takes_newest());
        let oldest = AdaptiveQueue { newest_first: false, ..AdaptiveQueue::default() };
        let mut queue = QueueState::new(oldest, at(0));
        queue.arrive(at(0));
        assert_eq!(millis(queue.arrive(at(500))), Some(5));
        assert!(!queue.takes_newest());
    }
}
