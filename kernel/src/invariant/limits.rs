//! Checks the limits that policies set for all calls together: the rate limit, retry throttling, the retry budget, the
//! delay between hedges, the age of cached answers, and the calls in flight. The state by which policies decide is not
//! recorded; it is recomputed from attempts and events.
//!
//! Several events may carry the same microsecond, in no particular order; where the order matters, it is resolved in the
//! policy's favour. When a hedge asked for its permit is known only if nothing makes it wait between that and being sent.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use super::{
    Evidence, Findings, InForce, Invariant, ROUNDING_US,
    attempts::{Attempt, Attempts},
    is_given_up, us, waits,
};
use crate::{
    client::settings::{Client, ServerSelection},
    entropy::Entropy,
    policy::{Deposit, RateLimit, RetryBudget},
    record::{Event, Rows},
    status::{Code, Outcome},
    workload::InputIdentities,
};

/// Number of slots that a budget's `ttl` is divided into.
const SLOTS: u64 = 10;

pub(super) fn check(evidence: &Evidence<'_>, (attempts, in_force): (&Attempts, &InForce), findings: &mut Findings) {
    check_in_flight(evidence, findings);
    if !evidence.is_virtual() {
        return;
    }
    let policies = &evidence.scenario.client.policies;
    if policies.rate_limit.is_some() {
        check_rate(evidence, in_force, findings);
    }
    if policies.cache.is_some() {
        check_cached(evidence, attempts, findings);
    }
    // When a hedge asked for its permit is not known where it may wait before it is sent. A retry asks as soon as the attempt before it
    // has failed, and waits for a server later.
    let client = &evidence.scenario.client;
    let waits_for_servers = client.wait_for_ready || client.server_selection == ServerSelection::ConnectionState;
    let waits = in_force.periods().iter().any(|(_, settings)| waits(&settings.client.policies));
    if waits || (waits_for_servers && policies.hedging.is_some()) {
        return;
    }
    let known = (attempts, in_force);
    check_hedges(evidence, known, findings);
    if policies.retry_throttling.is_some() {
        check_throttling(evidence, known, findings);
    }
    match &policies.retry_budget {
        Some(RetryBudget { min_retry_concurrency: Some(_), .. }) => check_concurrent_retries(evidence, known, findings),
        Some(budget) => check_recent_retries(evidence, known, budget, findings),
        None => {}
    }
}

/// Checks that a request is sent while fewer are in flight than allowed, and dropped otherwise.
fn check_in_flight(evidence: &Evidence<'_>, findings: &mut Findings) {
    let most = evidence.scenario.load.max_in_flight;
    let mut sent = Vec::new();
    let mut done = Vec::new();
    // Users are as many as they are, and no more calls of theirs can be in flight.
    for row in evidence.rows.requests().filter(|row| row.user.is_none()) {
        sent.extend(row.sent_us);
        done.extend(row.done_us);
    }
    // The rows are in order of when they were intended; late timers may send them in another.
    sent.sort_unstable();
    done.sort_unstable();
    for (begun, at_us) in sent.iter().enumerate() {
        let over = done.partition_point(|done_us| done_us <= at_us);
        if begun + 1 > over + most {
            let what = format!("{} calls are in flight, and {most} are allowed", begun + 1 - over);
            // One violation is enough: until enough calls end, every other one follows from it.
            return findings.add(Invariant::WithinLimits, None, *at_us, what);
        }
    }
    // What was in flight when a request was dropped is known to within the lateness of timers; real time has no such bound.
    let Some(late) = evidence.late else { return };
    for row in evidence.rows.requests().filter(|row| row.status == Outcome::Dropped) {
        let last_us = row.intended_us + us(late) + ROUNDING_US;
        let begun = sent.partition_point(|sent_us| *sent_us <= last_us);
        let over = done.partition_point(|done_us| *done_us < row.intended_us);
        if begun < over + most {
            let what = format!("it is dropped with {} calls in flight, and {most} are allowed", begun - over);
            findings.add(Invariant::WithinLimits, Some(row.id), row.intended_us, what);
        }
    }
}

