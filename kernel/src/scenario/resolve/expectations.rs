//! `[[expect]]`: bounds on metrics, each in its metric's unit.

use std::time::Duration;

use toml::Spanned;

use super::{limits, required};
use crate::scenario::{
    error::Problem,
    metric::Unit,
    model::{Expectation, Metric, Phase},
    nearest::{backticked, nearest},
    raw,
    setting::{Setting, Untyped},
    table::Table,
};

pub(super) fn all(raw: &[Spanned<Table<raw::Expect>>], faults: usize) -> Result<Vec<Expectation>, Problem> {
    raw.iter().map(|expectation| one(expectation, faults)).collect()
}

fn one(raw: &Spanned<Table<raw::Expect>>, faults: usize) -> Result<Expectation, Problem> {
    let (table, raw) = (raw.span(), raw.get_ref());
    let metric = required(raw.metric.as_ref(), Some(table.clone()), "metric = \"success_rate\"")?.read()?.0;
    let bound = |setting: Option<&Setting<Untyped>>| setting.map(|setting| bound(setting, metric)).transpose();
    let (min, max) = (bound(raw.min.as_ref())?, bound(raw.max.as_ref())?);
    match (&raw.min, min, max) {
        (_, None, None) => {
            return Err(Problem::at(table, format!("nothing is expected of `{metric}`; give it `min`, `max` or both")));
        }
        (Some(setting), Some(min), Some(max)) if min > max => {
            return Err(Problem::at(setting.span(), "`min` is over `max`, so that no value can hold; swap them?"));
        }
        _ => {}
    }
    let during = raw.during.as_ref().map(|setting| phase(setting, metric, faults)).transpose()?;
    Ok(Expectation { metric, during, min, max })
}

/// In the metric's base unit.
fn bound(setting: &Setting<Untyped>, metric: Metric) -> Result<f64, Problem> {
    let (bound, unit) = match metric.unit() {
        Unit::Seconds => {
            let time = setting.retyped::<Duration>().within(&limits::WAIT);
            (time.map(|time| time.as_secs_f64()), "a time, such as \"5s\"")
        }
        Unit::Share => (setting.retyped().within(&limits::SHARE), "a share of the whole: for 98 % write 0.98"),
        Unit::PerSecond => (setting.retyped().within(&limits::AMOUNT), "a rate per second, such as 4.5"),
        Unit::Count => (setting.retyped().within(&limits::AMOUNT), "a count, such as 10"),
    };
    bound.map_err(|problem| problem.help(format!("`{metric}` is {unit}")))
}

fn phase(setting: &Setting<String>, metric: Metric, faults: usize) -> Result<Phase, Problem> {
    let text = setting.read()?;
    let phases: Vec<_> =
        [Phase::Before].into_iter().chain((0..faults).map(Phase::Fault)).chain([Phase::After]).collect();
    let names: Vec<_> = phases.iter().map(Phase::to_string).collect();
    let Ok(phase) = text.parse::<Phase>() else {
        let guess = nearest(&text, names.iter().map(String::as_str));
        let guess = guess.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        let message = format!("`{text}` is not a phase{guess}");
        return Err(Problem::at(setting.span(), message).help(format!("allowed: {}", backticked(&names))));
    };
    match phase {
        Phase::Fault(index) if index >= faults => Err(no_such_fault(setting, index, faults)),
        Phase::Before | Phase::After if metric.is_of_a_fault() => {
            let message = format!("`{metric}` is measured from a fault's start and has no value for `{phase}`");
            Err(Problem::at(setting.span(), message).help("name a fault, such as \"fault-0\", or leave `during` out"))
        }
        _ => Ok(phase),
    }
}

fn no_such_fault(setting: &Setting<String>, index: usize, faults: usize) -> Problem {
    let problem = Problem::at(setting.span(), format!("there is no fault {index}"));
    problem.help(match faults {
        0 => "the file has no [[fault]]".to_owned(),
        1 => "the file has one [[fault]], which is `fault-0`".to_owned(),
        _ => format!("the file has {faults} [[fault]] entries, `fault-0` to `fault-{}`", faults - 1),
    })
}
