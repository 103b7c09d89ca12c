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
    chunks: VecDeque<(Instant, Bytes)>,
    /// When the end of the stream arrives, once it is on its way.
    end: Option<Instant>,
    /// What was sent last. Nothing overtakes it.
    last: Option<Burst>,
    reader: Option<Waker>,
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
    /// A chunk has arrived.
    Chunk,
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

    /// Sends a chunk off. True if it arrives at once.
    pub(crate) fn push(self: &Arc<Self>, chunk: Bytes) -> bool {
        trace::note(None, || {
            format!("sends {} bytes, {:032x}, to {}", chunk.len(), XxHash3_128::oneshot(&chunk), self.to.name())
        });
        let mut state = self.state();
        let (arrives, at_once) = self.send(&mut state, chunk.len() as u64);
        state.chunks.push_back((arrives, chunk));
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
            Some((arrives, _)) if *arrives <= self.clock.now() => return Head::Chunk,
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
            Some((arrives, _)) => *arrives <= now,
            None => state.end.is_some_and(|arrives| arrives <= now),
        }
    }

    /// The chunk at the head.
    pub(crate) fn pop(&self) -> Option<Bytes> {
        self.state().chunks.pop_front().map(|(_, chunk)| chunk)
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
