//! One end of a simulated connection, as the World's stream.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use kernel::world::{Stream, gather};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

use crate::{
    activity::Activity,
    net::Connection,
    pipe::{Head, Pipe},
};

/// One end of a connection.
pub(crate) struct SimStream {
    socket: TcpStream,
    outgoing: Arc<Pipe>,
    incoming: Arc<Pipe>,
    /// The rest of an arrived chunk, which has yet to be read.
    unread: Bytes,
    activity: Activity,
}

impl SimStream {
    pub(crate) fn new(Connection { socket, outgoing, incoming }: Connection, activity: &Activity) -> Self {
        Self { socket, outgoing, incoming, unread: Bytes::new(), activity: activity.clone() }
    }

    /// Waits until there are unread bytes, or the stream has ended. When it is ready and nothing is unread, the stream
    /// has ended.
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
            self.unread = self.incoming.pop().expect("there is a chunk for each token");
            return Poll::Ready(Ok(()));
        }
        if self.incoming.has_ended() { Poll::Ready(read) } else { Poll::Pending }
    }

    /// Sends a chunk. turmoil knows at once that the other side has closed; until the network has carried that here,
    /// chunks are lost without an error.
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
                // An error, or the wait for more, is left for the next read: this one has bytes to return.
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
    /// Ends the outgoing direction. turmoil closes the socket, and the other side learns of it when the network has
    /// carried it there.
    fn drop(&mut self) {
        self.outgoing.end();
        self.activity.happened();
    }
}
