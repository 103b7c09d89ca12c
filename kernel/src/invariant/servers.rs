//! Checks what servers did against the faults on them and the attempts that were sent to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use super::{Evidence, Findings, InForce, Invariant, ROUNDING_US, calls::most_over, us};
use crate::{
    fault::{Fault, FaultKind},
    record::{Answer, Event, EventRow, Name, Rows},
    scenario::{Scenario, Servers},
    status::Code,
};

pub(super) fn check(evidence: &Evidence<'_>, in_force: &InForce, findings: &mut Findings) {
    let mut servers = ServerStates::new(&evidence.scenario.faults);
    for row in evidence.rows.events() {
        if let Some(why) = servers.forbid(&row) {
            let did: &str = row.event.into();
            let what = format!("{} says `{did}`, but {why}", row.source);
            findings.add(Invariant::NoResponseFromDeadServer, row.request, row.at_us, what);
        }
        servers.note(&row);
    }
    check_answers(evidence.rows, findings);
    check_work(evidence.rows, evidence.scenario, findings);
    check_workers(evidence, in_force, findings);
}

/// The states of servers, by name. A server without a fault is not in it.
pub(super) struct ServerStates<'a> {
    faults: &'a [Fault],
    states: BTreeMap<Name, ServerState>,
}

/// The state of a server's process.
#[derive(Debug, Default)]
struct ServerState {
    /// The time at which it was killed; none once it listens again.
    dead_us: Option<u64>,
    /// The process that replaces it has been started. Before it listens, its code may have reached a state.
    is_restarted: bool,
    /// The indexes of the faults that freeze it.
    freezes: BTreeSet<usize>,
    /// The time at which the first of them began.
    frozen_us: u64,
}

impl<'a> ServerStates<'a> {
    /// Creates the states at the start of a run with these faults.
    pub(super) fn new(faults: &'a [Fault]) -> Self {
        Self { faults, states: BTreeMap::new() }
    }

