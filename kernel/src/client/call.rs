//! A call: answered from the cache, by attempts until one succeeds, or by a fallback.

mod attempt_error;
mod stream;

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::future::{Either, select};

pub(super) use self::attempt_error::AttemptError;
use self::stream::Received;
use super::{
    NotPicked, Request, Response, Shared,
    attempt::SentAttempt,
    candidates::Candidates,
    failure::{Cause, Failure, Unseen},
    inner::InnerCall,
    plain_channel::Headers,
    settings::ServerSelection,
    streaming::Outlet,
};
use crate::{
    grpc::Reply,
    planted::planted,
    policy::{AttemptPermit, FallbackKind, Lookup, Pushback, Rejection, RetryPermit, Servers},
    record::{self, Answer, AttemptId, AttemptRow, CallId, Event, EventBuilder, InnerAttempt},
    status::{Code, Outcome},
    sync::lock,
    time::Instant,
    world::timeout_at,
};

/// A call under way.
pub(super) struct Call<'a> {
    pub(super) client: &'a Arc<Shared>,
    request: &'a Request,
    id: CallId,
    /// The record of the call, if it is an inner call.
    inner: Option<Arc<InnerCall>>,
    begun: Instant,
    pub(super) deadline: Instant,
    /// Where the reply of a call that streams goes.
    outlet: Option<&'a Outlet>,
    /// Shared by the attempts of a call that hedges.
    progress: Mutex<Progress>,
}

/// The progress of a call.
#[derive(Default)]
struct Progress {
    /// Number of attempts that were sent.
    attempts: u32,
    /// Number of attempts that went to another server than the one before.
    failovers: u32,
    /// Number of attempts that were hedges.
    hedges: u32,
    /// True if a policy has rejected an attempt.
    rejected: bool,
    /// The server of the last attempt.
    last: Option<usize>,
    /// Number of attempts for which there was no server. They count for the retry policy.
    unpicked: u32,
    /// The server of the attempt before the last one.
    before_last: Option<usize>,
    /// True if the last attempt counts as a failover.
    moved: bool,
    /// True if a server's HTTP/2 library has refused an attempt, which was sent again for it. That is done once.
    was_refused: bool,
    /// Servers to avoid while there are others.
    tried: Servers,
    /// The attempts under way, if the call hedges.
    pending: Vec<SentAttempt>,
    /// The attempts that no server has seen and that will be sent again.
    unseen: Vec<UnseenAttempt>,
    /// The part of a reply that has arrived, if the reply streams.
    received: Received,
    /// The answer of a store, however old.
    last_known: Option<Box<Reply>>,
}

/// An attempt that no server has seen.
#[derive(Clone)]
struct UnseenAttempt {
    sent: SentAttempt,
    failure: Failure,
    /// The time at which it failed.
    at: Instant,
}

/// The reply to an attempt that succeeded.
pub(super) struct Answered {
    pub(super) reply: Reply,
    pub(super) server: usize,
}

/// An attempt that is about to be sent.
struct NextAttempt {
    is_hedge: bool,
    /// Its number, if it is sent again.
    number: Option<u32>,
    /// Where it notes the headers of its reply, if they commit the call.
    headers: Option<Arc<Headers>>,
}

/// A degraded answer, which no server has just given.
struct Substitute {
    reply: Reply,
    kind: Answer,
}

pub(super) const CANCELLED: Rejection = Rejection { code: Code::Cancelled, cause: record::CANCELLED };
const NOT_READY: Rejection = Rejection { code: Code::DeadlineExceeded, cause: "no server was ready" };

impl<'a> Call<'a> {
    pub(super) fn new(client: &'a Arc<Shared>, request: &'a Request, inner: Option<Arc<InnerCall>>) -> Self {
        let begun = client.world.now();
        let deadline = client.live().deadline;
        let deadline = request.message.timeout().map_or(deadline, |timeout| timeout.min(deadline));
        let deadline = inner.as_ref().map_or(begun + deadline, |inner| inner.limit(begun + deadline));
        let id = inner.as_ref().map_or(CallId::of_request(request.id), |inner| inner.id);
        Self { client, request, id, inner, begun, deadline, outlet: None, progress: Mutex::default() }
    }

