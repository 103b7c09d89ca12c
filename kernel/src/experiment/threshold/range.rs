//! A setting, and the values of it among which to look for where runs tip.

use std::{str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::scenario::duration;

/// Steps of a range of times or decimals, and of one that is spaced by ratio. Otherwise whole numbers are all there.
const STEPS_MAX: u64 = 128;

/// A setting, and between which of its values to look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Dotted, as `--set` has it.
    pub key: String,
    /// As the other one, in seconds if it is a time.
    pub low: f64,
    /// Over `low`.
    pub high: f64,
    /// What the values are.
    pub scale: Scale,
    /// How they are spread over the range.
    pub spacing: Spacing,
}

/// What the values of a range are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Whole numbers.
    Whole,
    /// Numbers.
    Decimal,
    /// Times, to the millisecond.
    Seconds,
}

/// How the values of a range are spread over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Neighbours differ by as much.
    Linear,
    /// Neighbours have the same ratio, as near as the scale allows.
    Logarithmic,
}

/// Why a text is no range, or a range cannot be as it is to be.
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
    /// Its lowest value has no ratio to the others.
    #[error("the values of `{key}` cannot be spaced by ratio from {low} on; begin above 0, or leave out --log {key}")]
    NoRatio {
        /// Of the setting.
        key: String,
        /// As `--set` has it.
        low: String,
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
        let range = Self { key: key.to_owned(), low: from, high: to, scale, spacing: Spacing::Linear };
        if from < to && range.ladder().steps() > 0 {
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
    /// The same, spaced by ratio.
    ///
    /// # Errors
    /// The lowest value is not above 0.
    pub fn logarithmic(self) -> Result<Self, RangeError> {
        if self.rounded(self.low) > 0.0 {
            return Ok(Self { spacing: Spacing::Logarithmic, ..self });
        }
        let low = self.text(self.low);
        Err(RangeError::NoRatio { key: self.key, low })
    }

    /// So many values of it, at least two, its ends included; fewer where the scale has no more.
    pub fn spaced(&self, count: u64) -> Vec<f64> {
        let last = count.max(2) - 1;
        let mut values: Vec<f64> = (0..=last).map(|index| self.at(index as f64 / last as f64)).collect();
        values.dedup();
        values
    }

    /// Everything that may be asked.
    pub fn ladder(&self) -> Ladder {
        let width = self.high - self.low;
        match (self.scale, self.spacing) {
            (Scale::Whole, Spacing::Linear) => Ladder::Whole { low: self.low, steps: width as u64 },
            (Scale::Seconds, Spacing::Linear) => {
                let milliseconds = (width * 1e3).round() as u64;
                Ladder::Values(self.spaced(milliseconds.min(STEPS_MAX) + 1))
            }
            _ => Ladder::Values(self.spaced(STEPS_MAX + 1)),
        }
    }

    /// The steps of its ladder whose values are the first to be asked: so many, spread over all of it, its ends included;
    /// fewer where there are no more.
    pub fn samples(&self, count: u64) -> Vec<u64> {
        let ladder = self.ladder();
        let mut steps: Vec<u64> = self.spaced(count).into_iter().map(|value| ladder.nearest(value)).collect();
        steps.dedup();
        steps
    }

    /// The value at a share of the range.
    fn at(&self, share: f64) -> f64 {
        let value = match self.spacing {
            Spacing::Linear => self.low + (self.high - self.low) * share,
            Spacing::Logarithmic => self.low * (self.high / self.low).powf(share),
        };
        self.rounded(value)
    }

    /// To what `text` tells apart. Of the ends nothing is lost.
    fn rounded(&self, value: f64) -> f64 {
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
            // A number with a point, which a setting that is one wants.
            Scale::Decimal if value == self.low || value == self.high => format!("{value:?}"),
            Scale::Decimal => {
                let text = format!("{value:.digits$}", digits = self.digits(value));
                let short = text.trim_end_matches('0');
                if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
            }
            Scale::Seconds => duration::text(Duration::from_millis((value * 1e3).round() as u64)),
        }
    }

    /// As many behind the point as tell two steps apart.
    fn digits(&self, value: f64) -> usize {
        let four_of = |number: f64| 3.0 - number.abs().log10().floor();
        let of_width = four_of(self.high - self.low);
        let digits = match self.spacing {
            Spacing::Linear => of_width,
            Spacing::Logarithmic => of_width.max(four_of(value)),
        };
        digits.clamp(1.0, 12.0) as usize
    }

    /// The `key=value` of a value.
    pub fn setting(&self, value: f64) -> String {
        format!("{}={}", self.key, self.text(value))
    }
}

