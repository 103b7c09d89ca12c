//! Checks requests against the schedule, and their attempts against the limits of policies.

use std::{borrow::Cow, time::Duration};

use super::{Evidence, Findings, InForce, Invariant, ROUNDING_US, us};
use crate::{
    client::settings::{Client, PastDeadline},
    entropy::Entropy,
    load::{Schedule, User},
    record::{Answer, AttemptRow, RequestRow, SUPERSEDED},
    scenario::Scenario,
    status::{Code, Outcome},
    time::Instant,
};

pub(super) fn check(evidence: &Evidence<'_>, in_force: &InForce, findings: &mut Findings) {
    check_schedule(evidence, findings);
    let late_us = evidence.late.map_or(0, us);
    let mut attempts = evidence.rows.attempts().peekable();
    let mut own = Vec::new();
    for request in evidence.rows.requests() {
        while let Some(orphan) = attempts.next_if(|row| row.request < request.id) {
            add_orphan(&orphan, findings);
        }
        own.clear();
        while let Some(row) = attempts.next_if(|row| row.request == request.id) {
            own.push(row);
        }
        let client = &evidence.scenario.client;
        let mut call = Call { client, in_force, request: &request, attempts: &own, late_us, findings };
        call.check_end();
        // What a client stack of the load's own does is not limited by the settings of `[client]`.
        if request.answer == Some(Answer::OwnStack) {
            call.check_no_attempts();
            continue;
        }
        call.check_attempts();
        call.check_answer();
        call.check_times();
        call.check_limits();
        call.check_deadlines();
    }
    attempts.for_each(|row| add_orphan(&row, findings));
    check_bulkhead(evidence, in_force, findings);
    check_adaptive_limit(evidence, in_force, findings);
}

/// Checks that there is a row for every scheduled request and for every call that a user makes, and no other.
fn check_schedule(evidence: &Evidence<'_>, findings: &mut Findings) {
    let scenario = evidence.scenario;
    let entropy = Entropy::new(evidence.seed);
    let load = scenario.offered_load();
    let mut scheduled = Schedule::new(&load, scenario.duration, entropy).map(|at| at.as_micros());
    let users = User::all(&load, scenario.duration, entropy);
    let mut users: Vec<_> = users.into_iter().map(NextCall::first).collect();
    let mut rows = 0;
    for (id, row) in (0..).zip(evidence.rows.requests()) {
        let wrong = match row.user {
            _ if row.id != id => Some(format!("the next row should be of request {id}")),
            None => match scheduled.next() {
                Some(at_us) if at_us == row.intended_us => None,
                Some(at_us) => Some(format!("the next row should be of a request intended at {at_us} µs")),
                None => Some("the schedule holds no such request".to_owned()),
            },
            Some(user) => match users.get_mut(user as usize) {
                Some(next) => next.check(&row),
                None => Some(format!("there is no user {user}")),
            },
        };
        if let Some(what) = wrong {
            // All that follow would be found, too: they are off by one.
            return findings.add(Invariant::OneOutcome, Some(row.id), row.intended_us, what);
        }
        rows = id + 1;
    }
    // An interrupted run has rows for what it came to only.
    if !evidence.is_complete() {
        return;
    }
    if let Some(at_us) = scheduled.next() {
        // With users, ids are given in the order of sending, which the schedule alone does not say.
        let id = users.is_empty().then_some(rows);
        findings.add(Invariant::OneOutcome, id, at_us, "the request that is intended then has no row");
    }
    for (number, next) in users.iter().enumerate() {
        if let Some(due) = next.due.filter(|due| due.is_certain) {
            let what = format!("the next call of user {number} has no row");
            findings.add(Invariant::OneOutcome, None, due.from_us, what);
        }
    }
}

/// The next call of a user.
struct NextCall {
    user: User,
    /// When the call is due; `None` if there is none.
    due: Option<Due>,
}

/// When a call of a user is due. The row of the call before has its end to a microsecond only.
#[derive(Clone, Copy)]
struct Due {
    from_us: u64,
    to_us: u64,
    /// False if the user may have gone before.
    is_certain: bool,
}

impl NextCall {
    /// Returns the first call of `user`.
    fn first(user: User) -> Self {
        let due = user.first().map(|at| Due { from_us: at.as_micros(), to_us: at.as_micros(), is_certain: true });
        Self { user, due }
    }

