//! The test of one value: on which side of a threshold it is.
//!
//! Near a threshold it is a matter of chance whether a run passes, so a value is run with one seed after another until
//! one outcome leads by enough. This is Wald's sequential probability ratio test (SPRT, 1945) of p₀ = 0.25 against
//! p₁ = 0.75: its error is below the requested one whenever runs have the same outcome three times out of four or more.
//! Nearer to the threshold than that no answer is right, and the majority's is given.

use std::ops::Not;

use serde::{Deserialize, Serialize};

/// Quantile of the normal distribution that has 2.5 % above it, for intervals of 95 %.
const Z: f64 = 1.959_964;

/// Outcome of a value: the criterion holds or fails with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestOutcome {
    /// The criterion holds.
    Holds,
    /// The criterion fails.
    Fails,
}

impl TestOutcome {
    /// Returns the name of the outcome in records and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
        }
    }
}

impl Not for TestOutcome {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::Holds => Self::Fails,
            Self::Fails => Self::Holds,
        }
    }
}

/// The rule that ends the test of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppingRule {
    /// Number of runs by which one outcome must lead to be accepted; at least 1.
    pub lead: u64,
    /// Most runs of one value; at least 1.
    pub runs_max: u64,
}

impl StoppingRule {
    /// Computes the rule by which all of `values` decisions are right with this `confidence`, from 0 to 1. Which values
    /// are tested depends on the outcomes, but up to the first wrong one they are those that right outcomes lead to: it
    /// is enough to count these, and they may share seeds (Boole's inequality needs no independence).
    pub fn new(confidence: f64, values: u64, runs_max: u64) -> Self {
        let error = (1.0 - confidence) / values.max(1) as f64;
        // Each run weighs the logarithm of the ratio of the two shares, three to one.
        let lead = (((1.0 - error) / error).ln() / 3.0_f64.ln()).ceil() as u64;
        Self { lead: lead.max(1), runs_max: runs_max.max(1) }
    }
}

/// The test of one value: its runs so far.
///
/// ```
/// use kernel::experiment::threshold::{SequentialTest, StoppingRule, TestOutcome};
///
/// let rule = StoppingRule::new(0.95, 1, 100);
/// let mut test = SequentialTest::default();
/// while !test.is_decided(rule) {
///     test.add(true, rule);
/// }
/// assert_eq!((test.runs, test.outcome()), (3, TestOutcome::Holds));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SequentialTest {
    /// Number of runs.
    pub runs: u64,
    /// Number of runs that pass.
    pub passes: u64,
}

impl SequentialTest {
    /// Adds the result of a run, unless the test has ended.
    pub fn add(&mut self, passes: bool, rule: StoppingRule) {
        // Runs are started several at a time; those behind the one that ends the test must not change its outcome.
        if self.missing(rule) > 0 {
            self.runs += 1;
            self.passes += u64::from(passes);
        }
    }

    /// Returns the number of runs by which one outcome leads.
    fn lead(self) -> u64 {
        (2 * self.passes).abs_diff(self.runs)
    }

    /// Returns true if one outcome leads by enough.
    pub fn is_decided(self, rule: StoppingRule) -> bool {
        self.lead() >= rule.lead
    }

    /// Returns the least number of further runs that can end the test; 0 if it has ended.
    pub fn missing(self, rule: StoppingRule) -> u64 {
        rule.lead.saturating_sub(self.lead()).min(rule.runs_max.saturating_sub(self.runs))
    }

    /// Returns the outcome of the majority of runs.
    pub fn outcome(self) -> TestOutcome {
        if 2 * self.passes >= self.runs { TestOutcome::Holds } else { TestOutcome::Fails }
    }

    /// Returns the share of runs that pass; `None` before the first.
    pub fn share(self) -> Option<f64> {
        (self.runs > 0).then(|| self.passes as f64 / self.runs as f64)
    }

