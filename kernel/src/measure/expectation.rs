//! `[[expect]]`: bounds on metrics, each in its metric's unit, and the phases that they are about.

use std::{fmt, str::FromStr, time::Duration};

use serde_json::{Value, json};

use super::metric::{Metric, Unit};
use crate::settings::{
    limits,
    named::UnknownName,
    nearest::{backticked, nearest},
    problem::{Problem, Problems},
    table::{TableInfo, TableReader},
    table_macro::{NOT_DRAWN, keys},
    toml_writer::TomlWriter,
    value::{Codec, Item},
};

/// A bound on a metric; a run passes when every one holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// The metric with the bounds.
    pub metric: Metric,
    /// The part of the run it is measured over; `None` is the whole run, or every fault for a metric of faults.
    pub during: Option<Phase>,
    /// The lower bound in the metric's base unit (see [`Metric`]); at least one of the two is given.
    pub min: Option<f64>,
    /// The upper bound, no less than `min`.
    pub max: Option<f64>,
}

/// A part of a run; phases may overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The time until the first fault.
    Before,
    /// The time from the start of the fault at this index until it is lifted and the client has recovered, at least 3 s.
    Fault(usize),
    /// The times between those of faults.
    Between,
    /// The time from the end of the last of those.
    After,
}

keys! {
    /// The metric with the bounds.
    const METRIC = metric: Metric [required] = Metric::SuccessRate, (), NOT_DRAWN;
    /// The phase: `before`, `fault-N`, `between`, or `after`; without it the whole run, or every fault for a metric of faults.
    const DURING = during: Option<String> = None, (), NOT_DRAWN;
    /// The lower bound; at least one of the two is needed.
    const MIN = min: Option<Bound> = None, (), NOT_DRAWN;
    /// The upper bound, no less than `min`.
    const MAX = max: Option<Bound> = None, (), NOT_DRAWN;
}

/// A duration or a number, as the metric has it: read as one of the two only when the metric is known.
struct Bound;

impl Codec for Bound {
    type Target = f64;
    type Limits = ();

    fn type_name() -> String {
        "duration or number".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<f64, Problem> {
        f64::read(item, &limits::AMOUNT)
    }

    fn written(_: &f64) -> Option<String> {
        None
    }

    fn schema((): &()) -> Value {
        json!({ "anyOf": [Duration::schema(&limits::WAIT), f64::schema(&limits::AMOUNT)] })
    }
}

impl Expectation {
    /// The declaration of `[[expect]]`.
    pub(crate) const TABLE: &'static TableInfo = &TableInfo {
        doc: "`[[expect]]`: a bound on a metric; a run passes when every one holds.",
        keys: &[&METRIC, &DURING, &MIN, &MAX],
        ..TableInfo::EMPTY
    };

    /// Reads one item of `[[expect]]` in a scenario of that many faults.
    ///
    /// # Errors
    ///
    /// Returns every problem of the item. Without a valid metric, nothing else is checked, as the unit is unknown.
    pub(crate) fn read(table: &TableReader<'_, '_>, faults: usize) -> Result<Self, Problems> {
        let metric = METRIC.read(table)?;
        let mut problems = Problems::default();
        let bounds = problems.keep(bounds(table, metric));
        let during = table.get(DURING.name).map(|item| phase(item, metric, faults)).transpose();
        match (bounds, problems.keep(during)) {
            (Some((min, max)), Some(during)) => Ok(Self { metric, during, min, max }),
            _ => Err(problems),
        }
    }

    /// Writes the keys of one item of `[[expect]]`.
    pub(crate) fn write_keys(&self, toml: &mut TomlWriter) {
        METRIC.write(toml, &self.metric);
        DURING.write(toml, &self.during.map(|phase| phase.to_string()));
        for (key, bound) in [(MIN.name, self.min), (MAX.name, self.max)] {
            let written = bound.and_then(|bound| match self.metric.unit() {
                // Exact for what was read from a duration: a day in nanoseconds is far below 2^53.
                Unit::Seconds => Duration::written(&Duration::try_from_secs_f64(bound).unwrap_or(Duration::MAX)),
                Unit::Share | Unit::PerSecond | Unit::Count => f64::written(&bound),
            });
            if let Some(written) = written {
                toml.key(key, written);
            }
        }
    }
}