    /// Checks that `row` is of this call, and goes on to the next one. Returns what is wrong.
    fn check(&mut self, row: &RequestRow) -> Option<String> {
        let Some(due) = self.due else { return Some("its user makes no further call".to_owned()) };
        if !(due.from_us..=due.to_us).contains(&row.intended_us) {
            return Some(format!("its user calls at {} µs, {} µs at the latest", due.from_us, due.to_us));
        }
        let done_us = row.done_us.unwrap_or(row.intended_us);
        let early = Instant::START + Duration::from_micros(done_us);
        // Both draw the same think time.
        let latest = self.user.clone().next(early + Duration::from_nanos(999));
        self.due = self.user.next(early).map(|from| Due {
            from_us: from.as_micros(),
            to_us: latest.unwrap_or(from).as_micros(),
            is_certain: latest.is_some(),
        });
        None
    }
}

/// Adds an attempt whose request has no row.
fn add_orphan(row: &AttemptRow, findings: &mut Findings) {
    let what = format!("attempt {} is of no request", row.attempt);
    findings.add(Invariant::ConsistentLog, Some(row.request), row.start_us, what);
}

/// Checks that no more attempts are under way at once than the bulkhead allows when one begins.
fn check_bulkhead(evidence: &Evidence<'_>, in_force: &InForce, findings: &mut Findings) {
    if evidence.scenario.client.policies.bulkhead.is_none() {
        return;
    }
    let limit =
        |settings: &Scenario| settings.client.policies.bulkhead.as_ref().map_or(0, |it| it.max_concurrent_calls);
    let attempts = evidence.rows.attempts().map(|row| (row.start_us, row.end_us));
    // An attempt that waits for its slot begins as soon as it has it.
    if let Some((count, allowed, at_us)) = most_over(attempts, |at_us| in_force.most(at_us, at_us, limit)) {
        let what = format!("{count} attempts at once, and {allowed} are allowed");
        findings.add(Invariant::WithinLimits, None, at_us, what);
    }
}

/// Checks that no more attempts are under way at once than an adaptive limit can have been. A lower bound may be reached with those that began
/// before, as by a fixed limit.
fn check_adaptive_limit(evidence: &Evidence<'_>, in_force: &InForce, findings: &mut Findings) {
    if evidence.scenario.client.policies.adaptive_concurrency.is_none() {
        return;
    }
    let limit =
        |settings: &Scenario| settings.client.policies.adaptive_concurrency.as_ref().map_or(0, |it| it.max_limit);
    let attempts = evidence.rows.attempts().map(|row| (row.start_us, row.committed_us.unwrap_or(row.end_us)));
    if let Some((count, allowed, at_us)) = most_over(attempts, |at_us| in_force.most(at_us, at_us, limit)) {
        let what = format!("{count} attempts at once, and the adaptive limit is {allowed} at most");
        findings.add(Invariant::WithinLimits, None, at_us, what);
    }
}

/// Returns the largest number of `spans`, from a start to just before an end, that hold one instant at which one of them begins, of those
/// instants at which there are more than are `allowed` then: the number, what is allowed, and the first such instant.
pub(super) fn most_over(
    spans: impl Iterator<Item = (u64, u64)>,
    allowed: impl Fn(u64) -> usize,
) -> Option<(usize, usize, u64)> {
    // An end comes before the starts of its instant; a span of no time holds no instant.
    let spans = spans.filter(|(start, end)| start < end);
    let mut changes: Vec<(u64, bool)> = spans.flat_map(|(start, end)| [(start, true), (end, false)]).collect();
    changes.sort_unstable();
    let mut level = 0_usize;
    let mut most: Option<(usize, usize, u64)> = None;
    for (at, begins) in changes {
        level = if begins { level + 1 } else { level - 1 };
        if begins && most.is_none_or(|(count, ..)| level > count) && level > allowed(at) {
            most = Some((level, allowed(at), at));
        }
    }
    most
}

/// A request and its attempts.
struct Call<'a> {
    /// The settings of the start.
    client: &'a Client,
    in_force: &'a InForce,
    request: &'a RequestRow,
    attempts: &'a [Cow<'a, AttemptRow>],
    late_us: u64,
    findings: &'a mut Findings,
}