/// The values of a range, step by step from the lowest to the highest.
#[derive(Debug, Clone, PartialEq)]
pub enum Ladder {
    /// Whole numbers, of which there may be many.
    Whole {
        /// The lowest.
        low: f64,
        /// To the highest.
        steps: u64,
    },
    /// Ascending, none twice, at least one.
    Values(Vec<f64>),
}

impl Ladder {
    /// How far it is from the lowest value to the highest.
    pub fn steps(&self) -> u64 {
        match self {
            Self::Whole { steps, .. } => *steps,
            Self::Values(values) => values.len() as u64 - 1,
        }
    }

    /// The value so many steps above the lowest, at most [`steps`](Self::steps).
    pub fn value(&self, step: u64) -> f64 {
        match self {
            Self::Whole { low, .. } => low + step as f64,
            Self::Values(values) => values[step as usize],
        }
    }

    /// The step whose value is the nearest to `value`, which is within the range.
    fn nearest(&self, value: f64) -> u64 {
        match self {
            Self::Whole { low, .. } => (value - low).round() as u64,
            Self::Values(values) => {
                let above = values.partition_point(|other| *other < value).min(values.len() - 1);
                let below = above.saturating_sub(1);
                let nearest = if value - values[below] < values[above] - value { below } else { above };
                nearest as u64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    /// The lowest, the next one, the middle and the highest.
    fn settings(range: &Range) -> [String; 4] {
        let ladder = range.ladder();
        let steps = ladder.steps();
        [0, 1, steps / 2, steps].map(|step| range.text(ladder.value(step)))
    }

    #[test]
    fn values_are_written_as_they_are_set() {
        let settings = |text: &str| settings(&range(text));
        assert_eq!(settings("load.rate=10..400"), ["10", "11", "205", "400"]);
        assert_eq!(settings("fault.0.duration=1s..20s"), ["1s", "1.148s", "10.5s", "20s"]);
        assert_eq!(settings("fault.0.duration=1ms..3ms"), ["1ms", "2ms", "2ms", "3ms"]);
        assert_eq!(settings("fault.0.rate=0.0..1.0"), ["0.0", "0.008", "0.5", "1.0"]);
        assert_eq!(settings("a.b=0.001..100"), ["0.001", "0.78", "50.0", "100.0"]);
        assert_eq!(range("a.b=0.5..3").setting(2.0), "a.b=2.0");
    }

    #[test]
    fn values_spaced_by_ratio_are_denser_where_they_are_low() {
        let settings = |text: &str| settings(&range(text).logarithmic().unwrap());
        assert_eq!(settings("load.rate=10..1000"), ["10", "11", "120", "1000"]);
        assert_eq!(settings("fault.0.duration=10ms..100s"), ["10ms", "11ms", "1s", "1m40s"]);
        assert_eq!(settings("fault.0.rate=0.0001..1.0"), ["0.0001", "0.0001075", "0.01", "1.0"]);
        let values = range("load.rate=1..100").logarithmic().unwrap().spaced(3);
        assert_eq!(values, [1.0, 10.0, 100.0]);
    }

    #[test]
    fn the_first_values_to_be_asked_are_spread_over_all_of_the_range() {
        let samples = |range: Range, count| {
            let ladder = range.ladder();
            range.samples(count).into_iter().map(|step| range.text(ladder.value(step))).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(samples(range("load.rate=10..39"), 9), "10 14 17 21 25 28 32 35 39");
        assert_eq!(samples(range("load.rate=10..400"), 2), "10 400");
        assert_eq!(samples(range("a=0s..8s"), 9), "0s 1s 2s 3s 4s 5s 6s 7s 8s");
        assert_eq!(samples(range("load.rate=2..128").logarithmic().unwrap(), 7), "2 4 8 16 32 65 128");
        assert_eq!(samples(range("servers.workers=1..4"), 9), "1 2 3 4", "all that there are");
        assert_eq!(range("a=0.0..1.0").samples(1_000).len(), 129, "all that are told apart");
    }

    #[test]
    fn no_value_is_there_twice() {
        for text in ["load.rate=1..40", "fault.0.duration=1ms..1s", "fault.0.rate=1.0..1.01"] {
            let Ladder::Values(values) = range(text).logarithmic().unwrap().ladder() else { panic!("{text}") };
            assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{text}: {values:?}");
            assert!(values.len() > 30, "{text}: {values:?}");
        }
        assert_eq!(range("servers.workers=1..3").spaced(7), [1.0, 2.0, 3.0]);
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
        for text in ["a=0..5", "a=0.0..5.0", "a=-1.0..5", "a=0s..5s", "a=10us..5s"] {
            let message = range(text).logarithmic().unwrap_err().to_string();
            assert!(message.starts_with("the values of `a` cannot be spaced by ratio from "), "{message}");
        }
    }
}
