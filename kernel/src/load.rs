//! The load generator: an open loop that follows one arrival schedule and never waits for replies.

mod schedule;

use std::{sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{
    client::{self, Client},
    entropy::Entropy,
    planted::planted,
    record::{Answer, Event, Recorder, RequestRow},
    scenario,
    status::Outcome,
    time::Instant,
    workload::{Input, Inputs, Oracle},
    world::SharedWorld,
};

pub use schedule::Schedule;

/// Offers load to a client.
pub struct Load {
    /// Where and when it does so.
    pub world: SharedWorld,
    /// Where arrivals and inputs are drawn from.
    pub entropy: Entropy,
    /// Where a row per intended request goes.
    pub recorder: Recorder,
    /// Who makes the calls.
    pub client: Client,
    /// What requests ask for.
    pub inputs: Inputs,
    /// Who knows the right answers.
    pub oracle: Arc<Oracle>,
    /// Rate, arrivals and bounds.
    pub settings: scenario::Load,
    /// Requests are intended from the start of the run to before here.
    pub duration: Duration,
}

impl Load {
    /// Follows the schedule until its end or until the client is cancelled, then waits until every call has ended.
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
        // Every call in flight holds a sender.
        let _ = idle.recv().await;
    }

    fn send(&self, id: u64, intended: Instant, input: Input, permit: OwnedSemaphorePermit, busy: mpsc::Sender<()>) {
        let (recorder, client, size) = (self.recorder.clone(), self.client.clone(), input.size());
        let oracle = self.oracle.clone();
        let call = async move {
            let sent = recorder.now();
            let response = client.call(client::Request { id, input: input.clone() }).await;
            let done = recorder.now();
            if !is_right(&oracle, &input, &response) {
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

/// Whether what the call came to, if that is a result and no stand-in for one, is the kernel's.
fn is_right(oracle: &Oracle, input: &Input, response: &client::Response) -> bool {
    let result = response.output.as_ref().filter(|_| response.answer != Some(Answer::Fallback));
    result.is_none_or(|output| oracle.confirms(input, output))
}

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
