//! The settings that were in force at a time of the run, as changes are recorded, and the checks of these records.

use std::time::Duration;

use super::{Evidence, Findings, Invariant, ROUNDING_US, us};
use crate::{
    policy::{ATTEMPT_TIMEOUT, HEDGING_DELAY},
    record::{Event, Rows},
    scenario::{Epoch, Scenario},
};

/// The settings over the time of the run.
pub(super) struct InForce {
    /// The settings from each time on, in order of time; the first from 0 on.
    periods: Vec<(u64, Scenario)>,
    /// The time around a change, in microseconds, in which the settings before and after it may both be in force.
    slack_us: u64,
    /// The adaptive timeout of attempts; `None` if it is off.
    attempt_timeout: Option<Observed>,
    /// The adaptive delay of hedges; `None` if it is off.
    hedging_delay: Option<Observed>,
}

/// A time that adapts, in microseconds, from each instant on.
struct Observed(Vec<(u64, u64)>);

impl Observed {
    /// Collects the recorded values of the time with this name, which begins with `first`.
    fn collect(rows: &dyn Rows, name: &str, first: Duration) -> Self {
        let is_of = |cause: &str| cause.strip_prefix(name).is_some_and(|rest| rest.starts_with(" from "));
        let rows = rows.events().filter(|row| row.event == Event::LimitChanged);
        let values = rows.filter(|row| row.cause.as_deref().is_some_and(is_of));
        let values = values.filter_map(|row| Some((row.at_us, row.duration_us?)));
        Self(std::iter::once((0, us(first))).chain(values).collect())
    }

    /// Returns the values that were in force at some instant of the time.
    fn during(&self, from_us: u64, to_us: u64) -> impl Iterator<Item = u64> {
        let from = self.0.partition_point(|(at_us, _)| *at_us < from_us);
        let to = self.0.partition_point(|(at_us, _)| *at_us <= to_us);
        self.0[from.saturating_sub(1)..to.max(1)].iter().map(|(_, value_us)| *value_us)
    }
}

/// The time that a change takes in real time, at most: to be sent to a process, and to be read by it.
const REAL_SLACK_US: u64 = 500_000;

impl InForce {
    /// Collects the settings by the recorded changes.
    pub(super) fn collect(evidence: &Evidence<'_>) -> Self {
        let mut periods = Vec::new();
        // A change that was not played has never been in force, and neither have those after it in the same part of the system.
        for Epoch { at, change, settings } in evidence.scenario.epochs() {
            let Some(change) = change else {
                periods.push((0, settings));
                continue;
            };
            match recorded(evidence.rows, &change.description(), at) {
                Some(at_us) => periods.push((at_us, settings)),
                None => break,
            }
        }
        periods.sort_by_key(|(at_us, _)| *at_us);
        let slack_us = if evidence.is_virtual() { ROUNDING_US } else { REAL_SLACK_US };
        let client = &evidence.scenario.client;
        let attempt_timeout = client.policies.adaptive_timeout.as_ref();
        let hedging_delay = client.policies.adaptive_hedging.as_ref().and(client.policies.hedging.as_ref());
        let rows = evidence.rows;
        Self {
            periods,
            slack_us,
            attempt_timeout: attempt_timeout.map(|_| Observed::collect(rows, ATTEMPT_TIMEOUT, client.attempt_timeout)),
            hedging_delay: hedging_delay.map(|it| Observed::collect(rows, HEDGING_DELAY, it.hedging_delay)),
        }
    }

    /// Returns the settings that were in force at some instant of the time, in order. At the instant of a change both are.
    pub(super) fn during(&self, from_us: u64, to_us: u64) -> impl Iterator<Item = &Scenario> {
        let from = self.periods.partition_point(|(at_us, _)| at_us.saturating_add(self.slack_us) < from_us);
        let to = self.periods.partition_point(|(at_us, _)| *at_us <= to_us.saturating_add(self.slack_us));
        self.periods[from.saturating_sub(1)..to.max(1)].iter().map(|(_, settings)| settings)
    }

