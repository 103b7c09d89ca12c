//! The pooled connection to one server, with the states and the backoff of gRPC's connection-backoff document.
//!
//! IDLE → CONNECTING → READY → IDLE …, and CONNECTING → TRANSIENT_FAILURE → CONNECTING after a backoff. The client connects at
//! once, and reconnects as soon as the connection is lost. After a failure the connection counts as failing until it is ready.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{
    TryFutureExt,
    future::{Either, select},
};
use http::{
    HeaderValue,
    header::{AUTHORIZATION, USER_AGENT},
};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use tokio::sync::{Notify, watch};
use tonic::body::Body;

use super::{
    backoff::Backoff,
    failure::{Cause, Failure},
    health::ServerHealth,
    settings::Keepalive,
};
use crate::{
    entropy::Entropy,
    http2::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX},
    link::Link,
    policy::{Changes, Servers},
    record::{Event, Recorder},
    status::Code,
    sync::lock,
    time::Instant,
    tls,
    transport::{Executor, Io, Joined, Payloads, WorldTimer, bearer},
    world::{BoxFuture, BoxStream, SharedWorld, timeout_at},
};

/// The least time that an attempt to connect may take; from the connection-backoff document.
const MIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The user agent of the client, in the form of the gRPC over HTTP/2 specification.
static OWN_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("grpc-rust-rehearsal/", env!("CARGO_PKG_VERSION")));

/// The servers whose connections can carry calls. Clones share it.
///
/// Each call asks for it, and there can be a thousand servers: it is one set, so that no call asks each connection.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    servers: Arc<Mutex<Servers>>,
    changes: Changes,
}

impl Ready {
    /// Creates the set, with no server in it. `changes` is notified of each change.
    pub(super) fn new(changes: Changes) -> Self {
        Self { servers: Arc::new(Mutex::new(Servers::NONE)), changes }
    }

    /// Returns the servers.
    pub(super) fn servers(&self) -> Servers {
        *lock(&self.servers)
    }
}

/// A handle to the connection, which a task of its own maintains.
#[derive(Clone)]
pub(super) struct Connection {
    state: watch::Receiver<ConnectionState>,
    shared: Arc<SharedState>,
}

/// The state that the task that maintains a connection shares with its handles.
struct SharedState {
    world: SharedWorld,
    server: usize,
    ready: Ready,
    state: watch::Sender<ConnectionState>,
    /// Notified when a call has found that the connection takes no more calls.
    closed: Notify,
}

impl SharedState {
    /// Notes that the connection is opened again. It may be known already.
    fn set_pending(&self) {
        if !matches!(*self.state.borrow(), ConnectionState::Pending(_)) {
            self.set(ConnectionState::Pending(self.world.now()));
        }
    }

    /// Changes the state, and wakes those who wait for it.
    fn set(&self, state: ConnectionState) {
        let is_ready = matches!(state, ConnectionState::Ready(_));
        lock(&self.ready.servers).set(self.server, is_ready);
        self.state.send_replace(state);
        self.ready.changes.notify();
    }
}

