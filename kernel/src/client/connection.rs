//! The pooled connection to one server, with the states and the backoff of gRPC's connection-backoff document.
//!
//! IDLE → CONNECTING → READY → IDLE …, and CONNECTING → TRANSIENT_FAILURE → CONNECTING after a backoff. The client connects at
//! once, and reconnects as soon as the connection is lost. After a failure the connection counts as failing until it is ready.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderValue, header::AUTHORIZATION};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use tokio::sync::watch;
use tonic::body::Body;

use super::{
    failure::{Cause, Failure},
    health::ServerHealth,
};
use crate::{
    entropy::{Entropy, unit},
    http2::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX},
    link::Link,
    policy::Servers,
    record::{Event, Recorder},
    status::Code,
    sync::lock,
    time::Instant,
    transport::{Executor, Io, Noted, Payloads, bearer},
    world::{SharedWorld, Stream, timeout_at},
};

// The defaults of the connection-backoff document.
const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
const MULTIPLIER: f64 = 1.6;
const JITTER: f64 = 0.2;
const MAX_BACKOFF: Duration = Duration::from_secs(120);
const MIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The servers whose connections can carry calls. Clones share it.
///
/// Each call asks for it, and there can be a thousand servers: it is one set, so that no call asks each connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Ready(Arc<Mutex<Servers>>);

impl Ready {
    /// Returns the servers.
    pub(super) fn servers(&self) -> Servers {
        *lock(&self.0)
    }
}

/// A handle to the connection, which a task of its own maintains.
pub(super) struct Connection {
    state: watch::Receiver<ConnectionState>,
}

/// The state of the connection as calls see it.
#[derive(Clone)]
enum ConnectionState {
    /// It is being opened for the first time since it was last ready.
    Pending,
    /// It can carry calls.
    Ready(Sender),
    /// It could not be opened at the last attempt.
    Failing(Cause),
}

impl Connection {
    /// Starts to connect, in a task that lasts as long as the host. `ready` has the server for as long as the connection can
    /// carry calls.
    pub(super) fn start(
        world: SharedWorld,
        entropy: Entropy,
        recorder: Recorder,
        link: Arc<Link>,
        health: ServerHealth,
        ready: Ready,
    ) -> Self {
        let (state, watcher) = watch::channel(ConnectionState::Pending);
        let keeper = Keeper { world: world.clone(), entropy, recorder, link, health, ready, state };
        world.spawn(Box::pin(keeper.run()));
        Self { state: watcher }
    }

    /// Returns true if the last attempt to connect failed.
    pub(super) fn is_failing(&self) -> bool {
        matches!(*self.state.borrow(), ConnectionState::Failing(_))
    }

    /// Returns the means to send a request. It waits while the connection is being opened, and fails at once while it is failing.
    pub(super) async fn ready(&self) -> Result<Sender, Failure> {
        // The usual case needs no watcher of its own.
        if let ConnectionState::Ready(sender) = &*self.state.borrow() {
            return Ok(sender.clone());
        }
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, ConnectionState::Pending)).await;
        match settled.as_deref() {
            Ok(ConnectionState::Ready(sender)) => Ok(sender.clone()),
            Ok(ConnectionState::Failing(cause)) => Err(Failure::new(Code::Unavailable, cause.clone())),
            // The task that maintains the connection has ended, with its host.
            Ok(ConnectionState::Pending) | Err(_) => Err(Failure::new(Code::Unavailable, Cause::ConnectionClosed)),
        }
    }

    /// Completes when the connection can carry calls.
    pub(super) async fn is_or_becomes_ready(&self) {
        let mut state = self.state.clone();
        if state.wait_for(|state| matches!(state, ConnectionState::Ready(_))).await.is_err() {
            // The connection never becomes ready any more. Callers have a deadline of their own.
            std::future::pending().await
        }
    }

    /// Completes when the connection becomes ready the next time.
    pub(super) async fn becomes_ready(&mut self) {
        loop {
            if self.state.changed().await.is_err() {
                return std::future::pending().await;
            }
            // The state is marked as seen, or the next `changed` would complete for the same change.
            if matches!(*self.state.borrow_and_update(), ConnectionState::Ready(_)) {
                return;
            }
        }
    }

    /// Returns a handle that has not seen the present state, so that [`becomes_ready`](Self::becomes_ready) completes at once
    /// if the connection is ready.
    pub(super) fn watcher(&self) -> Self {
        let mut state = self.state.clone();
        state.mark_changed();
        Self { state }
    }
}

