//! Why an attempt did not succeed, and what follows from it.

use crate::{
    client::failure::{Cause, Failure},
    policy::{Pushback, Rejection},
    status::Code,
};

/// The reason why an attempt did not succeed.
pub(in crate::client) enum AttemptError {
    /// A policy rejected it, and it was not sent.
    Rejected(Rejection),
    /// There was no server to send it to.
    NotPicked(Rejection),
    /// It was sent to `server` and failed.
    Failed { failure: Failure, server: usize },
    /// The wait before the next attempt would outlast the deadline, which has passed now.
    DeadlinePassed,
}

impl AttemptError {
    pub(in crate::client) fn code(&self) -> Code {
        match self {
            Self::Rejected(rejection) | Self::NotPicked(rejection) => rejection.code,
            Self::DeadlinePassed => Code::DeadlineExceeded,
            Self::Failed { failure, .. } => failure.code,
        }
    }

    /// Returns what went wrong, for people.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Rejected(rejection) | Self::NotPicked(rejection) => rejection.cause.to_owned(),
            Self::DeadlinePassed => Cause::CallDeadline.to_string(),
            Self::Failed { failure, .. } => failure.cause.to_string(),
        }
    }

    /// Returns the server's request about the next attempt, if it makes one.
    pub(in crate::client) fn pushback(&self) -> Option<Pushback> {
        match self {
            Self::Failed { failure, .. } => failure.pushback,
            _ => None,
        }
    }

    /// Returns whether no attempt may follow, whatever the retry policy says. A rejection by a policy ends the call: another
    /// attempt would only add to the load that the policy limits.
    pub(in crate::client) fn is_final(&self) -> bool {
        match self {
            Self::Rejected(_) | Self::DeadlinePassed => true,
            Self::NotPicked(_) => false,
            Self::Failed { failure, .. } => {
                failure.cause == Cause::Cancelled || failure.pushback == Some(Pushback::Never)
            }
        }
    }

    /// Returns the server that answered with this error, if one did.
    pub(super) fn answered_by(&self) -> Option<usize> {
        match self {
            Self::Failed { failure, server } if failure.is_answer() => Some(*server),
            _ => None,
        }
    }
}
