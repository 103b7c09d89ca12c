//! Routing: which gRPC service answers a request, and the deadline it is answered within.

use std::{convert::Infallible, sync::Arc};

use http::{
    Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use hyper::body::Incoming;
use tonic::{Status, body::Body};
use tower_service::Service;

use super::{
    MESSAGE_BYTES_MAX,
    calls::Calls,
    deadline::{self, Deadline},
    health::HealthService,
    peers::Receiving,
    reflection::Reflection,
};
use crate::{
    proto::{health::health_server::HealthServer, reflection::server_reflection_server::ServerReflectionServer},
    transport::{HeaderFirst, TIMEOUT, has_token, is_grpc},
    world::{SharedWorld, Token, timeout_at},
};

/// The message of the UNAUTHENTICATED that answers a call without the token.
const NO_TOKEN: &str = "this server wants a token; set REHEARSAL_TOKEN or REHEARSAL_TOKEN_FILE to that of the server";

/// The gRPC services behind one connection.
pub(super) struct Routes {
    calls: Arc<Calls>,
    health: HealthServer<HealthService>,
    reflection: ServerReflectionServer<Reflection>,
    token: Option<Token>,
}

/// Largest message to the health and the reflection service, in bytes. It contains a name.
const NAME_MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// Memory that one header occupies besides its name and value, in bytes, as HTTP/2 counts it.
const HEADER_BYTES: usize = 32;

impl Routes {
    /// Creates the routes of one connection to the services of `calls`. Calls without `token`, if there is one, are refused.
    pub(super) fn new(calls: Arc<Calls>, health: HealthService, reflection: Reflection, token: Option<Token>) -> Self {
        let health = HealthServer::new(health).max_decoding_message_size(NAME_MESSAGE_BYTES_MAX);
        let reflection = ServerReflectionServer::new(reflection).max_decoding_message_size(NAME_MESSAGE_BYTES_MAX);
        Self { calls, health, reflection, token }
    }

    /// Answers `request`, with DEADLINE_EXCEEDED when the time of its `grpc-timeout` header is up first. `receiving` is what
    /// the connection holds for the request, until all of it has arrived.
    pub(super) async fn answer(
        self: Arc<Self>,
        world: SharedWorld,
        mut request: Request<Incoming>,
        receiving: Option<Receiving>,
    ) -> Result<Response<Body>, Infallible> {
        if self.token.as_ref().is_some_and(|token| !has_token(request.headers().get(AUTHORIZATION), token)) {
            return Ok(Status::unauthenticated(NO_TOKEN).into_http());
        }
        if !request.headers().get(CONTENT_TYPE).is_some_and(is_grpc) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Ok(response);
        }
        let at = match request.headers().get(TIMEOUT).map(|value| deadline::parse(value.as_bytes())) {
            None => None,
            Some(None) => return Ok(Status::internal(deadline::MALFORMED).into_http()),
            // The time counts from when the request was read: the time on the network is not known here.
            Some(Some(timeout)) => Some(world.now() + timeout),
        };
        if let Some(at) = at {
            request.extensions_mut().insert(Deadline(at));
        }
        // It is large, and HTTP/2 moves what it does not own yet.
        let answer = Box::pin(self.dispatch(request, receiving));
        let Some(at) = at else { return Ok(answer.await) };
        let answered = timeout_at(&*world, at, answer).await;
        Ok(answered.unwrap_or_else(|_| Status::deadline_exceeded("the call's deadline has passed").into_http()))
    }

    /// Passes `request` to the service that its path names. `poll_ready` is not called: tonic's servers are always ready.
    async fn dispatch(&self, mut request: Request<Incoming>, receiving: Option<Receiving>) -> Response<Body> {
        if Reflection::takes(request.uri().path()) {
            Reflection::name_current_package(&mut request);
            let request = request.map(|body| HeaderFirst::stream(body, NAME_MESSAGE_BYTES_MAX, receiving));
            let Ok(response) = self.reflection.clone().call(request).await;
            return response;
        }
        let is_health = request.uri().path().starts_with("/grpc.health.v1.Health/");
        let message_bytes_max = if is_health { NAME_MESSAGE_BYTES_MAX } else { MESSAGE_BYTES_MAX };
        if self.calls.streams_requests(request.uri().path()) {
            let request = request.map(|body| HeaderFirst::stream(body, message_bytes_max, receiving));
            return self.calls.answer(request).await;
        }
        let request = request.map(|body| HeaderFirst::request(body, message_bytes_max, receiving));
        if !is_health {
            return self.calls.answer(request).await;
        }
        let Ok(response) = self.health.clone().call(request).await;
        response
    }
}

/// Returns the memory that the headers of `request` occupy, in bytes.
pub(super) fn header_bytes<T>(request: &Request<T>) -> usize {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES);
    request.uri().path().len() + headers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_occupy_their_names_and_values_and_a_constant_each() {
        let bare = Request::builder().uri("/a/path").body(()).unwrap();
        assert_eq!(header_bytes(&bare), 7);
        let with = Request::builder().uri("/a/path").header("name", "value").header("x", "").body(()).unwrap();
        assert_eq!(header_bytes(&with), 7 + (4 + 5 + HEADER_BYTES) + (1 + HEADER_BYTES));
    }
}
