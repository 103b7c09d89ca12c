//! The same semantics, of processes that have a tokio runtime of their own.

#![expect(clippy::duplicate_mod, reason = "the tests are the same")]

#[path = "backlog.rs"]
mod backlog;
#[path = "close.rs"]
mod close;
#[path = "crash.rs"]
mod crash;
#[path = "freeze.rs"]
mod freeze;
#[path = "processes.rs"]
mod processes;
#[path = "reset.rs"]
mod reset;
#[path = "system.rs"]
mod system;
mod tokio_code;

use super::*;
use crate::process::RuntimeKind;

fn simulate<T, F>(software: &Software, client: impl FnOnce(Hosts) -> F + Send) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    super::simulate(&software.clone().in_runtime(RuntimeKind::Own), client)
}

fn simulate_seeded<T, F>(seed: u64, software: &Software, client: impl FnOnce(Hosts) -> F + Send) -> (T, Records)
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    super::simulate_seeded(seed, &software.clone().in_runtime(RuntimeKind::Own), client)
}

fn simulate_replicas<T, F>(
    replicas: usize,
    seed: u64,
    software: &Software,
    client: impl FnOnce(Hosts) -> F + Send,
) -> Result<(T, Records), SimulationError>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    super::simulate_replicas(replicas, seed, &software.clone().in_runtime(RuntimeKind::Own), client)
}
