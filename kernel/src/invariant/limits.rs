//! What the policies allow all calls together, from the attempts and events: the rate limit, retry throttling, the retry
//! budget, the delay between hedges, the age of cached answers, and the calls in flight. What they decide by is on no
//! record, but it follows from what is.
//!
//! Several things may be told of one microsecond, and not in which order they happened; where that matters, the policy has
//! the benefit of the doubt. When an attempt asked for leave is known only where nothing has it wait between that and being
//! sent.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use super::{Evidence, Findings, Invariant, ROUNDING_US, find_attempt, is_given_up, us, waits};
use crate::{
    entropy::Entropy,
    policy::{RateLimit, RetryBudget, RetryThrottling},
    record::{AttemptRow, Event, EventRow, Records},
    scenario::Client,
    status::{Code, Outcome},
    workload::Identities,
};

/// That a budget's `ttl` is divided into.
const SLOTS: u64 = 10;

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    calls_in_flight(evidence, findings);
    if !evidence.is_virtual() {
        return;
    }
    let policies = &evidence.scenario.client.policies;
    if let Some(limit) = &policies.rate_limit {
        rate(evidence, limit, findings);
    }
    if policies.cache.is_some() {
        cached(evidence, findings);
    }
    if waits(policies) || evidence.scenario.client.wait_for_ready {
        return;
    }
    hedges(evidence, findings);
    if let Some(throttling) = &policies.retry_throttling {
        throttled(evidence, throttling, findings);
    }
    match &policies.retry_budget {
        Some(RetryBudget { percent, min_retry_concurrency: Some(min), .. }) => {
            under_way(evidence, *percent, *min, findings);
        }
        Some(budget) => of_late(evidence, budget, findings),
        None => {}
    }
}

/// A request is sent while there is room among those in flight, and dropped while there is none.
fn calls_in_flight(evidence: &Evidence<'_>, findings: &mut Findings) {
    let most = evidence.scenario.load.max_in_flight;
    let requests = &evidence.records.requests;
    // Ascending, but for timers that are late.
    let mut sent: Vec<u64> = requests.iter().filter_map(|row| row.sent_us).collect();
    let mut done: Vec<u64> = requests.iter().filter_map(|row| row.done_us).collect();
    sent.sort_unstable();
    done.sort_unstable();
    for (begun, at_us) in sent.iter().enumerate() {
        let over = done.partition_point(|done_us| done_us <= at_us);
        if begun + 1 > over + most {
            let what = format!("{} calls are in flight, and {most} are allowed", begun + 1 - over);
            return findings.add(Invariant::WithinLimits, None, *at_us, what);
        }
    }
    let Some(late) = evidence.late else { return };
    for row in requests.iter().filter(|row| row.status == Outcome::Dropped) {
        let last_us = row.intended_us + us(late) + ROUNDING_US;
        let begun = sent.partition_point(|sent_us| *sent_us <= last_us);
        let over = done.partition_point(|done_us| *done_us < row.intended_us);
        if begun < over + most {
            let what = format!("it is dropped with {} calls in flight, and {most} are allowed", begun - over);
            findings.add(Invariant::WithinLimits, Some(row.id), row.intended_us, what);
        }
    }
}

/// A token each. An attempt that has its token may be late by what timers are, and wait for the bulkhead.
fn rate(evidence: &Evidence<'_>, limit: &RateLimit, findings: &mut Findings) {
    let bulkhead = evidence.scenario.client.policies.bulkhead.as_ref();
    let late = evidence.late.unwrap_or_default() * 2 + bulkhead.map(|bulkhead| bulkhead.max_wait).unwrap_or_default();
    // In nanoseconds times `limit`, so that nothing is rounded: when the bucket would be full again.
    let (per_nano, token) = (limit.limit as u128, limit.refresh_period.as_nanos());
    let capacity = limit.burst.unwrap_or(limit.limit) as u128 * token;
    let slack = (late.as_nanos() + u128::from(ROUNDING_US) * 1_000) * per_nano;
    let mut full_at = 0;
    for row in evidence.records.events.iter().filter(|row| row.event == Event::Pick) {
        let now = u128::from(row.at_us) * 1_000 * per_nano;
        full_at = now.max(full_at) + token;
        if full_at > now + capacity + slack {
            let per = limit.refresh_period;
            let what = format!("more attempts than {} at once and {} every {per:?}", capacity / token, limit.limit);
            return findings.add(Invariant::WithinLimits, row.request, row.at_us, what);
        }
    }
}

