//! hyper on the World's tasks and network, at both ends of a connection, and the headers of gRPC.
//!
//! tonic's own transport is not used, because its timeouts sleep on tokio's clock. Server and client time their deadlines and
//! connection attempts themselves; hyper has a timer, [`WorldTimer`], only for the pings of keepalive.
//!
//! * [`HeaderFirst`] saves one copy of each message that is received, and uses no memory for what was only announced;
//! * [`Io`] and [`Noted`] save one copy of each message that is sent, and [`Joined`] one more of a request in two pieces.

mod header_first;
mod payload;
mod timer;

use std::future::Future;

use futures_util::FutureExt;

pub(crate) use header_first::{BodyError, HeaderFirst, MESSAGE_HEADER_BYTES, WatchHeld};
pub(crate) use payload::{Io, Joined, LARGE, Noted, Payloads, Two};
pub(crate) use timer::WorldTimer;

use http::HeaderValue;

use crate::world::{SharedWorld, Token};

/// gRPC A6's header with the number of attempts of the call before this one.
pub(crate) const ATTEMPTS_BEFORE: &str = "grpc-previous-rpc-attempts";

/// gRPC's header with the time for which the caller waits.
pub(crate) const TIMEOUT: &str = "grpc-timeout";

/// Returns whether `value`, of the header `content-type`, is gRPC's: `application/grpc`, alone or with a format behind `+` or
/// parameters behind `;` (gRPC over HTTP/2).
pub(crate) fn is_grpc(value: &HeaderValue) -> bool {
    const PREFIX: &[u8] = b"application/grpc";
    let rest = value.as_bytes().get(PREFIX.len()..);
    let is_prefixed = value.as_bytes().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
    is_prefixed && rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The text before a token in the header `authorization` (RFC 6750).
const BEARER: &str = "Bearer ";

/// Returns the value of the header `authorization` with `token`.
pub(crate) fn bearer(token: &Token) -> HeaderValue {
    let value = HeaderValue::from_str(&format!("{BEARER}{}", token.reveal()));
    value.expect("a token consists of characters that a header can have")
}

/// Returns true if `value`, of the header `authorization`, has `token`.
pub(crate) fn has_token(value: Option<&HeaderValue>, token: &Token) -> bool {
    value.and_then(|value| value.as_bytes().strip_prefix(BEARER.as_bytes())).is_some_and(|text| token.matches(text))
}

/// Runs hyper's tasks on a World.
#[derive(Clone)]
pub(crate) struct Executor(pub(crate) SharedWorld);

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, task: F) {
        // `map`, because an async block that awaits the task would reserve memory for it twice.
        self.0.spawn(Box::pin(task.map(drop)));
    }
}
