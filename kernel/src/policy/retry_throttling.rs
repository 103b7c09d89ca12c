//! gRPC A6's retry throttling: no more retries and hedges while failures outweigh successes.
//!
//! A count of tokens starts at `max_tokens` and stays between 0 and that. An attempt that fails with a status worth another
//! attempt, or whose server asks not to retry, takes one; one that succeeds adds `token_ratio`. While no more than half of
//! `max_tokens` is left, neither retries nor hedges are made: the failure is the caller's. Tokens are kept in thousandths,
//! the precision that A6 asks for.

use std::sync::{Mutex, PoisonError};

use super::{AttemptEnd, Ending, Policy, PolicyConfig, PolicyContext, Pushback, Rejection};
use crate::{
    scenario::keys::{limits, table},
    status::Code,
    time::Instant,
};

table! {
    /// `[client.retry_throttling]`: gRPC A6's token count.
    RetryThrottling {
        /// At the start, and at most.
        max_tokens: f64 = 10.0, limits::TOKENS;
        /// What a success adds.
        token_ratio: f64 = 0.1, limits::TOKEN_RATIO;
    }
}

const THROTTLED: Rejection = Rejection { code: Code::Unavailable, cause: "retry throttled" };

impl PolicyConfig for RetryThrottling {
    type Policy = Throttle;

    fn build(&self, context: &PolicyContext<'_>) -> Option<Throttle> {
        let client = context.client;
        let codes = client.policies.hedging.as_ref().map(|hedging| &hedging.non_fatal_status_codes);
        let counted = codes.unwrap_or(&client.retry.retryable_status_codes).clone();
        Some(Throttle { tokens: Mutex::new(Tokens::new(self)), counted })
    }
}

pub(crate) struct Throttle {
    tokens: Mutex<Tokens>,
    /// The statuses that are failures.
    counted: Vec<Code>,
}

impl Policy for Throttle {
    fn on_attempt_end(&self, end: &AttemptEnd) {
        let Ending::Status(code, pushback) = end.ending else { return };
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if code == Code::Ok {
            tokens.succeeded();
        } else if self.counted.contains(&code) || pushback == Some(Pushback::Never) {
            tokens.failed();
        }
    }

    fn permit_retry(&self, _: Instant) -> Result<(), Rejection> {
        let allowed = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).allow();
        if allowed { Ok(()) } else { Err(THROTTLED) }
    }
}

/// In thousandths.
#[derive(Debug, Clone, Copy)]
struct Tokens {
    count: u64,
    max: u64,
    ratio: u64,
}

impl Tokens {
    fn new(settings: &RetryThrottling) -> Self {
        let thousandths = |tokens: f64| (tokens * 1_000.0).round() as u64;
        let max = thousandths(settings.max_tokens);
        Self { count: max, max, ratio: thousandths(settings.token_ratio) }
    }

    fn failed(&mut self) {
        self.count = self.count.saturating_sub(1_000);
    }

    fn succeeded(&mut self) {
        self.count = (self.count + self.ratio).min(self.max);
    }

    fn allow(self) -> bool {
        #[cfg(feature = "canaries")]
        if crate::bug::is(crate::bug::Bug::DeafThrottle) {
            return true;
        }
        2 * self.count > self.max
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A6's example: "when the client's ratio of failures to successes exceeds ~10 %".
    #[test]
    fn the_specifications_example_throttles_after_five_failures_and_needs_ten_successes_a_failure() {
        let mut tokens = Tokens::new(&RetryThrottling::default());
        for failures in 0..5 {
            assert!(tokens.allow(), "after {failures}");
            tokens.failed();
        }
        assert!(!tokens.allow(), "5 of 10 are the threshold, which has to be exceeded");
        tokens.succeeded();
        assert!(tokens.allow(), "5.1 do");
        tokens.failed();
        (0..9).for_each(|_| tokens.succeeded());
        assert!(!tokens.allow(), "a failure outweighs nine successes");
        tokens.succeeded();
        assert!(tokens.allow());
    }

    proptest! {
        #[test]
        fn tokens_stay_between_nothing_and_their_maximum(
            max in 0.001..1_000.0, ratio in 0.001..10.0, outcomes in proptest::collection::vec(any::<bool>(), 0..200),
        ) {
            let mut tokens = Tokens::new(&RetryThrottling { max_tokens: max, token_ratio: ratio });
            let full = tokens.count;
            for succeeded in outcomes {
                if succeeded { tokens.succeeded() } else { tokens.failed() }
                prop_assert!(tokens.count <= full);
            }
        }
    }
}