/// The state of the connection as calls see it.
#[derive(Clone)]
enum ConnectionState {
    /// It is being opened, since this time, for the first time since it was last ready.
    Pending(Instant),
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
        keepalive: Option<Keepalive>,
        ready: Ready,
    ) -> Self {
        let (state, watcher) = watch::channel(ConnectionState::Pending(world.now()));
        let shared = Arc::new(SharedState {
            world: world.clone(),
            server: health.server(),
            ready,
            state,
            closed: Notify::new(),
        });
        let keeper =
            Keeper { world: world.clone(), entropy, recorder, link, health, keepalive, shared: shared.clone() };
        world.spawn(Box::pin(keeper.run()));
        Self { state: watcher, shared }
    }

    /// Notes that `sender` takes no more calls: the server has announced the end of its connection (GOAWAY). The connection is
    /// opened again at once, while the calls under way on the old one end.
    pub(super) fn on_closed(&self, sender: &Sender) {
        // Another call may have found out before, and the connection be a new one by now.
        let is_current = matches!(&*self.state.borrow(), ConnectionState::Ready(current) if current.is_same(sender));
        if is_current {
            self.shared.set_pending();
            self.shared.closed.notify_one();
        }
    }

    /// Returns true if the last attempt to connect failed.
    pub(super) fn is_failing(&self) -> bool {
        matches!(*self.state.borrow(), ConnectionState::Failing(_))
    }

    /// Returns since when the connection is being opened for the first time since it was last ready, if it is.
    pub(super) fn connecting_since(&self) -> Option<Instant> {
        match *self.state.borrow() {
            ConnectionState::Pending(since) => Some(since),
            _ => None,
        }
    }

    /// Returns the means to send a request. It waits while the connection is being opened, and fails at once while it is failing.
    pub(super) async fn ready(&self) -> Result<Sender, Failure> {
        // The usual case needs no watcher of its own.
        if let ConnectionState::Ready(sender) = &*self.state.borrow() {
            return Ok(sender.clone());
        }
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, ConnectionState::Pending(_))).await;
        match settled.as_deref() {
            Ok(ConnectionState::Ready(sender)) => Ok(sender.clone()),
            Ok(ConnectionState::Failing(cause)) => Err(Failure::new(Code::Unavailable, cause.clone())),
            // The task that maintains the connection has ended, with its host.
            Ok(ConnectionState::Pending(_)) | Err(_) => Err(Failure::new(Code::Unavailable, Cause::ConnectionClosed)),
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

    /// Completes when the connection becomes ready the next time, with the means to send a request.
    pub(super) async fn becomes_ready(&mut self) -> Sender {
        loop {
            if self.state.changed().await.is_err() {
                return std::future::pending().await;
            }
            // The state is marked as seen, or the next `changed` would complete for the same change.
            if let ConnectionState::Ready(sender) = &*self.state.borrow_and_update() {
                return sender.clone();
            }
        }
    }

    /// Completes when the connection is in another state than it was when this handle last saw it. It has not seen that one then.
    pub(super) async fn changes(&mut self) {
        if self.state.changed().await.is_err() {
            return std::future::pending().await;
        }
        self.state.mark_changed();
    }

    /// Returns a handle that has not seen the present state, so that [`becomes_ready`](Self::becomes_ready) completes at once
    /// if the connection is ready.
    pub(super) fn watcher(&self) -> Self {
        let mut watcher = self.clone();
        watcher.state.mark_changed();
        watcher
    }
}

/// The task that maintains a connection.
struct Keeper {
    world: SharedWorld,
    entropy: Entropy,
    recorder: Recorder,
    link: Arc<Link>,
    health: ServerHealth,
    keepalive: Option<Keepalive>,
    shared: Arc<SharedState>,
}

impl Keeper {
    async fn run(self) {
        let mut backoff = Backoff::new(self.entropy.stream(&format!("connection.{}", self.link.server())));
        let mut retry_at = self.world.now() + backoff.restart();
        loop {
            self.event(Event::Connecting, None);
            match self.connect(retry_at).await {
                Ok(connection) => {
                    let lost = self.until_lost(connection).await;
                    self.shared.set_pending();
                    self.event(Event::Idle, Some(&lost));
                    // A connection that was ready resets the backoff.
                    retry_at = self.world.now() + backoff.restart();
                }
                Err(cause) => {
                    let wait = retry_at.since(self.world.now());
                    let event = self.recorder.event(Event::TransientFailure).target(self.link.server());
                    event.cause(cause.to_string()).duration(wait).record();
                    self.health.on_not_connected(&cause);
                    self.shared.set(ConnectionState::Failing(cause));
                    self.world.sleep_until(retry_at).await;
                    retry_at = self.world.now() + backoff.grow();
                }
            }
        }
    }

    /// Drives `connection` until it is lost or takes no more calls. Calls under way on it then end in a task of their own.
    async fn until_lost(&self, mut connection: BoxFuture<'static, Cause>) -> Cause {
        match select(&mut connection, pin!(self.shared.closed.notified())).await {
            Either::Left((lost, _)) => lost,
            Either::Right(_) => {
                self.world.spawn(Box::pin(async move { drop(connection.await) }));
                Cause::ConnectionClosed
            }
        }
    }

