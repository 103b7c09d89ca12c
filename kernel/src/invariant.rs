//! Invariants checked on every run, whatever its scenario and seed. A violation is a bug of this project, not of the
//! scenario.
//!
//! [`check`] reads the rows as both worlds record them. Real processes are stopped, started and woken some time after
//! the planned instant, so that what depends on the instant is checked against virtual time only; see
//! [`Invariant::needs_exact_time`]. There a timer is late by what the calibration says at most.
//!
//! | module | what is checked |
//! | --- | --- |
//! | `in_force` | the settings at each time, as they change, for the checks below |
//! | `attempts` | attempts to be looked up, and ids of requests, for the checks below |
//! | `calls` | requests against the schedule, and their attempts against the limits of policies |
//! | `event_counts` | requests and attempts against the client's events |
//! | `inner` | inner calls, against the policies of their edges, the attempts on whose behalf they are made, and the servers' work |
//! | `limits` | the limits that policies set for all calls together |
//! | `breakers` | the states of circuit breakers, and the attempts that they let pass |
//! | `servers` | what servers did, against the faults on them and the attempts sent to them |
//! | `faults` | faults against the scenario, and messages against partitions |
//! | `selection` | the server that the client picks, against what it knows of servers |
//! | `health` | the client's view of servers' health, against their state |

mod attempts;
mod breakers;
mod calls;
mod event_counts;
mod faults;
mod health;
mod in_force;
mod inner;
mod limits;
mod selection;
mod servers;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use attempts::Attempts;
use in_force::InForce;

use crate::{
    entropy::branch::{Branch, Branching},
    measure::us,
    policy::Policies,
    record::{CANCELLED, RequestRow, Rows, SUPERSEDED},
    scenario::Scenario,
    time::Instant,
};

/// The most by which a difference of two times is off: times are rounded down to microseconds.
const ROUNDING_US: u64 = 1;

/// A property of every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// Every intended request has one outcome.
    OneOutcome,
    /// Requests, attempts and events are consistent with one another.
    #[serde(rename = "one_story")]
    ConsistentLog,
    /// No attempt exceeds the limits of a policy.
    WithinLimits,
    /// Calls and attempts end by their deadlines.
    #[serde(rename = "in_time")]
    DeadlinesHold,
    /// Breakers, ejections, health ratings and connections make only valid state transitions.
    #[serde(rename = "follows_its_states")]
    ValidStateTransitions,
    /// No server is picked while the client knows a better one.
    #[serde(rename = "asks_the_best")]
    PicksBestServer,
    /// Faults begin and end when the scenario says.
    #[serde(rename = "as_scripted")]
    FaultsFollowSchedule,
    /// Nothing passes a partitioned link.
    #[serde(rename = "nothing_passes_a_cut")]
    PartitionHolds,
    /// No response comes from a dead or frozen server.
    #[serde(rename = "answered_by_the_living")]
    NoResponseFromDeadServer,
    /// No server works on more attempts at once than it has workers, nor on one for less than the minimum service time.
    Capacity,
    /// The client's view of health converges after the last fault.
    HealthConverges,
    /// All work in progress ends.
    Drains,
    /// The result of every OK is that of the workload function.
    #[serde(rename = "right_result")]
    CorrectResult,
}

impl Invariant {
    /// Returns whether the invariant depends on exact instants, which only virtual time has.
    pub fn needs_exact_time(self) -> bool {
        match self {
            Self::OneOutcome | Self::ConsistentLog | Self::WithinLimits | Self::Drains | Self::CorrectResult => false,
            Self::DeadlinesHold
            | Self::ValidStateTransitions
            | Self::PicksBestServer
            | Self::FaultsFollowSchedule
            | Self::PartitionHolds
            | Self::NoResponseFromDeadServer
            | Self::Capacity
            | Self::HealthConverges => true,
        }
    }
}

impl fmt::Display for Invariant {
    /// Writes the invariant as a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneOutcome => "every intended request has one outcome",
            Self::ConsistentLog => "requests, attempts and events are consistent",
            Self::WithinLimits => "no attempt is beyond the policy's limits",
            Self::DeadlinesHold => "deadlines hold",
            Self::ValidStateTransitions => {
                "breakers, ejections, server health and connections make only valid state transitions"
            }
            Self::PicksBestServer => "no server is asked while the client knows a better one",
            Self::FaultsFollowSchedule => "faults follow the schedule",
            Self::PartitionHolds => "nothing passes a link that is cut",
            Self::NoResponseFromDeadServer => "no response comes from a dead or frozen server",
            Self::Capacity => "no server does more at once than it has workers",
            Self::HealthConverges => "the client's view of health converges after the last fault",
            Self::Drains => "work in progress drains",
            Self::CorrectResult => "the result of every OK is correct",
        })
    }
}

