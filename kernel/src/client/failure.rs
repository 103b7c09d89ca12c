//! The reasons why attempts, health checks and connections fail, and the mapping of network errors to them.

use std::{error::Error as StdError, io};

use super::connection::SendError;
use crate::{
    policy::Pushback,
    record::{CANCELLED, SUPERSEDED},
    status::Code,
    tls::TlsError,
};

/// The failure of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The attempt's status.
    pub code: Code,
    /// The cause behind the status.
    pub cause: Cause,
    /// The server's request about the next attempt, if it makes one.
    pub pushback: Option<Pushback>,
    /// How it is known that no server has seen the attempt, if it is.
    pub unseen: Option<Unseen>,
}

/// How it is known that the application behind a server has not seen an attempt (gRPC A6, "transparent retries").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// The connection gave the request back: it never left the client.
    Unsent,
    /// The server's HTTP/2 library refused the stream: REFUSED_STREAM, or a GOAWAY with a lower last stream id.
    Refused,
}

/// The cause of a failure. The record holds its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// No process listens at the server's address.
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
    /// The handshake of TLS failed, or what arrived is not what the other end encrypted.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// A keepalive ping was not answered in time.
    #[error("keepalive timeout")]
    KeepaliveTimeout,
    /// The network failed otherwise.
    #[error("{0}")]
    Network(String),
    /// A reply that is not gRPC's.
    #[error("HTTP status {0}")]
    HttpStatus(u16),
    /// A reply with another content type than gRPC's.
    #[error("the reply's content type is {0:?}")]
    ContentType(String),
    /// The server reset the stream.
    #[error("stream reset: {0}")]
    StreamReset(String),
    /// No answer arrived within the attempt's timeout.
    #[error("attempt timeout")]
    AttemptTimeout,
    /// No answer arrived within an active check's timeout.
    #[error("health check timeout")]
    HealthCheckTimeout,
    /// No answer arrived before the call's deadline.
    #[error("call deadline")]
    CallDeadline,
    /// The client's owner cancelled the call.
    #[error("{CANCELLED}")]
    Cancelled,
    /// Another attempt of the call ended it first.
    #[error("{SUPERSEDED}")]
    Superseded,
    /// The server answered with this status message.
    #[error("{0}")]
    Answer(String),
    /// A reply that ends without its status, or within a message.
    #[error("the reply ends early")]
    Incomplete,
    /// The message of the request has more bytes than the client sends.
    #[error("the request has {bytes} bytes; max_request_message_bytes is {most}")]
    RequestTooLarge {
        /// The bytes of the message.
        bytes: usize,
        /// The most bytes that the client sends.
        most: usize,
    },
    /// The server's answer does not match the request.
    #[error("the reply is not the answer: {0}")]
    WrongReply(String),
}

impl Failure {
    pub(super) fn new(code: Code, cause: Cause) -> Self {
        Self { code, cause, pushback: None, unseen: None }
    }

    /// Returns true if a server sent this status, rather than the network failing or time running out.
    pub fn is_answer(&self) -> bool {
        matches!(self.cause, Cause::Answer(_))
    }
}

impl Cause {
    /// Returns true if the connection failed, or could not be opened, rather than one of its streams.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Self::ConnectionRefused
                | Self::ConnectionReset
                | Self::ConnectionClosed
                | Self::ConnectTimeout
                | Self::KeepaliveTimeout
                | Self::Tls(_)
                | Self::Network(_)
        )
    }

    pub(super) fn from_io(error: &io::Error) -> Self {
        if let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>()) {
            return Self::Tls(error.to_string());
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectionRefused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::ConnectionReset,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected => Self::ConnectionClosed,
            kind => Self::Network(kind.to_string()),
        }
    }

    pub(super) fn from_hyper(error: &hyper::Error) -> Self {
        if error.is_timeout() {
            return Self::KeepaliveTimeout;
        }
        if let Some(reason) = stream_reset(error) {
            return Self::StreamReset(reason.to_string());
        }
        match sources(error).find_map(|source| source.downcast_ref::<h2::Error>()) {
            Some(error) => error.get_io().map_or(Self::ConnectionClosed, Self::from_io),
            None => {
                sources(error).find_map(|source| source.downcast_ref()).map_or(Self::ConnectionClosed, Self::from_io)
            }
        }
    }
}

