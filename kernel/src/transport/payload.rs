//! The way of large payloads from the body of a message to the stream, without a copy.
//!
//! HTTP/2 hands a stream slices of bytes that are its own. A stream that keeps what is written, as a simulated one does until
//! it has arrived, has to copy them. But large slices are of bodies that came past here before: so they are noted on their
//! way in, and known by their address on their way out.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tonic::{Status, body::Body};

use crate::{sync::lock, world::Stream};

/// What is smaller is copied, which takes less than to pass by itself.
const LARGE: usize = 32 * 1024;

/// Large pieces of bodies that are on their way to one connection's stream. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Payloads(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Whether the stream had a use for them when it was last asked.
    wanted: bool,
    pieces: Vec<Bytes>,
}

impl Payloads {
    /// `body`, whose large pieces are noted when they are read.
    pub(crate) fn noted(&self, body: Body) -> Noted {
        Noted { body, payloads: self.clone() }
    }

    fn note(&self, data: &Bytes) {
        let mut state = self.state();
        if state.wanted && data.len() >= LARGE {
            // Those that nobody else has any more were given up on their way, or went in small slices.
            state.pieces.retain(|piece| !piece.is_unique());
            state.pieces.push(data.clone());
        }
    }

    fn set_wanted(&self, wanted: bool) {
        let mut state = self.state();
        if state.wanted != wanted {
            *state = State { wanted, pieces: Vec::new() };
        }
    }

    /// `slice`, if it is of a noted piece.
    fn find(&self, slice: &[u8]) -> Option<Bytes> {
        let contains = |piece: &&Bytes| {
            let (piece, slice) = (piece.as_ptr_range(), slice.as_ptr_range());
            piece.start <= slice.start && slice.end <= piece.end
        };
        self.state().pieces.iter().find(contains).map(|piece| piece.slice_ref(slice))
    }

    /// `slice` has been written, and with it all of its piece if it is the end of that.
    fn forget(&self, slice: &[u8]) {
        self.state().pieces.retain(|piece| piece.as_ptr_range().end != slice.as_ptr_range().end);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

/// A body on its way out.
pub(crate) struct Noted {
    body: Body,
    payloads: Payloads,
}

impl HttpBody for Noted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.payloads.note(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream as hyper wants it.
pub(crate) struct Io<S> {
    stream: TokioIo<S>,
    payloads: Payloads,
}

impl<S: Stream> Io<S> {
    pub(crate) fn new(stream: S) -> Self {
        let payloads = Payloads::default();
        payloads.set_wanted(stream.keeps_chunks());
        Self { stream: TokioIo::new(stream), payloads }
    }

    /// What bodies are to be noted with.
    pub(crate) fn payloads(&self) -> Payloads {
        self.payloads.clone()
    }
}

impl<S: Stream> Read for Io<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: Stream> Write for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    /// Up to the next large slice, or that one.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, payloads } = &mut *self;
        let keeps_chunks = stream.inner().keeps_chunks();
        payloads.set_wanted(keeps_chunks);
        let large = bufs.iter().position(|buf| keeps_chunks && buf.len() >= LARGE);
        let noted = large.and_then(|large| payloads.find(&bufs[large]).map(|chunk| (large, chunk)));
        match noted {
            Some((0, mut chunk)) => {
                let left = chunk.len();
                ready!(stream.inner_mut().poll_write_chunk(cx, &mut chunk))?;
                let written = left - chunk.len();
                payloads.forget(&bufs[0][..written]);
                Poll::Ready(Ok(written))
            }
            Some((large, _)) => Pin::new(stream).poll_write_vectored(cx, &bufs[..large]),
            None => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
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
mod tests {
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;

    /// Takes down what it is given, and how.
    #[derive(Default)]
    struct Keeper {
        chunks: Vec<Bytes>,
        copied: Vec<u8>,
    }

    impl AsyncRead for Keeper {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Keeper {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.copied.extend_from_slice(buf);
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Stream for Keeper {
        fn poll_read_chunk(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
            Poll::Pending
        }

        /// A part of it at a time.
        fn poll_write_chunk(&mut self, _: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
            self.chunks.push(chunk.split_to(LARGE.min(chunk.len())));
            Poll::Ready(Ok(()))
        }

        fn keeps_chunks(&self) -> bool {
            true
        }
    }

    fn write(io: &mut Io<Keeper>, bufs: &[&[u8]]) -> usize {
        let bufs: Vec<_> = bufs.iter().map(|buf| io::IoSlice::new(buf)).collect();
        let written = Pin::new(io).poll_write_vectored(&mut Context::from_waker(std::task::Waker::noop()), &bufs);
        let Poll::Ready(Ok(written)) = written else { panic!("it is always ready") };
        written
    }

    #[test]
    fn what_is_large_and_known_passes_without_a_copy_and_is_forgotten() {
        let mut io = Io::new(Keeper::default());
        let payload = Bytes::from(vec![7; 2 * LARGE]);
        io.payloads().note(&payload);
        assert_eq!(write(&mut io, &[b"head", &payload]), 4);
        assert_eq!(write(&mut io, &[&payload]), LARGE);
        assert_eq!(write(&mut io, &[&payload[LARGE..]]), LARGE);
        let keeper = io.stream.inner();
        assert_eq!(keeper.copied, b"head");
        assert!(keeper.chunks.iter().all(|chunk| payload.as_ptr_range().contains(&chunk.as_ptr())));
        assert_eq!(keeper.chunks.concat(), payload);
        assert!(io.payloads().state().pieces.is_empty());
    }

    #[test]
    fn what_is_unknown_or_small_is_copied() {
        let mut io = Io::new(Keeper::default());
        let (known, unknown) = (Bytes::from(vec![1; 2 * LARGE]), Bytes::from(vec![2; LARGE]));
        io.payloads().note(&known);
        assert_eq!(write(&mut io, &[&unknown]), LARGE);
        assert_eq!(write(&mut io, &[&known[..100]]), 100);
        let keeper = io.stream.inner();
        assert_eq!((keeper.copied.len(), keeper.chunks.len()), (LARGE + 100, 0));
    }

    #[test]
    fn what_was_given_up_is_not_kept() {
        let io = Io::new(Keeper::default());
        io.payloads().note(&Bytes::from(vec![1; LARGE]));
        let other = Bytes::from(vec![2; LARGE]);
        io.payloads().note(&other);
        assert_eq!(io.payloads().state().pieces, [other]);
    }
}
