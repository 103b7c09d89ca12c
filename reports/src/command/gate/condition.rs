//! A condition of `--fail-if`: a metric, an operator and a bound.

use std::{fmt, str::FromStr};

use kernel::{
    scenario::{Metric, Unit, duration},
    visible::Visible,
};

use crate::distribution::Distribution;

/// A condition on a metric of the whole run.
///
/// A bound without a sign is a value (`250ms`, `99%`, `12`). With a sign it is a difference from the reference: a percentage
/// of the reference's value (`+10%`), percentage points of a share (`-0.5pp`), or a difference in the metric's unit (`+20ms`).
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub(super) metric: Metric,
    operator: Operator,
    bound: Bound,
    /// The condition as it was written.
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// The operators. Longer ones come first, as they begin with others.
const OPERATORS: [(&str, Operator); 4] =
    [(">=", Operator::AtLeast), ("<=", Operator::AtMost), (">", Operator::Above), ("<", Operator::Below)];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    Value(f64),
    /// The difference from the reference.
    Difference(f64),
    /// The difference as a share of the reference.
    Relative(f64),
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let at = text.find(['<', '>']).ok_or("write it as METRIC OP VALUE, such as 'latency_p95 > +10%'")?;
        let found = OPERATORS.into_iter().find(|(sign, _)| text[at..].starts_with(sign));
        let (sign, operator) = found.ok_or("the operators are >, >=, < and <=")?;
        let metric: Metric = text[..at].trim().parse().map_err(|error| format!("{error}"))?;
        let bound = bound(metric, text[at + sign.len()..].trim())?;
        Ok(Self { metric, operator, bound, text: text.to_owned() })
    }
}

/// Returns the message for a text that is no bound of `metric`.
fn no_bound(metric: Metric, text: &str) -> String {
    let example = match metric.unit() {
        Unit::Share => "99%, +10% or -0.5pp",
        Unit::Seconds => "250ms, +10% or +20ms",
        Unit::PerSecond | Unit::Count => "12, +10% or +3",
    };
    format!("`{}` is no bound of {}; write it as {example}", text.visible(), <&str>::from(metric))
}

fn finite_number(text: &str) -> Option<f64> {
    text.trim_end().parse().ok().filter(|number: &f64| number.is_finite())
}

fn bound(metric: Metric, text: &str) -> Result<Bound, String> {
    let sign = match text.as_bytes().first() {
        Some(b'+') => Some(1.0),
        Some(b'-') => Some(-1.0),
        _ => None,
    };
    let size = if sign.is_some() { text[1..].trim_start() } else { text };
    // A second sign is a mistake that numbers would take.
    if size.starts_with(['+', '-']) {
        return Err(no_bound(metric, text));
    }
    let percent = size.strip_suffix('%').and_then(finite_number).map(|percent| percent / 100.0);
    let points = size.strip_suffix("pp").and_then(finite_number).map(|points| points / 100.0);
    let in_unit = match metric.unit() {
        Unit::Seconds => duration::parse(size).ok().map(|length| length.as_secs_f64()),
        Unit::Share => points,
        Unit::PerSecond | Unit::Count => finite_number(size),
    };
    let bound = match (sign, percent) {
        (Some(sign), Some(percent)) => Some(Bound::Relative(sign * percent)),
        (Some(sign), None) => in_unit.map(|size| Bound::Difference(sign * size)),
        (None, Some(percent)) if metric.unit() == Unit::Share => Some(Bound::Value(percent)),
        (None, None) if metric.unit() != Unit::Share => in_unit.map(Bound::Value),
        (None, _) => None,
    };
    bound.ok_or_else(|| no_bound(metric, text))
}

impl Condition {
    /// Returns whether it holds for a value, and that of the reference.
    ///
    /// # Errors
    /// One of them is needed and missing.
    pub(super) fn holds(&self, reference: Option<f64>, value: Option<f64>) -> Result<bool, String> {
        let value = value.ok_or("it has no such value")?;
        let bound = match self.bound {
            Bound::Value(bound) => bound,
            Bound::Difference(difference) => reference.ok_or(NO_REFERENCE)? + difference,
            Bound::Relative(share) => reference.ok_or(NO_REFERENCE)? * (1.0 + share),
        };
        Ok(match self.operator {
            Operator::Above => value > bound,
            Operator::AtLeast => value >= bound,
            Operator::Below => value < bound,
            Operator::AtMost => value <= bound,
        })
    }

    /// Returns the value of the metric in a distribution; `None` if its quantiles do not show it.
    pub(super) fn value_in(&self, distribution: &Distribution) -> Option<f64> {
        match self.metric {
            Metric::LatencyP50 => distribution.at(0.5),
            Metric::LatencyP90 => distribution.at(0.9),
            Metric::LatencyP95 => distribution.at(0.95),
            Metric::LatencyP99 => distribution.at(0.99),
            Metric::LatencyP999 => distribution.at(0.999),
            Metric::LatencyMax => distribution.at(1.0),
            Metric::SuccessRate => {
                let count = distribution.count.filter(|count| *count > 0)?;
                Some(1.0 - distribution.failed? as f64 / count as f64)
            }
            _ => None,
        }
    }
}

const NO_REFERENCE: &str = "there is no value to compare with; name the run to compare with first";

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.visible().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, reference: f64, value: f64) -> bool {
        text.parse::<Condition>().unwrap().holds(Some(reference), Some(value)).unwrap()
    }

    #[test]
    fn bounds_are_values_or_differences() {
        assert!(holds("latency_p95 > +10%", 0.1, 0.111) && !holds("latency_p95 > +10%", 0.1, 0.109));
        assert!(holds("latency_p95>+20ms", 0.1, 0.121) && !holds("latency_p95 > +20ms", 0.1, 0.119));
        assert!(holds("latency_p95 > 250ms", 0.1, 0.26) && !holds("latency_p95 >= 250ms", 9.0, 0.1));
        assert!(holds("success_rate < 99%", 1.0, 0.98) && !holds("success_rate < 99%", 1.0, 0.995));
        assert!(holds("success_rate < -0.5pp", 1.0, 0.99) && !holds("success_rate < -0.5pp", 1.0, 0.996));
        assert!(holds("goodput <= -5%", 100.0, 95.0) && !holds("goodput < -5%", 100.0, 95.0));
        assert!(holds("goodput < 12", 0.0, 11.5));
    }

    #[test]
    fn what_is_no_condition_says_what_would_be_one() {
        let error = |text: &str| text.parse::<Condition>().unwrap_err();
        assert!(error("latency_p95").contains("'latency_p95 > +10%'"));
        assert!(error("latency_p96 > 1s").contains("latency_p9"), "{}", error("latency_p96 > 1s"));
        for text in [
            "latency_p95 > 5",
            "latency_p95 > +-5%",
            "latency_p95 > 5%",
            "latency_p95 >",
            "success_rate < 0.9",
            "goodput < 1ms",
        ] {
            assert!(error(text).contains("write it as"), "{text}: {}", error(text));
        }
        let condition: Condition = "latency_p95 > +1%".parse().unwrap();
        assert!(condition.holds(None, Some(1.0)).is_err() && condition.holds(Some(1.0), None).is_err());
    }
}
