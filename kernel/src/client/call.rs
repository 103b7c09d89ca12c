//! A call: answered from the cache, by attempts until one succeeds, or by a fallback.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::future::{Either, select};

use super::{
    Request, Response, Shared,
    attempt::{self, SentAttempt},
    failure::{Cause, Failure},
};
use crate::{
    planted::planted,
    policy::{AttemptPermit, FallbackKind, Lookup, Pushback, Rejection, RetryPermit, Servers},
    record::{self, Answer, AttemptId, AttemptRow, Event, EventBuilder},
    status::{Code, Outcome},
    sync::lock,
    time::Instant,
    workload::Output,
    world::timeout_at,
};

/// A call under way.
pub(super) struct Call<'a> {
    pub(super) client: &'a Arc<Shared>,
    request: &'a Request,
    begun: Instant,
    pub(super) deadline: Instant,
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
    /// Servers to avoid while there are others.
    tried: Servers,
    /// The attempts under way, if the call hedges.
    pending: Vec<SentAttempt>,
}

/// The output of an attempt that succeeded.
pub(super) struct Answered {
    pub(super) output: Output,
    pub(super) server: usize,
}

/// The reason why an attempt did not succeed.
pub(super) enum AttemptError {
    /// A policy rejected it, and it was not sent.
    Rejected(Rejection),
    /// It was sent to `server` and failed.
    Failed { failure: Failure, server: usize },
}

impl AttemptError {
    fn code(&self) -> Code {
        match self {
            Self::Rejected(rejection) => rejection.code,
            Self::Failed { failure, .. } => failure.code,
        }
    }

    /// Returns the server that answered with this error, if one did.
    fn answered_by(&self) -> Option<usize> {
        match self {
            Self::Failed { failure, server } if failure.is_answer() => Some(*server),
            _ => None,
        }
    }
}

/// A degraded answer, which no server has just given.
struct Substitute {
    output: Output,
    kind: Answer,
}

pub(super) const CANCELLED: Rejection = Rejection { code: Code::Cancelled, cause: record::CANCELLED };
const NOT_READY: Rejection = Rejection { code: Code::DeadlineExceeded, cause: "no server was ready" };

impl<'a> Call<'a> {
    pub(super) fn new(client: &'a Arc<Shared>, request: &'a Request) -> Self {
        let begun = client.world.now();
        Self { client, request, begun, deadline: begun + client.settings.deadline, progress: Mutex::default() }
    }

    /// Runs the whole call.
    pub(super) async fn run(self) -> Response {
        if let Some(cached) = self.look_up() {
            return cached;
        }
        match self.send_attempts().await {
            Ok(Answered { output, server }) => {
                let is_lost = planted!(Bug::WrongAnswer) && self.progress().attempts > 1;
                let output = if is_lost { self.request.input.blank() } else { output };
                self.client.keep(&self.request.input, &output);
                self.response(Outcome::OK, Some(output), Some(server), None)
            }
            Err(error) => {
                self.event(Event::GiveUp).cause(error.code().name()).record();
                self.fall_back(&error)
                    .unwrap_or_else(|| self.response(Outcome::Status(error.code()), None, error.answered_by(), None))
            }
        }
    }

    /// Runs the attempts of the call: the part between the cache and the fallback.
    pub(super) async fn send_attempts(&self) -> Result<Answered, AttemptError> {
        self.client.chain.on_call_start(self.begun);
        match &self.client.settings.policies.hedging {
            None => self.with_retries().await,
            Some(hedging) => self.with_hedges(hedging).await,
        }
    }

    async fn with_retries(&self) -> Result<Answered, AttemptError> {
        let mut permit = None;
        let mut backoffs = 0;
        loop {
            let error = match self.attempt(false).await {
                Ok(answered) => return Ok(answered),
                Err(error) => error,
            };
            // The permit is for the attempt that has just ended. It is given back before another one is asked for, so that a
            // call holds one at a time.
            drop(permit.take());
            // A rejection ends the call: another attempt would only add to the load that the policy limits.
            let AttemptError::Failed { failure, server } = &error else { return Err(error) };
            if self.client.settings.retry.prefer_other_server {
                self.progress().tried.set(*server, true);
            }
            permit = self.next_retry(failure, &mut backoffs).await;
            if permit.is_none() {
                return Err(error);
            }
        }
    }

