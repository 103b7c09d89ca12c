//! Bugs planted on purpose, to see that the invariants find them and that what breaks one can be shrunk. Only in builds
//! with the feature `canaries`.

use std::sync::OnceLock;

use clap::ValueEnum;

/// A bug of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bug {
    /// A call makes an attempt more than its policy allows.
    AttemptTooMany,
    /// Backoffs are half as long as they are to be.
    ShortBackoff,
    /// An attempt heeds its own timeout, and not the call's deadline.
    ForgottenDeadline,
    /// An open breaker of a server does not take it out of the balancer's sight.
    LeakyBreaker,
    /// The bulkhead has a slot too many.
    WideBulkhead,
    /// Whoever was unhealthy once is believed to be so for ever.
    Grudge,
    /// Failovers are not counted.
    UncountedFailover,
    /// What a retry came to is lost on its way to the caller.
    WrongAnswer,
}

static PLANTED: OnceLock<Bug> = OnceLock::new();

/// Plants it, for all runs of this process.
///
/// # Panics
/// There is one.
pub fn plant(bug: Bug) {
    PLANTED.set(bug).expect("one bug a process");
}

/// Whether it is planted.
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(&bug)
}