/// Checks the rate limit, a token bucket from which every attempt takes a token. An attempt that has its token may be sent
/// later, as timers are late and as it waits for the bulkhead.
fn check_rate(evidence: &Evidence<'_>, in_force: &InForce, findings: &mut Findings) {
    let limits = in_force.periods().iter();
    let mut limits =
        limits.filter_map(|(at_us, then)| Some((*at_us, then.client.policies.rate_limit.as_ref()?))).peekable();
    let bulkheads = in_force.periods().iter().filter_map(|(_, then)| then.client.policies.bulkhead.as_ref());
    let longest = bulkheads.map(|bulkhead| bulkhead.max_wait).max().unwrap_or_default();
    let late = evidence.late.unwrap_or_default() * 2 + longest;
    let Some((_, first)) = limits.next() else { return };
    let mut bucket = TokenBucket::new(first, late);
    for row in evidence.rows.events().filter(|row| row.event == Event::Pick) {
        while let Some((at_us, limit)) = limits.next_if(|(at_us, _)| *at_us <= row.at_us) {
            bucket = bucket.changed(limit, late, at_us);
        }
        if let Some(what) = bucket.take(row.at_us) {
            // One violation is enough: the debt that it leaves makes the following attempts violate the limit, too.
            return findings.add(Invariant::WithinLimits, row.request, row.at_us, what);
        }
    }
}

/// A token bucket, by the time when it would be full again, in nanoseconds times the limit, so that nothing is rounded.
struct TokenBucket<'a> {
    limit: &'a RateLimit,
    per_nano: u128,
    token: u128,
    capacity: u128,
    slack: u128,
    full_at: u128,
}

impl<'a> TokenBucket<'a> {
    fn new(limit: &'a RateLimit, late: Duration) -> Self {
        let per_nano = limit.limit as u128;
        let token = limit.refresh_period.as_nanos();
        let capacity = limit.burst.unwrap_or(limit.limit) as u128 * token;
        let slack = (late.as_nanos() + u128::from(ROUNDING_US) * 1_000) * per_nano;
        Self { limit, per_nano, token, capacity, slack, full_at: 0 }
    }

    /// Returns the bucket with another limit and as many tokens. An attempt that has its token and is not sent yet takes it from the new
    /// bucket, which has to allow for those.
    fn changed(&self, limit: &'a RateLimit, late: Duration, at_us: u64) -> Self {
        let mut next = Self::new(limit, late);
        let missing = self.full_at.saturating_sub(u128::from(at_us) * 1_000 * self.per_nano);
        let tokens = (self.capacity as f64 - missing as f64) / self.token as f64;
        let missing = (next.capacity as f64 - tokens * next.token as f64).max(0.0);
        let waiting = self.limit.max_wait.as_secs_f64() / self.limit.refresh_period.as_secs_f64();
        let waiting = (waiting * self.limit.limit as f64).ceil() * next.token as f64;
        next.full_at = u128::from(at_us) * 1_000 * next.per_nano + (missing - waiting).max(0.0) as u128;
        next
    }

    /// Takes a token, and returns what is wrong if there is none.
    fn take(&mut self, at_us: u64) -> Option<String> {
        let now = u128::from(at_us) * 1_000 * self.per_nano;
        self.full_at = now.max(self.full_at) + self.token;
        (self.full_at > now + self.capacity + self.slack).then(|| {
            let RateLimit { limit, refresh_period: per, .. } = self.limit;
            format!("more attempts than {} at once and {limit} every {per:?}", self.capacity / self.token)
        })
    }
}

