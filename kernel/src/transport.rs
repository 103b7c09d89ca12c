//! HTTP/2 as both ends of a connection set it up: hyper on the World's tasks and network.
//!
//! tonic's own transport is not used: its timeouts sleep on tokio's clock. hyper's own timer is not needed either,
//! because deadlines and connection attempts are timed by server and client, and keepalive is off.
//!
//! * [`HeaderFirst`] saves a copy of what comes from the network;
//! * [`Io`] and [`Noted`] save one of what goes there.

mod header_first;
mod payload;

use std::future::Future;

use futures_util::FutureExt;

pub(crate) use header_first::HeaderFirst;
pub(crate) use payload::{Io, Noted, Payloads};

use crate::world::SharedWorld;

/// Bytes of one stream that may be under way unacknowledged.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Bytes of one connection that may be under way unacknowledged.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// The largest DATA frame: an image of up to a megapixel goes in one, and is put together again without a copy.
pub(crate) const FRAME_BYTES_MAX: u32 = 1024 * 1024;

/// Calls at once on one connection, both as offered by the server and as assumed by the client before it knows.
pub(crate) const STREAMS_MAX: u32 = 1024;

/// gRPC A6's header: how many attempts of this call came before this one.
pub(crate) const ATTEMPTS_BEFORE: &str = "grpc-previous-rpc-attempts";

/// The header that says how long the caller waits.
pub(crate) const TIMEOUT: &str = "grpc-timeout";

/// Runs hyper's tasks on a World.
#[derive(Clone)]
pub(crate) struct Executor(pub(crate) SharedWorld);

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, task: F) {
        // An async block that awaits it would have room for it twice.
        self.0.spawn(Box::pin(task.map(drop)));
    }
}
