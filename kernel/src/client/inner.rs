//! Inner calls: those that a process of a service makes to another service, and their rows.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::Response;
use crate::{
    context::Context,
    record::{Answer, AttemptId, CallId, CallRow, InnerAttempt, Name, Recorder},
    status::{Code, Outcome},
    sync::lock,
    time::Instant,
};

/// The way from one process to a service that it calls.
pub(crate) struct Edge {
    recorder: Recorder,
    service: Name,
    propagates_deadline: bool,
    /// Number of calls so far on behalf of no request.
    unasked: AtomicU32,
}

impl Edge {
    /// Creates the way to `service` from the process whose recorder this is. If it `propagates_deadline`, a call ends with that of the attempt
    /// on whose behalf it is made.
    pub(crate) fn new(recorder: Recorder, service: &str, propagates_deadline: bool) -> Arc<Self> {
        Arc::new(Self { recorder, service: service.into(), propagates_deadline, unasked: AtomicU32::new(0) })
    }

    /// Begins a call, now, on behalf of the attempt for which the present code runs.
    pub(super) fn begin(self: &Arc<Self>) -> Arc<InnerCall> {
        let context = Context::current();
        let parent = context.as_ref().map(Context::attempt);
        let id = match &context {
            Some(context) => context.next_call(&self.service),
            None => {
                let before = self.unasked.fetch_add(1, Ordering::Relaxed);
                CallId::of_process(self.recorder.source(), &self.service, before)
            }
        };
        let ends = context.filter(|_| self.propagates_deadline).map_or(Instant::NEVER, |context| context.deadline());
        self.call(id, parent, ends)
    }

    /// Returns a call that begins now.
    fn call(self: &Arc<Self>, id: CallId, parent: Option<AttemptId>, deadline: Instant) -> Arc<InnerCall> {
        Arc::new(InnerCall {
            edge: self.clone(),
            id,
            parent,
            begun: self.recorder.now(),
            deadline: Mutex::new(deadline),
            attempts: Mutex::default(),
            has_ended: AtomicBool::new(false),
        })
    }
}

/// An inner call. Its row is recorded when it ends, or with CANCELLED when it is dropped before.
pub(crate) struct InnerCall {
    edge: Arc<Edge>,
    pub(super) id: CallId,
    /// The attempt that its process answers meanwhile.
    parent: Option<AttemptId>,
    begun: Instant,
    deadline: Mutex<Instant>,
    /// The attempts that have ended.
    attempts: Mutex<Vec<InnerAttempt>>,
    has_ended: AtomicBool,
}

impl InnerCall {
    /// Notes that the call has this deadline, and returns it, or that of its parent if that is earlier.
    pub(super) fn limit(&self, own: Instant) -> Instant {
        let mut deadline = lock(&self.deadline);
        *deadline = (*deadline).min(own);
        *deadline
    }

    /// Adds an attempt, which has ended.
    pub(super) fn add(&self, attempt: InnerAttempt) {
        lock(&self.attempts).push(attempt);
    }

    /// Records the call, which has ended with `response`, now.
    pub(super) fn end(&self, response: &Response) {
        self.record(response.outcome, response.server.clone(), response.answer);
    }

    /// Returns the call that renews its answer in the background, whose row is one of its own.
    pub(super) fn renewal(&self) -> Arc<Self> {
        self.edge.call(self.id.inner(0, &self.edge.service, 0), self.parent, Instant::NEVER)
    }

    fn record(&self, status: Outcome, server: Option<Name>, answer: Option<Answer>) {
        if self.has_ended.swap(true, Ordering::Relaxed) {
            return;
        }
        let recorder = &self.edge.recorder;
        recorder.call(CallRow {
            request: self.id.request(),
            call: self.id.path().unwrap_or_default(),
            parent: self.parent.and_then(|parent| parent.call.path()),
            parent_attempt: self.parent.map(|parent| parent.number),
            caller: recorder.source().clone(),
            service: self.edge.service.clone(),
            sent_us: self.begun.as_micros(),
            deadline_us: lock(&self.deadline).as_micros(),
            done_us: recorder.now().as_micros(),
            status,
            server,
            answer,
            attempts: std::mem::take(&mut *lock(&self.attempts)),
        });
    }
}

impl Drop for InnerCall {
    fn drop(&mut self) {
        self.record(Outcome::Status(Code::Cancelled), None, None);
    }
}
