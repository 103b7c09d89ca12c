//! What a scenario is where its file says nothing. The values are those of the format's own example, which are the
//! settings of the system it came from: two replicas, three attempts with 100 ms to 5 s of backoff, ten seconds an
//! attempt, health believed for five seconds.

use std::time::Duration;

use super::model::{
    Arrivals, Backend, Balancing, Client, GraphSize, HealthCheck, Jitter, Load, Network, Pictures, Retry, Servers,
    Size, Workload,
};
use crate::{policy::Policies, status::Code};

impl Default for Servers {
    /// 2 replicas of 2 workers and a queue of 64; crashed ones stay down.
    fn default() -> Self {
        Self {
            replicas: 2,
            workers: 2,
            queue: 64,
            restart_after: None,
            service_time_min: Duration::ZERO,
            admission: None,
        }
    }
}

impl Default for Workload {
    /// Sobel on synthetic images of 256x256.
    fn default() -> Self {
        Self::Sobel(Pictures::Synthetic(vec![Size { width: 256, height: 256 }]))
    }
}

impl Default for GraphSize {
    /// 20,000 nodes with three times as many edges: a search takes about a millisecond.
    fn default() -> Self {
        Self { nodes: 20_000, edges: 60_000 }
    }
}

impl Default for Backend {
    /// Lab 3's: four of ten calls succeed.
    fn default() -> Self {
        Self { failure_rate: 0.6, failure_status: FAILURE_STATUS, hang_rate: 0.0, delay: Duration::from_millis(20) }
    }
}

impl Load {
    /// Constant arrivals at `rate` per second, which has no default, with up to 512 calls in flight.
    pub fn at(rate: f64) -> Self {
        Self { rate, arrivals: Arrivals::Constant, max_in_flight: 512 }
    }
}

impl Default for Network {
    /// The bare link.
    fn default() -> Self {
        Self { latency: Duration::ZERO, jitter: Duration::ZERO, bandwidth: None }
    }
}

impl Default for Client {
    /// 30 s a call, 10 s an attempt, and the other tables' defaults.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(10),
            wait_for_ready: false,
            load_balancing: Balancing::RoundRobin,
            retry: Retry::default(),
            health_check: HealthCheck::default(),
            policies: Policies::default(),
        }
    }
}

/// Of a call that fails on purpose. The one that clients retry.
pub(super) const FAILURE_STATUS: Code = Code::Unavailable;
/// gRPC A48's, and Envoy's.
pub(super) const CHOICE_COUNT: usize = 2;
/// Linkerd's.
pub(super) const EWMA_DECAY: Duration = Duration::from_secs(10);
/// Linkerd's.
pub(super) const EWMA_DEFAULT_RTT: Duration = Duration::from_millis(30);

impl Default for Retry {
    /// Three attempts, 100 ms doubling to at most 5 s without jitter, preferring another server.
    fn default() -> Self {
        Self {
            max_attempts: 3,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            backoff_multiplier: 2.0,
            jitter: Jitter::None,
            retryable_status_codes: vec![Code::Unavailable, Code::DeadlineExceeded, Code::Internal],
            prefer_other_server: true,
        }
    }
}

impl Default for HealthCheck {
    /// Every 5 s, with 1 s to answer.
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), timeout: Duration::from_secs(1) }
    }
}