impl Call<'_> {
    fn add(&mut self, invariant: Invariant, what: impl Into<String>) {
        self.findings.add_to(self.request, invariant, what);
    }

    /// Returns the first and the last time of the call.
    fn span_us(&self) -> (u64, u64) {
        let from_us = self.request.sent_us.unwrap_or(self.request.intended_us);
        let ends = self.attempts.iter().map(|row| row.end_us);
        (from_us, ends.fold(self.request.done_us.unwrap_or(from_us), u64::max))
    }

    /// Returns whether the call was answered from a stale cache entry. The cache renews it in the background, by attempts
    /// that carry the id of the call, which has ended.
    fn is_renewed(&self) -> bool {
        self.request.answer == Some(Answer::Stale) && self.request.attempts == 0
    }

    /// Returns whether the call ends as its last attempt does.
    fn ends_with_an_attempt(&self) -> bool {
        !self.request.rejected && self.request.answer.is_none() && !self.is_cancelled() && !self.may_wait_for_deadline()
    }

    /// Returns whether the call may have waited for its deadline, as the next attempt would have come too late.
    fn may_wait_for_deadline(&self) -> bool {
        let is_late = self.request.status == Outcome::Status(Code::DeadlineExceeded);
        is_late && self.client.retry.past_deadline == PastDeadline::DeadlineExceeded
    }

    /// Returns whether the call was cancelled, as all are that are under way when a run is interrupted.
    fn is_cancelled(&self) -> bool {
        self.request.status == Outcome::Status(Code::Cancelled)
    }

    /// Checks that a dropped call was not sent, and that the times of every other one fit.
    fn check_end(&mut self) {
        let RequestRow { intended_us, sent_us, done_us, latency_us, status, .. } = *self.request;
        let times = (sent_us, done_us, latency_us);
        if status == Outcome::Dropped {
            if times != (None, None, None) || self.request.attempts > 0 {
                self.add(Invariant::OneOutcome, "it was dropped, and yet sent");
            }
            return;
        }
        let (Some(sent_us), Some(done_us), Some(latency_us)) = times else {
            return self.add(Invariant::Drains, "it was sent, and never ended");
        };
        if sent_us < intended_us || sent_us > done_us || intended_us.checked_add(latency_us) != Some(done_us) {
            let what = format!("sent at {sent_us} µs, done at {done_us} µs, with a latency of {latency_us} µs");
            self.add(Invariant::OneOutcome, what);
        }
    }

    /// Checks that a call has no attempts.
    fn check_no_attempts(&mut self) {
        let RequestRow { attempts, failovers, hedges, ref server, .. } = *self.request;
        if (attempts, failovers, hedges) != (0, 0, 0) || server.is_some() || !self.attempts.is_empty() {
            self.add(Invariant::ConsistentLog, "it is of a stack of the load's own, and has attempts");
        }
    }

    /// Checks that there is a row for every attempt, and that attempts and call have statuses that fit.
    fn check_attempts(&mut self) {
        if self.is_renewed() {
            return;
        }
        let expected = 1..=self.request.attempts;
        if !self.attempts.iter().map(|row| row.attempt).eq(expected) {
            let what = format!("it has {} attempts and {} rows of them", self.request.attempts, self.attempts.len());
            return self.add(Invariant::ConsistentLog, what);
        }
        if let Some(row) = self.attempts.iter().find(|row| row.cause.is_none() != (row.status == Code::Ok)) {
            let what = format!("attempt {} is {} with the cause {:?}", row.attempt, row.status, row.cause);
            self.add(Invariant::ConsistentLog, what);
        }
        let answered = self.attempts.iter().filter(|row| row.status == Code::Ok).count();
        let wanted = usize::from(self.request.status == Outcome::OK && self.request.answer.is_none());
        if answered != wanted {
            let what = format!("it is {}, with {answered} attempts that are OK", self.request.status.name());
            self.add(Invariant::ConsistentLog, what);
        }
        if self.client.policies.hedging.is_none() {
            self.check_sequence();
        }
        self.check_commit();
    }

    /// Checks that the attempt whose reply streams is one, and is the last to begin.
    fn check_commit(&mut self) {
        let mut committed = self.attempts.iter().filter_map(|row| row.committed_us.map(|at_us| (at_us, row)));
        let Some((at_us, row)) = committed.next() else { return };
        let is_within = (row.start_us..=row.end_us).contains(&at_us);
        let is_last = self.attempts.iter().all(|other| other.start_us <= at_us);
        if committed.next().is_some() || !is_within || !is_last || self.request.stream.is_none() {
            let what =
                format!("attempt {} is committed at {at_us} µs, and is not the only one or the last", row.attempt);
            self.add(Invariant::ConsistentLog, what);
        }
    }

    /// Checks that the source of the answer fits the status, the server and the attempts.
    fn check_answer(&mut self) {
        let RequestRow { status, server, attempts, hedges, answer, .. } = self.request;
        let counts = self.client.policies.fallback.as_ref().is_some_and(|fallback| fallback.counts_as_success);
        let degraded = if counts { Outcome::OK } else { Outcome::Degraded };
        let fits = match answer {
            None => *status != Outcome::Degraded,
            Some(Answer::Cached) => *status == Outcome::OK && *attempts == 0,
            Some(Answer::Stale | Answer::Fallback) => *status == degraded,
            Some(Answer::Partial) => {
                *status == degraded && self.request.stream.as_ref().is_some_and(|stream| stream.messages > 0)
            }
            Some(Answer::OwnStack) => *attempts == 0,
        };
        if !fits {
            self.add(Invariant::ConsistentLog, format!("it is {}, and its answer {answer:?}", status.name()));
        }
        let fits = match (server, answer) {
            (Some(server), None) => {
                self.attempts.iter().any(|row| row.server == *server && Outcome::Status(row.status) == *status)
            }
            (Some(_), Some(_)) => false,
            (None, answer) => *status != Outcome::OK || answer.is_some(),
        };
        if !fits {
            self.add(Invariant::ConsistentLog, format!("its answer is said to be of {server:?}"));
        }
        // The first attempt is no hedge, unless a policy rejected the one that was.
        let most = if self.client.policies.hedging.is_none() { 0 } else { *attempts };
        if *hedges > most || (most > 0 && *hedges + 1 < most) {
            self.add(Invariant::ConsistentLog, format!("{attempts} attempts, and {hedges} hedges"));
        }
    }

    /// Checks that attempts are within their call and, if there are no hedges, one after another.
    fn check_times(&mut self) {
        let is_renewed = self.is_renewed();
        let (from_us, to_us) = match (self.request.sent_us, self.request.done_us) {
            (Some(sent_us), Some(done_us)) if !is_renewed => (sent_us, done_us),
            _ => (0, u64::MAX),
        };
        let mut attempts = self.attempts.iter();
        if let Some(row) =
            attempts.find(|row| row.start_us < from_us || row.end_us < row.start_us || row.end_us > to_us)
        {
            let AttemptRow { attempt, start_us, end_us, .. } = &**row;
            let what = format!("attempt {attempt} is from {start_us} to {end_us} µs, and it from {from_us}");
            self.add(Invariant::ConsistentLog, what);
        }
        if self.client.policies.hedging.is_none()
            && let Some([_, row]) = self.attempts.windows(2).find(|pair| pair[1].start_us < pair[0].end_us)
        {
            let what = format!("attempt {} begins before the one before it has ended", row.attempt);
            self.add(Invariant::ConsistentLog, what);
        }
    }

    /// Checks a call whose attempts follow one another: its failovers, and that it ends with the last attempt.
    fn check_sequence(&mut self) {
        let moves = self.attempts.windows(2).filter(|pair| pair[0].server != pair[1].server).count();
        if moves != self.request.failovers as usize {
            let what = format!("its attempts moved on {moves} times, and it counts {}", self.request.failovers);
            self.add(Invariant::ConsistentLog, what);
        }
        if !self.ends_with_an_attempt() {
            return;
        }
        let last = self.attempts.last();
        let status = last.map_or(Outcome::Dropped, |row| Outcome::Status(row.status));
        if status != self.request.status {
            let what = format!("it is {}, and its last attempt {}", self.request.status.name(), status.name());
            self.add(Invariant::ConsistentLog, what);
        }
        // In real time a moment passes between the end of an attempt and the end of its call.
        if self.findings.is_virtual && last.map(|row| row.end_us) != self.request.done_us {
            self.add(Invariant::ConsistentLog, "it did not end with its last attempt");
        }
    }

    /// Checks that there are no more attempts than allowed, and none behind a status that is not retried.
    fn check_limits(&mut self) {
        let policies = &self.client.policies;
        let (from_us, to_us) = self.span_us();
        let most = self.in_force.most(from_us, to_us, attempts_max);
        let retried_codes: Vec<Code> = self.in_force.during(from_us, to_us).flat_map(retried_codes).collect();
        if self.attempts.len().max(self.request.attempts as usize) > most {
            let what = format!("{} attempts, and {most} are allowed", self.attempts.len());
            self.add(Invariant::WithinLimits, what);
        }
        let wrong = match &policies.hedging {
            Some(_) => self.attempts.iter().find(|row| {
                let was_superseded = row.cause.as_deref() == Some(SUPERSEDED);
                // A fatal status ends the call, unless a fallback answers it; the other attempts are given up.
                let ends_call = self.request.answer.is_some() || self.request.status == Outcome::Status(row.status);
                !(was_superseded || ends_call || row.status == Code::Ok || retried_codes.contains(&row.status))
            }),
            None => {
                let retried = self.attempts.split_last().map_or(&[][..], |(_, retried)| retried);
                retried.iter().find(|row| !retried_codes.contains(&row.status))
            }
        };
        if let Some(row) = wrong.filter(|row| row.status != Code::Cancelled) {
            let what = format!("attempt {} ended {}, after which no other attempt may follow", row.attempt, row.status);
            self.add(Invariant::WithinLimits, what);
        }
    }

    /// Checks that the call and its attempts end by their deadlines, and that it was sent when intended.
    fn check_deadlines(&mut self) {
        let (from_us, to_us) = self.span_us();
        let deadline_us = us(self.in_force.most(from_us, to_us, |settings| settings.client.deadline));
        let timeout_us = self.in_force.attempt_timeout_us(from_us, to_us);
        let took = self.request.done_us.zip(self.request.sent_us).map(|(done, sent)| done.saturating_sub(sent));
        let slack_us = self.late_us + ROUNDING_US;
        if self.request.sent_us.is_some_and(|sent_us| sent_us > self.request.intended_us + slack_us) {
            self.add(Invariant::DeadlinesHold, "it is sent later than intended");
        }
        if took.is_some_and(|took_us| took_us > deadline_us + slack_us) {
            let what = format!("it took {} µs with a deadline of {deadline_us} µs", took.unwrap_or_default());
            self.add(Invariant::DeadlinesHold, what);
        }
        let mut attempts = self.attempts.iter();
        // The timeout is for the headers of a reply that streams.
        let took_us = |row: &AttemptRow| row.committed_us.unwrap_or(row.end_us).saturating_sub(row.start_us);
        if let Some(row) = attempts.find(|row| took_us(row) > timeout_us + slack_us) {
            let took_us = took_us(row);
            let what = format!("attempt {} took {took_us} µs with a timeout of {timeout_us} µs", row.attempt);
            self.add(Invariant::DeadlinesHold, what);
        }
    }
}

