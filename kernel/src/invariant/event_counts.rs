//! What the client told of its decisions, against the requests and attempts that came of them.

use super::{Evidence, Findings, Invariant, ROUNDING_US, position};
use crate::{
    record::{Answer, AttemptRow, Event, RequestRow},
    scenario::{Jitter, Retry},
    status::{Code, Outcome},
};

/// Events of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Told {
    picks: u32,
    failed: u32,
    failovers: u32,
    hedges: u32,
    backoffs: u32,
    given_up: u32,
    rejections: u32,
    hits: u32,
    fallbacks: u32,
}

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    let records = evidence.records;
    let mut told = vec![Told::default(); records.requests.len()];
    for row in &records.events {
        let counter: fn(&mut Told) -> &mut u32 = match row.event {
            Event::Pick => |told| &mut told.picks,
            Event::AttemptFailed => |told| &mut told.failed,
            Event::Failover => |told| &mut told.failovers,
            Event::Hedge => |told| &mut told.hedges,
            Event::Backoff => |told| &mut told.backoffs,
            Event::GiveUp => |told| &mut told.given_up,
            Event::Rejected => |told| &mut told.rejections,
            Event::CacheHit => |told| &mut told.hits,
            Event::Fallback => |told| &mut told.fallbacks,
            _ => continue,
        };
        match row.request.and_then(|id| position(records, id)) {
            Some(at) => *counter(&mut told[at]) += 1,
            None => findings.add(Invariant::ConsistentLog, row.request, row.at_us, "an event is of no request"),
        }
    }
    let mut attempts = &records.attempts[..];
    for (request, told) in records.requests.iter().zip(&told) {
        attempts = &attempts[attempts.partition_point(|row| row.request < request.id)..];
        let own = attempts.partition_point(|row| row.request == request.id);
        agrees(request, &attempts[..own], *told, findings);
        ends_as_told(request, *told, findings);
    }
    backoffs(evidence, findings);
    attempts_are_as_told(evidence, findings);
}

fn agrees(request: &RequestRow, attempts: &[AttemptRow], told: Told, findings: &mut Findings) {
    // What renews a stale answer may still be under way when the run ends.
    if request.answer == Some(Answer::Stale) && request.attempts == 0 {
        return;
    }
    let mut add = |invariant, what: String| {
        findings.add(invariant, Some(request.id), request.done_us.unwrap_or(request.intended_us), what);
    };
    let ended = attempts.len() as u32;
    if told.picks > ended {
        add(Invariant::Drains, format!("{} attempts were sent, and {ended} ended", told.picks));
    } else if told.picks < ended {
        add(Invariant::ConsistentLog, format!("{ended} attempts ended, and {} were sent", told.picks));
    }
    let failed = attempts.iter().filter(|row| row.status != Code::Ok).count() as u32;
    for (name, told, counted) in [
        ("failed attempts", told.failed, failed),
        ("failovers", told.failovers, request.failovers),
        ("hedges", told.hedges, request.hedges),
    ] {
        if told != counted {
            add(Invariant::ConsistentLog, format!("{counted} {name}, and {told} events of them"));
        }
    }
    // What is turned down or cancelled after its backoff is no retry.
    let more = u32::from(request.rejected || request.status == Outcome::Status(Code::Cancelled));
    let retries = request.attempts.saturating_sub(1).saturating_sub(request.hedges);
    if !(retries..=retries + more).contains(&told.backoffs) {
        add(Invariant::ConsistentLog, format!("{retries} retries, and {} backoffs", told.backoffs));
    }
}

/// Where its answer is from, and whether it was given up before that.
fn ends_as_told(request: &RequestRow, told: Told, findings: &mut Findings) {
    let mut add = |what: String| {
        findings.add(Invariant::ConsistentLog, Some(request.id), request.done_us.unwrap_or(request.intended_us), what);
    };
    let is_degraded = request.answer.is_some();
    if told.hits + told.fallbacks != u32::from(is_degraded) {
        let answer = request.answer;
        add(format!("its answer is {answer:?}, with {} cache hits and {} fallbacks", told.hits, told.fallbacks));
    }
    let fails = told.hits == 0 && request.status != Outcome::Dropped && (is_degraded || request.status != Outcome::OK);
    if told.given_up != u32::from(fails) {
        add(format!("it is {}, and {} times given up", request.status.name(), told.given_up));
    }
    // What renews a stale answer may be turned down, too, which is none of the call's business.
    if told.hits == 0 && request.rejected != (told.rejections > 0) {
        add(format!("{} attempts are turned down, and it says {}", told.rejections, request.rejected));
    }
}