/// Returns the failure of an attempt that the network failed with `error`.
pub(super) fn failure_from_network(error: &SendError) -> Failure {
    let SendError { error, is_unsent } = error;
    let unseen = if *is_unsent { Some(Unseen::Unsent) } else { is_refused(error).then_some(Unseen::Refused) };
    Failure { unseen, ..Failure::new(code_from_hyper(error), Cause::from_hyper(error)) }
}

/// Returns whether the server's HTTP/2 library has refused the stream that failed with `error`.
fn is_refused(error: &hyper::Error) -> bool {
    let error = sources(error).find_map(|source| source.downcast_ref::<h2::Error>());
    error.is_some_and(|error| {
        let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        // Streams up to the id in the GOAWAY end by themselves; h2 fails those beyond it with the frame.
        error.is_remote() && (is_refused || error.is_go_away())
    })
}

/// Returns the status of an attempt that hyper failed with `error`.
pub(super) fn code_from_hyper(error: &hyper::Error) -> Code {
    stream_reset(error).map_or(Code::Unavailable, code_from_reset)
}

/// Returns the reason of a stream reset, if `error` is one.
fn stream_reset(error: &hyper::Error) -> Option<h2::Reason> {
    let error = sources(error).find_map(|source| source.downcast_ref::<h2::Error>())?;
    error.is_reset().then(|| error.reason()).flatten()
}

/// Iterates over the chain of errors below `error`.
fn sources(error: &hyper::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |error| (*error).source())
}

/// Maps the reason of a stream reset to a status, by the table "HTTP2 Transport Mapping, Errors" of the gRPC over HTTP/2 specification.
fn code_from_reset(reason: h2::Reason) -> Code {
    match reason {
        h2::Reason::REFUSED_STREAM => Code::Unavailable,
        h2::Reason::CANCEL => Code::Cancelled,
        h2::Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        h2::Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tonic::body::Body;

    use super::*;
    use crate::{
        client::connection::handshake,
        fuzzing::{host::over, network::Network},
    };

    #[test]
    fn each_kind_of_io_error_has_its_cause() {
        let cases = [
            (io::ErrorKind::ConnectionRefused, Cause::ConnectionRefused),
            (io::ErrorKind::ConnectionReset, Cause::ConnectionReset),
            (io::ErrorKind::BrokenPipe, Cause::ConnectionReset),
            (io::ErrorKind::UnexpectedEof, Cause::ConnectionClosed),
            (io::ErrorKind::NotConnected, Cause::ConnectionClosed),
            (io::ErrorKind::TimedOut, Cause::Network("timed out".to_owned())),
        ];
        for (kind, cause) in cases {
            assert_eq!(Cause::from_io(&kind.into()), cause, "{kind}");
        }
    }

    /// The specification's table.
    #[test]
    fn each_reason_of_a_stream_reset_has_its_status() {
        let cases = [
            (h2::Reason::NO_ERROR, Code::Internal),
            (h2::Reason::PROTOCOL_ERROR, Code::Internal),
            (h2::Reason::REFUSED_STREAM, Code::Unavailable),
            (h2::Reason::CANCEL, Code::Cancelled),
            (h2::Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
            (h2::Reason::INADEQUATE_SECURITY, Code::PermissionDenied),
        ];
        for (reason, code) in cases {
            assert_eq!(code_from_reset(reason), code, "{reason}");
        }
    }

    #[test]
    fn a_call_whose_stream_the_server_resets_fails_with_the_reason() {
        let network = Arc::new(Network::default());
        let world = network.host("client");
        for (reason, code) in
            [(h2::Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted), (h2::Reason::CANCEL, Code::Cancelled)]
        {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            world.spawn(Box::pin(async move {
                let mut server = h2::server::handshake(theirs).await.expect("the client speaks HTTP/2");
                while let Some(Ok((_, mut answer))) = server.accept().await {
                    answer.send_reset(reason);
                }
            }));
            let client = world.clone();
            let error = network.run(async move {
                let (mut sender, carries) =
                    handshake(&client, over(ours), None).await.expect("the server speaks HTTP/2");
                client.spawn(Box::pin(async move { drop(carries.await) }));
                let request = http::Request::post("http://server/call").body(Body::empty());
                sender.send(request.expect("it is valid")).await.expect_err("the stream is reset")
            });
            assert_eq!(failure_from_network(&error), Failure::new(code, Cause::StreamReset(reason.to_string())));
        }
    }
}
