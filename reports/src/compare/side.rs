//! The sides of a comparison: one or more runs that are taken together.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::PathBuf,
    time::Duration,
};

use kernel::{measure::Summary, record::RequestRow};
use polars::error::PolarsResult;

use super::series::{LENGTH, Series};
use crate::{
    frame::{Frames, Windows},
    run::RecordedRun,
};

/// The greatest number of places of a series. Correlating longer ones takes too long.
const PLACES_MAX: u64 = 20_000;

/// One run, with all that is compared of it.
#[derive(Debug, Clone)]
pub struct Member {
    /// The folder or file that the run was read from.
    pub place: PathBuf,
    /// The world: `sim`, `real` or `log`.
    pub world: String,
    /// The seed; 0 for a log.
    pub seed: u64,
    /// The metrics and the verdict.
    pub summary: Summary,
    /// The text of `scenario.toml`.
    pub scenario_text: Option<String>,
    /// The run in windows, for plots.
    pub windows: Windows,
    /// The run in short windows, for comparison.
    pub series: Series,
    /// The latencies in seconds, ascending, by phase and under [`WHOLE`] for the whole run.
    pub latencies: BTreeMap<String, Vec<f64>>,
    /// The number of requests by status, by phase and under [`WHOLE`] for the whole run.
    pub statuses: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The name that stands for the whole run among those of phases.
pub const WHOLE: &str = "whole run";

impl Member {
    pub(crate) fn from_run(run: RecordedRun, window: Duration) -> PolarsResult<Self> {
        let summary = run.summary();
        let requests = &run.records.requests;
        let frames = Frames::from_rows(requests, &[], &[], summary.end_us)?;
        let mut latencies = BTreeMap::new();
        let mut statuses = BTreeMap::new();
        for (name, span) in spans(&summary) {
            latencies.insert(name.clone(), latencies_of(requests, &span));
            statuses.insert(name, statuses_of(requests, &span));
        }
        Ok(Self {
            windows: frames.windows(window)?,
            series: Series::from_windows(&frames.windows(series_length(summary.end_us))?),
            place: run.place,
            world: run.world,
            seed: run.seed,
            scenario_text: run.scenario_text,
            summary,
            latencies,
            statuses,
        })
    }
}

/// Returns the name of each phase and the whole run, with the intended starts that belong to it, in microseconds.
fn spans(summary: &Summary) -> Vec<(String, Range<u64>)> {
    let mut spans = Vec::new();
    for phase in &summary.phases {
        // As in the metrics, the last phase includes requests that are intended at the very end.
        let end_us = if phase.end_us >= summary.end_us { u64::MAX } else { phase.end_us };
        spans.push((phase.phase.clone(), phase.start_us..end_us));
    }
    spans.push((WHOLE.to_owned(), 0..u64::MAX));
    spans
}

fn latencies_of(requests: &[RequestRow], span: &Range<u64>) -> Vec<f64> {
    let rows = requests.iter().filter(|row| span.contains(&row.intended_us));
    let mut latencies: Vec<f64> = rows.filter_map(|row| row.latency_us).map(|us| us as f64 / 1e6).collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}

fn statuses_of(requests: &[RequestRow], span: &Range<u64>) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for row in requests.iter().filter(|row| span.contains(&row.intended_us)) {
        *counts.entry(row.status.name().to_owned()).or_default() += 1;
    }
    counts
}

/// Returns the length of the windows of a series: a multiple of [`LENGTH`] with which there are not too many windows.
fn series_length(end_us: u64) -> Duration {
    let factor = end_us.div_ceil(100_000).div_ceil(PLACES_MAX);
    LENGTH * u32::try_from(factor).unwrap_or(u32::MAX).max(1)
}

/// Runs that are taken together.
#[derive(Debug, Clone)]
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

    /// Returns all latencies of a phase in seconds, ascending; none if no run has the phase.
    pub fn latencies(&self, phase: &str) -> Vec<f64> {
        let of_members = self.members.iter().filter_map(|member| member.latencies.get(phase));
        let mut all: Vec<f64> = of_members.flatten().copied().collect();
        all.sort_by(f64::total_cmp);
        all
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
    worlds.iter().map(|world| side_of(world, &members)).collect()
}

/// Returns the runs of one world as a side.
fn side_of(world: &str, members: &[Member]) -> ComparisonSide {
    let members: Vec<Member> = members.iter().filter(|member| member.world == world).cloned().collect();
    let name = if members.len() > 1 { format!("{world} x{}", members.len()) } else { world.to_owned() };
    ComparisonSide { name, members }
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
