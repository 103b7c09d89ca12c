//! The peers of a server, and what they occupy: connections, calls and memory.
//!
//! A server that limits its peers enters each connection here. Under pressure it closes connections in this order:
//!
//! * when all places are taken, a new connection takes the place of one that has no call: of one that has used up its budget first,
//!   then of one without a handshake, and then of the one that has been without calls for the longest; if all have calls, the new
//!   one is closed;
//! * when too much memory is held, the connection that holds the most is closed.
//!
//! With [`Patience`], it also closes those that do not continue. That is counted in ticks and not in time, so that the peers of
//! a server which was stopped for a while do not seem late.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    budget::{Budget, Growth, Loan},
    queue::PeerNumber,
};
use crate::{
    sync::lock,
    time::Instant,
    transport::WatchHeld,
    world::{Patience, PeerLimits, SharedWorld},
};

/// Time between two ticks. A limit is exceeded by up to this much before a peer is disconnected.
const TICK: Duration = Duration::from_secs(1);

/// Memory that the server itself occupies for a call whose request it receives, in bytes: its task, and the stream of HTTP/2.
const CALL_BYTES: usize = 14 * 1024;

/// Bytes after which a peer has begun its handshake: the connection preface and the header of the frame SETTINGS.
const HANDSHAKE_BYTES: u64 = 24 + 9;

/// The peers of one server.
#[derive(Debug)]
pub(super) struct Peers {
    limits: PeerLimits,
    /// The growth that the budgets of all peers share.
    growth: Arc<Growth>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Peers by number, in the order of their arrival.
    peers: BTreeMap<u64, Peer>,
    /// Number of peers and of changes so far, which orders them.
    changes: u64,
    /// Number of ticks so far.
    ticks: u64,
    /// Bytes that all peers hold.
    held: usize,
}

/// One connection.
#[derive(Debug)]
struct Peer {
    /// Closes the connection when it is taken out.
    close: Option<oneshot::Sender<()>>,
    /// The budget for frames besides whole requests.
    budget: Arc<Budget>,
    /// Bytes that have arrived, if they are counted.
    arrivals: Option<Arc<AtomicU64>>,
    /// Number of calls that have no answer or whose answer has not been sent.
    calls: usize,
    /// Bytes of unfinished requests and unread replies.
    held: usize,
    /// The change with which its last call began or ended.
    changed: u64,
    /// The tick at which it arrived, or at which something that it held was finished last.
    continued: u64,
    /// The tick at which its last call began or ended.
    called: u64,
}

impl Peer {
    /// Returns true if it has begun the handshake.
    fn has_greeted(&self) -> bool {
        self.calls > 0
            || self.arrivals.as_ref().is_none_or(|arrivals| arrivals.load(Ordering::Relaxed) >= HANDSHAKE_BYTES)
    }

    /// Returns true if it has not done in time what `patience` demands.
    fn is_late(&self, ticks: u64, patience: Patience) -> bool {
        let late = |since: u64, span: Duration| ticks - since > span.as_secs();
        !self.has_greeted() && late(self.called, patience.handshake)
            || self.held > 0 && late(self.continued, patience.message)
            || self.calls == 0 && late(self.called, patience.idle)
    }
}

impl Peers {
    /// Creates the list of peers for `limits`, and starts to disconnect those that do not continue, as a task of `world` that
    /// ends with the list.
    pub(super) fn start(world: &SharedWorld, limits: PeerLimits) -> Arc<Self> {
        let peers = Arc::new(Self { limits, growth: Arc::default(), state: Mutex::default() });
        if let Some(patience) = limits.patience {
            world.spawn(Box::pin(tick(world.clone(), Arc::downgrade(&peers), patience)));
        }
        peers
    }

    /// Waits until a new connection may be accepted.
    pub(super) async fn admit(&self, world: &SharedWorld) {
        self.growth.admit(world).await;
    }

