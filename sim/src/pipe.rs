//! One direction of a simulated connection: chunks of bytes on their way, each with its time of arrival.
//!
//! turmoil's socket carries a token for each chunk, and the chunk itself waits here: so it is never copied, order and
//! closing and crashes are turmoil's, and the delay of the network is a timer of the virtual clock that wakes whoever
//! reads. No turn of the driver is spent on what has been sent and has yet to arrive.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Wake, Waker},
};

use bytes::Bytes;
use kernel::{entropy::unit, time::Instant};
use rand_chacha::ChaCha8Rng;
use twox_hash::XxHash3_128;

use crate::{
    clock::{Clock, HostId},
    delay::Delay,
    trace,
};

/// Both ends share it.
#[derive(Debug)]
pub(crate) struct Pipe {
    clock: Arc<Clock>,
    /// Who reads.
    to: HostId,
    delay: Delay,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: ChaCha8Rng,
    chunks: VecDeque<Chunk>,
    /// When the end of the stream arrives, once it is on its way.
    end: Option<Instant>,
    /// What was sent last. Nothing overtakes it.
    last: Option<Burst>,
    reader: Option<Waker>,
}

#[derive(Debug)]
struct Chunk {
    arrives: Instant,
    bytes: Bytes,
    /// It goes with the one before it, whose token is for both.
    joined: bool,
}

/// What was sent at one instant. It arrives at one instant, as segments that leave back to back do, but what makes it
/// larger may make it later.
#[derive(Debug, Clone, Copy)]
struct Burst {
    sent: Instant,
    arrives: Instant,
    bytes: u64,
    /// Where in the distribution of its delay it is.
    probability: f64,
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// A chunk has arrived; there is a token for it.
    Chunk,
    /// A chunk has arrived for which there is none.
    Joined,
    /// One is on its way; the reader is woken when it arrives.
    OnItsWay,
    /// Nothing is on its way.
    Nothing,
}

impl Pipe {
    pub(crate) fn new(clock: Arc<Clock>, to: HostId, delay: Delay, rng: ChaCha8Rng) -> Arc<Self> {
        let state = State { rng, chunks: VecDeque::new(), end: None, last: None, reader: None };
        Arc::new(Self { clock, to, delay, state: Mutex::new(state) })
    }

    /// Sends a chunk off with what was sent before it at this instant, or hands it back if that was nothing or has arrived.
    pub(crate) fn join(self: &Arc<Self>, chunk: Bytes) -> Result<(), Bytes> {
        let (mut state, now) = (self.state(), self.clock.now());
        let is_under_way = state.last.is_some_and(|burst| burst.sent == now && burst.arrives > now);
        if !is_under_way || state.chunks.is_empty() || state.end.is_some() {
            return Err(chunk);
        }
        self.add(&mut state, chunk, true);
        Ok(())
    }

    /// Sends a chunk off, with a token. True if it arrives at once.
    pub(crate) fn push(self: &Arc<Self>, chunk: Bytes) -> bool {
        self.add(&mut self.state(), chunk, false)
    }

    fn add(self: &Arc<Self>, state: &mut State, bytes: Bytes, joined: bool) -> bool {
        trace::note(None, || {
            format!("sends {} bytes, {:032x}, to {}", bytes.len(), XxHash3_128::oneshot(&bytes), self.to.name())
        });
        let (arrives, at_once) = self.send(state, bytes.len() as u64);
        state.chunks.push_back(Chunk { arrives, bytes, joined });
        at_once
    }

    /// Sends the end of the stream off; nothing if it has been.
    pub(crate) fn end(self: &Arc<Self>) {
        let mut state = self.state();
        if state.end.is_none() {
            trace::note(None, || format!("ends a stream to {}", self.to.name()));
            state.end = Some(self.send(&mut state, 0).0);
        }
    }

    /// What there is to read. Unless it is a chunk, `reader` is woken when something arrives.
    pub(crate) fn head(&self, reader: &Waker) -> Head {
        let mut state = self.state();
        let head = match state.chunks.front() {
            Some(chunk) if chunk.arrives <= self.clock.now() => {
                return if chunk.joined { Head::Joined } else { Head::Chunk };
            }
            Some(_) => Head::OnItsWay,
            None => Head::Nothing,
        };
        match &mut state.reader {
            Some(known) => known.clone_from(reader),
            none => *none = Some(reader.clone()),
        }
        head
    }

    /// Whether the end of the stream has arrived, supposing that turmoil has it.
    pub(crate) fn has_ended(&self) -> bool {
        self.state().end.is_none_or(|arrives| arrives <= self.clock.now())
    }

    /// Whether what turmoil has to say of it is later than what it carries: it takes a step, and time none.
    pub(crate) fn waits_for_turmoil(&self) -> bool {
        let (state, now) = (self.state(), self.clock.now());
        match state.chunks.front() {
            Some(chunk) => chunk.arrives <= now,
            None => state.end.is_some_and(|arrives| arrives <= now),
        }
    }

    /// The chunk at the head.
    pub(crate) fn pop(&self) -> Option<Bytes> {
        self.state().chunks.pop_front().map(|chunk| chunk.bytes)
    }

    /// Draws when `bytes` sent now arrive, and has the reader woken then.
    fn send(self: &Arc<Self>, state: &mut State, bytes: u64) -> (Instant, bool) {
        let now = self.clock.now();
        let (bytes, probability) = match state.last {
            Some(burst) if burst.sent == now => (burst.bytes + bytes, burst.probability),
            _ => (bytes, unit(&mut state.rng)),
        };
        let before = state.last.map_or(now, |burst| burst.arrives);
        let arrives = before.max(now + self.delay.quantile(bytes, probability));
        let is_awaited = state.last.is_some_and(|burst| burst.sent == now && burst.arrives == arrives);
        state.last = Some(Burst { sent: now, arrives, bytes, probability });
        if arrives > now && !is_awaited {
            self.clock.wake_at(self.to, arrives, Waker::from(self.clone()));
        }
        (arrives, arrives == now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was sent has arrived.
impl Wake for Pipe {
    fn wake(self: Arc<Self>) {
        let reader = self.state().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}
