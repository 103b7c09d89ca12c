//! turmoil's sockets as the World's: instantaneous, because all delay is the link's.

use std::{
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::future::{Either, select};
use kernel::world::{BoxFuture, BoxStream, Listener};
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

/// Opens a stream from the client.
pub(crate) async fn connect(address: std::net::IpAddr, activity: Activity) -> io::Result<BoxStream> {
    // Somebody answers, or the network refuses: either way the client learns of it in the next step.
    activity.happened();
    let socket = TcpStream::connect((address, PORT)).await?;
    Ok(Box::new(SimStream { socket, place: Place::Client, activity }))
}

/// The kernel's part of listening: it completes connections even while the process stands still.
pub(crate) async fn listen(activity: Activity) -> io::Result<Backlog> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let (backlog, accepted) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        while let Ok(slot) = backlog.reserve().await {
            let closed = pin!(backlog.closed());
            let Either::Right((Ok((socket, _)), _)) = select(closed, pin!(listener.accept())).await else { return };
            activity.happened();
            slot.send(SimStream { socket, place: Place::Server, activity: activity.clone() });
        }
    });
    Ok(Backlog { accepted })
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

/// A socket whose use the driver hears of.
struct SimStream {
    socket: TcpStream,
    place: Place,
    activity: Activity,
}

impl SimStream {
    fn acted(&self) {
        if self.place == Place::Server {
            self.activity.happened();
        }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.acted();
        Pin::new(&mut self.socket).poll_write(cx, buf)
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