    /// Enters a connection that begins at `now` and whose arriving bytes `arrivals` counts. Returns `None` if there is no place
    /// for it.
    pub(super) fn enter(self: &Arc<Self>, now: Instant, arrivals: Option<Arc<AtomicU64>>) -> Option<Connected> {
        let mut state = self.state();
        if state.open() >= self.limits.connections && !state.close_unused() {
            return None;
        }
        state.changes += 1;
        let number = state.changes;
        let (close, closed) = oneshot::channel();
        let State { ticks, .. } = *state;
        let budget = Budget::new(self.growth.clone(), now);
        let peer = Peer {
            close: Some(close),
            budget: budget.clone(),
            arrivals,
            calls: 0,
            held: 0,
            changed: number,
            continued: ticks,
            called: ticks,
        };
        state.peers.insert(number, peer);
        let entry = Arc::new(Entry { peers: self.clone(), number, budget });
        Some(Connected { entry, closed })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Disconnects the late ones once a tick, for as long as the server has its peers.
async fn tick(world: SharedWorld, peers: Weak<Peers>, patience: Patience) {
    loop {
        world.sleep_until(world.now() + TICK).await;
        let Some(peers) = peers.upgrade() else { return };
        peers.state().tick(patience);
    }
}

impl State {
    /// Returns the number of connections that are not being closed.
    fn open(&self) -> usize {
        self.peers.values().filter(|peer| peer.close.is_some()).count()
    }

    /// Closes a connection without a call. Returns false if all have calls.
    fn close_unused(&mut self) -> bool {
        let unused = self.peers.iter().filter(|(_, peer)| peer.calls == 0 && peer.close.is_some());
        let first = unused
            .min_by_key(|(_, peer)| (!peer.budget.is_paused(), peer.has_greeted(), peer.changed))
            .map(|(number, _)| *number);
        first.is_some_and(|number| self.close(number))
    }

    /// Closes the connection that holds the most.
    fn close_heaviest(&mut self) -> bool {
        let heaviest = self.peers.iter().max_by_key(|(_, peer)| peer.held).map(|(number, _)| *number);
        heaviest.is_some_and(|number| self.close(number))
    }

    /// Closes the connection `number`. What it holds counts no more: it is about to be freed.
    fn close(&mut self, number: u64) -> bool {
        let Some(peer) = self.peers.get_mut(&number) else { return false };
        self.held -= std::mem::take(&mut peer.held);
        let Some(close) = peer.close.take() else { return false };
        // An error means that the connection has ended by itself.
        let _ = close.send(());
        true
    }

    fn tick(&mut self, patience: Patience) {
        self.ticks += 1;
        let late = self.peers.iter().filter(|(_, peer)| peer.is_late(self.ticks, patience));
        let late: Vec<_> = late.map(|(number, _)| *number).collect();
        for number in late {
            self.close(number);
        }
    }
}

/// A connection as its task sees it.
pub(super) struct Connected {
    /// The connection's entry, which its calls share.
    pub(super) entry: Arc<Entry>,
    /// Completes when the connection has to be closed.
    pub(super) closed: oneshot::Receiver<()>,
}

/// The entry of a connection. It is removed when the last clone is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    peers: Arc<Peers>,
    number: u64,
    budget: Arc<Budget>,
}

impl Entry {
    /// Returns the number of the peer.
    pub(super) fn peer(&self) -> PeerNumber {
        PeerNumber(self.number)
    }

    /// Returns the budget within which the connection is read.
    pub(super) fn budget(&self) -> Arc<Budget> {
        self.budget.clone()
    }

    /// Notes that a call begins, which lasts until the returned value is dropped.
    pub(super) fn call(self: &Arc<Self>) -> Call {
        self.change_calls(|calls| calls + 1);
        Call(self.clone())
    }

