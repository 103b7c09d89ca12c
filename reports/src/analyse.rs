//! What there is to know of one run, in figures.
//!
//! Metrics are `kernel::measure`'s, worked out from the rows and never anew; this module adds what they leave open: the
//! run over time, each fault with the requests before, during and after it, what the request log alone gives away, and
//! who did what when.

pub mod change;
mod episode;
mod fault;
mod json;
mod lane;
mod matching;
pub mod points;

use std::{path::PathBuf, time::Duration};

use kernel::{measure::Summary, run_folder::RunInfo};
use polars::error::PolarsResult;

pub use self::{
    episode::Episode,
    fault::FaultImpact,
    lane::{Lane, Lanes, Stretch},
    matching::Sighting,
    points::{RequestClass, RequestPoints},
};
use crate::{
    frame::{Frames, ServerTally, Windows},
    run::RecordedRun,
};

/// The length of the windows that faults are looked for in, at least; `recovery_time` has the same.
const SECOND: Duration = Duration::from_secs(1);
/// Windows that faults are looked for in, at most: longer runs have longer windows.
const WATCHED_MAX: u64 = 3600;

/// Everything about one run.
#[derive(Debug, Clone)]
pub struct RunAnalysis {
    pub title: String,
    pub place: PathBuf,
    pub question: Option<String>,
    pub replay: Option<String>,
    pub scenario_text: Option<String>,
    pub info: Option<RunInfo>,
    pub summary: Summary,
    pub windows: Windows,
    /// In order of their index.
    pub faults: Vec<FaultImpact>,
    /// What the request log alone gives away, in order of time.
    pub episodes: Vec<Episode>,
    /// What of it belongs to which fault; an entry a fault, in the order of `faults`.
    pub sightings: Vec<Sighting>,
    /// Attempts by server and status.
    pub servers: Vec<ServerTally>,
    pub lanes: Lanes,
    pub points: RequestPoints,
    /// What is missing or odd.
    pub notes: Vec<String>,
}

impl RunAnalysis {
    /// Analyses `run` in windows of `window`. Takes its request rows: beside the frames they would not fit in memory.
    ///
    /// # Errors
    /// The windows are too many; polars' own are passed on.
    pub fn from_run(run: &mut RecordedRun, window: Duration) -> PolarsResult<Self> {
        let mut notes = std::mem::take(&mut run.notes);
        let summary = run.summary();
        notes.extend(disagreement(run, &summary));
        let records = &run.records;
        let frames = Frames::from_rows(&records.requests, &records.attempts, &records.events, summary.end_us)?;
        let points = RequestPoints::from_rows(&records.requests, summary.end_us);
        let names: Vec<String> = summary.servers.keys().cloned().collect();
        let lanes = Lanes::from_records(&names, records, summary.end_us);
        let watched = frames.windows(watched(summary.end_us))?;
        let episodes = episode::episodes(&watched, &records.requests);
        run.records.requests = Vec::new();
        let faults = fault::accounts(&summary, &frames, &watched)?;
        Ok(Self {
            title: run.title(),
            place: run.place.clone(),
            question: run.scenario.as_ref().and_then(|scenario| scenario.question.clone()),
            replay: run.replay(),
            scenario_text: run.scenario_text.clone(),
            info: run.info.clone(),
            windows: if same_length(&watched, window) { watched.clone() } else { frames.windows(window)? },
            sightings: matching::sightings(&summary.faults, &episodes, watched.length_s),
            faults,
            episodes,
            servers: frames.servers()?,
            lanes,
            points,
            notes,
            summary,
        })
    }
}

fn watched(end_us: u64) -> Duration {
    SECOND * u32::try_from(end_us.div_ceil(1_000_000).div_ceil(WATCHED_MAX)).unwrap_or(u32::MAX).max(1)
}

fn same_length(windows: &Windows, length: Duration) -> bool {
    Duration::from_secs_f64(windows.length_s) == length
}

/// A sentence if the run itself measured something else.
fn disagreement(run: &RecordedRun, summary: &Summary) -> Option<String> {
    let stored = run.stored.as_ref()?;
    (stored != summary).then(|| {
        let version = run.info.as_ref().map_or("another", |info| &info.version);
        format!(
            "summary.json, written by version {version}, differs from what the rows add up to; the figures here are of \
             the rows"
        )
    })
}
