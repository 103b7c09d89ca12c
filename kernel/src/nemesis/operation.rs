//! Operations: the interface between the nemesis and the world that carries out its faults.

use std::time::Duration;

use crate::{
    link::{LinkShape, Selection},
    server::{Injection, Tuning, settings::Caller},
    world::BoxFuture,
};

/// An operation on one server, which its index names.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Kills the process (SIGKILL).
    Crash(usize),
    /// Asks the process to finish the calls under way and to end (SIGTERM), and kills it after this time. Complete when it has ended.
    Drain(usize, Duration),
    /// Starts the process again. Complete when the server listens.
    Start(usize),
    /// Stops the process (SIGSTOP).
    Freeze(usize),
    /// Continues the process (SIGCONT).
    Resume(usize),
    /// Gives the links of a caller to the server, or to the [`STORE`](crate::fault::STORE), this shape, in place of the one before.
    Shape(usize, Caller, LinkShape),
    /// Resets the open connections of a caller to the server, or to the store, that the fault of this number applies to.
    Reset(usize, Caller, u64, Selection),
    /// Makes the server inject these faults, in place of the ones before.
    Inject(usize, Injection),
    /// Gives the server these settings, in place of the ones before: its process, if it has one, and those that are started later.
    Tune(usize, Tuning),
}

/// The effect of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The operation was carried out.
    Applied,
    /// Nothing happened, because the process was not running.
    ServerIsDown,
}

/// The error of a world that could not carry out an operation. The run has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation:?} failed: {reason}", operation = .operation)]
pub struct OperationFailed {
    /// Name of the operation.
    pub operation: String,
    /// Reason of the failure.
    pub reason: String,
}

/// The operations of a world.
pub trait Operations: Send + Sync {
    /// Carries out `operation` as soon as it is possible. The first poll decides on the effect: operations on a server have
    /// the effects of the order in which they are polled first, however long each takes.
    ///
    /// # Errors
    ///
    /// Returns [`OperationFailed`] if the world cannot do it. A server that is down is no error but an [`Effect`].
    fn apply(&self, operation: Operation) -> BoxFuture<'_, Result<Effect, OperationFailed>>;
}
