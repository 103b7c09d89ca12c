//! The servers that an attempt can be sent to.

use super::{Server, health::Health};
use crate::{
    planted::planted,
    policy::{Chain, Servers},
    time::Instant,
};

/// Returns the servers that an attempt of a call can be sent to, of which `ready` are connected. There is none only if policies block all servers.
///
/// They are those connected, healthy and not ejected: an attempt to a server that is still being connected would wait for
/// that, which can take as long as a partition does. If there are none, servers that may yet be connected are candidates, too;
/// if there are none, unhealthy ones; if there are none, ejected ones; if there are none, all: asking a server that is likely
/// to fail is better than asking none.
pub(super) fn pool(servers: &[Server], ready: Servers, health: &Health, chain: &Chain, now: Instant) -> Servers {
    let open = Servers::below(servers.len()).without(chain.blocked(now));
    let kept = open.without(chain.ejected());
    let kept = planted!(Bug::BlindBalancer, open, else kept);
    // The usual case: connected servers, so that no attempt waits for a connection.
    let healthy = kept.and(health.healthy());
    let ready = healthy.and(ready);
    if !ready.is_empty() {
        return ready;
    }
    for pool in [healthy, kept, open] {
        let not_failing: Servers = pool.iter().filter(|server| !servers[*server].connection.is_failing()).collect();
        if !not_failing.is_empty() {
            return not_failing;
        }
    }
    open
}

/// Returns the servers of `pool` that are not in `tried`, or all of `pool` if each is.
pub(super) fn prefer_untried(pool: Servers, tried: Servers) -> Servers {
    let untried = pool.without(tried);
    if untried.is_empty() { pool } else { untried }
}
