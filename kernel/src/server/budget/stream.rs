//! A stream that is read within a budget.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::AtomicU64},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Budget;
use crate::world::{BoxStream, SharedWorld, Sleep, Stream};

/// A stream that is read within a budget.
pub(in crate::server) struct Budgeted {
    stream: BoxStream,
    budget: Arc<Budget>,
    world: SharedWorld,
    /// Completes when the budget may have grown enough; `None` while there is budget.
    pause: Option<Sleep>,
}

impl Budgeted {
    /// Wraps `stream`, which is read within `budget` on the clock of `world`.
    pub(in crate::server) fn new(stream: BoxStream, budget: Arc<Budget>, world: SharedWorld) -> Self {
        Self { stream, budget, world, pause: None }
    }

    /// Waits until there is budget, and returns how many bytes to read at most. Fails if the peer resets the connection meanwhile.
    fn poll_budget(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            match self.budget.bytes_to_read(self.world.now(), cx) {
                Ok(bytes) => {
                    self.pause = None;
                    return Poll::Ready(Ok(bytes));
                }
                Err(_) if self.stream.is_reset() => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Err(until) => {
                    let pause = self.pause.get_or_insert_with(|| self.world.sleep_until(until));
                    ready!(pause.as_mut().poll(cx));
                    self.pause = None;
                }
            }
        }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.budget.change(|balance| balance.wrote(*bytes));
        }
        written
    }
}

impl AsyncRead for Budgeted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = ready!(self.poll_budget(cx))?;
        let before = buf.filled().len();
        if buf.remaining() <= most {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            buf.advance(read);
        }
        self.budget.change(|balance| balance.pay(&buf.filled()[before..]));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Budgeted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(written)
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

impl Stream for Budgeted {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let most = ready!(self.poll_budget(cx))?;
        let mut chunk = BytesMut::zeroed(most);
        let mut buf = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut *self).poll_read(cx, &mut buf))?;
        let read = buf.filled().len();
        chunk.truncate(read);
        Poll::Ready(Ok(chunk.freeze()))
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        let left = chunk.len();
        ready!(self.stream.poll_write_chunk(cx, chunk))?;
        let written = Poll::Ready(Ok(left - chunk.len()));
        self.wrote(written).map_ok(drop)
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
}
