//! The sides of a comparison: one or more runs that are taken together.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use kernel::{
    entropy::branch::Branch,
    measure::{Extent, Summary},
    record::RequestRow,
    status::Outcome,
};

use super::{
    sample::{Sample, SampleBuilder},
    series::{LENGTH, Series},
};
use crate::{
    fold::{TooManyWindows, Windows},
    rows::RowTable,
    run::RecordedRun,
};

/// The greatest number of places of a series. Correlating longer ones takes too long.
const PLACES_MAX: u64 = 20_000;

/// One run, with all that is compared of it.
#[derive(Debug)]
pub struct Member {
    /// The folder or file that the run was read from.
    pub place: PathBuf,
    /// The world: `sim`, `real` or `log`.
    pub world: String,
    /// The seed; 0 for a log.
    pub seed: u64,
    /// The times from which everything random was drawn again.
    pub branches: Vec<Branch>,
    /// The metrics and the verdict.
    pub summary: Summary,
    /// The text of `scenario.toml`.
    pub scenario_text: Option<String>,
    /// The run in windows, for plots.
    pub windows: Windows,
    /// The run in short windows, for comparison.
    pub series: Series,
    /// The latencies in seconds, by phase and under [`WHOLE`] for the whole run.
    pub latencies: BTreeMap<String, Sample>,
    /// The number of requests by status, by phase and under [`WHOLE`] for the whole run.
    pub statuses: BTreeMap<String, BTreeMap<String, u64>>,
    /// Notes on missing, inconsistent or rounded data, each a sentence.
    pub(crate) notes: Vec<String>,
}

/// The name that stands for the whole run among those of phases.
pub const WHOLE: &str = "whole run";

impl Member {
    /// Returns whether it was read from a log of another program.
    pub(super) fn is_log(&self) -> bool {
        self.world == "log"
    }

    /// Returns what is compared of `run`, with plots in windows of `window`.
    ///
    /// # Errors
    /// There are too many windows.
    pub fn from_run(run: RecordedRun, window: Duration) -> Result<Self, TooManyWindows> {
        let summary = run.summary();
        let requests = &run.rows.requests;
        // Nothing is compared of single attempts.
        let windows = |length| Windows::of_rows(requests, &RowTable::default(), summary.end_us, length);
        let names = summary.phases.iter().map(|phase| phase.phase.clone()).chain([WHOLE.to_owned()]);
        let extents = [summary.extents(), vec![Extent::beginning_in(0..u64::MAX)]].concat();
        let parts = PhaseRequests::collect(requests, &extents);
        let mut notes = run.notes;
        let mut latencies = BTreeMap::new();
        let mut statuses = BTreeMap::new();
        let mut is_rounded = false;
        for (name, part) in names.zip(parts) {
            let (sample, rounded) = part.latencies.finish();
            is_rounded |= rounded;
            latencies.insert(name.clone(), sample);
            let counts = part.statuses.into_iter();
            statuses.insert(name, counts.map(|(outcome, count)| (outcome.name().to_owned(), count)).collect());
        }
        if is_rounded {
            notes.push(
                "there are so many different latencies that they are compared rounded down by up to 0.1 %".into(),
            );
        }
        Ok(Self {
            windows: windows(window)?,
            series: Series::from_windows(&windows(series_length(summary.end_us))?),
            place: run.place,
            world: run.world,
            seed: run.seed,
            branches: run.info.map_or_else(Vec::new, |info| info.branches),
            scenario_text: run.scenario_text,
            summary,
            latencies,
            statuses,
            notes,
        })
    }
}

/// The requests of one phase.
#[derive(Default)]
struct PhaseRequests {
    latencies: SampleBuilder,
    statuses: BTreeMap<Outcome, u64>,
}

impl PhaseRequests {
    /// Returns the requests of each phase, in one pass over the rows.
    fn collect(requests: &RowTable<RequestRow>, phases: &[Extent]) -> Vec<Self> {
        let mut parts: Vec<Self> = phases.iter().map(|_| Self::default()).collect();
        requests.each(|row| {
            let done_us = row.done_us.unwrap_or(row.intended_us);
            let holding = phases.iter().zip(&mut parts).filter(|(phase, _)| phase.holds(row.intended_us, done_us));
            for (_, part) in holding {
                row.latency_us.into_iter().for_each(|latency_us| part.latencies.add(latency_us));
                *part.statuses.entry(row.status).or_default() += 1;
            }
        });
        parts
    }
}