    /// Runs the whole call.
    pub(super) async fn run(self) -> Response {
        if let Some(cached) = self.look_up().await {
            return cached;
        }
        match self.send_attempts().await {
            Ok(Answered { reply, server }) => {
                let is_lost = planted!(Bug::WrongAnswer) && self.progress().attempts > 1;
                let reply = if is_lost { Reply::empty() } else { reply };
                self.client.keep(self.request, &reply);
                self.response(Outcome::OK, Some(reply), Some(server), None)
            }
            Err(error) => {
                self.event(Event::GiveUp).cause(error.code().name()).record();
                self.fall_back(&error).unwrap_or_else(|| Response {
                    cause: Some(error.cause()),
                    ..self.response(Outcome::Status(error.code()), None, error.answered_by(), None)
                })
            }
        }
    }

    /// Runs the attempts of the call: the part between the cache and the fallback.
    pub(super) async fn send_attempts(&self) -> Result<Answered, AttemptError> {
        self.client.chain.on_call_start(self.begun);
        match &self.client.live().hedging {
            Some(hedging) if !self.request.message.is_stream() => self.with_hedges(hedging).await,
            _ => self.with_retries().await,
        }
    }

    async fn with_retries(&self) -> Result<Answered, AttemptError> {
        let mut permit = None;
        let mut backoffs = 0;
        loop {
            let headers = self.headers();
            let error = match self.attempt(false, headers.clone()).await {
                Ok(answered) => return Ok(answered),
                Err(error) => error,
            };
            // The permit is for the attempt that has just ended. It is given back before another one is asked for, so that a
            // call holds one at a time.
            drop(permit.take());
            let is_committed =
                headers.is_some_and(|headers| headers.have_arrived()) || self.request.message.is_stream();
            if error.is_final() || is_committed {
                return Err(error);
            }
            if let AttemptError::Failed { server, .. } = &error
                && self.client.live().retry.prefers_other_server()
            {
                self.progress().tried.set(*server, true);
            }
            permit = Some(self.next_retry(error, &mut backoffs).await?);
        }
    }

