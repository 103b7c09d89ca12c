//! Records rows while a run goes on: to memory, or to another process.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    call_id::{AttemptId, CallId},
    moment::CallMoment,
    name::Name,
    rows::{AttemptRow, CallRow, Event, EventRow, Ordered, RequestRow, Row},
};
use crate::{time::Instant, world::SharedWorld};

/// All rows of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records {
    /// The requests, in order of id.
    pub requests: Vec<RequestRow>,
    /// Their attempts, in order of request, then attempt.
    pub attempts: Vec<AttemptRow>,
    /// All events, in order of time; those of one instant stay in the order in which they were recorded.
    pub events: Vec<EventRow>,
    /// The inner calls, in order of request; those of one request stay in the order in which they ended.
    pub calls: Vec<CallRow>,
}

impl Records {
    /// Adds a row behind those of its kind.
    pub fn push(&mut self, row: Row) {
        match row {
            Row::Request(row) => self.requests.push(row),
            Row::Attempt(row) => self.attempts.push(row),
            Row::Event(row) => self.events.push(row),
            Row::Call(row) => self.calls.push(row),
        }
    }

    /// Sorts the rows into the order of the run folder's files.
    pub fn sort(&mut self) {
        // Stable sorts, as the order demands.
        self.requests.sort_by_key(Ordered::position);
        self.attempts.sort_by_key(Ordered::position);
        self.events.sort_by_key(Ordered::position);
        self.calls.sort_by_key(Ordered::position);
    }
}

/// A place that rows are recorded to.
pub trait Sink: Send + Sync {
    /// Takes a row. The host that records it waits until this returns.
    fn take(&self, row: Row);

    /// Returns whether it takes moments of calls. Each recorder asks once, when it is created; without, it makes none.
    fn measures(&self) -> bool {
        false
    }

    /// Takes a moment of a call, which is now, from `recorder`. The host waits until this returns.
    fn measure(&self, _recorder: &Recorder, _moment: CallMoment) {}
}

impl Sink for Mutex<Records> {
    fn take(&self, row: Row) {
        self.lock().unwrap_or_else(PoisonError::into_inner).push(row);
    }
}

/// Records the rows of one source of events on one host. Clones share the sink.
#[derive(Clone)]
pub struct Recorder(Arc<Shared>);

/// What all clones of a recorder share.
struct Shared {
    world: SharedWorld,
    source: Name,
    sink: Arc<dyn Sink>,
    measures: bool,
}

impl Recorder {
    /// Creates a recorder whose events come from `source` and whose rows go to `sink`.
    pub fn new(world: SharedWorld, source: &str, sink: Arc<dyn Sink>) -> Self {
        let measures = sink.measures();
        Self(Arc::new(Shared { world, source: source.into(), sink, measures }))
    }

    /// Returns a recorder to the same sink, for another source on another host.
    pub fn with_source(&self, world: SharedWorld, source: &str) -> Self {
        Self::new(world, source, self.0.sink.clone())
    }

    /// Returns the time on this recorder's host.
    pub fn now(&self) -> Instant {
        self.0.world.now()
    }

    /// Starts an event that happens now. It is completed by the builder's methods, and lost without
    /// [`EventBuilder::record`].
    pub fn event(&self, event: Event) -> EventBuilder<'_> {
        self.event_at(event, self.0.world.now())
    }

    /// Starts an event that happened at a time that was read before.
    pub fn event_at(&self, event: Event, at: Instant) -> EventBuilder<'_> {
        let row = EventRow {
            at_us: at.as_micros(),
            source: self.0.source.clone(),
            event,
            target: None,
            cause: None,
            fault: None,
            request: None,
            call: None,
            attempt: None,
            duration_us: None,
        };
        EventBuilder { recorder: self, row }
    }

    /// Returns whether moments of calls are taken.
    #[cfg(feature = "service")]
    pub(crate) fn measures(&self) -> bool {
        self.0.measures
    }

    /// Passes on what happens now to a call, if moments are taken.
    pub(crate) fn measure(&self, what: impl FnOnce() -> CallMoment) {
        if self.0.measures {
            self.measure_call(what());
        }
    }

    /// Passes on what happens now to a call that began while moments were taken.
    pub(crate) fn measure_call(&self, what: CallMoment) {
        self.0.sink.measure(self, what);
    }

    /// Records a finished or dropped request.
    pub fn request(&self, row: RequestRow) {
        self.0.sink.take(Row::Request(row));
    }

    /// Records a finished attempt.
    pub fn attempt(&self, row: AttemptRow) {
        self.0.sink.take(Row::Attempt(row));
    }

    /// Records an inner call that has ended.
    pub fn call(&self, row: CallRow) {
        self.0.sink.take(Row::Call(row));
    }

    /// Returns the name of the source.
    pub fn source(&self) -> &Name {
        &self.0.source
    }
}

/// An event that is being put together.
#[must_use = "an event that is not recorded is lost"]
pub struct EventBuilder<'a> {
    recorder: &'a Recorder,
    row: EventRow,
}

impl EventBuilder<'_> {
    /// Sets the server that it is about.
    pub fn target(mut self, target: impl Into<Name>) -> Self {
        self.row.target = Some(target.into());
        self
    }

    /// Sets why it happened, in a few words.
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.row.cause = Some(cause.into());
        self
    }

    /// Sets the fault, by its index in the scenario.
    pub fn fault(mut self, fault: usize) -> Self {
        self.row.fault = Some(fault);
        self
    }

    /// Sets the request, by its id.
    pub fn request(self, request: u64) -> Self {
        self.call(CallId::of_request(request))
    }

    /// Sets the call, and the request on whose behalf it is made.
    pub fn call(mut self, call: CallId) -> Self {
        self.row.request = call.request();
        self.row.call = call.path();
        self
    }

    /// Sets the call, and the number of the attempt within it.
    pub fn of_attempt(self, attempt: AttemptId) -> Self {
        self.call(attempt.call).attempt(attempt.number)
    }

    /// Sets the attempt, by its number within its call, from 1.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.row.attempt = Some(attempt);
        self
    }

    /// Sets how long it takes.
    pub fn duration(mut self, duration: std::time::Duration) -> Self {
        self.row.duration_us = Some(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        self
    }

    /// Records the event.
    pub fn record(self) {
        #[cfg(feature = "canaries")]
        crate::bug::observe(&self.row);
        self.recorder.0.sink.take(Row::Event(self.row));
    }
}
