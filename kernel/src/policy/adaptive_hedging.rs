//! A delay of hedges that follows observed latencies: "defer sending a secondary request until the first request has been outstanding for
//! more than the 95th-percentile expected latency" (Dean and Barroso, "The Tail at Scale", 2013), which adds about 5 % of load. Finagle's
//! `BackupRequestFilter` does so by a percentile of a window, and by a shortest delay.
//!
//! `hedging_delay` of `[client.hedging]` is the delay until there are `minimum_samples` in the window; see `observed_time` for the states and
//! the samples. A call keeps the delay that it began with.

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
    /// `[client.adaptive_hedging]`: the delay between two attempts of `[client.hedging]` follows the latencies of the attempts before them
    /// ("The Tail at Scale", Finagle).
    AdaptiveHedging {
        /// Percentile of the latencies in the window after which another attempt is sent.
        percentile: f64 = 95.0, limits::PERCENT_SOME, &["50.0", "95.0", "99.0", "100.0"];
        /// The shortest delay; less than `deadline`.
        min: Duration = Duration::from_millis(1), limits::WAIT, NOT_DRAWN;
        /// Time whose attempts count, in tenths. The delay changes when a tenth ends.
        window: Duration = Duration::from_secs(30), limits::DURATION, &["\"100ms\"", "\"1s\"", "\"10s\"", "\"30s\""];
        /// Attempts in the window before which the delay is `hedging_delay`.
        minimum_samples: usize = 100, limits::COUNT_SOME, &["1", "10", "100"];
    }
}

impl AdaptiveHedging {
    fn observed_time(&self, client: &Client) -> ObservedTimeSettings {
        let fixed = client.policies.hedging.as_ref().map_or(Duration::ZERO, |hedging| hedging.hedging_delay);
        ObservedTimeSettings {
            percentile: self.percentile,
            minimum_samples: self.minimum_samples,
            factor: 1.0,
            min: self.min,
            max: Duration::MAX,
            fixed,
            unit: Duration::from_micros(1),
        }
    }
}

/// The delay of hedges as the record has it.
pub(crate) const HEDGING_DELAY: &str = "hedging delay";

impl PolicyConfig for AdaptiveHedging {
    type Policy = HedgingDelay;

    fn build(&self, context: &PolicyContext<'_>) -> Option<HedgingDelay> {
        let settings = self.observed_time(context.client);
        Some(HedgingDelay(ObservedTime::new(context.recorder, HEDGING_DELAY, self.window, settings)))
    }

    fn change(&self, policy: &HedgingDelay, client: &Client, now: Instant) {
        policy.0.change(self.observed_time(client), now);
    }
}

/// The delay with its state.
pub(crate) struct HedgingDelay(ObservedTime);

impl Policy for HedgingDelay {
    fn hedging_delay(&self, now: Instant) -> Option<Duration> {
        Some(self.0.in_force(now))
    }

    fn on_attempt_end(&self, end: &AttemptEnd) {
        self.0.observe(end);
    }
}