/// Checks that no cached answer is older than allowed: an attempt with the same input was answered not longer ago than
/// that.
fn check_cached(evidence: &Evidence<'_>, attempts: &Attempts, findings: &mut Findings) {
    let Some(cache) = &evidence.scenario.client.policies.cache else { return };
    let scenario = evidence.scenario;
    let entropy = Entropy::new(evidence.seed);
    let Some(identities) = InputIdentities::for_kinds(&scenario.workload, &scenario.load.request, entropy) else {
        return;
    };
    let fresh_us = us(cache.ttl) + ROUNDING_US;
    let stale_us = fresh_us.saturating_add(us(cache.stale_while_revalidate));
    let mut answered: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for attempt in attempts.all().iter().filter(|attempt| attempt.status == Code::Ok) {
        answered.entry(identities.of_request(entropy, attempt.request)).or_default().push(attempt.end_us);
    }
    answered.values_mut().for_each(|ends| ends.sort_unstable());
    for row in evidence.rows.events().filter(|row| matches!(row.event, Event::CacheHit | Event::Fallback)) {
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

/// A permit for another attempt, granted by an event: the decision to retry, or a hedge.
struct Permit {
    at_us: u64,
    /// The time that the attempt waits before it is sent.
    waits_us: u64,
    request: u64,
    /// The attempt that is permitted.
    attempt: u32,
    /// True if an attempt that failed is retried, and has a row; false for a hedge.
    is_of_failed: bool,
    /// True if that attempt has ended at this very time: it is not an earlier one, behind which no server was picked.
    has_just_failed: bool,
    is_hedge: bool,
}

/// Returns the permits for other attempts, in order of time.
fn permits<'a>(rows: &'a dyn Rows, attempts: &'a Attempts) -> impl Iterator<Item = Permit> + use<'a> {
    rows.events().filter_map(|row| {
        let request = row.request?;
        let number = row.attempt?;
        let is_hedge = row.event == Event::Hedge;
        if !is_hedge && row.event != Event::Backoff {
            return None;
        }
        let failed = attempts.find(request, number).filter(|_| !is_hedge);
        Some(Permit {
            at_us: row.at_us,
            waits_us: row.duration_us.unwrap_or_default(),
            request,
            attempt: number + u32::from(!is_hedge),
            is_of_failed: failed.is_some(),
            has_just_failed: failed.is_some_and(|failed| failed.end_us >= row.at_us),
            is_hedge,
        })
    })
}

/// Checks that each hedge follows the attempt before it after the delay, or the failure of an attempt at once. The delay is that of when its
/// call began.
fn check_hedges(evidence: &Evidence<'_>, (attempts, in_force): (&Attempts, &InForce), findings: &mut Findings) {
    if evidence.scenario.client.policies.hedging.is_none() {
        return;
    }
    for row in evidence.rows.events().filter(|row| row.event == Event::Hedge) {
        let (Some(request), Some(attempt)) = (row.request, row.attempt) else { continue };
        let Some(before) = attempts.find(request, attempt - 1) else { continue };
        let own = attempts.of_request(request);
        let begun_us = own.iter().map(|row| row.start_us).min().unwrap_or(row.at_us);
        let delay_us = in_force.hedging_delay_us(begun_us, row.at_us);
        let mut failed = own.iter().filter(|row| row.status != Code::Ok && row.end_us >= before.start_us);
        let is_early = row.at_us + ROUNDING_US < before.start_us.saturating_add(delay_us);
        if is_early && !failed.any(|failed| failed.end_us <= row.at_us) {
            let what = format!("attempt {attempt} follows the one before it by less than {delay_us} µs");
            findings.add(Invariant::WithinLimits, Some(request), row.at_us, what);
        }
    }
}

/// Checks retry throttling (gRPC A6) with as many tokens as there can have been.
fn check_throttling(evidence: &Evidence<'_>, (attempts, in_force): (&Attempts, &InForce), findings: &mut Findings) {
    let settings = in_force.periods().iter();
    let settings = settings.filter_map(|(at_us, then)| Some((*at_us, then.client.policies.retry_throttling.as_ref()?)));
    let mut settings =
        settings.map(|(at_us, it)| (at_us, thousandths(it.max_tokens), thousandths(it.token_ratio))).peekable();
    let Some((_, mut max, mut ratio)) = settings.next() else { return };
    let ends = ends(evidence.rows, attempts, in_force);
    let mut tokens = max;
    let mut seen = 0;
    for permit in permits(evidence.rows, attempts) {
        let at_us = permit.at_us;
        loop {
            let end = ends.get(seen).filter(|end| end.at_us < at_us);
            let until_us = end.map_or(at_us, |end| end.at_us);
            while let Some((_, next_max, next_ratio)) = settings.next_if(|(changed_us, ..)| *changed_us <= until_us) {
                (max, ratio, tokens) = (next_max, next_ratio, tokens.min(next_max));
            }
            let Some(end) = end else { break };
            tokens = if end.is_ok { (tokens + ratio).min(max) } else { tokens.saturating_sub(1_000) };
            seen += 1;
        }
        // Those of this very instant may come before or after: successes before permit the most tokens.
        let now = ends[seen..].iter().take_while(|end| end.at_us == at_us);
        let successes = now.filter(|end| end.is_ok).count() as u64;
        let taken = if permit.is_of_failed { 1_000 } else { 0 };
        let most = (tokens.saturating_sub(taken) + ratio * successes).min(max);
        if 2 * most <= max {
            let what = format!("attempt {} is made with {most} thousandths of {max} left", permit.attempt);
            findings.add(Invariant::WithinLimits, Some(permit.request), at_us, what);
        }
    }
}

/// Returns a number of tokens in thousandths, as gRPC counts them.
fn thousandths(tokens: f64) -> u64 {
    (tokens * 1_000.0).round() as u64
}

/// The time at which an attempt ended, and whether it was OK.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AttemptEnd {
    at_us: u64,
    is_ok: bool,
}

/// Returns the ends of the attempts that count for throttling, in order of time. Those of one instant are ordered with the
/// failures first, which leaves the most tokens.
fn ends(rows: &dyn Rows, attempts: &Attempts, in_force: &InForce) -> Vec<AttemptEnd> {
    let sent_again = rows.events().filter(|row| row.event == Event::TransparentRetry);
    let sent_again: BTreeSet<_> = sent_again.filter_map(|row| Some((row.request?, row.attempt?))).collect();
    let counts_code = |client: &Client, code: Code| {
        let hedging = client.policies.hedging.as_ref();
        let codes = hedging.map_or(&client.retry.retryable_status_codes, |hedging| &hedging.non_fatal_status_codes);
        codes.contains(&code)
    };
    // At the instant of a change, the failure counts by both settings, which leaves the most tokens.
    let counts_then = |attempt: &Attempt| {
        in_force.during(attempt.end_us, attempt.end_us).all(|then| counts_code(&then.client, attempt.status))
    };
    let is_ok = |attempt: &Attempt| attempt.status == Code::Ok || attempt.committed_us.is_some();
    let counts = |attempt: &&Attempt| {
        let is_given_up = is_given_up(attempts.cause(attempt));
        // The policy does not see the failure of an attempt that waits to be sent again until its call ends.
        let may_be_unseen = sent_again.contains(&(attempt.request, attempt.number));
        is_ok(attempt) || (counts_then(attempt) && !is_given_up && !may_be_unseen)
    };
    let ended = attempts.all().iter().filter(counts);
    let mut ends: Vec<_> = ended
        .map(|attempt| AttemptEnd { at_us: attempt.committed_us.unwrap_or(attempt.end_us), is_ok: is_ok(attempt) })
        .collect();
    ends.sort_unstable();
    ends
}

/// Checks Envoy's retry budget, which limits the retries under way by the attempts under way.
fn check_concurrent_retries(
    evidence: &Evidence<'_>,
    (attempts, in_force): (&Attempts, &InForce),
    findings: &mut Findings,
) {
    let picks = evidence.rows.events().filter(|row| row.event == Event::Pick);
    // An attempt without an end is under way until the end of the run.
    let spans = picks.filter_map(|row| {
        let end = attempts.find(row.request?, row.attempt?).map_or(u64::MAX, |attempt| attempt.end_us);
        Some((row.at_us, end))
    });
    let (mut begun, mut over): (Vec<u64>, Vec<u64>) = spans.unzip();
    begun.sort_unstable();
    over.sort_unstable();
    // The ends of the retries that were permitted.
    let mut retries: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    let permits: Vec<_> = permits(evidence.rows, attempts).collect();
    let ends = ends_of_retries(&permits, attempts);
    for (permit, end_us) in permits.iter().zip(ends) {
        let at_us = permit.at_us;
        while retries.peek().is_some_and(|Reverse(end_us)| *end_us <= at_us) {
            retries.pop();
        }
        let begun = begun.partition_point(|start_us| *start_us <= at_us);
        let under_way = begun - over.partition_point(|end_us| *end_us < at_us);
        // The attempt that is retried has just ended, and a hedge is not under way yet. An attempt for which no server was picked was never
        // under way.
        let under_way = under_way.saturating_sub(usize::from(permit.is_hedge || permit.has_just_failed));
        let budgets = in_force.during(at_us, at_us).filter_map(|then| then.client.policies.retry_budget.as_ref());
        let allowed = budgets.map(|RetryBudget { percent, min_retry_concurrency, .. }| {
            (under_way as f64 * percent / 100.0).max(min_retry_concurrency.unwrap_or(0) as f64)
        });
        let most = allowed.fold(0.0, f64::max);
        if retries.len() as f64 + 1.0 > most + 1e-9 {
            let what =
                format!("{} retries at once beside {under_way} attempts, and {most} are allowed", retries.len() + 1);
            findings.add(Invariant::WithinLimits, Some(permit.request), at_us, what);
        }
        retries.push(Reverse(end_us));
    }
}

/// Returns the time at which the retry of each permit was over.
fn ends_of_retries(permits: &[Permit], attempts: &Attempts) -> Vec<u64> {
    let mut next: BTreeMap<(u64, u32), u64> = BTreeMap::new();
    let ends = permits.iter().rev().map(|permit| {
        // A retry for which no server was picked has no number of its own: the permit after it is for the same attempt.
        let next_us = next.insert((permit.request, permit.attempt), permit.at_us);
        let unsent_us = permit.at_us.saturating_add(permit.waits_us);
        let sent = attempts.find(permit.request, permit.attempt);
        next_us.unwrap_or_else(|| sent.map_or(unsent_us, |attempt| attempt.end_us))
    });
    let mut ends: Vec<u64> = ends.collect();
    ends.reverse();
    ends
}

/// Checks Finagle's retry budget, which limits the recent retries by the recent calls or successes.
fn check_recent_retries(
    evidence: &Evidence<'_>,
    (attempts, in_force): (&Attempts, &InForce),
    budget: &RetryBudget,
    findings: &mut Findings,
) {
    let Some(ttl) = budget.ttl else { return };
    let slot_nanos = (ttl.as_nanos() as u64 / SLOTS).max(1);
    let mut calls: Vec<u64> = match budget.deposit {
        Some(Deposit::Success) => successes(attempts),
        _ => evidence.rows.requests().filter_map(|row| row.sent_us).collect(),
    };
    calls.sort_unstable();
    let mut retries: Vec<u64> = Vec::new();
    for permit in permits(evidence.rows, attempts) {
        let at_us = permit.at_us;
        let old = calls
            .partition_point(|call_us| latest_slot(*call_us, slot_nanos) + SLOTS <= earliest_slot(at_us, slot_nanos));
        let deposits = calls.partition_point(|call_us| *call_us <= at_us) - old;
        let gone = retries
            .partition_point(|retry_us| earliest_slot(*retry_us, slot_nanos) + SLOTS <= latest_slot(at_us, slot_nanos));
        let withdrawals = retries.len() - gone;
        let budgets = in_force.during(at_us, at_us).filter_map(|then| then.client.policies.retry_budget.as_ref());
        let permitted = budgets.map(|RetryBudget { percent, min_per_second, .. }| {
            deposits as f64 * percent / 100.0 + min_per_second.unwrap_or(0.0) * ttl.as_secs_f64()
        });
        let balance = permitted.fold(0.0, f64::max) - withdrawals as f64;
        if balance + 1e-6 < 1.0 {
            let what = format!("{} retries to {deposits} deposits in {ttl:?}", withdrawals + 1);
            findings.add(Invariant::WithinLimits, Some(permit.request), at_us, what);
        }
        retries.push(at_us);
    }
}

/// Returns the times at which attempts were OK, those whose reply streams at its headers.
fn successes(attempts: &Attempts) -> Vec<u64> {
    let times = attempts.all().iter().map(|attempt| match attempt.committed_us {
        None => (attempt.status == Code::Ok).then_some(attempt.end_us),
        committed_us => committed_us,
    });
    times.flatten().collect()
}

/// Returns the first slot that a time, which is rounded down to microseconds, may lie in.
fn earliest_slot(at_us: u64, slot_nanos: u64) -> u64 {
    at_us * 1_000 / slot_nanos
}

/// Returns the last slot that a time, which is rounded down to microseconds, may lie in.
fn latest_slot(at_us: u64, slot_nanos: u64) -> u64 {
    (at_us * 1_000 + 999) / slot_nanos
}
