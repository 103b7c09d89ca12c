//! A call that hedges: its attempts run side by side. `policy::hedging` decides when to send them.

use std::{future::poll_fn, task::Poll};

use super::{
    call::{Answered, AttemptError, CANCELLED, Call},
    failure::Cause,
};
use crate::{
    policy::{Hedges, Hedging, RetryPermit, Verdict},
    world::BoxFuture,
};

/// An attempt under way.
struct PendingAttempt<'c> {
    attempt: BoxFuture<'c, Result<Answered, AttemptError>>,
    /// The permit for it, unless it is the first. It is given back when the attempt ends.
    _permit: Option<RetryPermit<'c>>,
}

impl Call<'_> {
    /// Sends attempts as `settings` say, until one succeeds, one fails with a fatal status, or all have failed.
    pub(super) async fn with_hedges(&self, settings: &Hedging) -> Result<Answered, AttemptError> {
        let world = &self.client.world;
        let mut hedges = Hedges::new(settings, world.now());
        let mut pending = Vec::new();
        let mut last_error = None;
        loop {
            // An attempt that is due at the deadline could not be answered before it.
            if hedges.due().is_some_and(|due| due >= self.deadline) {
                hedges.stop();
            }
            self.send_due(&mut hedges, &mut pending, last_error.is_none());
            if pending.is_empty() && hedges.due().is_none() {
                return Err(last_error.unwrap_or(AttemptError::Rejected(CANCELLED)));
            }
            let Some(result) = self.next_result(&mut pending, &hedges).await else {
                if pending.is_empty() && self.client.cancellation.is_cancelled() {
                    return Err(AttemptError::Rejected(CANCELLED));
                }
                continue;
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
                Err(AttemptError::Failed { failure, server }) => {
                    let verdict = hedges.on_failure(world.now(), failure.code, failure.pushback);
                    let is_final = verdict == Verdict::Fatal || failure.cause == Cause::Cancelled;
                    let error = AttemptError::Failed { failure, server };
                    if is_final {
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
            pending.push(PendingAttempt { attempt: Box::pin(self.attempt(!is_first)), _permit: permit });
        }
    }

    /// Waits for the first attempt to end, and takes it out of `pending`. Returns `None` if another attempt is due first, or
    /// if the call is cancelled.
    async fn next_result<'c>(
        &'c self,
        pending: &mut Vec<PendingAttempt<'c>>,
        hedges: &Hedges<'_>,
    ) -> Option<Result<Answered, AttemptError>> {
        let mut sleep = hedges.due().map(|due| self.client.world.sleep_until(due));
        let mut cancelled = std::pin::pin!(self.client.cancellation.wait());
        poll_fn(|cx| {
            for index in 0..pending.len() {
                if let Poll::Ready(result) = pending[index].attempt.as_mut().poll(cx) {
                    // `swap_remove` would change the order in which attempts are polled, and so the run.
                    pending.remove(index);
                    return Poll::Ready(Some(result));
                }
            }
            let is_due = sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
            // Attempts under way end by themselves when the call is cancelled, so only a call without any waits for it here.
            if is_due || (pending.is_empty() && cancelled.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests;
