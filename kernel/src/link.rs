//! The network between a client and a server, as a layer between the client's transport and its socket.
//!
//! A server with manual fault injection, which serves any client, has the layer at its own end; see [`Link::accept`]. The
//! rest of this page describes the client's end.
//!
//! A [`Link`] belongs to a client and a server and carries all connections between them. In both directions it delays,
//! jitters, paces, holds and resets bytes: outgoing bytes before they are written to the socket, incoming bytes after they
//! are read from it. It adds the scenario's network to the World's own, which is a loopback device or a model of one. So a
//! fault has the same meaning in both worlds: bytes that a crashed server has sent still arrive, the operating system of a
//! frozen server still receives, and nothing terminates TCP in between.
//!
//! * [`Shape`] describes what is done to bytes, and composes the network with the faults; [`LinkShape`] says to which connections and which way.
//! * [`BurstLoss`] is the model of losses in bursts.
//! * `lane` is one direction of one connection: the queue of segments on their way.
//! * [`ShapedStream`] is a connection: one lane in each direction around the socket.
//! * `retransmission` computes the times at which TCP tries again.

mod burst;
mod lane;
mod retransmission;
pub mod settings;
mod shape;
mod stream;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

pub use burst::BurstLoss;
pub use shape::{LinkEffect, LinkShape, PartialShape, Selection, Shape, Way};
pub use stream::ShapedStream;

use crate::{
    entropy::{Entropy, RandomStream, unit},
    sync::lock,
    time::Instant,
    world::{BoxStream, SharedWorld},
};
use burst::LossChain;
use retransmission::{Retransmission, SYN_TIMEOUT};
use stream::{Connection, Effect};

/// The link from this client to one server.
pub struct Link {
    world: SharedWorld,
    entropy: Entropy,
    server: String,
    state: Mutex<State>,
    /// True while the shape does nothing. It is kept beside the lock because every read and write of a connection checks it.
    idle: AtomicBool,
    /// Notified of every change of the shape.
    changed: Notify,
}

/// The mutable part of a link. Arrays have one element for each [`Way`].
struct State {
    shape: LinkShape,
    /// Number of connections that had been open when each fault began that applies to open ones.
    open_at_start: BTreeMap<u64, u64>,
    /// Time at which the last accepted byte has left, at the link's bandwidth.
    busy_until: [Instant; 2],
    /// The same for each fault that limits the bandwidth of some connections or of one direction.
    partial_busy_until: BTreeMap<u64, [Instant; 2]>,
    connections: Vec<Weak<Connection>>,
    /// Number of connections whose opening has begun, which numbers their random streams.
    opened: u64,
    /// Number of connections that have been open.
    established: u64,
}

/// A connection, as what a fault applies to.
#[derive(Clone, Copy)]
struct ConnectionId {
    /// Its position among the connections whose opening has begun, from 1.
    number: u64,
    /// Its position among those that have been open, from 1; `None` while it is being opened.
    established: Option<u64>,
}

impl Link {
    /// Creates a link to `server` that does nothing until [`Self::set_shape`] gives it a shape.
    pub fn new(world: SharedWorld, entropy: Entropy, server: &str) -> Arc<Self> {
        let state = State {
            shape: LinkShape::default(),
            open_at_start: BTreeMap::new(),
            busy_until: [Instant::START; 2],
            partial_busy_until: BTreeMap::new(),
            connections: Vec::new(),
            opened: 0,
            established: 0,
        };
        Arc::new(Self {
            world,
            entropy,
            server: server.to_owned(),
            state: Mutex::new(state),
            idle: AtomicBool::new(true),
            changed: Notify::new(),
        })
    }

    /// Returns the name of the server at the other end.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Applies `shape` from now on, in place of the shape before. Segments on their way keep their delay. If this ends a cut,
    /// the segments that it held continue at TCP's next retransmission.
    pub fn set_shape(&self, shape: impl Into<LinkShape>) {
        let shape = shape.into();
        let now = self.world.now();
        let mut state = self.state();
        let established = state.established;
        let begun = std::mem::take(&mut state.open_at_start);
        let open = shape.partial.iter().filter(|partial| partial.effect.connections.open_at_start);
        state.open_at_start =
            open.map(|partial| (partial.fault, begun.get(&partial.fault).copied().unwrap_or(established))).collect();
        state.partial_busy_until.retain(|fault, _| shape.partial.iter().any(|partial| partial.fault == *fault));
        self.idle.store(shape.is_none(), Ordering::Release);
        state.shape = shape;
        for connection in state.connections.iter().filter_map(Weak::upgrade) {
            connection.set_effects(self.effects(&state, connection.id()), now);
        }
        self.wake(state);
    }

