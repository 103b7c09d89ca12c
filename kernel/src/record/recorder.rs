//! Takes down rows while a run goes on: in memory, or on their way to somewhere else.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    name::Name,
    rows::{AttemptRow, Event, EventRow, RequestRow, Row},
};
use crate::{time::Instant, world::SharedWorld};

/// Everything recorded of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records {
    /// In order of id.
    pub requests: Vec<RequestRow>,
    /// In order of request, then attempt.
    pub attempts: Vec<AttemptRow>,
    /// In order of time; what happened at one instant stays in the order it was recorded in.
    pub events: Vec<EventRow>,
}

impl Records {
    /// Adds a row, behind those of its kind.
    pub fn push(&mut self, row: Row) {
        match row {
            Row::Request(row) => self.requests.push(row),
            Row::Attempt(row) => self.attempts.push(row),
            Row::Event(row) => self.events.push(row),
        }
    }

    /// Puts the rows into their order.
    pub fn sort(&mut self) {
        self.requests.sort_by_key(|row| row.id);
        self.attempts.sort_by_key(|row| (row.request, row.attempt));
        self.events.sort_by_key(|row| row.at_us);
    }
}

/// Takes rows as they are recorded.
pub trait Sink: Send + Sync {
    /// Takes one. Whoever recorded it waits meanwhile.
    fn take(&self, row: Row);
}

impl Sink for Mutex<Records> {
    fn take(&self, row: Row) {
        self.lock().unwrap_or_else(PoisonError::into_inner).push(row);
    }
}

/// Where a host's rows go. Clones share it; each writes events under its own source.
#[derive(Clone)]
pub struct Recorder {
    world: SharedWorld,
    source: Name,
    sink: Arc<dyn Sink>,
}

impl Recorder {
    /// A recorder whose events come from `source` and whose rows go to `sink`.
    pub fn new(world: SharedWorld, source: &str, sink: Arc<dyn Sink>) -> Self {
        Self { world, source: source.into(), sink }
    }

    /// Writes to the same place, from another source on another host.
    pub fn of(&self, world: SharedWorld, source: &str) -> Self {
        Self::new(world, source, self.sink.clone())
    }

    /// The time on this recorder's host.
    pub fn now(&self) -> Instant {
        self.world.now()
    }

    /// Starts an event that happens now; complete it with the builder's methods and [`EventBuilder::record`] it.
    pub fn event(&self, event: Event) -> EventBuilder<'_> {
        self.event_at(event, self.world.now())
    }

    /// Starts an event that has just happened, at a time that is known already.
    pub fn event_at(&self, event: Event, at: Instant) -> EventBuilder<'_> {
        let row = EventRow {
            at_us: at.as_micros(),
            source: self.source.clone(),
            event,
            target: None,
            cause: None,
            fault: None,
            request: None,
            attempt: None,
            duration_us: None,
        };
        EventBuilder { recorder: self, row }
    }

    /// Records a finished or dropped request.
    pub fn request(&self, row: RequestRow) {
        self.sink.take(Row::Request(row));
    }

    /// Records a finished attempt.
    pub fn attempt(&self, row: AttemptRow) {
        self.sink.take(Row::Attempt(row));
    }
}

/// An event on its way into the record.
#[must_use = "an event that is not recorded is lost"]
pub struct EventBuilder<'a> {
    recorder: &'a Recorder,
    row: EventRow,
}

impl EventBuilder<'_> {
    /// The server it concerns.
    pub fn target(mut self, target: impl Into<Name>) -> Self {
        self.row.target = Some(target.into());
        self
    }

    /// Why it happened, in a few words.
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.row.cause = Some(cause.into());
        self
    }

    /// The fault's index in the scenario.
    pub fn fault(mut self, fault: usize) -> Self {
        self.row.fault = Some(fault);
        self
    }

    /// The request's id.
    pub fn request(mut self, request: u64) -> Self {
        self.row.request = Some(request);
        self
    }

    /// The attempt's number within its call, from 1.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.row.attempt = Some(attempt);
        self
    }

    /// How long it will take.
    pub fn duration(mut self, duration: std::time::Duration) -> Self {
        self.row.duration_us = Some(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        self
    }

    /// Puts it into the record.
    pub fn record(self) {
        self.recorder.sink.take(Row::Event(self.row));
    }
}
