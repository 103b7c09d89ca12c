//! Where runs tip: two neighbouring values of a setting with which they go one way and the other.
//!
//! The range is halved between two values that are on different sides, on the assumption that it tips once. Whether runs
//! go well with a value is a matter of chance near the boundary, so each value is asked with one seed after another until
//! one side leads by enough: Wald's sequential probability ratio test (1945) of "three of four runs go well" against "one of
//! four", whose error is below the one that is asked for whenever runs go one way three times out of four or more. Nearer
//! to the boundary than that there is no right side, and the answer is the majority's.

use std::{str::FromStr, time::Duration};

use kernel::scenario::duration;
use serde::{Serialize, Serializer};

/// Values of a range of times or decimals; whole numbers are all there.
const STEPS_MAX: u64 = 128;

/// A setting, and between which of its values to look.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Range {
    /// Dotted, as `--set` has it.
    pub key: String,
    /// As the other one, in seconds if it is a time.
    pub low: f64,
    /// Over `low`.
    pub high: f64,
    /// What the values are.
    pub scale: Scale,
}

/// What the values of a range are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Whole numbers.
    Whole,
    /// Numbers.
    Decimal,
    /// Times, to the millisecond.
    Seconds,
}

/// Why a text is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// It has another form.
    #[error("a range needs a key and two values, such as load.rate=10..400 or fault.0.duration=1s..20s")]
    Malformed,
    /// A value is none.
    #[error("`{0}` is neither a number nor a time, such as 400 or 20s")]
    NoValue(String),
    /// One is a number and the other a time.
    #[error("{low} and {high} are not of one kind; write two numbers, or two times with their units")]
    Mixed {
        /// As written.
        low: String,
        /// As written.
        high: String,
    },
    /// There is nothing between the two.
    #[error("there is nothing between {low} and {high}; write the lower one first")]
    Empty {
        /// As written.
        low: String,
        /// As written.
        high: String,
    },
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (key, values) = text.split_once('=').ok_or(RangeError::Malformed)?;
        let (low, high) = values.split_once("..").ok_or(RangeError::Malformed)?;
        let (key, low, high) = (key.trim(), low.trim(), high.trim());
        if key.is_empty() || low.is_empty() || high.is_empty() {
            return Err(RangeError::Malformed);
        }
        let mixed = || RangeError::Mixed { low: low.to_owned(), high: high.to_owned() };
        let (from, to, scale) = match (value(low)?, value(high)?) {
            ((from, Scale::Seconds), (to, Scale::Seconds)) => (from, to, Scale::Seconds),
            ((_, Scale::Seconds), _) | (_, (_, Scale::Seconds)) => return Err(mixed()),
            ((from, Scale::Whole), (to, Scale::Whole)) => (from, to, Scale::Whole),
            ((from, _), (to, _)) => (from, to, Scale::Decimal),
        };
        let range = Self { key: key.to_owned(), low: from, high: to, scale };
        if from < to && range.steps() > 0 {
            return Ok(range);
        }
        Err(RangeError::Empty { low: low.to_owned(), high: high.to_owned() })
    }
}

fn value(text: &str) -> Result<(f64, Scale), RangeError> {
    if let Ok(whole) = text.parse::<u32>() {
        return Ok((f64::from(whole), Scale::Whole));
    }
    if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
        return Ok((number, Scale::Decimal));
    }
    let time = duration::parse(text).map_err(|_| RangeError::NoValue(text.to_owned()))?;
    Ok((time.as_secs_f64(), Scale::Seconds))
}

impl Range {
    /// How far it is from the lowest value to the highest, in steps.
    pub fn steps(&self) -> u64 {
        let width = self.high - self.low;
        match self.scale {
            Scale::Whole => width as u64,
            Scale::Decimal => STEPS_MAX,
            Scale::Seconds => ((width * 1e3).round() as u64).min(STEPS_MAX),
        }
    }

    /// The value so many steps of `of` above the lowest.
    pub fn value(&self, step: u64, of: u64) -> f64 {
        let value = self.low + (self.high - self.low) * step as f64 / of as f64;
        match self.scale {
            Scale::Whole => value.round(),
            Scale::Decimal => self.text(value).parse().unwrap_or(value),
            Scale::Seconds => (value * 1e3).round() / 1e3,
        }
    }

    /// A value as `--set` has it.
    pub fn text(&self, value: f64) -> String {
        match self.scale {
            Scale::Whole => value.to_string(),
            Scale::Decimal => {
                // As many as tell two steps apart.
                let digits = (3.0 - (self.high - self.low).log10().floor()).clamp(1.0, 12.0) as usize;
                let text = format!("{value:.digits$}");
                let short = text.trim_end_matches('0');
                // A number with a point, which a setting that is one wants.
                if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
            }
            Scale::Seconds => duration::text(Duration::from_millis((value * 1e3).round() as u64)),
        }
    }

    /// The `key=value` of a value.
    pub fn setting(&self, value: f64) -> String {
        format!("{}={}", self.key, self.text(value))
    }
}

