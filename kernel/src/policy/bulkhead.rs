//! Resilience4j's semaphore bulkhead, which Envoy calls a circuit breaker: a limit on the attempts under way.
//!
//! An attempt takes one of `max_concurrent_calls` slots and gives it back at its end, however it ends. If none is free, it waits
//! for at most `max_wait`, in order of arrival, and is rejected with RESOURCE_EXHAUSTED after that.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::{Admission, AttemptEnd, Policy, PolicyConfig, PolicyContext, Rejection, chain};
use crate::{
    planted::planted,
    settings::{limits, samples, table_macro::table},
    status::Code,
    time::Instant,
    world::SharedWorld,
};

table! {
    /// `[client.bulkhead]`: a cap on the attempts under way (Resilience4j).
    Bulkhead {
        /// Attempts under way at once.
        max_concurrent_calls: usize = 25, limits::MAX_IN_FLIGHT, &["1", "3", "25"];
        /// Time that an attempt waits for a slot, as a part of its timeout.
        max_wait: Duration = Duration::ZERO, limits::WAIT, samples::WAITS;
    }
}

const FULL: Rejection = Rejection { code: Code::ResourceExhausted, cause: "bulkhead full" };

impl PolicyConfig for Bulkhead {
    type Policy = Slots;

    fn build(&self, context: &PolicyContext<'_>) -> Option<Slots> {
        let slots = planted!(Bug::WideBulkhead, self.max_concurrent_calls + 1, else self.max_concurrent_calls);
        Some(Slots { world: context.world.clone(), slots: Semaphore::new(slots), max_wait: self.max_wait })
    }
}

/// The state of the bulkhead: its slots.
pub(crate) struct Slots {
    world: SharedWorld,
    slots: Semaphore,
    max_wait: Duration,
}

impl Policy for Slots {
    fn is_within_timeout(&self) -> bool {
        true
    }

    fn admit(&self, now: Instant, until: Instant) -> Admission<'_> {
        if let Ok(slot) = self.slots.try_acquire() {
            // `on_attempt_end` gives the slot back: an admission has no place for the semaphore's guard.
            slot.forget();
            return Admission::Granted;
        }
        // Without a queue there is nothing to wait for, not even for an instant.
        if self.max_wait.is_zero() {
            return Admission::Rejected(FULL);
        }
        Admission::Waits(Box::pin(async move {
            match chain::wait(&self.world, until.min(now + self.max_wait), self.slots.acquire()).await {
                Some(Ok(slot)) => {
                    slot.forget();
                    Ok(())
                }
                _ => Err(FULL),
            }
        }))
    }

    fn lasts_to_end_of_stream(&self) -> bool {
        true
    }

    fn on_attempt_end(&self, _: &AttemptEnd) {
        self.slots.add_permits(1);
    }
}
