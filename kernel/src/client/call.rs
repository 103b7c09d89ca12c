//! A call: from the cache, or by attempts until one succeeds, or a fallback.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::{Either, select};

use super::{
    Request, Response, Shared, attempt,
    failure::{Cause, Failure},
};
use crate::{
    policy::{AttemptPermit, FallbackKind, Lookup, Pushback, Rejection, RetryPermit, Servers},
    record::{Answer, AttemptRow, Event, EventBuilder},
    status::{Code, Outcome},
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
    /// Attempts that hedge share it.
    progress: Mutex<Progress>,
}

/// How far a call has come.
#[derive(Default)]
struct Progress {
    /// Begun.
    attempts: u32,
    failovers: u32,
    /// Attempts that were hedges.
    hedges: u32,
    /// Whether a policy has turned an attempt down.
    rejected: bool,
    /// The last attempt's server.
    last: Option<usize>,
    /// Servers to avoid while there are others.
    tried: Servers,
    /// Those that are out, if the call hedges.
    out: Vec<Sent>,
}

/// An attempt that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    number: u32,
    server: usize,
    at: Instant,
}

/// An attempt that came to an answer: that, and whose it is.
pub(super) type Answered = (Output, usize);

/// An attempt that did not.
pub(super) enum Lost {
    /// It was not sent.
    Rejected(Rejection),
    /// It was, to this server.
    Failed(Failure, usize),
}

impl Lost {
    fn code(&self) -> Code {
        match self {
            Self::Rejected(rejection) => rejection.code,
            Self::Failed(failure, _) => failure.code,
        }
    }

    /// The server whose answer it is.
    fn answered_by(&self) -> Option<usize> {
        match self {
            Self::Failed(failure, server) if failure.is_answer() => Some(*server),
            _ => None,
        }
    }
}

pub(super) const CANCELLED: Rejection = Rejection { code: Code::Cancelled, cause: "cancelled" };
const NOT_READY: Rejection = Rejection { code: Code::DeadlineExceeded, cause: "no server was ready" };

impl<'a> Call<'a> {
    pub(super) fn new(client: &'a Arc<Shared>, request: &'a Request) -> Self {
        let begun = client.world.now();
        Self { client, request, begun, deadline: begun + client.settings.deadline, progress: Mutex::default() }
    }

    pub(super) async fn run(self) -> Response {
        if let Some(known) = self.look_up() {
            return known;
        }
        match self.make().await {
            Ok((output, server)) => {
                #[cfg(feature = "canaries")]
                let output = self.lost(output);
                self.client.keep(&self.request.input, &output);
                self.response(Outcome::OK, Some(output), Some(server), None)
            }
            Err(lost) => {
                self.event(Event::GiveUp).cause(lost.code().name()).record();
                self.fall_back(&lost)
                    .unwrap_or_else(|| self.response(Outcome::Status(lost.code()), None, lost.answered_by(), None))
            }
        }
    }

    /// Past the cache and short of the fallback.
    pub(super) async fn make(&self) -> Result<Answered, Lost> {
        self.client.chain.on_call_start(self.begun);
        match &self.client.settings.policies.hedging {
            None => self.retried().await,
            Some(hedging) => self.hedged(hedging).await,
        }
    }

    async fn retried(&self) -> Result<Answered, Lost> {
        let (mut permit, mut backoffs) = (None, 0);
        loop {
            let lost = match self.attempt(false).await {
                Ok(answered) => return Ok(answered),
                Err(lost) => lost,
            };
            drop(permit.take());
            let Lost::Failed(failure, server) = &lost else { return Err(lost) };
            if self.client.settings.retry.prefer_other_server {
                self.progress().tried.set(*server, true);
            }
            permit = self.another(failure, &mut backoffs).await;
            if permit.is_none() {
                return Err(lost);
            }
        }
    }

    /// Waits until it is time for another attempt, and returns a permit for it if there is to be one. `backoffs` counts those since the server last said when.
    async fn another(&self, failure: &Failure, backoffs: &mut u32) -> Option<RetryPermit<'a>> {
        let attempts = self.progress().attempts;
        let client = self.client;
        let refused = failure.cause == Cause::Cancelled || failure.pushback == Some(Pushback::Never);
        if refused || !client.retry.allows(attempts, failure.code) {
            return None;
        }
        let permit = self.permit_retry()?;
        let backoff = match failure.pushback {
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
        if until >= self.deadline {
            return None;
        }
        self.event(Event::Backoff).attempt(attempts).duration(backoff).record();
        if !backoff.is_zero() {
            select(client.world.sleep_until(until), pin!(client.cancellation.wait())).await;
        }
        Some(permit)
    }

