//! Checks the client's events, which record its decisions, against the requests and attempts that follow from them.

use std::{collections::BTreeSet, ops::RangeInclusive};

use super::{
    Evidence, Findings, InForce, Invariant, ROUNDING_US,
    attempts::{Attempt, Attempts, RequestIds},
};
use crate::{
    client::settings::{Jitter, Retry},
    record::{Answer, Event, EventRow, RequestRow},
    status::{Code, Outcome},
    workload::settings::Workload,
};

/// Number of events of one request, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct EventCounts {
    picks: u32,
    failed: u32,
    failovers: u32,
    hedges: u32,
    backoffs: u32,
    given_up: u32,
    rejections: u32,
    sent_again: u32,
    hits: u32,
    fallbacks: u32,
}

pub(super) fn check(evidence: &Evidence<'_>, (attempts, in_force): (&Attempts, &InForce), findings: &mut Findings) {
    let ids = RequestIds::collect(evidence.rows);
    let irregular = irregular(evidence);
    let mut counts = vec![EventCounts::default(); ids.len()];
    for row in evidence.rows.events() {
        if let Some(counter) = EventCounts::counter(row.event) {
            match row.request.and_then(|id| ids.position(id)) {
                Some(at) => *counter(&mut counts[at]) += 1,
                None => findings.add(Invariant::ConsistentLog, row.request, row.at_us, "an event is of no request"),
            }
        }
        match row.event {
            Event::Pick | Event::Backoff if row.request.is_some_and(|id| irregular.contains(&id)) => {}
            Event::Backoff => check_backoff(evidence, (attempts, in_force), &row, findings),
            Event::Pick | Event::AttemptFailed => check_attempt(evidence, attempts, &row, findings),
            // Of an app, it is a finding of its own checks, which fails the run.
            Event::WrongResult if !matches!(evidence.scenario.workload, Workload::App(_)) => {
                let what = "the result is not that of the workload function";
                findings.add(Invariant::CorrectResult, row.request, row.at_us, what);
            }
            _ => {}
        }
    }
    for (request, counts) in evidence.rows.requests().zip(counts) {
        if request.answer == Some(Answer::OwnStack) {
            let given_up = u32::from(request.status != Outcome::OK);
            if counts != (EventCounts { given_up, ..EventCounts::default() }) {
                let what = "it is of a stack of the load's own, and has other events than the one of its failure";
                findings.add_to(&request, Invariant::ConsistentLog, what);
            }
            continue;
        }
        check_counts(&request, attempts.of_request(request.id), counts, findings);
        check_end(&request, counts, findings);
    }
}

/// Returns the requests with an attempt that was sent again, or for which there was no server: their attempts do not have one pick
/// and one backoff each.
fn irregular(evidence: &Evidence<'_>) -> BTreeSet<u64> {
    let rows = evidence.rows.events();
    let rows = rows.filter(|row| matches!(row.event, Event::TransparentRetry | Event::Rejected));
    rows.filter_map(|row| row.request).collect()
}

impl EventCounts {
    /// Returns the counter of a kind of event; none if the kind is not counted.
    fn counter(event: Event) -> Option<fn(&mut Self) -> &mut u32> {
        Some(match event {
            Event::Pick => |counts| &mut counts.picks,
            Event::AttemptFailed => |counts| &mut counts.failed,
            Event::Failover => |counts| &mut counts.failovers,
            Event::Hedge => |counts| &mut counts.hedges,
            Event::Backoff => |counts| &mut counts.backoffs,
            Event::GiveUp => |counts| &mut counts.given_up,
            Event::Rejected => |counts| &mut counts.rejections,
            Event::TransparentRetry => |counts| &mut counts.sent_again,
            Event::CacheHit => |counts| &mut counts.hits,
            Event::Fallback => |counts| &mut counts.fallbacks,
            _ => return None,
        })
    }
}

/// Checks that there are as many events as attempts, failovers, hedges and retries.
fn check_counts(request: &RequestRow, attempts: &[Attempt], counts: EventCounts, findings: &mut Findings) {
    // The attempts that renew a stale answer may still be under way when the run ends.
    if request.answer == Some(Answer::Stale) && request.attempts == 0 {
        return;
    }
    // One that is sent again is picked again, unless a policy rejects it then, and has one row.
    let rows = attempts.len() as u32;
    let ended = counts.picks.clamp(rows, rows + counts.sent_again);
    // Attempts that are never ended are a leak; ended ones that were never sent are a wrong log.
    if counts.picks > ended {
        findings.add_to(request, Invariant::Drains, format!("{} attempts were sent, and {ended} ended", counts.picks));
    } else if counts.picks < ended {
        findings.add_to(
            request,
            Invariant::ConsistentLog,
            format!("{ended} attempts ended, and {} were sent", counts.picks),
        );
    }
    let failed = attempts.iter().filter(|attempt| attempt.status != Code::Ok).count() as u32;
    for (name, events, rows) in [
        ("failed attempts", counts.failed, failed),
        ("failovers", counts.failovers, request.failovers),
        ("hedges", counts.hedges, request.hedges),
    ] {
        // The server of one that is sent again may be the one before.
        let more = if name == "failovers" { counts.sent_again } else { 0 };
        if !(rows..=rows + more).contains(&events) {
            findings.add_to(request, Invariant::ConsistentLog, format!("{rows} {name}, and {events} events of them"));
        }
    }
    // An attempt that is rejected or cancelled after its backoff is no retry.
    let more = counts.rejections.max(u32::from(request.status == Outcome::Status(Code::Cancelled)));
    let retries = request.attempts.saturating_sub(1).saturating_sub(request.hedges);
    if !(retries..=retries + more).contains(&counts.backoffs) {
        findings.add_to(
            request,
            Invariant::ConsistentLog,
            format!("{retries} retries, and {} backoffs", counts.backoffs),
        );
    }
}

