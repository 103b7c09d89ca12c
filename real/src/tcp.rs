//! TCP on the loopback device, as the network of the `World`.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use kernel::world::{BoxFuture, BoxStream, Listener, Patience, PeerLimits, PeerTerms, Stream};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf},
    net::TcpSocket,
};
use tracing::info;

use crate::{
    accept::{Door, Place, places},
    authority::AnyAuthority,
    timer::Timer,
    token,
};

/// Size of the buffer of one read.
const READ_BYTES: usize = 64 * 1024;

/// Number of bytes after which an accepted connection lets the others read. A peer that sends small frames without end keeps a
/// core busy for 2 ms with this many, and for 50 ms with what tokio lets a task do at once.
const TURN_BYTES: usize = 32 * 1024;

/// Number of connections that can wait to be accepted.
const BACKLOG: u32 = 1024;

/// Largest segment of the peers of a server that is started by hand, in bytes. The operating system of a peer derives from it, and from
/// [`RECEIVED_BYTES`], how much the peer may write ahead. On the loopback device that is 4 MB of each connection otherwise, which a
/// flood writes again after every reconnect, and what that costs is taken from the same processor.
const SEGMENT_BYTES: u32 = 1400;
/// The bytes that are taken from a peer before they are read; see [`SEGMENT_BYTES`].
const RECEIVED_BYTES: usize = 16 * 1024;

/// Memory for unfinished requests and unread replies of all connections of a server, in bytes: 64 of the largest messages.
const HELD_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// How long a server that is started by hand waits for its peers. The handshake takes a round trip, which faults can delay by
/// seconds. A message may take as long as a picture of 16 megapixels takes at 2.5 Mbit/s. Connections without calls are kept
/// for as long as the slowest load that makes sense pauses.
const PATIENCE: Patience = Patience {
    handshake: Duration::from_secs(10),
    message: Duration::from_secs(60),
    idle: Duration::from_secs(15 * 60),
};

/// A port of the loopback device that the operating system assigns to no other process while this lives.
///
/// It is bound and does not listen: connections are refused, and a process that sets SO_REUSEADDR can listen there. A
/// replica that was killed therefore finds its port free again.
pub(crate) struct ReservedPort {
    address: SocketAddr,
    /// Holds the port.
    _socket: TcpSocket,
}

impl ReservedPort {
    /// Reserves a free port.
    pub(crate) fn any() -> io::Result<Self> {
        let socket = bound(0)?;
        Ok(Self { address: socket.local_addr()?, _socket: socket })
    }

    /// The address with the reserved port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn bound(port: u16) -> io::Result<TcpSocket> {
    bound_at((Ipv4Addr::LOCALHOST, port).into())
}

fn bound_at(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = socket_for(address)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

/// Opens a connection.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<BoxStream> {
    let socket = socket_for(address)?;
    // Nagle's algorithm would hold small frames back until earlier ones are acknowledged.
    socket.set_nodelay(true)?;
    let socket = socket.connect(address).await?;
    info!(peer = %address, "connection opened");
    Ok(Box::new(Tcp::new(socket, address, None)))
}

/// Listens at `port` of the loopback device, or at a free port if it is 0. A shortage is waited for with `timer`.
pub(crate) fn listen(port: u16, timer: Timer) -> io::Result<Backlog> {
    listen_at((Ipv4Addr::LOCALHOST, port).into(), timer)
}

/// Listens at `address`, or at a free port of its host if its port is 0. A shortage is waited for with `timer`.
pub(crate) fn listen_at(address: SocketAddr, timer: Timer) -> io::Result<Backlog> {
    let listener = bound_at(address)?.listen(BACKLOG)?;
    Ok(Backlog { listener, door: Door::new(places(1), timer), patience: None })
}

/// Opens a connection for a purpose of this process that no fault applies to.
#[expect(clippy::disallowed_types, reason = "it is not of the World")]
pub(crate) async fn client(address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    socket_for(address)?.connect(address).await
}

