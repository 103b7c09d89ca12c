//! A connection that is encrypted.

use std::{
    io::{self, Read, Write},
    mem,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use rustls::Connection;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use super::{TlsError, draws};
use crate::{
    entropy::RandomStream,
    world::{BoxFuture, Cost, SharedWorld, Stream},
};

/// The most bytes that one write encrypts: four records.
const WRITE_BYTES: usize = 64 * 1024;

/// A connection, which is encrypted above `stream`.
///
/// The handshake takes place while the stream is polled, for whatever. Its end is flushed with the first bytes.
pub struct TlsStream<S> {
    stream: S,
    connection: Connection,
    /// The random stream of the connection, if rustls has no randomness of its own.
    draws: Option<RandomStream>,
    charge: Charge,
    /// Bytes that have arrived and that rustls has yet to take.
    arrived: Bytes,
    /// Bytes that rustls has encrypted and that `stream` has yet to take.
    leaving: Bytes,
    /// Number of bytes that were decrypted and read. A peer that stalls in its handshake has none.
    read: Arc<AtomicU64>,
    opening: Arc<Opening>,
}

/// The cost of the computations of a handshake.
pub(super) enum Charge {
    /// Nothing, or they have been paid for.
    Nothing,
    /// The cost that is due when the peer's first bytes have arrived.
    Due(SharedWorld, Cost<'static>),
    /// They are under way.
    Running(BoxFuture<'static, ()>),
}

/// The progress of a connection's handshake, as seen outside of the task that carries the connection.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    has_arrived: AtomicBool,
    arrived: Notify,
    failed: OnceLock<TlsError>,
}

impl Opening {
    /// Completes when the peer's first bytes have arrived that are encrypted data. Only one task may wait.
    ///
    /// A client knows from these that the server has accepted its certificate, which is behind the end of its own handshake.
    pub(crate) async fn until_data(&self) {
        while !self.has_arrived.load(Ordering::Acquire) {
            self.arrived.notified().await;
        }
    }

    /// Returns the reason for which TLS has failed, if it has.
    pub(crate) fn failure(&self) -> Option<&TlsError> {
        self.failed.get()
    }
}

impl<S: Stream> TlsStream<S> {
    pub(super) fn new(stream: S, connection: Connection, draws: Option<RandomStream>, charge: Charge) -> Self {
        let [arrived, leaving] = [Bytes::new(), Bytes::new()];
        let read = Arc::default();
        Self { stream, connection, draws, charge, arrived, leaving, read, opening: Arc::default() }
    }

    /// Returns what is known of its handshake.
    pub(crate) fn opening(&self) -> Arc<Opening> {
        self.opening.clone()
    }

    /// Completes when this end's part of the handshake is complete.
    ///
    /// # Errors
    ///
    /// Returns the error of the stream, or that of TLS.
    pub(super) async fn handshake(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_handshake(cx)).await
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send(cx))?;
            if !self.connection.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_take(cx))?;
        }
    }

    /// Runs `work` with rustls, which draws from the stream of the connection.
    fn with<T>(&mut self, work: impl FnOnce(&mut Connection) -> T) -> T {
        draws::lend(&mut self.draws, || work(&mut self.connection))
    }

    /// Gives the stream what rustls has encrypted, all of it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.leaving.is_empty() {
                if !self.connection.wants_write() {
                    return Poll::Ready(Ok(()));
                }
                let mut records = Vec::new();
                while self.connection.wants_write() {
                    self.connection.write_tls(&mut records)?;
                }
                self.leaving = records.into();
            }
            ready!(self.stream.poll_write_chunk(cx, &mut self.leaving))?;
        }
    }

    /// Gives rustls some of the bytes that have arrived, or the end of the stream.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.arrived.is_empty() {
            self.arrived = ready!(self.stream.poll_read_chunk(cx))?;
            if self.arrived.is_empty() && self.connection.is_handshaking() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        ready!(self.poll_charge(cx));
        let mut arrived = mem::take(&mut self.arrived).reader();
        let processed = self.with(|connection| {
            connection.read_tls(&mut arrived)?;
            connection.process_new_packets().map_err(TlsError).map_err(io::Error::from)
        });
        self.arrived = arrived.into_inner();
        match processed {
            Ok(state) => {
                if state.plaintext_bytes_to_read() > 0 && !self.opening.has_arrived.swap(true, Ordering::AcqRel) {
                    self.opening.arrived.notify_one();
                }
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                if let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>()) {
                    let _ = self.opening.failed.set(error.clone());
                }
                // The alert that says why, as far as the stream takes it at once.
                let _ = self.poll_send(cx);
                Poll::Ready(Err(error))
            }
        }
    }

    /// Pays for the computations of the handshake when they begin, which is with the first bytes of the peer.
    fn poll_charge(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Charge::Due(world, cost) = &self.charge {
            self.charge = Charge::Running(world.compute(*cost, Box::new(|| ())));
        }
        if let Charge::Running(running) = &mut self.charge {
            ready!(running.as_mut().poll(cx));
            self.charge = Charge::Nothing;
        }
        Poll::Ready(())
    }

    /// Completes when there is decrypted data, or when `read` says that the stream has ended. Returns the number of bytes that `read` returns.
    fn poll_plain(
        &mut self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(&mut rustls::Reader<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            // What rustls has to say beside data, such as another key.
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            match self.with(|connection| read(&mut connection.reader())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(bytes) => {
                    self.read.fetch_add(bytes as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(bytes));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(self.poll_take(cx))?;
        }
    }
}

impl<S: Stream> AsyncRead for TlsStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_plain(cx, |reader| {
            let read = reader.read(buf.initialize_unfilled())?;
            buf.advance(read);
            Ok(read)
        }))?;
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_handshake(cx))?;
        let written = self.with(|connection| -> io::Result<usize> {
            let mut writer = connection.writer();
            let mut written = 0;
            for buf in bufs {
                let taken = buf.len().min(WRITE_BYTES - written);
                written += writer.write(&buf[..taken])?;
            }
            Ok(written)
        })?;
        // It is encrypted, and leaves with the next poll at the latest.
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|connection| connection.send_close_notify());
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut chunk = Bytes::new();
        ready!(self.poll_plain(cx, |reader| {
            let mut buffer = vec![0; WRITE_BYTES];
            let read = reader.read(&mut buffer)?;
            buffer.truncate(read);
            chunk = buffer.into();
            Ok(read)
        }))?;
        Poll::Ready(Ok(chunk))
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        let written = ready!(Pin::new(self).poll_write(cx, chunk))?;
        chunk.advance(written);
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {
        self.stream.abort();
    }

    /// Returns the count of decrypted bytes, so that a peer counts as silent until its handshake is complete.
    fn arrivals(&self) -> Option<Arc<AtomicU64>> {
        Some(self.read.clone())
    }

    fn is_reset(&self) -> bool {
        self.stream.is_reset()
    }
}

