//! One RPC to one server within its timeout, and why it failed.

use std::{
    error::Error as StdError,
    fmt, io,
    pin::{Pin, pin},
    sync::LazyLock,
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

use super::{
    Shared,
    connection::{self, Sender},
    rpc::{self, Envelope},
};
use crate::{
    policy::{PUSHBACK, Pushback},
    proto::{
        health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
        rehearsal::{rehearsal_client::RehearsalClient, rehearsal_server},
    },
    server::MESSAGE_BYTES_MAX,
    status::Code,
    time::Instant,
    transport::HeaderFirst,
    workload::{Input, Output},
    world::{SharedWorld, Stream, timeout_at},
};

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The attempt's status.
    pub code: Code,
    /// What lies behind it.
    pub cause: Cause,
    /// What the server asks of its caller's next attempt, if it says so.
    pub pushback: Option<Pushback>,
}

/// The cause of an attempt that another one of its call made needless, as the record has it.
pub(crate) const OUTRUN: &str = "another attempt was faster";

/// The cause of an attempt whose call was cancelled, likewise.
pub(crate) const CANCELLED: &str = "cancelled";

/// What lies behind a failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// Nobody listens there.
    #[error("connection refused")]
    ConnectionRefused,
    /// The connection broke.
    #[error("connection reset")]
    ConnectionReset,
    /// The connection was closed by the other side.
    #[error("connection closed")]
    ConnectionClosed,
    /// Opening the connection took too long.
    #[error("connect timeout")]
    ConnectTimeout,
    /// The network failed otherwise.
    #[error("{0}")]
    Network(String),
    /// The server reset the stream.
    #[error("stream reset: {0}")]
    StreamReset(String),
    /// No answer within the attempt's timeout.
    #[error("attempt timeout")]
    AttemptTimeout,
    /// No answer within an active check's timeout.
    #[error("health check timeout")]
    HealthCheckTimeout,
    /// No answer before the call's deadline.
    #[error("call deadline")]
    CallDeadline,
    /// The client's owner wants no more of it.
    #[error("{CANCELLED}")]
    Cancelled,
    /// Another attempt of the call has come to its end.
    #[error("{OUTRUN}")]
    Outrun,
    /// The server answered so.
    #[error("{0}")]
    Answer(String),
    /// The server's answer is not what was asked for.
    #[error("the reply is not the answer: {0}")]
    WrongReply(String),
}

impl Failure {
    pub(super) fn new(code: Code, cause: Cause) -> Self {
        Self { code, cause, pushback: None }
    }

    /// Whether a server gave this answer, rather than the way to it or the lack of one.
    pub fn is_answer(&self) -> bool {
        matches!(self.cause, Cause::Answer(_))
    }
}

/// Sends `input`, now, as attempt `number` of `request` to `server` and waits until `timeout`.
pub(super) async fn process(
    client: &Shared,
    server: usize,
    (request, number): (u64, u32),
    input: &Input,
    (now, timeout): (Instant, Instant),
) -> Result<Output, Failure> {
    let envelope = Envelope { request, attempt: number, timeout: client.timeouts.write(timeout.since(now)) };
    let rpc = pin!(async {
        let channel = Channel { sender: client.servers[server].connection.ready().await? };
        let stub = RehearsalClient::with_origin(channel, origin())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        rpc::ask(stub, envelope, input).await
    });
    within(client, timeout, Cause::AttemptTimeout, rpc).await
}

/// Asks `server` for its health and waits until `timeout`.
pub(super) async fn check_health(client: &Shared, server: usize, timeout: Instant) -> Result<(), Failure> {
    let left = timeout.since(client.world.now());
    let rpc = pin!(async { ask_health(client.servers[server].connection.ready().await?, left).await });
    within(client, timeout, Cause::HealthCheckTimeout, rpc).await
}

/// Asks for the health of the server at the other end. The server is told that the answer is of use for `timeout`.
pub(super) async fn ask_health(sender: Sender, timeout: Duration) -> Result<(), Failure> {
    let mut message = tonic::Request::new(HealthCheckRequest { service: rehearsal_server::SERVICE_NAME.to_owned() });
    message.set_timeout(timeout);
    let reply = HealthClient::with_origin(Channel { sender }, origin()).check(message).await;
    let status = reply.map_err(|status| failure(&status))?.into_inner().status();
    match status {
        ServingStatus::Serving => Ok(()),
        other => Err(Failure::new(Code::Unavailable, Cause::Answer(other.as_str_name().to_owned()))),
    }
}

