//! A token bucket: at most `burst` attempts at once, and `limit` a `refresh_period` in the long run.
//!
//! Resilience4j's `limitForPeriod`, `limitRefreshPeriod` and `timeoutDuration`, refilled without steps as tower and Envoy do
//! it. An attempt takes a token. If there is none it reserves the next one, so that attempts go on in the order in which
//! they came, and waits for it; if that would take longer than `max_wait` it is turned down with RESOURCE_EXHAUSTED and
//! leaves the bucket as it was.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{Admission, Policy, PolicyConfig, PolicyContext, Rejection};
use crate::{
    scenario::keys::{limits, table},
    status::Code,
    time::Instant,
    world::SharedWorld,
};

table! {
    /// `[client.rate_limit]`: attempts per time.
    RateLimit {
        /// Attempts a period.
        limit: usize = 50, limits::MAX_IN_FLIGHT;
        /// How long a period is.
        refresh_period: Duration = Duration::from_secs(1), limits::DURATION;
        /// Attempts at once after a rest; as many as a period has if it is left out.
        burst: Option<usize> = None, limits::MAX_IN_FLIGHT;
        /// For a token.
        max_wait: Duration = Duration::from_secs(5), limits::WAIT;
    }
}

const LIMITED: Rejection = Rejection { code: Code::ResourceExhausted, cause: "rate limited" };

impl PolicyConfig for RateLimit {
    type Policy = Limiter;

    fn build(&self, context: &PolicyContext<'_>) -> Option<Limiter> {
        Some(Limiter { world: context.world.clone(), bucket: Mutex::new(Bucket::new(self)) })
    }
}

pub(crate) struct Limiter {
    world: SharedWorld,
    bucket: Mutex<Bucket>,
}

impl Policy for Limiter {
    fn admit(&self, now: Instant, until: Instant) -> Admission<'_> {
        let turn = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).reserve(now, until);
        match turn {
            None => Admission::Rejected(LIMITED),
            Some(at) if at <= now => Admission::Granted,
            Some(at) => Admission::Waits(Box::pin(async move {
                self.world.sleep_until(at).await;
                Ok(())
            })),
        }
    }
}

/// In units of a nanosecond's refill divided by `limit`, so that a token is a whole number of them, and nothing is rounded.
struct Bucket {
    /// When the bucket was, or will be, empty; less `capacity` it is full.
    empty_at: u128,
    /// What refills in a nanosecond.
    per_nano: u128,
    token: u128,
    capacity: u128,
    max_wait: u128,
}

impl Bucket {
    fn new(settings: &RateLimit) -> Self {
        let (per_nano, token) = (settings.limit as u128, settings.refresh_period.as_nanos());
        let capacity = settings.burst.unwrap_or(settings.limit) as u128 * token;
        #[cfg(feature = "canaries")]
        let capacity = if crate::bug::is(crate::bug::Bug::WideBucket) { capacity + token } else { capacity };
        Self { empty_at: 0, per_nano, token, capacity, max_wait: settings.max_wait.as_nanos() * per_nano }
    }

    /// Takes a token; from when on it may be used. `None` if that is too late.
    fn reserve(&mut self, now: Instant, until: Instant) -> Option<Instant> {
        // A time is shifted by the capacity, so that a bucket that is full at the start needs no negative ones.
        let clock = u128::from(now.as_nanos()) * self.per_nano + self.capacity;
        // No fuller than full.
        let empty_at = self.empty_at.max(clock - self.capacity);
        let after = empty_at + self.token;
        let wait = after.saturating_sub(clock);
        // Dividing takes long.
        let nanos = if wait == 0 { 0 } else { u64::try_from(wait.div_ceil(self.per_nano)).ok()? };
        let at = Instant::from_nanos(now.as_nanos().saturating_add(nanos));
        if wait > self.max_wait || at > until {
            return None;
        }
        self.empty_at = after;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bucket(limit: usize, burst: Option<usize>, max_wait_ms: u64) -> Bucket {
        let max_wait = Duration::from_millis(max_wait_ms);
        Bucket::new(&RateLimit { limit, refresh_period: Duration::from_secs(1), burst, max_wait })
    }

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    #[test]
    fn a_rested_bucket_lets_its_burst_pass_and_then_a_token_at_a_time() {
        let mut bucket = bucket(10, Some(3), 0);
        for _ in 0..3 {
            assert_eq!(bucket.reserve(at(1_000), Instant::NEVER), Some(at(1_000)));
        }
        assert_eq!(bucket.reserve(at(1_000), Instant::NEVER), None);
        assert_eq!(bucket.reserve(at(1_099), Instant::NEVER), None);
        assert_eq!(bucket.reserve(at(1_100), Instant::NEVER), Some(at(1_100)));
        assert_eq!(bucket.reserve(at(1_100), Instant::NEVER), None);
    }

    #[test]
    fn who_waits_is_served_in_order_and_who_would_wait_too_long_takes_nothing() {
        let mut bucket = bucket(10, Some(1), 250);
        let turns: Vec<_> = (0..4).map(|_| bucket.reserve(at(0), Instant::NEVER)).collect();
        assert_eq!(turns, [Some(at(0)), Some(at(100)), Some(at(200)), None]);
        assert_eq!(bucket.reserve(at(50), Instant::NEVER), Some(at(300)));
        assert_eq!(bucket.reserve(at(290), at(350)), None, "the deadline would pass first");
    }

    proptest! {
        /// A sliding window of any length holds the burst and what refills in it, and no more.
        #[test]
        fn no_window_holds_more_than_the_burst_and_the_refill(
            limit in 1..50_usize, burst in 1..20_usize, gaps in proptest::collection::vec(0..200_u64, 1..200),
        ) {
            let mut bucket = bucket(limit, Some(burst), 1_000);
            let mut now = 0;
            let turns: Vec<u64> = gaps.into_iter().filter_map(|gap| {
                now += gap;
                bucket.reserve(at(now), Instant::NEVER).map(Instant::as_nanos)
            }).collect();
            for (first, start) in turns.iter().enumerate() {
                for (last, end) in turns.iter().enumerate().skip(first) {
                    let refilled = u128::from(end - start) * limit as u128 / 1_000_000_000;
                    prop_assert!((last - first + 1) as u128 <= burst as u128 + refilled + 1);
                }
            }
        }
    }
}
