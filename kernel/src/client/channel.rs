//! A connection in the shape that tonic's generated clients take, and its errors on their way through tonic.

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

use super::{
    connection::{self, Sender},
    failure::{Cause, Failure, code_from_hyper},
};
use crate::{
    policy::{PUSHBACK, Pushback},
    server::MESSAGE_BYTES_MAX,
    status::Code,
    time::Instant,
    transport::HeaderFirst,
    world::{SharedWorld, Stream, timeout_at},
};

/// A connection as a service of tonic's clients.
#[derive(Clone)]
pub struct Channel {
    sender: Sender,
}

impl Channel {
    pub(super) fn new(sender: Sender) -> Self {
        Self { sender }
    }

    /// Opens a channel over a fresh connection, without a client's policies. It lasts as long as `stream` does.
    ///
    /// # Errors
    ///
    /// Fails with UNAVAILABLE if the HTTP/2 handshake fails.
    pub async fn over(world: SharedWorld, stream: impl Stream + 'static) -> Result<Self, Failure> {
        let (sender, connection) =
            connection::handshake(&world, stream).await.map_err(|cause| Failure::new(Code::Unavailable, cause))?;
        world.spawn(Box::pin(async move {
            // The cause is not lost: every call on the connection fails with it.
            connection.await;
        }));
        Ok(Self { sender })
    }
}

impl tower_service::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Reply>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    /// Returns that the channel is ready, always. A closed connection fails in `call`, with its cause; tonic would turn an
    /// error from here into UNKNOWN.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.sender.send(request);
        Box::pin(async move {
            answer
                .await
                .map(|reply| reply.map(|body| Reply(HeaderFirst::new(body, MESSAGE_BYTES_MAX))))
                .map_err(|error| network_status(&error))
        })
    }
}

/// The body of a reply. Its errors keep their cause.
pub struct Reply(HeaderFirst);

impl HttpBody for Reply {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(|error| network_status(&error))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A [`Failure`] of the network, carried through tonic as the source of a status.
#[derive(Debug)]
struct TransportError(Failure);

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.cause.fmt(f)
    }
}

impl StdError for TransportError {}

/// Returns a status that carries the failure behind `error`.
fn network_status(error: &hyper::Error) -> Status {
    let cause = Cause::from_hyper(error);
    let code = code_from_hyper(error);
    let mut status = Status::new(code.into(), cause.to_string());
    status.set_source(Arc::new(TransportError(Failure::new(code, cause))));
    status
}

/// Returns the failure of the network that `status` carries, or else the server's answer that it is.
pub(super) fn failure_from_status(status: &Status) -> Failure {
    match status.source().and_then(|source| source.downcast_ref::<TransportError>()) {
        Some(TransportError(failure)) => failure.clone(),
        None => Failure {
            code: status.code().into(),
            cause: Cause::Answer(status.message().to_owned()),
            pushback: status.metadata().get(PUSHBACK).map(|value| Pushback::parse(value.as_encoded_bytes())),
        },
    }
}

/// Returns the URI of every request. Its authority is arbitrary, as a connection leads to one server. It is parsed once.
pub(super) fn origin() -> http::Uri {
    static ORIGIN: LazyLock<http::Uri> = LazyLock::new(|| http::Uri::from_static("http://rehearsal"));
    ORIGIN.clone()
}

/// Waits for `rpc` until `timeout`, and fails with DEADLINE_EXCEEDED because of `late` then.
///
/// The future is taken pinned: a future that is passed by value is copied, and takes room again in each future that it passes
/// through.
pub(super) async fn within<T>(
    world: &SharedWorld,
    timeout: Instant,
    late: Cause,
    rpc: Pin<&mut impl Future<Output = Result<T, Failure>>>,
) -> Result<T, Failure> {
    match timeout_at(&**world, timeout, rpc).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(Code::DeadlineExceeded, late)),
    }
}