    fn change_calls(&self, change: impl FnOnce(usize) -> usize) {
        let mut state = self.peers.state();
        state.changes += 1;
        let State { changes, ticks, .. } = *state;
        if let Some(peer) = state.peers.get_mut(&self.number) {
            peer.calls = change(peer.calls);
            peer.changed = changes;
            peer.called = ticks;
        }
    }

    /// Changes what the connection holds from `before` to `after` bytes.
    fn change_held(&self, before: usize, after: usize) {
        let mut state = self.peers.state();
        let State { ticks, .. } = *state;
        let Some(peer) = state.peers.get_mut(&self.number).filter(|peer| peer.close.is_some()) else { return };
        if after == 0 || peer.held == 0 {
            peer.continued = ticks;
        }
        peer.held = peer.held - before + after;
        state.held = state.held - before + after;
        while state.held > self.peers.limits.held_bytes && state.close_heaviest() {}
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.peers.state();
        state.close(self.number);
        state.peers.remove(&self.number);
    }
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Call(Arc<Entry>);

impl Call {
    /// Notes that the connection holds `bytes` more, until the returned value is dropped.
    pub(super) fn hold(&self, bytes: usize) -> Hold {
        let mut hold = Hold { entry: self.0.clone(), bytes: 0 };
        hold.set(bytes);
        hold
    }

