//! The decision to retry a failed call, and the backoff before the retry: gRPC A6.

use std::time::Duration;

use rand::Rng;

use crate::{
    client::settings::{Commit, Jitter, PastDeadline, Retry},
    entropy::unit,
    planted::planted,
    status::Code,
};

/// The retry policy of a client. It has no state, as its decisions depend on the call alone.
#[derive(Debug, Clone)]
pub(super) struct RetryPolicy {
    settings: Retry,
}

impl RetryPolicy {
    pub(super) fn new(settings: Retry) -> Self {
        Self { settings }
    }

    /// Returns true if another attempt may follow attempt number `attempts`, which failed with `code`.
    pub(super) fn allows(&self, attempts: u32, code: Code) -> bool {
        let max_attempts = self.settings.max_attempts;
        let max_attempts = planted!(Bug::AttemptTooMany, max_attempts + 1, else max_attempts);
        attempts < max_attempts && self.settings.retryable_status_codes.contains(&code)
    }

    /// Returns true if a retry goes to a server on which the call has not failed, while there is one.
    pub(super) fn prefers_other_server(&self) -> bool {
        self.settings.prefer_other_server
    }

    /// Returns true if an attempt that no server has seen is sent again.
    pub(super) fn is_transparent(&self) -> bool {
        self.settings.transparent
    }

    /// Returns true if the headers of a reply commit its call.
    pub(super) fn commits_at_headers(&self) -> bool {
        self.settings.commit == Commit::Headers
    }

    /// Returns true if a call whose next wait would outlast its deadline waits for the deadline.
    pub(super) fn waits_for_deadline(&self) -> bool {
        self.settings.past_deadline == PastDeadline::DeadlineExceeded
    }

    /// Draws the backoff after attempt number `attempts`, counted from 1: the initial backoff, times the multiplier for each
    /// attempt before it, limited to the maximum, then jittered.
    pub(super) fn backoff(&self, attempts: u32, rng: &mut impl Rng) -> Duration {
        let settings = &self.settings;
        // The exponent is limited, as a longer power is infinite or 0 anyway and has to fit into an i32.
        let factor = settings.backoff_multiplier.powi(attempts.saturating_sub(1).min(1_000) as i32);
        let raw = (settings.initial_backoff.as_secs_f64() * factor).min(settings.max_backoff.as_secs_f64());
        let raw = planted!(Bug::ShortBackoff, raw / 2.0, else raw);
        Duration::from_secs_f64(match settings.jitter {
            Jitter::None => raw,
            Jitter::Proportional => raw * (0.8 + 0.4 * unit(rng)),
            Jitter::Full => raw * unit(rng),
            Jitter::Equal => raw / 2.0 * (1.0 + unit(rng)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    fn policy(jitter: Jitter) -> RetryPolicy {
        RetryPolicy::new(Retry {
            max_attempts: 3,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            backoff_multiplier: 2.0,
            jitter,
            retryable_status_codes: vec![Code::Unavailable],
            ..Retry::default()
        })
    }

    #[test]
    fn max_attempts_counts_the_first_try() {
        let policy = policy(Jitter::None);
        assert!(policy.allows(1, Code::Unavailable));
        assert!(policy.allows(2, Code::Unavailable));
        assert!(!policy.allows(3, Code::Unavailable));
    }

    #[test]
    fn only_retryable_codes_are_tried_again() {
        assert!(!policy(Jitter::None).allows(1, Code::InvalidArgument));
    }

    #[test]
    fn backoff_doubles_up_to_its_maximum() {
        let mut rng = Entropy::new(1).stream("backoff");
        let policy = policy(Jitter::None);
        let millis: Vec<_> = (1..=8).map(|attempts| policy.backoff(attempts, &mut rng).as_millis()).collect();
        assert_eq!(millis, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    }

    #[test]
    fn each_jitter_stays_within_its_bounds_and_uses_them() {
        let mut rng = Entropy::new(1).stream("backoff");
        for (jitter, low, high) in [(Jitter::Proportional, 80, 120), (Jitter::Full, 0, 100), (Jitter::Equal, 50, 100)] {
            let policy = policy(jitter);
            let draws: Vec<_> = (0..1_000).map(|_| policy.backoff(1, &mut rng).as_micros()).collect();
            let least = *draws.iter().min().unwrap();
            let most = *draws.iter().max().unwrap();
            let width = (high - low) * 1_000;
            assert!(least >= low * 1_000 && most <= high * 1_000, "{jitter:?}: {least} to {most}");
            assert!(least < low * 1_000 + width / 20 && most > high * 1_000 - width / 20, "{jitter:?}");
        }
    }
}
