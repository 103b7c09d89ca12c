//! One direction of a simulated connection: chunks of bytes on their way, each with its time of arrival.
//!
//! turmoil's socket carries a token for each chunk, and the chunk itself waits here. So chunks are never copied; order,
//! closing and crashes are turmoil's; and the delay of the network is a timer of the virtual clock that wakes the reader.
//! The driver takes no steps for chunks that are on their way.
//!
//! On a machine that all processes share, the chunks of a burst arrive when its processors have done the work of the burst.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    task::{Wake, Waker},
};

use bytes::Bytes;
use kernel::{
    entropy::{RandomStream, unit},
    sync::lock,
    time::Instant,
};
use twox_hash::XxHash3_128;

use crate::{
    clock::Clock,
    delay::Delay,
    host_id::HostId,
    processors::{MessageWork, Processors},
    trace,
};

/// The most bytes of a burst that is a control frame of HTTP/2, such as WINDOW_UPDATE or PING. On a shared machine it takes time, and no
/// processor: no thread waits for it.
const CONTROL_BYTES: u64 = 32;

/// One direction of a connection. Both ends share it.
#[derive(Debug)]
pub(crate) struct Pipe {
    clock: Arc<Clock>,
    /// The host that reads.
    to: HostId,
    transfer: Transfer,
    state: Mutex<PipeState>,
}

/// The cost of a burst until it has arrived.
#[derive(Debug, Clone)]
pub(crate) enum Transfer {
    /// Time.
    Delayed(Delay),
    /// Work of the processors that all processes share.
    Worked(Arc<Processors>, MessageWork),
}

#[derive(Debug)]
struct PipeState {
    rng: RandomStream,
    chunks: VecDeque<Chunk>,
    /// The time at which the end of the stream arrives, once it is on its way.
    end: Option<Instant>,
    /// The last burst that was sent. Nothing overtakes it.
    last: Option<Burst>,
    reader: Option<Waker>,
}

#[derive(Debug)]
struct Chunk {
    /// The time at which it arrives; [`Instant::NEVER`] while that depends on the processors.
    arrives: Instant,
    /// Number of its burst.
    burst: u64,
    bytes: Bytes,
    /// True if it travels with the chunk before it, whose token is for both.
    joined: bool,
}

/// The chunks that are sent at one instant. They arrive at one instant, as segments that leave back to back do, except
/// that a chunk which makes the burst larger may arrive later than those before it.
#[derive(Debug, Clone, Copy)]
struct Burst {
    number: u64,
    sent: Instant,
    arrives: Instant,
    bytes: u64,
    /// Position in the distribution of its delay, from 0 to 1.
    probability: f64,
    /// Number of its work.
    work: Option<u64>,
}

/// The next thing that a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// A chunk that has arrived, with a token.
    Chunk,
    /// A chunk that has arrived, without a token of its own.
    Joined,
    /// A chunk that is on its way; the reader is woken when it arrives.
    OnItsWay,
    /// No chunk at all.
    Nothing,
}

impl Pipe {
    pub(crate) fn new(clock: Arc<Clock>, to: HostId, transfer: Transfer, rng: RandomStream) -> Arc<Self> {
        let state = PipeState { rng, chunks: VecDeque::new(), end: None, last: None, reader: None };
        Arc::new(Self { clock, to, transfer, state: Mutex::new(state) })
    }

    /// Sends a chunk with the chunks that were sent before it at this instant and have yet to arrive. Returns it as an
    /// error if there are none.
    #[inline(always)]
    pub(crate) fn join(self: &Arc<Self>, chunk: Bytes) -> Result<(), Bytes> {
        let mut state = self.state();
        let now = self.clock.now();
        let is_under_way = state.last.is_some_and(|burst| burst.sent == now && burst.arrives > now);
        if !is_under_way || state.chunks.is_empty() || state.end.is_some() {
            return Err(chunk);
        }
        self.add(&mut state, chunk, true);
        Ok(())
    }

    /// Sends a chunk, with a token. Returns true if it arrives at once.
    #[inline]
    pub(crate) fn push(self: &Arc<Self>, chunk: Bytes) -> bool {
        self.add(&mut self.state(), chunk, false)
    }

    #[inline]
    fn add(self: &Arc<Self>, state: &mut PipeState, bytes: Bytes, joined: bool) -> bool {
        trace::note(None, || {
            format!("sends {} bytes, {:032x}, to {}", bytes.len(), XxHash3_128::oneshot(&bytes), self.to.name())
        });
        let (burst, at_once) = self.send(state, bytes.len() as u64);
        state.chunks.push_back(Chunk { arrives: burst.arrives, burst: burst.number, bytes, joined });
        at_once
    }

