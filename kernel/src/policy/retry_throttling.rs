//! gRPC A6's retry throttling: no more retries and hedges while failures outweigh successes.
//!
//! A count of tokens starts at `max_tokens` and stays between 0 and that. An attempt that fails with a retryable status, or whose
//! server asks not to retry, takes a token; one that succeeds adds `token_ratio`. While no more than half of `max_tokens` is
//! left, neither retries nor hedges are made, and the caller gets the failure. Tokens are counted in thousandths, the precision
//! that A6 asks for.
//!
//! If the settings change, the tokens stay as many as they are, or as many as there may then be. They are no share of `max_tokens`: a
//! higher maximum may stop retries until enough attempts have succeeded.

use std::sync::Mutex;

use super::{AttemptEnd, Ending, Policy, PolicyConfig, PolicyContext, Pushback, Rejection};
use crate::{
    client::settings::Client,
    planted::planted,
    settings::{limits, table_macro::table},
    status::Code,
    sync::lock,
    time::Instant,
};

table! {
    /// `[client.retry_throttling]`: gRPC A6's token count.
    RetryThrottling {
        /// Tokens at the start, and at most.
        max_tokens: f64 = 10.0, limits::TOKENS, &["0.001", "1.0", "10.0"];
        /// Tokens that a success adds.
        token_ratio: f64 = 0.1, limits::TOKEN_RATIO, &["0.001", "0.1", "5.0"];
    }
}

const THROTTLED: Rejection = Rejection { code: Code::Unavailable, cause: "retry throttled" };

impl PolicyConfig for RetryThrottling {
    type Policy = Throttle;

    fn build(&self, context: &PolicyContext<'_>) -> Option<Throttle> {
        Some(Throttle { state: Mutex::new(State { tokens: Tokens::new(self), counted: counted(context.client) }) })
    }

    fn change(&self, policy: &Throttle, client: &Client, _: Instant) {
        let mut state = lock(&policy.state);
        let next = Tokens::new(self);
        state.tokens = Tokens { count: state.tokens.count.min(next.max), ..next };
        state.counted = counted(client);
    }
}

/// Returns the statuses that take a token: those that lead to another attempt, by hedge if the client hedges, or else by retry.
fn counted(client: &Client) -> Vec<Code> {
    let codes = client.policies.hedging.as_ref().map(|hedging| &hedging.non_fatal_status_codes);
    codes.unwrap_or(&client.retry.retryable_status_codes).clone()
}

/// The state of retry throttling.
pub(crate) struct Throttle {
    state: Mutex<State>,
}

struct State {
    tokens: Tokens,
    /// The statuses that take a token.
    counted: Vec<Code>,
}

impl Policy for Throttle {
    fn on_attempt_end(&self, end: &AttemptEnd) {
        let Ending::Status(code, pushback) = end.ending else { return };
        let state = &mut *lock(&self.state);
        if code == Code::Ok {
            state.tokens.on_success();
        } else if state.counted.contains(&code) || pushback == Some(Pushback::Never) {
            state.tokens.on_failure();
        }
    }

    fn permit_retry(&self, _: Instant) -> Result<(), Rejection> {
        if lock(&self.state).tokens.allow_retry() { Ok(()) } else { Err(THROTTLED) }
    }
}

/// The tokens, in thousandths.
#[derive(Debug, Clone, Copy)]
struct Tokens {
    count: u64,
    max: u64,
    ratio: u64,
}

impl Tokens {
    fn new(settings: &RetryThrottling) -> Self {
        let max = thousandths(settings.max_tokens);
        Self { count: max, max, ratio: thousandths(settings.token_ratio) }
    }

    /// Takes a token, or what is left of it.
    fn on_failure(&mut self) {
        self.count = self.count.saturating_sub(1_000);
    }

    fn on_success(&mut self) {
        self.count = (self.count + self.ratio).min(self.max);
    }

    fn allow_retry(self) -> bool {
        planted!(Bug::DeafThrottle) || 2 * self.count > self.max
    }
}

fn thousandths(tokens: f64) -> u64 {
    (tokens * 1_000.0).round() as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// A6's example: "when the client's ratio of failures to successes exceeds ~10 %".
    #[test]
    fn the_example_of_the_specification_throttles_after_five_failures_and_needs_ten_successes_per_failure() {
        let mut tokens = Tokens::new(&RetryThrottling::default());
        for failures in 0..5 {
            assert!(tokens.allow_retry(), "after {failures}");
            tokens.on_failure();
        }
        assert!(!tokens.allow_retry(), "5 of 10 are the threshold, which has to be exceeded");
        tokens.on_success();
        assert!(tokens.allow_retry(), "5.1 do");
        tokens.on_failure();
        (0..9).for_each(|_| tokens.on_success());
        assert!(!tokens.allow_retry(), "a failure outweighs nine successes");
        tokens.on_success();
        assert!(tokens.allow_retry());
    }

    proptest! {
        #[test]
        fn tokens_stay_between_nothing_and_their_maximum(
            max in 0.001..1_000.0, ratio in 0.001..10.0, outcomes in proptest::collection::vec(any::<bool>(), 0..200),
        ) {
            let mut tokens = Tokens::new(&RetryThrottling { max_tokens: max, token_ratio: ratio });
            let full = tokens.count;
            for succeeded in outcomes {
                if succeeded { tokens.on_success() } else { tokens.on_failure() }
                prop_assert!(tokens.count <= full);
            }
        }
    }

    #[test]
    fn a_failure_takes_a_token_if_its_status_counts_or_if_the_server_wants_no_retry() {
        let taken = |code, pushback| {
            let settings = RetryThrottling::default();
            let throttle = Throttle {
                state: Mutex::new(State { tokens: Tokens::new(&settings), counted: vec![Code::Unavailable] }),
            };
            let [entered, now] = [Instant::START; 2];
            let ending = Ending::Status(code, pushback);
            throttle.on_attempt_end(&AttemptEnd { server: Some(0), entered, now, took: Duration::ZERO, ending });
            let tokens = lock(&throttle.state).tokens;
            tokens.max - tokens.count
        };
        assert_eq!([None, Some(Pushback::Never)].map(|pushback| taken(Code::Unavailable, pushback)), [1_000; 2]);
        assert_eq!([None, Some(Pushback::Never)].map(|pushback| taken(Code::NotFound, pushback)), [0, 1_000]);
        assert_eq!(taken(Code::NotFound, Some(Pushback::After(Duration::from_secs(1)))), 0);
    }
}
