//! The budget of one connection as numbers.

use std::time::Duration;

use super::frames::{Frames, LARGE};
use crate::{
    http2::{HEADER_LIST_BYTES_MAX, STREAMS_MAX},
    time::Instant,
};

/// Budget of a new connection: a handshake and the first request with a dozen headers. Floods that reconnect get it every time.
pub(super) const FIRST: i64 = 4 * 1024;

/// Largest budget: the small frames of a thousand calls that are under way in a burst.
pub(super) const MOST: i64 = 64 * 1024;

/// The most that is lent to the requests of a new connection: those of a peer that never finishes any are a flood, too.
pub(super) const LENT_FIRST: i64 = 16 * 1024;

/// The most that is lent to a peer that has sent as much in whole requests: the largest headers of all calls that a connection can
/// have.
const LENT_MAX: i64 = STREAMS_MAX as i64 * HEADER_LIST_BYTES_MAX as i64;

/// Largest debt. It comes from frames that one read has brought together, and from returned loans.
const DEBT_MAX: i64 = 8 * 1024;

/// Budget with which a connection that had none continues, and the fewest bytes that are read at once.
pub(super) const PORTION: i64 = 1024;

/// Bytes that a whole request earns for frames that may follow it: RST_STREAM, WINDOW_UPDATE, trailers, a PING now and then.
pub(super) const WHOLE: i64 = 256;

/// Number of written bytes that earn one. A client acknowledges 16 KiB with 43 bytes at most: two WINDOW_UPDATE and a PING.
const PER_WRITTEN: usize = 64;

/// The budget of one connection as numbers.
#[derive(Debug)]
pub(super) struct Balance {
    frames: Frames,
    /// Bytes that are left, without those that are lent. It can be negative.
    left: i64,
    /// Bytes that are lent to requests that have not arrived whole.
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
    pub(super) fn new(now: Instant) -> Self {
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
    pub(super) fn budget(&self) -> i64 {
        self.left + self.lent
    }

    /// Changes what is left by `change`.
    pub(super) fn add(&mut self, change: i64) {
        self.left = (self.left + change).min(MOST).max(-DEBT_MAX - self.lent);
    }

    /// Pays for `bytes`, which were read.
    pub(super) fn pay(&mut self, bytes: &[u8]) {
        let cost = self.frames.cost(bytes);
        self.add(-cost);
    }

    /// Lets the budget grow until `now`, by `growth` a second.
    pub(super) fn grow(&mut self, now: Instant, growth: i64) {
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
    pub(super) fn wrote(&mut self, bytes: usize) {
        let written = self.written + bytes;
        self.written = written % PER_WRITTEN;
        self.add((written / PER_WRITTEN) as i64);
    }

    /// Lends what the header block of a request costs, and returns how much that is.
    pub(super) fn lend(&mut self) -> i64 {
        let loan = self.frames.block_mean().min(self.lent_max - self.lent);
        self.lent += loan;
        loan
    }

    /// Notes that a request is whole, with a message of `bytes`, to which `loan` was lent. Returns true for the first one.
    pub(super) fn earn(&mut self, loan: i64, bytes: usize) -> bool {
        self.settle(loan);
        let earned = loan + WHOLE + bytes.min(LARGE) as i64;
        self.lent_max = (self.lent_max + earned).min(LENT_MAX);
        self.add(earned);
        !std::mem::replace(&mut self.has_called, true)
    }

    /// Takes back a loan.
    pub(super) fn settle(&mut self, loan: i64) {
        self.lent -= loan;
        self.add(0);
    }

    /// Returns how many bytes to read at most, or `None` if the budget is used up.
    pub(super) fn bytes_to_read(&self) -> Option<usize> {
        let budget = self.budget();
        (budget > 0).then(|| budget.clamp(PORTION, MOST) as usize + self.frames.data_left())
    }
}

/// Returns the time in which `amount` grows with `growth` a second; `None` if it does not grow.
pub(super) fn span_of(amount: i64, growth: i64) -> Option<Duration> {
    let nanos = amount.checked_mul(1_000_000_000)?.checked_div(growth)?;
    u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos)
}
