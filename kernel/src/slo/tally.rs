//! The alerts of many runs: how many faults of each kind fired them, how late, and how many were false.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    burn::Severity,
    report::{AlertReport, FaultOutcome, RuleAlerts},
};

/// The alerts of some runs of the same objectives. That of one run is a part of its row in a sweep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertTally {
    /// Number of runs.
    pub runs: u64,
    /// Number of faults by kind, in all runs.
    pub faults: BTreeMap<String, u64>,
    /// The rules of each objective, in the order of the scenario, the fastest first.
    pub rules: Vec<RuleTally>,
}

/// The alerts of a rule in some runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleTally {
    /// The name of the objective.
    pub slo: String,
    /// `fast`, `slow` or `steady`.
    pub rule: String,
    /// How urgent it is.
    pub severity: Severity,
    /// Number of times that it fired.
    pub firings: u64,
    /// Number of those without a fault as its reason.
    pub false_alarms: u64,
    /// Number of runs with at least one of those.
    pub runs_with_false_alarms: u64,
    /// The faults of each kind, by the rule's reaction.
    pub kinds: BTreeMap<String, KindTally>,
}

/// The faults of a kind, by a rule's reaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindTally {
    /// Number of faults that it fired after.
    pub fired: u64,
    /// Number of faults at whose start it was firing.
    pub firing: u64,
    /// Number of faults that it missed.
    pub missed: u64,
    /// Number of faults whose errors were within the error budget.
    pub in_budget: u64,
    /// Times from the start of a fault until the alert fired, in microseconds, one for each that it fired after.
    pub delays_us: Vec<u64>,
    /// Times from when a fault was lifted until the alert was resolved, in microseconds; negative if it was resolved before.
    pub after_lifted_us: Vec<i64>,
}

impl KindTally {
    /// Returns the number of faults that show whether it detects them: those that it fired after, and those that it missed. One at
    /// whose start it was firing says nothing of it.
    pub fn judged(&self) -> u64 {
        self.fired + self.missed
    }
}

impl AlertTally {
    /// Counts the alerts of one run.
    pub fn of_run(report: &AlertReport) -> Self {
        let mut faults = BTreeMap::new();
        report.faults.iter().for_each(|fault| *faults.entry(fault.kind.clone()).or_default() += 1);
        let rules =
            report.slos.iter().flat_map(|slo| slo.rules.iter().map(|rule| RuleTally::new(&slo.slo, rule, report)));
        Self { runs: 1, faults, rules: rules.collect() }
    }

    /// Adds the runs of another tally. Rules that this one has not are added behind its own.
    pub fn merge(&mut self, other: &Self) {
        self.runs += other.runs;
        other.faults.iter().for_each(|(kind, count)| *self.faults.entry(kind.clone()).or_default() += count);
        for rule in &other.rules {
            match self.rules.iter_mut().find(|own| (&own.slo, &own.rule) == (&rule.slo, &rule.rule)) {
                Some(own) => own.merge(rule),
                None => self.rules.push(rule.clone()),
            }
        }
    }
}

impl RuleTally {
    fn new(slo: &str, alerts: &RuleAlerts, report: &AlertReport) -> Self {
        let mut kinds: BTreeMap<String, KindTally> = BTreeMap::new();
        for (alert, fault) in alerts.faults.iter().zip(&report.faults) {
            let kind = kinds.entry(fault.kind.clone()).or_default();
            *match alert.outcome {
                FaultOutcome::Fired => &mut kind.fired,
                FaultOutcome::Firing => &mut kind.firing,
                FaultOutcome::Missed => &mut kind.missed,
                FaultOutcome::InBudget => &mut kind.in_budget,
            } += 1;
            kind.delays_us.extend(alert.delay_us);
            kind.after_lifted_us.extend(alert.after_lifted_us);
        }
        let false_alarms = alerts.false_alarms();
        Self {
            slo: slo.to_owned(),
            rule: alerts.rule.rule.clone(),
            severity: alerts.rule.severity,
            firings: alerts.firings.len() as u64,
            false_alarms,
            runs_with_false_alarms: u64::from(false_alarms > 0),
            kinds,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.firings += other.firings;
        self.false_alarms += other.false_alarms;
        self.runs_with_false_alarms += other.runs_with_false_alarms;
        for (name, more) in &other.kinds {
            let kind = self.kinds.entry(name.clone()).or_default();
            kind.fired += more.fired;
            kind.firing += more.firing;
            kind.missed += more.missed;
            kind.in_budget += more.in_budget;
            kind.delays_us.extend(&more.delays_us);
            kind.after_lifted_us.extend(&more.after_lifted_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(fired: u64, missed: u64, delays_us: &[u64]) -> AlertTally {
        let kind = KindTally { fired, missed, delays_us: delays_us.to_vec(), ..KindTally::default() };
        let rule = RuleTally {
            slo: "availability".to_owned(),
            rule: "fast".to_owned(),
            severity: Severity::Page,
            firings: fired,
            false_alarms: 0,
            runs_with_false_alarms: 0,
            kinds: [("freeze".to_owned(), kind)].into(),
        };
        AlertTally { runs: 1, faults: [("freeze".to_owned(), fired + missed)].into(), rules: vec![rule] }
    }

    #[test]
    fn tallies_of_runs_add_up_and_are_read_back() {
        let mut all = AlertTally::default();
        [tally(1, 0, &[5]), tally(0, 1, &[]), tally(1, 1, &[7])].iter().for_each(|one| all.merge(one));
        let kind = &all.rules[0].kinds["freeze"];
        assert_eq!((all.runs, kind.fired, kind.missed, kind.judged()), (3, 2, 2, 4));
        assert_eq!((&kind.delays_us[..], all.faults["freeze"]), (&[5, 7][..], 4));
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<AlertTally>(&text).unwrap(), all);
    }
}
