//! Requests against the schedule, and their attempts against what the policies allow.

use super::{Evidence, Findings, Invariant, ROUNDING_US, us};
use crate::{
    client::SUPERSEDED,
    entropy::Entropy,
    load::Schedule,
    record::{Answer, AttemptRow, Event, RequestRow},
    scenario::Client,
    status::{Code, Outcome},
};

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    let records = evidence.records;
    rows_follow_the_schedule(evidence, findings);
    let mut attempts = &records.attempts[..];
    for request in &records.requests {
        let (strange, rest) = attempts.split_at(attempts.partition_point(|row| row.request < request.id));
        let (own, rest) = rest.split_at(rest.partition_point(|row| row.request == request.id));
        attempts = rest;
        strange.iter().for_each(|row| of_no_request(row, findings));
        let late_us = evidence.late.map_or(0, us);
        let mut call = Call { client: &evidence.scenario.client, request, attempts: own, late_us, findings };
        call.has_an_end();
        call.has_its_attempts();
        call.has_its_answer();
        call.has_its_times();
        call.is_within_limits();
        call.is_in_time();
    }
    attempts.iter().for_each(|row| of_no_request(row, findings));
    attempts_at_once(evidence, findings);
    for row in records.events.iter().filter(|row| row.event == Event::WrongResult) {
        findings.add(Invariant::CorrectResult, row.request, row.at_us, "the answer is another than the kernel's");
    }
}

fn rows_follow_the_schedule(evidence: &Evidence<'_>, findings: &mut Findings) {
    let scenario = evidence.scenario;
    let schedule = Schedule::new(&scenario.load, scenario.duration, Entropy::new(evidence.seed));
    let mut scheduled = (0..).zip(schedule.map(|at| at.as_micros()));
    for row in &evidence.records.requests {
        let due = scheduled.next();
        if due != Some((row.id, row.intended_us)) {
            let what = match due {
                Some((id, at_us)) => format!("the next row was to be of request {id}, intended at {at_us} µs"),
                None => "the schedule holds no such request".to_owned(),
            };
            return findings.add(Invariant::OneOutcome, Some(row.id), row.intended_us, what);
        }
    }
    if evidence.is_complete()
        && let Some((id, at_us)) = scheduled.next()
    {
        findings.add(Invariant::OneOutcome, Some(id), at_us, "it has no row");
    }
}

fn of_no_request(row: &AttemptRow, findings: &mut Findings) {
    let what = format!("attempt {} is of no request", row.attempt);
    findings.add(Invariant::ConsistentLog, Some(row.request), row.start_us, what);
}

/// As the bulkhead counts them.
fn attempts_at_once(evidence: &Evidence<'_>, findings: &mut Findings) {
    let Some(bulkhead) = &evidence.scenario.client.policies.bulkhead else { return };
    let attempts = evidence.records.attempts.iter().map(|row| (row.start_us, row.end_us));
    let (most, at_us) = most_at_once(attempts);
    if most > bulkhead.max_concurrent_calls {
        let what = format!("{most} attempts at once, and {} are allowed", bulkhead.max_concurrent_calls);
        findings.add(Invariant::WithinLimits, None, at_us, what);
    }
}

/// The largest number of `spans`, from a start to just before an end, that hold one instant, and the first such.
pub(super) fn most_at_once(spans: impl Iterator<Item = (u64, u64)>) -> (usize, u64) {
    // An end comes before the starts of its instant; what took no time holds none.
    let spans = spans.filter(|(start, end)| start < end);
    let mut changes: Vec<(u64, bool)> = spans.flat_map(|(start, end)| [(start, true), (end, false)]).collect();
    changes.sort_unstable();
    let (mut level, mut most) = (0_usize, (0, 0));
    for (at, begins) in changes {
        level = if begins { level + 1 } else { level - 1 };
        if level > most.0 {
            most = (level, at);
        }
    }
    most
}

/// A request and its attempts.
struct Call<'a> {
    client: &'a Client,
    request: &'a RequestRow,
    attempts: &'a [AttemptRow],
    late_us: u64,
    findings: &'a mut Findings,
}

