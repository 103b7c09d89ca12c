//! Compares runs: grouped by scenario and, within it, by world.
//!
//! The runs of a scenario make two or more sides: its worlds or, if there is only one, its runs. The first side is the
//! reference: the real world if there are real runs, otherwise the first run named. Each other side is compared with the
//! reference: every metric of every phase, the latency distributions, the mix of statuses and the series over time.

pub mod distance;
mod json;
mod pair;
mod sample;
pub mod series;
mod side;

use std::{path::PathBuf, time::Duration};

use kernel::visible::Visible;

pub(crate) use self::side::{counts_of_both, statuses};
pub use self::{
    pair::{MedianRange, MetricPair, PhaseDistances, PhasePair, SeriesPair, SidePair},
    sample::Sample,
    series::Series,
    side::{ComparisonSide, Member, WHOLE},
};
use crate::{read::ReadError, run::RecordedRun};

/// The comparison of several runs.
#[derive(Debug)]
pub struct Comparison {
    /// The scenarios, in order of their names.
    pub scenarios: Vec<ScenarioComparison>,
    /// Notes on missing or inconsistent data, each a sentence.
    pub notes: Vec<String>,
}

/// The runs of one scenario.
#[derive(Debug)]
pub struct ScenarioComparison {
    /// The name of the scenario.
    pub scenario: String,
    /// The sides, the reference first.
    pub sides: Vec<ComparisonSide>,
    /// Each other side against the reference, in the order of `sides`.
    pub pairs: Vec<SidePair>,
}

impl Comparison {
    /// Compares `runs`, with plots in windows of `window`. The rows of a run are released before the next run is taken.
    ///
    /// # Errors
    /// A run cannot be read, or has too many windows.
    pub fn from_runs(
        runs: impl IntoIterator<Item = Result<RecordedRun, ReadError>>,
        window: Duration,
    ) -> Result<Self, ReadError> {
        let mut notes: Vec<String> = Vec::new();
        let mut members: Vec<Member> = Vec::new();
        for run in runs {
            let member = Member::from_run(run?, window)?;
            notes.extend(member.notes.iter().map(|note| format!("{}: {note}", member.place.visible())));
            members.push(member);
        }
        group_logs(&mut members);
        let mut names: Vec<String> = members.iter().map(|member| member.summary.scenario.clone()).collect();
        names.sort();
        names.dedup();
        if names.len() > 1 {
            notes.push(format!("the runs are of {} scenarios; each scenario is compared separately", names.len()));
        }
        let mut scenarios = Vec::with_capacity(names.len());
        for name in names {
            let (of_scenario, rest): (Vec<Member>, Vec<Member>) =
                members.into_iter().partition(|member| member.summary.scenario == name);
            members = rest;
            notes.extend(unlike(&name, &of_scenario));
            let sides = side::sides(of_scenario);
            if sides.len() == 1 {
                notes.push(format!("{name} has only one run, so there is no comparison"));
            }
            let pairs = sides.iter().skip(1).map(|side| SidePair::compare(&sides[0], side)).collect();
            scenarios.push(ScenarioComparison { scenario: name, sides, pairs });
        }
        Ok(Self { scenarios, notes })
    }

    /// Returns the name of the comparison's folder: the scenarios and the sides, at most 100 characters.
    pub fn name(&self) -> String {
        let name = self.scenarios.iter().map(ScenarioComparison::name).collect::<Vec<_>>().join("-");
        // Names of files are 255 bytes at most.
        name.chars().take(100).collect()
    }

    /// Returns the path of each run as it was given.
    pub fn places(&self) -> impl Iterator<Item = &PathBuf> {
        self.members().map(|member| &member.place)
    }

    /// Returns the runs in the order of scenarios and sides.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.scenarios.iter().flat_map(|scenario| &scenario.sides).flat_map(|side| &side.members)
    }
}

impl ScenarioComparison {
    /// Returns the part of the folder's name that stands for this scenario and its sides.
    fn name(&self) -> String {
        // These characters separate paths or have a meaning in a shell.
        let sides: Vec<String> = self.sides.iter().map(|side| side.name.replace([' ', '/', ','], "-")).collect();
        format!("{}-{}", self.scenario, sides.join("-"))
    }
}

/// The name that logs have as the runs of a comparison.
const LOGS: &str = "logs";

/// Gives logs, which are named for their files, one name, so that they are compared with each other: that of the runs
/// beside them if these are of one scenario.
fn group_logs(members: &mut [Member]) {
    let mut scenarios = members.iter().filter(|member| !member.is_log()).map(|member| &member.summary.scenario);
    let first = scenarios.next().cloned();
    let name = match first {
        Some(first) if scenarios.all(|scenario| *scenario == first) => first,
        _ => LOGS.to_owned(),
    };
    for member in members.iter_mut().filter(|member| member.is_log()) {
        member.summary.scenario.clone_from(&name);
    }
}

/// Returns a note if runs of one name were played from different scenarios.
fn unlike(name: &str, members: &[Member]) -> Option<String> {
    let mut texts = members.iter().filter_map(|member| member.scenario_text.as_ref());
    let first = texts.next()?;
    texts
        .any(|text| text != first)
        .then(|| format!("the runs of {name} have different scenario.toml files, which may explain differences"))
}
