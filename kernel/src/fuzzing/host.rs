//! A host in memory whose clock moves only when all of its tasks wait.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use crate::{
    sync::lock,
    time::Instant,
    world::{BoxFuture, BoxStream, Cost, Listener, Sleep, Stream, Work, World},
};

/// Number of bytes that a connection holds in each direction.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

/// Number of rounds in which tasks run at one instant, from which they count as never waiting.
const ROUNDS_MAX: u32 = 1_000_000;

/// A host, and the other end of its only connection.
#[derive(Default)]
pub(crate) struct MemoryHost {
    state: Mutex<State>,
}

type Tasks = FuturesUnordered<BoxFuture<'static, ()>>;

#[derive(Default)]
struct State {
    now: Instant,
    /// Tasks of the last run that have not ended. A fuzz target drops its tasks, which hold the host, with their run.
    #[cfg(test)]
    tasks: Tasks,
    /// Tasks that were spawned since the last round.
    spawned: Vec<BoxFuture<'static, ()>>,
    /// Tasks to wake, by time.
    timers: BTreeMap<Instant, Vec<Waker>>,
    /// The connection that `accept` or `connect` returns, once.
    connection: Option<BoxStream>,
    segment_gap: Duration,
}

impl MemoryHost {
    /// Creates a host with a connection, and returns the other end of that.
    pub(crate) fn new() -> (Arc<Self>, DuplexStream) {
        let (ours, theirs) = duplex(BUFFER_BYTES);
        let host = Self::default();
        host.state().connection = Some(over(ours));
        (Arc::new(host), theirs)
    }

    /// Takes the connection, if it has not been taken.
    pub(crate) fn connection(&self) -> Option<BoxStream> {
        self.state().connection.take()
    }

    /// Runs all tasks until each has ended or waits for ever, or the clock shows `end`.
    ///
    /// # Panics
    ///
    /// Panics if tasks run without end at one instant.
    pub(crate) fn run_until(&self, end: Instant) {
        self.run_while(&mut FuturesUnordered::new(), || true, end);
    }

    /// Runs all tasks until `task` has ended, and returns its result. The other tasks continue with the next run.
    ///
    /// # Panics
    ///
    /// Panics if tasks run without end at one instant, or if all of them wait for ever.
    #[cfg(test)]
    pub(crate) fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        let result = Arc::new(Mutex::new(None));
        let ended = result.clone();
        self.state().spawned.push(Box::pin(async move {
            let value = task.await;
            *lock(&ended) = Some(value);
        }));
        let mut tasks = std::mem::take(&mut self.state().tasks);
        self.run_while(&mut tasks, || lock(&result).is_none(), Instant::NEVER);
        self.state().tasks = tasks;
        let value = lock(&result).take();
        value.unwrap_or_else(|| panic!("the task waits for ever, at {}", self.state().now))
    }

    /// Runs `tasks` and those that are spawned while `continues` returns true, until each has ended or waits for ever, or the
    /// clock shows `end`.
    fn run_while(&self, tasks: &mut Tasks, continues: impl Fn() -> bool, end: Instant) {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let mut rounds = 0;
        while continues() {
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "the tasks run without end at {}", self.state().now);
            tasks.extend(std::mem::take(&mut self.state().spawned));
            let ended = tasks.poll_next_unpin(&mut cx);
            if matches!(ended, Poll::Ready(Some(()))) || woken.take() || !self.state().spawned.is_empty() {
                continue;
            }
            let Some((at, wakers)) = self.state().timers.pop_first() else { return };
            if at > end {
                return;
            }
            self.state().now = at;
            wakers.into_iter().for_each(Waker::wake);
            rounds = 0;
        }
    }

    /// Sets the clock to `at`, and wakes the tasks that wait for a time until then.
    #[cfg(test)]
    pub(crate) fn advance_to(&self, at: Instant) {
        let mut state = self.state();
        let later = state.timers.split_off(&(at + Duration::from_nanos(1)));
        let due = std::mem::replace(&mut state.timers, later);
        state.now = at;
        drop(state);
        due.into_values().flatten().for_each(Waker::wake);
    }

    /// Sets the time within which segments have left back to back.
    #[cfg(test)]
    pub(crate) fn set_segment_gap(&self, gap: Duration) {
        self.state().segment_gap = gap;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// True once a task was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Woken {
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The host as its tasks use it.
pub(crate) struct SharedHost(pub(crate) Arc<MemoryHost>);

#[cfg(test)]
impl SharedHost {
    /// Returns the time on the host's clock, in milliseconds since the start.
    pub(crate) fn now_millis(&self) -> u64 {
        self.now().as_nanos() / 1_000_000
    }
}

impl World for SharedHost {
    fn now(&self) -> Instant {
        self.0.state().now
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        let host = self.0.clone();
        Box::pin(std::future::poll_fn(move |cx| {
            let mut state = host.state();
            if state.now >= at {
                return Poll::Ready(());
            }
            state.timers.entry(at).or_default().push(cx.waker().clone());
            Poll::Pending
        }))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.state().spawned.push(task);
    }

    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async { self.0.connection().ok_or_else(|| io::ErrorKind::ConnectionRefused.into()) })
    }

    fn listen(&self) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        let host = self.0.clone();
        Box::pin(async { Ok(Box::new(OneConnection(host)) as Box<dyn Listener>) })
    }

    fn compute(&self, _: Cost<'_>, work: Work) -> BoxFuture<'static, ()> {
        Box::pin(async move { work() })
    }

    fn segment_gap(&self) -> Duration {
        self.0.state().segment_gap
    }
}

/// A listener that accepts the host's only connection.
struct OneConnection(Arc<MemoryHost>);

impl Listener for OneConnection {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async {
            match self.0.connection() {
                Some(connection) => Ok(connection),
                None => std::future::pending().await,
            }
        })
    }
}

/// Returns the connection whose bytes go through `pipe`.
pub(crate) fn over(pipe: DuplexStream) -> BoxStream {
    Box::new(Memory { pipe, read: BytesMut::new() })
}

/// A connection in memory.
struct Memory {
    pipe: DuplexStream,
    read: BytesMut,
}

impl Stream for Memory {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.read.resize(BUFFER_BYTES, 0);
        let mut buf = ReadBuf::new(&mut self.read);
        let read = Pin::new(&mut self.pipe).poll_read(cx, &mut buf);
        let filled = buf.filled().len();
        read.map_ok(|()| self.read.split_to(filled).freeze())
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_write(cx, chunk).map_ok(|written| drop(chunk.split_to(written)))
    }
}

impl AsyncRead for Memory {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buf)
    }
}

impl AsyncWrite for Memory {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}