/// Listens at `address` for a purpose of this process that no fault applies to. This many connections can wait.
#[expect(clippy::disallowed_types, reason = "it is not of the World")]
pub(crate) fn listener(address: SocketAddr, backlog: u32) -> io::Result<tokio::net::TcpListener> {
    bound_at(address)?.listen(backlog)
}

/// A listening socket.
pub(crate) struct Backlog {
    #[expect(clippy::disallowed_types, reason = "what the World's listener is made of")]
    listener: tokio::net::TcpListener,
    door: Door,
    /// How long peers are waited for. `None` in a run: its faults keep peers silent, and what is silent costs one place.
    patience: Option<Patience>,
}

impl Backlog {
    /// Address at which the socket listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The same socket, started by hand: peers that do not continue are disconnected, and `notice` reports shortages.
    pub(crate) fn by_hand(self, notice: fn(&str)) -> Self {
        let socket = SockRef::from(&self.listener);
        // An error means that peers may write as much ahead as they like.
        let _ = socket.set_tcp_mss(SEGMENT_BYTES).and_then(|()| socket.set_recv_buffer_size(RECEIVED_BYTES));
        Self { patience: Some(PATIENCE), door: self.door.with_notice(notice), ..self }
    }

    /// The same socket, with a proxy behind it: each connection takes a second descriptor.
    pub(crate) fn for_proxy(self) -> Self {
        Self { door: self.door.with_places(places(2)), ..self }
    }
}

impl Listener for Backlog {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async {
            let Self { listener, door, .. } = self;
            let accepted = door.next(
                |cx| listener.poll_accept(cx),
                // A reset needs no last exchange with a peer that may be the reason for the shortage.
                |(socket, _)| drop(socket.set_zero_linger()),
            );
            let ((socket, peer), place) = accepted.await?;
            // An error means that the connection has ended already, as its reader is about to see.
            let _ = socket.set_nodelay(true);
            info!(%peer, "connection accepted");
            Ok(Box::new(Tcp::new(socket, peer, Some(place))) as BoxStream)
        })
    }

    fn adapt(&self, stream: BoxStream) -> BoxStream {
        Box::new(AnyAuthority::new(stream))
    }

    fn terms(&self) -> PeerTerms {
        // An eighth of the places is for connections that are being closed to make room for others.
        let connections = self.door.places() - self.door.places() / 8;
        let limits = PeerLimits { connections, held_bytes: HELD_BYTES_MAX, patience: self.patience };
        PeerTerms { limits: Some(limits), token: token::of_process().cloned() }
    }
}

/// A connection.
struct Tcp {
    #[expect(clippy::disallowed_types, reason = "what the World's stream is made of")]
    socket: tokio::net::TcpStream,
    peer: SocketAddr,
    /// Buffer of the next chunk.
    read: BytesMut,
    /// Number of bytes that have arrived.
    arrivals: Arc<AtomicU64>,
    /// Number of bytes read without a pause.
    turn: usize,
    /// The place of an accepted connection.
    place: Option<Place>,
    /// The reason why the connection ended, for the log; `None` until it is known.
    end: Option<String>,
}

impl Tcp {
    #[expect(clippy::disallowed_types, reason = "what the World's stream is made of")]
    fn new(socket: tokio::net::TcpStream, peer: SocketAddr, place: Option<Place>) -> Self {
        Self { socket, peer, read: BytesMut::new(), arrivals: Arc::default(), turn: 0, place, end: None }
    }

    /// Counts bytes that have arrived.
    fn arrived(&mut self, bytes: usize) {
        self.arrivals.fetch_add(bytes as u64, Ordering::Relaxed);
        self.turn += bytes;
    }

