//! The pooled connection to one server, with the states and the backoff of gRPC's connection-backoff document.
//!
//! IDLE → CONNECTING → READY → IDLE …, and CONNECTING → TRANSIENT_FAILURE → CONNECTING after a backoff. It connects
//! at once and reconnects as soon as it is lost. After a failure it counts as failing until it is ready again.

use std::{sync::Arc, time::Duration};

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
    link::Link,
    record::{Event, Recorder},
    status::Code,
    time::Instant,
    transport::{self, Executor, Io, Noted, Payloads},
    world::{SharedWorld, Stream, timeout_at},
};

/// Defaults of the connection-backoff document.
const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
const MULTIPLIER: f64 = 1.6;
const JITTER: f64 = 0.2;
const MAX_BACKOFF: Duration = Duration::from_secs(120);
const MIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A handle to the connection, which a task of its own keeps up.
pub(super) struct Connection {
    state: watch::Receiver<State>,
}

#[derive(Clone)]
enum State {
    /// Not connected, and never failed since it last was: about to be.
    Pending,
    /// Can carry calls.
    Ready(Sender),
    /// Could not be opened when last tried.
    Failing(Cause),
}

impl Connection {
    pub(super) fn start(
        world: SharedWorld,
        entropy: Entropy,
        recorder: Recorder,
        link: Arc<Link>,
        health: ServerHealth,
    ) -> Self {
        let (state, watcher) = watch::channel(State::Pending);
        let keeper = Keeper { world: world.clone(), entropy, recorder, link, health, state };
        world.spawn(Box::pin(keeper.run()));
        Self { state: watcher }
    }

    /// Whether it can carry calls.
    pub(super) fn is_ready(&self) -> bool {
        matches!(*self.state.borrow(), State::Ready(_))
    }

    /// Whether the last try to connect failed.
    pub(super) fn is_failing(&self) -> bool {
        matches!(*self.state.borrow(), State::Failing(_))
    }

    /// The means to send a request: waits while it is being connected, and fails at once while it is failing.
    pub(super) async fn ready(&self) -> Result<Sender, Failure> {
        if let State::Ready(sender) = &*self.state.borrow() {
            return Ok(sender.clone());
        }
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, State::Pending)).await;
        match settled.as_deref() {
            Ok(State::Ready(sender)) => Ok(sender.clone()),
            Ok(State::Failing(cause)) => Err(Failure::new(Code::Unavailable, cause.clone())),
            Ok(State::Pending) | Err(_) => Err(Failure::new(Code::Unavailable, Cause::ConnectionClosed)),
        }
    }

    /// Completes when the connection can carry calls.
    pub(super) async fn is_or_becomes_ready(&self) {
        let mut state = self.state.clone();
        if state.wait_for(|state| matches!(state, State::Ready(_))).await.is_err() {
            std::future::pending().await
        }
    }

    /// Completes when the connection becomes ready anew.
    pub(super) async fn becomes_ready(&mut self) {
        loop {
            if self.state.changed().await.is_err() {
                return std::future::pending().await;
            }
            if matches!(*self.state.borrow_and_update(), State::Ready(_)) {
                return;
            }
        }
    }

    /// A handle that has not seen the present state.
    pub(super) fn watcher(&self) -> Self {
        let mut state = self.state.clone();
        state.mark_changed();
        Self { state }
    }
}

/// Keeps a connection up.
struct Keeper {
    world: SharedWorld,
    entropy: Entropy,
    recorder: Recorder,
    link: Arc<Link>,
    health: ServerHealth,
    state: watch::Sender<State>,
}

impl Keeper {
    async fn run(self) {
        let mut rng = self.entropy.stream(&format!("connection.{}", self.link.server()));
        let mut backoff = INITIAL_BACKOFF;
        let mut retry_at = self.world.now() + backoff;
        loop {
            self.event(Event::Connecting, None);
            match self.connect(retry_at).await {
                Ok(connection) => {
                    let lost = connection.await;
                    self.state.send_replace(State::Pending);
                    self.event(Event::Idle, Some(&lost));
                    backoff = INITIAL_BACKOFF;
                    retry_at = self.world.now() + backoff;
                }
                Err(cause) => {
                    let wait = retry_at.since(self.world.now());
                    let event = self.recorder.event(Event::TransientFailure).target(self.link.server());
                    event.cause(cause.to_string()).duration(wait).record();
                    self.health.mark_unhealthy(&cause);
                    self.state.send_replace(State::Failing(cause));
                    self.world.sleep_until(retry_at).await;
                    backoff = backoff.mul_f64(MULTIPLIER).min(MAX_BACKOFF);
                    retry_at = self.world.now() + backoff.mul_f64(1.0 + JITTER * (2.0 * unit(&mut rng) - 1.0));
                }
            }
        }
    }

    /// Opens the connection. What it returns completes when the connection is lost, saying how.
    async fn connect(&self, retry_at: Instant) -> Result<impl Future<Output = Cause>, Cause> {
        let give_up = retry_at.max(self.world.now() + MIN_CONNECT_TIMEOUT);
        let stream = match timeout_at(&*self.world, give_up, self.link.connect()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Cause::from_io(&error)),
            Err(_) => return Err(Cause::ConnectTimeout),
        };
        let (sender, connection) = handshake(&self.world, stream).await?;
        self.state.send_replace(State::Ready(sender));
        self.event(Event::Ready, None);
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
    http2: SendRequest<Noted>,
    payloads: Payloads,
}

impl Sender {
    pub(super) fn send(
        &mut self,
        request: http::Request<Body>,
    ) -> impl Future<Output = hyper::Result<http::Response<Incoming>>> + use<> {
        self.http2.send_request(request.map(|body| self.payloads.noted(body)))
    }
}

/// HTTP/2 over `stream`: the means to send requests, and what carries them, which completes when the connection is lost.
pub(super) async fn handshake<S: Stream + 'static>(
    world: &SharedWorld,
    stream: S,
) -> Result<(Sender, impl Future<Output = Cause> + use<S>), Cause> {
    let io = Io::new(stream);
    let payloads = io.payloads();
    let handshake = http2::Builder::new(Executor(world.clone()))
        .initial_stream_window_size(transport::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(transport::CONNECTION_WINDOW_BYTES)
        .max_frame_size(transport::FRAME_BYTES_MAX)
        .initial_max_send_streams(transport::STREAMS_MAX as usize)
        .handshake(io)
        .await;
    let (http2, connection) = handshake.map_err(|error| Cause::from_hyper(&error))?;
    let lost = async move { connection.await.err().map_or(Cause::ConnectionClosed, |error| Cause::from_hyper(&error)) };
    Ok((Sender { http2, payloads }, lost))
}
