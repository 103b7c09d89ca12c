//! The resilience policies of the client, which a scenario switches on. Each is a file with its TOML table, its state machine
//! with the transitions written down, and its tests.
//!
//! A policy that is not in the scenario does not exist at run time. One that is takes part in a call at the hooks that
//! [`Policy`] lists. `each_policy!` enters every policy, in the order in which they are asked:
//!
//! ```text
//! Fallback(Cache(Retry(CircuitBreaker(AdaptiveThrottling(RateLimit(Timeout(Bulkhead(AdaptiveConcurrency(attempt)))))))))
//! ```
//!
//! A policy knows no connection, no message and no clock: it sees servers by index, status codes, and the time that it is
//! given. Its decisions are events in the record.

use std::{sync::Arc, time::Duration};

use crate::{
    client::settings::Client,
    entropy::Entropy,
    record::{Event, EventBuilder, Recorder},
    settings::{
        problem::Problems,
        table::{Settings, TableReader},
        toml_writer::TomlWriter,
    },
    status::Code,
    time::Instant,
    world::{BoxFuture, SharedWorld},
};

mod adaptive_concurrency;
mod adaptive_hedging;
mod adaptive_throttling;
mod adaptive_timeout;
mod bulkhead;
mod cache;
mod chain;
mod changes;
mod circuit_breaker;
mod fallback;
mod hedging;
mod observed_latency;
mod observed_time;
mod outlier_detection;
mod pushback;
mod rate_limit;
mod retry_budget;
mod retry_throttling;
mod servers;
mod slow_start;

pub use adaptive_concurrency::{AdaptiveConcurrency, LimitAlgorithm};
pub use adaptive_hedging::AdaptiveHedging;
pub use adaptive_throttling::AdaptiveThrottling;
pub use adaptive_timeout::AdaptiveTimeout;
pub use bulkhead::Bulkhead;
pub use cache::Cache;
pub use circuit_breaker::{CircuitBreaker, Scope};
pub use fallback::{Fallback, FallbackKind};
pub use hedging::Hedging;
pub(crate) use outlier_detection::Detection;
pub use outlier_detection::{AllEjected, FailurePercentage, OutlierDetection, SuccessRate};
pub use pushback::Pushback;
pub use rate_limit::RateLimit;
pub use retry_budget::{Deposit, RetryBudget};
pub use retry_throttling::RetryThrottling;
pub use slow_start::SlowStart;

pub(crate) use adaptive_concurrency::CONCURRENCY_LIMITED;
pub(crate) use adaptive_hedging::HEDGING_DELAY;
pub(crate) use adaptive_throttling::ADAPTIVELY_THROTTLED;
pub(crate) use adaptive_timeout::ATTEMPT_TIMEOUT;
pub(crate) use cache::{Answers, CacheKey, Freshness, Lookup};
pub(crate) use chain::{AttemptPermit, Chain, Draw, RetryPermit};
pub(crate) use changes::Changes;
pub(crate) use circuit_breaker::CIRCUIT_OPEN;
pub(crate) use hedging::{Hedges, Verdict};
pub(crate) use pushback::PUSHBACK;
pub(crate) use servers::Servers;

/// Expands `$callback!` once, with every policy as `key: Table,` in the order in which they are asked. Tokens after the
/// callback's name come first.
macro_rules! each_policy {
    ($callback:ident $($argument:tt)*) => {
        $callback! {
            $($argument)*
            fallback: Fallback,
            cache: Cache,
            retry_throttling: RetryThrottling,
            retry_budget: RetryBudget,
            hedging: Hedging,
            adaptive_hedging: AdaptiveHedging,
            circuit_breaker: CircuitBreaker,
            adaptive_throttling: AdaptiveThrottling,
            rate_limit: RateLimit,
            adaptive_timeout: AdaptiveTimeout,
            bulkhead: Bulkhead,
            adaptive_concurrency: AdaptiveConcurrency,
            outlier_detection: OutlierDetection,
            slow_start: SlowStart,
        }
    };
}

pub(crate) use each_policy;