/// A connection that is encrypted if those of its host are.
pub enum Secured<S> {
    /// It is not.
    Plain(S),
    /// It is.
    Tls(Box<TlsStream<S>>),
}

impl<S: Stream> Secured<S> {
    /// Returns what is known of its handshake, if it is encrypted.
    pub(crate) fn opening(&self) -> Option<Arc<Opening>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream.opening()),
        }
    }
}

/// Calls a method of the stream that it is.
macro_rules! each {
    ($secured:expr, $stream:ident => $call:expr) => {
        match $secured {
            Secured::Plain($stream) => $call,
            Secured::Tls($stream) => $call,
        }
    };
}

impl<S: Stream> AsyncRead for Secured<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl<S: Stream> AsyncWrite for Secured<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(&mut *self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(&mut *self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl<S: Stream> Stream for Secured<S> {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        each!(self, stream => stream.poll_read_chunk(cx))
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_write_chunk(cx, chunk))
    }

    fn keeps_chunks(&self) -> bool {
        each!(self, stream => stream.keeps_chunks())
    }

    fn abort(&mut self) {
        each!(self, stream => stream.abort());
    }

    fn arrivals(&self) -> Option<Arc<AtomicU64>> {
        each!(self, stream => stream.arrivals())
    }

    fn is_reset(&self) -> bool {
        each!(self, stream => stream.is_reset())
    }
}
