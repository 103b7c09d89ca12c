//! A connection through a link: one lane in each direction around a socket.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    BurstLoss, ConnectionId, Link, PartialShape,
    lane::{Lane, Payload},
    shape::{Shape, Way},
};
use crate::{
    sync::lock,
    time::Instant,
    world::{BoxStream, Stream, gather},
};

/// Number of bytes on their way from which `poll_write` waits: Linux's largest send buffer, `tcp_wmem[2]`.
const SEND_BUFFER: usize = 4 * 1024 * 1024;

/// Number of bytes on their way from which the socket is not read: Linux's largest receive buffer, `tcp_rmem[2]`.
const RECEIVE_BUFFER: usize = 6 * 1024 * 1024;

/// A stream whose bytes go through a [`Link`].
///
/// Outgoing bytes wait in this object until they have passed the link. Polls write them to the socket, so writes make
/// progress only while the stream is polled for reading, as every HTTP/2 connection is, or for flushing.
pub struct ShapedStream {
    link: Arc<Link>,
    connection: Arc<Connection>,
    /// The socket and its lanes; `None` after a reset, and after the stream was dropped.
    wire: Option<Wire>,
}

/// A socket and the lanes around it.
struct Wire {
    socket: BoxStream,
    outgoing: Lane,
    incoming: Lane,
    /// True when the socket has returned its end or an error.
    read_all: bool,
    /// True when the socket takes no more bytes, because the peer is gone.
    broken: bool,
    /// True when the end of the outgoing stream was sent.
    ending: bool,
    /// True when the end of the outgoing stream has passed the link.
    ended: bool,
    /// True when TCP has given up this end's bytes.
    given_up: bool,
}

/// The part of a connection that the link holds, to shape, to reset and to wake it.
pub(super) struct Connection {
    id: ConnectionId,
    reset: AtomicBool,
    treatment: Mutex<Treatment>,
    reader: Mutex<Option<Waker>>,
}

/// The effects of the link on a connection. Arrays have one element for each [`Way`].
struct Treatment {
    effects: [Effect; 2],
    cuts: [Cut; 2],
    /// Time without an acknowledgement after which this end gives up, in its outgoing direction.
    user_timeout: Option<(Way, Duration)>,
}

/// The effects of the link on one direction of a connection.
#[derive(Clone)]
pub(super) struct Effect {
    /// All effects together.
    pub(super) shape: Shape,
    /// The effects of faults on some connections or in one direction, which are in `shape` but for their losses in bursts.
    pub(super) partial: Arc<[PartialShape]>,
}

impl Effect {
    /// Returns the effect of a link that does this to `all` connections, and these `partial` effects to the one.
    pub(super) fn new(all: Shape, partial: Arc<[PartialShape]>) -> Self {
        Self { shape: partial.iter().fold(all, |shape, partial| shape.and(partial.effect.shape)), partial }
    }

    /// Returns true if data has to be split into segments, because a segment's size matters.
    pub(super) fn splits(&self) -> bool {
        self.shape.splits() || self.bursts().next().is_some()
    }

    /// Returns the faults that lose segments in bursts.
    pub(super) fn bursts(&self) -> impl Iterator<Item = (u64, BurstLoss)> {
        bursts(&self.partial)
    }
}

/// Returns the faults that lose segments in bursts.
pub(super) fn bursts(partial: &[PartialShape]) -> impl Iterator<Item = (u64, BurstLoss)> {
    partial.iter().filter_map(|partial| Some((partial.fault, partial.effect.burst?)))
}

/// The last cut of one direction.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    /// True until it is over.
    pub(super) lasts: bool,
    pub(super) began: Instant,
    /// Time at which the last one that is over ended.
    pub(super) ended: Instant,
}

impl Connection {
    /// Creates the shared part of a connection that is open.
    pub(super) fn new(id: ConnectionId) -> Arc<Self> {
        let never = Cut { lasts: false, began: Instant::START, ended: Instant::START };
        let none = Effect::new(Shape::default(), Arc::new([]));
        let treatment = Treatment { effects: [none.clone(), none], cuts: [never; 2], user_timeout: None };
        Arc::new(Self { id, reset: AtomicBool::new(false), treatment: Mutex::new(treatment), reader: Mutex::new(None) })
    }

