//! The World's stream over a connection that carries whole chunks.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use kernel::world::{Stream, gather};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a connection, which carries whole chunks. When it is dropped, its outgoing direction ends.
pub(crate) trait ChunkEnd: Unpin {
    /// Returns the next chunk once it has arrived, which is empty if the stream has ended.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>>;

    /// Sends a chunk. Until the network has carried it here that the other side has closed, chunks are lost without an error.
    fn poll_send(&mut self, cx: &mut Context<'_>, chunk: Bytes) -> Poll<io::Result<()>>;

    /// Completes when what was sent is on its way.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the outgoing direction.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// The stream of an end.
pub(crate) struct ByteStream<E> {
    end: E,
    /// The rest of an arrived chunk, which has not been read yet.
    unread: Bytes,
}

impl<E: ChunkEnd> ByteStream<E> {
    pub(crate) fn new(end: E) -> Self {
        Self { end, unread: Bytes::new() }
    }

    /// Waits until there are unread bytes, or the stream has ended. When it is ready and nothing is unread, the stream has ended.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            self.unread = ready!(self.end.poll_chunk(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<E: ChunkEnd + Send> Stream for ByteStream<E> {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        ready!(self.poll_unread(cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.unread)))
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        ready!(self.end.poll_send(cx, chunk.clone()))?;
        chunk.clear();
        Poll::Ready(Ok(()))
    }

    fn keeps_chunks(&self) -> bool {
        true
    }
}

impl<E: ChunkEnd> AsyncRead for ByteStream<E> {
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

impl<E: ChunkEnd> AsyncWrite for ByteStream<E> {
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
            ready!(self.end.poll_send(cx, chunk))?;
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.poll_shutdown(cx)
    }
}
