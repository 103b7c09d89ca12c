//! The load generator.

use std::{sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Schedule;
use crate::{
    client::{self, Client},
    entropy::Entropy,
    planted::planted,
    record::{Answer, Event, Recorder, RequestRow},
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
    /// Rate, kind of arrivals, and the largest number of requests in flight.
    pub settings: crate::load::settings::Load,
    /// Length of the schedule. The last request is intended before this time.
    pub duration: Duration,
}

impl LoadGenerator {
    /// Follows the schedule to its end or until the client is cancelled, then waits until every call has ended.
    pub async fn run(self) {
        let max_in_flight = self.settings.max_in_flight;
        let max_in_flight = planted!(Bug::CallTooMany, max_in_flight + 1, else max_in_flight);
        let in_flight = Arc::new(Semaphore::new(max_in_flight));
        let (busy, mut idle) = mpsc::channel::<()>(1);
        for (id, intended) in (0..).zip(Schedule::new(&self.settings, self.duration, self.entropy)) {
            let cancelled = std::pin::pin!(self.client.cancelled());
            if let Either::Right(_) = select(self.world.sleep_until(intended), cancelled).await {
                break;
            }
            let input = self.inputs.of_request(self.entropy, id);
            match in_flight.clone().try_acquire_owned() {
                Ok(permit) => self.send(id, intended, input, permit, busy.clone()),
                Err(_) => self.recorder.request(dropped(id, intended, &input)),
            }
        }
        drop(busy);
        // Every call in flight holds a sender, so the channel closes when the last one has ended.
        let _ = idle.recv().await;
    }

    /// Makes one call in a task of its own, and records its request.
    fn send(&self, id: u64, intended: Instant, input: Input, permit: OwnedSemaphorePermit, busy: mpsc::Sender<()>) {
        let recorder = self.recorder.clone();
        let client = self.client.clone();
        let size = input.size();
        let oracle = self.oracle.clone();
        let call = async move {
            let sent = recorder.now();
            let response = client.call(client::Request { id, input: input.clone() }).await;
            let done = recorder.now();
            if !has_right_output(&oracle, &input, &response) {
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
            });
            drop((permit, busy));
        };
        self.world.spawn(Box::pin(call));
    }
}

/// Returns true unless the response has a wrong output. A fallback response has no computed output, so it is not checked.
fn has_right_output(oracle: &Oracle, input: &Input, response: &client::Response) -> bool {
    let result = response.output.as_ref().filter(|_| response.answer != Some(Answer::Fallback));
    result.is_none_or(|output| oracle.confirms(input, output))
}

/// Returns the row of a request that was not sent, because as many as allowed were in flight.
fn dropped(id: u64, intended: Instant, input: &Input) -> RequestRow {
    RequestRow {
        id,
        intended_us: intended.as_micros(),
        sent_us: None,
        done_us: None,
        latency_us: None,
        status: Outcome::Dropped,
        server: None,
        attempts: 0,
        failovers: 0,
        size: input.size(),
        hedges: 0,
        rejected: false,
        answer: None,
    }
}

#[cfg(test)]
mod tests;
