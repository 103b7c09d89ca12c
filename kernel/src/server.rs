//! A replica: gRPC over HTTP/2 on the World's network, bounded workers, a bounded queue.
//!
//! What is served are the [`Services`] of a process: those of a user, or the [workloads](crate::workload) of this project. A request passes
//! these stages, each a file of its own:
//!
//! * [`connection`] and [`routes`]: the token, the content type and the deadline;
//! * [`calls`]: the identity of the attempt, an injected error ([`injector`]), and the worker;
//! * [`workers`], with their [`queue`] and [`admission`]: bounded, and fair to peers;
//! * [`occupancy`]: for how long the attempt occupies its worker, whatever its service does.
//!
//! A request that a fault fails is answered with the fault's status, before any other check. The others are queued, and answered by one of
//! the workers:
//!
//! * a request beyond `workers` running and `queue` waiting ones is answered with RESOURCE_EXHAUSTED, as is one that
//!   `admission` refuses;
//! * a request whose deadline has passed, or whose caller has left, when a worker takes it is dropped without being started;
//! * a service of a user is dropped, and its worker is free, when its caller has left;
//! * a reply that streams ([`streaming`]) occupies its worker to its end, and is dropped when its caller has left or its deadline has passed;
//! * a workload function that has begun runs to its end, even if no caller waits for it any more;
//! * a workload answers an invalid input with INVALID_ARGUMENT and a message that says what is wrong;
//! * a workload that fails on purpose fails the request, or occupies the worker until the caller gives up.
//!
//! The health service ([`health`]) and the reflection service ([`reflection`]) are there in every server, and occupy no worker.
//!
//! `grpc-timeout` is enforced here, on the World's clock. So are the listener's terms: limits on what peers occupy, in `peers`
//! and `budget`, and the token without which a call is answered with UNAUTHENTICATED.

mod adaptive_queue;
mod admission;
mod budget;
mod calls;
mod connection;
mod counters;
mod deadline;
mod health;
mod injector;
mod meter;
mod metered;
mod occupancy;
mod peers;
mod queue;
mod reflection;
mod reply;
mod routes;
pub mod settings;
mod streaming;
#[cfg(test)]
mod tests;
mod tuning;
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
    entropy::Entropy,
    grpc::Services,
    record::{Event, Recorder},
    workload,
    world::SharedWorld,
};
use calls::Calls;
use connection::{Connections, MaxAge};
use health::HealthService;
use peers::Peers;
use reflection::Reflection;
use workers::Workers;

pub(crate) use counters::Counters;
pub(crate) use deadline::parse as parse_timeout;
pub use injector::{InjectedErrors, Injection, Injector};
pub(crate) use meter::record_computing;
pub(crate) use occupancy::{Occupancy, Served};
pub(crate) use reply::{encoded_reply, reply};
pub use settings::{AdaptiveQueue, Admission};
pub use tuning::Tuning;

/// Largest message in either direction, in bytes: an image of 16 megapixels and 64 KiB of room for the other fields.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024 + 64 * 1024;

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
    /// How the queue adapts to an overload; `None` if it does not.
    pub adaptive_queue: Option<AdaptiveQueue>,
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
            adaptive_queue: servers.adaptive_queue,
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

/// The process that serves, as its services see it.
#[derive(Clone)]
pub struct Process {
    /// The host of the process.
    pub world: SharedWorld,
    /// The recorder of the process.
    pub recorder: Recorder,
    /// The name of the process, such as `server-0`.
    pub name: String,
    /// The randomness of the process.
    pub entropy: Entropy,
    pub(crate) counters: Arc<Counters>,
}

/// Serves the workloads of `settings` as `name` until `stop` completes, as [`serve_services`] does.
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
    let services = workload::services(&settings, None);
    serve_services(world, recorder, name, settings, services, injector, stop).await
}

/// Serves what `services` returns as `name` until `stop` completes, then refuses new connections and requests, finishes those that it has
/// begun, and returns. `injector` injects faults into the process. The health service is served, too, with the names of the services.
///
/// # Errors
///
/// Returns an error early if the world cannot listen or accept.
pub async fn serve_services(
    world: SharedWorld,
    recorder: Recorder,
    name: &str,
    settings: ReplicaSettings,
    services: impl FnOnce(&Process) -> Services,
    injector: Arc<Injector>,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let mut listener = world.listen().await?;
    recorder.event(Event::Listening).target(name).record();
    let entropy = injector.entropy();
    let age = MaxAge {
        age: settings.max_connection_age,
        grace: settings.max_connection_age_grace,
        entropy,
        connections: AtomicU64::new(0),
    };
    let counters = Arc::<Counters>::default();
    let services = services(&Process {
        world: world.clone(),
        recorder: recorder.clone(),
        name: name.to_owned(),
        entropy,
        counters: counters.clone(),
    });
    let workers = Workers::start(world.clone(), recorder.clone(), settings, injector.clone(), counters);
    let health = HealthService::serving(services.names());
    let reflection = Reflection::new(services.names(), services.descriptors(), health.clone());
    let (stopping, stopped) = watch::channel(false);
    let (busy, mut idle) = mpsc::channel(1);
    let terms = listener.terms();
    let connections = Connections {
        world: world.clone(),
        peers: terms.limits.map(|limits| Peers::start(&world, limits)),
        token: terms.token,
        calls: Arc::new(Calls::new(world.clone(), recorder, workers, services, injector.clone())),
        injector,
        health: health.clone(),
        reflection,
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
        let accepted = match select(stop.as_mut(), pin!(next)).await {
            Either::Left(_) => break,
            Either::Right((accepted, _)) => accepted?,
        };
        connections.serve(listener.adapt(connections.secured(accepted)));
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
