//! HTTP/2 connections of a replica.

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    TryFutureExt,
    future::{Either, select},
};
use http::Request;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use tokio::sync::{mpsc, watch};

use super::{
    budget::Budgeted,
    calls::Calls,
    health::HealthService,
    injector::Injector,
    peers::{Connected, Peers},
    reflection::Reflection,
    reply::Replied,
    routes::{Routes, header_bytes},
};
use crate::{
    entropy::{Entropy, unit},
    http2::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, HEADER_LIST_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX},
    time::Instant,
    transport::{Executor, Io},
    world::{BoxStream, SharedWorld, Stream, Token, timeout_at},
};

/// State that all connections of a replica share.
pub(super) struct Connections {
    /// The replica's host.
    pub(super) world: SharedWorld,
    /// The peers, if what they can occupy is limited.
    pub(super) peers: Option<Arc<Peers>>,
    /// The token that each call has to contain, if there is one.
    pub(super) token: Option<Token>,
    /// The services that answer the calls.
    pub(super) calls: Arc<Calls>,
    /// The replica's health service.
    pub(super) health: HealthService,
    pub(super) reflection: Reflection,
    /// The injector of the replica, which has the fault of its certificate.
    pub(super) injector: Arc<Injector>,
    /// The age at which connections are ended.
    pub(super) age: MaxAge,
    /// Becomes true when the replica stops.
    pub(super) stopped: watch::Receiver<bool>,
    /// A sender that every open connection holds, so that the receiver learns when the last one has ended.
    pub(super) busy: mpsc::Sender<()>,
}

/// The age at which a replica ends its connections (gRPC A9).
pub(super) struct MaxAge {
    pub(super) age: Option<Duration>,
    pub(super) grace: Option<Duration>,
    pub(super) entropy: Entropy,
    /// Number of connections so far. It names their draws.
    pub(super) connections: AtomicU64,
}

/// How far the age of a connection varies, so that the clients of a server do not reconnect together (A9).
const AGE_JITTER: f64 = 0.1;

impl MaxAge {
    /// Returns how long the next connection lasts, if that is limited.
    fn draw(&self) -> Option<Duration> {
        let age = self.age?;
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let draw = unit(&mut self.entropy.stream_of("server.connection_age", &[number]));
        Some(age.mul_f64(1.0 + AGE_JITTER * (2.0 * draw - 1.0)))
    }
}

impl Connections {
    /// Returns the connection `stream` with TLS, if those of the host have it. The handshake takes place while the connection is served.
    pub(super) fn secured(&self, stream: BoxStream) -> BoxStream {
        match self.world.tls() {
            Some(tls) => tls.accept(&self.world, stream, self.injector.presented()),
            None => stream,
        }
    }

    /// Serves the connection `stream` in a task of its own, until either side closes it. Resets it if there is no place for it.
    pub(super) fn serve(&self, mut stream: BoxStream) {
        let connected = match &self.peers {
            None => None,
            Some(peers) => match peers.enter(self.world.now(), stream.arrivals()) {
                None => return stream.abort(),
                entered => entered,
            },
        };
        let entry = connected.as_ref().map(|connected| connected.entry.clone());
        let routes =
            Arc::new(Routes::new(self.calls.clone(), self.health.clone(), self.reflection.clone(), self.token.clone()));
        let world = self.world.clone();
        let stream = match &entry {
            None => stream,
            Some(entry) => Box::new(Budgeted::new(stream, entry.budget(), world.clone())),
        };
        let io = Io::new(stream);
        let payloads = io.payloads();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let payloads = payloads.clone();
            if let Some(entry) = &entry {
                request.extensions_mut().insert(entry.peer());
            }
            let call = entry.as_ref().map(|entry| entry.call());
            let receiving = call.as_ref().map(|call| call.receive(header_bytes(&request)));
            let answer = routes.clone().answer(world.clone(), request, receiving);
            answer.map_ok(move |response| Replied::respond(response.map(|body| payloads.noted(body)), call))
        });
        let connection = http2::Builder::new(Executor(self.world.clone()))
            // The header's compressed length varies with the wall clock, which would make runs differ; gRPC does not use it.
            .auto_date_header(false)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .serve_connection(io, service);
        let mut stopped = self.stopped.clone();
        let busy = self.busy.clone();
        let clock = self.world.clone();
        let ends_at = self.age.draw().map_or(Instant::NEVER, |age| clock.now() + age);
        let grace = self.age.grace;
        self.world.spawn(Box::pin(async move {
            let serving = async {
                let mut connection = pin!(connection);
                let stop = pin!(async { stopped.wait_for(|stopped| *stopped).await.is_ok() });
                let aged = async {
                    match ends_at {
                        Instant::NEVER => pending().await,
                        ends_at => clock.sleep_until(ends_at).await,
                    }
                };
                let until = match select(connection.as_mut(), select(stop, pin!(aged))).await {
                    Either::Left(_) => return,
                    Either::Right((Either::Left(_), _)) => Instant::NEVER,
                    Either::Right((Either::Right(_), _)) => grace.map_or(Instant::NEVER, |grace| clock.now() + grace),
                };
                connection.as_mut().graceful_shutdown();
                // An error means that the connection broke while it was closed; there is no peer left to report it to. What is
                // left after the grace ends with the connection.
                let _ = timeout_at(&*clock, until, connection).await;
            };
            // A peer that must leave is not waited for: dropping the connection closes the stream.
            select(pin!(serving), pin!(until_closed(connected))).await;
            drop(busy);
        }));
    }
}

/// Completes when the list of peers closes the connection; never without one.
async fn until_closed(connected: Option<Connected>) {
    match connected {
        Some(connected) => drop(connected.closed.await),
        None => pending().await,
    }
}
