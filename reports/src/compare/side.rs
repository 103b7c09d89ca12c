//! The sides of a comparison: one or more runs that are taken together.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use kernel::measure::Summary;
use polars::error::PolarsResult;

use super::series::{LENGTH, Series};
use crate::{
    frame::{Frames, Windows},
    run::RecordedRun,
};

/// Places of a series, at most: correlating longer ones takes too long.
const PLACES_MAX: u64 = 20_000;

/// One run, with what is compared of it.
#[derive(Debug, Clone)]
pub struct Member {
    pub place: PathBuf,
    pub world: String,
    pub seed: u64,
    pub summary: Summary,
    pub scenario_text: Option<String>,
    /// For plots.
    pub windows: Windows,
    pub series: Series,
    /// Latencies in seconds, ascending, by the name of the phase; of the whole run under `whole run`.
    pub latencies: BTreeMap<String, Vec<f64>>,
    /// Requests by status, likewise.
    pub statuses: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The name under which the whole run is kept.
pub const WHOLE: &str = "whole run";

impl Member {
    pub(crate) fn from_run(run: RecordedRun, window: Duration) -> PolarsResult<Self> {
        let summary = run.summary();
        let records = &run.records;
        let frames = Frames::from_rows(&records.requests, &[], &[], summary.end_us)?;
        let factor = summary.end_us.div_ceil(100_000).div_ceil(PLACES_MAX);
        let length = LENGTH * u32::try_from(factor).unwrap_or(u32::MAX).max(1);
        let mut spans: Vec<(String, u64, u64)> =
            summary.phases.iter().map(|phase| (phase.phase.clone(), phase.start_us, phase.end_us)).collect();
        spans.push((WHOLE.to_owned(), 0, u64::MAX));
        let (mut latencies, mut statuses) = (BTreeMap::new(), BTreeMap::new());
        for (name, from_us, to_us) in spans {
            // As in the metrics, the last phase holds what is intended at the very end.
            let to_us = if to_us >= summary.end_us { u64::MAX } else { to_us };
            let rows = records.requests.iter().filter(|row| (from_us..to_us).contains(&row.intended_us));
            let mut of_phase: Vec<f64> =
                rows.clone().filter_map(|row| row.latency_us).map(|us| us as f64 / 1e6).collect();
            of_phase.sort_by(f64::total_cmp);
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            for row in rows {
                *counts.entry(row.status.name().to_owned()).or_default() += 1;
            }
            latencies.insert(name.clone(), of_phase);
            statuses.insert(name, counts);
        }
        Ok(Self {
            windows: frames.windows(window)?,
            series: Series::from_windows(&frames.windows(length)?),
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

/// Runs that are taken together.
#[derive(Debug, Clone)]
pub struct ComparisonSide {
    /// The world, with the number of runs if there are several, or what tells the run from the others.
    pub name: String,
    /// In the order in which they were named; at least one.
    pub members: Vec<Member>,
}

impl ComparisonSide {
    /// All latencies of a phase, ascending; empty if no run has the phase.
    pub fn latencies(&self, phase: &str) -> Vec<f64> {
        let of_members = self.members.iter().filter_map(|member| member.latencies.get(phase));
        let mut all: Vec<f64> = of_members.flatten().copied().collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// Requests of a phase by status.
    pub fn statuses(&self, phase: &str) -> BTreeMap<&str, u64> {
        let mut all = BTreeMap::new();
        for (status, count) in self.members.iter().filter_map(|member| member.statuses.get(phase)).flatten() {
            *all.entry(status.as_str()).or_default() += count;
        }
        all
    }
}

/// The members as sides, the reference first: by world, the real one first, if there are several; else each by itself.
pub(super) fn sides(members: Vec<Member>) -> Vec<ComparisonSide> {
    let mut worlds: Vec<String> = members.iter().map(|member| member.world.clone()).collect();
    worlds.sort();
    worlds.dedup();
    if worlds.len() < 2 {
        return each_by_itself(members);
    }
    worlds.sort_by_key(|world| world != "real");
    let of_world = |world: &String| {
        let members: Vec<Member> = members.iter().filter(|member| member.world == *world).cloned().collect();
        let name = if members.len() > 1 { format!("{world} x{}", members.len()) } else { world.clone() };
        ComparisonSide { name, members }
    };
    worlds.iter().map(of_world).collect()
}

fn each_by_itself(members: Vec<Member>) -> Vec<ComparisonSide> {
    let folder = |member: &Member| member.place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folders: Vec<String> = members.iter().map(folder).collect();
    let alone = |name: &String| folders.iter().filter(|other| *other == name).count() == 1;
    let name = |index: usize| {
        if alone(&folders[index]) { folders[index].clone() } else { format!("{} {}", folders[index], index + 1) }
    };
    members
        .into_iter()
        .enumerate()
        .map(|(index, member)| ComparisonSide { name: name(index), members: vec![member] })
        .collect()
}
