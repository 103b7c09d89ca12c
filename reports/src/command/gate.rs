//! The checks of a pipeline on a report: the conditions of `--fail-if`, and how CI systems are informed of them.

mod condition;
mod github;
mod junit;

use std::path::{Path, PathBuf};

use clap::Args;
use kernel::{
    cli::{Exit, Failure},
    measure::{
        Summary,
        text::{MISSING, quantity::quantity},
    },
    scenario::Metric,
    visible::Visible,
};
use serde_json::{Value, json};

pub use self::condition::Condition;
use crate::{
    compare::{Comparison, WHOLE},
    distribution::NamedDistribution,
};

/// Options for pipelines.
#[derive(Debug, Clone, Default, Args)]
pub struct GateOptions {
    /// Exits with 1 if this holds, such as 'latency_p95 > +10%' or 'success_rate < 99%'; may be repeated.
    #[arg(long, value_name = "METRIC OP VALUE")]
    pub fail_if: Vec<Condition>,

    /// Also writes the checks to a file in the format of JUnit.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,

    /// Also prints failed checks as annotations of GitHub, and adds all to the summary of the step.
    #[arg(long)]
    pub github: bool,
}

/// One check of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    /// The condition, such as `latency_p95 > +10%`.
    name: String,
    /// The run that it is checked of.
    of: String,
    /// The values.
    detail: String,
    is_failed: bool,
}

impl Check {
    /// Returns the line for the text of the report.
    fn line(&self) -> String {
        let holds = if self.is_failed { "holds" } else { "does not hold" };
        let mark = if self.is_failed { "✗" } else { "✓" };
        format!("  {mark} fail if {}: {holds} for {} ({})\n", self.name, self.of.visible(), self.detail)
    }

    /// Returns the check for programs.
    fn json(&self) -> Value {
        json!({ "condition": self.name, "of": self.of, "values": self.detail, "holds": self.is_failed })
    }
}

/// The checks of a report.
#[derive(Debug, Default)]
pub(super) struct Gate {
    title: String,
    /// The conditions of `--fail-if`.
    conditions: Vec<Check>,
    /// The expectations of a run, which its summary shows already.
    expectations: Vec<Check>,
}

impl Gate {
    /// Checks one run.
    ///
    /// # Errors
    /// A condition is of a difference, or of a metric that the run does not have.
    pub(super) fn of_run(options: &GateOptions, title: &str, summary: &Summary) -> Result<Self, Failure> {
        let mut gate = Self { title: title.to_owned(), ..Self::default() };
        for condition in &options.fail_if {
            gate.check(condition, title, None, summary.overall.get(condition.metric))?;
        }
        gate.expectations = summary.expectations.iter().map(|checked| expectation(checked, title)).collect();
        gate.expectations.push(Check {
            name: "verdict".to_owned(),
            of: title.to_owned(),
            detail: format!("{}, {}", summary.verdict().word(), statuses(summary)),
            is_failed: Exit::from(summary.verdict()) != Exit::Passed,
        });
        Ok(gate)
    }

    /// Checks each side of a comparison against its reference, over the whole run.
    ///
    /// # Errors
    /// A condition is of a metric that a side or the reference does not have.
    pub(super) fn of_comparison(options: &GateOptions, comparison: &Comparison) -> Result<Self, Failure> {
        let mut gate = Self { title: comparison.name(), ..Self::default() };
        let pairs = comparison.scenarios.iter().flat_map(|scenario| &scenario.pairs);
        for pair in pairs {
            let whole = pair.phases.iter().find(|phase| phase.phase == WHOLE);
            for condition in &options.fail_if {
                let metrics = whole.map(|phase| phase.metrics.as_slice()).unwrap_or_default();
                let values = metrics.iter().find(|(metric, _)| *metric == condition.metric).map(|(_, values)| values);
                let reference = values.and_then(|values| values.reference).map(|range| range.median);
                let side = values.and_then(|values| values.side).map(|range| range.median);
                gate.check(condition, &pair.side, Some((&pair.reference, reference)), side)?;
            }
        }
        gate.require_checks(options)
    }