    /// Waits for the backoff before the attempt after one that ended with `error`, and returns the permit for it.
    /// `backoffs` counts the backoffs since a server last said how long to wait.
    ///
    /// # Errors
    ///
    /// Returns the error of the call if there is no next attempt.
    async fn next_retry(&self, error: AttemptError, backoffs: &mut u32) -> Result<RetryPermit<'a>, AttemptError> {
        let attempts = self.progress().attempts;
        let tries = attempts + self.progress().unpicked;
        let client = self.client;
        let live = client.live();
        if !live.retry.allows(tries, error.code()) {
            return Err(error);
        }
        let Some(permit) = self.permit_retry() else { return Err(error) };
        let backoff = match error.pushback() {
            // gRPC A6: the server's wait replaces the backoff, and the backoffs after it start again at the initial one.
            Some(Pushback::After(wait)) => {
                *backoffs = 0;
                wait
            }
            _ => {
                *backoffs += 1;
                let mut rng = client.entropy.stream_of("retry.backoff", &self.id.numbers(&[u64::from(tries)]));
                live.retry.backoff(*backoffs, &mut rng)
            }
        };
        let until = client.world.now() + backoff;
        // An attempt that starts at the deadline could not be answered before it.
        if until >= self.deadline {
            drop(permit);
            return Err(self.at_deadline(error).await);
        }
        self.event(Event::Backoff).attempt(attempts).duration(backoff).record();
        if !backoff.is_zero() {
            select(client.world.sleep_until(until), pin!(self.cancelled())).await;
        }
        Ok(permit)
    }

    /// Returns the error of a call that has no time for another attempt after the one that ended with `error`: at once, or at
    /// the deadline.
    pub(super) async fn at_deadline(&self, error: AttemptError) -> AttemptError {
        let client = self.client;
        if !client.live().retry.waits_for_deadline() {
            return error;
        }
        match select(client.world.sleep_until(self.deadline), pin!(self.cancelled())).await {
            Either::Left(_) => AttemptError::DeadlinePassed,
            Either::Right(_) => AttemptError::Rejected(CANCELLED),
        }
    }

    /// Asks the policies that limit retries and hedges for a permit.
    pub(super) fn permit_retry(&self) -> Option<RetryPermit<'a>> {
        let permit = self.client.chain.permit_retry();
        permit.inspect_err(|rejection| self.event(Event::Throttled).cause(rejection.cause).record()).ok()
    }

    /// Makes one attempt, behind the policies, at the server that the balancer picks. An attempt that no server has seen is sent
    /// again if the retry policy says so.
    pub(super) async fn attempt(
        &self,
        is_hedge: bool,
        headers: Option<Arc<Headers>>,
    ) -> Result<Answered, AttemptError> {
        let mut attempt = NextAttempt { is_hedge, number: None, headers };
        loop {
            if let Some(result) = self.send(&mut attempt).await {
                return result;
            }
        }
    }

    /// Sends `attempt`. Returns `None` if it is sent again: there is no server any more when it is picked, or none has seen it.
    async fn send(&self, attempt: &mut NextAttempt) -> Option<Result<Answered, AttemptError>> {
        match self.try_send(attempt).await {
            Ok(answered) => answered.map(Ok),
            Err(error) => {
                // It was sent before, and is not sent again.
                self.record_unseen(|unseen| Some(unseen.sent.id.number) == attempt.number);
                Some(Err(error))
            }
        }
    }

    async fn try_send(&self, attempt: &mut NextAttempt) -> Result<Option<Answered>, AttemptError> {
        let client = self.client;
        match client.settings.server_selection {
            ServerSelection::ConnectionState => self.until_candidate().await?,
            ServerSelection::PreferHealthy if client.settings.wait_for_ready => self.until_ready().await?,
            ServerSelection::PreferHealthy => {}
        }
        let mut permit = client.chain.begin_attempt(client.world.now());
        self.admitted(permit.admit_before_timeout(self.deadline)).await?;
        // The timeout starts now, so that waits at the policies outside of it do not shorten it.
        let attempt_timeout = client.chain.attempt_timeout(permit.now());
        let attempt_timeout = permit.now() + attempt_timeout.unwrap_or_else(|| client.live().attempt_timeout);
        let timeout = planted!(Bug::ForgottenDeadline, attempt_timeout, else attempt_timeout.min(self.deadline));
        self.admitted(permit.admit_within_timeout(timeout)).await?;
        let sent = match self.pick(attempt, &mut permit) {
            Ok(sent) => sent,
            Err(NotPicked::Wait) => return Ok(None),
            Err(NotPicked::Blocked(rejection)) => return Err(self.reject(rejection)),
            Err(NotPicked::None(rejection)) => {
                let now = permit.now();
                permit.finish(now, rejection.code, None);
                self.reject(rejection);
                self.progress().unpicked += 1;
                return Err(AttemptError::NotPicked(rejection));
            }
        };
        let mut in_flight = client.in_flight(sent);

        let mut result = {
            let rpc = pin!(self.exchange(sent, timeout, attempt.headers.clone(), &mut permit));
            match select(rpc, pin!(self.cancelled())).await {
                Either::Left((result, _)) => result,
                Either::Right(_) => Err(Failure::new(Code::Cancelled, Cause::Cancelled)),
            }
        };
        // The timeout was cut to the deadline, so it is the deadline that has passed.
        if let Err(Failure { cause: cause @ Cause::AttemptTimeout, .. }) = &mut result
            && timeout == self.deadline
        {
            *cause = Cause::CallDeadline;
        }
        let failure = result.as_ref().err();
        let now = client.world.now();
        if let Some(failure) = failure.filter(|failure| now < self.deadline && self.is_sent_again(failure)) {
            self.event_at(Event::TransparentRetry, now)
                .attempt(sent.id.number)
                .target(&client.servers[sent.server].name)
                .cause(failure.cause.to_string())
                .record();
            attempt.number = Some(sent.id.number);
            let mut progress = self.progress();
            progress.pending.retain(|pending| *pending != sent);
            progress.unseen.push(UnseenAttempt { sent, failure: failure.clone(), at: now });
            return Ok(None);
        }
        self.record(sent, failure, now);
        if self.committed_by(sent.id.number).is_none() {
            client.health.observe_attempt(sent.server, failure);
        }
        // An attempt that the caller cancelled has no status of the server: the policies see it as abandoned.
        if failure.is_none_or(|failure| failure.cause != Cause::Cancelled) {
            in_flight.ended = Some(now);
            permit.finish(
                now,
                failure.map_or(Code::Ok, |failure| failure.code),
                failure.and_then(|failure| failure.pushback),
            );
        }
        match result {
            Ok(reply) => Ok(Some(Answered { reply, server: sent.server })),
            Err(failure) => Err(AttemptError::Failed { failure, server: sent.server }),
        }
    }

    /// Returns whether an attempt that failed with `failure` is sent again, outside the retry policy (gRPC A6): whenever it has not
    /// left the client, and once if a server's HTTP/2 library refused it.
    fn is_sent_again(&self, failure: &Failure) -> bool {
        let is_committed = self.request.message.is_stream() || self.progress().received.committed.is_some();
        match failure.unseen.filter(|_| self.client.live().retry.is_transparent() && !is_committed) {
            None => false,
            Some(Unseen::Unsent) => true,
            Some(Unseen::Refused) => !std::mem::replace(&mut self.progress().was_refused, true),
        }
    }

    /// Waits for `admission`, or until the call is cancelled. A rejection is recorded.
    async fn admitted(&self, admission: impl Future<Output = Result<(), Rejection>>) -> Result<(), AttemptError> {
        // A cancelled call must not stay in a policy's queue.
        let cancelled = pin!(self.cancelled());
        match select(pin!(admission), cancelled).await {
            Either::Left((admitted, _)) => admitted.map_err(|rejection| self.reject(rejection)),
            Either::Right(_) => Err(AttemptError::Rejected(CANCELLED)),
        }
    }

    fn reject(&self, rejection: Rejection) -> AttemptError {
        self.progress().rejected = true;
        self.event(Event::Rejected).cause(rejection.cause).record();
        AttemptError::Rejected(rejection)
    }

    /// Waits until a server is connected, as gRPC's wait_for_ready does.
    async fn until_ready(&self) -> Result<(), AttemptError> {
        let client = self.client;
        if !client.ready.servers().is_empty() {
            return Ok(());
        }
        self.event(Event::Queued).cause("no server is ready").record();
        let ready = timeout_at(&*client.world, self.deadline, client.some_server_is_ready());
        self.admitted(async { ready.await.map_err(|_| NOT_READY) }).await
    }

    /// Waits until an attempt can be sent or has failed for want of a server.
    async fn until_candidate(&self) -> Result<(), AttemptError> {
        let client = self.client;
        let mut has_waited = false;
        loop {
            // Created before the state is read, so that no change is missed.
            let mut changed = pin!(client.changes.next());
            let Candidates::Wait(until) = client.candidates() else { return Ok(()) };
            if !std::mem::replace(&mut has_waited, true) {
                self.event(Event::Queued).cause("no server is ready").record();
            }
            let until = until.unwrap_or(self.deadline).min(self.deadline);
            let waited = timeout_at(&*client.world, until, changed.as_mut());
            self.admitted(async {
                match waited.await {
                    Err(_) if until == self.deadline => Err(NOT_READY),
                    _ => Ok(()),
                }
            })
            .await?;
        }
    }

    /// Picks a server, and counts the attempt as sent.
    fn pick(&self, attempt: &NextAttempt, permit: &mut AttemptPermit<'_>) -> Result<SentAttempt, NotPicked> {
        let client = self.client;
        let mut progress = self.progress();
        let is_again = attempt.number.is_some();
        let id = AttemptId { call: self.id, number: attempt.number.unwrap_or(progress.attempts + 1) };
        let server = client.pick(progress.tried, id, permit)?;
        if is_again {
            progress.unseen.retain(|unseen| unseen.sent.id != id);
        } else {
            progress.before_last = progress.last;
        }
        // A hedge goes elsewhere by design, and is counted as a hedge.
        let moved = !attempt.is_hedge && progress.before_last.is_some_and(|last| last != server);
        // An attempt that is sent again may have counted already.
        let has_counted = is_again && progress.moved;
        let is_failover = moved && !has_counted;
        let is_hedge = attempt.is_hedge && !is_again;
        progress.attempts = progress.attempts.max(id.number);
        progress.last = Some(server);
        progress.hedges += u32::from(is_hedge);
        progress.failovers += u32::from(is_failover && !planted!(Bug::UncountedFailover));
        progress.failovers -= u32::from(has_counted && !moved);
        progress.moved = moved;
        let sent = SentAttempt { id, server, at: permit.now() };
        if client.settings.policies.hedging.is_some() {
            // The next hedge goes to a server that the call has not asked yet, unless balancing follows the connections alone.
            if client.settings.server_selection == ServerSelection::PreferHealthy {
                progress.tried.set(server, true);
            }
            progress.pending.push(sent);
        }
        drop(progress);
        if let Some(headers) = &attempt.headers {
            headers.on_sent(id.number);
        }
        let name = &client.servers[server].name;
        if is_hedge || is_failover {
            let event = if is_hedge { Event::Hedge } else { Event::Failover };
            self.event_at(event, sent.at).attempt(id.number).target(name).record();
        }
        self.event_at(Event::Pick, sent.at).attempt(id.number).target(name).record();
        Ok(sent)
    }

    fn record(&self, sent: SentAttempt, failure: Option<&Failure>, now: Instant) {
        let SentAttempt { id, server, at } = sent;
        if self.client.settings.policies.hedging.is_some() {
            self.progress().pending.retain(|pending| *pending != sent);
        }
        let name = &self.client.servers[server].name;
        let cause = failure.map(|failure| failure.cause.to_string());
        if let Some(cause) = &cause {
            self.event_at(Event::AttemptFailed, now).attempt(id.number).target(name).cause(cause).record();
        }
        let attempt = id.number;
        let server = name.clone();
        let start_us = at.as_micros();
        let end_us = now.as_micros();
        let status = failure.map_or(Code::Ok, |failure| failure.code);
        if let Some(inner) = &self.inner {
            return inner.add(InnerAttempt { attempt, server, start_us, end_us, status, cause });
        }
        self.client.recorder.attempt(AttemptRow {
            request: self.request.id,
            attempt,
            server,
            start_us,
            end_us,
            status,
            cause,
            committed_us: self.committed_by(id.number).map(Instant::as_micros),
        });
    }

    /// Records the attempts that should have been sent again and were not, as they failed.
    fn record_unseen(&self, is_ended: impl Fn(&UnseenAttempt) -> bool) {
        let unseen = std::mem::take(&mut self.progress().unseen);
        let (ended, waiting): (Vec<_>, Vec<_>) = unseen.into_iter().partition(is_ended);
        self.progress().unseen = waiting;
        ended.into_iter().for_each(|unseen| self.record(unseen.sent, Some(&unseen.failure), unseen.at));
    }

    /// Records the attempts still under way as superseded. Their futures are dropped with the call.
    pub(super) fn supersede_pending(&self) {
        self.supersede_pending_but(None);
    }

    /// Records the attempts still under way as superseded, except the one of this number. The caller drops their futures.
    pub(super) fn supersede_pending_but(&self, number: Option<u32>) {
        let mut pending = self.progress().pending.clone();
        pending.retain(|sent| Some(sent.id.number) != number);
        let superseded = Failure::new(Code::Cancelled, Cause::Superseded);
        let now = self.client.world.now();
        pending.into_iter().for_each(|sent| self.record(sent, Some(&superseded), now));
        self.record_unseen(|unseen| Some(unseen.sent.id.number) != number);
    }

    /// Answers the call from the cache, if it has an answer that is fresh, or stale and still accepted.
    async fn look_up(&self) -> Option<Response> {
        let found = self.client.answers.as_ref()?.look_up(self.request, self.begun, self.deadline).await;
        if let Some(last_known) = found.last_known {
            self.progress().last_known = Some(Box::new(last_known));
        }
        let (substitute, renew) = match found.lookup {
            Lookup::Miss => return None,
            Lookup::Fresh(reply) => (Substitute { reply, kind: Answer::Cached }, false),
            Lookup::Stale { answer: reply, renew } => (Substitute { reply, kind: Answer::Stale }, renew),
        };
        let cause = if substitute.kind == Answer::Stale { "stale" } else { "fresh" };
        self.event(Event::CacheHit).cause(cause).record();
        // The call has its answer already: the renewal is for later calls.
        if renew {
            self.client.renew(self.request.clone(), self.inner.as_ref().map(|inner| inner.renewal()));
        }
        Some(self.substituted(substitute))
    }

    /// Answers the call with the fallback, if it has an answer for calls that fail with `error`.
    fn fall_back(&self, error: &AttemptError) -> Option<Response> {
        let live = self.client.live();
        let fallback = live.fallback.as_ref()?;
        if !fallback.status_codes.contains(&error.code()) {
            return None;
        }
        let (substitute, name) = match fallback.kind {
            FallbackKind::Default => (Substitute { reply: Reply::empty(), kind: Answer::Fallback }, "default"),
            FallbackKind::Stale => {
                let of_store = self.progress().last_known.take().map(|reply| *reply);
                let reply = of_store.or_else(|| self.client.answers.as_ref()?.last_known(self.request))?;
                (Substitute { reply, kind: Answer::Stale }, "stale")
            }
            // There are no parts of a reply that does not stream.
            FallbackKind::Partial => return None,
        };
        self.event(Event::Fallback).cause(name).record();
        Some(self.substituted(substitute))
    }

    /// Returns the response to a call of attempts alone that ended with `result`, without its reply.
    pub(super) fn response_of(&self, result: &Result<Answered, AttemptError>) -> Response {
        match result {
            Ok(answered) => self.response(Outcome::OK, None, Some(answered.server), None),
            Err(error) => self.response(Outcome::Status(error.code()), None, error.answered_by(), None),
        }
    }

    fn substituted(&self, Substitute { reply, kind }: Substitute) -> Response {
        let outcome = if kind == Answer::Cached { Outcome::OK } else { self.degraded() };
        self.response(outcome, Some(reply), None, Some(kind))
    }

    /// Returns what a degraded answer counts as.
    fn degraded(&self) -> Outcome {
        let fallback = self.client.settings.policies.fallback.as_ref();
        if fallback.is_some_and(|fallback| fallback.counts_as_success) { Outcome::OK } else { Outcome::Degraded }
    }

    pub(super) fn event(&self, event: Event) -> EventBuilder<'a> {
        self.client.recorder.event(event).call(self.id)
    }

    fn event_at(&self, event: Event, at: Instant) -> EventBuilder<'a> {
        self.client.recorder.event_at(event, at).call(self.id)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.progress)
    }

    fn response(
        &self,
        outcome: Outcome,
        reply: Option<Reply>,
        server: Option<usize>,
        answer: Option<Answer>,
    ) -> Response {
        let Progress { attempts, failovers, hedges, rejected, tried, .. } = *self.progress();
        let is_wrong = planted!(Bug::WrongServer) && failovers > 0;
        let server = if is_wrong { server.and_then(|_| tried.iter().next()) } else { server };
        let server = server.map(|server| self.client.servers[server].name.clone());
        Response { outcome, reply, cause: None, server, attempts, failovers, hedges, rejected, answer, stream: None }
    }
}

#[cfg(test)]
mod tests;
