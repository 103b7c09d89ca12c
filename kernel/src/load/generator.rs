//! The load generator.

mod changing;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::{Schedule, User};
use crate::{
    client::{self, Client},
    entropy::Entropy,
    load::settings::Load,
    planted::planted,
    record::{Event, Name, Recorder, RequestRow},
    status::Outcome,
    sync::lock,
    time::Instant,
    world::{BoxFuture, SharedWorld},
};

/// The requests of a load.
pub trait Requests: Send + Sync {
    /// Returns request `id`. Ids count from 0.
    fn request(&self, id: u64) -> LoadRequest;
}

/// A request of a load, before it is made.
pub struct LoadRequest {
    /// The size of what it asks for, as the record writes it.
    pub size: String,
    /// The name of its kind; `None` if all requests are alike.
    pub kind: Option<Name>,
    /// Makes its call. The error says why there is no result of one, which is a mistake of the load.
    pub call: Box<dyn FnOnce(Client) -> BoxFuture<'static, Result<Called, String>> + Send>,
}

/// A call of a load that has ended.
pub struct Called {
    /// The result of the call.
    pub response: client::Response,
    /// The mistake in the reply, if there is one although the status is OK.
    pub wrong: Option<String>,
    /// The time at which the call ended; `None` if it is now.
    pub done: Option<Instant>,
}

/// A load that cannot be offered as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("request {request} of the load: {what}")]
pub struct LoadError {
    /// The id of the request.
    pub request: u64,
    /// The mistake, and the remedy.
    pub what: String,
}

/// Sends the requests of a run through a client.
pub struct LoadGenerator {
    /// The host of the load generator.
    pub world: SharedWorld,
    /// Randomness of arrivals.
    pub entropy: Entropy,
    /// Recorder of one row for each intended request.
    pub recorder: Recorder,
    /// The client that makes the calls.
    pub client: Client,
    /// The requests that are sent.
    pub requests: Arc<dyn Requests>,
    /// Rate, kind of arrivals, the largest number of requests in flight, users and stages.
    pub settings: Load,
    /// Length of the schedule. The last request is intended before this time.
    pub duration: Duration,
}

impl LoadGenerator {
    /// Follows the schedule and lets users call, to the end or until the client is cancelled, then waits until every call has
    /// ended.
    ///
    /// # Errors
    ///
    /// Returns the first mistake of the load, which cancels the client.
    pub async fn run(self) -> Result<(), LoadError> {
        self.offer(None).await
    }

    /// Does as [`run`](Self::run) does, with the load of `loads`, which may change meanwhile: each has to be as the one before up to the time
    /// at which it is sent. The load ends at its `duration`, even if nothing is due any more, as a change may come until then.
    ///
    /// # Errors
    ///
    /// Returns the first mistake of the load, which cancels the client.
    pub async fn run_changing(self, loads: watch::Receiver<Load>) -> Result<(), LoadError> {
        self.offer(Some(loads)).await
    }

    async fn offer(self, loads: Option<watch::Receiver<Load>>) -> Result<(), LoadError> {
        let max_in_flight = self.settings.max_in_flight;
        let max_in_flight = planted!(Bug::CallTooMany, max_in_flight + 1, else max_in_flight);
        let in_flight = Arc::new(Semaphore::new(max_in_flight));
        let (busy, mut idle) = mpsc::channel::<()>(1);
        let users = User::all(&self.settings, self.duration, self.entropy);
        let mut schedule = Schedule::new(&self.settings, self.duration, self.entropy);
        let running = Arc::new(Running { load: self, next_id: AtomicU64::new(0), mistake: Mutex::default() });
        let mut changes = loads.map(|loads| running.follow(loads, users.len(), &busy));
        for (number, user) in (0..).zip(users) {
            match &changes {
                None => running.load.world.spawn(Box::pin(running.clone().play_user(number, user, busy.clone()))),
                Some(changes) => changes.play_user(number, user),
            }
        }
        loop {
            let next = match &mut changes {
                None => running.next_arrival(&mut schedule).await,
                Some(changes) => changes.next_arrival(&mut schedule).await,
            };
            let Some(intended) = next else { break };
            let request = running.request(intended, None);
            match in_flight.clone().try_acquire_owned() {
                Ok(permit) => running.send(request, permit, busy.clone()),
                Err(_) => running.load.recorder.request(request.dropped()),
            }
        }
        drop((busy, changes));
        // Every call in flight holds a sender, so the channel closes when the last one has ended.
        let _ = idle.recv().await;
        lock(&running.mistake).take().map_or(Ok(()), Err)
    }
}

