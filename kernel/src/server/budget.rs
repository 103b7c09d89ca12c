//! The budget of a connection: how much a peer may send that belongs to no request.
//!
//! A frame such as PING costs a server a microsecond, and a peer can send millions of them in a second. A server that limits its
//! peers therefore reads a connection only as long as its budget lasts, and then lets TCP hold the peer back: what is not read
//! costs nothing. The unit is a byte of a small frame.
//!
//! * Every byte costs one, but those of large DATA frames: a frame of that kind costs its header and little more.
//! * A request that arrives whole earns what it has cost, and [`WHOLE`] more for what may follow it, such as its cancellation. Until
//!   then that is lent, so that a thousand requests can arrive side by side. A request that is cancelled before returns it.
//! * Answers earn a share of their size, for the peer's acknowledgements of them.
//! * New connections have a budget, too, which those that call do not use up.
//! * A budget also grows with time. The connections of a server that have used up theirs share [`GROWTH`], between [`GROWTH_MIN`]
//!   and [`GROWTH_MAX`] each: a single peer with strange habits is not slowed down, and hundreds of floods together take a
//!   few hundredths of a core.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    http2::{HEADER_LIST_BYTES_MAX, STREAMS_MAX},
    sync::lock,
    time::Instant,
    world::{BoxStream, SharedWorld, Sleep, Stream},
};

/// Budget of a new connection: a handshake and the first request with a dozen headers. Floods that reconnect get it every time.
const FIRST: i64 = 4 * 1024;

/// Largest budget: the small frames of a thousand calls that are under way in a burst.
const MOST: i64 = 64 * 1024;

/// The most that is lent to the requests of a new connection: those of a peer that never finishes any are a flood, too.
const LENT_FIRST: i64 = 16 * 1024;

/// The most that is lent to a peer that has sent as much in whole requests: the largest headers of all calls that a connection can
/// have.
const LENT_MAX: i64 = STREAMS_MAX as i64 * HEADER_LIST_BYTES_MAX as i64;

/// Largest debt. It comes from frames that one read has brought together, and from returned loans.
const DEBT_MAX: i64 = 8 * 1024;

/// Growth a second that all connections without budget share: about 3 % of a core.
const GROWTH: i64 = 512 * 1024;

/// Smallest growth of a connection a second. It lets a good client go on within seconds among hundreds of floods.
const GROWTH_MIN: i64 = 1024;

/// Largest growth of a connection a second.
const GROWTH_MAX: i64 = 64 * 1024;

/// Budget with which a connection that had none continues, and the fewest bytes that are read at once.
const PORTION: i64 = 1024;

/// Longest time between two looks at whether the peer of a connection that is not read is still there.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What a whole request earns for frames that may follow it: RST_STREAM, WINDOW_UPDATE, trailers, a PING now and then.
const WHOLE: i64 = 256;

/// Size from which on a DATA frame is large, in bytes.
const LARGE: usize = 1024;

/// Number of bytes of a large DATA frame that cost as much as one other byte. They are copied and counted, and no more.
const PER_LARGE: usize = 512;

/// Number of written bytes that earn one. A client acknowledges 16 KiB with 43 bytes at most: two WINDOW_UPDATE and a PING.
const PER_WRITTEN: usize = 64;

/// Bytes of the HTTP/2 preface of a client.
const PREFACE_BYTES: usize = 24;

/// Bytes of the header of an HTTP/2 frame.
const HEADER_BYTES: usize = 9;

/// The types of frames that differ in what they cost.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// Finds the frames in what a peer sends, and says what they cost.
#[derive(Debug)]
struct Frames {
    /// Bytes of the preface that have not arrived.
    preface: usize,
    /// The header of the frame under way.
    header: [u8; HEADER_BYTES],
    /// Number of bytes of it that have arrived.
    headed: usize,
    /// Bytes of the frame's payload that have not arrived.
    payload: usize,
    /// Number of header blocks so far.
    blocks: i64,
    /// What they have cost.
    block_cost: i64,
}

impl Frames {
    fn new() -> Self {
        Self { preface: PREFACE_BYTES, header: [0; HEADER_BYTES], headed: 0, payload: 0, blocks: 0, block_cost: 0 }
    }

