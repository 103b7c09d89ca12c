//! The interface that both worlds, the simulation and the real processes, implement.
//!
//! Server, client, load generator and nemesis use time, network, computing and tasks only through a [`World`], and
//! randomness only through [`Entropy`](crate::entropy::Entropy). `.clippy.toml` forbids the calls that would bypass it.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{Arc, Mutex, atomic::AtomicU64},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{record::AttemptId, sync::lock, time::Instant};

/// Time, network, computing and tasks of one host.
pub trait World: Send + Sync + 'static {
    /// Returns the time on the clock of the run.
    fn now(&self) -> Instant;

    /// Returns a future that completes at `at`, or at once if that time has passed.
    fn sleep_until(&self, at: Instant) -> Sleep;

    /// Does the same for a task that only watches others, such as a regular check. The end of the sleep by itself changes
    /// nothing, so [`Calm`] leaves it out.
    fn sleep_idly_until(&self, at: Instant) -> Sleep {
        self.sleep_until(at)
    }

    /// Returns what a world that knows of everything knows of what comes next. By default, as in a real world, it is nothing.
    fn calm(&self) -> Option<Calm> {
        None
    }

    /// Runs `task` on this host until the task ends or the host crashes. The tasks of a frozen host do not run.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Opens a byte stream to the server called `server`. The scenario's network and its faults are not part of it: `link`
    /// adds them.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection is refused or cannot be made.
    fn connect<'a>(&'a self, server: &'a str) -> BoxFuture<'a, io::Result<BoxStream>>;

    /// Listens at this host's address.
    ///
    /// # Errors
    ///
    /// Returns an error if the address cannot be used.
    fn listen(&self) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;

    /// Runs `work`, which computes and does not wait. It takes real time in one world, and in the other the time that `cost` is modelled
    /// with. [`compute`] returns a result.
    fn compute(&self, cost: Cost<'_>, work: Work) -> BoxFuture<'static, ()>;

    /// Returns whether this world has a modelled time for `what`, besides those of the workloads. By default, as in a real world, it has none.
    fn has_time_of(&self, what: &str) -> bool {
        let _ = what;
        false
    }

    /// Returns whether the computations of services are being measured, so that each is an event of the record. By default they are not.
    fn measures_computing(&self) -> bool {
        false
    }

    /// Returns whether the requests of this host have a user agent. By default, as in a simulation, they have none: no server reads it, and
    /// its bytes would change when the messages of recorded runs arrive.
    fn sends_user_agent(&self) -> bool {
        false
    }

    /// Returns whether the last message of a request and its end travel in one DATA frame, as clients of gRPC send them. By default, as in a
    /// simulation, the end has an empty frame of its own, as recorded runs have it.
    fn ends_requests_with_data(&self) -> bool {
        false
    }

    /// Returns the longest time from one segment of a connection to another that its sender sent at one instant. The headers and the message
    /// of a request are such segments; processes write and read them one after another, and a link delays them by one draw. By default, as
    /// in a simulation, there is no such time.
    fn segment_gap(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns the TLS of this host's connections. By default they have none.
    #[cfg(feature = "service")]
    fn tls(&self) -> Option<&crate::tls::Tls> {
        None
    }

    /// Returns the token that the calls of this host contain. By default they contain none.
    fn token(&self) -> Option<&Token> {
        None
    }
}

/// A computation: a function that does not wait.
pub type Work = Box<dyn FnOnce() + Send>;

/// The cost of a computation, and the part that it is for. It names the draw of a modelled time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost<'a> {
    /// The part of a process that computes.
    pub payer: Payer,
    /// The name of what is computed, as calibrations have it, such as the name of a workload.
    pub what: &'a str,
    /// The amount of it, in a unit of its own, such as pixels.
    pub units: u64,
    /// The attempt on whose behalf it is computed.
    pub attempt: AttemptId,
    /// Number of computations for the attempt before this one.
    pub nth: u32,
}

/// The part of a process that computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Payer {
    /// The client of a call: policies, encoding, decoding.
    Client,
    /// The link between two processes.
    Link,
    /// The server of a call: decoding, the service, encoding.
    Server,
    /// The operating system on behalf of a process.
    Kernel,
}

/// Runs `work` on the host of `world`, at this cost, and returns its result.
pub async fn compute<T: Send + 'static>(
    world: &dyn World,
    cost: Cost<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let result = Arc::new(Mutex::new(None));
    let computed = result.clone();
    world.compute(cost, Box::new(move || *lock(&computed) = Some(work()))).await;
    let value = lock(&result).take();
    value.expect("a world runs the work before it says that it is done")
}

/// The times at which something happens in a simulation: timers that fire, on all hosts, for sleeps, messages that arrive and faults. The
/// ends of sleeps by [`World::sleep_idly_until`] are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calm {
    /// Number of things that have happened so far.
    pub happened: u64,
    /// The time of the last of them.
    pub since: Instant,
    /// The time of the next one; [`Instant::NEVER`] if there is none.
    pub until: Instant,
}

/// A shared [`World`].
pub type SharedWorld = Arc<dyn World>;

/// A future that completes at a certain time.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The source of a server's connections.
pub trait Listener: Send {
    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// Returns an error if no more connections can be accepted; a listener is not used after one. A shortage that can pass,
    /// such as one of descriptors, is no such error: the listener waits until it is over.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>>;

    /// Returns what the server reads and writes in place of `stream`, a connection that was accepted here, above TLS if it is encrypted. By
    /// default it is `stream` itself.
    fn adapt(&self, stream: BoxStream) -> BoxStream {
        stream
    }