/// A load that is being offered.
struct Running {
    load: LoadGenerator,
    /// The id of the next request.
    next_id: AtomicU64,
    mistake: Mutex<Option<LoadError>>,
}

impl Running {
    /// Makes the calls of a user, one after the other. The user has ended when `busy` is dropped.
    async fn play_user(self: Arc<Self>, number: u32, mut user: User, busy: mpsc::Sender<()>) {
        let mut due = user.first();
        while let Some(intended) = due {
            if self.is_cancelled_before(intended).await {
                break;
            }
            let request = self.request(intended, Some(number));
            let Some(done) = self.call(request).await else { break };
            due = user.next(done);
        }
        drop(busy);
    }

    /// Waits for the next arrival; `None` if there is no other, or the client is cancelled.
    async fn next_arrival(&self, schedule: &mut Schedule) -> Option<Instant> {
        let intended = schedule.next()?;
        (!self.is_cancelled_before(intended).await).then_some(intended)
    }

    /// Waits until `intended`. Returns true if the client is cancelled before.
    async fn is_cancelled_before(&self, intended: Instant) -> bool {
        let cancelled = std::pin::pin!(self.load.client.cancelled());
        matches!(select(self.load.world.sleep_until(intended), cancelled).await, Either::Right(_))
    }

    /// Returns the next request.
    fn request(&self, intended: Instant, user: Option<u32>) -> Request {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Request { id, intended, asked: self.load.requests.request(id), user }
    }

    /// Makes one call in a task of its own, and records its request.
    fn send(self: &Arc<Self>, request: Request, permit: OwnedSemaphorePermit, busy: mpsc::Sender<()>) {
        let running = self.clone();
        let call = async move {
            running.call(request).await;
            drop((permit, busy));
        };
        self.load.world.spawn(Box::pin(call));
    }

    /// Makes the call of `request`, and returns when it ended; `None` after a mistake of the load, which ends the load.
    async fn call(&self, request: Request) -> Option<Instant> {
        let LoadGenerator { recorder, client, .. } = &self.load;
        match request.call(recorder, client).await {
            Ok(done) => Some(done),
            Err(mistake) => {
                lock(&self.mistake).get_or_insert(mistake);
                client.cancel();
                None
            }
        }
    }
}

/// A request of the load.
struct Request {
    id: u64,
    intended: Instant,
    asked: LoadRequest,
    user: Option<u32>,
}

impl Request {
    /// Makes the call, and records the request. Returns when the call ended.
    async fn call(self, recorder: &Recorder, client: &Client) -> Result<Instant, LoadError> {
        let Self { id, intended, asked: LoadRequest { size, kind, call }, user } = self;
        let sent = recorder.now();
        let called = call(client.clone()).await;
        let Called { response, wrong, done } = called.map_err(|what| LoadError { request: id, what })?;
        let done = done.unwrap_or_else(|| recorder.now());
        if let Some(wrong) = wrong {
            recorder.event(Event::WrongResult).request(id).cause(&wrong).record();
        }
        recorder.request(RequestRow {
            id,
            intended_us: intended.as_micros(),
            sent_us: Some(sent.as_micros()),
            done_us: Some(done.as_micros()),
            latency_us: Some(done.as_micros() - intended.as_micros()),
            status: response.outcome,
            server: response.server,
            attempts: response.attempts,
            failovers: response.failovers,
            size,
            hedges: response.hedges,
            rejected: response.rejected,
            answer: response.answer,
            kind,
            user,
            stream: response.stream,
        });
        Ok(done)
    }

    /// Returns the row of the request if it is not sent, because as many as allowed are in flight.
    fn dropped(self) -> RequestRow {
        RequestRow {
            id: self.id,
            intended_us: self.intended.as_micros(),
            sent_us: None,
            done_us: None,
            latency_us: None,
            status: Outcome::Dropped,
            server: None,
            attempts: 0,
            failovers: 0,
            size: self.asked.size,
            hedges: 0,
            rejected: false,
            answer: None,
            kind: self.asked.kind,
            user: self.user,
            stream: None,
        }
    }
}

#[cfg(test)]
mod tests;
