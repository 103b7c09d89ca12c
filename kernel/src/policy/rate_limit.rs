//! A token bucket: at most `burst` attempts at once, and `limit` attempts per `refresh_period` in the long run.
//!
//! An attempt takes a token. If there is none, it reserves the next one, so that attempts are served in order of arrival, and
//! waits for it. If that would take longer than `max_wait`, it is rejected with RESOURCE_EXHAUSTED and leaves the bucket
//! unchanged.
//!
//! The settings are Resilience4j's `limitForPeriod`, `limitRefreshPeriod` and `timeoutDuration`. The algorithm is not: the peers
//! differ in when permits come back.
//!
//! | limiter | permits come back | most in any period |
//! | --- | --- | --- |
//! | here, Envoy's local rate limit (`AtomicTokenBucket`), Go's `x/time/rate` | one by one, `refresh_period / limit` apart | `burst + limit` |
//! | Resilience4j's `AtomicRateLimiter` | all at once, at each multiple of the period | `2 limit` |
//! | tower's `RateLimit` | all at once, when a period has passed since the first call of the last one | `2 limit` |
//!
//! In the long run each lets the same number pass. One that gives a period's permits out at once sends them as a burst at the
//! start of the period; here the burst comes after a rest only, and then attempts are spread evenly.
//!
//! If the settings change, the tokens stay as many as they are, or as many as the bucket then holds, and reserved ones are used at the
//! times for which they were reserved. From then on they refill at the new rate.

use std::{sync::Mutex, time::Duration};

use super::{Admission, Policy, PolicyConfig, PolicyContext, Rejection};
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
    /// `[client.rate_limit]`: a token bucket for attempts, with Resilience4j's settings.
    RateLimit {
        /// Attempts in a period.
        limit: usize = 50, limits::MAX_IN_FLIGHT, &["1", "5", "50"];
        /// Length of a period.
        refresh_period: Duration = Duration::from_secs(1), limits::DURATION, samples::TIMES;
        /// Attempts at once after a rest; without it, as many as a period has.
        burst: Option<usize> = None, limits::MAX_IN_FLIGHT, &["1", "2", "100"];
        /// Time that an attempt waits for a token.
        max_wait: Duration = Duration::from_secs(5), limits::WAIT, samples::WAITS;
    }
}

const RATE_LIMITED: Rejection = Rejection { code: Code::ResourceExhausted, cause: "rate limited" };

impl PolicyConfig for RateLimit {
    type Policy = Limiter;

    fn build(&self, context: &PolicyContext<'_>) -> Option<Limiter> {
        Some(Limiter { world: context.world.clone(), bucket: Mutex::new(Bucket::new(self)) })
    }

    fn change(&self, policy: &Limiter, _: &Client, now: Instant) {
        let mut bucket = lock(&policy.bucket);
        *bucket = bucket.changed(self, now);
    }
}

/// The state of the rate limit.
pub(crate) struct Limiter {
    world: SharedWorld,
    bucket: Mutex<Bucket>,
}

impl Policy for Limiter {
    fn admit(&self, now: Instant, until: Instant) -> Admission<'_> {
        let reserved = lock(&self.bucket).reserve(now, until);
        match reserved {
            None => Admission::Rejected(RATE_LIMITED),
            Some(at) if at <= now => Admission::Granted,
            Some(at) => Admission::Waits(Box::pin(async move {
                self.world.sleep_until(at).await;
                Ok(())
            })),
        }
    }
}

/// The token bucket, as a clock (a generic cell rate algorithm).
///
/// Its unit of time is a nanosecond divided by `limit`, so that the time in which a token refills is a whole number of units,
/// and nothing is rounded.
struct Bucket {
    /// The time at which the bucket was, or will be, empty. `capacity` later it is full.
    empty_at: u128,
    /// Number of units in a nanosecond.
    per_nano: u128,
    /// The time in which a token refills.
    token: u128,
    /// The time in which the whole bucket refills.
    capacity: u128,
    max_wait: u128,
}

impl Bucket {
    fn new(settings: &RateLimit) -> Self {
        let per_nano = settings.limit as u128;
        let token = settings.refresh_period.as_nanos();
        let burst = settings.burst.unwrap_or(settings.limit) as u128;
        let burst = planted!(Bug::WideBucket, burst + 1, else burst);
        let capacity = burst * token;
        Self { empty_at: 0, per_nano, token, capacity, max_wait: settings.max_wait.as_nanos() * per_nano }
    }

    /// Returns the bucket that has these settings from `now` on, and as many tokens.
    fn changed(&self, settings: &RateLimit, now: Instant) -> Self {
        let mut next = Self::new(settings);
        let clock = u128::from(now.as_nanos()) * self.per_nano + self.capacity;
        let missing = self.empty_at.max(clock - self.capacity) + self.capacity - clock;
        let tokens = (self.capacity as f64 - missing as f64) / self.token as f64;
        let missing = (next.capacity as f64 - tokens * next.token as f64).max(0.0);
        let clock = u128::from(now.as_nanos()) * next.per_nano + next.capacity;
        next.empty_at = clock - next.capacity + missing.round() as u128;
        next
    }

    /// Reserves a token and returns when it can be used. Returns `None`, and reserves none, if that is after `until` or takes longer
    /// than the maximum wait.
    fn reserve(&mut self, now: Instant, until: Instant) -> Option<Instant> {
        // Times are shifted by the capacity, so that a bucket that is full at the start needs no negative time.
        let clock = u128::from(now.as_nanos()) * self.per_nano + self.capacity;
        // A bucket that has been full for a while holds no more than its capacity.
        let empty_at = self.empty_at.max(clock - self.capacity);
        let after = empty_at + self.token;
        let wait = after.saturating_sub(clock);
        // The usual case avoids the division, which is slow for 128 bits.
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
    fn a_full_bucket_admits_its_burst_and_then_one_attempt_per_token() {
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
    fn attempts_wait_in_order_and_one_that_would_wait_too_long_reserves_nothing() {
        let mut bucket = bucket(10, Some(1), 250);
        let turns: Vec<_> = (0..4).map(|_| bucket.reserve(at(0), Instant::NEVER)).collect();
        assert_eq!(turns, [Some(at(0)), Some(at(100)), Some(at(200)), None]);
        assert_eq!(bucket.reserve(at(50), Instant::NEVER), Some(at(300)));
        assert_eq!(bucket.reserve(at(290), at(350)), None, "the deadline would pass first");
        assert_eq!(bucket.reserve(at(290), at(400)), Some(at(400)), "it does not pass before");
    }

    proptest! {
        /// A sliding window of any length admits at most the burst and the tokens that refill in it.
        #[test]
        fn no_window_admits_more_than_the_burst_and_the_refill(
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
