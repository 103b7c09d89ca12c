//! A call: attempts, one after another.

use futures_util::future::{Either, select};

use super::{Request, Response, Shared, attempt, attempt::Cause, attempt::Failure};
use crate::{
    record::{AttemptRow, Event},
    status::Code,
    time::Instant,
    workload::Output,
};

/// A call under way.
pub(super) struct Call<'a> {
    client: &'a Shared,
    request: Request,
    deadline: Instant,
    /// Attempts begun.
    attempts: u32,
    failovers: u32,
    /// The last attempt's server.
    last: Option<usize>,
    failed_on: Vec<usize>,
}

impl<'a> Call<'a> {
    pub(super) fn new(client: &'a Shared, request: Request) -> Self {
        let deadline = client.world.now() + client.settings.deadline;
        Self { client, request, deadline, attempts: 0, failovers: 0, last: None, failed_on: Vec::new() }
    }

    pub(super) async fn run(mut self) -> Response {
        loop {
            let server = self.pick();
            let failure = match self.attempt(server).await {
                Ok(output) => return self.response(Code::Ok, Some(output), Some(server)),
                Err(failure) => failure,
            };
            self.failed_on.push(server);
            let last = failure.cause == Cause::Cancelled || !self.client.retry.allows(self.attempts, failure.code);
            if last || !self.back_off().await {
                self.event(Event::GiveUp).cause(failure.code.name()).record();
                let answered = failure.is_answer().then_some(server);
                return self.response(failure.code, None, answered);
            }
        }
    }

    fn pick(&mut self) -> usize {
        let server = self.client.pick(&self.failed_on);
        self.attempts += 1;
        let name = &self.client.servers[server].name;
        if self.last.is_some_and(|last| last != server) {
            self.failovers += 1;
            self.event(Event::Failover).attempt(self.attempts).target(name).record();
        }
        self.last = Some(server);
        self.event(Event::Pick).attempt(self.attempts).target(name).record();
        server
    }

    async fn attempt(&self, server: usize) -> Result<Output, Failure> {
        let client = self.client;
        let start = client.world.now();
        let timeout = (start + client.settings.attempt_timeout).min(self.deadline);
        let ids = (self.request.id, self.attempts);
        let rpc = std::pin::pin!(attempt::process(client, server, ids, &self.request.input, timeout));
        let mut result = match select(rpc, std::pin::pin!(client.cancellation.wait())).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(Failure::new(Code::Cancelled, Cause::Cancelled)),
        };
        if let Err(Failure { cause: cause @ Cause::AttemptTimeout, .. }) = &mut result
            && timeout == self.deadline
        {
            *cause = Cause::CallDeadline;
        }
        self.record(server, start, result.as_ref().err());
        client.health.observe(server, result.as_ref().err());
        result
    }

    /// Waits before the next attempt. False if the deadline would pass meanwhile.
    async fn back_off(&self) -> bool {
        let world = &self.client.world;
        let mut rng = self.client.entropy.stream_of("retry.backoff", &[self.request.id, u64::from(self.attempts)]);
        let backoff = self.client.retry.backoff(self.attempts, &mut rng);
        let until = world.now() + backoff;
        if until >= self.deadline {
            return false;
        }
        self.event(Event::Backoff).attempt(self.attempts).duration(backoff).record();
        if !backoff.is_zero() {
            select(world.sleep_until(until), std::pin::pin!(self.client.cancellation.wait())).await;
        }
        true
    }

    fn record(&self, server: usize, start: Instant, failure: Option<&Failure>) {
        let name = &self.client.servers[server].name;
        let cause = failure.map(|failure| failure.cause.to_string());
        if let Some(cause) = &cause {
            self.event(Event::AttemptFailed).attempt(self.attempts).target(name).cause(cause).record();
        }
        self.client.recorder.attempt(AttemptRow {
            request: self.request.id,
            attempt: self.attempts,
            server: name.clone(),
            start_us: start.as_micros(),
            end_us: self.client.world.now().as_micros(),
            status: failure.map_or(Code::Ok, |failure| failure.code),
            cause,
        });
    }

    fn event(&self, event: Event) -> crate::record::Draft<'a> {
        self.client.recorder.event(event).request(self.request.id)
    }

    fn response(&self, code: Code, output: Option<Output>, server: Option<usize>) -> Response {
        let server = server.map(|server| self.client.servers[server].name.clone());
        Response { code, output, server, attempts: self.attempts, failovers: self.failovers }
    }
}