impl Call<'_> {
    fn add(&mut self, invariant: Invariant, what: impl Into<String>) {
        let at_us = self.request.done_us.unwrap_or(self.request.intended_us);
        self.findings.add(invariant, Some(self.request.id), at_us, what);
    }

    /// The cache renews stale answers in the background, with attempts in the name of a call that has ended.
    fn is_renewed(&self) -> bool {
        self.request.answer == Some(Answer::Stale) && self.request.attempts == 0
    }

    /// It was answered by attempts of its own, or failed with the last of them.
    fn ends_with_an_attempt(&self) -> bool {
        !self.request.rejected && self.request.answer.is_none() && !self.is_cancelled()
    }

    /// Someone interrupted the run.
    fn is_cancelled(&self) -> bool {
        self.request.status == Outcome::Status(Code::Cancelled)
    }

    fn has_an_end(&mut self) {
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

    fn has_its_attempts(&mut self) {
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
            self.has_retried();
        }
    }

    /// Where it is from, and how good it is.
    fn has_its_answer(&mut self) {
        let RequestRow { status, server, attempts, hedges, answer, .. } = self.request;
        let counts = self.client.policies.fallback.as_ref().is_some_and(|fallback| fallback.counts_as_success);
        let degraded = if counts { Outcome::OK } else { Outcome::Degraded };
        let fits = match answer {
            None => *status != Outcome::Degraded,
            Some(Answer::Cached) => *status == Outcome::OK && *attempts == 0,
            Some(Answer::Stale | Answer::Fallback) => *status == degraded,
        };
        if !fits {
            self.add(Invariant::ConsistentLog, format!("it is {}, and its answer {answer:?}", status.name()));
        }
        let is_whose =
            |row: &&AttemptRow| Some(&row.server) == server.as_ref() && Outcome::Status(row.status) == *status;
        let fits = match (server, answer) {
            (Some(_), None) => self.attempts.iter().any(|row| is_whose(&row)),
            (Some(_), Some(_)) => false,
            (None, answer) => *status != Outcome::OK || answer.is_some(),
        };
        if !fits {
            self.add(Invariant::ConsistentLog, format!("its answer is said to be of {server:?}"));
        }
        // The first attempt is none, if no policy turned it down.
        let most = if self.client.policies.hedging.is_none() { 0 } else { *attempts };
        if *hedges > most || (most > 0 && *hedges + 1 < most) {
            self.add(Invariant::ConsistentLog, format!("{attempts} attempts, and {hedges} hedges"));
        }
    }

    /// Attempts are within their call and, if there are no hedges, one after another.
    fn has_its_times(&mut self) {
        let is_renewed = self.is_renewed();
        let (from_us, to_us) = match (self.request.sent_us, self.request.done_us) {
            (Some(sent_us), Some(done_us)) if !is_renewed => (sent_us, done_us),
            _ => (0, u64::MAX),
        };
        let strays = |row: &&AttemptRow| row.start_us < from_us || row.end_us < row.start_us || row.end_us > to_us;
        if let Some(row) = self.attempts.iter().find(strays) {
            let (start_us, end_us) = (row.start_us, row.end_us);
            let what = format!("attempt {} is from {start_us} to {end_us} µs, and it from {from_us}", row.attempt);
            self.add(Invariant::ConsistentLog, what);
        }
        let overlap = |pair: &&[AttemptRow]| pair[1].start_us < pair[0].end_us;
        if self.client.policies.hedging.is_none()
            && let Some([_, row]) = self.attempts.windows(2).find(overlap)
        {
            let what = format!("attempt {} begins before the one before it has ended", row.attempt);
            self.add(Invariant::ConsistentLog, what);
        }
    }

    /// One attempt after another.
    fn has_retried(&mut self) {
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
        if self.findings.is_virtual && last.map(|row| row.end_us) != self.request.done_us {
            self.add(Invariant::ConsistentLog, "it did not end with its last attempt");
        }
    }

    fn is_within_limits(&mut self) {
        let Client { retry, policies, .. } = self.client;
        let (most, go_on) = match &policies.hedging {
            Some(hedging) => (hedging.max_attempts, &hedging.non_fatal_status_codes),
            None => (retry.max_attempts as usize, &retry.retryable_status_codes),
        };
        if self.attempts.len().max(self.request.attempts as usize) > most {
            let what = format!("{} attempts, and {most} are allowed", self.attempts.len());
            self.add(Invariant::WithinLimits, what);
        }
        let wrong = match &policies.hedging {
            Some(_) => self.attempts.iter().find(|row| {
                let was_superseded = row.cause.as_deref() == Some(SUPERSEDED);
                // A fatal one is the last word, if no fallback has another; the others are given up.
                let is_last_word = self.request.answer.is_some() || self.request.status == Outcome::Status(row.status);
                !(was_superseded || is_last_word || row.status == Code::Ok || go_on.contains(&row.status))
            }),
            None => {
                let retried = self.attempts.split_last().map_or(&[][..], |(_, retried)| retried);
                retried.iter().find(|row| !go_on.contains(&row.status))
            }
        };
        if let Some(row) = wrong.filter(|row| row.status != Code::Cancelled) {
            let what = format!("attempt {} ended {}, after which there is to be no other", row.attempt, row.status);
            self.add(Invariant::WithinLimits, what);
        }
    }

    fn is_in_time(&mut self) {
        let (deadline_us, timeout_us) = (us(self.client.deadline), us(self.client.attempt_timeout));
        let took = self.request.done_us.zip(self.request.sent_us).map(|(done, sent)| done.saturating_sub(sent));
        let slack_us = self.late_us + ROUNDING_US;
        if self.request.sent_us.is_some_and(|sent_us| sent_us > self.request.intended_us + slack_us) {
            self.add(Invariant::DeadlinesHold, "it is sent later than intended");
        }
        if took.is_some_and(|took_us| took_us > deadline_us + slack_us) {
            let what = format!("it took {} µs with a deadline of {deadline_us} µs", took.unwrap_or_default());
            self.add(Invariant::DeadlinesHold, what);
        }
        let is_late = |row: &&AttemptRow| row.end_us.saturating_sub(row.start_us) > timeout_us + slack_us;
        if let Some(row) = self.attempts.iter().find(is_late) {
            let took_us = row.end_us - row.start_us;
            let what = format!("attempt {} took {took_us} µs with a timeout of {timeout_us} µs", row.attempt);
            self.add(Invariant::DeadlinesHold, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_touch_do_not_overlap() {
        assert_eq!(most_at_once([(0, 10), (10, 20), (20, 20), (30, 30), (40, 50)].into_iter()), (1, 0));
        assert_eq!(most_at_once([(0, 10), (9, 20), (15, 30), (16, 17)].into_iter()), (3, 16));
        assert_eq!(most_at_once(std::iter::empty()), (0, 0));
    }
}