/// Returns the most attempts that a call may have.
fn attempts_max(settings: &Scenario) -> usize {
    match &settings.client.policies.hedging {
        Some(hedging) => hedging.max_attempts,
        None => settings.client.retry.max_attempts as usize,
    }
}

/// Returns the statuses after which a call may have another attempt.
fn retried_codes(settings: &Scenario) -> Vec<Code> {
    match &settings.client.policies.hedging {
        Some(hedging) => hedging.non_fatal_status_codes.clone(),
        None => settings.client.retry.retryable_status_codes.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_touch_do_not_overlap() {
        let most = |spans: &[(u64, u64)]| most_over(spans.iter().copied(), |_| 0).map(|(count, _, at)| (count, at));
        assert_eq!(most(&[(0, 10), (10, 20), (20, 20), (30, 30), (40, 50)]), Some((1, 0)));
        assert_eq!(most(&[(0, 10), (9, 20), (15, 30), (16, 17)]), Some((3, 16)));
        assert_eq!(most(&[]), None);
    }

    #[test]
    fn what_has_begun_before_a_limit_was_lower_is_allowed() {
        let spans = [(0, 100), (1, 100), (2, 60), (70, 80)];
        let allowed = |at| if at < 50 { 3 } else { 2 };
        assert_eq!(most_over(spans.into_iter(), allowed), Some((3, 2, 70)));
        assert_eq!(most_over(spans[..3].iter().copied(), allowed), None);
    }
}
