//! The network of the simulated hosts: turmoil's sockets, with the delays of the calibrated network.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::{Either, select};
use kernel::{
    distribution::Distribution,
    entropy::Entropy,
    sync::lock,
    world::{BoxFuture, BoxStream, Listener},
};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use turmoil::net::{TcpListener, TcpStream};

use crate::{
    activity::Activity, clock::Clock, delay::Delay, host_id::HostId, pipe::Pipe, stream::SimStream, turn::Turn,
};

/// The port on which every replica listens, each on an address of its own.
pub(crate) const PORT: u16 = 50_051;

/// Most connections that complete before the server accepts them: Linux's `somaxconn`.
const BACKLOG: usize = 4_096;

/// The network as the hosts see it.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    pub(crate) activity: Activity,
    clock: Arc<Clock>,
    entropy: Entropy,
    times: Times,
    connections: Arc<Mutex<Connections>>,
}

/// The delays of the network.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    /// Time of a handshake, one way. Used if `connect` is not known.
    pub(crate) one_way: Distribution,
    /// Time of a handshake, there and back.
    pub(crate) connect: Option<Distribution>,
    pub(crate) to_server: Delay,
    pub(crate) to_client: Delay,
}

#[derive(Debug, Default)]
struct Connections {
    /// Connections that a server has accepted while the client's handshake is still on its way back, by the client's
    /// address: the pipe to the server, then the pipe to the client.
    accepted: BTreeMap<SocketAddr, [Arc<Pipe>; 2]>,
    /// Random streams drawn so far. It numbers the next one.
    streams: u64,
}

impl Net {
    pub(crate) fn new(clock: Arc<Clock>, entropy: Entropy, times: Times) -> Self {
        Self { activity: Activity::default(), clock, entropy, times, connections: Arc::default() }
    }

    /// Opens a stream from the client, which takes a round trip, whether it is accepted or refused.
    pub(crate) async fn connect(&self, address: IpAddr) -> io::Result<BoxStream> {
        let mut rng = self.stream("net.handshake");
        let half = self.times.connect.as_ref().map(|connect| connect.sample(&mut rng) / 2);
        self.cross(half.unwrap_or_else(|| self.times.one_way.sample(&mut rng))).await;
        // The server's operating system accepts or refuses. Either takes turmoil another step at this instant.
        self.activity.happened();
        let socket = TcpStream::connect((address, PORT)).await;
        self.cross(half.unwrap_or_else(|| self.times.one_way.sample(&mut rng))).await;
        let socket = socket?;
        let accepted = self.connections().accepted.remove(&socket.local_addr()?);
        let [to_server, to_client] = accepted.expect("a connection is accepted before the client learns of it");
        Ok(Box::new(SimStream::new(socket, to_server, to_client, &self.activity)))
    }

    /// Does the operating system's part of listening: it completes connections even while the process is frozen.
    #[expect(clippy::disallowed_methods, reason = "the operating system is not behind its processes' gate")]
    pub(crate) async fn listen(&self, turn: Arc<Turn>) -> io::Result<Backlog> {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        let (backlog, accepted) = mpsc::channel(BACKLOG);
        let net = self.clone();
        let host = turn.host;
        tokio::spawn(turn.counted(async move {
            while let Ok(slot) = backlog.reserve().await {
                let closed = pin!(backlog.closed());
                let accept = pin!(listener.accept());
                let Either::Right((Ok((socket, client)), _)) = select(closed, accept).await else { return };
                net.activity.happened();
                let to_server = net.pipe("net.to_server", host, &net.times.to_server);
                let to_client = net.pipe("net.to_client", HostId::CLIENT, &net.times.to_client);
                net.connections().accepted.insert(client, [to_server.clone(), to_client.clone()]);
                slot.send(SimStream::new(socket, to_client, to_server, &net.activity));
            }
        }));
        Ok(Backlog { accepted })
    }

    /// Builds one direction of a connection, with a random stream of its own named `stream`.
    fn pipe(&self, stream: &str, to: HostId, delay: &Delay) -> Arc<Pipe> {
        Pipe::new(self.clock.clone(), to, delay.clone(), self.stream(stream))
    }

    /// Waits while a part of a handshake crosses the network.
    async fn cross(&self, delay: Duration) {
        let arrives = self.clock.now() + delay;
        self.clock.sleep_until(HostId::CLIENT, arrives).await;
    }

    fn stream(&self, name: &str) -> ChaCha8Rng {
        let mut connections = self.connections();
        connections.streams += 1;
        self.entropy.stream_of(name, &[connections.streams])
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        lock(&self.connections)
    }
}

/// Connections that are complete and that the server has yet to accept.
pub(crate) struct Backlog {
    accepted: mpsc::Receiver<SimStream>,
}

impl Listener for Backlog {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async {
            let stream = self.accepted.recv().await.ok_or(io::ErrorKind::NotConnected)?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
}
