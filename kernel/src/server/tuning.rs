//! The settings of a replica that can change while it serves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Admission, ReplicaSettings};

/// The settings of a replica that can change while it serves. They are in force from the next request on: what runs goes on by those that
/// it began with, and what waits goes on waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// Number of requests processed at once, at least 1. Of more that run, each runs to its end.
    pub workers: usize,
    /// Number of requests that may wait for a worker. Of more that wait, each keeps its place.
    pub queue: usize,
    /// Shortest time for which a request occupies its worker.
    pub service_time_min: Duration,
    /// Load shedding beyond the limits of workers and queue; `None` is none.
    pub admission: Option<Admission>,
}

impl Tuning {
    /// Returns the part of a scenario's `servers` that can change.
    pub fn new(servers: &super::settings::Servers) -> Self {
        Self {
            workers: servers.workers,
            queue: servers.queue,
            service_time_min: servers.service_time_min,
            admission: servers.admission.clone(),
        }
    }
}

impl Tuning {
    /// Writes the settings into those of a scenario.
    pub fn write_to(&self, servers: &mut super::settings::Servers) {
        (servers.workers, servers.queue) = (self.workers, self.queue);
        servers.service_time_min = self.service_time_min;
        servers.admission.clone_from(&self.admission);
    }
}

impl From<&ReplicaSettings> for Tuning {
    fn from(settings: &ReplicaSettings) -> Self {
        Self {
            workers: settings.workers,
            queue: settings.queue,
            service_time_min: settings.service_time_min,
            admission: settings.admission.clone(),
        }
    }
}
