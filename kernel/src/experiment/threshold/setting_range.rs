//! The range of a setting in which a search looks for thresholds.

use std::{str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::ValueGrid;
use crate::{settings::duration, visible::Visible};

/// Most steps of a range of times or decimals, and of one that is spaced by ratio. Whole numbers are not limited.
const STEPS_MAX: u64 = 128;

/// A setting and two values, between which a search looks for thresholds.
///
/// ```
/// use kernel::experiment::threshold::SettingRange;
///
/// let range: SettingRange = "client.attempt_timeout=100ms..1s".parse()?;
/// assert_eq!(range.setting(0.25), "client.attempt_timeout=250ms");
/// # Ok::<(), kernel::experiment::threshold::RangeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingRange {
    /// Dotted key of the setting, as `--set` takes it.
    pub key: String,
    /// Low end of the range, in seconds if it is a time.
    pub low: f64,
    /// High end of the range, in the unit of `low` and above it.
    pub high: f64,
    /// Kind of the values.
    #[serde(rename = "scale")]
    pub kind: ValueKind,
    /// Spacing of the values.
    pub spacing: Spacing,
}

/// Kind of the values of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueKind {
    /// Whole numbers.
    Whole,
    /// Decimal numbers.
    Decimal,
    /// Times in seconds, rounded to the millisecond.
    Seconds,
}

/// Spacing of the values of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Neighbours have the same difference.
    Linear,
    /// Neighbours have the same ratio, as nearly as the kind of the values allows.
    Logarithmic,
}

/// Reason why a text is no range, or why a range cannot be spaced by ratio.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The text has another form.
    #[error("a range needs a key and two values, such as load.rate=10..400 or fault.0.duration=1s..20s")]
    Malformed,
    /// An end of the range is neither a number nor a time.
    #[error("`{}` is neither a number nor a time, such as 400 or 20s", .0.visible())]
    NoValue(String),
    /// One end is a number and the other a time.
    #[error("{low} and {high} are not of one kind; write two numbers, or two times with their units", low = .low.visible(), high = .high.visible())]
    Mixed {
        /// Low end as written.
        low: String,
        /// High end as written.
        high: String,
    },
    /// There is no value between the two ends.
    #[error("there is nothing between {low} and {high}; write the lower one first", low = .low.visible(), high = .high.visible())]
    Empty {
        /// Low end as written.
        low: String,
        /// High end as written.
        high: String,
    },
    /// The low end is not above 0, so it has no ratio to the other values.
    #[error("the values of `{key}` cannot be spaced by ratio from {low} on; begin above 0, or leave out --log {key}", key = .key.visible())]
    NoRatio {
        /// Key of the setting.
        key: String,
        /// Low end, as `--set` takes it.
        low: String,
    },
}

impl FromStr for SettingRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (key, values) = text.split_once('=').ok_or(RangeError::Malformed)?;
        let (low, high) = values.split_once("..").ok_or(RangeError::Malformed)?;
        let key = key.trim();
        let low = low.trim();
        let high = high.trim();
        if key.is_empty() || low.is_empty() || high.is_empty() {
            return Err(RangeError::Malformed);
        }
        let (from, to, kind) = match (value(low)?, value(high)?) {
            ((from, ValueKind::Seconds), (to, ValueKind::Seconds)) => (from, to, ValueKind::Seconds),
            ((_, ValueKind::Seconds), _) | (_, (_, ValueKind::Seconds)) => {
                return Err(RangeError::Mixed { low: low.to_owned(), high: high.to_owned() });
            }
            ((from, ValueKind::Whole), (to, ValueKind::Whole)) => (from, to, ValueKind::Whole),
            ((from, _), (to, _)) => (from, to, ValueKind::Decimal),
        };
        let range = Self { key: key.to_owned(), low: from, high: to, kind, spacing: Spacing::Linear };
        if from < to && range.grid().steps() > 0 {
            return Ok(range);
        }
        Err(RangeError::Empty { low: low.to_owned(), high: high.to_owned() })
    }
}

