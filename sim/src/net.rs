//! The network of the simulated hosts: turmoil's sockets, with the delays of the calibrated network.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use futures_util::future::{Either, select};
use kernel::{
    distribution::Distribution,
    entropy::{Entropy, RandomStream},
    sync::lock,
    world::{BoxFuture, BoxStream, Listener},
};
use tokio::sync::mpsc;
use turmoil::net::{TcpListener, TcpStream};

use crate::{
    activity::Activity,
    clock::Clock,
    host_id::{HostId, MachineId},
    pipe::{Pipe, Transfer},
};

/// The port of host 0; those of the others follow. They are below the ports that connections are opened from.
const FIRST_PORT: u16 = 1_024;

/// The ports that connections are opened from: one for each connection of a machine.
pub(crate) const EPHEMERAL_PORTS: RangeInclusive<u16> = 4_096..=u16::MAX;

const _: () = assert!(FIRST_PORT as usize + HostId::STORE.number < *EPHEMERAL_PORTS.start() as usize, "a port each");

/// Most connections that complete before the server accepts them: Linux's `somaxconn`.
const BACKLOG: usize = 4_096;

/// The network as the hosts see it.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    pub(crate) activity: Activity,
    clock: Arc<Clock>,
    entropy: Entropy,
    times: Times,
    /// The addresses of the machines, by number; known once all have been added to turmoil.
    machines: Arc<OnceLock<Vec<IpAddr>>>,
    connections: Arc<Mutex<Connections>>,
}

/// The delays of the network.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    /// Time of a handshake, one way. Used if `connect` is not known.
    pub(crate) one_way: Distribution,
    /// Time of a handshake, there and back.
    pub(crate) connect: Option<Distribution>,
    pub(crate) to_server: Transfer,
    pub(crate) to_client: Transfer,
}

#[derive(Debug, Default)]
struct Connections {
    /// Connections that a server has accepted while the client's handshake is still on its way back, by the client's
    /// address: the pipe to the server, then the pipe to the client.
    accepted: BTreeMap<SocketAddr, [Arc<Pipe>; 2]>,
    /// The ports of processes that listen.
    listening: BTreeSet<SocketAddr>,
    /// The hosts that are opening a connection, in order, by the address of their machine and the one that they connect to.
    opening: BTreeMap<(IpAddr, SocketAddr), VecDeque<Opening>>,
    /// Connections that hosts have begun to open.
    opened: u64,
    /// Random streams drawn so far. It numbers the next one.
    streams: u64,
}

/// A connection that `from` is opening.
#[derive(Debug, Clone, Copy)]
struct Opening {
    number: u64,
    from: HostId,
}

impl Net {
    pub(crate) fn new(clock: Arc<Clock>, entropy: Entropy, times: Times) -> Self {
        let activity = Activity::default();
        Self { activity, clock, entropy, times, machines: Arc::default(), connections: Arc::default() }
    }

    /// Sets the addresses of the machines, by number.
    ///
    /// # Panics
    ///
    /// Panics if they have been set.
    pub(crate) fn set_machines(&self, machines: Vec<IpAddr>) {
        self.machines.set(machines).expect("the addresses are set once");
    }

    /// Returns the address of `machine`.
    fn machine(&self, machine: MachineId) -> IpAddr {
        self.machines.get().expect("no host runs before the network is complete")[machine.0]
    }

    /// Returns the address at which the process of `host` listens.
    fn address(&self, host: HostId) -> SocketAddr {
        (self.machine(host.machine), FIRST_PORT + host.number as u16).into()
    }

    /// Opens a connection from `from` to `to`, which takes a round trip, whether it is accepted or refused.
    pub(crate) async fn connect(&self, from: HostId, to: HostId) -> io::Result<Connection> {
        if from.machine == to.machine {
            self.activity.uses_loopback();
        }
        let mut rng = self.stream("net.handshake");
        let half = self.times.connect.as_ref().map(|connect| connect.sample(&mut rng) / 2);
        self.cross(from, half.unwrap_or_else(|| self.times.one_way.sample(&mut rng))).await;
        let socket = self.open(from, self.address(to)).await;
        self.cross(from, half.unwrap_or_else(|| self.times.one_way.sample(&mut rng))).await;
        let socket = socket?;
        let accepted = self.connections().accepted.remove(&socket.local_addr()?);
        let [outgoing, incoming] = accepted.expect("a connection is accepted before the client learns of it");
        Ok(Connection { socket, outgoing, incoming })
    }