    /// Returns what `bytes`, the next ones, cost.
    fn cost(&mut self, mut bytes: &[u8]) -> i64 {
        let mut cost = take(&mut bytes, &mut self.preface);
        while !bytes.is_empty() {
            if self.headed < HEADER_BYTES {
                let count = bytes.len().min(HEADER_BYTES - self.headed);
                self.header[self.headed..self.headed + count].copy_from_slice(&bytes[..count]);
                self.headed += count;
                bytes = &bytes[count..];
                if self.headed == HEADER_BYTES {
                    cost += self.begin();
                }
            } else {
                let is_free = self.kind() == DATA && self.length() >= LARGE;
                let count = take(&mut bytes, &mut self.payload);
                cost += if is_free { 0 } else { self.noted(count) };
            }
            if self.headed == HEADER_BYTES && self.payload == 0 {
                self.headed = 0;
            }
        }
        cost
    }

    /// Returns the cost of the header that has arrived, and of the payload if it is large DATA.
    fn begin(&mut self) -> i64 {
        self.payload = self.length();
        match self.kind() {
            DATA => large_data_cost(self.length()).unwrap_or(HEADER_BYTES as i64),
            kind => {
                self.blocks += i64::from(kind == HEADERS);
                self.noted(HEADER_BYTES as i64)
            }
        }
    }

    /// Returns `cost`, which is noted if it is of a header block.
    fn noted(&mut self, cost: i64) -> i64 {
        if matches!(self.kind(), HEADERS | CONTINUATION) {
            self.block_cost += cost;
        }
        cost
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.header;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    fn kind(&self) -> u8 {
        self.header[3]
    }

    /// Returns the number of bytes of the DATA frame under way that have not arrived.
    fn data_left(&self) -> usize {
        if self.headed == HEADER_BYTES && self.kind() == DATA { self.payload } else { 0 }
    }

    /// Returns what the header block of a request has cost on average.
    fn block_mean(&self) -> i64 {
        self.block_cost / self.blocks.max(1)
    }
}

/// Removes up to `left` bytes from the front of `bytes` and from `left`, and returns their number.
fn take(bytes: &mut &[u8], left: &mut usize) -> i64 {
    let count = bytes.len().min(*left);
    *bytes = &bytes[count..];
    *left -= count;
    count as i64
}

/// Returns the cost of a DATA frame with `length` bytes of payload, or `None` if it is not large.
fn large_data_cost(length: usize) -> Option<i64> {
    (length >= LARGE).then_some((HEADER_BYTES + length / PER_LARGE) as i64)
}

/// The budget of one connection as numbers.
#[derive(Debug)]
struct Balance {
    frames: Frames,
    /// What is left, without what is lent. It can be negative.
    left: i64,
    /// What is lent to requests that have not arrived whole.
    lent: i64,
    /// The most that may be lent. It grows with the requests that have arrived whole.
    lent_max: i64,
    /// True once a request was whole.
    has_called: bool,
    /// Written bytes that have earned nothing yet.
    written: usize,
    /// The time until which the budget has grown.
    grown: Instant,
}

impl Balance {
    fn new(now: Instant) -> Self {
        Self {
            frames: Frames::new(),
            left: FIRST,
            lent: 0,
            lent_max: LENT_FIRST,
            has_called: false,
            written: 0,
            grown: now,
        }
    }

    /// Returns the budget.
    fn budget(&self) -> i64 {
        self.left + self.lent
    }

    /// Changes what is left by `change`.
    fn add(&mut self, change: i64) {
        self.left = (self.left + change).min(MOST).max(-DEBT_MAX - self.lent);
    }

    /// Pays for `bytes`, which were read.
    fn pay(&mut self, bytes: &[u8]) {
        let cost = self.frames.cost(bytes);
        self.add(-cost);
    }

    /// Lets the budget grow until `now`, by `growth` a second.
    fn grow(&mut self, now: Instant, growth: i64) {
        let Some(span) = span_of(PORTION, growth) else { return };
        let passed = now.since(self.grown);
        // Whole portions only, so that nothing is lost to rounding however often this is called.
        let portions = i64::try_from(passed.as_nanos() / span.as_nanos()).unwrap_or(MOST);
        if portions > 0 {
            self.add(portions.min(MOST / PORTION + DEBT_MAX / PORTION) * PORTION);
            self.grown = if portions > MOST { now } else { self.grown + span * portions as u32 };
        }
    }

    /// Notes `bytes` written bytes.
    fn wrote(&mut self, bytes: usize) {
        let written = self.written + bytes;
        self.written = written % PER_WRITTEN;
        self.add((written / PER_WRITTEN) as i64);
    }

