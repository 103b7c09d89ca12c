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
//! | `limits` | what the policies allow all calls together |
//! | `breakers` | the states of circuit breakers, and what they let pass |
//! | `servers` | what servers did, against what was done to them and what they were asked |
//! | `faults` | what was done, against the scenario, and links that are cut |
//! | `view` | whom the client asks, against what it knows of servers |
//! | `belief` | what the client believes of servers, against how they are |

mod belief;
mod breakers;
mod calls;
mod faults;
mod limits;
mod servers;
mod told;
mod view;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    client::{CANCELLED, SUPERSEDED},
    policy::Policies,
    record::Records,
    scenario::Scenario,
    time::Instant,
};

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
    /// Breakers, ejections, beliefs and connections go from state to state as they are to.
    FollowsItsStates,
    /// No server is asked while the client knows a better one.
    AsksTheBest,
    /// Faults begin and end as the scenario has them.
    AsScripted,
    /// Nothing passes a link that is cut.
    NothingPassesACut,
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
        match self {
            Self::OneOutcome | Self::OneStory | Self::WithinLimits | Self::Drains | Self::RightResult => false,
            Self::InTime
            | Self::FollowsItsStates
            | Self::AsksTheBest
            | Self::AsScripted
            | Self::NothingPassesACut
            | Self::AnsweredByTheLiving
            | Self::Capacity
            | Self::HealthConverges => true,
        }
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
            Self::FollowsItsStates => "breakers, ejections, beliefs and connections follow their states",
            Self::AsksTheBest => "no server is asked while the client knows a better one",
            Self::AsScripted => "faults begin and end as the scenario has them",
            Self::NothingPassesACut => "nothing passes a link that is cut",
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
pub struct Violation {
    pub invariant: Invariant,
    /// The request it concerns, if it concerns one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// When, in microseconds since the run began.
    pub at_us: u64,
    /// What is not as it should be.
    pub what: String,
}

impl fmt::Display for Violation {
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
pub fn check(evidence: &Evidence<'_>) -> Vec<Violation> {
    let mut findings = Findings { is_virtual: evidence.is_virtual(), broken: Vec::new() };
    calls::check(evidence, &mut findings);
    told::check(evidence, &mut findings);
    limits::check(evidence, &mut findings);
    if evidence.is_virtual() {
        breakers::check(evidence, &mut findings);
        view::check(evidence, &mut findings);
        servers::check(evidence, &mut findings);
        faults::check(evidence, &mut findings);
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
    broken: Vec<Violation>,
}

impl Findings {
    fn add(&mut self, invariant: Invariant, request: Option<u64>, at_us: u64, what: impl Into<String>) {
        if self.is_virtual || !invariant.is_of_time() {
            self.broken.push(Violation { invariant, request, at_us, what: what.into() });
        }
    }
}

/// Where the row of a request is: at its id, as long as none is missing.
fn place(records: &Records, id: u64) -> Option<usize> {
    let at = usize::try_from(id).ok().filter(|at| records.requests.get(*at).is_some_and(|row| row.id == id));
    at.or_else(|| records.requests.binary_search_by_key(&id, |row| row.id).ok())
}

/// Whether this is the cause of an attempt that its caller gave up.
fn is_given_up(cause: Option<&str>) -> bool {
    cause.is_some_and(|cause| cause == SUPERSEDED || cause == CANCELLED)
}

/// Whether an attempt may have to wait between a breaker's leave and being sent.
fn waits(policies: &Policies) -> bool {
    policies.rate_limit.as_ref().is_some_and(|limit| !limit.max_wait.is_zero())
        || policies.bulkhead.as_ref().is_some_and(|bulkhead| !bulkhead.max_wait.is_zero())
}

/// In the unit of the rows.
fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