/// Returns the value of `text` and its kind.
fn value(text: &str) -> Result<(f64, ValueKind), RangeError> {
    if let Ok(whole) = text.parse::<u32>() {
        return Ok((f64::from(whole), ValueKind::Whole));
    }
    if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
        return Ok((number, ValueKind::Decimal));
    }
    let time = duration::parse(text).map_err(|_| RangeError::NoValue(text.to_owned()))?;
    Ok((time.as_secs_f64(), ValueKind::Seconds))
}

impl SettingRange {
    /// Returns the same range, spaced by ratio.
    ///
    /// # Errors
    ///
    /// Returns an error if the low end is not above 0.
    pub fn logarithmic(self) -> Result<Self, RangeError> {
        if self.rounded(self.low) > 0.0 {
            return Ok(Self { spacing: Spacing::Logarithmic, ..self });
        }
        let low = self.text(self.low);
        Err(RangeError::NoRatio { key: self.key, low })
    }

    /// Returns `count` values of the range, at least two, its ends included; fewer if it does not have as many.
    pub fn spaced(&self, count: u64) -> Vec<f64> {
        let last = count.max(2) - 1;
        let mut values: Vec<f64> = (0..=last).map(|index| self.at(index as f64 / last as f64)).collect();
        values.dedup();
        values
    }

    /// Returns the grid of all values that may be tested.
    pub fn grid(&self) -> ValueGrid {
        let width = self.high - self.low;
        match (self.kind, self.spacing) {
            (ValueKind::Whole, Spacing::Linear) => ValueGrid::Whole { low: self.low, steps: width as u64 },
            (ValueKind::Seconds, Spacing::Linear) => {
                let milliseconds = (width * 1e3).round() as u64;
                ValueGrid::Values(self.spaced(milliseconds.min(STEPS_MAX) + 1))
            }
            _ => ValueGrid::Values(self.spaced(STEPS_MAX + 1)),
        }
    }

    /// Returns the steps of the grid whose values are tested first: `count` steps spread over all of it, its ends included;
    /// fewer if the grid does not have as many.
    pub fn samples(&self, count: u64) -> Vec<u64> {
        let grid = self.grid();
        let mut steps: Vec<u64> = self.spaced(count).into_iter().map(|value| grid.nearest(value)).collect();
        steps.dedup();
        steps
    }

    /// Returns the value at `share` of the range, from 0 to 1.
    fn at(&self, share: f64) -> f64 {
        let value = match self.spacing {
            Spacing::Linear => self.low + (self.high - self.low) * share,
            Spacing::Logarithmic => self.low * (self.high / self.low).powf(share),
        };
        self.rounded(value)
    }

    /// Rounds a value to what its text can express. The ends of the range are kept exactly.
    fn rounded(&self, value: f64) -> f64 {
        match self.kind {
            ValueKind::Whole => value.round(),
            ValueKind::Decimal => self.text(value).parse().unwrap_or(value),
            ValueKind::Seconds => (value * 1e3).round() / 1e3,
        }
    }

    /// Returns the text of a value, as `--set` takes it.
    pub fn text(&self, value: f64) -> String {
        match self.kind {
            ValueKind::Whole => value.to_string(),
            // With a point, as the scenario format does not take a whole number for a setting that is a decimal.
            ValueKind::Decimal if value == self.low || value == self.high => format!("{value:?}"),
            ValueKind::Decimal => {
                let text = format!("{value:.digits$}", digits = self.digits(value));
                let short = text.trim_end_matches('0');
                if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
            }
            ValueKind::Seconds => duration::text(Duration::from_millis((value * 1e3).round() as u64)),
        }
    }

    /// Returns the number of digits after the point by which two neighbours differ.
    fn digits(&self, value: f64) -> usize {
        let width = four_significant(self.high - self.low);
        let digits = match self.spacing {
            Spacing::Linear => width,
            Spacing::Logarithmic => width.max(four_significant(value)),
        };
        digits.clamp(1.0, 12.0) as usize
    }

