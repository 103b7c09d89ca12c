//! The servers that an attempt can be sent to.

use std::time::Duration;

use super::{
    Server, Shared, balancer,
    settings::{Balancing, ServerSelection},
};
use crate::{
    planted::planted,
    policy::{AllEjected, CIRCUIT_OPEN, Rejection, Servers},
    status::Code,
    time::Instant,
};

/// The servers for an attempt, or the reason why there are none.
pub(super) enum Candidates {
    /// The balancer chooses one of these.
    Servers(Servers),
    /// None yet: a server may become available at the next change, or at this time.
    Wait(Option<Instant>),
    /// None: the attempt fails, and the retry policy decides whether another one follows.
    None(Rejection),
    /// Policies block every server, which ends the call.
    Blocked(Rejection),
}

const ALL_EJECTED: Rejection = Rejection { code: Code::Unavailable, cause: "every server is ejected" };
const NONE_HEALTHY: Rejection = Rejection { code: Code::Unavailable, cause: "no server is healthy" };
const NONE_CONNECTED: Rejection = Rejection { code: Code::Unavailable, cause: "no server can be connected to" };

/// The time after which `pick_first` tries the next server beside one that is still connecting (gRPC A61).
const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Returns the servers that an attempt of a call can be sent to by `balancer`.
pub(super) fn candidates(client: &Shared, balancer: &dyn balancer::Balancer, now: Instant) -> Candidates {
    let open = Servers::below(client.servers.len()).without(client.chain.blocked(now));
    if open.is_empty() {
        return Candidates::Blocked(CIRCUIT_OPEN);
    }
    let kept = open.without(client.chain.ejected());
    match client.settings.server_selection {
        ServerSelection::PreferHealthy => prefer_healthy(client, open, kept),
        ServerSelection::ConnectionState if client.settings.load_balancing == Balancing::PickFirst => {
            pick_first(client, balancer.stays_at(), open, now)
        }
        ServerSelection::ConnectionState => connection_state(client, open, kept),
    }
}

/// Prefers servers that are connected, healthy and not ejected: an attempt to a server that is still being connected would wait
/// for that, which can take as long as a partition does. If there are none, servers that may yet be connected are candidates,
/// too; if there are none, unhealthy ones; if there are none, ejected ones; if there are none, all: asking a server that is
/// likely to fail is better than asking none.
fn prefer_healthy(client: &Shared, open: Servers, kept: Servers) -> Candidates {
    let kept = planted!(Bug::BlindBalancer, open, else kept);
    // The usual case: connected servers, so that no attempt waits for a connection.
    let healthy = kept.and(client.health.healthy());
    let ready = healthy.and(client.ready.servers());
    if !ready.is_empty() {
        return Candidates::Servers(ready);
    }
    let fails = client.all_ejected == AllEjected::Fail;
    if fails && kept.is_empty() {
        return Candidates::None(ALL_EJECTED);
    }
    for pool in [healthy, kept, open] {
        let not_failing = without_failing(pool, &client.servers);
        if !not_failing.is_empty() {
            return Candidates::Servers(not_failing);
        }
    }
    Candidates::Servers(if fails { kept } else { open })
}

/// Follows the states of the connections, as gRPC's balancers do: READY servers are picked from; while there are none, attempts
/// wait for a server that is CONNECTING, and fail when every server is in TRANSIENT_FAILURE, which ejected servers (A50) and
/// servers that say that they do not serve (A17) count as. A server that has yet to say so is CONNECTING.
fn connection_state(client: &Shared, open: Servers, kept: Servers) -> Candidates {
    let asked = client.health.asked();
    let serving = kept.and(client.health.healthy().or(asked));
    let ready = client.ready.servers();
    let usable = serving.and(ready).without(asked);
    if !usable.is_empty() {
        return Candidates::Servers(usable);
    }
    if kept.is_empty() && client.all_ejected == AllEjected::AskAnyway && !open.and(ready).is_empty() {
        return Candidates::Servers(open.and(ready));
    }
    // A call that waits for a server to be ready is never failed by the balancer.
    if client.settings.wait_for_ready || !without_failing(serving, &client.servers).is_empty() {
        return Candidates::Wait(None);
    }
    Candidates::None(match (kept.is_empty(), serving.is_empty()) {
        (true, _) => ALL_EJECTED,
        (false, true) => NONE_HEALTHY,
        (false, false) => NONE_CONNECTED,
    })
}

/// Stays with the server in use while that is connected; otherwise takes the first in order that is, and gives those before it
/// a moment to connect. Neither health (A17) nor ejections (A50) have a say: gRPC's `pick_first` sees connections alone.
fn pick_first(client: &Shared, current: Option<usize>, open: Servers, now: Instant) -> Candidates {
    let ready = client.ready.servers().and(open);
    if let Some(current) = current.filter(|current| ready.contains(*current)) {
        return Candidates::Servers([current].into_iter().collect());
    }
    for server in open.iter() {
        if ready.contains(server) {
            return Candidates::Servers([server].into_iter().collect());
        }
        let until = client.servers[server].connection.connecting_since().map(|since| since + CONNECTION_ATTEMPT_DELAY);
        if let Some(until) = until.filter(|until| *until > now) {
            return Candidates::Wait(Some(until));
        }
    }
    if client.settings.wait_for_ready || !without_failing(open, &client.servers).is_empty() {
        return Candidates::Wait(None);
    }
    Candidates::None(NONE_CONNECTED)
}

fn without_failing(pool: Servers, servers: &[Server]) -> Servers {
    pool.iter().filter(|server| !servers[*server].connection.is_failing()).collect()
}

/// Returns the servers of `pool` that are not in `tried`, or all of `pool` if each is.
pub(super) fn prefer_untried(pool: Servers, tried: Servers) -> Servers {
    let untried = pool.without(tried);
    if untried.is_empty() { pool } else { untried }
}
