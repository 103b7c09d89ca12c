//! The failure that a reduction keeps.

use std::{fmt, sync::atomic::AtomicU64};

use kernel::{invariant::Invariant, measure::Checked, scenario::Expectation};

use crate::{Plan, Played, play};

/// How a run fails.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// It breaks this invariant, wherever.
    Invariant(Invariant),
    /// It fails this expectation, on this side.
    Expectation(Expectation, Side),
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
    /// The first failure of what came of `plan`: an invariant before an expectation. `None` if it passes.
    pub fn of(plan: &Plan, played: &Played) -> Option<Self> {
        if let Some(broken) = played.broken(plan).first() {
            return Some(Self::Invariant(broken.invariant));
        }
        let summary = played.summary(plan);
        let mut checked = summary.expectations.iter().zip(&plan.scenario.expectations);
        checked.find_map(|(checked, expected)| Some(Self::Expectation(expected.clone(), Side::of(checked)?)))
    }

    /// What a scenario has to expect to fail so.
    pub fn expectation(&self) -> Option<Expectation> {
        match self {
            Self::Invariant(_) => None,
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

    /// Whether `plan`, which expects nothing else, fails so. One that cannot be played does not.
    pub fn is_met_by(&self, plan: &Plan) -> bool {
        let Ok(played) = play(plan, &AtomicU64::new(0)) else { return false };
        match self {
            Self::Invariant(invariant) => played.broken(plan).iter().any(|broken| broken.invariant == *invariant),
            Self::Expectation(_, side) => {
                played.summary(plan).expectations.first().is_some_and(|checked| Side::of(checked) == Some(*side))
            }
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
