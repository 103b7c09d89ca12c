//! Resilience4j's semaphore bulkhead, which Envoy calls a circuit breaker: a limit on the attempts under way.
//!
//! An attempt takes one of `max_concurrent_calls` slots and gives it back at its end, however it ends. If none is free, it waits
//! for at most `max_wait`, in order of arrival, and is rejected with RESOURCE_EXHAUSTED after that.
//!
//! If the limit changes, the attempts under way keep their slots. With a higher one those that wait get the new slots; a lower one is reached
//! as attempts end, which give no slot back until then. An attempt that waits does so for as long as it began to.

use std::{sync::Mutex, time::Duration};

use tokio::sync::Semaphore;

use super::{Admission, AttemptEnd, Policy, PolicyConfig, PolicyContext, Rejection, chain};
use crate::{
    client::settings::Client,
    planted::planted,
    settings::{limits, samples, table_macro::table},
    status::Code,
    sync::lock,
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
        let room = Mutex::new(Room { limit: self.max_concurrent_calls, excess: 0, max_wait: self.max_wait });
        Some(Slots { world: context.world.clone(), slots: Semaphore::new(slots), room })
    }

    fn change(&self, policy: &Slots, _: &Client, _: Instant) {
        let mut room = lock(&policy.room);
        let before = room.limit;
        (room.limit, room.max_wait) = (self.max_concurrent_calls, self.max_wait);
        if self.max_concurrent_calls > before {
            let more = self.max_concurrent_calls - before;
            let kept = more.min(room.excess);
            room.excess -= kept;
            policy.slots.add_permits(more - kept);
        } else {
            let less = before - self.max_concurrent_calls;
            room.excess += less - policy.slots.forget_permits(less);
        }
    }
}

/// The state of the bulkhead: its slots.
pub(crate) struct Slots {
    world: SharedWorld,
    slots: Semaphore,
    room: Mutex<Room>,
}

/// The settings of the bulkhead, and what is left of those before.
struct Room {
    limit: usize,
    /// Number of slots that are taken beyond the limit, and that end with their attempts.
    excess: usize,
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
        let max_wait = lock(&self.room).max_wait;
        // Without a queue there is nothing to wait for, not even for an instant.
        if max_wait.is_zero() {
            return Admission::Rejected(FULL);
        }
        Admission::Waits(Box::pin(async move {
            match chain::wait(&self.world, until.min(now + max_wait), self.slots.acquire()).await {
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
        let mut room = lock(&self.room);
        if room.excess > 0 {
            room.excess -= 1;
        } else {
            self.slots.add_permits(1);
        }
    }
}

#[cfg(all(test, feature = "service"))]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;
    use crate::{fuzzing::network::Network, policy::Ending};

    fn slots(max_concurrent_calls: usize, max_wait: Duration) -> Slots {
        let world = Arc::new(Network::default()).host("client");
        let room = Mutex::new(Room { limit: max_concurrent_calls, excess: 0, max_wait });
        Slots { world, slots: Semaphore::new(max_concurrent_calls), room }
    }

    fn limit(max_concurrent_calls: usize) -> Bulkhead {
        Bulkhead { max_concurrent_calls, ..Bulkhead::default() }
    }

    /// Admits as many attempts as there is room for, and returns their number.
    fn fill(slots: &Slots) -> usize {
        let admit = || matches!(slots.admit(Instant::START, Instant::NEVER), Admission::Granted);
        std::iter::repeat_with(admit).take_while(|admitted| *admitted).count()
    }

    fn end(slots: &Slots, count: usize) {
        let now = Instant::START;
        let took = Duration::ZERO;
        let end = AttemptEnd { server: None, entered: now, now, took, ending: Ending::Abandoned };
        (0..count).for_each(|_| slots.on_attempt_end(&end));
    }

    #[test]
    fn a_lower_limit_is_reached_as_attempts_end() {
        let slots = slots(5, Duration::ZERO);
        assert_eq!(fill(&slots), 5);
        limit(2).change(&slots, &Client::default(), Instant::START);
        end(&slots, 3);
        assert_eq!(fill(&slots), 0, "two are under way");
        end(&slots, 1);
        assert_eq!(fill(&slots), 1);
        limit(1).change(&slots, &Client::default(), Instant::START);
        limit(4).change(&slots, &Client::default(), Instant::START);
        assert_eq!(fill(&slots), 2, "two of four are under way");
        end(&slots, 4);
        assert_eq!(fill(&slots), 4);
    }

    #[test]
    fn a_higher_limit_lets_those_pass_that_wait() {
        let slots = slots(1, Duration::from_secs(1));
        let admit = || slots.admit(Instant::START, Instant::NEVER);
        assert!(matches!(admit(), Admission::Granted));
        let Admission::Waits(mut waiting) = admit() else { panic!("the bulkhead is full") };
        assert_eq!((&mut waiting).now_or_never(), None);
        limit(2).change(&slots, &Client::default(), Instant::START);
        assert_eq!(waiting.now_or_never(), Some(Ok(())));
    }
}
