//! Routing: which gRPC service answers a request, and the deadline it is answered within.

use std::{convert::Infallible, pin::pin, sync::Arc};

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::{Status, body::Body};
use tower_service::Service;

use super::{
    deadline::{self, Deadline},
    health::HealthService,
    service::{MESSAGE_BYTES_MAX, Replica},
};
use crate::{
    proto::{health::health_server::HealthServer, rehearsal::rehearsal_server::RehearsalServer},
    transport::{HeaderFirst, TIMEOUT},
    world::{SharedWorld, timeout_at},
};

/// The gRPC services behind one connection.
#[derive(Clone)]
pub(super) struct Routes {
    rehearsal: RehearsalServer<Replica>,
    health: HealthServer<HealthService>,
}

impl Routes {
    /// Creates the routes of one connection to `replica`.
    pub(super) fn new(replica: Arc<Replica>, health: HealthService) -> Self {
        Self {
            rehearsal: RehearsalServer::from_arc(replica)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            health: HealthServer::new(health),
        }
    }

    /// Answers `request`, with DEADLINE_EXCEEDED when the time of its `grpc-timeout` header is up first.
    pub(super) async fn answer(
        self,
        world: SharedWorld,
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let at = match request.headers().get(TIMEOUT).map(|value| deadline::parse(value.as_bytes())) {
            None => None,
            Some(None) => return Ok(Status::invalid_argument(deadline::MALFORMED).into_http()),
            // The time counts from when the request was read: the time on the network is not known here.
            Some(Some(timeout)) => Some(world.now() + timeout),
        };
        if let Some(at) = at {
            request.extensions_mut().insert(Deadline(at));
        }
        let answer = pin!(self.dispatch(request));
        let Some(at) = at else { return Ok(answer.await) };
        let answered = timeout_at(&*world, at, answer).await;
        Ok(answered.unwrap_or_else(|_| Status::deadline_exceeded("the call's deadline has passed").into_http()))
    }

    /// Passes `request` to the service that its path names. `poll_ready` is not called: tonic's servers are always ready.
    async fn dispatch(mut self, request: Request<Incoming>) -> Response<Body> {
        let request = request.map(HeaderFirst::new);
        let answered: Result<_, Infallible> = if request.uri().path().starts_with("/grpc.health.v1.Health/") {
            self.health.call(request).await
        } else {
            self.rehearsal.call(request).await
        };
        answered.unwrap_or_else(|never| match never {})
    }
}