    /// Returns its positions among the connections of the link.
    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Applies `effects`, one for each [`Way`], from `now` on.
    pub(super) fn set_effects(&self, effects: [Effect; 2], now: Instant) {
        let mut treatment = lock(&self.treatment);
        if effects.iter().any(|effect| effect.shape.resets) {
            self.reset();
        }
        for way in [Way::To, Way::From] {
            let cuts = effects[way as usize].shape.cuts(way);
            let cut = &mut treatment.cuts[way as usize];
            match (cut.lasts, cuts) {
                (false, true) => cut.began = now,
                (true, false) => cut.ended = now,
                _ => {}
            }
            cut.lasts = cuts;
        }
        treatment.effects = effects;
    }

    /// Returns what the link does in the direction `way`.
    pub(super) fn effect(&self, way: Way) -> Effect {
        lock(&self.treatment).effects[way as usize].clone()
    }

    /// Returns the last cut in the direction `way`.
    pub(super) fn cut(&self, way: Way) -> Cut {
        lock(&self.treatment).cuts[way as usize]
    }

    /// Returns the time without an acknowledgement after which what is sent in the direction `way` is given up, if one is set.
    pub(super) fn user_timeout(&self, way: Way) -> Option<Duration> {
        lock(&self.treatment).user_timeout.filter(|(outgoing, _)| *outgoing == way).map(|(_, timeout)| timeout)
    }

    /// Makes the stream fail from its next poll on.
    pub(super) fn reset(&self) {
        self.reset.store(true, Ordering::Release);
    }

    /// Returns whether it is reset.
    pub(super) fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Acquire)
    }

    /// Wakes the task that polled the stream last.
    pub(super) fn wake(&self) {
        // Taken before it is called, so that the lock is free when the woken task polls.
        let reader = lock(&self.reader).take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Remembers the task of `cx` as the one to wake.
    fn register(&self, cx: &Context<'_>) {
        let mut reader = lock(&self.reader);
        if !reader.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *reader = Some(cx.waker().clone());
        }
    }
}

impl ShapedStream {
    /// Creates the stream of connection `number` around `socket`. Written bytes go in the direction `out`, which is to the
    /// server at a client's end and from the server at its own.
    pub(super) fn new(link: Arc<Link>, connection: Arc<Connection>, number: u64, out: Way, socket: BoxStream) -> Self {
        let wire = Wire {
            socket,
            outgoing: new_lane(&link, &connection, number, out),
            incoming: new_lane(&link, &connection, number, out.back()),
            read_all: false,
            broken: false,
            ending: false,
            ended: false,
            given_up: false,
        };
        Self { link, connection, wire: Some(wire) }
    }

    /// Sets the time for which bytes that were sent may lack an acknowledgement before the connection fails, as the socket option
    /// `TCP_USER_TIMEOUT` does; by default it fails after 15 retransmissions.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) {
        let way = self.wire.as_ref().map(|wire| wire.outgoing.way());
        lock(&self.connection.treatment).user_timeout = way.zip(timeout);
    }

    /// Returns the link and the wire after the bytes that have passed the link were written, or an error if the connection has been
    /// reset or given up.
    fn driven(&mut self, cx: &mut Context<'_>) -> io::Result<(&Link, &mut Wire)> {
        let (link, wire) = self.wire()?;
        wire.drive_outgoing(link, cx);
        if wire.given_up { Err(io::ErrorKind::TimedOut.into()) } else { Ok((link, wire)) }
    }

    /// Returns the link and the wire, or an error if the connection has been reset.
    fn wire(&mut self) -> io::Result<(&Link, &mut Wire)> {
        if self.connection.is_reset() {
            // Dropping the socket closes it, so that the other end sees the reset too.
            if let Some(mut wire) = self.wire.take() {
                wire.socket.abort();
            }
        }
        let wire = self.wire.as_mut().ok_or(io::ErrorKind::ConnectionReset)?;
        Ok((&self.link, wire))
    }
}

impl AsyncRead for ShapedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.connection.register(cx);
        let (link, wire) = self.driven(cx)?;
        if wire.passes_straight(link, &wire.incoming) && !wire.read_all {
            return Pin::new(&mut wire.socket).poll_read(cx, buf);
        }
        wire.fill_incoming(link, cx);
        wire.deliver(link, cx, buf)
    }
}