/// How runs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl Serialize for Side {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// How sure to be of each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// One side is believed once it leads by so many runs.
    pub lead: u64,
    /// Runs of one value at most.
    pub runs_max: u64,
}

impl Rule {
    /// The rule by which all of `values` decisions are right with this `confidence`, of 0 to 1.
    pub fn new(confidence: f64, values: u64, runs_max: u64) -> Self {
        let error = (1.0 - confidence) / values as f64;
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
}

/// What was found in a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tips {
    /// The lower one of two neighbouring values is on this side, the other on the other.
    Between {
        /// The lower one.
        low: f64,
        /// The next one.
        high: f64,
        /// Of the lower one.
        side: Side,
    },
    /// Both ends are on this side.
    Nowhere(Side),
}

/// Decisions that the search takes at most.
pub fn decisions(range: &Range) -> u64 {
    u64::from(range.steps().next_power_of_two().ilog2()) + 2
}

/// Looks for where it tips. `ask` says on which side a value is.
///
/// # Errors
/// `ask` has one.
pub fn search<E>(range: &Range, mut ask: impl FnMut(f64) -> Result<Side, E>) -> Result<Tips, E> {
    let (mut low, mut high, steps) = (0, range.steps(), range.steps());
    let side = ask(range.value(low, steps))?;
    if ask(range.value(high, steps))? == side {
        return Ok(Tips::Nowhere(side));
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if ask(range.value(middle, steps))? == side {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(Tips::Between { low: range.value(low, steps), high: range.value(high, steps), side })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use kernel::entropy::{Entropy, unit};

    use super::*;

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    fn found(text: &str, holds: impl Fn(f64) -> bool) -> (Tips, u64) {
        let mut asked = 0;
        let side = |value| -> Result<Side, Infallible> {
            asked += 1;
            Ok(if holds(value) { Side::Holds } else { Side::Fails })
        };
        let tips = search(&range(text), side).unwrap();
        (tips, asked)
    }

    #[test]
    fn values_are_written_as_they_are_set() {
        let settings = |text: &str| {
            let range = range(text);
            let steps = range.steps();
            [0, 1, steps / 2, steps].map(|step| range.text(range.value(step, steps)))
        };
        assert_eq!(settings("load.rate=10..400"), ["10", "11", "205", "400"]);
        assert_eq!(settings("fault.0.duration=1s..20s"), ["1s", "1.148s", "10.5s", "20s"]);
        assert_eq!(settings("fault.0.duration=1ms..3ms"), ["1ms", "2ms", "2ms", "3ms"]);
        assert_eq!(settings("fault.0.rate=0.0..1.0"), ["0.0", "0.008", "0.5", "1.0"]);
        assert_eq!(range("a.b=0.5..3").setting(2.0), "a.b=2.0");
    }

    #[test]
    fn what_is_no_range_is_told_why() {
        let message = |text: &str| text.parse::<Range>().unwrap_err().to_string();
        for text in ["load.rate", "load.rate=10", "=1..2", "a=..5", "a=5..", ""] {
            assert!(message(text).starts_with("a range needs a key and two values"), "{text}");
        }
        assert!(message("a=one..5").starts_with("`one` is neither a number nor a time"));
        assert!(message("a=1..nan").starts_with("`nan` is neither"));
        assert!(message("a=1..5s").starts_with("1 and 5s are not of one kind"));
        assert!(message("a=5..5").starts_with("there is nothing between 5 and 5"));
        assert!(message("a=5s..1s").starts_with("there is nothing between 5s and 1s"));
        assert!(message("a=1us..9us").starts_with("there is nothing between"), "finer than a millisecond");
    }

    #[test]
    fn the_two_values_beside_the_boundary_are_found_in_few_questions() {
        for boundary in [10, 11, 57, 398, 399] {
            let (tips, asked) = found("load.rate=10..400", |value| value <= f64::from(boundary));
            let (low, high) = (f64::from(boundary), f64::from(boundary) + 1.0);
            assert_eq!(tips, Tips::Between { low, high, side: Side::Holds });
            assert!(asked <= decisions(&range("load.rate=10..400")), "{asked}");
        }
        let (tips, _) = found("servers.workers=1..8", |value| value > 3.0);
        assert_eq!(tips, Tips::Between { low: 3.0, high: 4.0, side: Side::Fails });
    }

    #[test]
    fn a_boundary_outside_of_the_range_is_nowhere() {
        assert_eq!(found("load.rate=10..400", |_| true), (Tips::Nowhere(Side::Holds), 2));
        assert_eq!(found("load.rate=10..400", |_| false), (Tips::Nowhere(Side::Fails), 2));
    }

    #[test]
    fn a_side_leads_by_more_the_surer_one_is_to_be() {
        assert_eq!([0.75, 0.95, 0.99, 0.999].map(|sure| Rule::new(sure, 1, 100).lead), [1, 3, 5, 7]);
        assert_eq!(Rule::new(0.95, 11, 100).lead, 5);
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
}