    /// Updates the state of the server whose fault begins or ends, or that listens.
    pub(super) fn note(&mut self, row: &EventRow) {
        match (row.event, &row.target, row.fault) {
            (Event::Listening, ..) => {
                if let Some(state) = self.states.get_mut(&*row.source) {
                    state.dead_us = None;
                    state.is_restarted = false;
                }
            }
            // A process that was drained while it stood still has taken its freezes along.
            (Event::Restart, Some(server), _) => {
                if let Some(state) = self.states.get_mut(server) {
                    state.freezes.clear();
                    state.is_restarted = true;
                }
            }
            (Event::FaultStart, Some(server), Some(fault)) => self.begin(server, fault, row.at_us),
            (Event::FaultEnd | Event::NoEffect, Some(server), Some(fault)) => {
                if let Some(state) = self.states.get_mut(server) {
                    state.freezes.remove(&fault);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, server: &Name, fault: usize, at_us: u64) {
        match self.faults.get(fault).map(|fault| &fault.kind) {
            Some(FaultKind::Drain { grace, .. }) => {
                let state = self.states.entry(server.clone()).or_default();
                // It may end before, and is killed then.
                let dead_us = at_us + grace.map_or(0, us);
                state.dead_us = Some(state.dead_us.map_or(dead_us, |earlier_us| earlier_us.min(dead_us)));
            }
            Some(FaultKind::Crash { .. }) => {
                let state = self.states.entry(server.clone()).or_default();
                state.dead_us = Some(state.dead_us.map_or(at_us, |earlier_us| earlier_us.min(at_us)));
                state.is_restarted = false;
                // A process that is killed is no longer frozen; the one that replaces it never was.
                state.freezes.clear();
            }
            Some(FaultKind::Freeze { .. }) => {
                let state = self.states.entry(server.clone()).or_default();
                if state.freezes.is_empty() {
                    state.frozen_us = at_us;
                }
                state.freezes.insert(fault);
            }
            // The other kinds leave the process alone.
            _ => {}
        }
    }

    /// Returns whether a server is dead.
    pub(super) fn is_dead(&self, server: &str) -> bool {
        self.states.get(server).is_some_and(|state| state.dead_us.is_some())
    }

    /// Returns why the source of this row cannot have recorded it. Events at the instant of a fault may precede it.
    fn forbid(&self, row: &EventRow) -> Option<String> {
        let state = self.states.get(&*row.source)?;
        let is_starting = row.event == Event::Listening || (row.event == Event::Reached && state.is_restarted);
        match state.dead_us {
            Some(dead_us) if !is_starting && dead_us < row.at_us => Some(format!("it was killed at {dead_us} µs")),
            _ if !state.freezes.is_empty() && state.frozen_us < row.at_us => {
                Some(format!("it stands still since {} µs", state.frozen_us))
            }
            _ => None,
        }
    }
}

/// Checks that a server finished the work of every attempt that it answered OK, and did so before it answered.
fn check_answers(rows: &dyn Rows, findings: &mut Findings) {
    let finished = rows.events().filter(|row| row.event == Event::Finished);
    let finished = finished.filter_map(|row| Some((attempt_key(&row)?, row.at_us, row.source.clone())));
    let mut finished: Vec<_> = finished.collect();
    finished.sort_unstable();
    for row in rows.attempts().filter(|row| row.status == Code::Ok) {
        let key = (row.request, row.attempt);
        let from = finished.partition_point(|(finished, ..)| *finished < key);
        let mut same = finished[from..].iter().take_while(|(finished, ..)| *finished == key);
        if !same.any(|(_, at_us, server)| row.server == *server && *at_us <= row.end_us) {
            let what = format!("attempt {} is OK, but {} had not finished it", row.attempt, row.server);
            findings.add(Invariant::NoResponseFromDeadServer, Some(row.request), row.end_us, what);
        }
    }
}

/// An attempt that was sent to a server.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SentAttempt {
    key: (u64, u32),
    server: Name,
    at_us: u64,
}

/// Checks that each attempt is processed at most once, by the server that it was sent to, and only after it was sent.
fn check_work(rows: &dyn Rows, scenario: &Scenario, findings: &mut Findings) {
    let picks = rows.events().filter(|row| row.event == Event::Pick);
    let sent = picks
        .filter_map(|row| Some(SentAttempt { key: attempt_key(&row)?, server: row.target.clone()?, at_us: row.at_us }));
    let mut sent: Vec<_> = sent.collect();
    sent.sort_unstable();
    let mut is_handled = vec![false; sent.len()];
    // The attempts of a client stack of the load's own have no rows.
    let own = rows.requests().filter(|row| row.answer == Some(Answer::OwnStack)).map(|row| row.id);
    let own: BTreeSet<u64> = own.collect();
    // Those of a stack of a service's own have none, either.
    let called = if scenario.has_services() { scenario.entry_names() } else { Vec::new() };
    let is_called = |row: &EventRow| called.is_empty() || called.iter().any(|name| row.source == *name);
    let is_of_attempt = |row: &EventRow| is_work(row) && row.request.is_none_or(|id| !own.contains(&id));
    for row in rows.events().filter(|row| is_of_attempt(row) && is_called(row)) {
        let began_us = row.at_us.saturating_sub(row.duration_us.unwrap_or_default());
        let found = attempt_key(&row).and_then(|key| {
            sent.binary_search_by_key(&(key, &row.source), |attempt| (attempt.key, &attempt.server)).ok()
        });
        let what = match found {
            None => format!("{} was not asked for it", row.source),
            Some(at) if began_us + ROUNDING_US < sent[at].at_us => {
                format!("{} worked on it before it was sent", row.source)
            }
            Some(at) if mem::replace(&mut is_handled[at], true) => format!("{} worked on it twice", row.source),
            Some(_) => continue,
        };
        findings.add(Invariant::ConsistentLog, row.request, row.at_us, what);
    }
}

/// Returns whether a server ends the processing of an attempt with this event.
fn is_work(row: &EventRow) -> bool {
    let ends =
        matches!(row.event, Event::Finished | Event::Aborted | Event::Cancelled | Event::Skipped | Event::Refused);
    ends && row.request.is_some()
}

/// Returns the request and the number of the attempt that an event is about.
fn attempt_key(row: &EventRow) -> Option<(u64, u32)> {
    Some((row.request?, row.attempt?))
}

/// Checks that no server works on more attempts at once than it has workers for, nor on one for less than the minimum. Work that ends as
/// other work begins does not overlap with it. A worker that is too many after a change finishes what it has begun, beside the others.
fn check_workers(evidence: &Evidence<'_>, in_force: &InForce, findings: &mut Findings) {
    let mut spans: BTreeMap<Name, Vec<(u64, u64)>> = BTreeMap::new();
    for row in evidence.rows.all_events().filter(|row| matches!(row.event, Event::Finished | Event::Cancelled)) {
        let took_us = row.duration_us.unwrap_or_default();
        // Both times are rounded down, so that the difference may be too long.
        let start_us = (row.at_us + ROUNDING_US).saturating_sub(took_us).min(row.at_us);
        // A frozen server learns of a change when it runs again.
        let from_us = start_us.saturating_sub(longest_freeze_us(evidence));
        let least = in_force.least(from_us, start_us, |settings| settings.servers_named(&row.source).service_time_min);
        let least_us = us(least).saturating_sub(ROUNDING_US);
        // A service whose caller has left occupies its worker no longer than that.
        if took_us < least_us && row.event == Event::Finished {
            let what = format!("{} worked {took_us} µs on it, and each takes {least_us} µs at least", row.source);
            findings.add(Invariant::Capacity, row.request, row.at_us, what);
        }
        spans.entry(row.source.clone()).or_default().push((start_us, row.at_us));
    }
    let room = |settings: &Scenario, server: &str| {
        let Servers { workers, admission, .. } = settings.servers_named(server);
        let admitted = admission.as_ref().and_then(|admission| admission.max_concurrent_requests);
        admitted.map_or(*workers, |admitted| admitted.min(*workers))
    };
    let freeze_us = longest_freeze_us(evidence);
    for (server, spans) in spans {
        let longest_us = spans.iter().map(|(start_us, end_us)| end_us - start_us).max().unwrap_or_default();
        let before_us = freeze_us.saturating_add(longest_us);
        let allowed =
            |at_us: u64| in_force.most(at_us.saturating_sub(before_us), at_us, |settings| room(settings, &server));
        if let Some((most, room, at_us)) = most_over(spans.into_iter(), allowed) {
            let what = format!("{server} worked on {most} at once and has room for {room}");
            findings.add(Invariant::Capacity, None, at_us, what);
        }
    }
}

/// Returns the longest time for which a server of the scenario can stand still, in microseconds.
fn longest_freeze_us(evidence: &Evidence<'_>) -> u64 {
    let freezes = evidence.scenario.faults.iter().filter_map(|fault| match fault.kind {
        FaultKind::Freeze { duration } => Some(duration.map_or(u64::MAX, us)),
        _ => None,
    });
    freezes.fold(0, u64::saturating_add)
}