    /// Returns the setting of a value, a `key=value` as `--set` takes it.
    pub fn setting(&self, value: f64) -> String {
        format!("{}={}", self.key, self.text(value))
    }
}

/// Returns the number of digits after the point with which `number` has four significant digits; negative for a number of
/// more.
fn four_significant(number: f64) -> f64 {
    3.0 - number.abs().log10().floor()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> SettingRange {
        text.parse().unwrap()
    }

    fn message(text: &str) -> String {
        text.parse::<SettingRange>().unwrap_err().to_string()
    }

    fn linear(text: &str) -> [String; 4] {
        settings(&range(text))
    }

    fn logarithmic(text: &str) -> [String; 4] {
        settings(&range(text).logarithmic().unwrap())
    }

    fn samples(range: SettingRange, count: u64) -> String {
        let grid = range.grid();
        range.samples(count).into_iter().map(|step| range.text(grid.value(step))).collect::<Vec<_>>().join(" ")
    }

    /// Returns the text of the lowest value, the next one, the middle and the highest.
    fn settings(range: &SettingRange) -> [String; 4] {
        let grid = range.grid();
        let steps = grid.steps();
        [0, 1, steps / 2, steps].map(|step| range.text(grid.value(step)))
    }

    #[test]
    fn the_text_of_a_value_is_what_set_takes() {
        assert_eq!(linear("load.rate=10..400"), ["10", "11", "205", "400"]);
        assert_eq!(linear("fault.0.duration=1s..20s"), ["1s", "1.148s", "10.5s", "20s"]);
        assert_eq!(linear("fault.0.duration=1ms..3ms"), ["1ms", "2ms", "2ms", "3ms"]);
        assert_eq!(linear("fault.0.rate=0.0..1.0"), ["0.0", "0.008", "0.5", "1.0"]);
        assert_eq!(linear("a.b=0.001..100"), ["0.001", "0.78", "50.0", "100.0"]);
        assert_eq!(range("a.b=0.5..3").setting(2.0), "a.b=2.0");
    }

    #[test]
    fn values_spaced_by_ratio_are_denser_where_they_are_low() {
        assert_eq!(logarithmic("load.rate=10..1000"), ["10", "11", "120", "1000"]);
        assert_eq!(logarithmic("fault.0.duration=10ms..100s"), ["10ms", "11ms", "1s", "1m40s"]);
        assert_eq!(logarithmic("fault.0.rate=0.0001..1.0"), ["0.0001", "0.0001075", "0.01", "1.0"]);
        let values = range("load.rate=1..100").logarithmic().unwrap().spaced(3);
        assert_eq!(values, [1.0, 10.0, 100.0]);
    }

    #[test]
    fn the_samples_are_spread_over_all_of_the_range() {
        assert_eq!(samples(range("load.rate=10..39"), 9), "10 14 17 21 25 28 32 35 39");
        assert_eq!(samples(range("load.rate=10..400"), 2), "10 400");
        assert_eq!(samples(range("a=0s..8s"), 9), "0s 1s 2s 3s 4s 5s 6s 7s 8s");
        assert_eq!(samples(range("load.rate=2..128").logarithmic().unwrap(), 7), "2 4 8 16 32 65 128");
        assert_eq!(samples(range("servers.workers=1..4"), 9), "1 2 3 4", "all that there are");
        assert_eq!(range("a=0.0..1.0").samples(1_000).len(), 129, "all that differ");
    }

    #[test]
    fn no_value_occurs_twice() {
        for text in ["load.rate=1..40", "fault.0.duration=1ms..1s", "fault.0.rate=1.0..1.01"] {
            let ValueGrid::Values(values) = range(text).logarithmic().unwrap().grid() else { panic!("{text}") };
            assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{text}: {values:?}");
            assert!(values.len() > 30, "{text}: {values:?}");
        }
        assert_eq!(range("servers.workers=1..3").spaced(7), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn an_invalid_range_is_rejected_with_the_reason() {
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
