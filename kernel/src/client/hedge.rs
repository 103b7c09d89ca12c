//! A call that hedges: its attempts side by side. When to send them is the business of `policy::hedging`.

use std::{future::poll_fn, task::Poll};

use super::{
    call::{Answered, CANCELLED, Call, Lost},
    failure::Cause,
};
use crate::{
    policy::{Hedges, Hedging, RetryPermit, Verdict},
    world::BoxFuture,
};

/// An attempt that is out.
struct Out<'c> {
    attempt: BoxFuture<'c, Result<Answered, Lost>>,
    /// The permit for it, if it is not the first. It ends with the attempt.
    _permit: Option<RetryPermit<'c>>,
}

impl Call<'_> {
    pub(super) async fn hedged(&self, settings: &Hedging) -> Result<Answered, Lost> {
        let world = &self.client.world;
        let mut hedges = Hedges::new(settings, world.now());
        let mut out = Vec::new();
        let mut last = None;
        loop {
            if hedges.due().is_some_and(|due| due >= self.deadline) {
                hedges.stop();
            }
            self.send_due(&mut hedges, &mut out, last.is_none());
            if out.is_empty() && hedges.due().is_none() {
                return Err(last.unwrap_or(Lost::Rejected(CANCELLED)));
            }
            let Some(result) = self.next(&mut out, &hedges).await else {
                if out.is_empty() && self.client.cancellation.is_cancelled() {
                    return Err(Lost::Rejected(CANCELLED));
                }
                continue;
            };
            match result {
                Ok(answered) => {
                    self.give_up_the_others();
                    return Ok(answered);
                }
                Err(Lost::Rejected(rejection)) => {
                    hedges.stop();
                    last.get_or_insert(Lost::Rejected(rejection));
                }
                Err(Lost::Failed(failure, server)) => {
                    let verdict = hedges.failed(world.now(), failure.code, failure.pushback);
                    if verdict == Verdict::Fatal || failure.cause == Cause::Cancelled {
                        self.give_up_the_others();
                        return Err(Lost::Failed(failure, server));
                    }
                    last = Some(Lost::Failed(failure, server));
                }
            }
        }
    }

    /// Sends every attempt whose time has come. The first one of a call needs no permit.
    fn send_due<'c>(&'c self, hedges: &mut Hedges<'_>, out: &mut Vec<Out<'c>>, none_failed: bool) {
        let now = self.client.world.now();
        while hedges.due().is_some_and(|due| due <= now) {
            let is_first = none_failed && out.is_empty();
            let permit = if is_first { None } else { self.permit_retry() };
            if !is_first && permit.is_none() {
                return hedges.stop();
            }
            hedges.sent(now);
            out.push(Out { attempt: Box::pin(self.attempt(!is_first)), _permit: permit });
        }
    }

    /// What the first attempt to end came to; `None` if it is time to send another, or the call was cancelled.
    async fn next<'c>(&'c self, out: &mut Vec<Out<'c>>, hedges: &Hedges<'_>) -> Option<Result<Answered, Lost>> {
        let mut sleep = hedges.due().map(|due| self.client.world.sleep_until(due));
        let mut cancelled = std::pin::pin!(self.client.cancellation.wait());
        poll_fn(|cx| {
            for index in 0..out.len() {
                if let Poll::Ready(result) = out[index].attempt.as_mut().poll(cx) {
                    out.remove(index);
                    return Poll::Ready(Some(result));
                }
            }
            let is_due = sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
            // Attempts that are out end by themselves when the call is cancelled.
            if is_due || (out.is_empty() && cancelled.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }
}