/// Nothing is older than it may be: an attempt was answered with the same input not longer ago than that.
fn cached(evidence: &Evidence<'_>, findings: &mut Findings) {
    let Some(cache) = &evidence.scenario.client.policies.cache else { return };
    let entropy = Entropy::new(evidence.seed);
    let Some(identities) = Identities::of(&evidence.scenario.workload, entropy) else { return };
    let fresh_us = us(cache.ttl) + ROUNDING_US;
    let stale_us = fresh_us.saturating_add(us(cache.stale_while_revalidate));
    let mut answered: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for row in evidence.records.attempts.iter().filter(|row| row.status == Code::Ok) {
        answered.entry(identities.of_request(entropy, row.request)).or_default().push(row.end_us);
    }
    answered.values_mut().for_each(|ends| ends.sort_unstable());
    for row in evidence.records.events.iter().filter(|row| matches!(row.event, Event::CacheHit | Event::Fallback)) {
        let oldest_us = match (row.event, row.cause.as_deref()) {
            (Event::CacheHit, Some("fresh")) => fresh_us,
            (Event::CacheHit, _) => stale_us,
            (_, Some("stale")) => u64::MAX,
            _ => continue,
        };
        let input = row.request.map(|id| identities.of_request(entropy, id));
        let ends = input.and_then(|input| answered.get(&input)).map_or(&[][..], |ends| ends);
        let last_us = ends[..ends.partition_point(|end_us| *end_us <= row.at_us)].last();
        if last_us.is_none_or(|last_us| row.at_us - last_us > oldest_us) {
            let what = format!("its answer is kept since {last_us:?} µs at the latest, and {oldest_us} µs are allowed");
            findings.add(Invariant::WithinLimits, row.request, row.at_us, what);
        }
    }
}

/// Leave for another attempt, which was given at this event: the decision to retry, or a hedge.
struct Leave<'a> {
    row: &'a EventRow,
    request: u64,
    /// The attempt that it is for.
    attempt: u32,
    /// The attempt that failed and is to be made good, if it is no hedge.
    failed: Option<&'a AttemptRow>,
}

fn leaves<'a>(records: &'a Records) -> impl Iterator<Item = Leave<'a>> {
    records.events.iter().filter_map(|row| {
        let (request, attempt) = (row.request?, row.attempt?);
        match row.event {
            Event::Backoff => {
                Some(Leave { row, request, attempt: attempt + 1, failed: find_attempt(records, request, attempt) })
            }
            Event::Hedge => Some(Leave { row, request, attempt, failed: None }),
            _ => None,
        }
    })
}

/// Each follows the attempt before it after the delay, or the failure of one at once.
fn hedges(evidence: &Evidence<'_>, findings: &mut Findings) {
    let Some(hedging) = &evidence.scenario.client.policies.hedging else { return };
    let delay_us = us(hedging.hedging_delay);
    for row in evidence.records.events.iter().filter(|row| row.event == Event::Hedge) {
        let (Some(request), Some(attempt)) = (row.request, row.attempt) else { continue };
        let Some(before) = find_attempt(evidence.records, request, attempt - 1) else { continue };
        let first = evidence.records.attempts.partition_point(|row| row.request < request);
        let own = evidence.records.attempts[first..].iter().take_while(|row| row.request == request);
        let mut failed = own.filter(|row| row.status != Code::Ok && row.end_us >= before.start_us);
        let is_early = row.at_us + ROUNDING_US < before.start_us.saturating_add(delay_us);
        if is_early && !failed.any(|failed| failed.end_us <= row.at_us) {
            let what = format!("attempt {attempt} follows the one before it by less than {delay_us} µs");
            findings.add(Invariant::WithinLimits, Some(request), row.at_us, what);
        }
    }
}

/// gRPC A6's tokens: as many as there can have been.
fn throttled(evidence: &Evidence<'_>, throttling: &RetryThrottling, findings: &mut Findings) {
    let client = &evidence.scenario.client;
    let thousandths = |tokens: f64| (tokens * 1_000.0).round() as u64;
    let (max, ratio) = (thousandths(throttling.max_tokens), thousandths(throttling.token_ratio));
    let ends = ends(evidence.records, client);
    let (mut tokens, mut seen) = (max, 0);
    for leave in leaves(evidence.records) {
        let at_us = leave.row.at_us;
        while let Some((end_us, is_ok)) = ends.get(seen).filter(|(end_us, _)| *end_us < at_us) {
            let _ = end_us;
            tokens = if *is_ok { (tokens + ratio).min(max) } else { tokens.saturating_sub(1_000) };
            seen += 1;
        }
        let now = ends[seen..].iter().take_while(|(end_us, _)| *end_us == at_us);
        let successes = now.filter(|(_, is_ok)| *is_ok).count() as u64;
        let taken = if leave.failed.is_some() { 1_000 } else { 0 };
        let most = (tokens.saturating_sub(taken) + ratio * successes).min(max);
        if 2 * most <= max {
            let what = format!("attempt {} is made with {most} thousandths of {max} left", leave.attempt);
            findings.add(Invariant::WithinLimits, Some(leave.request), at_us, what);
        }
    }
}

