//! Large payloads pass from the body of a message to the stream without a copy.
//!
//! HTTP/2 gives a stream borrowed slices of bytes. A stream that keeps the bytes it was given, as a simulated one does until
//! they have arrived, has to copy them. But large slices are parts of bodies that passed this module before. So bodies are
//! noted when HTTP/2 reads them, and their slices are found again by their address when HTTP/2 writes them.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tonic::{Status, body::Body};

use crate::{sync::lock, world::Stream};

/// Smallest slice that passes without a copy, in bytes. Copying a smaller one is cheaper than a write of its own.
pub(crate) const LARGE: usize = 32 * 1024;

/// Large pieces of bodies that were read and not yet written, of one connection. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Payloads(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// True if the stream kept chunks when it was last asked.
    wanted: bool,
    pieces: Vec<Bytes>,
}

impl Payloads {
    /// Wraps `body` so that its large pieces are noted when they are read.
    pub(crate) fn noted(&self, body: Body) -> Noted {
        Noted { body, payloads: self.clone() }
    }

    /// Notes `data`, if it is large and the stream keeps chunks.
    fn note(&self, data: &Bytes) {
        if data.len() < LARGE {
            return;
        }
        let mut state = self.state();
        if state.wanted {
            // Pieces without another owner were dropped by HTTP/2, or were written in small slices.
            state.pieces.retain(|piece| !piece.is_unique());
            state.pieces.push(data.clone());
        }
    }

    /// Sets whether the stream keeps chunks. Pieces are forgotten when that changes.
    fn set_wanted(&self, wanted: bool) {
        let mut state = self.state();
        if state.wanted != wanted {
            *state = State { wanted, pieces: Vec::new() };
        }
    }

    /// Returns `slice` as a part of the noted piece that contains it, or `None` if no piece does.
    fn find(&self, slice: &[u8]) -> Option<Bytes> {
        self.state().pieces.iter().find(|piece| contains(piece, slice)).map(|piece| piece.slice_ref(slice))
    }

    /// Forgets the piece that `slice`, which was written, is the end of.
    fn forget(&self, slice: &[u8]) {
        self.state().pieces.retain(|piece| piece.as_ptr_range().end != slice.as_ptr_range().end);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

/// Returns true if `slice` lies in the memory of `piece`.
fn contains(piece: &[u8], slice: &[u8]) -> bool {
    let piece = piece.as_ptr_range();
    let slice = slice.as_ptr_range();
    piece.start <= slice.start && slice.end <= piece.end
}

/// A body whose large pieces are noted when they are read.
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

/// A body that joins a small piece of data and the one after it, which together are one DATA frame. So a message can consist of its start
/// and of a large tail that is not copied, and looks as one that was encoded in one piece.
pub(crate) struct Joined {
    body: Noted,
    /// The frame or error that followed a piece and is not joined with it; `Some(None)` is the end of the body.
    ahead: Option<Option<Result<Frame<Bytes>, Status>>>,
    /// True if the end of the body is known as soon as its last piece is, so that one frame has both.
    ends_with_data: bool,
}

impl Joined {
    /// Joins the pieces of `body`. Their end travels with the last of them if `ends_with_data`, and in a frame of its own otherwise.
    pub(crate) fn new(body: Noted, ends_with_data: bool) -> Self {
        Self { body, ahead: None, ends_with_data }
    }

    /// Returns the piece after a small `first`, if there is one already.
    fn second(&mut self, first: &Bytes, cx: &mut Context<'_>) -> Bytes {
        if first.len() >= LARGE || self.body.is_end_stream() {
            return Bytes::new();
        }
        let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx) else { return Bytes::new() };
        match next {
            Some(Ok(frame)) if frame.is_data() => frame.into_data().unwrap_or_default(),
            other => {
                self.ahead = Some(other);
                Bytes::new()
            }
        }
    }

    /// Looks whether the end follows what is about to be sent.
    fn look_for_end(&mut self, cx: &mut Context<'_>) {
        if self.ends_with_data
            && self.ahead.is_none()
            && !self.body.is_end_stream()
            && let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx)
        {
            self.ahead = Some(next);
        }
    }
}

