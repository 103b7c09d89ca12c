//! What holds of every run, whatever the scenario and the seed. A run of which something here does not hold has found a
//! bug of this project, not of the scenario.
//!
//! [`check`] reads the rows as both worlds record them. Real processes are stopped, started and woken some time after
//! they were to be, so that what depends on the instant is held against virtual time only; see [`Invariant::is_of_time`].
//! There a timer is as late as the calibration has it, and no later.
//!
//! | module | holds |
//! | --- | --- |
//! | `calls` | requests against the schedule, their attempts and the policies' limits |
//! | `told` | requests and attempts against the client's events |
//! | `servers` | what servers did, against what was done to them |
//! | `belief` | what the client believes of servers, against how they are |

mod belief;
mod calls;
mod servers;
mod told;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{record::Records, scenario::Scenario, time::Instant};

/// Times are rounded down to microseconds; a difference of two is off by one.
const ROUNDING_US: u64 = 1;

/// What always holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// Every intended request has one outcome.
    OneOutcome,
    /// Requests, attempts and events tell one story.
    OneStory,
    /// No attempt beyond the policy's limits.
    WithinLimits,
    /// Deadlines hold.
    InTime,
    /// Nothing is answered by a dead or frozen server.
    AnsweredByTheLiving,
    /// No server works on more at once than it has workers, nor for less time than it is to.
    Capacity,
    /// The client's view of health converges after the last fault.
    HealthConverges,
    /// Work in progress drains.
    Drains,
    /// The result of every OK is the kernel's.
    RightResult,
}

impl Invariant {
    /// Whether it is a matter of instants, which only virtual time keeps exactly.
    pub fn is_of_time(self) -> bool {
        matches!(self, Self::InTime | Self::AnsweredByTheLiving | Self::Capacity | Self::HealthConverges)
    }
}

impl fmt::Display for Invariant {
    /// A sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneOutcome => "every intended request has one outcome",
            Self::OneStory => "requests, attempts and events tell one story",
            Self::WithinLimits => "no attempt is beyond the policy's limits",
            Self::InTime => "deadlines hold",
            Self::AnsweredByTheLiving => "nothing is answered by a dead or frozen server",
            Self::Capacity => "no server does more at once than it has workers",
            Self::HealthConverges => "the client's view of health converges after the last fault",
            Self::Drains => "work in progress drains",
            Self::RightResult => "the result of every OK is the kernel's",
        })
    }
}

/// Where an invariant is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    pub invariant: Invariant,
    /// The request it concerns, if it concerns one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// When, in microseconds since the run began.
    pub at_us: u64,
    /// What is not as it should be.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is broken at {}", self.invariant, Instant::START + Duration::from_micros(self.at_us))?;
        if let Some(request) = self.request {
            write!(f, ", request {request}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// A run to be judged. Its rows are in the order of [`Records::sort`].
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    pub scenario: &'a Scenario,
    pub seed: u64,
    /// For how long load was offered: less than the scenario's duration if the run was interrupted.
    pub duration: Duration,
    /// By how much the client's timers are late at most, in virtual time; `None` in real time, where nobody knows.
    pub late: Option<Duration>,
    pub records: &'a Records,
}

/// Every place where the run breaks an invariant, by invariant, then time. It takes O(n log n) of the rows.
pub fn check(evidence: &Evidence<'_>) -> Vec<Broken> {
    let mut findings = Findings { is_virtual: evidence.is_virtual(), broken: Vec::new() };
    calls::check(evidence, &mut findings);
    told::check(evidence, &mut findings);
    if evidence.is_virtual() {
        servers::check(evidence, &mut findings);
        belief::check(evidence, &mut findings);
    }
    findings.broken.sort_by_key(|broken| (broken.invariant, broken.at_us));
    findings.broken
}

impl Evidence<'_> {
    fn is_virtual(&self) -> bool {
        self.late.is_some()
    }

    fn is_complete(&self) -> bool {
        self.duration == self.scenario.duration
    }

    /// When the last call had ended and the load, too.
    fn end_us(&self) -> u64 {
        self.records.requests.iter().filter_map(|row| row.done_us).fold(us(self.duration), u64::max)
    }
}

/// What was found so far.
struct Findings {
    is_virtual: bool,
    broken: Vec<Broken>,
}

impl Findings {
    fn add(&mut self, invariant: Invariant, request: Option<u64>, at_us: u64, what: impl Into<String>) {
        if self.is_virtual || !invariant.is_of_time() {
            self.broken.push(Broken { invariant, request, at_us, what: what.into() });
        }
    }
}

/// In the unit of the rows.
fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