macro_rules! policies {
    ($($key:ident: $table:ident,)*) => {
        /// The policies of `[client]`, each off unless its table is in the file.
        ///
        /// ```
        /// use std::time::Duration;
        /// use kernel::{policy::Bulkhead, scenario::Scenario};
        ///
        /// let mut scenario = Scenario::load("../scenarios/baseline.toml".as_ref(), &[])?;
        /// scenario.client.policies.bulkhead = Some(Bulkhead { max_concurrent_calls: 3, max_wait: Duration::ZERO });
        /// assert!(scenario.to_toml().contains("[client.bulkhead]"));
        /// # Ok::<(), kernel::scenario::ScenarioError>(())
        /// ```
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Policies {
            $(
                #[doc = concat!("The table `[client.", stringify!($key), "]`.")]
                pub $key: Option<$table>,
            )*
        }

        impl Policies {
            /// Builds the policies that are on, except those that act around attempts.
            fn build(&self, context: &PolicyContext<'_>) -> ActivePolicies {
                ActivePolicies { $( $key: self.$key.as_ref().and_then(|settings| settings.build(context)), )* }
            }

            /// Reads the tables in `[client]`.
            pub(crate) fn read(client: &TableReader<'_, '_>) -> Result<Self, Problems> {
                let mut problems = Problems::default();
                $( let $key = problems.keep(client.optional::<$table>(stringify!($key))); )*
                match ($($key,)*) {
                    ($(Some($key),)*) => Ok(Self { $($key,)* }),
                    _ => Err(problems),
                }
            }

            /// Writes the tables in `[client]`, which is at `path`.
            pub(crate) fn write(&self, toml: &mut TomlWriter, path: &str) {
                $( if let Some(settings) = &self.$key {
                    settings.write(toml, &format!("{path}.{}", stringify!($key)));
                } )*
            }
        }

        /// The policies that are on. Each has a field of its own type, so that hooks are called without dynamic dispatch, a
        /// hook that a policy does not override costs nothing, and the states lie side by side in memory: other work has
        /// replaced the processor's caches between two calls, and each pointer to follow is one more wait for memory.
        struct ActivePolicies {
            $( $key: Option<<$table as PolicyConfig>::Policy>, )*
        }

        impl ActivePolicies {
            /// Gives the policies that are on their present settings.
            fn change(&self, client: &Client, now: Instant) {
                $( if let (Some(policy), Some(settings)) = (&self.$key, &client.policies.$key) {
                    settings.change(policy, client, now);
                } )*
            }
        }

        /// Identifies a policy by its place in the order.
        #[expect(non_camel_case_types, reason = "they are the keys")]
        #[derive(Clone, Copy)]
        enum PolicyId {
            $( $key, )*
        }
    };
}

each_policy!(policies);

/// The settings of a policy, from which its state machine is built.
pub(crate) trait PolicyConfig {
    /// The state machine. It is [`AroundAttempts`] if the policy has no hooks in an attempt.
    type Policy: Policy;

    /// Builds the state machine, in its initial state.
    fn build(&self, context: &PolicyContext<'_>) -> Option<Self::Policy> {
        let _ = context;
        None
    }

    /// Gives `policy`, which has been built from other settings, these ones. It keeps its state: what it has admitted, counted or opened
    /// stays so, and its next decision is by these settings. `client` has the settings of the others.
    fn change(&self, policy: &Self::Policy, client: &Client, now: Instant) {
        let _ = (policy, client, now);
    }
}

/// The type of a policy that acts around a call's attempts instead of at the hooks of [`Policy`]: the call itself consults a
/// cache, a fallback or a hedging policy.
///
/// It has no value, so the compiler removes the hooks of such a policy.
pub(crate) enum AroundAttempts {}

impl Policy for AroundAttempts {}

/// The parts of a client that a policy can use to build its state machine.
pub(crate) struct PolicyContext<'a> {
    pub(crate) world: &'a SharedWorld,
    pub(crate) entropy: Entropy,
    pub(crate) recorder: &'a Recorder,
    /// The servers' names, by index.
    pub(crate) servers: Arc<[String]>,
    pub(crate) client: &'a Client,
    /// To be notified when the policy lets a server be asked again.
    pub(crate) changes: &'a Changes,
}

/// The hooks of a policy in a call. The default of each lets everything pass.
pub(crate) trait Policy {
    /// Returns true if the attempt's timeout runs while this policy admits it.
    fn is_within_timeout(&self) -> bool {
        false
    }

    /// Notes that a call begins.
    fn on_call_start(&self, now: Instant) {
        let _ = now;
    }