    /// Resets every open connection.
    pub fn reset(&self) {
        self.reset_some(0, Selection::default());
    }

    /// Resets the open connections that the fault of this number applies to.
    pub fn reset_some(&self, fault: u64, selection: Selection) {
        let state = self.state();
        for connection in state.connections.iter().filter_map(Weak::upgrade) {
            if self.is_in_share(fault, selection.share, connection.id().number) {
                connection.reset();
            }
        }
        self.wake(state);
    }

    /// Returns whether the fault applies to the connection of this number, if it applies to this share of all.
    fn is_in_share(&self, fault: u64, share: f64, number: u64) -> bool {
        share >= 1.0 || unit(&mut self.entropy.stream_of("link.share", &[self.fingerprint(), fault, number])) < share
    }

    /// Returns what the link does to a connection, in each direction.
    fn effects(&self, state: &State, id: ConnectionId) -> [Effect; 2] {
        let applies = |partial: &PartialShape| {
            let Selection { open_at_start, share } = partial.effect.connections;
            let open = state.open_at_start.get(&partial.fault);
            let was_open = open.zip(id.established).is_some_and(|(open, established)| established <= *open);
            (was_open || !open_at_start) && self.is_in_share(partial.fault, share, id.number)
        };
        let partial: Vec<PartialShape> = state.shape.partial.iter().copied().filter(applies).collect();
        [Way::To, Way::From].map(|way| {
            let partial = partial.iter().filter(|partial| partial.effect.is_on(way)).copied().collect();
            Effect::new(state.shape.all, partial)
        })
    }

    /// Returns the effect on the handshake of the connection of this number, in the direction `way`.
    fn handshake_effect(&self, number: u64, way: Way) -> Effect {
        let [to, from] = self.effects(&self.state(), ConnectionId { number, established: None });
        match way {
            Way::To => to,
            Way::From => from,
        }
    }

    /// Returns the time at which `bytes`, sent at `sent`, have left in the direction `way`, at the bandwidth of the link and that of each of
    /// the `partial` effects, which the connections have in common that the fault applies to.
    fn pace(&self, partial: &[PartialShape], way: Way, sent: Instant, bytes: usize) -> Instant {
        let mut state = self.state();
        let State { shape, busy_until, partial_busy_until, .. } = &mut *state;
        let mut left = sent;
        if shape.all.bandwidth.is_some() {
            left = left.max(shape.all.leave(&mut busy_until[way as usize], sent, bytes));
        }
        for PartialShape { fault, effect } in partial.iter().filter(|partial| partial.effect.shape.bandwidth.is_some())
        {
            let busy_until = partial_busy_until.entry(*fault).or_insert([Instant::START; 2]);
            left = left.max(effect.shape.leave(&mut busy_until[way as usize], sent, bytes));
        }
        left
    }

    /// Returns the state of losses in bursts that the fault has in one direction of the connection of this number. `name` is that of its
    /// random stream.
    fn loss_chain(&self, name: &str, number: u64, way: Way, fault: u64, burst: BurstLoss) -> LossChain {
        LossChain::new(fault, burst, self.entropy.stream_of(name, &[self.fingerprint(), fault, number, way as u64]))
    }

    /// Opens a connection, which takes one round trip. A handshake that is lost, or that falls into a cut, is repeated at the
    /// times of TCP's retransmissions, the first after one second.
    ///
    /// # Errors
    ///
    /// Returns the error of [`World::connect`](crate::world::World::connect).
    pub async fn connect(self: &Arc<Self>) -> io::Result<ShapedStream> {
        let number = self.count_connection();
        let mut rng = self.entropy.stream_of("link.handshake", &[self.fingerprint(), number]);
        self.pass_handshake(number, Way::To, &mut rng).await;
        let opened = self.world.connect(&self.server).await;
        self.pass_handshake(number, Way::From, &mut rng).await;
        let connection = self.add_connection(number);
        Ok(ShapedStream::new(self.clone(), connection, number, Way::To, opened?))
    }

