//! The names that scenario files use for the variants of the model's types.

use std::{fmt, str::FromStr};

use super::{
    model::{Arrivals, Balancing, Direction, FaultKind, Jitter, Metric, Phase, Workload},
    nearest::backticked,
};

/// A type whose every value has one name.
pub(crate) trait Named: Copy + PartialEq + 'static {
    /// Completes "is not …".
    const WHAT: &'static str;
    /// In the order in which they are listed to the user.
    const NAMES: &'static [(Self, &'static str)];

    fn to_name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(value, _)| *value == self)
            .map(|(_, name)| *name)
            .expect("every value is in its table")
    }

    fn from_name(text: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, name)| *name == text).map(|(value, _)| *value)
    }
}

/// A text that names nothing of the kind wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}; it is one of {allowed}")]
pub struct UnknownName {
    text: String,
    what: &'static str,
    allowed: String,
}

/// A fault kind without its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultName {
    Crash,
    Freeze,
    Delay,
    Partition,
    Loss,
    Bandwidth,
    Reset,
    Errors,
    Slow,
}

impl Named for FaultName {
    const WHAT: &'static str = "a fault kind";
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Crash, "crash"),
        (Self::Freeze, "freeze"),
        (Self::Delay, "delay"),
        (Self::Partition, "partition"),
        (Self::Loss, "loss"),
        (Self::Bandwidth, "bandwidth"),
        (Self::Reset, "reset"),
        (Self::Errors, "errors"),
        (Self::Slow, "slow"),
    ];
}

impl FaultName {
    /// Whether it befalls the link to its target rather than the target's process.
    pub(super) fn is_of_the_link(self) -> bool {
        !matches!(self, Self::Crash | Self::Freeze | Self::Errors | Self::Slow)
    }
}

impl From<&FaultKind> for FaultName {
    fn from(kind: &FaultKind) -> Self {
        match kind {
            FaultKind::Crash { .. } => Self::Crash,
            FaultKind::Freeze { .. } => Self::Freeze,
            FaultKind::Delay { .. } => Self::Delay,
            FaultKind::Partition { .. } => Self::Partition,
            FaultKind::Loss { .. } => Self::Loss,
            FaultKind::Bandwidth { .. } => Self::Bandwidth,
            FaultKind::Reset => Self::Reset,
            FaultKind::Errors { .. } => Self::Errors,
            FaultKind::Slow { .. } => Self::Slow,
        }
    }
}

/// A workload kind without its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkloadName {
    Sobel,
    Dfs,
    Backend,
}

impl Named for WorkloadName {
    const WHAT: &'static str = "a workload kind";
    const NAMES: &'static [(Self, &'static str)] =
        &[(Self::Sobel, "sobel"), (Self::Dfs, "dfs"), (Self::Backend, "backend")];
}

impl From<&Workload> for WorkloadName {
    fn from(workload: &Workload) -> Self {
        match workload {
            Workload::Sobel(_) => Self::Sobel,
            Workload::Dfs(_) => Self::Dfs,
            Workload::Backend(_) => Self::Backend,
        }
    }
}

impl Named for Arrivals {
    const WHAT: &'static str = "an arrival process";
    const NAMES: &'static [(Self, &'static str)] = &[(Self::Constant, "constant"), (Self::Poisson, "poisson")];
}

/// A load balancing policy without its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BalancingName {
    PickFirst,
    RoundRobin,
    Random,
    LeastRequest,
    PeakEwma,
}

impl Named for BalancingName {
    const WHAT: &'static str = "a load balancing policy";
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::PickFirst, "pick_first"),
        (Self::RoundRobin, "round_robin"),
        (Self::Random, "random"),
        (Self::LeastRequest, "least_request"),
        (Self::PeakEwma, "peak_ewma"),
    ];
}

impl From<&Balancing> for BalancingName {
    fn from(balancing: &Balancing) -> Self {
        match balancing {
            Balancing::PickFirst => Self::PickFirst,
            Balancing::RoundRobin => Self::RoundRobin,
            Balancing::Random => Self::Random,
            Balancing::LeastRequest { .. } => Self::LeastRequest,
            Balancing::PeakEwma { .. } => Self::PeakEwma,
        }
    }
}

impl Named for Jitter {
    const WHAT: &'static str = "a kind of jitter";
    const NAMES: &'static [(Self, &'static str)] =
        &[(Self::None, "none"), (Self::Proportional, "proportional"), (Self::Full, "full"), (Self::Equal, "equal")];
}

impl Named for Direction {
    const WHAT: &'static str = "a direction";
    const NAMES: &'static [(Self, &'static str)] = &[(Self::Both, "both"), (Self::To, "to"), (Self::From, "from")];
}

macro_rules! named {
    ($($type:ty),+) => {$(
        impl $type {
            /// As scenario files write it.
            pub fn name(self) -> &'static str {
                self.to_name()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::from_name(text).ok_or_else(|| UnknownName {
                    text: text.to_owned(),
                    what: Self::WHAT,
                    allowed: listed::<Self>(),
                })
            }
        }
    )+};
}

named!(Arrivals, Direction, Jitter, Metric);

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before => f.pad("before"),
            Self::Fault(index) => f.pad(&format!("fault-{index}")),
            Self::After => f.pad("after"),
        }
    }
}

impl FromStr for Phase {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = text.strip_prefix("fault-").and_then(|number| number.parse().ok()).map(Self::Fault);
        // The comparison turns down other spellings of the number, such as `fault-01`.
        [Some(Self::Before), Some(Self::After), fault].into_iter().flatten().find(|p| p.to_string() == text).ok_or_else(
            || UnknownName {
                text: text.to_owned(),
                what: "a phase",
                allowed: "`before`, `after`, `fault-0`, `fault-1`, …".into(),
            },
        )
    }
}

/// Every name of `T`, for a message.
pub(super) fn listed<T: Named>() -> String {
    backticked(&T::NAMES.iter().map(|(_, name)| *name).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_read_back_as_they_are_written() {
        for phase in [Phase::Before, Phase::Fault(0), Phase::Fault(12), Phase::After] {
            assert_eq!(phase.to_string().parse(), Ok(phase));
        }
        for text in ["fault-", "fault-01", "fault-+1", "fault--1", "during", ""] {
            assert!(text.parse::<Phase>().is_err(), "{text}");
        }
    }
}
