use std::time::Duration;

use futures_util::{FutureExt, task::noop_waker_ref};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{super::Shape, *};
use crate::{
    entropy::Entropy,
    fuzzing::host::{MemoryHost, SharedHost, over},
    time::Instant,
};

const LATENCY: u64 = 10;

/// A client's end of a connection, and the peer's end of its socket.
struct Fixture {
    host: Arc<MemoryHost>,
    link: Arc<Link>,
    stream: ShapedStream,
    peer: DuplexStream,
}

impl Fixture {
    fn new(shape: Shape) -> Self {
        Self::with_buffer(shape, 64)
    }

    /// The socket holds `bytes` in each direction.
    fn with_buffer(shape: Shape, bytes: usize) -> Self {
        let host = MemoryHost::new().0;
        let link = Link::new(Arc::new(SharedHost(host.clone())), Entropy::new(1), "server-0");
        link.set_shape(shape);
        let (ours, peer) = duplex(bytes);
        let stream = ShapedStream::new(link.clone(), link.add_connection(1), 1, Way::To, over(ours));
        Self { host, link, stream, peer }
    }

    fn slow() -> Self {
        Self::new(slow())
    }

    fn advance_to(&self, millis: u64) {
        self.host.advance_to(Instant::START + Duration::from_millis(millis));
    }

    fn wire(&self) -> &Wire {
        self.stream.wire.as_ref().expect("it is open")
    }

    /// Writes, if the stream takes it.
    fn write(&mut self, bytes: &[u8]) -> Option<io::Result<usize>> {
        self.stream.write(bytes).now_or_never()
    }

    /// Reads what has arrived at this end, if anything has.
    fn read(&mut self) -> Option<io::Result<Vec<u8>>> {
        let mut buffer = [0; 16];
        let read = self.stream.read(&mut buffer).now_or_never()?;
        Some(read.map(|read| buffer[..read].to_vec()))
    }

    /// Reads a chunk that has arrived at this end, if one has.
    fn read_chunk(&mut self) -> Option<io::Result<Bytes>> {
        match self.stream.poll_read_chunk(&mut context()) {
            Poll::Ready(chunk) => Some(chunk),
            Poll::Pending => None,
        }
    }

    fn write_chunk(&mut self, bytes: &'static [u8]) -> Poll<io::Result<()>> {
        let mut chunk = Bytes::from_static(bytes);
        let written = self.stream.poll_write_chunk(&mut context(), &mut chunk);
        if let Poll::Ready(Ok(())) = written {
            assert!(chunk.is_empty(), "all of it fits");
        }
        written
    }

    /// Reads what the peer's socket has, if it has anything.
    fn peer_read(&mut self) -> Option<io::Result<Vec<u8>>> {
        let mut buffer = [0; 16];
        let read = self.peer.read(&mut buffer).now_or_never()?;
        Some(read.map(|read| buffer[..read].to_vec()))
    }

    fn peer_write(&mut self, bytes: &[u8]) {
        assert_eq!(self.peer.write(bytes).now_or_never().map(Result::ok), Some(Some(bytes.len())));
    }
}

fn slow() -> Shape {
    Shape { latency: Duration::from_millis(LATENCY), ..Shape::default() }
}

fn cut() -> Shape {
    Shape { cut_to: true, ..slow() }
}

fn context() -> Context<'static> {
    Context::from_waker(noop_waker_ref())
}

fn kind<T: std::fmt::Debug>(result: Option<io::Result<T>>) -> io::ErrorKind {
    result.expect("it is ready").expect_err("it fails").kind()
}

fn text(read: Option<io::Result<Vec<u8>>>) -> Option<String> {
    read.map(|read| String::from_utf8(read.expect("it reads")).expect("it is text"))
}

#[test]
fn bytes_pass_an_idle_link_straight() {
    let mut fixture = Fixture::new(Shape::default());
    assert_eq!(fixture.write(b"to").map(Result::ok), Some(Some(2)));
    assert_eq!(text(fixture.peer_read()).as_deref(), Some("to"));
    fixture.peer_write(b"from");
    assert_eq!(text(fixture.read()).as_deref(), Some("from"));
    assert!(matches!(fixture.write_chunk(b"chunk"), Poll::Ready(Ok(()))));
    assert_eq!(text(fixture.peer_read()).as_deref(), Some("chunk"));
    fixture.peer_write(b"back");
    assert_eq!(fixture.read_chunk().map(Result::ok), Some(Some(Bytes::from_static(b"back"))));
    assert!(fixture.stream.is_write_vectored());
    // What the reader does not take stays in the socket, and with it the peer's view of how much is read.
    fixture.peer_write(&[7; 20]);
    assert_eq!(fixture.read().map(|read| read.ok().map(|bytes| bytes.len())), Some(Some(16)));
    assert!(fixture.wire().incoming.is_empty());
}

