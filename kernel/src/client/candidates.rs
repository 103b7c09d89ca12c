//! Which servers may be asked.

use super::{Server, health::Health};

/// The servers to choose among, ascending, at least one.
///
/// Those connected and believed healthy: a call to one that is still being connected would wait for it, which may take
/// as long as a partition does. If there are none, those believed healthy that may yet be connected; if there are none,
/// those believed unhealthy, too; if there are none, all: with nobody good left, asking somebody beats asking nobody.
/// Of these, the ones that this call has not failed on, if there are any and `prefer_other` says so.
pub(super) fn of(servers: &[Server], health: &Health, failed_on: &[usize], prefer_other: bool) -> Vec<usize> {
    let connection = |server: &usize| &servers[*server].connection;
    let healthy = |server: &usize| health.is_healthy(*server);
    let pool = first_not_empty([
        filtered(servers.len(), |server| healthy(server) && connection(server).is_ready()),
        filtered(servers.len(), |server| healthy(server) && !connection(server).is_failing()),
        filtered(servers.len(), |server| !connection(server).is_failing()),
        (0..servers.len()).collect(),
    ]);
    if !prefer_other || failed_on.is_empty() {
        return pool;
    }
    let other = pool.iter().copied().filter(|server| !failed_on.contains(server)).collect();
    first_not_empty([other, pool])
}

fn filtered(servers: usize, keep: impl FnMut(&usize) -> bool) -> Vec<usize> {
    (0..servers).filter(keep).collect()
}

fn first_not_empty<const N: usize>(pools: [Vec<usize>; N]) -> Vec<usize> {
    pools.into_iter().find(|pool| !pool.is_empty()).expect("a client has at least one server")
}