/// A place where a run violates an invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// The id of the request, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The time in microseconds since the run began.
    pub at_us: u64,
    /// The finding, and what would be right.
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

/// A run to be checked. Its rows are in the order of [`Records::sort`](crate::record::Records::sort).
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The scenario, with nothing left to draw.
    pub scenario: &'a Scenario,
    /// The root seed.
    pub seed: u64,
    /// The times from which everything random was drawn again.
    pub branches: &'a [Branch],
    /// The time for which load was offered: less than the scenario's duration if the run was interrupted.
    pub duration: Duration,
    /// The most by which the client's timers are late in virtual time; none without such a bound, as in real time, and in a simulation in which
    /// processes share their processors.
    pub late: Option<Duration>,
    /// The rows of the run.
    pub rows: &'a dyn Rows,
}

/// Returns every place where the run violates an invariant, by invariant, then time. It takes O(n log n) of the rows, which
/// it reads in passes: of a real run it keeps 48 bytes of each attempt and 52 of each request.
pub fn check(evidence: &Evidence<'_>) -> Vec<Violation> {
    // What is drawn again to be compared with the rows is drawn as it was in the run.
    let _branching = Branching::begin(evidence.branches);
    let mut findings = Findings { is_virtual: evidence.is_virtual(), violations: Vec::new() };
    let attempts = &Attempts::collect(evidence.rows);
    let in_force = &InForce::collect(evidence);
    in_force::check(evidence, &mut findings);
    calls::check(evidence, in_force, &mut findings);
    event_counts::check(evidence, (attempts, in_force), &mut findings);
    limits::check(evidence, (attempts, in_force), &mut findings);
    inner::check(evidence, &mut findings);
    if evidence.is_virtual() {
        breakers::check(evidence, (attempts, in_force), &mut findings);
        selection::check(evidence, &mut findings);
        servers::check(evidence, in_force, &mut findings);
        faults::check(evidence, attempts, &mut findings);
        health::check(evidence, &mut findings);
    }
    findings.violations.sort_by_key(|violation| (violation.invariant, violation.at_us));
    findings.violations
}

impl Evidence<'_> {
    fn is_virtual(&self) -> bool {
        self.late.is_some()
    }

    fn is_complete(&self) -> bool {
        self.duration == self.scenario.duration
    }

    /// Returns when the run ended: after the load, and after the last call.
    fn end_us(&self) -> u64 {
        self.rows.requests().filter_map(|row| row.done_us).fold(us(self.duration), u64::max)
    }
}

/// The violations found so far.
struct Findings {
    is_virtual: bool,
    violations: Vec<Violation>,
}

impl Findings {
    fn add(&mut self, invariant: Invariant, request: Option<u64>, at_us: u64, what: impl Into<String>) {
        // In real time an instant that is off is nothing but a busy machine.
        if self.is_virtual || !invariant.needs_exact_time() {
            self.violations.push(Violation { invariant, request, at_us, what: what.into() });
        }
    }

    /// Adds a violation by a request, at its end.
    fn add_to(&mut self, request: &RequestRow, invariant: Invariant, what: impl Into<String>) {
        self.add(invariant, Some(request.id), request.done_us.unwrap_or(request.intended_us), what);
    }
}

/// Returns whether an attempt with this cause was given up by its caller.
fn is_given_up(cause: Option<&str>) -> bool {
    cause.is_some_and(|cause| cause == SUPERSEDED || cause == CANCELLED)
}

/// Returns whether an attempt may have to wait between passing a breaker and being sent.
fn waits(policies: &Policies) -> bool {
    policies.rate_limit.as_ref().is_some_and(|limit| !limit.max_wait.is_zero())
        || policies.bulkhead.as_ref().is_some_and(|bulkhead| !bulkhead.max_wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariants_keep_the_names_that_are_written_to_files() {
        let names = [
            (Invariant::OneOutcome, "one_outcome"),
            (Invariant::ConsistentLog, "one_story"),
            (Invariant::WithinLimits, "within_limits"),
            (Invariant::DeadlinesHold, "in_time"),
            (Invariant::ValidStateTransitions, "follows_its_states"),
            (Invariant::PicksBestServer, "asks_the_best"),
            (Invariant::FaultsFollowSchedule, "as_scripted"),
            (Invariant::PartitionHolds, "nothing_passes_a_cut"),
            (Invariant::NoResponseFromDeadServer, "answered_by_the_living"),
            (Invariant::Capacity, "capacity"),
            (Invariant::HealthConverges, "health_converges"),
            (Invariant::Drains, "drains"),
            (Invariant::CorrectResult, "right_result"),
        ];
        for (invariant, name) in names {
            assert_eq!(serde_json::to_value(invariant).unwrap(), name);
        }
        assert!(names.is_sorted(), "violations are sorted by it");
    }
}