#[test]
fn each_direction_has_the_latency_of_the_link() {
    let mut fixture = Fixture::slow();
    assert_eq!(fixture.write(b"to").map(Result::ok), Some(Some(2)));
    fixture.peer_write(b"from");
    assert_eq!(text(fixture.read()), None);
    fixture.advance_to(LATENCY - 1);
    assert_eq!((text(fixture.read()), text(fixture.peer_read())), (None, None));
    fixture.advance_to(LATENCY);
    assert_eq!(text(fixture.read()).as_deref(), Some("from"));
    assert_eq!(text(fixture.peer_read()).as_deref(), Some("to"));
}

#[test]
fn chunks_pass_as_they_are_and_the_end_is_an_empty_one() {
    let mut fixture = Fixture::slow();
    assert!(matches!(fixture.write_chunk(b"to"), Poll::Ready(Ok(()))));
    fixture.peer_write(b"from");
    assert!(fixture.peer.shutdown().now_or_never().is_some());
    assert!(fixture.read_chunk().is_none());
    fixture.advance_to(LATENCY);
    assert_eq!(fixture.read_chunk().map(Result::ok), Some(Some(Bytes::from_static(b"from"))));
    assert_eq!(text(fixture.peer_read()).as_deref(), Some("to"));
    for _ in 0..2 {
        assert_eq!(fixture.read_chunk().map(Result::ok), Some(Some(Bytes::new())), "the end stays");
    }
    assert_eq!(text(fixture.read()).as_deref(), Some(""));
}

#[test]
fn a_read_takes_what_fits_and_leaves_the_rest() {
    let mut fixture = Fixture::slow();
    fixture.peer_write(b"0123456789abcdefXYZ");
    assert_eq!(text(fixture.read()), None);
    fixture.peer_write(b"!");
    assert_eq!(text(fixture.read()), None);
    fixture.advance_to(LATENCY);
    assert_eq!(text(fixture.read()).as_deref(), Some("0123456789abcdef"));
    assert_eq!(text(fixture.read()).as_deref(), Some("XYZ!"), "one read takes several segments");
    assert_eq!(text(fixture.read()), None);
}

#[test]
fn a_stream_keeps_order_when_the_link_becomes_idle_while_bytes_are_on_their_way() {
    let mut fixture = Fixture::slow();
    fixture.write(b"first");
    fixture.peer_write(b"one");
    assert_eq!(text(fixture.read()), None);
    fixture.link.set_shape(Shape::default());
    fixture.write(b"second");
    fixture.peer_write(b"two");
    assert_eq!((text(fixture.read()), text(fixture.peer_read())), (None, None));
    fixture.advance_to(LATENCY);
    assert_eq!(text(fixture.read()).as_deref(), Some("onetwo"));
    assert_eq!(text(fixture.peer_read()).as_deref(), Some("firstsecond"));
}

#[test]
fn the_end_of_the_stream_arrives_behind_its_bytes_and_nothing_is_written_after_it() {
    let mut fixture = Fixture::slow();
    fixture.write(b"last");
    assert_eq!(fixture.stream.shutdown().now_or_never().map(Result::ok), Some(Some(())));
    assert_eq!(kind(fixture.write(b"more")), io::ErrorKind::BrokenPipe);
    assert!(
        matches!(fixture.write_chunk(b"more"), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe)
    );
    assert_eq!(
        fixture.stream.shutdown().now_or_never().map(Result::ok),
        Some(Some(())),
        "a second one changes nothing"
    );
    assert_eq!(text(fixture.peer_read()), None);
    fixture.advance_to(LATENCY);
    assert_eq!(text(fixture.read()), None);
    assert_eq!(text(fixture.peer_read()).as_deref(), Some("last"));
    assert_eq!(text(fixture.peer_read()).as_deref(), Some(""));
}

#[test]
fn a_flush_does_not_wait_for_bytes_on_their_way_and_drives_them() {
    let mut fixture = Fixture::slow();
    fixture.write(b"x");
    assert_eq!(fixture.stream.flush().now_or_never().map(Result::ok), Some(Some(())));
    assert_eq!(text(fixture.peer_read()), None);
    fixture.advance_to(LATENCY);
    assert_eq!(fixture.stream.flush().now_or_never().map(Result::ok), Some(Some(())));
    assert_eq!(text(fixture.peer_read()).as_deref(), Some("x"));
}

