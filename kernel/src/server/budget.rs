//! The budget of a connection: how much a peer may send that belongs to no request.
//!
//! A frame such as PING costs a server a microsecond, and a peer can send millions of them in a second. A server that limits its
//! peers therefore reads a connection only as long as its budget lasts, and then lets TCP hold the peer back: what is not read
//! costs nothing. The unit is a byte of a small frame.
//!
//! * Every byte costs one, but those of large DATA frames: a frame of that kind costs its header and little more.
//! * A request that arrives whole earns what it has cost, and [`WHOLE`](balance::WHOLE) more for what may follow it, such as its cancellation. Until
//!   then that is lent, so that a thousand requests can arrive side by side. A request that is cancelled before returns it.
//! * Answers earn a share of their size, for the peer's acknowledgements of them.
//! * New connections have a budget, too, which those that call do not use up.
//! * A budget also grows with time. The connections of a server that have used up theirs share [`GROWTH`], between [`GROWTH_MIN`]
//!   and [`GROWTH_MAX`] each: a single peer with strange habits is not slowed down, and hundreds of floods together take a
//!   few hundredths of a core.
//!
//! | module | contents |
//! | --- | --- |
//! | `frames` | the frames in what a peer sends, and what they cost |
//! | `balance` | the budget as numbers: what earns and what pays |
//! | `arrivals` | how many new connections are accepted |
//! | `stream` | the stream that is read within the budget |

mod arrivals;
mod balance;
mod frames;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

#[cfg(test)]
pub(super) use self::arrivals::{ARRIVALS, ARRIVALS_PER_S};
pub(super) use self::stream::Budgeted;
use self::{
    arrivals::Arrivals,
    balance::{Balance, PORTION, span_of},
    frames::large_data_cost,
};
use crate::{sync::lock, time::Instant, world::SharedWorld};

/// Growth a second that all connections without budget share: about 3 % of a core.
const GROWTH: i64 = 512 * 1024;

/// Smallest growth of a connection a second. It lets a good client go on within seconds among hundreds of floods.
const GROWTH_MIN: i64 = 1024;

/// Largest growth of a connection a second.
const GROWTH_MAX: i64 = 64 * 1024;

/// Longest time between two looks at whether the peer of a connection that is not read is still there.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The growth that the budgets of a server's connections share.
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
        self.change(|balance| balance.add(-2 * balance::MOST));
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

/// A loan to a request until it is whole. It is taken back when this is dropped.
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
