//! Checks the client's view of servers' health, once no fault is left, against the servers' state.

use std::{collections::BTreeMap, time::Duration};

use super::{Evidence, Findings, Invariant, servers::ServerStates, us};
use crate::{
    client::settings::HealthCheck,
    fault::FaultKind,
    http2::CONNECTION_WINDOW_BYTES,
    link::settings::Network,
    record::{Event, Name},
    scenario::Scenario,
};

/// The time that an attempt to connect may take; from gRPC's connection-backoff document.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The time that the client may take to find out the state of a server after its faults, as a multiple of the time that they
/// lasted.
///
/// The waits before connecting again and those of TCP before it sends again grow in proportion to how long they were in
/// vain: by 1.6 and by 2. With their jitter one can be 3 times as long as all before it.
const PATIENCE: u32 = 3;

/// The faults of a server, and how the client rates its health.
#[derive(Default)]
struct ServerHealth {
    /// Number of faults that have begun and not ended.
    faults: usize,
    /// The time at which the first fault began.
    first_us: Option<u64>,
    /// The time at which a fault last began or ended.
    last_us: u64,
    /// Since when the client rates it unhealthy; none while it rates it healthy.
    unhealthy_us: Option<u64>,
}

/// Checks that a live server is not rated unhealthy for long, nor a dead one healthy: once all faults of a server are
/// over, for as long as they lasted and some more. A run that ends before that shows nothing.
pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    let Some(check) =
        evidence.scenario.client.health_check.as_ref().filter(|check| are_observable(evidence.scenario, check))
    else {
        return;
    };
    let mut servers: BTreeMap<Name, ServerHealth> = BTreeMap::new();
    let mut states = ServerStates::new(&evidence.scenario.faults);
    for row in evidence.rows.events() {
        states.note(&row);
        let Some(server) = row.target.clone() else { continue };
        let health = servers.entry(server).or_default();
        match row.event {
            Event::FaultStart => {
                health.faults += 1;
                health.first_us.get_or_insert(row.at_us);
                health.last_us = row.at_us;
            }
            Event::FaultEnd => {
                health.faults = health.faults.saturating_sub(1);
                health.last_us = row.at_us;
            }
            Event::Unhealthy => health.unhealthy_us = health.unhealthy_us.or(Some(row.at_us)),
            Event::Healthy => health.unhealthy_us = None,
            _ => {}
        }
    }
    let end_us = evidence.end_us();
    for server in evidence.scenario.entry_names() {
        // While a fault lasts, either rating may be right.
        let Some(health) = servers.get(server.as_str()).filter(|health| health.faults == 0) else { continue };
        let trouble = Duration::from_micros(health.first_us.map_or(0, |first_us| health.last_us - first_us));
        // What lasts for longer than this is too long.
        let longest_us = us(settling_time(evidence.scenario, check, trouble));
        match (states.is_dead(&server), health.unhealthy_us) {
            (true, None) if end_us.saturating_sub(health.last_us) > longest_us => {
                let what = format!("{server} is down, and the client counts it as healthy at the end");
                findings.add(Invariant::HealthConverges, None, end_us, what);
            }
            (false, Some(since_us)) if end_us.saturating_sub(since_us.max(health.last_us)) > longest_us => {
                let what = format!("{server} is up, and the client has counted it as unhealthy since {since_us} µs");
                findings.add(Invariant::HealthConverges, None, end_us, what);
            }
            _ => {}
        }
    }
}

/// Returns whether checks tell the state of a server whatever changes in the run.
fn are_observable(scenario: &Scenario, check: &HealthCheck) -> bool {
    scenario.epochs().iter().all(|epoch| is_observable(&epoch.settings, check))
}

/// Returns whether servers are checked, and a check is answered in time on a link without a fault. A stream of reports notices neither
/// a dead server nor a dead connection.
fn is_observable(scenario: &Scenario, check: &HealthCheck) -> bool {
    let Network { latency, jitter, bandwidth } = scenario.network;
    let client = &scenario.client;
    let is_checked = client.checks_health() && !client.watches_health();
    is_checked && bandwidth.is_none() && (latency + jitter) * 4 < check.timeout
}

/// Returns how long the client may take to find out the state of a server that had faults for so long.
fn settling_time(scenario: &Scenario, check: &HealthCheck, trouble: Duration) -> Duration {
    let delayed: Duration = scenario.faults.iter().map(|fault| longest_delay(&fault.kind)).sum();
    check.interval + check.timeout + CONNECT_TIMEOUT + delayed + trouble * PATIENCE
}

/// Returns by how much a message may be delayed that is sent during a fault of a link.
fn longest_delay(kind: &FaultKind) -> Duration {
    match *kind {
        FaultKind::Delay { latency, jitter, .. } => (latency + jitter) * 4,
        // As much as HTTP/2 lets one side have under way, there and then back: messages keep the times that they were
        // given when they were sent.
        FaultKind::Bandwidth { rate, .. } => {
            Duration::from_secs_f64(2.0 * 8.0 * f64::from(CONNECTION_WINDOW_BYTES) / rate as f64)
        }
        // A burst may lose each of TCP's tries, up to the last one.
        FaultKind::Loss { enter_burst: Some(_), .. } => Duration::from_secs(925),
        // Two minutes are the longest of TCP's waits, and few segments are lost more often than that takes.
        FaultKind::Loss { .. } => Duration::from_secs(240),
        _ => Duration::ZERO,
    }
}