#[test]
fn writes_wait_while_the_send_buffer_is_full() {
    let mut fixture = Fixture::new(cut());
    let piece = vec![7; SEND_BUFFER - 1];
    assert_eq!(fixture.write(&piece).map(Result::ok), Some(Some(piece.len())));
    assert_eq!(fixture.write(b"x").map(Result::ok), Some(Some(1)), "there is room for a byte");
    assert!(fixture.write(b"x").is_none());
    assert!(fixture.write_chunk(b"x").is_pending());
    assert_eq!(fixture.stream.wire.as_ref().map(|wire| wire.outgoing.queued()), Some(SEND_BUFFER));
}

#[test]
fn the_socket_is_not_read_while_the_receive_buffer_is_full() {
    let mut fixture = Fixture::with_buffer(Shape { cut_from: true, ..Shape::default() }, RECEIVE_BUFFER + 10);
    let bytes = vec![7; RECEIVE_BUFFER + 10];
    fixture.peer_write(&bytes);
    assert!(fixture.read_chunk().is_none());
    let queued = fixture.stream.wire.as_ref().map(|wire| wire.incoming.queued());
    assert_eq!(queued, Some(RECEIVE_BUFFER), "which is a multiple of the chunks of a socket in memory");
    assert!(fixture.read_chunk().is_none());
    assert_eq!(fixture.stream.wire.as_ref().map(|wire| wire.incoming.queued()), Some(RECEIVE_BUFFER));
}

#[test]
fn a_peer_that_is_gone_is_reported_after_the_bytes_that_it_sent() {
    let mut fixture = Fixture::slow();
    fixture.peer_write(b"bye");
    let (_, gone) = duplex(1);
    drop(std::mem::replace(&mut fixture.peer, gone));
    // Not reported at once: the failure comes back through the link.
    assert_eq!(fixture.write(b"lost").map(Result::ok), Some(Some(4)));
    assert_eq!(text(fixture.read()), None);
    fixture.advance_to(LATENCY - 1);
    assert_eq!(fixture.write(b"lost").map(Result::ok), Some(Some(4)));
    fixture.advance_to(LATENCY);
    assert_eq!(text(fixture.read()).as_deref(), Some("bye"));
    assert_eq!(text(fixture.read()).as_deref(), Some(""));
    assert_eq!(kind(fixture.write(b"x")), io::ErrorKind::BrokenPipe);
    assert!(matches!(fixture.write_chunk(b"x"), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));
}

#[test]
fn a_reset_fails_both_ends_at_once() {
    let mut fixture = Fixture::slow();
    fixture.write(b"lost");
    fixture.peer_write(b"lost");
    fixture.link.reset();
    assert_eq!(kind(fixture.read()), io::ErrorKind::ConnectionReset);
    assert_eq!(kind(fixture.write(b"x")), io::ErrorKind::ConnectionReset);
    assert_eq!(kind(fixture.read_chunk()), io::ErrorKind::ConnectionReset);
    assert!(matches!(fixture.write_chunk(b"x"), Poll::Ready(Err(_))));
    assert_eq!(kind(fixture.stream.flush().now_or_never()), io::ErrorKind::ConnectionReset);
    assert_eq!(kind(fixture.stream.shutdown().now_or_never()), io::ErrorKind::ConnectionReset);
    assert!(!fixture.stream.keeps_chunks() && fixture.stream.arrivals().is_none());
    assert_eq!(text(fixture.peer_read()).as_deref(), Some(""), "the socket is closed");
}

#[test]
fn an_abort_passes_the_link_behind_the_bytes_before_it() {
    let mut fixture = Fixture::slow();
    fixture.write(b"last");
    fixture.stream.abort();
    assert_eq!(kind(fixture.write(b"more")), io::ErrorKind::BrokenPipe);
    fixture.advance_to(LATENCY);
    assert!(!fixture.stream.wire.as_ref().is_some_and(|wire| wire.ended));
    assert_eq!(text(fixture.read()), None);
    assert_eq!(text(fixture.peer_read()).as_deref(), Some("last"));
    assert!(fixture.stream.wire.as_ref().is_some_and(|wire| wire.ended && wire.outgoing.is_empty()));
}