impl AsyncWrite for ShapedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (link, wire) = self.driven(cx)?;
        if wire.ending || wire.has_reported_failure(link) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if wire.passes_straight(link, &wire.outgoing) {
            return Pin::new(&mut wire.socket).poll_write_vectored(cx, bufs);
        }
        if wire.outgoing.queued() >= SEND_BUFFER {
            return Poll::Pending;
        }
        let bytes = gather(bufs);
        let taken = bytes.len();
        wire.outgoing.push(link, Payload::Data(bytes));
        wire.drive_outgoing(link, cx);
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Flushes the socket. Bytes on their way through the link count as sent.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.register(cx);
        let (_, wire) = self.driven(cx)?;
        Pin::new(&mut wire.socket).poll_flush(cx)
    }

    /// Completes when the end of the stream was sent, as the `shutdown` of a socket does. Bytes on their way are written later.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.register(cx);
        let (link, wire) = self.wire()?;
        wire.send_end(link);
        wire.drive_outgoing(link, cx);
        Poll::Ready(Ok(()))
    }
}

impl Stream for ShapedStream {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.connection.register(cx);
        let (link, wire) = self.driven(cx)?;
        if wire.passes_straight(link, &wire.incoming) && !wire.read_all {
            return wire.socket.poll_read_chunk(cx);
        }
        wire.fill_incoming(link, cx);
        wire.deliver_chunk(link, cx)
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        let (link, wire) = self.driven(cx)?;
        if wire.ending || wire.has_reported_failure(link) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if wire.passes_straight(link, &wire.outgoing) {
            return wire.socket.poll_write_chunk(cx, chunk);
        }
        if wire.outgoing.queued() >= SEND_BUFFER {
            return Poll::Pending;
        }
        wire.outgoing.push(link, Payload::Data(std::mem::take(chunk)));
        wire.drive_outgoing(link, cx);
        Poll::Ready(Ok(()))
    }

    /// Returns the socket's answer while the link does nothing. Otherwise it returns false: bytes that are written together
    /// have to be lost or held together, with any socket.
    fn keeps_chunks(&self) -> bool {
        self.wire
            .as_ref()
            .is_some_and(|wire| wire.passes_straight(&self.link, &wire.outgoing) && wire.socket.keeps_chunks())
    }

    /// Sends a reset through the link, behind the bytes that were written before.
    fn abort(&mut self) {
        if let Ok((link, wire)) = self.wire() {
            wire.ending = true;
            wire.ended = false;
            wire.outgoing.push(link, Payload::Failure(io::ErrorKind::ConnectionReset.into()));
        }
    }

    /// Returns the socket's count: bytes that the link holds or loses are not the peer's silence.
    fn arrivals(&self) -> Option<Arc<AtomicU64>> {
        self.wire.as_ref().and_then(|wire| wire.socket.arrivals())
    }

    fn is_reset(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.socket.is_reset())
    }
}

/// Creates the lane of connection `number` in the direction `way`, with a random stream of its own.
fn new_lane(link: &Link, connection: &Arc<Connection>, number: u64, way: Way) -> Lane {
    Lane::new(connection.clone(), way, link.entropy.stream_of("link.lane", &[link.fingerprint(), number, way as u64]))
}

impl Wire {
    /// Returns true if the link does nothing and `lane` is empty, so that bytes bypass the lane.
    fn passes_straight(&self, link: &Link, lane: &Lane) -> bool {
        lane.is_empty() && link.is_idle()
    }

    /// Writes the bytes that have passed the link to the socket.
    ///
    /// A failed write is not reported to this end at once. A socket that takes no more bytes soon returns its end or an
    /// error to the reader, and that comes back through the link, behind the bytes that the peer sent before.
    fn drive_outgoing(&mut self, link: &Link, cx: &mut Context<'_>) {
        if self.outgoing.is_empty() {
            return;
        }
        while let Poll::Ready(payload) = self.outgoing.poll_arrival(link, cx) {
            let done = match payload {
                Payload::Data(bytes) if !self.broken => {
                    let length = bytes.len();
                    self.socket.poll_write_chunk(cx, bytes).map_ok(|()| length - bytes.len())
                }
                Payload::Data(_) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Payload::End => Pin::new(&mut self.socket).poll_shutdown(cx).map_ok(|()| 0),
                Payload::Failure(_) => {
                    self.socket.abort();
                    Poll::Ready(Ok(0))
                }
                Payload::GivenUp => {
                    self.given_up = true;
                    self.ending = true;
                    self.outgoing.clear();
                    // The operating system has forgotten the connection: it answers what the peer sends with a reset, once that passes.
                    self.outgoing.push(link, Payload::Failure(io::ErrorKind::ConnectionReset.into()));
                    continue;
                }
            };
            let is_end = !matches!(payload, Payload::Data(_));
            match done {
                Poll::Pending => return,
                Poll::Ready(Ok(written)) if written > 0 || is_end => self.outgoing.consumed(written),
                Poll::Ready(Ok(_) | Err(_)) => {
                    self.broken = true;
                    self.outgoing.clear();
                }
            }
            self.ended |= is_end;
        }
    }