    /// Lends what the header block of a request costs, and returns how much that is.
    fn lend(&mut self) -> i64 {
        let loan = self.frames.block_mean().min(self.lent_max - self.lent);
        self.lent += loan;
        loan
    }

    /// Notes that a request is whole, with a message of `bytes`, to which `loan` was lent. Returns true for the first one.
    fn earn(&mut self, loan: i64, bytes: usize) -> bool {
        self.settle(loan);
        let earned = loan + WHOLE + bytes.min(LARGE) as i64;
        self.lent_max = (self.lent_max + earned).min(LENT_MAX);
        self.add(earned);
        !std::mem::replace(&mut self.has_called, true)
    }

    /// Takes back a loan.
    fn settle(&mut self, loan: i64) {
        self.lent -= loan;
        self.add(0);
    }

    /// Returns how many bytes to read at most, or `None` if the budget is used up.
    fn bytes_to_read(&self) -> Option<usize> {
        let budget = self.budget();
        (budget > 0).then(|| budget.clamp(PORTION, MOST) as usize + self.frames.data_left())
    }
}

/// Returns the time in which `amount` grows with `growth` a second; `None` if it does not grow.
fn span_of(amount: i64, growth: i64) -> Option<Duration> {
    let nanos = amount.checked_mul(1_000_000_000)?.checked_div(growth)?;
    u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos)
}

/// Most new connections at once, and a second. Those whose peer then sends a whole request do not count. A peer that reconnects
/// without end takes a millisecond of processor time each time, at both ends together.
pub(super) const ARRIVALS: u32 = 256;
pub(super) const ARRIVALS_PER_S: u32 = 200;

/// The new connections that may be accepted.
#[derive(Debug)]
struct Arrivals {
    /// Their number.
    left: u32,
    /// The time until which the number has grown.
    grown: Instant,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { left: ARRIVALS, grown: Instant::START }
    }
}

impl Arrivals {
    /// Takes one off, or returns when there is one again.
    fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let span = Duration::from_secs(1) / ARRIVALS_PER_S;
        let new = u32::try_from(now.since(self.grown).as_nanos() / span.as_nanos()).unwrap_or(u32::MAX);
        // A full number does not grow: the time in which it was full is no credit.
        self.grown = if new >= ARRIVALS - self.left { now } else { self.grown + span * new };
        self.left = self.left.saturating_add(new).min(ARRIVALS);
        if self.left == 0 {
            return Err(self.grown + span);
        }
        self.left -= 1;
        Ok(())
    }

    /// Takes back that a connection counted.
    fn give_back(&mut self) {
        self.left = (self.left + 1).min(ARRIVALS);
    }
}

/// What the budgets of a server's connections share.
#[derive(Debug, Default)]
pub(super) struct Growth {
    arrivals: Mutex<Arrivals>,
    /// Number of connections whose budget is used up.
    paused: AtomicI64,
}

impl Growth {
    /// Waits until a new connection may be accepted.
    pub(super) async fn admit(&self, world: &SharedWorld) {
        loop {
            let taken = lock(&self.arrivals).take(world.now());
            match taken {
                Ok(()) => return,
                Err(until) => world.sleep_until(until).await,
            }
        }
    }

    /// Returns by how much the budget of each connection grows a second.
    fn of_each(&self) -> i64 {
        (GROWTH / self.paused.load(Ordering::Relaxed).max(1)).clamp(GROWTH_MIN, GROWTH_MAX)
    }
}

/// The budget of one connection, which its stream and its calls share.
#[derive(Debug)]
pub(super) struct Budget {
    growth: Arc<Growth>,
    /// True while the reader of the connection waits for budget.
    is_paused: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    balance: Balance,
    /// Wakes the reader of the connection, which waits for budget.
    reader: Option<Waker>,
}

impl Budget {
    /// Creates the budget of a connection that begins at `now`.
    pub(super) fn new(growth: Arc<Growth>, now: Instant) -> Arc<Self> {
        let state = State { balance: Balance::new(now), reader: None };
        Arc::new(Self { growth, is_paused: AtomicBool::new(false), state: Mutex::new(state) })
    }