#[test]
fn what_a_dropped_stream_has_sent_still_arrives_and_then_its_end() {
    let mut fixture = Fixture::slow();
    fixture.write(b"last");
    let Fixture { host, stream, mut peer, .. } = fixture;
    drop(stream);
    let arrived = host.run(async move {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).await.expect("the stream ends");
        bytes
    });
    assert_eq!(arrived, b"last");
    assert_eq!(SharedHost(host).now_millis(), LATENCY);
}

#[test]
fn a_dropped_stream_without_bytes_on_their_way_closes_at_once() {
    for shape in [Shape::default(), slow()] {
        let fixture = Fixture::new(shape);
        let is_idle = shape.is_none();
        let Fixture { host, stream, mut peer, .. } = fixture;
        drop(stream);
        host.run(async move { peer.read_to_end(&mut Vec::new()).await.expect("the stream ends") });
        assert_eq!(SharedHost(host).now_millis(), if is_idle { 0 } else { LATENCY });
    }
}

#[test]
fn a_reset_ends_the_task_of_a_dropped_stream() {
    let mut fixture = Fixture::new(cut());
    fixture.write(b"held");
    let Fixture { host, link, stream, mut peer } = fixture;
    drop(stream);
    // The task that holds the wire has registered itself.
    host.run(std::future::ready(()));
    link.reset();
    let arrived = host.run(async move { peer.read(&mut [0; 8]).await.expect("the stream ends") });
    assert_eq!((arrived, SharedHost(host).now_millis()), (0, 0));
}

#[test]
fn only_the_task_that_polled_last_is_woken() {
    use std::sync::atomic::AtomicUsize;
    #[derive(Default)]
    struct Count(AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut fixture = Fixture::slow();
    let counts = [Arc::new(Count::default()), Arc::new(Count::default())];
    for count in &counts {
        let waker = Waker::from(count.clone());
        assert!(fixture.stream.poll_read_chunk(&mut Context::from_waker(&waker)).is_pending());
    }
    fixture.link.set_shape(Shape::default());
    fixture.link.set_shape(slow());
    assert_eq!(counts.map(|count| count.0.load(Ordering::Relaxed)), [0, 1], "a waker is used once");
}

#[test]
fn chunks_are_kept_only_by_an_idle_link_over_a_socket_that_keeps_them() {
    assert!(!Fixture::new(Shape::default()).stream.keeps_chunks(), "a socket in memory copies");
    assert!(!Fixture::slow().stream.keeps_chunks());
}

#[test]
fn a_socket_that_takes_a_part_gets_the_rest_later() {
    let mut fixture = Fixture::slow();
    let bytes: Vec<u8> = (0..200).collect();
    assert_eq!(fixture.write(&bytes).map(Result::ok), Some(Some(200)));
    fixture.advance_to(LATENCY);
    let mut arrived = Vec::new();
    for _ in 0..30 {
        assert_eq!(text(fixture.read()), None);
        while let Some(Ok(part)) = fixture.peer_read() {
            arrived.extend(part);
        }
    }
    assert_eq!(arrived, bytes);
    assert_eq!(fixture.stream.wire.as_ref().map(|wire| wire.outgoing.queued()), Some(0));
}

#[test]
fn a_stream_that_is_dropped_after_its_first_bytes_have_passed_still_sends_the_others() {
    let mut fixture = Fixture::slow();
    fixture.write(b"first");
    fixture.advance_to(LATENCY - 1);
    fixture.write(b"second");
    fixture.advance_to(LATENCY);
    assert_eq!(text(fixture.read()), None);
    assert_eq!(text(fixture.peer_read()).as_deref(), Some("first"));
    let Fixture { host, stream, mut peer, .. } = fixture;
    drop(stream);
    let arrived = host.run(async move {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).await.expect("the stream ends");
        bytes
    });
    assert_eq!(arrived, b"second");
}

/// A socket that keeps chunks, counts what arrives and how often it is written to, and reads what it was created with.
struct Scripted {
    reads: std::collections::VecDeque<io::Result<Bytes>>,
    takes: Takes,
    arrivals: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
}

/// The part that a socket takes of a chunk that is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    All,
    Nothing,
    Error,
}

