//! turmoil's sockets as the World's: instantaneous, because all delay is the link's.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use kernel::world::{BoxFuture, BoxStream, Listener, Stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};
use turmoil::net::{TcpListener, TcpStream};

/// Every replica listens here, each on an address of its own.
pub(crate) const PORT: u16 = 50_051;

/// Connections that complete before anyone accepts them: Linux's `somaxconn`.
const BACKLOG: usize = 4_096;

/// Tells the driver that a host has done something that another host has yet to see.
///
/// In a step the client comes first and the servers after it. So what the client sends is seen in the same step, and
/// only what a server does to the client, or the network does by itself, needs another one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activity(Arc<AtomicBool>);

impl Activity {
    pub(crate) fn happened(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether something has happened since it was last asked.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Where in a step a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// First.
    Client,
    /// After the client.
    Server,
}

/// The bytes under way between two ends of a connection, which turmoil carries as one token a chunk: a chunk of any
/// size passes without being copied, and order, closing and crashes are still turmoil's.
type Pipe = Arc<Mutex<VecDeque<Bytes>>>;

/// Connections that a server has accepted and the client has yet to learn of, by the client's address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accepted(Arc<Mutex<BTreeMap<SocketAddr, [Pipe; 2]>>>);

impl Accepted {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, [Pipe; 2]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network as a host sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Net {
    pub(crate) activity: Activity,
    accepted: Accepted,
}

impl Net {
    /// Opens a stream from the client.
    pub(crate) async fn connect(&self, address: IpAddr) -> io::Result<BoxStream> {
        // Somebody answers, or the network refuses: either way the client learns of it in the next step.
        self.activity.happened();
        let socket = TcpStream::connect((address, PORT)).await?;
        let [to_server, to_client] = self
            .accepted
            .lock()
            .remove(&socket.local_addr()?)
            .expect("a connection is accepted before the client learns of it");
        Ok(Box::new(SimStream::new(socket, to_server, to_client, Place::Client, &self.activity)))
    }

    /// The kernel's part of listening: it completes connections even while the process stands still.
    pub(crate) async fn listen(&self) -> io::Result<Backlog> {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        let (backlog, accepted) = mpsc::channel(BACKLOG);
        let net = self.clone();
        tokio::spawn(async move {
            while let Ok(slot) = backlog.reserve().await {
                let Ok((socket, client)) = listener.accept().await else { return };
                net.activity.happened();
                let [to_server, to_client] = [Pipe::default(), Pipe::default()];
                net.accepted.lock().insert(client, [to_server.clone(), to_client.clone()]);
                slot.send(SimStream::new(socket, to_client, to_server, Place::Server, &net.activity));
            }
        });
        Ok(Backlog { accepted })
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
    outgoing: Pipe,
    incoming: Pipe,
    /// Chunks whose token has been read.
    arrived: VecDeque<Bytes>,
    place: Place,
    activity: Activity,
}

impl SimStream {
    fn new(socket: TcpStream, outgoing: Pipe, incoming: Pipe, place: Place, activity: &Activity) -> Self {
        Self { socket, outgoing, incoming, arrived: VecDeque::new(), place, activity: activity.clone() }
    }

    fn acted(&self) {
        if self.place == Place::Server {
            self.activity.happened();
        }
    }

    /// The chunk that comes next; empty at the end of the stream.
    fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut Bytes>> {
        if self.arrived.is_empty() {
            let mut tokens = [0; 64];
            let mut buf = ReadBuf::new(&mut tokens);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buf))?;
            let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
            self.arrived.extend(incoming.drain(..buf.filled().len()));
        }
        if self.arrived.is_empty() {
            self.arrived.push_back(Bytes::new());
        }
        Poll::Ready(Ok(self.arrived.front_mut().expect("a chunk has arrived, or the end has")))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, chunk: Bytes) -> Poll<io::Result<()>> {
        self.acted();
        ready!(Pin::new(&mut self.socket).poll_write(cx, &[0]))?;
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner).push_back(chunk);
        Poll::Ready(Ok(()))
    }
}

impl Stream for SimStream {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let chunk = std::mem::take(ready!(self.poll_arrived(cx))?);
        self.arrived.pop_front();
        Poll::Ready(Ok(chunk))
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx, chunk.clone()))?;
        chunk.clear();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for SimStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let chunk = ready!(self.poll_arrived(cx))?;
        let taken = chunk.len().min(buf.remaining());
        buf.put_slice(&chunk.split_to(taken));
        if chunk.is_empty() {
            self.arrived.pop_front();
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
        let mut chunk = BytesMut::with_capacity(bufs.iter().map(|buf| buf.len()).sum());
        bufs.iter().for_each(|buf| chunk.extend_from_slice(buf));
        let length = chunk.len();
        if length > 0 {
            ready!(self.poll_send(cx, chunk.freeze()))?;
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
        self.acted();
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Drop for SimStream {
    /// Closing is an act too.
    fn drop(&mut self) {
        self.activity.happened();
    }
}