    /// Returns the largest of a value that was in force at some instant of the time.
    pub(super) fn most<T: Ord>(&self, from_us: u64, to_us: u64, value: impl Fn(&Scenario) -> T) -> T {
        self.during(from_us, to_us).map(value).max().expect("some settings are always in force")
    }

    /// Returns the smallest of a value that was in force at some instant of the time.
    pub(super) fn least<T: Ord>(&self, from_us: u64, to_us: u64, value: impl Fn(&Scenario) -> T) -> T {
        self.during(from_us, to_us).map(value).min().expect("some settings are always in force")
    }

    /// Returns the longest timeout of attempts that was in force at some instant of the time, in microseconds.
    pub(super) fn attempt_timeout_us(&self, from_us: u64, to_us: u64) -> u64 {
        match &self.attempt_timeout {
            Some(observed) => observed.during(self.before(from_us), self.after(to_us)).max().unwrap_or_default(),
            None => us(self.most(from_us, to_us, |then| then.client.attempt_timeout)),
        }
    }

    /// Returns the shortest delay of hedges that was in force at some instant of the time, in microseconds; 0 without hedging.
    pub(super) fn hedging_delay_us(&self, from_us: u64, to_us: u64) -> u64 {
        match &self.hedging_delay {
            Some(observed) => observed.during(self.before(from_us), self.after(to_us)).min().unwrap_or_default(),
            None => us(self.least(from_us, to_us, |then| {
                then.client.policies.hedging.as_ref().map_or(Duration::ZERO, |hedging| hedging.hedging_delay)
            })),
        }
    }

    fn before(&self, at_us: u64) -> u64 {
        at_us.saturating_sub(self.slack_us)
    }

    fn after(&self, at_us: u64) -> u64 {
        at_us.saturating_add(self.slack_us)
    }

    /// Returns the settings from each time on.
    pub(super) fn periods(&self) -> &[(u64, Scenario)] {
        &self.periods
    }
}

/// Returns the time of the recorded change with this description that is nearest to `at`, as a setting may change back and forth.
fn recorded(rows: &dyn Rows, description: &str, at: Duration) -> Option<u64> {
    let rows =
        rows.events().filter(|row| row.event == Event::SettingChanged && row.cause.as_deref() == Some(description));
    rows.map(|row| row.at_us).min_by_key(|at_us| at_us.abs_diff(us(at)))
}

/// Checks that each change is recorded once, when the scenario says, and that there is no other.
pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    // Most runs have none, and a pass over the events of a long one takes its time.
    if evidence.scenario.changes.is_empty() {
        return;
    }
    let epochs = evidence.scenario.epochs();
    let mut due: Vec<(u64, String)> =
        epochs.iter().filter_map(|epoch| Some((us(epoch.at), epoch.change.as_ref()?.description()))).collect();
    let late_us = evidence.late.map_or(0, us) + ROUNDING_US;
    // A load that has come to its end before ends the run.
    let end_us = evidence.rows.events().map(|row| row.at_us).max().unwrap_or_default();
    for row in evidence.rows.events().filter(|row| row.event == Event::SettingChanged) {
        let description = row.cause.as_deref().unwrap_or_default();
        let is_same = |(at_us, due): &(u64, String)| {
            due == description && (!evidence.is_virtual() || (*at_us..=at_us + late_us).contains(&row.at_us))
        };
        match due.iter().position(is_same) {
            Some(place) => drop(due.swap_remove(place)),
            None => {
                let what = format!("{description} changes, and the scenario has no such change then");
                findings.add(Invariant::FaultsFollowSchedule, None, row.at_us, what);
            }
        }
    }
    for (at_us, description) in due.into_iter().filter(|(at_us, _)| at_us + late_us < end_us) {
        let what = format!("{description} should change then, and does not");
        findings.add(Invariant::FaultsFollowSchedule, None, at_us, what);
    }
}
