//! A connection through a link: a lane each way around a socket.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Link,
    lane::{Lane, Payload},
    shape::Way,
};
use crate::{
    sync::lock,
    world::{BoxStream, Stream, gather},
};

/// Bytes that wait to be written before `poll_write` waits too: Linux's largest send buffer, `tcp_wmem[2]`.
const SEND_BUFFER: usize = 4 * 1024 * 1024;

/// Bytes read ahead before the socket is left to fill: Linux's largest receive buffer, `tcp_rmem[2]`.
const RECEIVE_BUFFER: usize = 6 * 1024 * 1024;

/// A stream whose bytes go through a [`Link`].
///
/// Outgoing bytes wait in this object and are written as they become due, which its reader sees to: it must be
/// polled for reading as long as writes are to make progress, as every HTTP/2 connection is, or else for flushing.
pub struct ShapedStream {
    link: Arc<Link>,
    connection: Arc<Connection>,
    /// `None` once it has been reset or handed to the task that drains it.
    wire: Option<Wire>,
}

struct Wire {
    socket: BoxStream,
    outgoing: Lane,
    incoming: Lane,
    /// The socket has said its last.
    read_all: bool,
    /// The socket takes no more bytes, because the peer is gone.
    broken: bool,
    /// The end of our stream is on its way or through.
    ending: bool,
    ended: bool,
}

/// What the link knows of a connection.
pub(super) struct Connection {
    reset: AtomicBool,
    reader: Mutex<Option<Waker>>,
}

impl Connection {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { reset: AtomicBool::new(false), reader: Mutex::new(None) })
    }

    /// From its next poll on the stream fails.
    pub(super) fn reset(&self) {
        self.reset.store(true, Ordering::Release);
    }

    fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Acquire)
    }

    pub(super) fn wake(&self) {
        let reader = lock(&self.reader).take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn register(&self, cx: &Context<'_>) {
        let mut reader = lock(&self.reader);
        if !reader.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *reader = Some(cx.waker().clone());
        }
    }
}

impl ShapedStream {
    /// What is written goes `out`: to the server on a client's end, from it on its own.
    pub(super) fn new(link: Arc<Link>, connection: Arc<Connection>, number: u64, out: Way, socket: BoxStream) -> Self {
        let rng = |way: Way| link.entropy.stream_of("link.lane", &[link.fingerprint(), number, way as u64]);
        let wire = Wire {
            socket,
            outgoing: Lane::new(out, rng(out)),
            incoming: Lane::new(out.back(), rng(out.back())),
            read_all: false,
            broken: false,
            ending: false,
            ended: false,
        };
        Self { link, connection, wire: Some(wire) }
    }

    /// The wire, unless the connection has been reset.
    fn wire(&mut self) -> io::Result<(&Link, &mut Wire)> {
        if self.connection.is_reset() {
            // Closes the socket, which tells the other end.
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
        let (link, wire) = self.wire()?;
        wire.drive_outgoing(link, cx);
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
        let (link, wire) = self.wire()?;
        wire.drive_outgoing(link, cx);
        if wire.ending || wire.knows_that_it_is_broken(link) {
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

    /// What waits for the link is in the network already, so there is nothing to flush but the socket.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.register(cx);
        let (link, wire) = self.wire()?;
        wire.drive_outgoing(link, cx);
        Pin::new(&mut wire.socket).poll_flush(cx)
    }

    /// Done once the end is on its way, as `shutdown` of a socket is; what still waits is sent in the background.
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
        let (link, wire) = self.wire()?;
        wire.drive_outgoing(link, cx);
        if wire.passes_straight(link, &wire.incoming) && !wire.read_all {
            return wire.socket.poll_read_chunk(cx);
        }
        wire.fill_incoming(link, cx);
        wire.deliver_chunk(link, cx)
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        let (link, wire) = self.wire()?;
        wire.drive_outgoing(link, cx);
        if wire.ending || wire.knows_that_it_is_broken(link) {
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

    /// As its socket does. While the link does something it wants slices: what is written at once is to be lost or held at
    /// once, whatever the socket.
    fn keeps_chunks(&self) -> bool {
        let straight = |wire: &&Wire| wire.passes_straight(&self.link, &wire.outgoing);
        self.wire.as_ref().filter(straight).is_some_and(|wire| wire.socket.keeps_chunks())
    }

    /// The reset goes through the link, behind what was written before.
    fn abort(&mut self) {
        if let Ok((link, wire)) = self.wire() {
            wire.ending = true;
            wire.ended = false;
            wire.outgoing.push(link, Payload::Failure(io::ErrorKind::ConnectionReset.into()));
        }
    }
}

impl Wire {
    /// Whether the link does nothing, so that bytes need not stop here.
    fn passes_straight(&self, link: &Link, lane: &Lane) -> bool {
        lane.is_empty() && link.is_idle()
    }

    /// Writes what has come through the link to the socket.
    ///
    /// A failure is no news to this end yet: it comes back through the link, behind what the peer sent before it went,
    /// because a socket that takes nothing any more soon says its last.
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

    /// Whether word of the broken connection has come through the link.
    fn knows_that_it_is_broken(&self, link: &Link) -> bool {
        self.broken && self.read_all && self.incoming.has_arrived(link.world.now())
    }

    /// Sends off what the socket holds.
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

    /// Hands over what has come through the link.
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
                // Stays at the head: every later read says so again.
                Poll::Ready(Payload::End) => return Poll::Ready(Ok(())),
                Poll::Ready(Payload::Failure(_)) if delivered => break,
                Poll::Ready(Payload::Failure(error)) => return Poll::Ready(Err(error.kind().into())),
            }
            delivered = true;
        }
        if delivered { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// As [`Self::deliver`], as a whole piece. Nothing is the end of the stream.
    fn deliver_chunk(&mut self, link: &Link, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let chunk = match self.incoming.poll_arrival(link, cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Payload::Data(bytes)) => std::mem::take(bytes),
            Poll::Ready(Payload::End) => return Poll::Ready(Ok(Bytes::new())),
            Poll::Ready(Payload::Failure(error)) => return Poll::Ready(Err(error.kind().into())),
        };
        self.incoming.consumed(chunk.len());
        Poll::Ready(Ok(chunk))
    }

    fn send_end(&mut self, link: &Link) {
        if !self.ending {
            self.ending = true;
            self.outgoing.push(link, Payload::End);
        }
    }

    /// Completes when all that was sent has gone through the link, or never will.
    fn poll_drained(&mut self, link: &Link, cx: &mut Context<'_>) -> Poll<()> {
        self.drive_outgoing(link, cx);
        if self.ended || self.broken { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for ShapedStream {
    /// Closing a socket does not take back what was sent: it and the end of the stream still go through the link.
    fn drop(&mut self) {
        let Some(mut wire) =
            self.wire.take().filter(|wire| !wire.ended && !wire.passes_straight(&self.link, &wire.outgoing))
        else {
            return;
        };
        let (link, connection) = (self.link.clone(), self.connection.clone());
        wire.send_end(&link);
        let drain = std::future::poll_fn(move |cx| {
            connection.register(cx);
            // The peer may be gone, and nobody is left to be told.
            if connection.is_reset() { Poll::Ready(()) } else { wire.poll_drained(&link, cx) }
        });
        self.link.world.spawn(Box::pin(drain));
    }
}
