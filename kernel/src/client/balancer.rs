//! Load balancing: which candidate is asked.

mod round_robin;

use crate::scenario::Balancing;
use round_robin::RoundRobin;

/// Chooses among servers.
pub(super) trait Balancer: Send {
    /// One of `candidates`: indices of servers, ascending, at least one.
    fn pick(&mut self, candidates: &[usize]) -> usize;
}

/// The balancer of a policy.
pub(super) fn of(policy: Balancing) -> Box<dyn Balancer> {
    match policy {
        Balancing::RoundRobin => Box::new(RoundRobin::default()),
    }
}
