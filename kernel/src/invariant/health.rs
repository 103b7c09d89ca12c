//! What the client believes of servers once nothing goes wrong any more, against how they are.

use std::{collections::BTreeMap, time::Duration};

use super::{Evidence, Findings, Invariant, servers::Lives, us};
use crate::{
    record::Event,
    scenario::{FaultKind, Network, Scenario, server_name},
    transport::CONNECTION_WINDOW_BYTES,
};

/// An attempt to connect is given up after this long; gRPC's connection-backoff document.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// What the client comes to after a fault is awaited this many times as long as the trouble lasted. The waits before
/// connecting again and those of TCP before it sends again grow in proportion to how long it went on in vain: by 1.6 and by
/// 2, and with their jitter one can be 3 times as long as all before it.
const PATIENCE: u32 = 3;

/// What was done to a server, and what the client made of it.
#[derive(Default)]
struct Course {
    /// Faults begun and not over.
    suffers: usize,
    /// When the first began.
    first_us: Option<u64>,
    /// When one last began or ended.
    last_us: u64,
    /// Since when it is believed unhealthy.
    unhealthy_us: Option<u64>,
}

/// A server that is well is not believed ill for long, and a dead one not well: once all faults of a server are over, for
/// as long as the trouble had lasted and some more. Runs that end before that say nothing.
pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    if !is_observable(evidence.scenario) {
        return;
    }
    let mut courses: BTreeMap<&str, Course> = BTreeMap::new();
    let mut lives = Lives::default();
    for row in &evidence.records.events {
        lives.note(row);
        let Some(server) = row.target.as_deref() else { continue };
        let course = courses.entry(server).or_default();
        match row.event {
            Event::FaultStart => {
                course.suffers += 1;
                course.first_us.get_or_insert(row.at_us);
                course.last_us = row.at_us;
            }
            Event::FaultEnd => {
                course.suffers = course.suffers.saturating_sub(1);
                course.last_us = row.at_us;
            }
            Event::Unhealthy => drop(course.unhealthy_us.get_or_insert(row.at_us)),
            Event::Healthy => course.unhealthy_us = None,
            _ => {}
        }
    }
    let end_us = evidence.end_us();
    for server in (0..evidence.scenario.servers.replicas).map(server_name) {
        let Some(course) = courses.get(&*server).filter(|course| course.suffers == 0) else { continue };
        let trouble = Duration::from_micros(course.first_us.map_or(0, |first_us| course.last_us - first_us));
        let settled_us = us(settling(evidence.scenario, trouble));
        let is_overdue = |since_us: u64| end_us.saturating_sub(since_us) > settled_us;
        match (lives.is_dead(&server), course.unhealthy_us) {
            (true, None) if is_overdue(course.last_us) => {
                let what = format!("{server} is dead, and in the end believed healthy");
                findings.add(Invariant::HealthConverges, None, end_us, what);
            }
            (false, Some(since_us)) if is_overdue(since_us.max(course.last_us)) => {
                let what = format!("{server} is well, and believed unhealthy since {since_us} µs");
                findings.add(Invariant::HealthConverges, None, end_us, what);
            }
            _ => {}
        }
    }
}

/// Whether checks pass a link that no fault is on.
fn is_observable(scenario: &Scenario) -> bool {
    let Network { latency, jitter, bandwidth } = scenario.network;
    bandwidth.is_none() && (latency + jitter) * 4 < scenario.client.health_check.timeout
}

/// How long the client may take to find out how a server is that was in trouble for so long.
fn settling(scenario: &Scenario, trouble: Duration) -> Duration {
    let check = scenario.client.health_check;
    check.interval + check.timeout + CONNECT_TIMEOUT + late(scenario) + trouble * PATIENCE
}

/// How late may arrive what was sent during a fault of a link.
fn late(scenario: &Scenario) -> Duration {
    let of = |kind: &FaultKind| match *kind {
        FaultKind::Delay { latency, jitter, .. } => (latency + jitter) * 4,
        // As much as HTTP/2 lets one side have under way, there and then back: it keeps the times that it was given.
        FaultKind::Bandwidth { rate, .. } => {
            Duration::from_secs_f64(2.0 * 8.0 * f64::from(CONNECTION_WINDOW_BYTES) / rate as f64)
        }
        // Two minutes are the longest of TCP's waits, and few segments are lost more often than that takes.
        FaultKind::Loss { .. } => Duration::from_secs(240),
        _ => Duration::ZERO,
    };
    scenario.faults.iter().map(|fault| of(&fault.kind)).sum()
}