    /// Returns true if the budget is used up, and the connection is not read.
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }

    /// Lends what a request costs, until the loan is dropped or the request is whole.
    pub(super) fn lend(self: &Arc<Self>) -> Loan {
        let amount = self.change(Balance::lend);
        Loan { budget: self.clone(), amount }
    }

    /// Changes the balance, and wakes the reader if it waits and can go on.
    fn change<T>(&self, change: impl FnOnce(&mut Balance) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state.balance);
        let reader = if state.balance.budget() > 0 { self.resume(&mut state) } else { None };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        changed
    }

    /// Returns how many bytes to read at most. If the budget is used up, returns when to ask again, and wakes the task of `cx` if
    /// something is earned before.
    fn bytes_to_read(&self, now: Instant, cx: &Context<'_>) -> Result<usize, Instant> {
        let mut state = self.state();
        let growth = self.growth.of_each();
        state.balance.grow(now, growth);
        if let Some(bytes) = state.balance.bytes_to_read() {
            self.resume(&mut state);
            return Ok(bytes);
        }
        if state.reader.is_none() {
            self.growth.paused.fetch_add(1, Ordering::Relaxed);
            self.is_paused.store(true, Ordering::Relaxed);
        }
        state.reader = Some(cx.waker().clone());
        let wait = span_of(PORTION - state.balance.budget(), growth).unwrap_or(LOOK_INTERVAL);
        Err(now + wait.min(LOOK_INTERVAL))
    }

    /// Ends the pause, and returns the reader's waker if there was one.
    fn resume(&self, state: &mut State) -> Option<Waker> {
        let reader = state.reader.take();
        if reader.is_some() {
            self.growth.paused.fetch_sub(1, Ordering::Relaxed);
            self.is_paused.store(false, Ordering::Relaxed);
        }
        reader
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Uses up the budget, and pauses the connection at `now`.
    #[cfg(test)]
    pub(super) fn exhaust(&self, now: Instant) {
        self.change(|balance| balance.add(-2 * MOST));
        assert!(self.bytes_to_read(now, &Context::from_waker(Waker::noop())).is_err());
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        let reader = self.state().reader.take();
        if reader.is_some() {
            self.growth.paused.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What is lent to a request until it is whole. It is taken back when this is dropped.
#[derive(Debug)]
pub(super) struct Loan {
    budget: Arc<Budget>,
    amount: i64,
}

impl Loan {
    /// Notes that the request has received `bytes` of a DATA frame. Those of a large one have earned what they cost.
    pub(super) fn arrived(&self, bytes: usize) {
        if let Some(cost) = large_data_cost(bytes) {
            self.budget.change(|balance| balance.add(cost));
        }
    }

    /// Notes that the request is whole, with a message of `bytes`: what was lent is earned.
    pub(super) fn earn(&mut self, bytes: usize) {
        let loan = std::mem::take(&mut self.amount);
        if self.budget.change(|balance| balance.earn(loan, bytes)) {
            lock(&self.budget.growth.arrivals).give_back();
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.budget.change(|balance| balance.settle(self.amount));
        }
    }
}

/// A stream that is read within a budget.
pub(super) struct Budgeted {
    stream: BoxStream,
    budget: Arc<Budget>,
    world: SharedWorld,
    /// Completes when the budget may have grown enough; `None` while there is budget.
    pause: Option<Sleep>,
}

impl Budgeted {
    /// Wraps `stream`, which is read within `budget` on the clock of `world`.
    pub(super) fn new(stream: BoxStream, budget: Arc<Budget>, world: SharedWorld) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a payload of zeros.
    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let [.., high, middle, low] = (length as u32).to_be_bytes();
        [&[high, middle, low, kind, 0, 0, 0, 0, 1][..], &vec![0; length]].concat()
    }

    const PING: u8 = 6;
    const RST_STREAM: u8 = 3;

    /// A connection that has said hello. Time passes as the test says.
    struct Peer {
        budget: Arc<Budget>,
        now: Instant,
    }

    impl Peer {
        fn new(growth: &Arc<Growth>) -> Self {
            let budget = Budget::new(growth.clone(), Instant::START);
            budget.change(|balance| balance.pay(&[0; PREFACE_BYTES]));
            Self { budget, now: Instant::START }
        }

        fn sends(&self, bytes: &[u8]) {
            self.budget.change(|balance| balance.pay(bytes));
        }

        /// Sends the frame for as long as the server reads, for `seconds`, and returns how often it was read.
        fn floods(&mut self, frame: &[u8], seconds: u64) -> i64 {
            let end = self.now + Duration::from_secs(seconds);
            let cx = Context::from_waker(Waker::noop());
            let mut count = 0;
            while self.now < end {
                match self.budget.bytes_to_read(self.now, &cx) {
                    Ok(_) => {
                        self.sends(frame);
                        count += 1;
                    }
                    Err(until) => self.now = until,
                }
            }
            count
        }

        /// Returns true if the server reads at this moment.
        fn is_read(&self) -> bool {
            self.budget.bytes_to_read(self.now, &Context::from_waker(Waker::noop())).is_ok()
        }

        /// Sends a request with a message in DATA frames of `frames` bytes, whose call consumes them at once.
        fn calls(&self, frames: &[usize]) {
            self.sends(&self::frame(HEADERS, 150));
            let mut loan = self.budget.lend();
            for length in frames {
                self.sends(&self::frame(DATA, *length));
                loan.arrived(*length);
                assert!(self.is_read(), "a good client is not slowed down");
            }
            loan.earn(frames.iter().sum());
        }
    }

    #[test]
    fn the_cost_of_bytes_does_not_depend_on_how_they_are_cut() {
        let bytes = [vec![7; PREFACE_BYTES], frame(4, 36), frame(HEADERS, 200), frame(DATA, 3), frame(DATA, 5_000)];
        let bytes = [bytes.concat(), frame(PING, 8), frame(CONTINUATION, 0), frame(DATA, 0)].concat();
        let whole = Frames::new().cost(&bytes);
        assert_eq!(whole, 24 + 45 + 209 + 12 + (9 + 9) + 17 + 9 + 9);
        for cut in 1..40 {
            let mut frames = Frames::new();
            let cost: i64 = bytes.chunks(cut).map(|chunk| frames.cost(chunk)).sum();
            assert_eq!((cost, frames.block_mean()), (whole, 218), "{cut}");
        }
    }

    #[test]
    fn a_flood_is_read_as_fast_as_the_budget_grows() {
        let growth = Arc::default();
        let mut alone = Peer::new(&growth);
        let ping = frame(PING, 8);
        let cost = ping.len() as i64;
        let read = alone.floods(&ping, 100);
        assert!((100 * GROWTH_MAX / cost..101 * GROWTH_MAX / cost + FIRST).contains(&read), "{read}");
        // Beside a thousand others it gets the least.
        growth.paused.store(1_000, Ordering::Relaxed);
        let read = Peer::new(&growth).floods(&ping, 100);
        assert!((100 * GROWTH_MIN / cost..=(101 * GROWTH_MIN + FIRST) / cost + 1).contains(&read), "{read}");
    }

    #[test]
    fn connections_without_budget_share_what_it_grows_by() {
        let growth = Arc::default();
        let mut peers: Vec<_> = (0..64).map(|_| Peer::new(&growth)).collect();
        let ping = frame(PING, 8);
        // All of them are paused before time passes.
        for peer in &peers {
            while peer.is_read() {
                peer.sends(&ping);
            }
        }
        let read: i64 = peers.iter_mut().map(|peer| peer.floods(&ping, 10)).sum();
        assert!(read * (ping.len() as i64) < 11 * GROWTH * 3 / 2, "{read}");
        drop(peers);
        assert_eq!(growth.paused.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn requests_that_are_reset_at_once_earn_nothing() {
        let growth = Arc::default();
        let mut peer = Peer::new(&growth);
        let (opened, reset) = (frame(HEADERS, 40), frame(RST_STREAM, 4));
        let cost = (opened.len() + reset.len()) as i64;
        let cx = Context::from_waker(Waker::noop());
        let mut count = 0;
        while peer.now < Instant::START + Duration::from_secs(10) {
            match peer.budget.bytes_to_read(peer.now, &cx) {
                Ok(_) => {
                    peer.sends(&opened);
                    let loan = peer.budget.lend();
                    peer.sends(&reset);
                    drop(loan);
                    count += 1;
                }
                Err(until) => peer.now = until,
            }
        }
        assert!(count * cost <= 11 * GROWTH_MAX + FIRST, "{count}");
    }

    #[test]
    fn new_connections_are_accepted_in_a_burst_and_then_at_a_rate() {
        let growth: Arc<Growth> = Arc::default();
        let accepted = |now| {
            let mut arrivals = lock(&growth.arrivals);
            std::iter::from_fn(|| arrivals.take(now).ok()).count()
        };
        let second = |count| Instant::START + Duration::from_secs(count);
        assert_eq!(accepted(second(1_000)), ARRIVALS as usize);
        assert_eq!(accepted(second(1_000)), 0);
        assert_eq!(accepted(second(1_001)), ARRIVALS_PER_S as usize);
        assert_eq!(accepted(second(2_000)), ARRIVALS as usize);
        // Those that call count once, and not again with the next request.
        let peer = Peer::new(&growth);
        (0..3).for_each(|_| peer.calls(&[200]));
        assert_eq!(accepted(second(2_000)), 1);
    }

    #[test]
    fn requests_that_never_end_are_lent_little() {
        let peer = Peer::new(&Arc::default());
        let opened = frame(HEADERS, 91);
        let mut loans = Vec::new();
        while peer.is_read() {
            peer.sends(&opened);
            loans.push(peer.budget.lend());
        }
        let most = (FIRST + LENT_FIRST) / opened.len() as i64;
        assert!((most - 1..=most + 1).contains(&(loans.len() as i64)), "{} of {most}", loans.len());
    }

    #[test]
    fn calls_and_uploads_of_any_size_never_wait() {
        let growth = Arc::default();
        let peer = Peer::new(&growth);
        // No time passes, so that nothing grows.
        for _ in 0..10_000 {
            peer.calls(&[200]);
        }
        // 16 MiB in the frames of our client, and in the default ones of others.
        for _ in 0..100 {
            peer.calls(&[1024 * 1024; 16]);
            peer.calls(&[16 * 1024; 1024]);
        }
    }

    #[test]
    fn a_thousand_calls_side_by_side_do_not_wait() {
        let peer = Peer::new(&Arc::default());
        (0..200).for_each(|_| peer.calls(&[200]));
        let mut loans = Vec::new();
        for _ in 0..1024 {
            peer.sends(&frame(HEADERS, 60));
            loans.push(peer.budget.lend());
            assert!(peer.is_read());
        }
        for loan in &mut loans {
            peer.sends(&frame(DATA, 197));
            loan.earn(197);
            assert!(peer.is_read());
        }
    }

    #[test]
    fn thousands_of_cancelled_calls_a_second_do_not_wait() {
        let peer = Peer::new(&Arc::default());
        for _ in 0..10_000 {
            peer.calls(&[200]);
            peer.sends(&frame(RST_STREAM, 4));
            assert!(peer.is_read());
        }
    }

    #[test]
    fn an_upload_that_is_cancelled_halfway_costs_little() {
        let mut peer = Peer::new(&Arc::default());
        // Five of 16 MiB a second that are received, and as many that are not.
        for _ in 0..100 {
            peer.now += Duration::from_millis(200);
            assert!(peer.is_read());
            peer.calls(&[1024 * 1024; 16]);
            peer.sends(&frame(HEADERS, 100));
            let loan = peer.budget.lend();
            loan.arrived(1024 * 1024);
            drop(loan);
            // What was under way to a call that is gone.
            (0..4).for_each(|_| peer.sends(&frame(DATA, 1024 * 1024)));
            assert!(peer.is_read());
        }
    }

    #[test]
    fn small_data_frames_of_a_request_that_never_ends_are_a_flood() {
        let growth = Arc::default();
        let mut peer = Peer::new(&growth);
        peer.sends(&frame(HEADERS, 100));
        let _loan = peer.budget.lend();
        let read = peer.floods(&frame(DATA, 1), 10);
        assert!(read * 10 <= 11 * GROWTH_MAX + FIRST, "{read}");
    }

    #[test]
    fn answers_earn_the_acknowledgements_of_them() {
        let peer = Peer::new(&Arc::default());
        for _ in 0..10_000 {
            peer.budget.change(|balance| balance.wrote(16 * 1024));
            [4, 4, 8].iter().for_each(|length| peer.sends(&frame(8, *length)));
            assert!(peer.is_read());
        }
    }

    #[test]
    fn a_reader_without_budget_is_woken_when_something_is_earned() {
        use std::{sync::atomic::AtomicUsize, task::Wake};

        #[derive(Default)]
        struct Count(AtomicUsize);

        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }

        let growth: Arc<Growth> = Arc::default();
        let peer = Peer::new(&growth);
        let mut loan = peer.budget.lend();
        while peer.is_read() {
            peer.sends(&frame(PING, 8));
        }
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        assert!(peer.budget.bytes_to_read(peer.now, &Context::from_waker(&waker)).is_err());
        assert_eq!(growth.paused.load(Ordering::Relaxed), 1);
        loan.earn(0);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(growth.paused.load(Ordering::Relaxed), 0);
        assert!(peer.is_read());
    }
}
