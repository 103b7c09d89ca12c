//! The interface that both worlds, the simulation and the real processes, implement.
//!
//! Server, client, load generator and nemesis use time, network, computing and tasks only through a [`World`], and
//! randomness only through [`Entropy`](crate::entropy::Entropy). `.clippy.toml` forbids the calls that would bypass it.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    time::Instant,
    workload::{Job, Output},
};

/// Time, network, computing and tasks of one host.
pub trait World: Send + Sync + 'static {
    /// Returns the time on the clock of the run.
    fn now(&self) -> Instant;

    /// Returns a future that completes at `at`, or at once if that time has passed.
    fn sleep_until(&self, at: Instant) -> Sleep;

    /// Runs `task` on this host until the task ends or the host crashes. The tasks of a frozen host do not run.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Opens a byte stream to the server called `server`. The scenario's network and its faults are not part of it: `link`
    /// adds them.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection is refused or cannot be made.
    fn connect<'a>(&'a self, server: &'a str) -> BoxFuture<'a, io::Result<BoxStream>>;

    /// Listens at this host's address.
    ///
    /// # Errors
    ///
    /// Returns an error if the address cannot be used.
    fn listen(&self) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;

    /// Runs the job's workload function. It takes real time in one world, and a modelled time in the other.
    fn compute(&self, job: Job) -> BoxFuture<'static, Output>;
}

/// A shared [`World`].
pub type SharedWorld = Arc<dyn World>;

/// A future that completes at a certain time.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The source of a server's connections.
pub trait Listener: Send {
    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// Returns an error if no more connections can be accepted; a listener is not used after one.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>>;
}

/// An ordered, reliable stream of bytes in both directions. Chunks can pass without a copy.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Reads some of the bytes that have arrived. An empty chunk is the end of the stream.
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>>;

    /// Writes some bytes of `chunk`, which must not be empty, and removes them from its front.
    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>>;

    /// Returns true if the stream keeps written bytes until they have arrived, so that chunks are cheaper than slices, which
    /// it has to copy. The answer may change over time.
    fn keeps_chunks(&self) -> bool {
        false
    }

    /// Makes a later drop of the stream a reset for the other end instead of the end of the stream, if the network has resets.
    fn abort(&mut self) {}
}

/// Copies the bytes of `bufs` into one chunk.
pub fn gather(bufs: &[io::IoSlice<'_>]) -> Bytes {
    let mut chunk = BytesMut::with_capacity(bufs.iter().map(|buf| buf.len()).sum());
    bufs.iter().for_each(|buf| chunk.extend_from_slice(buf));
    chunk.freeze()
}

/// A boxed [`Stream`].
pub type BoxStream = Box<dyn Stream>;

impl Stream for BoxStream {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        (**self).poll_read_chunk(cx)
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        (**self).poll_write_chunk(cx, chunk)
    }

    fn keeps_chunks(&self) -> bool {
        (**self).keeps_chunks()
    }

    fn abort(&mut self) {
        (**self).abort();
    }
}

/// The error of work that was not complete in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time was up")]
pub struct Elapsed;

/// Runs `work` until `at` at the latest.
///
/// # Errors
///
/// Returns [`Elapsed`] if `work` is not complete at `at`. Work that completes exactly at `at` is in time.
pub async fn timeout_at<T>(world: &dyn World, at: Instant, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut work = std::pin::pin!(work);
    let mut sleep = world.sleep_until(at);
    // The work is polled first, so that a tie with the timer counts as in time.
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}