    /// Returns what a server demands of the peers that connect here. By default it demands nothing, as in a simulation, whose
    /// clients are all known.
    fn terms(&self) -> PeerTerms {
        PeerTerms::default()
    }
}

/// The demands of a server on its peers. A peer that does not keep to them loses its connection, or its call.
#[derive(Clone, Default)]
pub struct PeerTerms {
    /// Limits on what peers can occupy; `None` is no limit.
    pub limits: Option<PeerLimits>,
    /// The secret that each call has to contain; `None` is none.
    pub token: Option<Token>,
}

/// Limits on what the peers of a server can occupy together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Connections that are open at once, at least 1. A further one takes the place of one without a call, or is closed.
    pub connections: usize,
    /// Memory for requests that have not arrived whole and for replies that have not been read, in bytes. Beyond it, the
    /// connection that holds the most is closed.
    pub held_bytes: usize,
    /// Times after which a peer that does not continue is disconnected; `None` is no such time.
    pub patience: Option<Patience>,
}

/// Times after which a peer that does not continue is disconnected. Only time in which the server runs counts: a server that
/// was stopped for an hour disconnects no peer because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Time for the start of the HTTP/2 handshake, the first 33 bytes.
    pub handshake: Duration,
    /// Time in which a connection with unfinished requests or unread replies has to finish or read one of them.
    pub message: Duration,
    /// Time for which a connection may be without calls.
    pub idle: Duration,
}

/// A secret that a client's calls contain and a server compares. Its `Debug` output does not contain it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

/// A token that cannot be used. The secret is not part of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token has 16 to 256 characters, each of them a letter, a digit or one of - . _ ~ + / =")]
pub struct TokenError;

impl Token {
    /// Creates a token from its text.
    ///
    /// # Errors
    ///
    /// Returns an error if the text has fewer than 16 or more than 256 characters, or one that a bearer token (RFC 6750)
    /// does not have.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
        if plain && (16..=256).contains(&text.len()) { Ok(Self(text.into())) } else { Err(TokenError) }
    }

    /// Returns the text of the token.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns true if `text` is the token. The time that it takes does not depend on how much of `text` is right.
    pub fn matches(&self, text: &[u8]) -> bool {
        let differing = self.0.bytes().zip(text).fold(0, |differing, (own, given)| differing | (own ^ given));
        self.0.len() == text.len() && std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// An ordered, reliable stream of bytes in both directions. Chunks can pass without a copy.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Reads some of the bytes that have arrived. An empty chunk is the end of the stream.
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>>;

    /// Writes some bytes of `chunk`, which must not be empty, and removes them from its front.
    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>>;

    /// Returns true if the stream keeps written bytes until they have arrived, so that chunks are cheaper than slices, which
    /// it has to copy. The answer may change over time.
    fn keeps_chunks(&self) -> bool {
        false
    }

    /// Makes a later drop of the stream a reset for the other end instead of the end of the stream, if the network has resets.
    fn abort(&mut self) {}

    /// Returns a count of the bytes that have arrived from the peer, which goes on counting after the stream was moved, or
    /// `None` if the stream does not count them.
    fn arrivals(&self) -> Option<Arc<AtomicU64>> {
        None
    }

    /// Returns true if the peer is known to have reset the stream. A reader or a writer learns it from an error; this is for code that does
    /// neither. A stream that cannot tell returns false.
    fn is_reset(&self) -> bool {
        false
    }
}

/// Copies the bytes of `bufs` into one chunk.
pub fn gather(bufs: &[io::IoSlice<'_>]) -> Bytes {
    let mut chunk = BytesMut::with_capacity(bufs.iter().map(|buf| buf.len()).sum());
    bufs.iter().for_each(|buf| chunk.extend_from_slice(buf));
    chunk.freeze()
}

/// A boxed [`Stream`].
pub type BoxStream = Box<dyn Stream>;

impl Stream for BoxStream {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        (**self).poll_read_chunk(cx)
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        (**self).poll_write_chunk(cx, chunk)
    }

    fn keeps_chunks(&self) -> bool {
        (**self).keeps_chunks()
    }

    fn abort(&mut self) {
        (**self).abort();
    }

    fn arrivals(&self) -> Option<Arc<AtomicU64>> {
        (**self).arrivals()
    }

    fn is_reset(&self) -> bool {
        (**self).is_reset()
    }
}

/// The error of work that was not complete in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time was up")]
pub struct Elapsed;

/// Runs `work` until `at` at the latest.
///
/// # Errors
///
/// Returns [`Elapsed`] if `work` is not complete at `at`. Work that completes exactly at `at` is in time.
pub async fn timeout_at<T>(world: &dyn World, at: Instant, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut work = std::pin::pin!(work);
    let mut sleep = world.sleep_until(at);
    // The work is polled first, so that a tie with the timer counts as in time.
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789abcdef";

    #[test]
    fn a_token_matches_itself_only_and_is_not_printed() {
        let token = Token::new(TEXT).unwrap();
        assert!(token.matches(TEXT.as_bytes()));
        for other in ["", "0123456789abcdeg", "0123456789abcde", "0123456789abcdef0", "x123456789abcdef"] {
            assert!(!token.matches(other.as_bytes()), "{other}");
        }
        assert!(!format!("{token:?}").contains("0123"));
    }

    #[test]
    fn a_text_that_is_short_long_or_no_header_is_no_token() {
        for wrong in ["", &TEXT[1..], &"x".repeat(257), "0123456789 abcdef", "0123456789abcdef\n", "0123456789abcdéf"]
        {
            assert_eq!(Token::new(wrong), Err(TokenError), "{wrong:?}");
        }
        assert!(Token::new(&"x".repeat(256)).is_ok());
    }
}