/// Returns the length of the windows of a series: a multiple of [`LENGTH`] with which there are not too many windows.
fn series_length(end_us: u64) -> Duration {
    let factor = end_us.div_ceil(100_000).div_ceil(PLACES_MAX);
    LENGTH * u32::try_from(factor).unwrap_or(u32::MAX).max(1)
}

/// Runs that are taken together.
#[derive(Debug)]
pub struct ComparisonSide {
    /// The world, with the number of runs if there are several, or the name of the run's folder.
    pub name: String,
    /// The runs, in the order in which they were given; at least one.
    pub members: Vec<Member>,
}

impl ComparisonSide {
    /// Returns true if a run has the phase.
    pub fn has_phase(&self, phase: &str) -> bool {
        self.members.iter().any(|member| member.latencies.contains_key(phase))
    }

    /// Returns all latencies of a phase in seconds; none if no run has the phase.
    pub fn latencies(&self, phase: &str) -> Sample {
        Sample::merged(self.members.iter().filter_map(|member| member.latencies.get(phase)))
    }

    /// Returns the number of requests of a phase by status.
    pub fn statuses(&self, phase: &str) -> BTreeMap<&str, u64> {
        statuses(&self.members, phase)
    }
}

/// Returns the number of requests of a phase by status, over `members` together.
pub(crate) fn statuses<'a>(members: impl IntoIterator<Item = &'a Member>, phase: &str) -> BTreeMap<&'a str, u64> {
    let mut all = BTreeMap::new();
    for (status, count) in members.into_iter().filter_map(|member| member.statuses.get(phase)).flatten() {
        *all.entry(status.as_str()).or_default() += count;
    }
    all
}

/// Returns the counts of both, in the same order of the keys that one of them has.
pub(crate) fn counts_of_both(a: &BTreeMap<&str, u64>, b: &BTreeMap<&str, u64>) -> [Vec<u64>; 2] {
    let kinds: BTreeSet<&str> = a.keys().chain(b.keys()).copied().collect();
    [a, b].map(|counts| kinds.iter().map(|kind| counts.get(kind).copied().unwrap_or(0)).collect())
}

/// Returns the sides of `members`, the reference first. Runs of several worlds are grouped by world, the real one first;
/// runs of one world each make a side of their own.
pub(super) fn sides(members: Vec<Member>) -> Vec<ComparisonSide> {
    let mut worlds: Vec<String> = members.iter().map(|member| member.world.clone()).collect();
    worlds.sort();
    worlds.dedup();
    if worlds.len() < 2 {
        return each_by_itself(members);
    }
    // Reality is the reference. The sort is stable, so other worlds keep their order.
    worlds.sort_by_key(|world| world != "real");
    let mut sides = Vec::with_capacity(worlds.len());
    let mut rest = members;
    for world in worlds {
        let (members, others): (Vec<Member>, Vec<Member>) = rest.into_iter().partition(|member| member.world == world);
        rest = others;
        let name = if members.len() > 1 { format!("{world} x{}", members.len()) } else { world };
        sides.push(ComparisonSide { name, members });
    }
    sides
}

/// Returns a side for each run, named for its folder, with a number if several folders have the same name.
fn each_by_itself(members: Vec<Member>) -> Vec<ComparisonSide> {
    let folders: Vec<String> = members
        .iter()
        .map(|member| member.place.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    let mut sides = Vec::with_capacity(members.len());
    for (index, member) in members.into_iter().enumerate() {
        let folder = &folders[index];
        let is_unique = folders.iter().filter(|other| *other == folder).count() == 1;
        let name = if is_unique { folder.clone() } else { format!("{folder} {}", index + 1) };
        sides.push(ComparisonSide { name, members: vec![member] });
    }
    sides
}
