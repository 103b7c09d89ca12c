//! HTTP/2 settings of both ends of a connection, and hyper on the World's tasks and network.
//!
//! tonic's own transport is not used, because its timeouts sleep on tokio's clock. hyper's own timer is not needed either:
//! server and client time their deadlines and connection attempts themselves, and keepalive is off.
//!
//! * [`HeaderFirst`] saves one copy of each message that is received;
//! * [`Io`] and [`Noted`] save one copy of each message that is sent.

mod header_first;
mod payload;

use std::future::Future;

use futures_util::FutureExt;

pub(crate) use header_first::HeaderFirst;
pub(crate) use payload::{Io, Noted, Payloads};

use crate::world::SharedWorld;

/// Flow-control window of one stream, in bytes.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Flow-control window of one connection, in bytes.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Largest DATA frame, in bytes. An image of up to one megapixel fits into one frame, so it is received without a copy.
pub(crate) const FRAME_BYTES_MAX: u32 = 1024 * 1024;

/// Largest number of concurrent calls on one connection. The server offers it, and the client assumes it until the
/// server's settings arrive.
pub(crate) const STREAMS_MAX: u32 = 1024;

/// gRPC A6's header with the number of attempts of the call before this one.
pub(crate) const ATTEMPTS_BEFORE: &str = "grpc-previous-rpc-attempts";

/// gRPC's header with the time for which the caller waits.
pub(crate) const TIMEOUT: &str = "grpc-timeout";

/// Runs hyper's tasks on a World.
#[derive(Clone)]
pub(crate) struct Executor(pub(crate) SharedWorld);

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, task: F) {
        // `map`, because an async block that awaits the task would reserve memory for it twice.
        self.0.spawn(Box::pin(task.map(drop)));
    }
}