    /// Permits another attempt of a call, by retry or by hedge, or rejects it. Each permit is followed by exactly one
    /// [`on_retry_end`](Self::on_retry_end).
    fn permit_retry(&self, now: Instant) -> Result<(), Rejection> {
        let _ = now;
        Ok(())
    }

    /// Notes that a permitted retry or hedge has ended, or was not made.
    fn on_retry_end(&self) {}

    /// Returns the timeout of an attempt that begins now, if this policy sets it.
    fn attempt_timeout(&self, now: Instant) -> Option<Duration> {
        let _ = now;
        None
    }

    /// Returns the delay between the attempts of a call that begins now, if this policy sets it.
    fn hedging_delay(&self, now: Instant) -> Option<Duration> {
        let _ = now;
        None
    }

    /// Admits an attempt, at once or after a wait that ends at `until` at the latest, or rejects it. Each admission is
    /// followed by exactly one [`on_attempt_end`](Self::on_attempt_end).
    fn admit(&self, now: Instant, until: Instant) -> Admission<'_> {
        let _ = (now, until);
        Admission::Granted
    }

    /// Returns the servers that must not be asked.
    fn blocked(&self, now: Instant) -> Servers {
        let _ = now;
        Servers::NONE
    }

    /// Returns the servers that are asked only if no other is left.
    fn ejected(&self) -> Servers {
        Servers::NONE
    }

    /// Notes that a server is about to be picked. `candidates` are the servers that can be asked.
    fn on_candidates(&self, candidates: Servers, now: Instant) {
        let _ = (candidates, now);
    }

    /// Returns the servers that get less traffic than one in full service.
    fn warming_up(&self, now: Instant) -> Servers {
        let _ = now;
        Servers::NONE
    }

    /// Returns the traffic of `server` as a share of what a server in full service gets, over 0 and up to 1.
    fn weight(&self, server: usize, now: Instant) -> f64 {
        let _ = (server, now);
        1.0
    }

    /// Notes that the balancer has picked `server` for an attempt that was admitted.
    fn on_pick(&self, server: usize, now: Instant) {
        let _ = (server, now);
    }

    /// Returns whether an attempt whose reply streams counts until the end of the reply. Otherwise its end is when it has the headers.
    fn lasts_to_end_of_stream(&self) -> bool {
        false
    }

    /// Notes that an attempt that was admitted has ended.
    fn on_attempt_end(&self, end: &AttemptEnd) {
        let _ = end;
    }
}

/// A policy's answer to an attempt that has no server yet.
pub(crate) enum Admission<'a> {
    Granted,
    Rejected(Rejection),
    /// The attempt has to wait for the answer.
    Waits(BoxFuture<'a, Result<(), Rejection>>),
}

/// The reason why a policy rejected an attempt, which was not sent then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Rejection {
    /// The status that the caller gets.
    pub code: Code,
    /// The policy and its reason, in a few words, as the record has them.
    pub cause: &'static str,
}

/// The end of an attempt that was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttemptEnd {
    /// The server that it was sent to; `None` if another policy rejected it first.
    pub(crate) server: Option<usize>,
    /// The time at which the first policy was asked.
    pub(crate) entered: Instant,
    /// The time at which it ended.
    pub(crate) now: Instant,
    /// The time since it was sent.
    pub(crate) took: Duration,
    pub(crate) ending: Ending,
}

impl AttemptEnd {
    /// Returns when it was sent.
    fn sent(&self) -> Instant {
        self.now - self.took
    }
}

/// The end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It ended with this status, which the server or the network gave it.
    Status(Code, Option<Pushback>),
    /// It was abandoned on its way, or was not sent.
    Abandoned,
}

/// Starts an event about `server`, or about the service as a whole.
fn about<'a>(recorder: &'a Recorder, event: Event, server: Option<&str>) -> EventBuilder<'a> {
    let draft = recorder.event(event);
    match server {
        Some(server) => draft.target(server),
        None => draft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_was_sent_as_long_before_its_end_as_it_took() {
        let at = |millis| Instant::START + Duration::from_millis(millis);
        let took = Duration::from_millis(20);
        let end = AttemptEnd { server: Some(0), entered: at(5), now: at(30), took, ending: Ending::Abandoned };
        assert_eq!(end.sent(), at(10));
    }
}