impl AsyncRead for Scripted {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for Scripted {
    fn poll_read_chunk(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.reads.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_write_chunk(&mut self, _: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        let writes = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(writes < 100, "the writer never gives up");
        match self.takes {
            Takes::All => chunk.clear(),
            Takes::Nothing => {}
            Takes::Error => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
        Poll::Ready(Ok(()))
    }

    fn keeps_chunks(&self) -> bool {
        true
    }

    fn arrivals(&self) -> Option<Arc<AtomicU64>> {
        Some(self.arrivals.clone())
    }

    fn is_reset(&self) -> bool {
        self.takes == Takes::Error
    }
}

fn scripted(shape: Shape, reads: Vec<io::Result<Bytes>>) -> Fixture {
    scripted_with(shape, reads, Takes::All).0
}

/// Returns the number of writes to the socket, too.
fn scripted_with(shape: Shape, reads: Vec<io::Result<Bytes>>, takes: Takes) -> (Fixture, Arc<AtomicU64>) {
    let mut fixture = Fixture::new(shape);
    let writes = Arc::default();
    let socket = Scripted { reads: reads.into(), takes, arrivals: Arc::new(7.into()), writes: Arc::clone(&writes) };
    fixture.stream.wire.as_mut().expect("it is open").socket = Box::new(socket);
    (fixture, writes)
}

#[test]
fn a_stream_keeps_chunks_as_its_socket_does_while_the_link_is_idle_and_counts_as_the_socket_does() {
    let fixture = scripted(Shape::default(), Vec::new());
    assert!(fixture.stream.keeps_chunks());
    fixture.link.set_shape(slow());
    assert!(!fixture.stream.keeps_chunks());
    assert_eq!(fixture.stream.arrivals().map(|arrivals| arrivals.load(Ordering::Relaxed)), Some(7));
}

#[test]
fn a_stream_is_reset_by_its_peer_if_its_socket_is() {
    for (takes, is_reset) in [(Takes::All, false), (Takes::Error, true)] {
        let fixture = scripted_with(Shape::default(), Vec::new(), takes).0;
        assert_eq!(fixture.stream.is_reset(), is_reset);
    }
}

#[test]
fn the_failure_of_a_socket_comes_after_the_bytes_before_it_and_stays() {
    let reads = || vec![Ok(Bytes::from_static(b"last")), Err(io::ErrorKind::ConnectionReset.into())];
    let mut fixture = scripted(slow(), reads());
    assert_eq!(text(fixture.read()), None);
    fixture.advance_to(LATENCY);
    assert_eq!(text(fixture.read()).as_deref(), Some("last"));
    for _ in 0..2 {
        assert_eq!(kind(fixture.read()), io::ErrorKind::ConnectionReset);
        assert_eq!(kind(fixture.read_chunk()), io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_chunk_passes_an_idle_link_while_those_behind_it_stay_in_the_socket() {
    let chunks = [b"one", b"two"].map(|chunk| Bytes::from_static(chunk));
    let mut fixture = scripted(Shape::default(), chunks.clone().map(Ok).into());
    for chunk in chunks {
        assert_eq!(fixture.read_chunk().map(Result::ok), Some(Some(chunk)));
        assert!(fixture.wire().incoming.is_empty());
    }
}

#[test]
fn a_socket_that_takes_nothing_is_not_written_to_again_and_fails_no_write_until_it_says_so() {
    for takes in [Takes::Nothing, Takes::Error] {
        let (mut fixture, writes) = scripted_with(slow(), Vec::new(), takes);
        for millis in [LATENCY, 2 * LATENCY, 3 * LATENCY] {
            assert_eq!(fixture.write(b"lost").map(Result::ok), Some(Some(4)), "{takes:?}");
            fixture.advance_to(millis);
            assert!(fixture.read_chunk().is_none());
            assert!(fixture.wire().broken && fixture.wire().outgoing.is_empty());
            assert_eq!(writes.load(Ordering::Relaxed), 1, "{takes:?}");
        }
    }
}

#[test]
fn a_dropped_stream_closes_its_socket_when_everything_has_passed_or_the_peer_is_gone() {
    for takes in [Takes::All, Takes::Error] {
        let (mut fixture, writes) = scripted_with(slow(), Vec::new(), takes);
        fixture.write(b"last");
        let Fixture { host, link, stream, .. } = fixture;
        drop(stream);
        host.run(std::future::ready(()));
        assert_eq!(Arc::strong_count(&writes), 2, "the task that writes the rest has the socket");
        host.run(link.world.sleep_until(Instant::START + Duration::from_millis(LATENCY + 1)));
        assert_eq!((Arc::strong_count(&writes), writes.load(Ordering::Relaxed)), (1, 1), "{takes:?}");
    }
}
