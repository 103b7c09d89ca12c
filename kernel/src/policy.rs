//! The resilience policies of the client that a scenario switches on, a file each: its TOML table, its state machine with
//! the transitions written down, its tests.
//!
//! A policy that is not in the scenario does not exist at run time. One that is has a say at the seams of a call that
//! [`Policy`] lists; the order in which policies are asked is that of `each_policy!`, which is also the one place where a new
//! one is entered:
//!
//! ```text
//! Fallback(Cache(Retry(CircuitBreaker(RateLimit(Timeout(Bulkhead(attempt)))))))
//! ```
//!
//! Machines know no connection and no message: they see servers by index, status codes, and the time they are told. What
//! they decide is an event in the record.

use std::{convert::Infallible, sync::Arc, time::Duration};

use crate::{
    entropy::Entropy,
    record::{Event, EventBuilder, Recorder},
    scenario,
    status::Code,
    time::Instant,
    world::{BoxFuture, SharedWorld},
};

mod bulkhead;
mod cache;
mod chain;
mod circuit_breaker;
mod fallback;
mod hedging;
mod outlier_detection;
mod pushback;
mod rate_limit;
mod retry_budget;
mod retry_throttling;
mod servers;
mod slow_start;

pub use bulkhead::Bulkhead;
pub use cache::Cache;
pub use circuit_breaker::{CircuitBreaker, Scope};
pub use fallback::{Fallback, FallbackKind};
pub use hedging::Hedging;
pub use outlier_detection::{FailurePercentage, OutlierDetection, SuccessRate};
pub use pushback::Pushback;
pub use rate_limit::RateLimit;
pub use retry_budget::RetryBudget;
pub use retry_throttling::RetryThrottling;
pub use slow_start::SlowStart;

pub(crate) use cache::{Answers, Lookup};
pub(crate) use chain::{Chain, Draw, Extra, Pass};
pub(crate) use circuit_breaker::OPEN;
pub(crate) use hedging::{Hedges, Verdict};
pub(crate) use pushback::PUSHBACK;
pub(crate) use servers::Servers;

/// Every policy with a table of its own in `[client]`, in the order in which they are asked. `$do!` is given its own words
/// first.
macro_rules! each_policy {
    ($do:ident $($word:tt)*) => {
        $do! {
            $($word)*
            fallback: Fallback,
            cache: Cache,
            retry_throttling: RetryThrottling,
            retry_budget: RetryBudget,
            hedging: Hedging,
            circuit_breaker: CircuitBreaker,
            rate_limit: RateLimit,
            bulkhead: Bulkhead,
            outlier_detection: OutlierDetection,
            slow_start: SlowStart,
        }
    };
}

pub(crate) use each_policy;

macro_rules! policies {
    ($($key:ident: $table:ident,)*) => {
        /// The policies of `[client]` that are off unless their table is in the file.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Policies {
            $(
                #[doc = concat!("`[client.", stringify!($key), "]`")]
                pub $key: Option<$table>,
            )*
        }

        impl Policies {
            /// The state machines of those that have one.
            fn machines(&self, kit: &Kit<'_>) -> Machines {
                Machines { $( $key: self.$key.as_ref().and_then(|settings| settings.machine(kit)), )* }
            }

            pub(crate) fn write(&self, page: &mut crate::scenario::keys::Page) {
                $(
                    if let Some(settings) = &self.$key {
                        crate::scenario::keys::KeyTable::write(settings, page, concat!("client.", stringify!($key)));
                    }
                )*
            }
        }

        /// The state machines of the policies that are on. Each has a field of its own type: what a policy has no say in
        /// costs nothing, and what it has is beside that of the others. Between two calls other work has had the
        /// processor's caches, and each jump and pointer is one more wait for memory.
        struct Machines {
            $( $key: Option<<$table as Machine>::Policy>, )*
        }

        /// The place of a policy in the order.
        #[expect(non_camel_case_types, reason = "they are the keys")]
        #[derive(Clone, Copy)]
        enum Place {
            $( $key, )*
        }
    };
}

each_policy!(policies);

