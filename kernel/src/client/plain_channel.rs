//! A connection in the shape that tonic's generated clients take, without policies, and its errors on their way through tonic.

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use http::header::CONTENT_TYPE;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

use super::{
    connection::{self, SendError, Sender},
    failure::{Cause, Failure, failure_from_network},
};
use crate::{
    grpc::Exchange,
    policy::{PUSHBACK, Pushback},
    server::MESSAGE_BYTES_MAX,
    status::Code,
    time::Instant,
    transport::{HeaderFirst, is_grpc},
    world::{SharedWorld, Stream, timeout_at},
};

/// A connection as a service of tonic's clients, without a client's policies.
#[derive(Clone)]
pub struct PlainChannel {
    sender: Sender,
    headers: Option<Arc<Headers>>,
    is_streaming: bool,
    /// The most bytes of a message that it takes.
    message_bytes_max: usize,
}

/// The arrival of the headers of the reply to an attempt.
#[derive(Debug, Default)]
pub(super) struct Headers {
    have_arrived: AtomicBool,
    /// Number of the attempt, once it is sent.
    attempt: AtomicU32,
}

impl Headers {
    /// Notes that the attempt of this number is sent.
    pub(super) fn on_sent(&self, attempt: u32) {
        self.attempt.store(attempt, Ordering::Relaxed);
    }

    /// Returns the number of the attempt.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt.load(Ordering::Relaxed)
    }

    /// Returns true if headers have arrived that are no trailers at the same time: the server has begun to answer.
    pub(super) fn have_arrived(&self) -> bool {
        self.have_arrived.load(Ordering::Relaxed)
    }
}

impl PlainChannel {
    pub(super) fn new(sender: Sender) -> Self {
        Self { sender, headers: None, is_streaming: false, message_bytes_max: MESSAGE_BYTES_MAX }
    }

    /// Returns the channel, which notes the headers of replies in `headers`.
    pub(super) fn noting(self, headers: Option<Arc<Headers>>) -> Self {
        Self { headers, ..self }
    }

    /// Returns the channel that takes messages of at most `bytes`. A longer one fails a call with RESOURCE_EXHAUSTED.
    pub(super) fn taking(self, bytes: Option<usize>) -> Self {
        Self { message_bytes_max: bytes.unwrap_or(MESSAGE_BYTES_MAX).min(MESSAGE_BYTES_MAX), ..self }
    }

    /// Returns the channel for methods whose replies have several messages. One that has more than one fails a call with UNIMPLEMENTED
    /// otherwise.
    pub fn streaming(self) -> Self {
        Self { is_streaming: true, ..self }
    }

    /// Opens a channel over a fresh connection, without a client's policies. It lasts as long as `stream` does.
    ///
    /// # Errors
    ///
    /// Fails with UNAVAILABLE if the HTTP/2 handshake fails.
    pub async fn over(world: SharedWorld, stream: impl Stream + 'static) -> Result<Self, Failure> {
        let (sender, connection) = connection::handshake(&world, Box::new(stream), None)
            .await
            .map_err(|cause| Failure::new(Code::Unavailable, cause))?;
        world.spawn(Box::pin(async move {
            // The cause is not lost: every call on the connection fails with it.
            connection.await;
        }));
        Ok(Self::new(sender))
    }
}

impl tower_service::Service<http::Request<Body>> for PlainChannel {
    type Response = http::Response<ReplyBody>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    /// Returns that the channel is ready, always. A closed connection fails in `call`, with its cause; tonic would turn an
    /// error from here into UNKNOWN.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.sender.send(request);
        let headers = self.headers.clone();
        let has_one_message = !self.is_streaming;
        let message_bytes_max = self.message_bytes_max;
        Box::pin(async move {
            let reply = answer.await.map_err(|error| status_with(failure_from_network(&error)))?;
            check_head(&reply)?;
            // A reply of trailers alone has its status in the headers: it does not commit the call (gRPC A6).
            if let Some(headers) = headers.filter(|_| !reply.headers().contains_key(Status::GRPC_STATUS)) {
                headers.have_arrived.store(true, Ordering::Relaxed);
            }
            Ok(reply.map(|body| ReplyBody {
                body: HeaderFirst::reply(body, message_bytes_max, has_one_message),
                metered: None,
            }))
        })
    }
}

/// Checks that a reply comes from a gRPC server, and not from a proxy before it.
fn check_head<T>(reply: &http::Response<T>) -> Result<(), Status> {
    if reply.headers().contains_key(Status::GRPC_STATUS) {
        return Ok(());
    }
    if reply.status() != http::StatusCode::OK {
        let status = reply.status().as_u16();
        return Err(status_with(Failure::new(Code::from_http(status), Cause::HttpStatus(status))));
    }
    match reply.headers().get(CONTENT_TYPE) {
        Some(value) if !is_grpc(value) => {
            let cause = Cause::ContentType(String::from_utf8_lossy(value.as_bytes()).into_owned());
            Err(status_with(Failure::new(Code::Unknown, cause)))
        }
        _ => Ok(()),
    }
}

/// The body of a reply. Its errors keep their cause.
pub struct ReplyBody {
    body: HeaderFirst,
    /// Counts the attempt, if attempts are counted.
    metered: Option<Box<Exchange>>,
}

impl ReplyBody {
    /// Returns the same body, which `metered` follows to its end.
    pub(super) fn metered(self, metered: Box<Exchange>) -> Self {
        Self { metered: Some(metered), ..self }
    }
}

impl HttpBody for ReplyBody {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx).map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => status_with(failure_from_network(&SendError { error: *error, is_unsent: false })),
            Err(error) => Status::from_error(error),
        });
        if let (Poll::Ready(frame), Some(metered)) = (&frame, &mut self.metered) {
            metered.on_frame(frame.as_ref());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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

/// Returns a status that carries `failure`.
fn status_with(failure: Failure) -> Status {
    let mut status = Status::new(failure.code.into(), failure.cause.to_string());
    status.set_source(Arc::new(TransportError(failure)));
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
            unseen: None,
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
