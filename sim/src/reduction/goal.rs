//! The failure that a reduction keeps.

use std::{fmt, sync::atomic::AtomicU64};

use kernel::{
    cli::Exit,
    invariant::Invariant,
    measure::{CheckedExpectation, Verdict},
    scenario::Expectation,
};

use crate::{CompletedRun, Limit, Plan, SimulationError, run};

/// The way in which a run fails.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// The run does not come to its end.
    Stopped(Stop),
    /// The run violates this invariant, at whatever place.
    Invariant(Invariant),
    /// Timers are later than the scenario allows, so that its expectations cannot be judged.
    Untrusted,
    /// A result is wrong, which no expectation allows.
    WrongResult,
    /// The run fails this expectation, in this way.
    Expectation(Expectation, Deviation),
}

/// The reason why a run does not come to its end. Each but [`Size`](Self::Size) is a bug of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// No timer is set, but the load has not ended.
    Standstill,
    /// A limit was exceeded that no scenario should come near to.
    Limit,
    /// A limit was exceeded because of the size of the scenario or the speed of this machine.
    Size,
    /// A panic, or an error of a host's software or of a fault operation.
    Failure,
}

impl Stop {
    /// Returns the reason behind `error`, or `None` if the input or the code of an app is wrong.
    fn from_error(error: &SimulationError) -> Option<Self> {
        match error {
            SimulationError::Standstill { .. } => Some(Self::Standstill),
            SimulationError::Limit(stopped) => Some(match stopped.limit {
                Limit::VirtualTime(_) | Limit::Steps(_) => Self::Limit,
                Limit::Events(_) | Limit::Timers(_) | Limit::RealTime(_) | Limit::Interruption => Self::Size,
            }),
            SimulationError::Failed(_) => Some(Self::Failure),
            SimulationError::Pictures(_)
            | SimulationError::NotCalibrated { .. }
            | SimulationError::App(_)
            | SimulationError::UnknownTime { .. }
            | SimulationError::Service(_)
            | SimulationError::Load(_)
            | SimulationError::Misuse(_) => None,
        }
    }
}

/// The way in which a metric fails its expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deviation {
    /// The value is below `min`.
    Low,
    /// The value is above `max`.
    High,
    /// The metric has no value.
    Missing,
}

impl Deviation {
    /// Returns how an expectation fails, or `None` if it passes.
    fn from_checked(checked: &CheckedExpectation) -> Option<Self> {
        match checked.actual {
            _ if checked.pass => None,
            None => Some(Self::Missing),
            Some(actual) if checked.min.is_some_and(|min| actual < min) => Some(Self::Low),
            Some(_) => Some(Self::High),
        }
    }
}

impl Goal {
    /// Runs `plan` and returns its first failure: a violated invariant, then lateness if something is expected, then a wrong
    /// result, then a failed expectation. Returns `None` if the run passes.
    ///
    /// # Errors
    ///
    /// Returns an error if the input is wrong: the workload's pictures cannot be read, or the calibration does not have the
    /// workload.
    pub fn find(plan: &Plan) -> Result<Option<Self>, SimulationError> {
        Self::find_and_run(plan).map(|(goal, _)| goal)
    }

    /// Does the same, and returns the run, too, if it came to its end.
    ///
    /// # Errors
    ///
    /// Returns an error if the input is wrong, as [`find`](Self::find) does.
    pub fn find_and_run(plan: &Plan) -> Result<(Option<Self>, Option<CompletedRun>), SimulationError> {
        match run(plan, &AtomicU64::new(0)) {
            Ok(completed) => Ok((Self::of_completed(&completed, plan), Some(completed))),
            Err(error) => Ok((Some(Self::Stopped(Stop::from_error(&error).ok_or(error)?)), None)),
        }
    }