/// What `rpc` comes to, or a failure because of `late` once it is `timeout`. It is pinned, as futures that go from hand to
/// hand are copied, and take as much room again at each.
async fn within<T>(
    client: &Shared,
    timeout: Instant,
    late: Cause,
    rpc: Pin<&mut impl Future<Output = Result<T, Failure>>>,
) -> Result<T, Failure> {
    let timed_out = |_| Err(Failure::new(Code::DeadlineExceeded, late));
    timeout_at(&*client.world, timeout, rpc).await.unwrap_or_else(timed_out)
}

/// The authority is of no consequence: a connection leads to one server. It is parsed once.
fn origin() -> http::Uri {
    static ORIGIN: LazyLock<http::Uri> = LazyLock::new(|| http::Uri::from_static("http://rehearsal"));
    ORIGIN.clone()
}

/// A connection as tonic's clients want it.
#[derive(Clone)]
pub struct Channel {
    sender: Sender,
}

impl Channel {
    /// A channel of its own over a fresh connection, without a client's policies. It lasts as long as `stream` does.
    pub async fn over(world: SharedWorld, stream: impl Stream + 'static) -> Result<Self, Failure> {
        let (sender, connection) =
            connection::handshake(&world, stream).await.map_err(|cause| Failure::new(Code::Unavailable, cause))?;
        world.spawn(Box::pin(async move {
            // Its calls say how it ended.
            connection.await;
        }));
        Ok(Self { sender })
    }
}

impl tower_service::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Reply>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    /// Always ready: of a closed connection the call tells, with its cause. tonic would make UNKNOWN of it here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.sender.send(request);
        Box::pin(async move {
            answer
                .await
                .map(|reply| reply.map(|body| Reply(HeaderFirst::new(body))))
                .map_err(|error| network_status(&error))
        })
    }
}

/// A reply's body, whose failures keep their cause.
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

/// Carries a [`Failure`] of the way to the server through tonic.
#[derive(Debug)]
struct OnTheWay(Failure);

impl fmt::Display for OnTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.cause.fmt(f)
    }
}

impl StdError for OnTheWay {}

fn network_status(error: &hyper::Error) -> Status {
    let cause = Cause::of_hyper(error);
    let code = stream_reset(error).map_or(Code::Unavailable, code_of_reset);
    let mut status = Status::new(code.into(), cause.to_string());
    status.set_source(std::sync::Arc::new(OnTheWay(Failure::new(code, cause))));
    status
}

pub(super) fn failure(status: &Status) -> Failure {
    match status.source().and_then(|source| source.downcast_ref::<OnTheWay>()) {
        Some(OnTheWay(failure)) => failure.clone(),
        None => Failure {
            code: status.code().into(),
            cause: Cause::Answer(status.message().to_owned()),
            pushback: status.metadata().get(PUSHBACK).map(|value| Pushback::parse(value.as_encoded_bytes())),
        },
    }
}

impl Cause {
    pub(super) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectionRefused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::ConnectionReset,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected => Self::ConnectionClosed,
            kind => Self::Network(kind.to_string()),
        }
    }

    pub(super) fn of_hyper(error: &hyper::Error) -> Self {
        if let Some(reason) = stream_reset(error) {
            return Self::StreamReset(reason.to_string());
        }
        match sources(error).find_map(|source| source.downcast_ref::<h2::Error>()) {
            Some(error) => error.get_io().map_or(Self::ConnectionClosed, Self::of_io),
            None => sources(error).find_map(|source| source.downcast_ref()).map_or(Self::ConnectionClosed, Self::of_io),
        }
    }
}

fn stream_reset(error: &hyper::Error) -> Option<h2::Reason> {
    let error = sources(error).find_map(|source| source.downcast_ref::<h2::Error>())?;
    error.is_reset().then(|| error.reason()).flatten()
}

fn sources(error: &hyper::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |error| (*error).source())
}

/// The table "HTTP2 Transport Mapping, Errors" of the gRPC over HTTP/2 specification.
fn code_of_reset(reason: h2::Reason) -> Code {
    match reason {
        h2::Reason::REFUSED_STREAM => Code::Unavailable,
        h2::Reason::CANCEL => Code::Cancelled,
        h2::Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        h2::Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    }
}
