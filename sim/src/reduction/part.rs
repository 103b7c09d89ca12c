//! The parts of a scenario that a reduction can be asked to keep.

use std::str::FromStr;

use super::step::{Number, Step};

/// A part of a scenario that a reduction changes unless it is asked to keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The load: its rate and its users.
    Load,
    /// How long the run lasts.
    Duration,
    /// The servers.
    Replicas,
    /// The faults and their targets.
    Faults,
    /// When faults begin and how long they last.
    Times,
    /// The settings: their changes, and their values, which are reset only if the failure is a bug of this program.
    Settings,
}

/// The names of the parts.
const NAMES: [(&str, Part); 6] = [
    ("load", Part::Load),
    ("duration", Part::Duration),
    ("replicas", Part::Replicas),
    ("faults", Part::Faults),
    ("times", Part::Times),
    ("settings", Part::Settings),
];

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, part)| *part)
            .ok_or_else(|| format!("a part is one of {}", NAMES.map(|(name, _)| name).join(", ")))
    }
}

impl Step {
    /// Returns the part of a scenario that the step changes.
    pub fn part(&self) -> Part {
        match self {
            Self::WithoutFaults(_) | Self::WithoutTarget { .. } | Self::Plain(..) => Part::Faults,
            Self::WithoutServer(_) => Part::Replicas,
            Self::Lower(Number::Rate | Number::Users, _) => Part::Load,
            Self::Lower(Number::Duration, _) => Part::Duration,
            Self::Lower(Number::Lasts(_) | Number::At(_), _) => Part::Times,
            Self::WithoutChange(_) | Self::Reset(_) | Self::ResetAll(_) => Part::Settings,
        }
    }
}