    /// Returns [`wilson_interval`] for the share of all runs that would pass. It assumes that the number of runs was fixed beforehand.
    /// Here the runs themselves end the test, so the interval is a rough guide, and the decision is Wald's.
    pub fn interval(self) -> (f64, f64) {
        wilson_interval(self.passes, self.runs)
    }
}

/// Returns Wilson's interval (1927) of 95 % for a share of which `hits` of `count` are a sample: its lower and its upper end, from 0 to 1.
pub fn wilson_interval(hits: u64, count: u64) -> (f64, f64) {
    if count == 0 {
        return (0.0, 1.0);
    }
    let count = count as f64;
    let share = hits as f64 / count;
    let square = Z * Z;
    let middle = share + square / (2.0 * count);
    let half = Z * (share * (1.0 - share) / count + square / (4.0 * count * count)).sqrt();
    let scale = 1.0 + square / count;
    (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, unit};

    /// Returns runs, outcome, decision and missing runs after `runs`, each `+` or `-`, with a lead of 3 and 7 runs at most.
    fn state(runs: &str) -> (u64, TestOutcome, bool, u64) {
        let rule = StoppingRule { lead: 3, runs_max: 7 };
        let mut test = SequentialTest::default();
        runs.chars().for_each(|run| test.add(run == '+', rule));
        (test.runs, test.outcome(), test.is_decided(rule), test.missing(rule))
    }

    #[track_caller]
    fn near((from, to): (f64, f64), (low, high): (f64, f64)) {
        assert!((from - low).abs() < 5e-4 && (to - high).abs() < 5e-4, "{from} to {to}, not {low} to {high}");
    }

    #[test]
    fn the_lead_grows_with_the_confidence_and_the_number_of_values() {
        assert_eq!([0.75, 0.95, 0.99, 0.999].map(|sure| StoppingRule::new(sure, 1, 100).lead), [1, 3, 5, 7]);
        assert_eq!([11, 25, 200].map(|values| StoppingRule::new(0.95, values, 100).lead), [5, 6, 8]);
    }

    #[test]
    fn a_test_ends_when_one_outcome_leads_by_enough_or_at_the_most_runs() {
        assert_eq!(state(""), (0, TestOutcome::Holds, false, 3));
        assert_eq!(state("++"), (2, TestOutcome::Holds, false, 1));
        assert_eq!(state("+++------"), (3, TestOutcome::Holds, true, 0), "what comes later is not asked");
        assert_eq!(state("+----"), (5, TestOutcome::Fails, true, 0));
        assert_eq!(state("+-+-+-"), (6, TestOutcome::Holds, false, 1));
        assert_eq!(state("+-+-+--"), (7, TestOutcome::Fails, false, 0));
    }

    /// The bound is Wald's, for runs that have the same outcome three times of four.
    #[test]
    fn wrong_outcomes_are_as_rare_as_the_confidence_promises() {
        let rule = StoppingRule::new(0.95, 1, 1_000);
        let mut rng = Entropy::new(1).stream("ballots");
        let wrong = (0..4_000).filter(|_| {
            let mut test = SequentialTest::default();
            while test.missing(rule) > 0 {
                test.add(unit(&mut rng) < 0.75, rule);
            }
            test.outcome() == TestOutcome::Fails
        });
        let share = wrong.count() as f64 / 4_000.0;
        assert!((0.01..0.05).contains(&share), "{share}");
    }

    /// Agresti and Coull (1998) have the case 0 of 10, whose interval ends at z²/(10 + z²).
    #[test]
    fn the_interval_is_the_one_of_wilson() {
        near(SequentialTest { runs: 10, passes: 8 }.interval(), (0.4902, 0.9433));
        near(SequentialTest { runs: 50, passes: 25 }.interval(), (0.3664, 0.6336));
        near(SequentialTest { runs: 10, passes: 0 }.interval(), (0.0, 0.2775));
        near(SequentialTest { runs: 10, passes: 10 }.interval(), (0.7225, 1.0));
        assert_eq!(SequentialTest::default().interval(), (0.0, 1.0));
    }
}
