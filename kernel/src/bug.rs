//! Bugs planted on purpose, to check that the invariants find them and that a failing scenario can be minimised. They exist
//! only in builds with the feature `canaries`; `planted!` marks their places in the code.

use std::sync::OnceLock;

use clap::ValueEnum;

/// A bug of the client, a policy, a server, the load generator or the fault injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bug {
    /// A call makes one attempt more than its policy allows.
    AttemptTooMany,
    /// Backoffs are half as long as they are to be.
    ShortBackoff,
    /// An attempt heeds its own timeout, and not the call's deadline.
    ForgottenDeadline,
    /// An open breaker of a server does not take it out of the balancer's sight.
    LeakyBreaker,
    /// The bulkhead has a slot too many.
    WideBulkhead,
    /// An open breaker is half open after half of its time.
    HastyBreaker,
    /// A half-open breaker lets a call too many pass.
    ManyProbes,
    /// The bucket of the rate limit holds a token too many.
    WideBucket,
    /// Retry throttling throttles nobody.
    DeafThrottle,
    /// The retry budget has a retry too many.
    LargeBudget,
    /// A hedge is sent after half of its delay.
    EarlyHedge,
    /// Cached answers are fresh for twice as long as they are to be.
    OldAnswers,
    /// A server is ejected however many are.
    ManyEjections,
    /// Ejected servers serve again at the next sweep.
    ShortEjection,
    /// The balancer does not see who is ejected.
    BlindBalancer,
    /// A call is sent although as many are in flight as may be.
    CallTooMany,
    /// Faults are lifted after half of their time.
    ShortFault,
    /// A link that is cut lets pass what is sent to the server.
    LeakyCut,
    /// A call that had a failover names another server than the one that answered.
    WrongServer,
    /// A worker records what it has done twice.
    TwiceDone,
    /// Whoever was unhealthy once is believed to be so for ever.
    Grudge,
    /// Failovers are not counted.
    UncountedFailover,
    /// What a retry came to is lost on its way to the caller.
    WrongAnswer,
}

static PLANTED: OnceLock<Bug> = OnceLock::new();

/// Plants `bug`, for all runs of this process.
///
/// # Panics
///
/// Panics if a bug is planted already.
pub fn plant(bug: Bug) {
    PLANTED.set(bug).expect("one bug a process");
}

/// Returns true if `bug` is planted in this process.
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(&bug)
}
