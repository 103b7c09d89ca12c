//! Which servers may be asked.

use super::{Server, health::Health};
use crate::{
    policy::{Chain, Servers},
    time::Instant,
};

/// The servers to choose among; none only if policies block all of them.
///
/// They are those connected, healthy and not ejected: an attempt to a server that is still being connected would wait for
/// that, which can take as long as a partition does. If there are none, servers that may yet be connected are candidates, too;
/// if there are none, unhealthy ones; if there are none, ejected ones; if there are none, all: asking a server that is likely
/// to fail is better than asking none.
pub(super) fn of(servers: &[Server], health: &Health, chain: &Chain, now: Instant) -> Servers {
    let open = Servers::below(servers.len()).without(chain.blocked(now));
    let kept = open.without(chain.ejected());
    #[cfg(feature = "canaries")]
    let kept = if crate::bug::is(crate::bug::Bug::BlindBalancer) { open } else { kept };
    let healthy = kept.and(health.healthy());
    let ready: Servers = healthy.iter().filter(|server| servers[*server].connection.is_ready()).collect();
    if !ready.is_empty() {
        return ready;
    }
    let not_failing =
        |pool: Servers| pool.iter().filter(|server| !servers[*server].connection.is_failing()).collect::<Servers>();
    let pools = [healthy, kept, open].into_iter().map(not_failing);
    pools.into_iter().find(|pool| !pool.is_empty()).unwrap_or(open)
}

/// Of `pool` those that are not in `tried`, if there are any.
pub(super) fn others(pool: Servers, tried: Servers) -> Servers {
    let others = pool.without(tried);
    if others.is_empty() { pool } else { others }
}
