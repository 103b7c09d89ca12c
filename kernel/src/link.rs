//! The network between a client and a server: one layer between the client's transport and its socket.
//!
//! A server that people inject faults into by hand, for whatever clients, has the layer on its own end; see
//! [`Link::accept`]. All else is about the client's.
//!
//! A [`Link`] belongs to a client and a server and carries all connections between them. Both ways it delays,
//! jitters, paces, holds and resets what passes: outgoing bytes before they are written to the socket, incoming
//! ones after they are read from it. It adds the scenario's part to the World's own network, which is a loopback
//! device or a model of one. So a fault means the same in both worlds: what a crashed server sent still arrives, a
//! frozen server's kernel still receives, and nothing terminates TCP in between.
//!
//! * [`Shape`] says what a link does to bytes, and composes what network and faults ask for.
//! * `lane` is one direction of one connection: the queue of segments on their way.
//! * [`ShapedStream`] is a connection: a lane each way around the socket.
//! * `retransmission` knows when TCP tries again.

mod lane;
mod retransmission;
mod shape;
mod stream;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;

pub use shape::{Shape, Way};
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
    /// Whether the state's shape does nothing, to be known without the lock: bytes ask it all the time.
    idle: AtomicBool,
    /// Told of every change of the shape.
    changed: Notify,
}

struct State {
    shape: Shape,
    /// When each way was last cut.
    cut: [Instant; 2],
    /// When the last cut of each way was lifted.
    healed: [Instant; 2],
    /// When the last byte accepted each way will have left, at the link's bandwidth.
    busy_until: [Instant; 2],
    connections: Vec<Weak<Connection>>,
    /// Connections ever opened; numbers their random streams.
    opened: u64,
}

impl Link {
    /// A link to `server` that does nothing until it is given a shape.
    pub fn new(world: SharedWorld, entropy: Entropy, server: &str) -> Arc<Self> {
        let state = State {
            shape: Shape::default(),
            cut: [Instant::START; 2],
            healed: [Instant::START; 2],
            busy_until: [Instant::START; 2],
            connections: Vec::new(),
            opened: 0,
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

    /// The server at the other end.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// From now on the link does `shape`. What is on its way keeps the delay it got; what was held flows again at
    /// TCP's next retransmission, if this lifts the cut.
    pub fn set_shape(&self, shape: Shape) {
        let now = self.world.now();
        let mut state = self.state();
        for way in [Way::To, Way::From] {
            match (state.shape.cuts(way), shape.cuts(way)) {
                (false, true) => state.cut[way as usize] = now,
                (true, false) => state.healed[way as usize] = now,
                _ => {}
            }
        }
        state.shape = shape;
        self.idle.store(shape.is_none(), Ordering::Release);
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

    /// Opens a connection, which takes a round trip: a handshake that is cut off or lost is tried again when TCP
    /// would, from one second on.
    pub async fn connect(self: &Arc<Self>) -> io::Result<ShapedStream> {
        let number = self.count_connection();
        let mut rng = self.entropy.stream_of("link.handshake", &[self.fingerprint(), number]);
        self.pass_handshake(&mut rng).await;
        let opened = self.world.connect(&self.server).await;
        self.pass_handshake(&mut rng).await;
        let connection = Connection::new();
        self.state().connections.push(Arc::downgrade(&connection));
        Ok(ShapedStream::new(self.clone(), connection, number, Way::To, opened?))
    }

    /// Carries a connection that the server has accepted, on the server's end of it. The operating system has completed
    /// its handshake before, so opening it takes no longer than it does, and a cut holds what is sent on it only.
    pub fn accept(self: &Arc<Self>, socket: BoxStream) -> ShapedStream {
        let number = self.count_connection();
        let connection = Connection::new();
        self.state().connections.push(Arc::downgrade(&connection));
        ShapedStream::new(self.clone(), connection, number, Way::From, socket)
    }

    async fn pass_handshake(&self, rng: &mut ChaCha8Rng) {
        let sent = self.world.now();
        // Each try is in vain if it falls into a cut.
        while self.cuts_handshakes() {
            let healed = self.heal().await;
            self.world.sleep_until(Retransmission::of(SYN_TIMEOUT).first_at_or_after(sent, healed)).await;
        }
        let delay = {
            let state = self.state();
            state.shape.delay(rng) + state.shape.retransmissions(SYN_TIMEOUT, rng)
        };
        if !delay.is_zero() {
            self.world.sleep_until(self.world.now() + delay).await;
        }
    }

    /// Waits until handshakes pass, and says since when.
    async fn heal(&self) -> Instant {
        loop {
            let changed = self.changed.notified();
            if !self.cuts_handshakes() {
                return self.world.now();
            }
            changed.await;
        }
    }

    /// A server that is cut off either way completes no handshake.
    fn cuts_handshakes(&self) -> bool {
        let shape = self.state().shape;
        shape.cuts(Way::To) || shape.cuts(Way::From)
    }

    fn count_connection(&self) -> u64 {
        let mut state = self.state();
        state.connections.retain(|connection| connection.strong_count() > 0);
        state.opened += 1;
        state.opened
    }

    fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Acquire)
    }

    /// Tells this link's random streams from those of the others.
    fn fingerprint(&self) -> u64 {
        self.server.bytes().fold(0, |hash, byte| u64::from(byte) ^ u64::rotate_left(hash, 8))
    }

    fn wake(&self, state: MutexGuard<'_, State>) {
        let connections: Vec<_> = state.connections.iter().filter_map(Weak::upgrade).collect();
        // A woken connection takes this lock at once if it runs on another thread.
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
