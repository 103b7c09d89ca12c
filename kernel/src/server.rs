//! A replica: gRPC over HTTP/2 on the World's network, bounded workers, a bounded queue.
//!
//! A request is checked, queued, and run by one of the workers:
//!
//! * an input that makes no sense is answered INVALID_ARGUMENT, saying what is wrong;
//! * one that a fault has fail is answered so, whatever else is the matter (see `injector`);
//! * beyond `workers` running and `queue` waiting ones it is answered RESOURCE_EXHAUSTED, and what else `admission` refuses;
//! * when a worker gets to it and its deadline has passed or its caller has left, it is dropped unstarted;
//! * a kernel that has begun runs to its end, whoever still waits for it;
//! * a workload that fails on purpose then has it fail, or keeps the worker until the caller gives up.
//!
//! `grpc-timeout` is enforced here, on the World's clock.

mod admission;
mod connection;
mod counters;
mod deadline;
mod health;
mod injector;
mod service;
mod workers;

use std::{future::Future, io, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tokio::sync::{mpsc, watch};

use crate::{
    record::{Event, Recorder},
    scenario,
    world::SharedWorld,
};
use connection::Connections;
use health::Health;
use service::{Replica, Workloads};
use workers::Workers;

pub use admission::Admission;
pub use injector::{Errors, Injection, Injector};
pub use service::MESSAGE_BYTES_MAX;

/// How a replica is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Kernels running at once, at least 1.
    pub workers: usize,
    /// Requests waiting beyond those.
    pub queue: usize,
    /// A request holds its worker at least this long.
    pub service_time_min: Duration,
    /// What it refuses beyond that.
    pub admission: Option<Admission>,
    /// How it behaves as a backend, if it is asked as one.
    pub backend: scenario::Backend,
}

impl Settings {
    /// Those of a scenario's servers.
    pub fn of(servers: &scenario::Servers, workload: &scenario::Workload) -> Self {
        Self {
            workers: servers.workers,
            queue: servers.queue,
            service_time_min: servers.service_time_min,
            admission: servers.admission.clone(),
            backend: match workload {
                scenario::Workload::Backend(backend) => *backend,
                _ => scenario::Backend::default(),
            },
        }
    }
}

/// Serves as `name` until `stop` completes; then finishes what it has begun, takes nothing new, and returns. What is
/// done wrong on purpose is up to `injector`.
///
/// Returns early with an error if it cannot listen or accept.
pub async fn serve(
    world: SharedWorld,
    recorder: Recorder,
    name: &str,
    settings: Settings,
    injector: Arc<Injector>,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let mut listener = world.listen().await?;
    recorder.event(Event::Listening).target(name).record();
    let workloads = Workloads::new(&settings, injector.entropy());
    let workers = Workers::start(world.clone(), recorder.clone(), settings, injector.clone());
    let health = Health::serving();
    let (stopping, stopped) = watch::channel(false);
    let (busy, mut idle) = mpsc::channel(1);
    let connections = Connections {
        world: world.clone(),
        replica: Arc::new(Replica::new(world.clone(), recorder, name, workers, workloads, injector)),
        health: health.clone(),
        stopped,
        busy,
    };
    let mut stop = std::pin::pin!(stop);
    loop {
        match select(stop.as_mut(), listener.accept()).await {
            Either::Left(_) => break,
            Either::Right((stream, _)) => connections.serve(stream?),
        }
    }
    // From here on connections are refused.
    drop(listener);
    health.stop();
    stopping.send_replace(true);
    drop(connections);
    // Every connection holds a sender; none is left once all have ended.
    let _ = idle.recv().await;
    Ok(())
}