    /// Pauses an accepted connection after its turn: its task is run again after those that are ready now.
    fn poll_turn(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.place.is_none() || self.turn < TURN_BYTES {
            return Poll::Ready(());
        }
        self.turn = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends the turn of a connection that has nothing to read.
    fn paused<T>(&mut self, read: Poll<T>) -> Poll<T> {
        if read.is_pending() {
            self.turn = 0;
        }
        read
    }

    fn ended(&mut self, reason: impl ToString) {
        // The first reason: what follows is a consequence of it.
        self.end.get_or_insert_with(|| reason.to_string());
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        let reason = self.end.as_deref().unwrap_or("closed by this process");
        info!(peer = %self.peer, reason, "connection closed");
    }
}

impl Stream for Tcp {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        ready!(self.poll_turn(cx));
        self.read.reserve(READ_BYTES);
        // The future has no state of its own, so that a new one at every poll loses nothing.
        let read = pin!(self.socket.read_buf(&mut self.read)).poll(cx);
        let read = ready!(self.paused(read));
        match &read {
            Ok(0) => self.ended("closed by the peer"),
            Ok(bytes) => self.arrived(*bytes),
            Err(error) => self.ended(error),
        }
        Poll::Ready(read.map(|_| self.read.split().freeze()))
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_write(cx, chunk).map_ok(|written| chunk.advance(written))
    }

    fn abort(&mut self) {
        self.ended("reset by this process");
        // An error means that the connection has ended already.
        let _ = self.socket.set_zero_linger();
    }

    fn arrivals(&self) -> Option<Arc<AtomicU64>> {
        Some(self.arrivals.clone())
    }

    fn is_reset(&self) -> bool {
        // What the operating system has reported so far, without a call to it.
        let ready = self.socket.ready(Interest::WRITABLE).now_or_never();
        ready.and_then(Result::ok).is_some_and(|ready| ready.is_write_closed())
    }
}

impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_turn(cx));
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        self.arrived(buf.filled().len() - before);
        self.paused(read)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::runtime::Runtime;

    use super::*;

    #[test]
    fn chunks_cross_a_connection_and_the_end_is_an_empty_one() {
        Runtime::new().unwrap().block_on(async {
            let mut backlog = listen(0, Timer::start().unwrap()).unwrap();
            let address = backlog.address().unwrap();
            let (near, far) = futures_util::future::join(connect(address), backlog.accept()).await;
            let (mut near, mut far) = (near.unwrap(), far.unwrap());
            let mut chunk = Bytes::from_static(b"hello");
            while !chunk.is_empty() {
                poll_fn(|cx| near.poll_write_chunk(cx, &mut chunk)).await.unwrap();
            }
            drop(near);
            let mut heard = Vec::new();
            loop {
                let chunk = poll_fn(|cx| far.poll_read_chunk(cx)).await.unwrap();
                if chunk.is_empty() {
                    break;
                }
                heard.extend_from_slice(&chunk);
            }
            assert_eq!(heard, b"hello");
        });
    }

    #[test]
    fn a_reset_is_seen_without_reading() {
        Runtime::new().unwrap().block_on(async {
            let mut backlog = listen(0, Timer::start().unwrap()).unwrap();
            let address = backlog.address().unwrap();
            let (near, far) = futures_util::future::join(connect(address), backlog.accept()).await;
            let (mut near, far) = (near.unwrap(), far.unwrap());
            let mut chunk = Bytes::from_static(b"what is never read");
            poll_fn(|cx| near.poll_write_chunk(cx, &mut chunk)).await.unwrap();
            assert!(!far.is_reset());
            near.abort();
            drop(near);
            while !far.is_reset() {
                tokio::task::yield_now().await;
            }
        });
    }

    #[test]
    fn a_reserved_port_refuses_connections_until_a_process_listens_there() {
        Runtime::new().unwrap().block_on(async {
            let port = ReservedPort::any().unwrap();
            let refused = connect(port.address()).await.err().map(|error| error.kind());
            assert_eq!(refused, Some(io::ErrorKind::ConnectionRefused));
            for _ in 0..2 {
                let _listening = listen(port.address().port(), Timer::start().unwrap()).unwrap();
                assert!(connect(port.address()).await.is_ok());
            }
        });
    }
}