    /// Opens the connection. The returned future drives it, and completes with the cause when the connection is lost.
    ///
    /// An encrypted connection is open when the server's first frame has arrived, which it sends once it has accepted the client.
    async fn connect(&self, retry_at: Instant) -> Result<BoxFuture<'static, Cause>, Cause> {
        // Early backoffs are shorter than a connection may take to open over a slow network.
        let give_up = retry_at.max(self.world.now() + MIN_CONNECT_TIMEOUT);
        let stream = match timeout_at(&*self.world, give_up, self.link.connect()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Cause::from_io(&error)),
            Err(_) => return Err(Cause::ConnectTimeout),
        };
        stream.set_user_timeout(self.keepalive.and_then(|keepalive| keepalive.user_timeout));
        let securing = tls::secure(&self.world, self.link.server(), stream);
        let stream = match timeout_at(&*self.world, give_up, securing).await {
            Ok(secured) => secured.map_err(|error| Cause::from_io(&error))?,
            Err(_) => return Err(Cause::ConnectTimeout),
        };
        let opening = stream.opening();
        let (sender, connection) = handshake(&self.world, Box::new(stream), self.keepalive).await?;
        let mut connection: BoxFuture<'static, Cause> = Box::pin(connection);
        if let Some(opening) = opening {
            let mut until_data = pin!(opening.until_data());
            let opened = select(&mut connection, until_data.as_mut());
            match timeout_at(&*self.world, give_up, opened).await {
                Ok(Either::Right(_)) => {}
                Ok(Either::Left((lost, _))) => {
                    return Err(opening.failure().map_or(lost, |failure| Cause::Tls(failure.to_string())));
                }
                Err(_) => return Err(Cause::ConnectTimeout),
            }
        }
        self.shared.set(ConnectionState::Ready(sender));
        self.event(Event::Ready, None);
        self.health.on_connected();
        Ok(connection)
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
    http2: SendRequest<Joined>,
    /// Identifies the connection.
    connection: Arc<()>,
    payloads: Payloads,
    /// The header with the host's token, if it has one.
    authorization: Option<HeaderValue>,
    /// The user agent of requests without one of their own, if the host sends it.
    user_agent: Option<&'static HeaderValue>,
    /// True if the end of a request travels with its last message.
    ends_with_data: bool,
}

impl Sender {
    /// Returns whether `other` sends over the same connection.
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connection, &other.connection)
    }

    /// Sends `request`. The returned future completes with the head of the reply.
    pub(super) fn send(
        &mut self,
        mut request: http::Request<Body>,
    ) -> impl Future<Output = Result<http::Response<Incoming>, SendError>> + use<> {
        if let Some(user_agent) = self.user_agent {
            request.headers_mut().entry(USER_AGENT).or_insert_with(|| user_agent.clone());
        }
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let answer = self
            .http2
            .try_send_request(request.map(|body| Joined::new(self.payloads.noted(body), self.ends_with_data)));
        answer.map_err(|mut error| SendError { is_unsent: error.take_message().is_some(), error: error.into_error() })
    }
}

/// The failure of a request.
#[derive(Debug)]
pub(super) struct SendError {
    pub(super) error: hyper::Error,
    /// True if the connection has given the request back, unsent.
    pub(super) is_unsent: bool,
}

/// Starts HTTP/2 over `stream`. Returns the means to send requests, and the future that carries them, which completes with the
/// cause when the connection is lost.
///
/// The stream is of the type that servers have, so that both share the code of HTTP/2's frames.
pub(super) async fn handshake(
    world: &SharedWorld,
    stream: BoxStream,
    keepalive: Option<Keepalive>,
) -> Result<(Sender, impl Future<Output = Cause> + use<>), Cause> {
    let io = Io::new(stream);
    let payloads = io.payloads();
    let mut builder = http2::Builder::new(Executor(world.clone()));
    if let Some(Keepalive { time, timeout, without_calls, .. }) = keepalive {
        builder
            .timer(WorldTimer::new(world.clone()))
            .keep_alive_interval(time)
            .keep_alive_timeout(timeout)
            .keep_alive_while_idle(without_calls);
    }
    let handshake = builder
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
    let user_agent = world.sends_user_agent().then_some(&OWN_USER_AGENT);
    let ends_with_data = world.ends_requests_with_data();
    Ok((Sender { http2, connection: Arc::default(), payloads, authorization, user_agent, ends_with_data }, lost))
}

#[cfg(test)]
mod tests;