/// The task that maintains a connection.
struct Keeper {
    world: SharedWorld,
    entropy: Entropy,
    recorder: Recorder,
    link: Arc<Link>,
    health: ServerHealth,
    ready: Ready,
    state: watch::Sender<ConnectionState>,
}

impl Keeper {
    async fn run(self) {
        let mut rng = self.entropy.stream(&format!("connection.{}", self.link.server()));
        let mut backoff = INITIAL_BACKOFF;
        // The backoff counts from the start of an attempt to connect, as in the document: a slow failure is not punished twice.
        let mut retry_at = self.world.now() + backoff;
        loop {
            self.event(Event::Connecting, None);
            match self.connect(retry_at).await {
                Ok(connection) => {
                    let lost = connection.await;
                    self.set(ConnectionState::Pending);
                    self.event(Event::Idle, Some(&lost));
                    // A connection that was ready resets the backoff.
                    backoff = INITIAL_BACKOFF;
                    retry_at = self.world.now() + backoff;
                }
                Err(cause) => {
                    let wait = retry_at.since(self.world.now());
                    let event = self.recorder.event(Event::TransientFailure).target(self.link.server());
                    event.cause(cause.to_string()).duration(wait).record();
                    // No health check can report a server that cannot be connected to.
                    self.health.mark_unhealthy(&cause);
                    self.set(ConnectionState::Failing(cause));
                    self.world.sleep_until(retry_at).await;
                    backoff = backoff.mul_f64(MULTIPLIER).min(MAX_BACKOFF);
                    retry_at = self.world.now() + backoff.mul_f64(1.0 + JITTER * (2.0 * unit(&mut rng) - 1.0));
                }
            }
        }
    }

    /// Opens the connection. The returned future drives it, and completes with the cause when the connection is lost.
    async fn connect(&self, retry_at: Instant) -> Result<impl Future<Output = Cause>, Cause> {
        // Early backoffs are shorter than a connection may take to open over a slow network.
        let give_up = retry_at.max(self.world.now() + MIN_CONNECT_TIMEOUT);
        let stream = match timeout_at(&*self.world, give_up, self.link.connect()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Cause::from_io(&error)),
            Err(_) => return Err(Cause::ConnectTimeout),
        };
        let (sender, connection) = handshake(&self.world, stream).await?;
        self.set(ConnectionState::Ready(sender));
        self.event(Event::Ready, None);
        Ok(connection)
    }

    /// Changes the state, and wakes those who wait for it.
    fn set(&self, state: ConnectionState) {
        let is_ready = matches!(state, ConnectionState::Ready(_));
        lock(&self.ready.0).set(self.health.server(), is_ready);
        self.state.send_replace(state);
    }

    fn event(&self, event: Event, cause: Option<&Cause>) {
        let event = self.recorder.event(event).target(self.link.server());
        match cause {
            Some(cause) => event.cause(cause.to_string()).record(),
            None => event.record(),
        }
    }
}

/// The means to send requests over a connection.
#[derive(Clone)]
pub(super) struct Sender {
    http2: SendRequest<Noted>,
    payloads: Payloads,
    /// The header with the host's token, if it has one.
    authorization: Option<HeaderValue>,
}

impl Sender {
    /// Sends `request`. The returned future completes with the head of the reply.
    pub(super) fn send(
        &mut self,
        mut request: http::Request<Body>,
    ) -> impl Future<Output = hyper::Result<http::Response<Incoming>>> + use<> {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.http2.send_request(request.map(|body| self.payloads.noted(body)))
    }
}

/// Starts HTTP/2 over `stream`. Returns the means to send requests, and the future that carries them, which completes with the
/// cause when the connection is lost.
pub(super) async fn handshake<S: Stream + 'static>(
    world: &SharedWorld,
    stream: S,
) -> Result<(Sender, impl Future<Output = Cause> + use<S>), Cause> {
    let io = Io::new(stream);
    let payloads = io.payloads();
    let handshake = http2::Builder::new(Executor(world.clone()))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        // Until the server's settings have arrived, hyper would queue calls beyond a default of its own.
        .initial_max_send_streams(STREAMS_MAX as usize)
        .handshake(io)
        .await;
    let (http2, connection) = handshake.map_err(|error| Cause::from_hyper(&error))?;
    let lost = async move { connection.await.err().map_or(Cause::ConnectionClosed, |error| Cause::from_hyper(&error)) };
    let authorization = world.token().map(bearer);
    Ok((Sender { http2, payloads, authorization }, lost))
}

#[cfg(test)]
mod tests;