/// What a policy's table says, made into a state machine.
pub(crate) trait Machine {
    /// [`Infallible`], which there is none of, if it acts around calls instead of at the seams of an attempt, as a cache does.
    type Policy: Policy;

    fn machine(&self, kit: &Kit<'_>) -> Option<Self::Policy> {
        let _ = kit;
        None
    }
}

impl Policy for Infallible {}

/// What machines are built from.
pub(crate) struct Kit<'a> {
    pub(crate) world: &'a SharedWorld,
    pub(crate) entropy: Entropy,
    pub(crate) recorder: &'a Recorder,
    pub(crate) servers: Arc<[String]>,
    pub(crate) client: &'a scenario::Client,
}

/// The seams at which a policy has a say. Each has a default that lets everything pass.
pub(crate) trait Policy {
    /// Whether the attempt's timeout runs while it is admitted: whether the policy is inside of the timeout.
    const IS_WITHIN_TIMEOUT: bool = false;

    /// A call begins.
    fn called(&self, now: Instant) {
        let _ = now;
    }

    /// Whether a call may make another attempt, by retry or by hedge. For each that it lets pass,
    /// [`extra_ended`](Self::extra_ended) follows exactly once.
    fn allows_extra(&self, now: Instant) -> Result<(), Rejection> {
        let _ = now;
        Ok(())
    }

    /// The other attempt is over, or was not made.
    fn extra_ended(&self) {}

    /// Whether an attempt may be made at all; it may have to wait for that, at most until `until`. For each attempt that
    /// it lets pass, [`ended`](Self::ended) follows exactly once.
    fn admit(&self, now: Instant, until: Instant) -> Admission<'_> {
        let _ = (now, until);
        Admission::Granted
    }

    /// Servers that must not be asked.
    fn blocked(&self, now: Instant) -> Servers {
        let _ = now;
        Servers::NONE
    }

    /// Servers that are to be asked only if nobody else is left.
    fn ejected(&self) -> Servers {
        Servers::NONE
    }

    /// Which servers are good to ask, now that one is about to be picked.
    fn sees(&self, candidates: Servers, now: Instant) {
        let _ = (candidates, now);
    }

    /// Servers that are to get less traffic than one in full service does.
    fn light(&self, now: Instant) -> Servers {
        let _ = now;
        Servers::NONE
    }

    /// The share of that traffic that `server` is to get, over 0 and up to 1.
    fn weighs(&self, server: usize, now: Instant) -> f64 {
        let _ = (server, now);
        1.0
    }

    /// `server` is what the balancer has picked for an attempt that was admitted.
    fn picked(&self, server: usize, now: Instant) {
        let _ = (server, now);
    }

    /// An attempt that was admitted is over.
    fn ended(&self, end: &End) {
        let _ = end;
    }
}

/// What becomes of an attempt before it has a server.
pub(crate) enum Admission<'a> {
    Granted,
    Refused(Rejection),
    /// It is not known yet.
    Waits(BoxFuture<'a, Result<(), Rejection>>),
}

/// Why a policy of the client's own turned something down. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Rejection {
    /// What the caller is told.
    pub code: Code,
    /// The policy, in a few words.
    pub cause: &'static str,
}

/// The end of an attempt that was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Whom it was sent to; `None` if another policy turned it down first.
    pub(crate) server: Option<usize>,
    /// When the first policy was asked.
    pub(crate) admitted: Instant,
    pub(crate) now: Instant,
    /// Since it was sent.
    pub(crate) took: Duration,
    pub(crate) ending: Ending,
}

impl End {
    /// When it was sent.
    fn sent(&self) -> Instant {
        self.now - self.took
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It came to this, be it an answer or a failure to get one.
    Status(Code, Option<Pushback>),
    /// Nobody waited for it any longer, or it was not sent.
    Abandoned,
}

/// An event about `server`, or about the service as a whole.
fn about<'a>(recorder: &'a Recorder, event: Event, server: Option<&str>) -> EventBuilder<'a> {
    let draft = recorder.event(event);
    match server {
        Some(server) => draft.target(server),
        None => draft,
    }
}
