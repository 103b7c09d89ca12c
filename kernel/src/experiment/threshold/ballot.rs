//! On which side a value is, as its runs have it.
//!
//! Whether runs go well with a value is a matter of chance near the boundary, so each value is asked with one seed after
//! another until one side leads by enough: Wald's sequential probability ratio test (1945) of "three of four runs go well"
//! against "one of four", whose error is below the one that is asked for whenever runs go one way three times out of four
//! or more. Nearer to the boundary than that there is no right side, and the answer is the majority's.

use std::ops::Not;

use serde::{Deserialize, Serialize};

/// Of the normal distribution, on both sides of which 5 % are left: the intervals are those of 95 %.
const Z: f64 = 1.959_964;

/// How runs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Well.
    Holds,
    /// Not.
    Fails,
}

impl Side {
    /// As records and accounts have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
        }
    }
}

impl Not for Side {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::Holds => Self::Fails,
            Self::Fails => Self::Holds,
        }
    }
}

/// How sure to be of each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// One side is believed once it leads by so many runs.
    pub lead: u64,
    /// Runs of one value at most.
    pub runs_max: u64,
}

impl Rule {
    /// The rule by which all of `values` decisions are right with this `confidence`, of 0 to 1. Which values are asked
    /// depends on the answers, but up to the first wrong one they are those that right answers lead to: to count these is
    /// enough, and the same seeds may be in all of them (Boole's inequality asks for no independence).
    pub fn new(confidence: f64, values: u64, runs_max: u64) -> Self {
        let error = (1.0 - confidence) / values.max(1) as f64;
        // Each run weighs the logarithm of the ratio of the two shares, three to one.
        let lead = (((1.0 - error) / error).ln() / 3.0_f64.ln()).ceil() as u64;
        Self { lead: lead.max(1), runs_max: runs_max.max(1) }
    }
}

/// The runs of one value so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ballot {
    /// All of them.
    pub runs: u64,
    /// Those that went well.
    pub passes: u64,
}

impl Ballot {
    /// Takes in how one more went, unless all is said.
    pub fn add(&mut self, passes: bool, rule: Rule) {
        if self.missing(rule) > 0 {
            self.runs += 1;
            self.passes += u64::from(passes);
        }
    }

    /// By how many runs one side leads.
    fn lead(self) -> u64 {
        (2 * self.passes).abs_diff(self.runs)
    }

    /// Whether one side leads by enough.
    pub fn is_decided(self, rule: Rule) -> bool {
        self.lead() >= rule.lead
    }

    /// Runs that it takes at least to come to an end; 0 if it has.
    pub fn missing(self, rule: Rule) -> u64 {
        rule.lead.saturating_sub(self.lead()).min(rule.runs_max.saturating_sub(self.runs))
    }

    /// The side of the majority.
    pub fn side(self) -> Side {
        if 2 * self.passes >= self.runs { Side::Holds } else { Side::Fails }
    }

    /// The share of runs that went well; `None` before the first.
    pub fn share(self) -> Option<f64> {
        (self.runs > 0).then(|| self.passes as f64 / self.runs as f64)
    }

    /// Wilson's interval (1927) of 95 % for the share of all runs that would go well: from and to, in 0 to 1. It takes the
    /// number of runs for one that was settled before; here the runs themselves end a ballot, so it is a rough guide, and
    /// the decision is Wald's.
    pub fn interval(self) -> (f64, f64) {
        let Some(share) = self.share() else { return (0.0, 1.0) };
        let (runs, square) = (self.runs as f64, Z * Z);
        let middle = share + square / (2.0 * runs);
        let half = Z * (share * (1.0 - share) / runs + square / (4.0 * runs * runs)).sqrt();
        let scale = 1.0 + square / runs;
        (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, unit};

    #[test]
    fn a_side_leads_by_more_the_surer_one_is_to_be() {
        assert_eq!([0.75, 0.95, 0.99, 0.999].map(|sure| Rule::new(sure, 1, 100).lead), [1, 3, 5, 7]);
        assert_eq!([11, 25, 200].map(|values| Rule::new(0.95, values, 100).lead), [5, 6, 8]);
    }

    #[test]
    fn a_ballot_ends_when_one_side_leads_by_enough_or_there_were_enough_runs() {
        let rule = Rule { lead: 3, runs_max: 7 };
        let cast = |runs: &str| {
            let mut ballot = Ballot::default();
            runs.chars().for_each(|run| ballot.add(run == '+', rule));
            (ballot.runs, ballot.side(), ballot.is_decided(rule), ballot.missing(rule))
        };
        assert_eq!(cast(""), (0, Side::Holds, false, 3));
        assert_eq!(cast("++"), (2, Side::Holds, false, 1));
        assert_eq!(cast("+++------"), (3, Side::Holds, true, 0), "what comes later is not asked");
        assert_eq!(cast("+----"), (5, Side::Fails, true, 0));
        assert_eq!(cast("+-+-+-"), (6, Side::Holds, false, 1));
        assert_eq!(cast("+-+-+--"), (7, Side::Fails, false, 0));
    }

    /// Wald's bound, where runs go one way three times of four.
    #[test]
    fn wrong_sides_are_as_rare_as_is_promised() {
        let rule = Rule::new(0.95, 1, 1_000);
        let mut rng = Entropy::new(1).stream("ballots");
        let wrong = (0..4_000).filter(|_| {
            let mut ballot = Ballot::default();
            while ballot.missing(rule) > 0 {
                ballot.add(unit(&mut rng) < 0.75, rule);
            }
            ballot.side() == Side::Fails
        });
        let share = wrong.count() as f64 / 4_000.0;
        assert!((0.01..0.05).contains(&share), "{share}");
    }

    /// The last is Agresti and Coull's example (1998): 0 of 10, whose interval ends at z²/(10 + z²).
    #[test]
    fn an_interval_is_wilsons() {
        let near = |(from, to): (f64, f64), (low, high): (f64, f64)| {
            assert!((from - low).abs() < 5e-4 && (to - high).abs() < 5e-4, "{from} to {to}, not {low} to {high}");
        };
        near(Ballot { runs: 10, passes: 8 }.interval(), (0.4902, 0.9433));
        near(Ballot { runs: 50, passes: 25 }.interval(), (0.3664, 0.6336));
        near(Ballot { runs: 10, passes: 0 }.interval(), (0.0, 0.2775));
        near(Ballot { runs: 10, passes: 10 }.interval(), (0.7225, 1.0));
        assert_eq!(Ballot::default().interval(), (0.0, 1.0));
    }
}