    /// Notes that the request of the call is received, whose headers occupy `header_bytes`.
    pub(super) fn receive(&self, header_bytes: usize) -> Receiving {
        Receiving { hold: self.hold(CALL_BYTES + header_bytes), loan: self.0.budget.lend() }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.change_calls(|calls| calls - 1);
    }
}

/// Memory that a connection holds, until this is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    entry: Arc<Entry>,
    bytes: usize,
}

impl Hold {
    /// Notes that it is `bytes` from now on.
    pub(super) fn set(&mut self, bytes: usize) {
        if self.bytes != bytes {
            self.entry.change_held(self.bytes, bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// A request that is received: the memory that it holds, and what its connection's budget lends it.
#[derive(Debug)]
pub(super) struct Receiving {
    hold: Hold,
    loan: Loan,
}

impl WatchHeld for Option<Receiving> {
    /// Notes the bytes of a request that has not arrived whole. When it has, the body that this belongs to is dropped.
    fn holds(&mut self, bytes: usize) {
        if let Some(receiving) = self {
            receiving.hold.set(CALL_BYTES + bytes);
        }
    }

    fn arrived(&mut self, bytes: usize) {
        if let Some(receiving) = self {
            receiving.loan.arrived(bytes);
        }
    }

    fn whole(&mut self, bytes: usize) {
        if let Some(receiving) = self {
            receiving.loan.earn(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use bytes::Buf as _;
    use http_body::Body as _;
    use tonic::body::Body;

    use super::*;
    use crate::{
        server::{
            budget::{ARRIVALS, ARRIVALS_PER_S},
            reply::{Replied, reply},
        },
        transport::Payloads,
    };

    const PATIENCE: Patience =
        Patience { handshake: Duration::from_secs(2), message: Duration::from_secs(4), idle: Duration::from_secs(8) };

    /// Peers whose limits are 2 connections and 100 bytes. Nothing ticks by itself.
    fn peers() -> Arc<Peers> {
        let limits = PeerLimits { connections: 2, held_bytes: 100, patience: Some(PATIENCE) };
        Arc::new(Peers { limits, growth: Arc::default(), state: Mutex::default() })
    }

    fn is_closed(connected: &mut Connected) -> bool {
        connected.closed.try_recv().is_ok()
    }

    /// Lets as many ticks pass, and returns true if the connection was closed at the last one and not before.
    fn is_closed_at(peers: &Peers, connected: &mut Connected, ticks: usize) -> bool {
        let closed: Vec<_> = (0..ticks)
            .map(|_| {
                peers.state().tick(PATIENCE);
                is_closed(connected)
            })
            .collect();
        closed.iter().position(|closed| *closed) == Some(ticks - 1)
    }

    #[test]
    fn a_new_connection_takes_the_place_of_the_one_without_calls_for_the_longest() {
        let peers = peers();
        let mut first = peers.enter(Instant::START, None).unwrap();
        let mut second = peers.enter(Instant::START, None).unwrap();
        drop(first.entry.call());
        let mut third = peers.enter(Instant::START, None).unwrap();
        assert_eq!([&mut first, &mut second, &mut third].map(is_closed), [false, true, false]);
        let call = first.entry.call();
        let mut fourth = peers.enter(Instant::START, None).unwrap();
        assert_eq!([&mut first, &mut third, &mut fourth].map(is_closed), [false, true, false]);
        let other_call = fourth.entry.call();
        assert!(peers.enter(Instant::START, None).is_none(), "all have calls");
        drop(other_call);
        assert!(peers.enter(Instant::START, None).is_some());
        drop(call);
    }

    #[test]
    fn a_connection_without_a_handshake_gives_way_first() {
        let peers = peers();
        let mut greeted = peers.enter(Instant::START, Some(Arc::new(HANDSHAKE_BYTES.into()))).unwrap();
        let mut silent = peers.enter(Instant::START, Some(Arc::new((HANDSHAKE_BYTES - 1).into()))).unwrap();
        let _third = peers.enter(Instant::START, None).unwrap();
        assert!(is_closed(&mut silent) && !is_closed(&mut greeted));
    }

    #[test]
    fn a_connection_that_has_used_up_its_budget_gives_way_first() {
        let peers = peers();
        let mut flooding = peers.enter(Instant::START, Some(Arc::new(HANDSHAKE_BYTES.into()))).unwrap();
        let mut new = peers.enter(Instant::START, Some(Arc::default())).unwrap();
        flooding.entry.budget().exhaust(Instant::START);
        let _third = peers.enter(Instant::START, None).unwrap();
        assert!(is_closed(&mut flooding) && !is_closed(&mut new));
    }

    #[test]
    fn the_place_of_a_connection_is_free_after_it_and_its_calls_have_ended() {
        let peers = peers();
        let first = peers.enter(Instant::START, None).unwrap();
        let second = peers.enter(Instant::START, None).unwrap();
        let calls = [first.entry.call(), second.entry.call()];
        drop([first, second]);
        assert!(peers.enter(Instant::START, None).is_none());
        drop(calls);
        assert_eq!(peers.state().peers.len(), 0);
        assert!(peers.enter(Instant::START, None).is_some());
    }

    #[test]
    fn the_connection_that_holds_the_most_is_closed() {
        let peers = peers();
        let mut good = peers.enter(Instant::START, None).unwrap();
        let mut hostile = peers.enter(Instant::START, None).unwrap();
        let good_call = good.entry.call();
        let hostile_call = hostile.entry.call();
        let own = good_call.hold(40);
        let mut others = hostile_call.hold(0);
        others.set(60);
        assert!(!is_closed(&mut hostile));
        let more = hostile_call.hold(1);
        assert!(is_closed(&mut hostile) && !is_closed(&mut good));
        assert_eq!(peers.state().held, 40);
        // What it still holds is not counted, and is freed without a trace.
        others.set(80);
        drop((others, more, own));
        assert_eq!(peers.state().held, 0);
        // Alone beyond the limit, a connection is closed itself.
        let _all = good_call.hold(101);
        assert!(is_closed(&mut good));
    }

    #[test]
    fn a_peer_that_does_not_continue_is_late() {
        let peers = peers();
        let arrivals = Arc::new(AtomicU64::new(10));
        let mut silent = peers.enter(Instant::START, Some(arrivals)).unwrap();
        assert!(is_closed_at(&peers, &mut silent, 3));

        let mut unused = peers.enter(Instant::START, None).unwrap();
        assert!(is_closed_at(&peers, &mut unused, 9));

        let mut slow = peers.enter(Instant::START, None).unwrap();
        let call = slow.entry.call();
        let hold = call.hold(1);
        assert!(is_closed_at(&peers, &mut slow, 5));
        drop(hold);
    }

    #[test]
    fn a_peer_that_waits_for_its_answer_is_never_late() {
        let peers = peers();
        let mut waiting = peers.enter(Instant::START, Some(Arc::default())).unwrap();
        let call = waiting.entry.call();
        drop(call.hold(10));
        (0..100).for_each(|_| peers.state().tick(PATIENCE));
        assert!(!is_closed(&mut waiting));
        drop(call);
    }

    #[test]
    fn a_task_ticks_once_a_second_and_ends_with_the_list() {
        let network = Arc::new(crate::fuzzing::network::Network::default());
        let world = network.host("server-0");
        let limits = PeerLimits { connections: 2, held_bytes: 100, patience: Some(PATIENCE) };
        let peers = Peers::start(&world, limits);
        let unused = peers.enter(Instant::START, None).unwrap();
        let closed = network.run({
            let world = world.clone();
            async move {
                unused.closed.await.expect("the task closes it");
                world.now()
            }
        });
        // One tick is beyond the patience with an unused connection.
        assert_eq!(closed, crate::time::Instant::START + PATIENCE.idle + TICK);
    }

    #[test]
    fn a_connection_continues_when_it_begins_to_hold_something_and_not_with_more_of_it() {
        let peers = peers();
        let mut slow = peers.enter(Instant::START, None).unwrap();
        let call = slow.entry.call();
        (0..4).for_each(|_| peers.state().tick(PATIENCE));
        let mut hold = call.hold(1);
        for bytes in 2..6 {
            peers.state().tick(PATIENCE);
            hold.set(bytes);
            assert!(!is_closed(&mut slow));
        }
        peers.state().tick(PATIENCE);
        assert!(is_closed(&mut slow), "the fifth tick since it began to hold");
    }

    #[test]
    fn one_that_finishes_something_in_time_is_not_late() {
        let peers = peers();
        let mut busy = peers.enter(Instant::START, None).unwrap();
        let call = busy.entry.call();
        let _old = call.hold(10);
        for _ in 0..10 {
            (0..3).for_each(|_| peers.state().tick(PATIENCE));
            drop(call.hold(10));
        }
        assert!(!is_closed(&mut busy));
    }

    #[test]
    fn a_reply_occupies_memory_until_its_bytes_are_freed_even_after_its_end() {
        let peers = peers();
        let connected = peers.enter(Instant::START, None).unwrap();
        let (_, body, extensions) = reply(Body::new("data".to_owned()), 4).into_parts();
        let mut response = http::Response::new(Payloads::default().noted(body));
        *response.extensions_mut() = extensions;
        let idle = peers.state().held;
        let mut replied = Replied::respond(response, Some(connected.entry.call())).into_body();
        let held = peers.state().held;
        assert!(held > idle);
        assert!(!replied.is_end_stream());
        assert_eq!(replied.size_hint().exact(), Some(4));

        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut replied).poll_frame(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("the body has a frame");
        };
        assert!(replied.is_end_stream());
        drop(replied);
        assert_eq!(peers.state().held, held, "its bytes are not written yet");
        let data = frame.into_data().ok().map(|mut data| data.copy_to_bytes(data.remaining()));
        assert_eq!(data.as_deref(), Some(&b"data"[..]));
        drop(data);
        assert_eq!(peers.state().held, idle);
    }

    #[test]
    fn connections_beyond_a_burst_are_admitted_at_a_rate() {
        let network = Arc::new(crate::fuzzing::network::Network::default());
        let world = network.host("server-0");
        let peers = peers();
        let admitted = network.run(async move {
            for _ in 0..ARRIVALS + 3 * ARRIVALS_PER_S {
                peers.admit(&world).await;
            }
            world.now()
        });
        assert_eq!(admitted, Instant::START + Duration::from_secs(3));
    }
}
