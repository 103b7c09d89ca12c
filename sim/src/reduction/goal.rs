//! The failure that a reduction keeps.

use std::{fmt, sync::atomic::AtomicU64};

use kernel::{invariant::Invariant, measure::Checked, scenario::Expectation};

use crate::{Plan, SimulationError, run};

/// How a run fails.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// It does not come to its end.
    Stopped(Stop),
    /// It breaks this invariant, wherever.
    Invariant(Invariant),
    /// It fails this expectation, on this side.
    Expectation(Expectation, Side),
}

/// What ends a run that does not come to its end. Each is a bug of this program, unless it is asked for too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Nothing is left to happen.
    Standstill,
    /// A limit.
    Limit,
    /// A panic, or what a host's software or the nemesis could not do.
    Failure,
}

impl Stop {
    /// `None` if it is the user who asks for what cannot be.
    fn of(error: &SimulationError) -> Option<Self> {
        match error {
            SimulationError::Standstill { .. } => Some(Self::Standstill),
            SimulationError::Limit { .. } => Some(Self::Limit),
            SimulationError::Failed(_) => Some(Self::Failure),
            SimulationError::Pictures(_) | SimulationError::NotCalibrated { .. } => None,
        }
    }
}

/// What is wrong with a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Less than its `min`.
    Low,
    /// More than its `max`.
    High,
    /// There is none.
    Missing,
}

impl Side {
    fn of(checked: &Checked) -> Option<Self> {
        match checked.actual {
            _ if checked.pass => None,
            None => Some(Self::Missing),
            Some(actual) if checked.min.is_some_and(|min| actual < min) => Some(Self::Low),
            Some(_) => Some(Self::High),
        }
    }
}

impl Goal {
    /// The first failure of what comes of `plan`: an invariant before an expectation. `None` if it passes.
    ///
    /// # Errors
    /// It cannot be played, for a reason that is none of this program's.
    pub fn of(plan: &Plan) -> Result<Option<Self>, SimulationError> {
        let played = match run(plan, &AtomicU64::new(0)) {
            Ok(played) => played,
            Err(error) => return Stop::of(&error).map(|stop| Some(Self::Stopped(stop))).ok_or(error),
        };
        if let Some(broken) = played.violations(plan).first() {
            return Ok(Some(Self::Invariant(broken.invariant)));
        }
        let summary = played.summary(plan);
        let mut checked = summary.expectations.iter().zip(&plan.scenario.expectations);
        Ok(checked.find_map(|(checked, expected)| Some(Self::Expectation(expected.clone(), Side::of(checked)?))))
    }

    /// Whether that is for this project to mend, whatever the scenario.
    pub fn is_a_bug(&self) -> bool {
        !matches!(self, Self::Expectation(..))
    }

    /// What a scenario has to expect to fail so.
    pub fn expectation(&self) -> Option<Expectation> {
        match self {
            Self::Stopped(_) | Self::Invariant(_) => None,
            Self::Expectation(expectation, _) => Some(expectation.clone()),
        }
    }

    /// The same, of this expectation.
    pub(super) fn expecting(self, expectation: Option<&Expectation>) -> Self {
        match (self, expectation) {
            (Self::Expectation(_, side), Some(expectation)) => Self::Expectation(expectation.clone(), side),
            (goal, _) => goal,
        }
    }

    /// Whether `plan`, which expects nothing else, fails so.
    pub fn is_met_by(&self, plan: &Plan) -> bool {
        let played = match run(plan, &AtomicU64::new(0)) {
            Ok(played) => played,
            Err(error) => return Stop::of(&error).is_some_and(|stop| *self == Self::Stopped(stop)),
        };
        match self {
            Self::Stopped(_) => false,
            Self::Invariant(invariant) => played.violations(plan).iter().any(|broken| broken.invariant == *invariant),
            Self::Expectation(_, side) => {
                played.summary(plan).expectations.first().is_some_and(|checked| Side::of(checked) == Some(*side))
            }
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(Stop::Standstill) => f.write_str("the simulation comes to a standstill"),
            Self::Stopped(Stop::Limit) => f.write_str("the simulation hits a limit"),
            Self::Stopped(Stop::Failure) => f.write_str("the simulation fails"),
            Self::Invariant(invariant) => write!(f, "the invariant \"{invariant}\" is broken"),
            Self::Expectation(Expectation { metric, during, .. }, side) => {
                let wrong = match side {
                    Side::Low => "is below its min",
                    Side::High => "is over its max",
                    Side::Missing => "has no value",
                };
                let phase = during.map(|phase| format!(" during {phase}")).unwrap_or_default();
                write!(f, "{}{phase} {wrong}", metric.name())
            }
        }
    }
}