/// Checks that the end of the call fits the events of its answer.
fn check_end(request: &RequestRow, counts: EventCounts, findings: &mut Findings) {
    let is_degraded = request.answer.is_some();
    if counts.hits + counts.fallbacks != u32::from(is_degraded) {
        let answer = request.answer;
        findings.add_to(
            request,
            Invariant::ConsistentLog,
            format!("its answer is {answer:?}, with {} cache hits and {} fallbacks", counts.hits, counts.fallbacks),
        );
    }
    let fails =
        counts.hits == 0 && request.status != Outcome::Dropped && (is_degraded || request.status != Outcome::OK);
    if counts.given_up != u32::from(fails) {
        findings.add_to(
            request,
            Invariant::ConsistentLog,
            format!("it is {}, and {} times given up", request.status.name(), counts.given_up),
        );
    }
    // The attempts that renew a stale answer may be rejected, too, which does not concern the call.
    if counts.hits == 0 && request.rejected != (counts.rejections > 0) {
        findings.add_to(
            request,
            Invariant::ConsistentLog,
            format!("{} attempts are turned down, and it says {}", counts.rejections, request.rejected),
        );
    }
}

/// Checks that the attempt of `row` was sent or failed when and where its own row says; in real time, only where.
fn check_attempt(evidence: &Evidence<'_>, attempts: &Attempts, row: &EventRow, findings: &mut Findings) {
    let (Some(request), Some(number)) = (row.request, row.attempt) else { return };
    let Some(found) = attempts.find(request, number) else { return };
    let (at_us, cause) = match row.event {
        Event::Pick => (found.start_us, None),
        _ => (found.end_us, attempts.cause(found)),
    };
    let is_then = !evidence.is_virtual() || at_us == row.at_us;
    if row.target.as_deref() != Some(attempts.server(found)) || row.cause.as_deref() != cause || !is_then {
        let event: &str = row.event.into();
        let what = format!("its attempt {number} is not as `{event}` of {:?} has it", row.target);
        findings.add(Invariant::ConsistentLog, Some(request), row.at_us, what);
    }
}

/// Checks that the backoff of `row` is as long as the policy says, and that no attempt begins before it is over.
fn check_backoff(
    evidence: &Evidence<'_>,
    (attempts, in_force): (&Attempts, &InForce),
    row: &EventRow,
    findings: &mut Findings,
) {
    // A server with admission control may ask for another backoff (gRPC pushback), which is not recorded.
    if evidence.scenario.servers.admission.is_some() {
        return;
    }
    let (Some(request), Some(attempt), Some(waits_us)) = (row.request, row.attempt, row.duration_us) else {
        let what = "a backoff does not say of which attempt it is";
        return findings.add(Invariant::ConsistentLog, row.request, row.at_us, what);
    };
    let bounds_then =
        || in_force.during(row.at_us, row.at_us).map(|settings| bounds_us(&settings.client.retry, attempt));
    if !bounds_then().any(|bounds| bounds.contains(&waits_us)) {
        let bounds = bounds_us(&evidence.scenario.client.retry, attempt);
        let bounds = bounds_then().last().unwrap_or(bounds);
        let what = format!("a backoff of {waits_us} µs, and the policy has {} to {} µs", bounds.start(), bounds.end());
        findings.add(Invariant::WithinLimits, Some(request), row.at_us, what);
    }
    // In real time a moment passes between the begin of a backoff and its event: only its length is known.
    let next = attempts.find(request, attempt + 1).filter(|_| evidence.is_virtual());
    if next.is_some_and(|next| next.start_us + ROUNDING_US < row.at_us + waits_us) {
        let what = format!("attempt {} begins before its backoff is over", attempt + 1);
        findings.add(Invariant::WithinLimits, Some(request), row.at_us, what);
    }
}

/// Returns the shortest and the longest backoff that may follow the attempt of this number, in microseconds.
fn bounds_us(retry: &Retry, attempt: u32) -> RangeInclusive<u64> {
    let (low, high) = match retry.jitter {
        Jitter::None => (1.0, 1.0),
        Jitter::Proportional => (0.8, 1.2),
        Jitter::Full => (0.0, 1.0),
        Jitter::Equal => (0.5, 1.0),
    };
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    // The product may be infinite, which is no duration: it is bounded by the longest backoff before it becomes one.
    let grown = retry.initial_backoff.as_secs_f64() * retry.backoff_multiplier.powi(exponent);
    let grown = grown.min(retry.max_backoff.as_secs_f64()) * 1e6;
    (grown * low).floor() as u64..=(grown * high) as u64 + ROUNDING_US
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn retry(jitter: Jitter) -> Retry {
        Retry {
            max_attempts: 5,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            backoff_multiplier: 2.0,
            jitter,
            retryable_status_codes: vec![Code::Unavailable],
            ..Retry::default()
        }
    }

    #[test]
    fn backoffs_grow_to_the_longest_and_spread_by_the_jitter() {
        assert_eq!(bounds_us(&retry(Jitter::None), 1), 100_000..=100_001);
        assert_eq!(bounds_us(&retry(Jitter::None), 3), 400_000..=400_001);
        assert_eq!(bounds_us(&retry(Jitter::Full), 2), 0..=200_001);
        assert_eq!(bounds_us(&retry(Jitter::Equal), u32::MAX), 500_000..=1_000_001);
        assert_eq!(bounds_us(&retry(Jitter::Proportional), 30), 800_000..=1_200_001);
    }
}
