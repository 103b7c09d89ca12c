//! A call that hedges: its attempts run side by side. `policy::hedging` decides when to send them.

use std::{future::poll_fn, sync::Arc, task::Poll};

use super::{
    call::{Answered, AttemptError, CANCELLED, Call},
    failure::Cause,
    plain_channel::Headers,
};
use crate::{
    policy::{Hedges, Hedging, RetryPermit, Verdict},
    world::BoxFuture,
};

/// The next event in a call that hedges.
enum Step {
    /// An attempt has ended, after the headers of its reply or without.
    Ended { result: Box<Result<Answered, AttemptError>>, has_begun: bool },
    /// The attempt at this place has got the headers of its reply, which commit the call.
    Committed(usize),
    /// Another attempt is due.
    Due,
}

/// An attempt under way.
struct PendingAttempt<'c> {
    attempt: BoxFuture<'c, Result<Answered, AttemptError>>,
    /// The headers of its reply, if they commit the call.
    headers: Option<Arc<Headers>>,
    /// The permit for it, unless it is the first. It is given back when the attempt ends.
    _permit: Option<RetryPermit<'c>>,
}

impl PendingAttempt<'_> {
    /// Returns whether the headers of its reply have arrived, if they commit the call.
    fn has_begun(&self) -> bool {
        self.headers.as_ref().is_some_and(|headers| headers.have_arrived())
    }
}

impl Call<'_> {
    /// Sends attempts as `settings` say, until one succeeds, one fails with a fatal status, or all have failed.
    pub(super) async fn with_hedges(&self, settings: &Hedging) -> Result<Answered, AttemptError> {
        let world = &self.client.world;
        let now = world.now();
        let delay = self.client.chain.hedging_delay(now).unwrap_or(settings.hedging_delay);
        let mut hedges = Hedges::new(settings, delay, now);
        let mut pending = Vec::new();
        let mut last_error = None;
        loop {
            // An attempt that is due at the deadline could not be answered before it.
            if hedges.due().is_some_and(|due| due >= self.deadline) {
                hedges.stop_late();
            }
            self.send_due(&mut hedges, &mut pending, last_error.is_none());
            if pending.is_empty() && hedges.due().is_none() {
                let error = last_error.unwrap_or(AttemptError::Rejected(CANCELLED));
                // Another attempt was due, but too late.
                return Err(if hedges.are_late() { self.at_deadline(error).await } else { error });
            }
            let (result, has_begun) = match self.next_step(&mut pending, &hedges).await {
                Step::Ended { result, has_begun } => (*result, has_begun),
                Step::Committed(index) => {
                    let committed = pending.swap_remove(index);
                    self.supersede_pending_but(committed.headers.as_ref().map(|headers| headers.attempt()));
                    pending.clear();
                    hedges.stop();
                    let result = committed.attempt.await;
                    return result;
                }
                Step::Due if pending.is_empty() && self.is_cancelled() => {
                    return Err(AttemptError::Rejected(CANCELLED));
                }
                Step::Due => continue,
            };
            match result {
                Ok(answered) => {
                    self.supersede_pending();
                    return Ok(answered);
                }
                Err(AttemptError::Rejected(rejection)) => {
                    hedges.stop();
                    // The failure of an attempt that was sent says more to the caller than a rejection.
                    last_error.get_or_insert(AttemptError::Rejected(rejection));
                }
                Err(error) => {
                    let verdict = hedges.on_failure(world.now(), error.code(), error.pushback());
                    let is_cancelled =
                        matches!(&error, AttemptError::Failed { failure, .. } if failure.cause == Cause::Cancelled);
                    if verdict == Verdict::Fatal || is_cancelled || has_begun {
                        self.supersede_pending();
                        return Err(error);
                    }
                    last_error = Some(error);
                }
            }
        }
    }

    /// Sends every attempt that is due. The first one of a call needs no permit.
    fn send_due<'c>(&'c self, hedges: &mut Hedges<'_>, pending: &mut Vec<PendingAttempt<'c>>, none_failed: bool) {
        let now = self.client.world.now();
        while hedges.due().is_some_and(|due| due <= now) {
            let is_first = none_failed && pending.is_empty();
            let permit = if is_first { None } else { self.permit_retry() };
            // A call without a permit waits for the attempts that it has under way.
            if !is_first && permit.is_none() {
                return hedges.stop();
            }
            hedges.on_sent(now);
            let headers = self.headers();
            let attempt = Box::pin(self.attempt(!is_first, headers.clone()));
            pending.push(PendingAttempt { attempt, headers, _permit: permit });
        }
    }

    /// Waits for the first attempt to end, which is taken out of `pending`, or to commit the call. Returns [`Step::Due`] if another
    /// attempt is due first, or if the call is cancelled.
    async fn next_step<'c>(&'c self, pending: &mut Vec<PendingAttempt<'c>>, hedges: &Hedges<'_>) -> Step {
        let mut sleep = hedges.due().map(|due| self.client.world.sleep_until(due));
        let mut cancelled = std::pin::pin!(self.cancelled());
        poll_fn(|cx| {
            for index in 0..pending.len() {
                if let Poll::Ready(result) = pending[index].attempt.as_mut().poll(cx) {
                    // `swap_remove` would change the order in which attempts are polled, and so the run.
                    let ended = pending.remove(index);
                    return Poll::Ready(Step::Ended { result: Box::new(result), has_begun: ended.has_begun() });
                }
            }
            if let Some(index) = pending.iter().position(PendingAttempt::has_begun) {
                return Poll::Ready(Step::Committed(index));
            }
            let is_due = sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
            // Attempts under way end by themselves when the call is cancelled, so only a call without any waits for it here.
            if is_due || (pending.is_empty() && cancelled.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(Step::Due);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests;