    /// Checks each distribution against the first one, or one alone.
    ///
    /// # Errors
    /// A condition is of something that is not known of a distribution.
    pub(super) fn of_quantiles(options: &GateOptions, named: &[NamedDistribution]) -> Result<Self, Failure> {
        let mut gate = Self { title: named.iter().map(file_name).collect::<Vec<_>>().join(", "), ..Self::default() };
        let reference = named.first().filter(|_| named.len() > 1);
        let sides = &named[usize::from(reference.is_some())..];
        for side in sides {
            for condition in &options.fail_if {
                let reference_name = reference.map(file_name).unwrap_or_default();
                let reference =
                    reference.map(|reference| (reference_name.as_str(), condition.value_in(&reference.distribution)));
                gate.check(condition, &file_name(side), reference, condition.value_in(&side.distribution))?;
            }
        }
        gate.require_checks(options)
    }

    /// Fails if there are conditions, but nothing that they were checked of: that is no pass.
    fn require_checks(self, options: &GateOptions) -> Result<Self, Failure> {
        if !options.fail_if.is_empty() && self.conditions.is_empty() {
            return Err(Failure::wrong_input(
                "--fail-if has nothing to check: there is no run to compare with the first one",
            ));
        }
        Ok(self)
    }

    fn check(
        &mut self,
        condition: &Condition,
        of: &str,
        reference: Option<(&str, Option<f64>)>,
        value: Option<f64>,
    ) -> Result<(), Failure> {
        let known = reference.and_then(|(_, value)| value);
        let is_failed = condition.holds(known, value).map_err(|reason| {
            Failure::wrong_input(format!("--fail-if '{condition}' cannot be checked of {}: {reason}", of.visible()))
        })?;
        let metric = Some(condition.metric);
        let value = value_text(metric, value);
        let against = reference.map(|(name, value)| format!(", {} in {name}", value_text(metric, value)));
        self.conditions.push(Check {
            name: condition.to_string(),
            of: of.to_owned(),
            detail: format!("{value}{}", against.unwrap_or_default()),
            is_failed,
        });
        Ok(())
    }

    /// Returns the exit code of a report whose own is `exit`.
    pub(super) fn exit(&self, exit: Exit) -> Exit {
        let is_failed = self.conditions.iter().any(|check| check.is_failed);
        if is_failed && exit == Exit::Passed { Exit::Failed } else { exit }
    }

    /// Returns the lines for the text of the report; empty if there are no conditions.
    pub(super) fn text(&self) -> String {
        self.conditions.iter().map(Check::line).collect()
    }

    /// Returns the conditions for programs.
    pub(super) fn json(&self) -> Value {
        self.conditions.iter().map(Check::json).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Check> {
        self.expectations.iter().chain(&self.conditions)
    }

    /// Writes the files that `options` ask for, and returns what GitHub reads on the terminal.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn publish(&self, options: &GateOptions) -> Result<String, Failure> {
        if let Some(path) = &options.junit {
            let document = junit::document(&self.title, &self.all().collect::<Vec<_>>());
            std::fs::write(path, document).map_err(|error| unwritable("--junit", path, &error))?;
        }
        if !options.github {
            return Ok(String::new());
        }
        let checks: Vec<&Check> = self.all().collect();
        if let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
            let path = PathBuf::from(path);
            github::append_summary(&path, &self.title, &checks)
                .map_err(|error| unwritable("GITHUB_STEP_SUMMARY", &path, &error))?;
        }
        Ok(github::annotations(&checks))
    }
}

fn unwritable(option: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::wrong_input(format!("{option}: cannot write {}: {error}; name another file", path.visible()))
}

fn value_text(metric: Option<Metric>, value: Option<f64>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| quantity(metric, value))
}

fn statuses(summary: &Summary) -> String {
    let counts: Vec<String> = summary.statuses.iter().map(|(status, count)| format!("{count} {status}")).collect();
    counts.join(", ")
}

fn expectation(checked: &kernel::measure::CheckedExpectation, title: &str) -> Check {
    let metric = checked.metric.parse().ok();
    let during = checked.during.as_ref().map(|phase| format!(" during {phase}")).unwrap_or_default();
    let min = checked.min.map(|min| format!(" at least {}", quantity(metric, min))).unwrap_or_default();
    let max = checked.max.map(|max| format!(" at most {}", quantity(metric, max))).unwrap_or_default();
    Check {
        name: format!("{}{during}{min}{max}", checked.metric),
        of: title.to_owned(),
        detail: value_text(metric, checked.actual),
        is_failed: !checked.pass,
    }
}

/// Returns the name of the file of a distribution.
fn file_name(named: &NamedDistribution) -> String {
    named.place.file_name().unwrap_or_default().visible().to_string()
}
