//! Which servers may be asked.

use super::{Server, health::Health};
use crate::{policy::Chain, time::Instant};

/// The servers to choose among, ascending; none only if policies block all of them.
///
/// Those connected, believed healthy and not ejected: a call to one that is still being connected would wait for it, which
/// may take as long as a partition does. If there are none, such that may yet be connected; if there are none, those
/// believed unhealthy, too; if there are none, ejected ones, too; if there are none, all: with nobody good left, asking
/// somebody beats asking nobody.
pub(super) fn of(servers: &[Server], health: &Health, chain: &Chain, now: Instant) -> Vec<usize> {
    let connection = |server: usize| &servers[server].connection;
    let open = |server: usize| !chain.blocks(server, now);
    let kept = |server: usize| open(server) && !chain.ejects(server);
    #[cfg(feature = "canaries")]
    let kept = |server: usize| kept(server) || (crate::bug::is(crate::bug::Bug::BlindBalancer) && open(server));
    let healthy = |server: usize| health.is_healthy(server);
    let pools: [&dyn Fn(usize) -> bool; 5] = [
        &|server| healthy(server) && connection(server).is_ready() && kept(server),
        &|server| healthy(server) && !connection(server).is_failing() && kept(server),
        &|server| !connection(server).is_failing() && kept(server),
        &|server| !connection(server).is_failing() && open(server),
        &open,
    ];
    let filtered = |keep: &dyn Fn(usize) -> bool| (0..servers.len()).filter(|server| keep(*server)).collect::<Vec<_>>();
    pools.into_iter().map(filtered).find(|pool| !pool.is_empty()).unwrap_or_default()
}

/// Of `pool` those that are not in `tried`, if there are any.
pub(super) fn others(pool: Vec<usize>, tried: &[usize]) -> Vec<usize> {
    let others: Vec<_> = pool.iter().copied().filter(|server| !tried.contains(server)).collect();
    if others.is_empty() { pool } else { others }
}
