//! A replica: gRPC over HTTP/2 on the World's network, bounded workers, a bounded queue.
//!
//! A request is checked, queued, and run by one of the workers:
//!
//! * a request that a fault fails is answered with the fault's status, before any other check (see `injector`);
//! * an invalid input is answered with INVALID_ARGUMENT and a message that says what is wrong;
//! * a request beyond `workers` running and `queue` waiting ones is answered with RESOURCE_EXHAUSTED, as is one that
//!   `admission` refuses;
//! * a request whose deadline has passed, or whose caller has left, when a worker takes it is dropped without being started;
//! * a workload function that has begun runs to its end, even if no caller waits for it any more;
//! * a workload that fails on purpose then fails the request, or occupies the worker until the caller gives up.
//!
//! `grpc-timeout` is enforced here, on the World's clock. So are the listener's terms: limits on what peers occupy, in `peers`
//! and `budget`, and the token without which a call is answered with UNAUTHENTICATED.

mod admission;
mod budget;
mod connection;
mod counters;
mod deadline;
mod health;
mod injector;
mod peers;
mod queue;
mod reply;
mod routes;
mod service;
pub mod settings;
mod workers;

use std::{
    future::Future,
    io,
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::sync::{mpsc, watch};

use crate::{
    record::{Event, Recorder},
    workload::Workloads,
    world::SharedWorld,
};
use connection::{Connections, MaxAge};
use health::HealthService;
use peers::Peers;
use service::Replica;
use workers::Workers;

pub use injector::{InjectedErrors, Injection, Injector};
pub use service::MESSAGE_BYTES_MAX;
pub use settings::Admission;

/// Settings of one replica.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaSettings {
    /// Number of requests processed at once, at least 1.
    pub workers: usize,
    /// Number of requests that may wait for a worker.
    pub queue: usize,
    /// Shortest time for which a request occupies its worker.
    pub service_time_min: Duration,
    /// Age at which connections are ended.
    pub max_connection_age: Option<Duration>,
    /// Time that calls have to finish on a connection that is ended for its age; as long as they need without it.
    pub max_connection_age_grace: Option<Duration>,
    /// Load shedding beyond the limits of workers and queue; `None` is none.
    pub admission: Option<Admission>,
    /// Failures, hangs and delays of the `backend` workload.
    pub backend: crate::workload::settings::Backend,
    /// The kinds of requests, which a `backend` may treat differently.
    pub kinds: Vec<crate::load::RequestKind>,
}

impl ReplicaSettings {
    /// Combines a scenario's `servers` and `workload` into the settings of one replica.
    pub fn new(servers: &crate::server::settings::Servers, workload: &crate::workload::settings::Workload) -> Self {
        Self {
            workers: servers.workers,
            queue: servers.queue,
            service_time_min: servers.service_time_min,
            max_connection_age: servers.max_connection_age,
            max_connection_age_grace: servers.max_connection_age_grace,
            admission: servers.admission.clone(),
            backend: match workload {
                crate::workload::settings::Workload::Backend(backend) => *backend,
                _ => crate::workload::settings::Backend::default(),
            },
            kinds: Vec::new(),
        }
    }

    /// Returns the settings of a replica that gets requests of these kinds.
    pub fn with_kinds(self, kinds: &[crate::load::RequestKind]) -> Self {
        Self { kinds: kinds.to_owned(), ..self }
    }
}

/// Serves as `name` until `stop` completes, then refuses new connections and requests, finishes those that it has begun,
/// and returns. `injector` injects faults into the replica.
///
/// # Errors
///
/// Returns an error early if the world cannot listen or accept.
pub async fn serve(
    world: SharedWorld,
    recorder: Recorder,
    name: &str,
    settings: ReplicaSettings,
    injector: Arc<Injector>,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let mut listener = world.listen().await?;
    recorder.event(Event::Listening).target(name).record();
    let age = MaxAge {
        age: settings.max_connection_age,
        grace: settings.max_connection_age_grace,
        entropy: injector.entropy(),
        connections: AtomicU64::new(0),
    };
    let workloads = Workloads::new(settings.backend, &settings.kinds, injector.entropy());
    let workers = Workers::start(world.clone(), recorder.clone(), settings, injector.clone());
    let health = HealthService::serving();
    let (stopping, stopped) = watch::channel(false);
    let (busy, mut idle) = mpsc::channel(1);
    let terms = listener.terms();
    let connections = Connections {
        world: world.clone(),
        peers: terms.limits.map(|limits| Peers::start(&world, limits)),
        token: terms.token,
        replica: Arc::new(Replica::new(world.clone(), recorder, name, workers, workloads, injector)),
        health: health.clone(),
        age,
        stopped,
        busy,
    };
    let mut stop = pin!(stop);
    loop {
        let next = async {
            if let Some(peers) = &connections.peers {
                peers.admit(&world).await;
            }
            listener.accept().await
        };
        match select(stop.as_mut(), pin!(next)).await {
            Either::Left(_) => break,
            Either::Right((stream, _)) => connections.serve(stream?),
        }
    }
    // Dropped first, so that new connections are refused while the open ones end.
    drop(listener);
    health.stop();
    stopping.send_replace(true);
    drop(connections);
    // Every connection holds a sender, so the channel closes when the last one has ended.
    let _ = idle.recv().await;
    Ok(())
}
