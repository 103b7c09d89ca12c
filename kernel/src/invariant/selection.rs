//! Checks that the client picks no server while it knows a better one, and that what it knows of servers, which is their
//! connections, health ratings and ejections, makes only valid state transitions.

use super::{Evidence, Findings, Invariant, ROUNDING_US, us};
use crate::{
    client::settings::ServerSelection,
    policy::{OutlierDetection, Scope},
    record::{Event, EventRow, Name},
};

/// A server as the client knows it, from the client's events.
#[derive(Debug)]
struct View {
    is_healthy: bool,
    connection: Connection,
    /// True if the last attempt to connect to it failed.
    is_failing: bool,
    /// The time at which it was ejected, and the time for which it stays ejected at least.
    ejected: Option<(u64, u64)>,
    breaker: Breaker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connection {
    Idle,
    Connecting,
    Ready,
    /// The connection failed, and is not tried again before this time.
    Failed(u64),
}

/// Which attempts the breaker of a server lets pass, as far as events show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaker {
    Passes,
    /// The breaker is half open and lets a few pass; whether there is room is not recorded.
    MayPass,
    Blocks,
}

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    let names = evidence.scenario.entry_names();
    let mut views: Vec<View> = names.iter().map(|_| View::new()).collect();
    let policies = &evidence.scenario.client.policies;
    let selection = evidence.scenario.client.server_selection;
    let by_server = policies.circuit_breaker.as_ref().is_some_and(|breaker| breaker.scope == Scope::Server);
    // The order of events is what is checked: only virtual time orders those of several tasks as they happened.
    for row in evidence.rows.events().filter(|row| row.source == "client") {
        let Some(server) = row.target.as_deref().and_then(|name| names.iter().position(|known| known == name)) else {
            continue;
        };
        if row.event == Event::Pick && selection == ServerSelection::ConnectionState {
            if views[server].connection != Connection::Ready {
                let what = format!("{} is asked, which is not connected: {:?}", names[server], views[server]);
                findings.add(Invariant::PicksBestServer, row.request, row.at_us, what);
            }
            continue;
        }
        if row.event == Event::Pick {
            if let Some(better) = better(&views, server) {
                let what = format!("{} is asked, although {} is better: {:?}", names[server], names[better], views);
                findings.add(Invariant::PicksBestServer, row.request, row.at_us, what);
            }
            continue;
        }
        if let (Event::Ejected, Some(settings)) = (row.event, &policies.outlier_detection) {
            check_ejection(&views, &row, settings, findings);
        }
        if !views[server].follow(&row, by_server) {
            let what = format!("`{}` of {}, which is {:?}", <&str>::from(row.event), names[server], views[server]);
            findings.add(Invariant::ValidStateTransitions, row.request, row.at_us, what);
        }
    }
    if let Some(settings) = &policies.outlier_detection {
        check_ejection_ends(evidence, settings, findings);
    }
}

/// Returns a server that the client knows to be better than `picked`.
fn better(views: &[View], picked: usize) -> Option<usize> {
    let tier = views[picked].tier();
    // A breaker that is half open may have no room left, which is not recorded: its server is never held to be better.
    views.iter().position(|view| view.breaker == Breaker::Passes && view.tier() < tier)
}

/// Checks that an ejection leaves as many servers as the policy says, and that it is for a multiple of the base time or for
/// the longest time.
fn check_ejection(views: &[View], row: &EventRow, settings: &OutlierDetection, findings: &mut Findings) {
    let ejected = views.iter().filter(|view| view.ejected.is_some()).count();
    let percent = settings.max_ejection_percent;
    // One server may always be ejected, whatever the percentage (Envoy, gRPC A50).
    if ejected > 0 && ejected as f64 * 100.0 >= percent * views.len() as f64 {
        let what = format!("{ejected} of {} servers are ejected, and another one with {percent} %", views.len());
        findings.add(Invariant::WithinLimits, None, row.at_us, what);
    }
    let base = settings.base_ejection_time;
    let base_us = us(base);
    let long_us = us(settings.max_ejection_time.max(base));
    let time_us = row.duration_us.unwrap_or_default();
    // A base of less than a microsecond is rounded.
    let is_multiple =
        !base.subsec_nanos().is_multiple_of(1_000) || time_us.checked_rem(base_us) == Some(0) || time_us == long_us;
    if time_us < base_us || time_us > long_us || !is_multiple {
        let what = format!("it is ejected for {time_us} µs, with a base of {base_us} µs and {long_us} µs at most");
        findings.add(Invariant::WithinLimits, None, row.at_us, what);
    }
}