    /// Lets the operating system at `to` accept or refuse a connection from `from`.
    async fn open(&self, from: HostId, to: SocketAddr) -> io::Result<TcpStream> {
        // turmoil keeps a port for ever for each connection that it refuses. So it sees only those that a process listens for; it
        // refuses them if the process is killed at this very instant.
        if !self.connections().listening.contains(&to) {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, to.to_string()));
        }
        let _entry = self.enter(from, to);
        // Either takes turmoil another step at this instant.
        self.activity.happened();
        TcpStream::connect(to).await
    }

    /// Notes that `from` opens a connection to `to`, until the returned value is dropped.
    fn enter(&self, from: HostId, to: SocketAddr) -> OpeningEntry<'_> {
        let mut connections = self.connections();
        connections.opened += 1;
        let number = connections.opened;
        let key = (self.machine(from.machine), to);
        connections.opening.entry(key).or_default().push_back(Opening { number, from });
        OpeningEntry { net: self, key, number }
    }

    /// Does the operating system's part of listening: it completes connections even while the process is frozen. Returns the
    /// backlog, and the future that fills it with what `end` makes of each connection.
    pub(crate) async fn listen(
        &self,
        host: HostId,
        end: impl Fn(Connection) -> BoxStream + Send + 'static,
    ) -> io::Result<(Backlog, BoxFuture<'static, ()>)> {
        let address = self.address(host);
        let listener = TcpListener::bind(("0.0.0.0", address.port())).await?;
        let (backlog, accepted) = mpsc::channel(BACKLOG);
        self.connections().listening.insert(address);
        let net = self.clone();
        let entry = ListeningEntry { net: self.clone(), address };
        let accept = Box::pin(async move {
            let _entry = entry;
            while let Ok(slot) = backlog.reserve().await {
                let closed = pin!(backlog.closed());
                let accept = pin!(listener.accept());
                let Either::Right((Ok((socket, client)), _)) = select(closed, accept).await else { return };
                net.activity.happened();
                let from = net.opener(client.ip(), address);
                let incoming = net.pipe("net.to_server", host, &net.times.to_server);
                let outgoing = net.pipe("net.to_client", from, &net.times.to_client);
                net.connections().accepted.insert(client, [incoming.clone(), outgoing.clone()]);
                slot.send(end(Connection { socket, outgoing, incoming }));
            }
        });
        Ok((Backlog { accepted }, accept))
    }

    /// Returns the host that opened the connection which was just accepted. turmoil carries the connections between two addresses
    /// in order, and those that were given up are removed.
    fn opener(&self, machine: IpAddr, to: SocketAddr) -> HostId {
        let mut connections = self.connections();
        let opening = connections.opening.get_mut(&(machine, to)).and_then(VecDeque::pop_front);
        opening.expect("every connection that is opened has an entry").from
    }

    /// Builds one direction of a connection, with a random stream of its own named `stream`.
    fn pipe(&self, stream: &str, to: HostId, transfer: &Transfer) -> Arc<Pipe> {
        Pipe::new(self.clock.clone(), to, transfer.clone(), self.stream(stream))
    }

    /// Waits while a part of a handshake of `host` crosses the network.
    async fn cross(&self, host: HostId, delay: Duration) {
        let arrives = self.clock.now() + delay;
        self.clock.sleep_until(host, arrives).await;
    }

    fn stream(&self, name: &str) -> RandomStream {
        let mut connections = self.connections();
        connections.streams += 1;
        self.entropy.stream_of(name, &[connections.streams])
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        lock(&self.connections)
    }
}

/// One end of a connection: turmoil's socket, and the pipes to the other end and from there.
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    pub(crate) outgoing: Arc<Pipe>,
    pub(crate) incoming: Arc<Pipe>,
}

/// The entry of a connection that is being opened, until it is dropped.
struct OpeningEntry<'a> {
    net: &'a Net,
    key: (IpAddr, SocketAddr),
    number: u64,
}

impl Drop for OpeningEntry<'_> {
    /// Removes the entry, unless the connection was accepted.
    fn drop(&mut self) {
        let mut connections = self.net.connections();
        let Some(opening) = connections.opening.get_mut(&self.key) else { return };
        opening.retain(|opening| opening.number != self.number);
        if opening.is_empty() {
            connections.opening.remove(&self.key);
        }
    }
}

/// The entry of an address at which a process listens, until it is dropped.
struct ListeningEntry {
    net: Net,
    address: SocketAddr,
}

impl Drop for ListeningEntry {
    fn drop(&mut self) {
        self.net.connections().listening.remove(&self.address);
    }
}

/// Connections that are complete and that the server has yet to accept.
pub(crate) struct Backlog {
    accepted: mpsc::Receiver<BoxStream>,
}

impl Listener for Backlog {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async { Ok(self.accepted.recv().await.ok_or(io::ErrorKind::NotConnected)?) })
    }
}
