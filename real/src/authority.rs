//! Authorities of requests that no URI can have.
//!
//! A gRPC server takes whatever a client names in `:authority`: grpcio sends the list of addresses of a target `ipv4:A,B`. The HTTP/2
//! library of our servers refuses a request whose authority is no authority of a URI (PROTOCOL_ERROR) and has no option for that.
//! So an accepted connection replaces each character of such an authority that not every host has by a full stop, before the library
//! reads it. Nothing here reads the authority of a request.

mod frames;
mod header_block;
mod huffman;

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::AtomicU64},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use kernel::world::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use frames::Frames;

/// The server's end of a connection, whose requests have authorities that a URI can have.
pub(crate) struct AnyAuthority<S> {
    stream: S,
    frames: Frames,
    /// Bytes that must be read before those of `stream`.
    passed: BytesMut,
}

impl<S: Stream> AnyAuthority<S> {
    /// Wraps an accepted connection from which nothing has been read.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, frames: Frames::new(), passed: BytesMut::new() }
    }

    /// Takes `bytes`, which were read and do not pass as they are. Without any, the stream has ended.
    fn take(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.frames.finish(&mut self.passed);
        } else {
            self.frames.take(bytes, &mut self.passed);
        }
    }
}

/// Returns what a server reads of `bytes`, which arrive in pieces of `size`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn pass_through(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut frames = Frames::new();
    let mut passed = BytesMut::new();
    for piece in bytes.chunks(size) {
        let count = frames.pass(piece);
        passed.extend_from_slice(&piece[..count]);
        if count < piece.len() {
            frames.take(&piece[count..], &mut passed);
        }
    }
    frames.finish(&mut passed);
    passed.to_vec()
}

impl<S: Stream> Stream for AnyAuthority<S> {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        while self.passed.is_empty() {
            let mut chunk = ready!(self.stream.poll_read_chunk(cx))?;
            let has_ended = chunk.is_empty();
            let rest = chunk.split_off(self.frames.pass(&chunk));
            if has_ended || !rest.is_empty() {
                self.take(&rest);
            }
            if !chunk.is_empty() || has_ended && self.passed.is_empty() {
                return Poll::Ready(Ok(chunk));
            }
        }
        Poll::Ready(Ok(self.passed.split().freeze()))
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        self.stream.poll_write_chunk(cx, chunk)
    }

    fn keeps_chunks(&self) -> bool {
        self.stream.keeps_chunks()
    }

    fn abort(&mut self) {
        self.stream.abort();
    }

    fn arrivals(&self) -> Option<Arc<AtomicU64>> {
        self.stream.arrivals()
    }

    fn is_reset(&self) -> bool {
        self.stream.is_reset()
    }
}

impl<S: Stream> AsyncRead for AnyAuthority<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // A read of nothing looks like the end of the stream.
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while this.passed.is_empty() {
            let start = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let read = &buf.filled()[start..];
            let has_ended = read.is_empty();
            let count = this.frames.pass(read);
            if has_ended || count < read.len() {
                this.take(&read[count..]);
                buf.set_filled(start + count);
            }
            if count > 0 || has_ended && this.passed.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        let count = this.passed.len().min(buf.remaining());
        buf.put_slice(&this.passed.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for AnyAuthority<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
