//! Exit codes, and failures that end a command early.

use std::process::ExitCode;

use crate::measure::Verdict;

/// The end of a command, with its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every expectation holds.
    Passed = 0,
    /// An expectation does not hold, or no request succeeded.
    Failed = 1,
    /// The command line, the scenario or the place for the run folder is wrong.
    WrongInput = 2,
    /// The command could not be completed, such as a run that was interrupted, or its result cannot be trusted, such as
    /// that of a run whose faults were late.
    RunFailed = 3,
    /// An invariant is violated: a bug of this project, not of the scenario.
    InvariantViolated = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Verdict> for Exit {
    /// Returns the exit code of a run with this verdict.
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Broken => Self::InvariantViolated,
            Verdict::Interrupted | Verdict::Untrusted => Self::RunFailed,
            Verdict::Fail => Self::Failed,
            Verdict::NoExpectations | Verdict::Pass => Self::Passed,
        }
    }
}

/// The reason why a command ended without a report.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The message: what was wrong, and what would be right.
    pub message: String,
}

impl Failure {
    /// Creates the failure of a command that asks for something impossible.
    pub fn wrong_input(error: impl ToString) -> Self {
        Self { exit: Exit::WrongInput, message: error.to_string() }
    }

    /// Creates the failure of a command that asks for something possible, which could not be completed.
    pub fn run_failed(error: impl ToString) -> Self {
        Self { exit: Exit::RunFailed, message: error.to_string() }
    }
}