    /// Sends the end of the stream, unless it has been sent.
    pub(crate) fn end(self: &Arc<Self>) {
        let mut state = self.state();
        if state.end.is_none() {
            trace::note(None, || format!("ends a stream to {}", self.to.name()));
            state.end = Some(self.send(&mut state, 0).0.arrives);
        }
    }

    /// Returns what there is to read. If no chunk has arrived, `reader` is woken when something arrives.
    #[inline(always)]
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

    /// Returns true if the end of the stream has arrived, for a stream that turmoil reports as ended.
    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.state().end.is_none_or(|arrives| arrives <= self.clock.now())
    }

    /// Returns true if a chunk or the end has arrived while turmoil's token or end has not: that takes another step, and
    /// no time.
    #[inline]
    pub(crate) fn waits_for_turmoil(&self) -> bool {
        let state = self.state();
        let now = self.clock.now();
        match state.chunks.front() {
            Some(chunk) => chunk.arrives <= now,
            None => state.end.is_some_and(|arrives| arrives <= now),
        }
    }

    /// Returns true if a chunk has arrived.
    pub(crate) fn has_arrived(&self) -> bool {
        self.state().chunks.front().is_some_and(|chunk| chunk.arrives <= self.clock.now())
    }

    /// Removes and returns the first chunk.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Bytes> {
        self.state().chunks.pop_front().map(|chunk| chunk.bytes)
    }

    /// Sends `bytes` as a part of the burst of this instant, and has the reader woken when it arrives. Returns the burst, and true if it
    /// arrives now.
    fn send(self: &Arc<Self>, state: &mut PipeState, bytes: u64) -> (Burst, bool) {
        let now = self.clock.now();
        let last = state.last;
        let mut burst = match last {
            Some(burst) if burst.sent == now => Burst { bytes: burst.bytes + bytes, ..burst },
            _ => {
                let number = last.map_or(0, |burst| burst.number + 1);
                let own = unit(&mut state.rng);
                let probability = match &self.transfer {
                    Transfer::Worked(processors, _) => processors.varied(own),
                    Transfer::Delayed(_) => own,
                };
                Burst { number, sent: now, arrives: now, bytes, probability, work: None }
            }
        };
        match &self.transfer {
            Transfer::Delayed(delay) => {
                let before = last.map_or(now, |burst| burst.arrives);
                burst.arrives = before.max(now + delay.quantile(burst.bytes, burst.probability));
                // One timer is enough for a burst.
                let is_awaited = last.is_some_and(|last| last.sent == now && last.arrives == burst.arrives);
                if burst.arrives > now && !is_awaited {
                    self.clock.wake_at(self.to, burst.arrives, Waker::from(self.clone()));
                }
            }
            Transfer::Worked(processors, work) => {
                let mut piece = work.piece(burst.bytes, burst.probability);
                piece.wakes_server = self.to != HostId::CLIENT;
                if let Some(number) = burst.work {
                    let before = work.piece(burst.bytes - bytes, burst.probability);
                    processors.extend(number, piece.warm.saturating_sub(before.warm));
                } else if burst.bytes > CONTROL_BYTES {
                    let arrival = Arc::new(Arrival { pipe: self.clone(), burst: burst.number });
                    burst.work = Some(processors.begin(self.to, piece, Waker::from(arrival)));
                    burst.arrives = Instant::NEVER;
                } else {
                    burst.arrives = now + piece.warm;
                    self.clock.wake_at(self.to, burst.arrives, Waker::from(self.clone()));
                }
            }
        }
        state.last = Some(burst);
        (burst, burst.arrives == now)
    }

    /// Notes that the burst of this number has arrived.
    fn arrive(&self, burst: u64) {
        let mut state = self.state();
        let now = self.clock.now();
        for chunk in state.chunks.iter_mut().filter(|chunk| chunk.burst == burst && chunk.arrives > now) {
            chunk.arrives = now;
        }
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, PipeState> {
        lock(&self.state)
    }
}

impl Wake for Pipe {
    /// Wakes the reader when a chunk or the end arrives.
    fn wake(self: Arc<Self>) {
        let reader = self.state().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// The arrival of a burst, once the processors have done its work.
struct Arrival {
    pipe: Arc<Pipe>,
    burst: u64,
}

impl Wake for Arrival {
    fn wake(self: Arc<Self>) {
        self.pipe.arrive(self.burst);
    }
}
