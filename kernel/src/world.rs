//! The seam between the two worlds.
//!
//! Server, client, load generator and nemesis reach time, network, computing and tasks through a [`World`], and
//! randomness through [`Entropy`](crate::entropy::Entropy), and through nothing else. The simulation and the real
//! processes each implement it once; `.clippy.toml` forbids the ways around it.

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

/// One host's view of time, network, computing and tasks.
pub trait World: Send + Sync + 'static {
    /// The time since the run began.
    fn now(&self) -> Instant;

    /// Completes at `at`, at once if that is past.
    fn sleep_until(&self, at: Instant) -> Sleep;

    /// Runs `task` on this host, until it ends or the host does. A frozen host's tasks stand still.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Opens a byte stream to the server called `server`. What the scenario does to the network is not in here: `link`
    /// adds it.
    fn connect<'a>(&'a self, server: &'a str) -> BoxFuture<'a, io::Result<BoxStream>>;

    /// Accepts byte streams at this host's address.
    fn listen(&self) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;

    /// Runs the job's kernel, which takes what it takes: real time in one world, a modelled one in the other.
    fn compute(&self, job: Job) -> BoxFuture<'static, Output>;
}

/// A shared [`World`].
pub type SharedWorld = Arc<dyn World>;

/// Completes when its time has come.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a server's connections come from.
pub trait Listener: Send {
    /// The next connection. An error is final.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>>;
}

/// An ordered, reliable stream of bytes in both directions. Whole chunks may pass without being copied.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Reads some of what has arrived. Nothing is the end of the stream.
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>>;

    /// Writes some of `chunk`, which must not be empty, and takes it off its front.
    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>>;

    /// Whether it would rather be written chunks than slices now: it keeps what is written for as long as that is on its way,
    /// and has to copy slices.
    fn keeps_chunks(&self) -> bool {
        false
    }

    /// Makes dropping it a reset for the other end rather than the end of the stream, where the network knows of resets.
    fn abort(&mut self) {}
}

/// The bytes of `bufs` as one chunk, copied once.
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

/// The time was up first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time was up")]
pub struct Elapsed;

/// Runs `work` until `at` at the latest. Work that completes at `at` exactly is in time.
pub async fn timeout_at<T>(world: &dyn World, at: Instant, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut work = std::pin::pin!(work);
    let mut sleep = world.sleep_until(at);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}