/// When attempts that count ended, and whether well. Of one instant failures come first: that leaves the most tokens.
fn ends(records: &Records, client: &Client) -> Vec<(u64, bool)> {
    let hedging = client.policies.hedging.as_ref();
    let codes = hedging.map_or(&client.retry.retryable_status_codes, |hedging| &hedging.non_fatal_status_codes);
    let counts = |row: &&AttemptRow| {
        row.status == Code::Ok || (codes.contains(&row.status) && !is_given_up(row.cause.as_deref()))
    };
    let mut ends: Vec<_> =
        records.attempts.iter().filter(counts).map(|row| (row.end_us, row.status == Code::Ok)).collect();
    ends.sort_unstable();
    ends
}

/// Envoy's budget: retries at once, by the attempts at once.
fn under_way(evidence: &Evidence<'_>, percent: f64, min: usize, findings: &mut Findings) {
    let records = evidence.records;
    let picks = records.events.iter().filter(|row| row.event == Event::Pick);
    // What has no end yet is under way until the end.
    let spans = picks.filter_map(|row| {
        let end = find_attempt(records, row.request?, row.attempt?).map_or(u64::MAX, |attempt| attempt.end_us);
        Some((row.at_us, end))
    });
    let (mut begun, mut over): (Vec<u64>, Vec<u64>) = spans.unzip();
    begun.sort_unstable();
    over.sort_unstable();
    // Ends of the retries that were allowed.
    let mut retries: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    for leave in leaves(records) {
        let at_us = leave.row.at_us;
        while retries.peek().is_some_and(|Reverse(end_us)| *end_us <= at_us) {
            retries.pop();
        }
        let begun = begun.partition_point(|start_us| *start_us <= at_us);
        let attempts = begun - over.partition_point(|end_us| *end_us < at_us);
        // Whichever attempt it is made good for has just ended, and a hedge is not under way yet.
        let attempts = attempts.saturating_sub(1);
        let most = (attempts as f64 * percent / 100.0).max(min as f64);
        if retries.len() as f64 + 1.0 > most + 1e-9 {
            let what =
                format!("{} retries at once beside {attempts} attempts, and {most} are allowed", retries.len() + 1);
            findings.add(Invariant::WithinLimits, Some(leave.request), at_us, what);
        }
        let unsent_us = at_us.saturating_add(leave.row.duration_us.unwrap_or_default());
        let end_us = find_attempt(records, leave.request, leave.attempt).map_or(unsent_us, |attempt| attempt.end_us);
        retries.push(Reverse(end_us));
    }
}

/// Finagle's budget: retries of late, by the calls of late.
fn of_late(evidence: &Evidence<'_>, budget: &RetryBudget, findings: &mut Findings) {
    let (Some(ttl), Some(min_per_second)) = (budget.ttl, budget.min_per_second) else { return };
    let slot_nanos = (ttl.as_nanos() as u64 / SLOTS).max(1);
    let reserve = min_per_second * ttl.as_secs_f64();
    let earliest = |at_us: u64| at_us * 1_000 / slot_nanos;
    let latest = |at_us: u64| (at_us * 1_000 + 999) / slot_nanos;
    let mut calls: Vec<u64> = evidence.records.requests.iter().filter_map(|row| row.sent_us).collect();
    calls.sort_unstable();
    let mut retries: Vec<u64> = Vec::new();
    for leave in leaves(evidence.records) {
        let at_us = leave.row.at_us;
        let old = calls.partition_point(|call_us| latest(*call_us) + SLOTS <= earliest(at_us));
        let deposits = calls.partition_point(|call_us| *call_us <= at_us) - old;
        let gone = retries.partition_point(|retry_us| earliest(*retry_us) + SLOTS <= latest(at_us));
        let withdrawals = retries.len() - gone;
        let balance = deposits as f64 * budget.percent / 100.0 + reserve - withdrawals as f64;
        if balance + 1e-6 < 1.0 {
            let what = format!("{} retries to {deposits} calls in {ttl:?}", withdrawals + 1);
            findings.add(Invariant::WithinLimits, Some(leave.request), at_us, what);
        }
        retries.push(at_us);
    }
}
