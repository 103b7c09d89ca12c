//! Inner calls, against the policies of their edges, the calls on whose behalf they are made, and the servers that answered them.

use std::collections::BTreeMap;

use super::{Evidence, Findings, Invariant, ROUNDING_US};
use crate::{
    measure::us,
    record::{CallRow, Event, Name},
    scenario::{Client, Edge},
    status::Code,
};

/// The attempt that an inner call is made for: the request, the call that its process answers meanwhile, if that is an inner one, and the
/// number of the attempt.
type Parent = (u64, Option<u64>, u32);

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    if !evidence.scenario.has_services() {
        return;
    }
    let parents = parents(evidence);
    let finished = finished(evidence);
    for row in evidence.rows.calls() {
        let from = row.caller.rsplit_once('-').map_or(&*row.caller, |(service, _)| service);
        let edges = &evidence.scenario.edges;
        let Some(edge) = edges.iter().find(|edge| edge.from == *from && edge.to == *row.service) else {
            let what = format!("{} calls {}, and no edge leads there", row.caller, row.service);
            findings.add(Invariant::ConsistentLog, row.request, row.sent_us, what);
            continue;
        };
        check_policies(evidence, edge, &row, findings);
        check_parent(evidence, &row, &parents, findings);
        check_answers(&row, &finished, findings);
    }
}

/// Returns when each attempt began.
fn parents(evidence: &Evidence<'_>) -> BTreeMap<Parent, u64> {
    let of_load = evidence.rows.attempts().map(|row| ((row.request, None, row.attempt), row.start_us));
    let mut parents: BTreeMap<Parent, u64> = of_load.collect();
    for row in evidence.rows.calls() {
        let Some(request) = row.request else { continue };
        parents.extend(row.attempts.iter().map(|it| ((request, Some(row.call), it.attempt), it.start_us)));
    }
    parents
}

/// An attempt of an inner call, as events of servers name it.
type Attempt = (Option<u64>, u64, u32);

/// Returns which server finished each attempt of an inner call first, and when.
fn finished(evidence: &Evidence<'_>) -> BTreeMap<(Attempt, Name), u64> {
    let mut finished = BTreeMap::new();
    for row in evidence.rows.all_events().filter(|row| row.event == Event::Finished) {
        if let (Some(call), Some(attempt)) = (row.call, row.attempt) {
            finished.entry(((row.request, call, attempt), row.source.clone())).or_insert(row.at_us);
        }
    }
    finished
}

/// Checks that a call has no more attempts than the policies of its edge allow, and that it and they end in time.
fn check_policies(evidence: &Evidence<'_>, edge: &Edge, row: &CallRow, findings: &mut Findings) {
    let Client { retry, policies, .. } = edge.client.as_ref().unwrap_or(&evidence.scenario.client);
    let hedged = policies.hedging.as_ref().map(|hedging| hedging.max_attempts as u32);
    let most = hedged.unwrap_or(retry.max_attempts);
    let attempts = row.attempts.iter().map(|attempt| attempt.attempt).max().unwrap_or_default();
    // Changes of the load's client leave those of services alone.
    if attempts > most {
        let what = format!("{} made {attempts} attempts at {}, and {most} are allowed", row.caller, row.service);
        findings.add(Invariant::WithinLimits, row.request, row.sent_us, what);
    }
    let late_us = evidence.late.map_or(0, us) + ROUNDING_US;
    if row.done_us > row.deadline_us.saturating_add(late_us) {
        let what =
            format!("the call of {} ended at {} µs, its deadline is {} µs", row.service, row.done_us, row.deadline_us);
        findings.add(Invariant::DeadlinesHold, row.request, row.done_us, what);
    }
    for attempt in &row.attempts {
        if attempt.start_us < row.sent_us || attempt.end_us > row.done_us || attempt.end_us < attempt.start_us {
            let what = format!("attempt {} at {} is not within its call", attempt.attempt, attempt.server);
            findings.add(Invariant::ConsistentLog, row.request, attempt.start_us, what);
        }
    }
}

/// Checks that a call is made on behalf of an attempt that has begun.
fn check_parent(evidence: &Evidence<'_>, row: &CallRow, parents: &BTreeMap<Parent, u64>, findings: &mut Findings) {
    let (Some(request), Some(number)) = (row.request, row.parent_attempt) else { return };
    let began_us = parents.get(&(request, row.parent, number)).copied();
    // An interrupted run may lack the row of what it cut off, and clocks of several processes are read one after the other.
    if began_us.is_none_or(|began_us| began_us > row.sent_us) && evidence.is_virtual() {
        let what = format!("{} calls {} for attempt {number}, which had not been sent", row.caller, row.service);
        findings.add(Invariant::ConsistentLog, row.request, row.sent_us, what);
    }
}

/// Checks that a server finished the work of every attempt that it answered OK, and did so before it answered.
fn check_answers(row: &CallRow, finished: &BTreeMap<(Attempt, Name), u64>, findings: &mut Findings) {
    for attempt in row.attempts.iter().filter(|attempt| attempt.status == Code::Ok) {
        let key = ((row.request, row.call, attempt.attempt), attempt.server.clone());
        if finished.get(&key).is_none_or(|at_us| *at_us > attempt.end_us) {
            let what = format!("an inner attempt is OK, but {} had not finished it", attempt.server);
            findings.add(Invariant::NoResponseFromDeadServer, row.request, attempt.end_us, what);
        }
    }
}
