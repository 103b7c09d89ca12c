//! turmoil's sockets as the World's, with the delays of the host's own network.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{Either, select};
use kernel::{
    distribution::Distribution,
    entropy::Entropy,
    world::{BoxFuture, BoxStream, Listener, Stream, gather},
};
use rand_chacha::ChaCha8Rng;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};
use turmoil::net::{TcpListener, TcpStream};

use crate::{
    clock::{Clock, HostId},
    delay::Delay,
    pipe::{Head, Pipe},
    turn::Turn,
};

/// Every replica listens here, each on an address of its own.
pub(crate) const PORT: u16 = 50_051;

/// Connections that complete before anyone accepts them: Linux's `somaxconn`.
const BACKLOG: usize = 4_096;

/// Tells the driver that something has happened at this instant that a host has yet to see, so that it takes another
/// turn before it moves the clock. What has to cross the network is not of that kind: its arrival is a timer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activity {
    happened: Arc<AtomicBool>,
    panicked: Arc<AtomicBool>,
}

impl Activity {
    pub(crate) fn happened(&self) {
        self.happened.store(true, Ordering::Relaxed);
    }

    /// A task of a host has panicked: the driver is to end the simulation.
    pub(crate) fn panicked(&self) {
        self.panicked.store(true, Ordering::Relaxed);
        self.happened();
    }

    /// Whether one has.
    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::Relaxed)
    }

    /// Whether something has happened that the driver has yet to hear of.
    pub(crate) fn is_under_way(&self) -> bool {
        self.happened.load(Ordering::Relaxed)
    }

    /// Whether something has happened since it was last asked.
    pub(crate) fn take(&self) -> bool {
        self.happened.swap(false, Ordering::Relaxed)
    }
}

/// The network as the hosts see it.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    pub(crate) activity: Activity,
    clock: Arc<Clock>,
    entropy: Entropy,
    times: Times,
    connections: Arc<Mutex<Connections>>,
}

/// What the network takes.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    /// Of a handshake, one way, if `connect` is not known.
    pub(crate) one_way: Distribution,
    /// Of a handshake, there and back.
    pub(crate) connect: Option<Distribution>,
    pub(crate) to_server: Delay,
    pub(crate) to_client: Delay,
}

#[derive(Debug, Default)]
struct Connections {
    /// Accepted by a server, but the client has yet to learn of it; by the client's address.
    accepted: BTreeMap<SocketAddr, [Arc<Pipe>; 2]>,
    /// Ever tried; numbers their random streams.
    tried: u64,
}

impl Net {
    pub(crate) fn new(clock: Arc<Clock>, entropy: Entropy, times: Times) -> Self {
        Self { activity: Activity::default(), clock, entropy, times, connections: Arc::default() }
    }

    /// Opens a stream from the client, which takes a round trip, refused or not.
    pub(crate) async fn connect(&self, address: IpAddr) -> io::Result<BoxStream> {
        let mut rng = self.stream("net.handshake");
        let half = self.times.connect.as_ref().map(|connect| connect.sample(&mut rng) / 2);
        let mut way = || half.unwrap_or_else(|| self.times.one_way.sample(&mut rng));
        self.cross(way()).await;
        // Somebody answers, or the network refuses: either way the client learns of it in the next step.
        self.activity.happened();
        let socket = TcpStream::connect((address, PORT)).await;
        self.cross(way()).await;
        let socket = socket?;
        let accepted = self.connections().accepted.remove(&socket.local_addr()?);
        let [to_server, to_client] = accepted.expect("a connection is accepted before the client learns of it");
        Ok(Box::new(SimStream::new(socket, to_server, to_client, &self.activity)))
    }

    /// The kernel's part of listening: it completes connections even while the process stands still.
    #[expect(clippy::disallowed_methods, reason = "the kernel of a machine is not behind its processes' gate")]
    pub(crate) async fn listen(&self, turn: Arc<Turn>) -> io::Result<Backlog> {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        let (backlog, accepted) = mpsc::channel(BACKLOG);
        let (net, host) = (self.clone(), turn.host);
        tokio::spawn(turn.counted(async move {
            while let Ok(slot) = backlog.reserve().await {
                let closed = pin!(backlog.closed());
                let accept = pin!(listener.accept());
                let Either::Right((Ok((socket, client)), _)) = select(closed, accept).await else { return };
                net.activity.happened();
                let pipe = |way, to, delay: &Delay| Pipe::new(net.clock.clone(), to, delay.clone(), net.stream(way));
                let to_server = pipe("net.to_server", host, &net.times.to_server);
                let to_client = pipe("net.to_client", HostId::CLIENT, &net.times.to_client);
                net.connections().accepted.insert(client, [to_server.clone(), to_client.clone()]);
                slot.send(SimStream::new(socket, to_client, to_server, &net.activity));
            }
        }));
        Ok(Backlog { accepted })
    }