/// Reads `min` and `max`, of which at least one is given, in the metric's base unit.
fn bounds(table: &TableReader<'_, '_>, metric: Metric) -> Result<(Option<f64>, Option<f64>), Problems> {
    let mut problems = Problems::default();
    let min = problems.keep(bound(table, MIN.name, metric));
    let max = problems.keep(bound(table, MAX.name, metric));
    let (Some(min), Some(max)) = (min, max) else { return Err(problems) };
    match (table.span(MIN.name), min, max) {
        (_, None, None) => {
            let message = format!("`{metric}` has no bound; give it `min`, `max` or both");
            Err(Problem::new(table.own_span(), message).missing(MIN.name).into())
        }
        (Some(span), Some(min), Some(max)) if min > max => {
            Err(Problem::at(span, "`min` is over `max`, so that no value can hold; swap them?").into())
        }
        _ => Ok((min, max)),
    }
}

/// Reads the bound called `key` in the metric's base unit.
fn bound(table: &TableReader<'_, '_>, key: &str, metric: Metric) -> Result<Option<f64>, Problem> {
    let Some(item) = table.get(key) else { return Ok(None) };
    let (bound, unit) = match metric.unit() {
        Unit::Seconds => {
            let time = Duration::read(item, &limits::WAIT);
            (time.map(|time| time.as_secs_f64()), "a time, such as \"5s\"")
        }
        Unit::Share => (f64::read(item, &limits::SHARE), "a share of the whole: for 98 % write 0.98"),
        Unit::PerSecond => (f64::read(item, &limits::AMOUNT), "a rate per second, such as 4.5"),
        Unit::Count => (f64::read(item, &limits::AMOUNT), "a count, such as 10"),
    };
    bound.map(Some).map_err(|problem| problem.help(format!("`{metric}` is {unit}")))
}

fn phase(item: &Item<'_>, metric: Metric, faults: usize) -> Result<Phase, Problem> {
    let text = String::read(item, &())?;
    let phases = [Phase::Before].into_iter().chain((0..faults).map(Phase::Fault)).chain([Phase::Between, Phase::After]);
    let names: Vec<_> = phases.map(|phase| phase.to_string()).collect();
    let Ok(phase) = text.parse::<Phase>() else {
        let guess = nearest(&text, names.iter().map(String::as_str));
        let guess = guess.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        let message = format!("`{text}` is not a phase{guess}");
        return Err(Problem::at(item.span(), message).help(format!("allowed: {}", backticked(&names))));
    };
    match phase {
        Phase::Fault(index) if index >= faults => Err(no_such_fault(item, index, faults)),
        Phase::Before | Phase::Between | Phase::After if metric.is_of_a_fault() => {
            let message = format!("`{metric}` is measured from a fault's start and has no value for `{phase}`");
            Err(Problem::at(item.span(), message).help("name a fault, such as \"fault-0\", or leave `during` out"))
        }
        _ if metric == Metric::Amplification => {
            let message = format!("`{metric}` is measured over the whole run and has no value for `{phase}`");
            Err(Problem::at(item.span(), message).help("leave `during` out"))
        }
        _ => Ok(phase),
    }
}

fn no_such_fault(item: &Item<'_>, index: usize, faults: usize) -> Problem {
    Problem::at(item.span(), format!("there is no fault {index}")).help(match faults {
        0 => "the file has no [[fault]]".to_owned(),
        1 => "the file has one [[fault]], which is `fault-0`".to_owned(),
        _ => format!("the scenario has {faults} faults, `fault-0` to `fault-{}`", faults - 1),
    })
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before => f.pad("before"),
            Self::Fault(index) => f.pad(&format!("fault-{index}")),
            Self::Between => f.pad("between"),
            Self::After => f.pad("after"),
        }
    }
}

impl FromStr for Phase {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = text.strip_prefix("fault-").and_then(|number| number.parse().ok()).map(Self::Fault);
        // The comparison refuses other spellings of the number, such as `fault-01`.
        let phases = [Some(Self::Before), Some(Self::Between), Some(Self::After), fault].into_iter().flatten();
        let found = phases.into_iter().find(|phase| phase.to_string() == text);
        found.ok_or_else(|| UnknownName::new(text, "a phase", "`before`, `between`, `after`, `fault-0`, `fault-1`, …"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_read_back_as_they_are_written() {
        for phase in [Phase::Before, Phase::Fault(0), Phase::Fault(12), Phase::Between, Phase::After] {
            assert_eq!(phase.to_string().parse(), Ok(phase));
        }
        for text in ["fault-", "fault-01", "fault-+1", "fault--1", "during", ""] {
            assert!(text.parse::<Phase>().is_err(), "{text}");
        }
    }
}
