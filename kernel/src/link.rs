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
//! * [`Shape`] describes what is done to bytes, and composes the network with the faults; [`LinkShape`] says to which connections.
//! * `lane` is one direction of one connection: the queue of segments on their way.
//! * [`ShapedStream`] is a connection: one lane in each direction around the socket.
//! * `retransmission` computes the times at which TCP tries again.

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

use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;

pub use shape::{LinkShape, PartialShape, Selection, Shape, Way};
pub use stream::ShapedStream;

use crate::{
    entropy::Entropy,
    sync::lock,
    time::Instant,
    world::{BoxStream, SharedWorld},
};
use retransmission::{Retransmission, SYN_TIMEOUT};
use stream::Connection;

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
    connections: Vec<Weak<Connection>>,
    /// Number of connections whose opening has begun, which numbers their random streams.
    opened: u64,
    /// Number of connections that have been open.
    established: u64,
}

impl State {
    /// Returns what the link does to the connection that was open as the `established`th; none while it is being opened.
    fn shape(&self, established: Option<u64>) -> Shape {
        self.shape.on_connection(|partial| match partial.connections {
            Selection::OpenAtStart => {
                let open = self.open_at_start.get(&partial.fault);
                open.zip(established).is_some_and(|(open, established)| established <= *open)
            }
        })
    }
}

impl Link {
    /// Creates a link to `server` that does nothing until [`Self::set_shape`] gives it a shape.
    pub fn new(world: SharedWorld, entropy: Entropy, server: &str) -> Arc<Self> {
        let state = State {
            shape: LinkShape::default(),
            open_at_start: BTreeMap::new(),
            busy_until: [Instant::START; 2],
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
        let open = shape.partial.iter().filter(|partial| partial.connections == Selection::OpenAtStart);
        state.open_at_start =
            open.map(|partial| (partial.fault, begun.get(&partial.fault).copied().unwrap_or(established))).collect();
        self.idle.store(shape.is_none(), Ordering::Release);
        state.shape = shape;
        for connection in state.connections.iter().filter_map(Weak::upgrade) {
            connection.set_shape(state.shape(Some(connection.established())), now);
        }
        self.wake(state);
    }

    /// Resets every open connection.
    pub fn reset(&self) {
        let state = self.state();
        for connection in state.connections.iter().filter_map(Weak::upgrade) {
            connection.reset();
        }
        self.wake(state);
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
        self.pass_handshake(&mut rng).await;
        let opened = self.world.connect(&self.server).await;
        self.pass_handshake(&mut rng).await;
        let connection = self.add_connection();
        Ok(ShapedStream::new(self.clone(), connection, number, Way::To, opened?))
    }

    /// Carries a connection that the server has accepted, at the server's end. The operating system has completed the
    /// handshake before, so the link does not delay the opening, and a cut holds only bytes that are sent later.
    pub fn accept(self: &Arc<Self>, socket: BoxStream) -> ShapedStream {
        let number = self.count_connection();
        ShapedStream::new(self.clone(), self.add_connection(), number, Way::From, socket)
    }

    /// Adds a connection, which is open now.
    fn add_connection(&self) -> Arc<Connection> {
        let mut state = self.state();
        state.established += 1;
        let connection = Connection::new(state.established);
        connection.set_shape(state.shape(Some(state.established)), self.world.now());
        state.connections.push(Arc::downgrade(&connection));
        connection
    }

    /// Waits until one half of a handshake has passed the link.
    async fn pass_handshake(&self, rng: &mut ChaCha8Rng) {
        let sent = self.world.now();
        // A loop, because the retransmission after a cut may fall into the next cut.
        while self.cuts_handshakes() {
            let healed = self.wait_for_heal().await;
            self.world.sleep_until(Retransmission::new(SYN_TIMEOUT).first_at_or_after(sent, healed)).await;
        }
        let delay = {
            let shape = self.state().shape(None);
            shape.delay(rng) + shape.retransmissions(SYN_TIMEOUT, rng)
        };
        if !delay.is_zero() {
            self.world.sleep_until(self.world.now() + delay).await;
        }
    }

    /// Waits until handshakes pass, and returns that time.
    async fn wait_for_heal(&self) -> Instant {
        loop {
            // Registered before the check, so that a change between the check and the wait is not missed.
            let changed = self.changed.notified();
            if !self.cuts_handshakes() {
                return self.world.now();
            }
            changed.await;
        }
    }

    /// Returns true if no handshake completes. A cut in one direction is enough, because a handshake needs both.
    fn cuts_handshakes(&self) -> bool {
        let shape = self.state().shape(None);
        shape.cuts(Way::To) || shape.cuts(Way::From)
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
