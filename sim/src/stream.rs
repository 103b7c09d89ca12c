//! One end of a simulated connection, which has turmoil's socket.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

use crate::{
    activity::Activity,
    byte_stream::{ByteStream, ChunkEnd},
    net::Connection,
    pipe::{Head, Pipe},
};

/// The end of a connection that has turmoil's socket.
pub(crate) struct SocketEnd {
    socket: TcpStream,
    outgoing: Arc<Pipe>,
    incoming: Arc<Pipe>,
    activity: Activity,
}

impl SocketEnd {
    /// Returns the stream of a connection's end.
    pub(crate) fn stream(connection: Connection, activity: &Activity) -> ByteStream<Self> {
        let Connection { socket, outgoing, incoming } = connection;
        ByteStream::new(Self { socket, outgoing, incoming, activity: activity.clone() })
    }

    /// Returns the chunk that has arrived.
    fn arrived(&self) -> Poll<io::Result<Bytes>> {
        Poll::Ready(Ok(self.incoming.pop().expect("there is a chunk for each token")))
    }
}

impl ChunkEnd for SocketEnd {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        match self.incoming.head(cx.waker()) {
            Head::OnItsWay => return Poll::Pending,
            Head::Joined => return self.arrived(),
            // The token is read from turmoil, which may also know that the other side has closed.
            Head::Chunk | Head::Nothing => {}
        }
        let mut token = [0];
        let mut token = ReadBuf::new(&mut token);
        let Poll::Ready(read) = Pin::new(&mut self.socket).poll_read(cx, &mut token) else {
            // The chunk is here before its token: turmoil needs another step, and the clock must not move until then.
            if self.incoming.waits_for_turmoil() {
                self.activity.happened();
            }
            return Poll::Pending;
        };
        if !token.filled().is_empty() {
            return self.arrived();
        }
        if self.incoming.has_ended() { Poll::Ready(read.map(|()| Bytes::new())) } else { Poll::Pending }
    }

    /// turmoil knows at once that the other side has closed, and the sender only when the network has carried that here.
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

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.end();
        self.activity.happened();
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Drop for SocketEnd {
    /// Ends the outgoing direction. turmoil closes the socket, and the other side learns of it when the network has
    /// carried it there.
    fn drop(&mut self) {
        self.outgoing.end();
        self.activity.happened();
    }
}
