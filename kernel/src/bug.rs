//! Bugs planted on purpose, to check that the invariants find them and that a failing scenario can be minimised. They exist
//! only in builds with the feature `canaries`; `planted!` marks their places in the code.
//!
//! A bug may be rare: it shows only while everything holds that it [needs](Need), at its place in the code. Searches for failures are compared by
//! how many runs they take to find rare bugs.

mod need;

use std::sync::OnceLock;

use clap::ValueEnum;

/// A bug of the client, a policy, a server, the load generator or the fault injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bug {
    /// A call makes one attempt more than its policy allows.
    AttemptTooMany,
    /// Backoffs are half as long as configured.
    ShortBackoff,
    /// An attempt uses its own timeout and ignores the call's deadline.
    ForgottenDeadline,
    /// An open breaker of a server does not exclude the server from balancing.
    LeakyBreaker,
    /// The bulkhead has one slot too many.
    WideBulkhead,
    /// An open breaker becomes half-open after half of its time.
    HastyBreaker,
    /// A half-open breaker permits one call too many.
    ManyProbes,
    /// The bucket of the rate limit holds one token too many.
    WideBucket,
    /// Retry throttling never throttles.
    DeafThrottle,
    /// The retry budget permits one retry too many.
    LargeBudget,
    /// A hedge is sent after half of its delay.
    EarlyHedge,
    /// Cached responses are fresh for twice as long as configured.
    OldAnswers,
    /// A server is ejected even if too many servers are.
    ManyEjections,
    /// An ejected server is available again at the next sweep.
    ShortEjection,
    /// The balancer ignores ejections.
    BlindBalancer,
    /// One call more than allowed is in flight.
    CallTooMany,
    /// Faults end after half of their duration.
    ShortFault,
    /// A link that is cut still passes bytes to the server.
    LeakyCut,
    /// A call with a failover names another server than the one that answered.
    WrongServer,
    /// A worker records a finished request twice.
    TwiceDone,
    /// A server that was unhealthy once stays unhealthy for ever.
    Grudge,
    /// Failovers are not counted.
    UncountedFailover,
    /// The output of a retry is lost on its way to the caller.
    WrongAnswer,
}

pub use need::Need;
pub(crate) use need::observe;

static PLANTED: OnceLock<(Bug, Vec<Need>)> = OnceLock::new();

/// Plants `bug`, for all runs of this process. It shows only while all that it `needs` holds.
///
/// # Panics
///
/// Panics if a bug is planted already.
pub fn plant(bug: Bug, needs: Vec<Need>) {
    PLANTED.set((bug, needs)).expect("one bug a process");
}

/// Returns true if `bug` is planted in this process, and all that it needs holds in the run of this thread.
pub(crate) fn is_planted(bug: Bug) -> bool {
    PLANTED.get().is_some_and(|(planted, needs)| *planted == bug && needs.iter().all(|need| need.holds()))
}
