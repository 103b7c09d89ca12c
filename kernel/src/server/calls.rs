//! The layers between a connection and the services of a process: the identity of a call, injected errors, admission and workers.

use std::sync::Arc;

use http::{HeaderMap, Request, Response};
use http_body::Body as HttpBody;
use tonic::{Status, body::Body};

use super::{
    Injector,
    admission::refusal,
    counters::Counters,
    deadline::Deadline,
    metered,
    queue::PeerNumber,
    workers::{NotDone, Task, Workers},
};
use crate::{
    grpc::{Exchange, Pieces, Served, Services, collect},
    record::{AttemptId, Event, Recorder},
    time::Instant,
    transport::{ATTEMPTS_BEFORE, BodyError},
    world::SharedWorld,
};

/// The services of a process, behind its workers.
pub(super) struct Calls {
    world: SharedWorld,
    recorder: Recorder,
    workers: Workers,
    services: Services,
    injector: Arc<Injector>,
}

impl Calls {
    pub(super) fn new(
        world: SharedWorld,
        recorder: Recorder,
        workers: Workers,
        services: Services,
        injector: Arc<Injector>,
    ) -> Self {
        Self { world, recorder, workers, services, injector }
    }

    /// Returns whether the method at `path` takes another number of messages than one.
    pub(super) fn streams_requests(&self, path: &str) -> bool {
        self.services.shape(path).streams_requests()
    }

    /// Answers `request` by the service that its path names.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = bytes::Bytes, Error = BodyError> + Send + 'static,
    {
        let path = request.uri().path();
        let Some(served) = self.services.find(path).cloned() else {
            let names: Vec<_> = self.services.names().map(|name| format!("`{name}`")).collect();
            let served = if names.is_empty() { "no service".to_owned() } else { names.join(", ") };
            return Status::unimplemented(format!("nothing here implements `{path}`: the server has {served}"))
                .into_http();
        };
        if !served.occupies_worker(path) {
            return served.answer(request.map(Body::new)).await;
        }
        let deadline = request.extensions().get::<Deadline>().map_or(Instant::NEVER, |deadline| deadline.0);
        let mut call = metered::begin(&self.recorder, &self.services, path, deadline);
        let response = self.work(served, request, call.as_mut()).await.unwrap_or_else(Status::into_http);
        metered::respond(call, response)
    }

    /// Answers `request` by one of the workers, from its arrival to its result. `metered` counts the bytes of its messages, if there is one.
    async fn work<B>(
        &self,
        served: Arc<Served>,
        request: Request<B>,
        metered: Option<&mut Exchange>,
    ) -> Result<Response<Body>, Status>
    where
        B: HttpBody<Data = bytes::Bytes, Error = BodyError> + Send + 'static,
    {
        let (head, body) = request.into_parts();
        let shape = self.services.shape(head.uri.path());
        let (call, body) = if shape.streams_requests() {
            let body = Body::new(body);
            let body = if let Some(metered) = metered { metered.request_stream(body) } else { body };
            ((served.identify)(&head.headers, &Pieces::default()), body)
        } else {
            // A worker is not occupied by a message that has yet to arrive.
            let message = collect(body).await.map_err(Status::from_error)?;
            if message.message_count() != Some(1) {
                return Err(Status::internal("the request ends within its message"));
            }
            if let Some(metered) = metered {
                metered.request(message.only_message_bytes());
            }
            ((served.identify)(&head.headers, &message), Body::new(message))
        };
        let id = AttemptId { call, number: attempt_number(&head.headers) };
        Counters::count(&self.workers.counters().received);
        // An injected fault comes before all other checks: gRPC A33 delays and fails a call before it reaches the service.
        let injected = self.injector.injected_fault(id);
        if !injected.delay.is_zero() {
            self.world.sleep_until(self.world.now() + injected.delay).await;
        }
        if let Some(code) = injected.status {
            Counters::count(&self.workers.counters().aborted);
            self.recorder.event(Event::Aborted).of_attempt(id).cause(code.name()).record();
            return Err(Status::new(code.into(), "fault injected"));
        }
        let deadline = head.extensions.get::<Deadline>().map_or(Instant::NEVER, |deadline| deadline.0);
        let peer = head.extensions.get::<PeerNumber>().copied();
        let method = (!served.runs_to_end).then(|| head.uri.path().trim_start_matches('/').to_owned());
        let task = Task {
            id,
            may_stream: method.is_some() || shape.streams_replies(),
            method,
            answer: Box::new(move |occupancy| {
                let mut request = Request::from_parts(head, body);
                request.extensions_mut().insert(occupancy);
                served.answer(request)
            }),
        };
        self.workers.run(task, peer, deadline).await.map_err(|not_done| {
            if not_done == NotDone::Late {
                return Status::deadline_exceeded(not_done.to_string());
            }
            Counters::count(&self.workers.counters().refused);
            let cause = not_done.to_string();
            self.recorder.event(Event::Refused).of_attempt(id).cause(&cause).record();
            refusal(self.workers.admission().as_ref(), cause)
        })
    }
}

/// Returns the attempt's number within its call, from 1, by gRPC A6's header. A request without the header, or with a
/// malformed one, counts as the first attempt.
fn attempt_number(headers: &HeaderMap) -> u32 {
    let before = headers.get(ATTEMPTS_BEFORE).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    before.unwrap_or(0).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_an_attempt_is_that_of_the_header_plus_one() {
        for (header, attempt) in
            [(None, 1), (Some("0"), 1), (Some("4"), 5), (Some("x"), 1), (Some("4294967295"), u32::MAX)]
        {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(ATTEMPTS_BEFORE, header.parse().unwrap());
            }
            assert_eq!(attempt_number(&headers), attempt);
        }
    }
}
