//! A timeout of attempts that follows observed latencies: a percentile that says how many attempts may be cut off in vain, and a factor for
//! the room above it. So Brooker's "Timeouts, retries, and backoff with jitter" (Amazon Builders' Library) chooses timeouts, there by hand:
//! the rate of false timeouts, the percentile that goes with it, and padding where the percentiles lie close together.
//!
//! `attempt_timeout` of `[client]` is the timeout until there are `minimum_samples` in the window, and the longest one afterwards; see
//! `observed_time` for the states and the samples. The timeout is in whole milliseconds, so that the header `grpc-timeout` is the same from
//! attempt to attempt. An attempt keeps the timeout that it began with.

use std::time::Duration;

use super::{
    AttemptEnd, Policy, PolicyConfig, PolicyContext,
    observed_time::{ObservedTime, ObservedTimeSettings},
};
use crate::{
    client::settings::Client,
    settings::{
        limits,
        table_macro::{NOT_DRAWN, table},
    },
    time::Instant,
};

table! {
    /// `[client.adaptive_timeout]`: the timeout of an attempt follows the latencies of the attempts before it, up to `attempt_timeout`
    /// (Amazon Builders' Library).
    AdaptiveTimeout {
        /// Percentile of the latencies in the window that the timeout is derived from.
        percentile: f64 = 99.5, limits::PERCENT_SOME, &["50.0", "90.0", "99.5", "100.0"];
        /// Timeout in units of the percentile.
        factor: f64 = 2.0, limits::TIME_FACTOR, &["1.0", "1.2", "2.0", "10.0"];
        /// The shortest timeout; no longer than `attempt_timeout`, which is the longest.
        min: Duration = Duration::from_millis(10), limits::DURATION, NOT_DRAWN;
        /// Time whose attempts count, in tenths. The timeout changes when a tenth ends.
        window: Duration = Duration::from_secs(30), limits::DURATION, &["\"100ms\"", "\"1s\"", "\"10s\"", "\"30s\""];
        /// Attempts in the window before which the timeout is `attempt_timeout`.
        minimum_samples: usize = 100, limits::COUNT_SOME, &["1", "10", "100"];
    }
}

impl AdaptiveTimeout {
    fn observed_time(&self, client: &Client) -> ObservedTimeSettings {
        ObservedTimeSettings {
            percentile: self.percentile,
            minimum_samples: self.minimum_samples,
            factor: self.factor,
            min: self.min,
            max: client.attempt_timeout,
            fixed: client.attempt_timeout,
            unit: Duration::from_millis(1),
        }
    }
}

/// The timeout of attempts as the record has it.
pub(crate) const ATTEMPT_TIMEOUT: &str = "attempt timeout";

impl PolicyConfig for AdaptiveTimeout {
    type Policy = AttemptTimeout;

    fn build(&self, context: &PolicyContext<'_>) -> Option<AttemptTimeout> {
        let settings = self.observed_time(context.client);
        Some(AttemptTimeout(ObservedTime::new(context.recorder, ATTEMPT_TIMEOUT, self.window, settings)))
    }

    fn change(&self, policy: &AttemptTimeout, client: &Client, now: Instant) {
        policy.0.change(self.observed_time(client), now);
    }
}

/// The timeout with its state.
pub(crate) struct AttemptTimeout(ObservedTime);

impl Policy for AttemptTimeout {
    fn attempt_timeout(&self, now: Instant) -> Option<Duration> {
        Some(self.0.in_force(now))
    }

    fn on_attempt_end(&self, end: &AttemptEnd) {
        self.0.observe(end);
    }
}