    /// Returns the first failure of a run that came to its end.
    fn of_completed(completed: &CompletedRun, plan: &Plan) -> Option<Self> {
        if let Some(broken) = completed.violations(plan).first() {
            return Some(Self::Invariant(broken.invariant));
        }
        let summary = completed.summary(plan);
        // Invariants hold however late timers are.
        if !summary.trusted && !summary.expectations.is_empty() {
            return Some(Self::Untrusted);
        }
        if summary.has_wrong_results() {
            return Some(Self::WrongResult);
        }
        let mut checked = summary.expectations.iter().zip(&plan.scenario.expectations);
        checked.find_map(|(checked, expected)| {
            Some(Self::Expectation(expected.clone(), Deviation::from_checked(checked)?))
        })
    }

    /// Returns the exit code of a search that finds this failure.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Stopped(Stop::Size) => Verdict::Interrupted.into(),
            Self::Stopped(_) | Self::Invariant(_) => Exit::InvariantViolated,
            Self::Untrusted => Verdict::Untrusted.into(),
            Self::WrongResult | Self::Expectation(..) => Verdict::Fail.into(),
        }
    }

    /// Returns true if this failure is a bug of this program, whatever the scenario.
    pub fn is_a_bug(&self) -> bool {
        !matches!(self, Self::WrongResult | Self::Expectation(..) | Self::Untrusted | Self::Stopped(Stop::Size))
    }

    /// Returns the expectation that a scenario needs to fail in this way, if it needs one.
    pub fn expectation(&self) -> Option<Expectation> {
        match self {
            Self::Stopped(_) | Self::Invariant(_) | Self::Untrusted | Self::WrongResult => None,
            Self::Expectation(expectation, _) => Some(expectation.clone()),
        }
    }

    /// Replaces the expectation that fails by `expectation`.
    pub(super) fn expecting(self, expectation: Option<&Expectation>) -> Self {
        match (self, expectation) {
            (Self::Expectation(_, deviation), Some(expectation)) => Self::Expectation(expectation.clone(), deviation),
            (goal, _) => goal,
        }
    }

    /// Runs `plan`, which has no other expectation, and returns true if it fails in this way.
    pub fn is_met_by(&self, plan: &Plan) -> bool {
        let completed = match run(plan, &AtomicU64::new(0)) {
            Ok(completed) => completed,
            Err(error) => return Stop::from_error(&error).is_some_and(|stop| *self == Self::Stopped(stop)),
        };
        match self {
            Self::Stopped(_) => false,
            Self::Invariant(invariant) => {
                completed.violations(plan).iter().any(|broken| broken.invariant == *invariant)
            }
            Self::Untrusted => !completed.summary(plan).trusted,
            Self::WrongResult => completed.summary(plan).has_wrong_results(),
            Self::Expectation(_, deviation) => {
                let summary = completed.summary(plan);
                let checked = summary.expectations.first().filter(|_| summary.trusted);
                checked.is_some_and(|checked| Deviation::from_checked(checked) == Some(*deviation))
            }
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(Stop::Standstill) => f.write_str("the simulation comes to a standstill"),
            Self::Stopped(Stop::Limit) => f.write_str("the simulation hits a limit"),
            Self::Stopped(Stop::Size) => f.write_str("the scenario is too large for a simulation"),
            Self::Stopped(Stop::Failure) => f.write_str("the simulation fails"),
            Self::Invariant(invariant) => write!(f, "the invariant \"{invariant}\" is broken"),
            Self::Untrusted => f.write_str("the calibration's timers are later than [run] max_lateness allows"),
            Self::WrongResult => f.write_str("a result is wrong"),
            Self::Expectation(Expectation { metric, during, .. }, deviation) => {
                let wrong = match deviation {
                    Deviation::Low => "is below its min",
                    Deviation::High => "is over its max",
                    Deviation::Missing => "has no value",
                };
                let phase = during.map(|phase| format!(" during {phase}")).unwrap_or_default();
                write!(f, "{}{phase} {wrong}", metric.name())
            }
        }
    }
}