impl HttpBody for Joined {
    type Data = Two;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = match self.ahead.take() {
            Some(ahead) => ahead,
            None => ready!(Pin::new(&mut self.body).poll_frame(cx)),
        };
        Poll::Ready(frame.map(|frame| {
            Ok(frame?.map_data(|first| {
                let second = self.second(&first, cx);
                self.look_for_end(cx);
                Two { first, second }
            }))
        }))
    }

    fn is_end_stream(&self) -> bool {
        match &self.ahead {
            None => self.body.is_end_stream(),
            Some(ahead) => self.ends_with_data && ahead.is_none(),
        }
    }
}

/// Two pieces of data, one after the other, of which either may be empty.
///
/// It is the data of requests and of replies alike, so that a program has the code of HTTP/2 for one kind of data only, which fits into the
/// processor's caches: two kinds made a small simulated call a fifth slower.
#[derive(Debug)]
pub(crate) struct Two {
    first: Bytes,
    second: Bytes,
}

impl From<Bytes> for Two {
    fn from(first: Bytes) -> Self {
        Self { first, second: Bytes::new() }
    }
}

impl Buf for Two {
    fn remaining(&self) -> usize {
        self.first.len() + self.second.len()
    }

    fn chunk(&self) -> &[u8] {
        if self.first.is_empty() { &self.second } else { &self.first }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [io::IoSlice<'a>]) -> usize {
        let pieces = [&self.first, &self.second].into_iter().filter(|piece| !piece.is_empty());
        pieces.zip(slices).map(|(piece, slice)| *slice = io::IoSlice::new(piece)).count()
    }

    fn advance(&mut self, count: usize) {
        let of_first = count.min(self.first.len());
        self.first.advance(of_first);
        self.second.advance(count - of_first);
    }
}

/// A stream with hyper's traits, which finds noted pieces in what is written.
pub(crate) struct Io<S> {
    stream: TokioIo<S>,
    payloads: Payloads,
    /// True if the stream kept chunks when it was last asked, as in `payloads`.
    keeps_chunks: bool,
}

impl<S: Stream> Io<S> {
    /// Wraps `stream`.
    pub(crate) fn new(stream: S) -> Self {
        let payloads = Payloads::default();
        let keeps_chunks = stream.keeps_chunks();
        payloads.set_wanted(keeps_chunks);
        Self { stream: TokioIo::new(stream), payloads, keeps_chunks }
    }

    /// Returns the pieces of this connection, to note bodies with.
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

    /// Writes the slices before the first large one of a noted piece, or that one if it is the first.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, payloads, keeps_chunks: kept_chunks } = &mut *self;
        let keeps_chunks = stream.inner().keeps_chunks();
        // The pieces are locked only if something changes: most writes are small ones.
        if std::mem::replace(kept_chunks, keeps_chunks) != keeps_chunks {
            payloads.set_wanted(keeps_chunks);
        }
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
    use std::collections::VecDeque;

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;

    /// A stream that records what was written to it, and in which way.
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