/// An ejection of a server.
struct Ejection {
    target: Option<Name>,
    at_us: u64,
    due_us: u64,
    /// The time at which it ended; none while it has not.
    ends_us: Option<u64>,
}

/// Checks that every ejection ends at the first sweep after its time.
fn check_ejection_ends(evidence: &Evidence<'_>, settings: &OutlierDetection, findings: &mut Findings) {
    let most_us = us(settings.interval) + evidence.late.map_or(0, us) + ROUNDING_US;
    let mut end_us = 0;
    let mut ejections: Vec<Ejection> = Vec::new();
    for row in evidence.rows.events() {
        end_us = end_us.max(row.at_us);
        match row.event {
            Event::Ejected => {
                let due_us = row.at_us + row.duration_us.unwrap_or_default();
                ejections.push(Ejection { target: row.target.clone(), at_us: row.at_us, due_us, ends_us: None });
            }
            Event::Unejected => {
                let open = ejections.iter_mut().rev().filter(|ejection| ejection.target == row.target);
                open.take_while(|ejection| ejection.ends_us.is_none())
                    .for_each(|ejection| ejection.ends_us = Some(row.at_us));
            }
            _ => {}
        }
    }
    for Ejection { at_us, due_us, ends_us, .. } in ejections {
        let is_late = ends_us.unwrap_or(end_us) > due_us + most_us;
        if is_late || ends_us.is_some_and(|ends_us| ends_us < due_us) {
            let what = format!("it is ejected until {due_us} µs, and serves again at {ends_us:?} µs");
            findings.add(Invariant::ValidStateTransitions, None, at_us, what);
        }
    }
}

impl View {
    fn new() -> Self {
        Self {
            is_healthy: true,
            connection: Connection::Idle,
            is_failing: false,
            ejected: None,
            breaker: Breaker::Passes,
        }
    }

    /// Returns the tier of the server, of which the lower is the better; see `client::candidates`.
    fn tier(&self) -> u8 {
        let is_ready = self.connection == Connection::Ready;
        match (self.ejected.is_some(), self.is_failing) {
            (false, _) if self.is_healthy && is_ready => 0,
            (false, false) if self.is_healthy => 1,
            (false, false) => 2,
            (true, false) => 3,
            (_, true) => 4,
        }
    }

    /// Makes the transition of `row`, and returns whether it is valid.
    fn follow(&mut self, row: &EventRow, by_server: bool) -> bool {
        let at_us = row.at_us;
        match row.event {
            Event::Healthy => !std::mem::replace(&mut self.is_healthy, true),
            Event::Unhealthy => std::mem::replace(&mut self.is_healthy, false),
            Event::Connecting => match std::mem::replace(&mut self.connection, Connection::Connecting) {
                Connection::Idle => true,
                Connection::Failed(until_us) => at_us + ROUNDING_US >= until_us,
                Connection::Connecting | Connection::Ready => false,
            },
            Event::Ready => {
                self.is_failing = false;
                std::mem::replace(&mut self.connection, Connection::Ready) == Connection::Connecting
            }
            Event::TransientFailure => {
                self.is_failing = true;
                let failed = Connection::Failed(at_us + row.duration_us.unwrap_or_default());
                std::mem::replace(&mut self.connection, failed) == Connection::Connecting
            }
            Event::Idle => std::mem::replace(&mut self.connection, Connection::Idle) == Connection::Ready,
            Event::Ejected => self.ejected.replace((at_us, row.duration_us.unwrap_or_default())).is_none(),
            Event::Unejected => self.ejected.take().is_some(),
            Event::BreakerOpened | Event::BreakerHalfOpened | Event::BreakerClosed if by_server => {
                self.breaker = match row.event {
                    Event::BreakerOpened => Breaker::Blocks,
                    Event::BreakerHalfOpened => Breaker::MayPass,
                    _ => Breaker::Passes,
                };
                true
            }
            _ => true,
        }
    }
}