    /// Opens a connection as [`Self::connect`] does, and encrypts it if the connections of this host have TLS.
    ///
    /// # Errors
    ///
    /// Returns the error of [`Self::connect`], or that of the handshake of TLS.
    #[cfg(feature = "service")]
    pub(crate) async fn connect_securely(self: &Arc<Self>) -> io::Result<crate::tls::Secured<ShapedStream>> {
        crate::tls::secure(&self.world, &self.server, self.connect().await?).await
    }

    /// Carries a connection that the server has accepted, at the server's end. The operating system has completed the
    /// handshake before, so the link does not delay the opening, and a cut holds only bytes that are sent later.
    pub fn accept(self: &Arc<Self>, socket: BoxStream) -> ShapedStream {
        let number = self.count_connection();
        ShapedStream::new(self.clone(), self.add_connection(number), number, Way::From, socket)
    }

    /// Adds the connection of this number, which is open now.
    fn add_connection(&self, number: u64) -> Arc<Connection> {
        let mut state = self.state();
        state.established += 1;
        let id = ConnectionId { number, established: Some(state.established) };
        let connection = Connection::new(id);
        connection.set_effects(self.effects(&state, id), self.world.now());
        state.connections.push(Arc::downgrade(&connection));
        connection
    }

    /// Waits until the half of the handshake of the connection of this number that goes `way` has passed the link.
    async fn pass_handshake(&self, number: u64, way: Way, rng: &mut RandomStream) {
        let sent = self.world.now();
        // A loop, because the retransmission after a cut may fall into the next cut.
        while self.cuts_handshake(number) {
            let healed = self.wait_for_heal(number).await;
            self.world.sleep_until(Retransmission::new(SYN_TIMEOUT).first_at_or_after(sent, healed)).await;
        }
        let effect = self.handshake_effect(number, way);
        let chain = |(fault, burst)| self.loss_chain("link.burst.handshake", number, way, fault, burst);
        let mut chains: Vec<LossChain> = effect.bursts().map(chain).collect();
        let delay = effect.shape.delay(rng) + effect.shape.retransmissions(SYN_TIMEOUT, rng, &mut chains);
        if !delay.is_zero() {
            self.world.sleep_until(self.world.now() + delay).await;
        }
    }

    /// Waits until the handshake of this connection passes, and returns that time.
    async fn wait_for_heal(&self, number: u64) -> Instant {
        loop {
            // Registered before the check, so that a change between the check and the wait is not missed.
            let changed = self.changed.notified();
            if !self.cuts_handshake(number) {
                return self.world.now();
            }
            changed.await;
        }
    }

    /// Returns true if the handshake of this connection does not complete. A cut in one direction is enough, because a handshake needs both.
    fn cuts_handshake(&self, number: u64) -> bool {
        [Way::To, Way::From].into_iter().any(|way| self.handshake_effect(number, way).shape.cuts(way))
    }

    /// Counts a new connection and returns its number, from 1.
    fn count_connection(&self) -> u64 {
        let mut state = self.state();
        // Here and not on drop, so that the list stays as short as the number of open connections.
        state.connections.retain(|connection| connection.strong_count() > 0);
        state.opened += 1;
        state.opened
    }

    fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Acquire)
    }

    /// Returns a number that keeps this link's random streams apart from those of other links.
    fn fingerprint(&self) -> u64 {
        self.server.bytes().fold(0, |hash, byte| u64::from(byte) ^ u64::rotate_left(hash, 8))
    }

    /// Wakes the tasks of all connections and handshakes after a change of `state`.
    fn wake(&self, state: MutexGuard<'_, State>) {
        let connections: Vec<_> = state.connections.iter().filter_map(Weak::upgrade).collect();
        // A woken connection on another thread takes this lock at once, so it must be free before.
        drop(state);
        for connection in connections {
            connection.wake();
        }
        self.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

// The host that they run on comes with the feature.
#[cfg(all(test, feature = "service"))]
mod tests;
