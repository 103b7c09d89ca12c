//! A worker that is occupied by one attempt.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::counters::Counters;
use crate::{
    record::{AttemptId, Event, Recorder},
    sync::lock,
    time::Instant,
    world::SharedWorld,
};

/// The worker that an attempt occupies, as an extension of its request. Clones share it.
///
/// A service that does nothing with it occupies the worker until it has answered, and for as long as the settings and the faults say.
#[derive(Clone)]
pub(crate) struct Occupancy {
    shared: Arc<Shared>,
}

struct Shared {
    world: SharedWorld,
    recorder: Recorder,
    counters: Arc<Counters>,
    attempt: AttemptId,
    /// The time at which the worker took the attempt.
    started: Instant,
    times: OccupancyTimes,
    state: Mutex<State>,
}

/// The times that decide how long an attempt occupies its worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct OccupancyTimes {
    /// Time for which the attempt waited for the worker.
    pub(super) queued: Duration,
    /// Shortest time for which it occupies the worker.
    pub(super) service_time_min: Duration,
    /// Factor of that time by a fault.
    pub(super) slow_factor: f64,
}

#[derive(Debug, Default)]
struct State {
    /// Time for which the attempt has occupied the worker, once it is complete.
    service: Option<Duration>,
    ending: Ending,
}

/// The end of an attempt at its worker.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its service has answered.
    #[default]
    Finished,
    /// It was refused, or failed on purpose, and is not counted as finished.
    NotFinished,
    /// It occupies the worker until its caller has left.
    Hangs,
}

/// The times for which an attempt waited for a worker, and occupied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) queued: Duration,
    pub(crate) service: Duration,
}

impl Occupancy {
    pub(super) fn new(
        world: SharedWorld,
        recorder: Recorder,
        counters: Arc<Counters>,
        attempt: AttemptId,
        times: OccupancyTimes,
    ) -> Self {
        let started = world.now();
        Self {
            shared: Arc::new(Shared { world, recorder, counters, attempt, started, times, state: Mutex::default() }),
        }
    }

    /// Returns the attempt that occupies the worker.
    pub(crate) fn attempt(&self) -> AttemptId {
        self.shared.attempt
    }

    /// Occupies the worker for as long as settings and faults say, for `least` at least, counted from the time at which the worker took
    /// the attempt. What follows occupies it no longer.
    pub(crate) async fn complete(&self, least: Duration) -> Served {
        let Shared { world, started, times, state, .. } = &*self.shared;
        let OccupancyTimes { queued, service_time_min, slow_factor } = *times;
        let known = lock(state).service;
        if let Some(service) = known {
            return Served { queued, service };
        }
        let least = service_time_min.max(least);
        let until = *started + multiplied(world.now().since(*started).max(least), slow_factor);
        // A time that has passed costs nothing: no timer is created for it.
        if until > world.now() {
            world.sleep_until(until).await;
        }
        let service = world.now().since(*started);
        lock(state).service = Some(service);
        Served { queued, service }
    }

    /// Waits until the share `done` of `all` of the shortest time for the attempt is over, of a reply that streams in `all` messages.
    pub(crate) async fn complete_share(&self, done: u32, all: u32) {
        let Shared { world, started, times, .. } = &*self.shared;
        let until = *started + times.service_time_min.mul_f64(f64::from(done) / f64::from(all.max(1)));
        if until > world.now() {
            world.sleep_until(until).await;
        }
    }

    /// Returns the time before which a reply that streams does not end, with this factor of a fault.
    pub(super) fn earliest_end(&self, factor: f64) -> Instant {
        self.shared.started + multiplied(self.shared.times.service_time_min, factor)
    }

    /// Waits for as long as a fault delays the begin of a reply that streams.
    pub(super) async fn delay_begin(&self) {
        let Shared { world, started, times, .. } = &*self.shared;
        let until = *started + multiplied(world.now().since(*started), times.slow_factor);
        if until > world.now() {
            world.sleep_until(until).await;
        }
    }

    /// Records that the attempt is finished, now, after a reply that streams.
    pub(super) fn finish(&self) {
        let Shared { world, recorder, counters, attempt, started, times, .. } = &*self.shared;
        let service = world.now().since(*started);
        counters.finish(times.queued, service);
        recorder.event(Event::Finished).of_attempt(*attempt).duration(service).record();
    }

    /// Records that the attempt is refused because its input is `wrong`.
    pub(crate) fn refuse(&self, wrong: &str) {
        Counters::count(&self.shared.counters.invalid);
        self.end(Event::Refused, wrong, Ending::NotFinished);
    }

    /// Records that the attempt fails on purpose because of `cause`.
    pub(crate) fn abort(&self, cause: &str) {
        Counters::count(&self.shared.counters.aborted);
        self.end(Event::Aborted, cause, Ending::NotFinished);
    }

    /// Records that the attempt hangs. The worker is free when its caller has left, and what the service answers is not sent.
    pub(crate) fn hang(&self) {
        Counters::count(&self.shared.counters.aborted);
        self.end(Event::Aborted, "hangs", Ending::Hangs);
    }

    fn end(&self, event: Event, cause: &str, ending: Ending) {
        self.shared.recorder.event(event).of_attempt(self.shared.attempt).cause(cause).record();
        lock(&self.shared.state).ending = ending;
    }

    pub(super) fn ending(&self) -> Ending {
        lock(&self.shared.state).ending
    }
}

/// Returns `span * factor`, or the longest duration if the product is longer, as many overlapping faults can make it.
pub(super) fn multiplied(span: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_time_that_no_duration_holds_is_the_longest() {
        assert_eq!(multiplied(Duration::from_secs(2), 1.5), Duration::from_secs(3));
        assert_eq!(multiplied(Duration::from_secs(2), f64::MAX), Duration::MAX);
    }
}
