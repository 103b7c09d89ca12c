//! The load generator.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Schedule, User};
use crate::{
    client::{self, Client},
    entropy::Entropy,
    planted::planted,
    record::{Answer, Event, Name, Recorder, RequestRow},
    status::Outcome,
    time::Instant,
    workload::{Input, Inputs, Oracle},
    world::SharedWorld,
};

/// Sends the requests of a run through a client.
pub struct LoadGenerator {
    /// The host of the load generator.
    pub world: SharedWorld,
    /// Randomness of arrivals and inputs.
    pub entropy: Entropy,
    /// Recorder of one row for each intended request.
    pub recorder: Recorder,
    /// The client that makes the calls.
    pub client: Client,
    /// Inputs of the requests.
    pub inputs: Inputs,
    /// Checker of the outputs.
    pub oracle: Arc<Oracle>,
    /// Rate, kind of arrivals, the largest number of requests in flight, users and stages.
    pub settings: crate::load::settings::Load,
    /// Length of the schedule. The last request is intended before this time.
    pub duration: Duration,
}

impl LoadGenerator {
    /// Follows the schedule and lets users call, to the end or until the client is cancelled, then waits until every call has
    /// ended.
    pub async fn run(self) {
        let max_in_flight = self.settings.max_in_flight;
        let max_in_flight = planted!(Bug::CallTooMany, max_in_flight + 1, else max_in_flight);
        let in_flight = Arc::new(Semaphore::new(max_in_flight));
        let (busy, mut idle) = mpsc::channel::<()>(1);
        let users = User::all(&self.settings, self.duration, self.entropy);
        let schedule = Schedule::new(&self.settings, self.duration, self.entropy);
        let running = Arc::new(Running { load: self, next_id: AtomicU64::new(0) });
        for (number, user) in (0..).zip(users) {
            let calls = running.clone().play_user(number, user, busy.clone());
            running.load.world.spawn(Box::pin(calls));
        }
        for intended in schedule {
            if running.is_cancelled_before(intended).await {
                break;
            }
            let request = running.request(intended, None);
            match in_flight.clone().try_acquire_owned() {
                Ok(permit) => running.send(request, permit, busy.clone()),
                Err(_) => running.load.recorder.request(request.dropped()),
            }
        }
        drop(busy);
        // Every call in flight holds a sender, so the channel closes when the last one has ended.
        let _ = idle.recv().await;
    }
}

/// A load that is being offered.
struct Running {
    load: LoadGenerator,
    /// The id of the next request.
    next_id: AtomicU64,
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
            let LoadGenerator { recorder, client, oracle, .. } = &self.load;
            let done = request.call(recorder, client, oracle).await;
            due = user.next(done);
        }
        drop(busy);
    }

    /// Waits until `intended`. Returns true if the client is cancelled before.
    async fn is_cancelled_before(&self, intended: Instant) -> bool {
        let cancelled = std::pin::pin!(self.load.client.cancelled());
        matches!(select(self.load.world.sleep_until(intended), cancelled).await, Either::Right(_))
    }

    /// Returns the next request, with the input that the seed gives it by its id.
    fn request(&self, intended: Instant, user: Option<u32>) -> Request {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let LoadGenerator { inputs, entropy, .. } = &self.load;
        let input = inputs.of_request(*entropy, id);
        let kind = inputs.kind_of_request(*entropy, id);
        Request { id, intended, input, kind, user }
    }

    /// Makes one call in a task of its own, and records its request.
    fn send(&self, request: Request, permit: OwnedSemaphorePermit, busy: mpsc::Sender<()>) {
        let recorder = self.load.recorder.clone();
        let client = self.load.client.clone();
        let oracle = self.load.oracle.clone();
        let call = async move {
            request.call(&recorder, &client, &oracle).await;
            drop((permit, busy));
        };
        self.load.world.spawn(Box::pin(call));
    }
}

/// A request of the load.
struct Request {
    id: u64,
    intended: Instant,
    input: Input,
    kind: Option<Name>,
    user: Option<u32>,
}

impl Request {
    /// Makes the call, and records the request. Returns when the call ended.
    async fn call(self, recorder: &Recorder, client: &Client, oracle: &Oracle) -> Instant {
        let Self { id, intended, input, kind, user } = self;
        let size = input.size();
        let sent = recorder.now();
        let response = client.call(client::Request { id, input: input.clone() }).await;
        let done = recorder.now();
        if !has_right_output(oracle, &input, &response) {
            recorder.event(Event::WrongResult).request(id).record();
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
        });
        done
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
            size: self.input.size(),
            hedges: 0,
            rejected: false,
            answer: None,
            kind: self.kind,
            user: self.user,
        }
    }
}

/// Returns true unless the response has a wrong output. A fallback response has no computed output, so it is not checked.
fn has_right_output(oracle: &Oracle, input: &Input, response: &client::Response) -> bool {
    let result = response.output.as_ref().filter(|_| response.answer != Some(Answer::Fallback));
    result.is_none_or(|output| oracle.confirms(input, output))
}

#[cfg(test)]
mod tests;
