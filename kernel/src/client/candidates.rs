//! Which servers may be asked.

use super::{Server, health::Health};

/// The servers to choose among, ascending, at least one.
///
/// Those believed healthy; if there are none, those that are connected or may yet be; if there are none, all: with
/// nobody good left, asking somebody beats asking nobody. Of these, the ones that this call has not failed on, if
/// there are any and `prefer_other` says so.
pub(super) fn of(servers: &[Server], health: &Health, failed_on: &[usize], prefer_other: bool) -> Vec<usize> {
    let connected = |server: &usize| !servers[*server].connection.is_failing();
    let believed = |server: &usize| connected(server) && health.is_healthy(*server);
    let pool = first_not_empty([
        filtered(servers.len(), believed),
        filtered(servers.len(), connected),
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