    /// Asks the policies that limit retries and hedges.
    pub(super) fn permit_retry(&self) -> Option<RetryPermit<'a>> {
        let permit = self.client.chain.permit_retry();
        permit.inspect_err(|rejection| self.event(Event::Throttled).cause(rejection.cause).record()).ok()
    }

    /// One attempt behind the policies, wherever the balancer sends it.
    pub(super) async fn attempt(&self, hedge: bool) -> Result<Answered, Lost> {
        let client = self.client;
        if client.settings.wait_for_ready {
            self.until_ready().await?;
        }
        let mut permit = client.chain.begin_attempt(client.world.now());
        self.admitted(permit.admit_before_timeout(self.deadline)).await?;
        let own = permit.now() + client.settings.attempt_timeout;
        let timeout = own.min(self.deadline);
        #[cfg(feature = "canaries")]
        let timeout = if crate::bug::is(crate::bug::Bug::ForgottenDeadline) { own } else { timeout };
        self.admitted(permit.admit_within_timeout(timeout)).await?;
        let sent = self.pick(hedge, &mut permit)?;
        let Sent { server, number, .. } = sent;
        let mut in_flight = client.in_flight(server);

        let id = (self.request.id, number);
        let rpc = pin!(attempt::process(client, server, id, &self.request.input, (sent.at, timeout)));
        let mut result = match select(rpc, pin!(client.cancellation.wait())).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(Failure::new(Code::Cancelled, Cause::Cancelled)),
        };
        if let Err(Failure { cause: cause @ Cause::AttemptTimeout, .. }) = &mut result
            && timeout == self.deadline
        {
            *cause = Cause::CallDeadline;
        }
        let (failure, now) = (result.as_ref().err(), client.world.now());
        self.record(sent, failure, now);
        client.health.observe(server, failure);
        // Whoever gives a call up learns nothing of the server.
        if failure.is_none_or(|failure| failure.cause != Cause::Cancelled) {
            in_flight.ended = Some((now.since(sent.at), now));
            permit.finish(
                now,
                failure.map_or(Code::Ok, |failure| failure.code),
                failure.and_then(|failure| failure.pushback),
            );
        }
        match result {
            Ok(output) => Ok((output, server)),
            Err(failure) => Err(Lost::Failed(failure, server)),
        }
    }

    async fn admitted(&self, admission: impl Future<Output = Result<(), Rejection>>) -> Result<(), Lost> {
        let cancelled = pin!(self.client.cancellation.wait());
        match select(pin!(admission), cancelled).await {
            Either::Left((admitted, _)) => admitted.map_err(|rejection| self.reject(rejection)),
            Either::Right(_) => Err(Lost::Rejected(CANCELLED)),
        }
    }

    fn reject(&self, rejection: Rejection) -> Lost {
        self.progress().rejected = true;
        self.event(Event::Rejected).cause(rejection.cause).record();
        Lost::Rejected(rejection)
    }

    /// Waits until a server is connected, as gRPC's wait_for_ready does.
    async fn until_ready(&self) -> Result<(), Lost> {
        let client = self.client;
        if client.servers.iter().any(|server| server.connection.is_ready()) {
            return Ok(());
        }
        self.event(Event::Queued).cause("no server is ready").record();
        let ready = timeout_at(&*client.world, self.deadline, client.some_server_is_ready());
        self.admitted(async { ready.await.map_err(|_| NOT_READY) }).await
    }

    /// Chooses a server, and counts the attempt as begun.
    fn pick(&self, hedge: bool, permit: &mut AttemptPermit<'_>) -> Result<Sent, Lost> {
        let client = self.client;
        let mut progress = self.progress();
        let number = progress.attempts + 1;
        let server = match client.pick(progress.tried, (self.request.id, number), permit) {
            Ok(server) => server,
            Err(rejection) => {
                drop(progress);
                return Err(self.reject(rejection));
            }
        };
        let moves = !hedge && progress.last.is_some_and(|last| last != server);
        progress.attempts = number;
        progress.last = Some(server);
        progress.hedges += u32::from(hedge);
        #[cfg(feature = "canaries")]
        let counts = moves && !crate::bug::is(crate::bug::Bug::UncountedFailover);
        #[cfg(not(feature = "canaries"))]
        let counts = moves;
        progress.failovers += u32::from(counts);
        let sent = Sent { number, server, at: permit.now() };
        if client.settings.policies.hedging.is_some() {
            progress.tried.set(server, true);
            progress.out.push(sent);
        }
        drop(progress);
        let name = &client.servers[server].name;
        if hedge || moves {
            let event = if hedge { Event::Hedge } else { Event::Failover };
            self.event_at(event, sent.at).attempt(number).target(name).record();
        }
        self.event_at(Event::Pick, sent.at).attempt(number).target(name).record();
        Ok(sent)
    }

    fn record(&self, sent: Sent, failure: Option<&Failure>, now: Instant) {
        let Sent { number, server, at } = sent;
        if self.client.settings.policies.hedging.is_some() {
            self.progress().out.retain(|out| *out != sent);
        }
        let name = &self.client.servers[server].name;
        let cause = failure.map(|failure| failure.cause.to_string());
        if let Some(cause) = &cause {
            self.event_at(Event::AttemptFailed, now).attempt(number).target(name).cause(cause).record();
        }
        self.client.recorder.attempt(AttemptRow {
            request: self.request.id,
            attempt: number,
            server: name.clone(),
            start_us: at.as_micros(),
            end_us: now.as_micros(),
            status: failure.map_or(Code::Ok, |failure| failure.code),
            cause,
        });
    }

    /// The attempts that are still out are given up.
    pub(super) fn give_up_the_others(&self) {
        let out = self.progress().out.clone();
        let (superseded, now) = (Failure::new(Code::Cancelled, Cause::Superseded), self.client.world.now());
        out.into_iter().for_each(|sent| self.record(sent, Some(&superseded), now));
    }

    /// The cache's answer, if it has one that will do.
    fn look_up(&self) -> Option<Response> {
        let found = self.client.answers()?.look_up(&self.request.input, self.begun);
        let (output, kind, renew) = match found {
            Lookup::Miss => return None,
            Lookup::Fresh(output) => (output, Answer::Cached, false),
            Lookup::Stale { output, renew } => (output, Answer::Stale, renew),
        };
        self.event(Event::CacheHit).cause(if kind == Answer::Stale { "stale" } else { "fresh" }).record();
        if renew {
            self.client.renew(self.request.clone());
        }
        Some(self.degraded(output, kind))
    }

    /// The fallback's answer, if there is one to such a failure.
    fn fall_back(&self, lost: &Lost) -> Option<Response> {
        let fallback = self.client.settings.policies.fallback.as_ref()?;
        if !fallback.status_codes.contains(&lost.code()) {
            return None;
        }
        let (output, kind, name) = match fallback.kind {
            FallbackKind::Default => (self.request.input.blank(), Answer::Fallback, "default"),
            FallbackKind::Stale => (self.client.answers()?.last_known(&self.request.input)?, Answer::Stale, "stale"),
        };
        self.event(Event::Fallback).cause(name).record();
        Some(self.degraded(output, kind))
    }

    fn degraded(&self, output: Output, kind: Answer) -> Response {
        let fallback = self.client.settings.policies.fallback.as_ref();
        let counts = kind == Answer::Cached || fallback.is_some_and(|fallback| fallback.counts_as_success);
        self.response(if counts { Outcome::OK } else { Outcome::Degraded }, Some(output), None, Some(kind))
    }

    #[cfg(feature = "canaries")]
    fn lost(&self, output: Output) -> Output {
        let loses = crate::bug::is(crate::bug::Bug::WrongAnswer) && self.progress().attempts > 1;
        if loses { self.request.input.blank() } else { output }
    }

    pub(super) fn event(&self, event: Event) -> EventBuilder<'a> {
        self.client.recorder.event(event).request(self.request.id)
    }

    fn event_at(&self, event: Event, at: Instant) -> EventBuilder<'a> {
        self.client.recorder.event_at(event, at).request(self.request.id)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn response(
        &self,
        outcome: Outcome,
        output: Option<Output>,
        server: Option<usize>,
        answer: Option<Answer>,
    ) -> Response {
        let Progress { attempts, failovers, hedges, rejected, .. } = *self.progress();
        #[cfg(feature = "canaries")]
        let server = match server {
            Some(_) if failovers > 0 && crate::bug::is(crate::bug::Bug::WrongServer) => {
                self.progress().tried.iter().next()
            }
            server => server,
        };
        let server = server.map(|server| self.client.servers[server].name.clone());
        Response { outcome, output, server, attempts, failovers, hedges, rejected, answer }
    }
}