        /// Takes one part of the chunk at a time.
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
    fn a_large_noted_slice_passes_without_a_copy_and_is_forgotten() {
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
    fn an_unknown_or_small_slice_is_copied() {
        let mut io = Io::new(Keeper::default());
        let known = Bytes::from(vec![1; 2 * LARGE]);
        let unknown = Bytes::from(vec![2; LARGE]);
        io.payloads().note(&known);
        assert_eq!(write(&mut io, &[&unknown]), LARGE);
        assert_eq!(write(&mut io, &[&known[..100]]), 100);
        let keeper = io.stream.inner();
        assert_eq!((keeper.copied.len(), keeper.chunks.len()), (LARGE + 100, 0));
    }

    /// A body of these frames, each of which is there at once.
    struct Frames(VecDeque<Frame<Bytes>>);

    impl HttpBody for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    fn joined_body(pieces: &[&'static [u8]], has_trailers: bool, ends_with_data: bool) -> Joined {
        let data = pieces.iter().map(|piece| Frame::data(Bytes::from_static(piece)));
        let trailers = has_trailers.then(|| Frame::trailers(http::HeaderMap::new()));
        let body = Body::new(Frames(data.chain(trailers).collect()));
        Joined::new(Payloads::default().noted(body), ends_with_data)
    }

    /// Returns the next frame of a body: its data, or an error for the trailers.
    fn next_frame(body: &mut Joined) -> Option<Result<Vec<u8>, ()>> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(frame) = Pin::new(body).poll_frame(&mut cx) else { panic!("it is always ready") };
        let data = frame?.unwrap().into_data();
        Some(data.map(|mut two| two.copy_to_bytes(two.remaining()).to_vec()).map_err(drop))
    }

    /// Returns the frames of a joined body of these pieces, which are the same whether its end is looked for early or not.
    fn joined(pieces: &[&'static [u8]], has_trailers: bool) -> Vec<Result<Vec<u8>, ()>> {
        let [frames, early] = [false, true].map(|ends_with_data| {
            let mut body = joined_body(pieces, has_trailers, ends_with_data);
            std::iter::from_fn(|| next_frame(&mut body)).collect::<Vec<_>>()
        });
        assert_eq!(frames, early);
        frames
    }

    #[test]
    fn the_last_data_is_the_end_if_that_is_wanted_and_no_trailers_follow() {
        static TAIL: [u8; LARGE] = [7; LARGE];
        for (pieces, has_trailers, frames) in [
            (&[&b"head"[..], &TAIL][..], false, 1),
            (&[b"head"], false, 1),
            (&[&TAIL, b"x"], false, 2),
            (&[b"x"], true, 1),
        ] {
            let [mut late, mut early] = [false, true].map(|ends_with_data| {
                let mut body = joined_body(pieces, has_trailers, ends_with_data);
                let frames = (0..frames).map(|_| next_frame(&mut body).map(|_| body.is_end_stream()));
                frames.collect::<Vec<_>>()
            });
            assert_eq!((late.pop(), early.pop()), (Some(Some(false)), Some(Some(!has_trailers))));
            assert!(late.iter().chain(&early).all(|end| *end == Some(false)), "{late:?} {early:?}");
        }
    }

    #[test]
    fn a_small_piece_is_one_frame_with_the_next_and_trailers_stay_apart() {
        static TAIL: [u8; LARGE] = [7; LARGE];
        let whole = [&b"head"[..], &TAIL].concat();
        assert_eq!(joined(&[b"head", &TAIL], true), [Ok(whole), Err(())]);
        assert_eq!(joined(&[&TAIL, b"head", b"x"], false), [Ok(TAIL.to_vec()), Ok(b"headx".to_vec())]);
        assert_eq!(joined(&[b"head"], true), [Ok(b"head".to_vec()), Err(())]);
        assert_eq!(joined(&[], false), []);
    }

    #[test]
    fn two_pieces_are_written_in_slices_or_byte_by_byte() {
        let mut two = Two { first: Bytes::from_static(b"ab"), second: Bytes::from_static(b"cde") };
        let mut slices = [io::IoSlice::new(&[]); 4];
        assert_eq!(two.chunks_vectored(&mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&b"ab"[..], &b"cde"[..]));
        assert_eq!(two.get_u8(), b'a');
        two.advance(2);
        assert_eq!((two.chunk(), two.remaining()), (&b"de"[..], 2));
    }

    #[test]
    fn a_piece_that_http2_dropped_is_not_kept() {
        let io = Io::new(Keeper::default());
        io.payloads().note(&Bytes::from(vec![1; LARGE]));
        let other = Bytes::from(vec![2; LARGE]);
        io.payloads().note(&other);
        assert_eq!(io.payloads().state().pieces, [other]);
    }
}