    /// Waits for the backoff before the next attempt and returns the permit for it, or `None` if there is no next attempt.
    /// `backoffs` counts the backoffs since a server last said how long to wait.
    async fn next_retry(&self, failure: &Failure, backoffs: &mut u32) -> Option<RetryPermit<'a>> {
        let attempts = self.progress().attempts;
        let client = self.client;
        let is_final = failure.cause == Cause::Cancelled || failure.pushback == Some(Pushback::Never);
        if is_final || !client.retry.allows(attempts, failure.code) {
            return None;
        }
        let permit = self.permit_retry()?;
        let backoff = match failure.pushback {
            // gRPC A6: the server's wait replaces the backoff, and the backoffs after it start again at the initial one.
            Some(Pushback::After(wait)) => {
                *backoffs = 0;
                wait
            }
            _ => {
                *backoffs += 1;
                let mut rng = client.entropy.stream_of("retry.backoff", &[self.request.id, u64::from(attempts)]);
                client.retry.backoff(*backoffs, &mut rng)
            }
        };
        let until = client.world.now() + backoff;
        // An attempt that starts at the deadline could not be answered before it.
        if until >= self.deadline {
            return None;
        }
        self.event(Event::Backoff).attempt(attempts).duration(backoff).record();
        if !backoff.is_zero() {
            select(client.world.sleep_until(until), pin!(client.cancellation.wait())).await;
        }
        Some(permit)
    }

    /// Asks the policies that limit retries and hedges for a permit.
    pub(super) fn permit_retry(&self) -> Option<RetryPermit<'a>> {
        let permit = self.client.chain.permit_retry();
        permit.inspect_err(|rejection| self.event(Event::Throttled).cause(rejection.cause).record()).ok()
    }

    /// Makes one attempt, behind the policies, at the server that the balancer picks.
    pub(super) async fn attempt(&self, is_hedge: bool) -> Result<Answered, AttemptError> {
        let client = self.client;
        if client.settings.wait_for_ready {
            self.until_ready().await?;
        }
        let mut permit = client.chain.begin_attempt(client.world.now());
        self.admitted(permit.admit_before_timeout(self.deadline)).await?;
        // The timeout starts now, so that waits at the policies outside of it do not shorten it.
        let attempt_timeout = permit.now() + client.settings.attempt_timeout;
        let timeout = planted!(Bug::ForgottenDeadline, attempt_timeout, else attempt_timeout.min(self.deadline));
        self.admitted(permit.admit_within_timeout(timeout)).await?;
        let sent = self.pick(is_hedge, &mut permit)?;
        let mut in_flight = client.in_flight(sent);

        let rpc = pin!(attempt::process(client, sent, &self.request.input, timeout));
        let mut result = match select(rpc, pin!(client.cancellation.wait())).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(Failure::new(Code::Cancelled, Cause::Cancelled)),
        };
        // The timeout was cut to the deadline, so it is the deadline that has passed.
        if let Err(Failure { cause: cause @ Cause::AttemptTimeout, .. }) = &mut result
            && timeout == self.deadline
        {
            *cause = Cause::CallDeadline;
        }
        let failure = result.as_ref().err();
        let now = client.world.now();
        self.record(sent, failure, now);
        client.health.observe(sent.server, failure);
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
            Ok(output) => Ok(Answered { output, server: sent.server }),
            Err(failure) => Err(AttemptError::Failed { failure, server: sent.server }),
        }
    }

    /// Waits for `admission`, or until the call is cancelled. A rejection is recorded.
    async fn admitted(&self, admission: impl Future<Output = Result<(), Rejection>>) -> Result<(), AttemptError> {
        // A cancelled call must not stay in a policy's queue.
        let cancelled = pin!(self.client.cancellation.wait());
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

    /// Picks a server, and counts the attempt as sent.
    fn pick(&self, is_hedge: bool, permit: &mut AttemptPermit<'_>) -> Result<SentAttempt, AttemptError> {
        let client = self.client;
        let mut progress = self.progress();
        let id = AttemptId { request: self.request.id, number: progress.attempts + 1 };
        let server = match client.pick(progress.tried, id, permit) {
            Ok(server) => server,
            Err(rejection) => {
                // `reject` locks it again.
                drop(progress);
                return Err(self.reject(rejection));
            }
        };
        // A hedge goes elsewhere by design, and is counted as a hedge.
        let is_failover = !is_hedge && progress.last.is_some_and(|last| last != server);
        progress.attempts = id.number;
        progress.last = Some(server);
        progress.hedges += u32::from(is_hedge);
        progress.failovers += u32::from(is_failover && !planted!(Bug::UncountedFailover));
        let sent = SentAttempt { id, server, at: permit.now() };
        // The next hedge goes to a server that the call has not asked yet.
        if client.settings.policies.hedging.is_some() {
            progress.tried.set(server, true);
            progress.pending.push(sent);
        }
        drop(progress);
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
        self.client.recorder.attempt(AttemptRow {
            request: id.request,
            attempt: id.number,
            server: name.clone(),
            start_us: at.as_micros(),
            end_us: now.as_micros(),
            status: failure.map_or(Code::Ok, |failure| failure.code),
            cause,
        });
    }

    /// Records the attempts still under way as superseded. Their futures are dropped with the call.
    pub(super) fn supersede_pending(&self) {
        let pending = self.progress().pending.clone();
        let superseded = Failure::new(Code::Cancelled, Cause::Superseded);
        let now = self.client.world.now();
        pending.into_iter().for_each(|sent| self.record(sent, Some(&superseded), now));
    }

    /// Answers the call from the cache, if it has an answer that is fresh, or stale and still accepted.
    fn look_up(&self) -> Option<Response> {
        let found = self.client.answers()?.look_up(&self.request.input, self.begun);
        let (substitute, renew) = match found {
            Lookup::Miss => return None,
            Lookup::Fresh(output) => (Substitute { output, kind: Answer::Cached }, false),
            Lookup::Stale { output, renew } => (Substitute { output, kind: Answer::Stale }, renew),
        };
        let cause = if substitute.kind == Answer::Stale { "stale" } else { "fresh" };
        self.event(Event::CacheHit).cause(cause).record();
        // The call has its answer already: the renewal is for later calls.
        if renew {
            self.client.renew(self.request.clone());
        }
        Some(self.substituted(substitute))
    }

    /// Answers the call with the fallback, if it has an answer for calls that fail with `error`.
    fn fall_back(&self, error: &AttemptError) -> Option<Response> {
        let fallback = self.client.settings.policies.fallback.as_ref()?;
        if !fallback.status_codes.contains(&error.code()) {
            return None;
        }
        let (substitute, name) = match fallback.kind {
            FallbackKind::Default => {
                (Substitute { output: self.request.input.blank(), kind: Answer::Fallback }, "default")
            }
            FallbackKind::Stale => {
                let output = self.client.answers()?.last_known(&self.request.input)?;
                (Substitute { output, kind: Answer::Stale }, "stale")
            }
        };
        self.event(Event::Fallback).cause(name).record();
        Some(self.substituted(substitute))
    }

    fn substituted(&self, Substitute { output, kind }: Substitute) -> Response {
        let fallback = self.client.settings.policies.fallback.as_ref();
        let is_success = kind == Answer::Cached || fallback.is_some_and(|fallback| fallback.counts_as_success);
        self.response(if is_success { Outcome::OK } else { Outcome::Degraded }, Some(output), None, Some(kind))
    }

    pub(super) fn event(&self, event: Event) -> EventBuilder<'a> {
        self.client.recorder.event(event).request(self.request.id)
    }

    fn event_at(&self, event: Event, at: Instant) -> EventBuilder<'a> {
        self.client.recorder.event_at(event, at).request(self.request.id)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.progress)
    }

    fn response(
        &self,
        outcome: Outcome,
        output: Option<Output>,
        server: Option<usize>,
        answer: Option<Answer>,
    ) -> Response {
        let Progress { attempts, failovers, hedges, rejected, tried, .. } = *self.progress();
        let is_wrong = planted!(Bug::WrongServer) && failovers > 0;
        let server = if is_wrong { server.and_then(|_| tried.iter().next()) } else { server };
        let server = server.map(|server| self.client.servers[server].name.clone());
        Response { outcome, output, server, attempts, failovers, hedges, rejected, answer }
    }
}

#[cfg(test)]
mod tests;