    /// Returns true if the failure of the connection has come back through the link.
    fn has_reported_failure(&self, link: &Link) -> bool {
        self.broken && self.read_all && self.incoming.has_arrived(link.world.now())
    }

    /// Moves the bytes that the socket holds into the incoming lane.
    fn fill_incoming(&mut self, link: &Link, cx: &mut Context<'_>) {
        while !self.read_all && self.incoming.queued() < RECEIVE_BUFFER {
            let Poll::Ready(read) = self.socket.poll_read_chunk(cx) else { return };
            let payload = match read {
                Ok(bytes) if bytes.is_empty() => Payload::End,
                Ok(bytes) => Payload::Data(bytes),
                Err(error) => Payload::Failure(error),
            };
            self.read_all = !matches!(payload, Payload::Data(_));
            self.incoming.push(link, payload);
        }
    }

    /// Copies the bytes that have passed the link into `buf`.
    fn deliver(&mut self, link: &Link, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut delivered = false;
        while buf.remaining() > 0 {
            match self.incoming.poll_arrival(link, cx) {
                Poll::Pending => break,
                Poll::Ready(Payload::Data(bytes)) => {
                    let taken = bytes.len().min(buf.remaining());
                    buf.put_slice(&bytes[..taken]);
                    bytes.advance(taken);
                    self.incoming.consumed(taken);
                }
                // Not consumed, so that every later read returns the end again.
                Poll::Ready(Payload::End) => return Poll::Ready(Ok(())),
                Poll::Ready(Payload::Failure(_)) if delivered => break,
                Poll::Ready(Payload::GivenUp) => {
                    self.lose_peer(link);
                    continue;
                }
                Poll::Ready(Payload::Failure(error)) => return Poll::Ready(Err(error.kind().into())),
            }
            delivered = true;
        }
        if delivered { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Returns the next chunk that has passed the link. An empty chunk is the end of the stream.
    fn deliver_chunk(&mut self, link: &Link, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let chunk = loop {
            match self.incoming.poll_arrival(link, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Payload::Data(bytes)) => break std::mem::take(bytes),
                Poll::Ready(Payload::End) => return Poll::Ready(Ok(Bytes::new())),
                Poll::Ready(Payload::Failure(error)) => return Poll::Ready(Err(error.kind().into())),
                Poll::Ready(Payload::GivenUp) => self.lose_peer(link),
            }
        };
        self.incoming.consumed(chunk.len());
        Poll::Ready(Ok(chunk))
    }

    /// Notes that the peer's TCP has given up what it sent. This end learns it by a reset, once one passes the link.
    fn lose_peer(&mut self, link: &Link) {
        self.socket.abort();
        self.broken = true;
        self.read_all = true;
        self.incoming.clear();
        self.incoming.push(link, Payload::Failure(io::ErrorKind::ConnectionReset.into()));
    }

    /// Sends the end of the outgoing stream, once.
    fn send_end(&mut self, link: &Link) {
        if !self.ending {
            self.ending = true;
            self.outgoing.push(link, Payload::End);
        }
    }

    /// Completes when everything that was sent has passed the link, or when the peer is gone.
    fn poll_drained(&mut self, link: &Link, cx: &mut Context<'_>) -> Poll<()> {
        self.drive_outgoing(link, cx);
        if self.ended || self.broken { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for ShapedStream {
    /// Hands the wire to a task that writes the rest. Closing a socket does not take back what was sent: those bytes and the
    /// end of the stream still pass the link.
    fn drop(&mut self) {
        let Some(mut wire) =
            self.wire.take().filter(|wire| !wire.ended && !wire.passes_straight(&self.link, &wire.outgoing))
        else {
            return;
        };
        let link = self.link.clone();
        let connection = self.connection.clone();
        wire.send_end(&link);
        let drain = std::future::poll_fn(move |cx| {
            connection.register(cx);
            // A reset connection has nothing left to write.
            if connection.is_reset() { Poll::Ready(()) } else { wire.poll_drained(&link, cx) }
        });
        self.link.world.spawn(Box::pin(drain));
    }
}

// The host that they run on comes with the feature.
#[cfg(all(test, feature = "service"))]
mod tests;