/// Each was sent and failed when and where its row has it. In real time only where.
fn attempts_are_as_told(evidence: &Evidence<'_>, findings: &mut Findings) {
    let attempts = &evidence.records.attempts;
    for row in &evidence.records.events {
        let (Event::Pick | Event::AttemptFailed, Some(request), Some(attempt)) = (row.event, row.request, row.attempt)
        else {
            continue;
        };
        let found = attempts.binary_search_by_key(&(request, attempt), |row| (row.request, row.attempt));
        let Ok(found) = found.map(|at| &attempts[at]) else { continue };
        let (at_us, cause) = match row.event {
            Event::Pick => (found.start_us, None),
            _ => (found.end_us, found.cause.as_deref()),
        };
        let is_then = !evidence.is_virtual() || at_us == row.at_us;
        if row.target.as_ref() != Some(&found.server) || row.cause.as_deref() != cause || !is_then {
            let told: &str = row.event.into();
            let what = format!("its attempt {attempt} is not as `{told}` of {:?} has it", row.target);
            findings.add(Invariant::ConsistentLog, Some(request), row.at_us, what);
        }
    }
}

/// They are as long as the policy says, and no attempt begins before its backoff is over. In real time a moment passes
/// between its begin and its event, and only its length is known.
fn backoffs(evidence: &Evidence<'_>, findings: &mut Findings) {
    // What a server asks for instead is not on record.
    if evidence.scenario.servers.admission.is_some() {
        return;
    }
    let retry = &evidence.scenario.client.retry;
    for row in evidence.records.events.iter().filter(|row| row.event == Event::Backoff) {
        let (Some(request), Some(attempt), Some(waits_us)) = (row.request, row.attempt, row.duration_us) else {
            findings.add(
                Invariant::ConsistentLog,
                row.request,
                row.at_us,
                "a backoff does not say of which attempt it is",
            );
            continue;
        };
        let bounds = bounds_us(retry, attempt);
        if !(bounds.0..=bounds.1).contains(&waits_us) {
            let what = format!("a backoff of {waits_us} µs, and the policy has {} to {} µs", bounds.0, bounds.1);
            findings.add(Invariant::WithinLimits, Some(request), row.at_us, what);
        }
        let next = (request, attempt + 1);
        let attempts = &evidence.records.attempts;
        let next = attempts.binary_search_by_key(&next, |row| (row.request, row.attempt)).map(|at| &attempts[at]);
        let is_early = |next: &AttemptRow| evidence.is_virtual() && next.start_us + ROUNDING_US < row.at_us + waits_us;
        if next.is_ok_and(is_early) {
            let what = format!("attempt {} begins before its backoff is over", attempt + 1);
            findings.add(Invariant::WithinLimits, Some(request), row.at_us, what);
        }
    }
}

/// The least and the most that follows the attempt of this number.
fn bounds_us(retry: &Retry, attempt: u32) -> (u64, u64) {
    let (low, high) = match retry.jitter {
        Jitter::None => (1.0, 1.0),
        Jitter::Proportional => (0.8, 1.2),
        Jitter::Full => (0.0, 1.0),
        Jitter::Equal => (0.5, 1.0),
    };
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    // An infinite product is no duration, and bounded by the longest backoff all the same.
    let grown = retry.initial_backoff.as_secs_f64() * retry.backoff_multiplier.powi(exponent);
    let grown = grown.min(retry.max_backoff.as_secs_f64()) * 1e6;
    ((grown * low).floor() as u64, (grown * high) as u64 + ROUNDING_US)
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
            prefer_other_server: true,
        }
    }

    #[test]
    fn backoffs_grow_to_the_longest_and_spread_by_the_jitter() {
        assert_eq!(bounds_us(&retry(Jitter::None), 1), (100_000, 100_001));
        assert_eq!(bounds_us(&retry(Jitter::None), 3), (400_000, 400_001));
        assert_eq!(bounds_us(&retry(Jitter::Full), 2), (0, 200_001));
        assert_eq!(bounds_us(&retry(Jitter::Equal), u32::MAX), (500_000, 1_000_001));
        assert_eq!(bounds_us(&retry(Jitter::Proportional), 30), (800_000, 1_200_001));
    }
}