    async fn cross(&self, delay: Duration) {
        let arrives = self.clock.now() + delay;
        self.clock.sleep_until(HostId::CLIENT, arrives).await;
    }

    fn stream(&self, name: &str) -> ChaCha8Rng {
        let mut connections = self.connections();
        connections.tried += 1;
        self.entropy.stream_of(name, &[connections.tried])
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections that wait to be accepted.
pub(crate) struct Backlog {
    accepted: mpsc::Receiver<SimStream>,
}

impl Listener for Backlog {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async {
            let stream = self.accepted.recv().await.ok_or(io::ErrorKind::NotConnected)?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
}

/// One end of a connection.
struct SimStream {
    socket: TcpStream,
    outgoing: Arc<Pipe>,
    incoming: Arc<Pipe>,
    /// What of an arrived chunk has yet to be read.
    unread: Bytes,
    activity: Activity,
}

impl SimStream {
    fn new(socket: TcpStream, outgoing: Arc<Pipe>, incoming: Arc<Pipe>, activity: &Activity) -> Self {
        Self { socket, outgoing, incoming, unread: Bytes::new(), activity: activity.clone() }
    }

    /// Makes sure that there is something unread; there is not only at the end of the stream.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match self.incoming.head(cx.waker()) {
            Head::OnItsWay => return Poll::Pending,
            Head::Joined => {
                self.unread = self.incoming.pop().expect("it is the head");
                return Poll::Ready(Ok(()));
            }
            // turmoil may know that the other side has closed.
            Head::Chunk | Head::Nothing => {}
        }
        let mut token = [0];
        let mut token = ReadBuf::new(&mut token);
        let Poll::Ready(read) = Pin::new(&mut self.socket).poll_read(cx, &mut token) else {
            if self.incoming.waits_for_turmoil() {
                self.activity.happened();
            }
            return Poll::Pending;
        };
        if !token.filled().is_empty() {
            self.unread = self.incoming.pop().expect("there is a chunk for each token");
            return Poll::Ready(Ok(()));
        }
        if self.incoming.has_ended() { Poll::Ready(read) } else { Poll::Pending }
    }

    /// turmoil knows at once that the other side is gone. Until the network has carried that here, what is sent is lost
    /// without a word.
    fn poll_send(&mut self, cx: &mut Context<'_>, chunk: Bytes) -> Poll<io::Result<()>> {
        let Err(chunk) = self.outgoing.join(chunk) else { return Poll::Ready(Ok(())) };
        match ready!(Pin::new(&mut self.socket).poll_write(cx, &[0])) {
            Ok(_) if self.outgoing.push(chunk) => self.activity.happened(),
            Ok(_) => {}
            Err(error) if self.incoming.has_ended() => return Poll::Ready(Err(error)),
            Err(_) => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for SimStream {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        ready!(self.poll_unread(cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.unread)))
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx, chunk.clone()))?;
        chunk.clear();
        Poll::Ready(Ok(()))
    }

    fn keeps_chunks(&self) -> bool {
        true
    }
}

impl AsyncRead for SimStream {
    /// Fills `buf` with as much as has arrived.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            match self.poll_unread(cx) {
                Poll::Ready(Ok(())) if self.unread.is_empty() => break,
                Poll::Ready(Ok(())) => {}
                // What comes after has to wait for the next read.
                _ if buf.filled().len() > before => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            let taken = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(taken));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let chunk = gather(bufs);
        let length = chunk.len();
        if length > 0 {
            ready!(self.poll_send(cx, chunk))?;
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.end();
        self.activity.happened();
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Drop for SimStream {
    /// turmoil closes the socket; the other side learns of it when the network has carried it there.
    fn drop(&mut self) {
        self.outgoing.end();
        self.activity.happened();
    }
}
