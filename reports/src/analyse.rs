//! The analysis of one run.
//!
//! The metrics are those of `kernel::measure`, computed from the rows. This module adds the run over time, each fault with
//! the requests before, during and after it, the episodes that the request log shows by itself, and the state of each
//! server beside the decisions of the client.

pub mod change;
mod episode;
#[cfg(test)]
mod evaluation;
mod fault;
mod fault_events;
mod json;
mod lane;
mod matching;
pub mod points;

use std::{
    panic::resume_unwind,
    path::PathBuf,
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use kernel::{
    measure::{Lateness, Summary},
    record::RequestRow,
    run_folder::{RunInfo, RunState},
};

pub use self::{
    episode::Episode,
    fault::FaultImpact,
    fault_events::FaultEvents,
    lane::{Lane, Lanes, Stretch},
    matching::Sighting,
    points::{RequestClass, RequestPoints},
};
use crate::{
    fold::{KindTally, ServerTally, TooManyWindows, Windows},
    rows::RunTables,
    run::RecordedRun,
};

/// The shortest length of the windows that are searched for faults. The metric `recovery_time` uses the same.
const SECOND: Duration = Duration::from_secs(1);

/// The greatest number of windows that are searched for faults. Longer runs have longer windows.
const WATCHED_MAX: u64 = 3600;

/// The analysis of one run.
#[derive(Debug, Clone)]
pub struct RunAnalysis {
    /// The title of the report, such as `crash, sim, seed 42`.
    pub title: String,
    /// The folder or file that the run was read from.
    pub place: PathBuf,
    /// The question that the scenario asks.
    pub question: Option<String>,
    /// The command that repeats the run; `None` for a log of another program.
    pub replay: Option<String>,
    /// The text of `scenario.toml`.
    pub scenario_text: Option<String>,
    /// The content of `run.json`.
    pub info: Option<RunInfo>,
    /// The content of `state.json`; `None` for a run that is complete, or a log. What the scenario expects is expected of a
    /// complete run.
    pub state: Option<RunState>,
    /// The metrics and the verdict, computed from the rows.
    pub summary: Summary,
    /// The run in windows of the length that was asked for.
    pub windows: Windows,
    /// The faults, in order of their index.
    pub faults: Vec<FaultImpact>,
    /// The events of each fault, in the order of `faults`.
    pub fault_events: Vec<FaultEvents>,
    /// The episodes that the request log shows by itself, in order of time.
    pub episodes: Vec<Episode>,
    /// The matching of episodes and faults: one entry for each fault, in the order of `faults`.
    pub sightings: Vec<Sighting>,
    /// The number of attempts by server and status.
    pub servers: Vec<ServerTally>,
    /// The requests by kind; empty if the load has no kinds.
    pub kinds: Vec<KindTally>,
    /// The state of each server over time.
    pub lanes: Lanes,
    /// The requests as points of a plot.
    pub points: RequestPoints,
    /// Notes on missing or inconsistent data, each a sentence.
    pub notes: Vec<String>,
}

impl RunAnalysis {
    /// Analyses `run` in windows of `window`.
    ///
    /// # Errors
    /// There are too many windows.
    pub fn from_run(run: RecordedRun, window: Duration) -> Result<Self, TooManyWindows> {
        let mut notes = run.notes.clone();
        let RunTables { requests, attempts, events, .. } = &run.rows;
        let Measured { summary, watched, windows, kinds, points } = Measured::of_run(&run, window)?;
        notes.extend(disagreement(&run, &summary));
        let episodes = episode::episodes(&watched, requests, run.world == "log");
        let faults = fault::impacts(&summary, requests, &watched);
        let names: Vec<String> = summary.servers.keys().cloned().collect();
        Ok(Self {
            title: run.title(),
            place: run.place.clone(),
            question: run.scenario.as_ref().and_then(|scenario| scenario.question.clone()),
            replay: run.replay(),
            scenario_text: run.scenario_text.clone(),
            info: run.info.clone(),
            state: run.state.clone(),
            windows: windows.unwrap_or_else(|| watched.clone()),
            sightings: matching::sightings(&summary.faults, &episodes, watched.length_s),
            fault_events: fault_events::by_fault(&faults, events),
            faults,
            episodes,
            servers: ServerTally::of_attempts(attempts),
            kinds,
            lanes: Lanes::from_rows(&names, events, attempts, summary.end_us),
            points,
            notes,
            summary,
        })
    }
}

/// The measures over all requests, each in passes of its own.
struct Measured {
    summary: Summary,
    /// The windows that are searched for faults.
    watched: Windows,
    /// The windows of the length that was asked for; `None` if `watched` has it.
    windows: Option<Windows>,
    kinds: Vec<KindTally>,
    points: RequestPoints,
}

impl Measured {
    /// Measures `run` on several processors, as millions of rows take seconds.
    ///
    /// # Errors
    /// There are too many windows.
    fn of_run(run: &RecordedRun, window: Duration) -> Result<Self, TooManyWindows> {
        let RunTables { requests, attempts, .. } = &run.rows;
        let seen = Seen::of_run(run);
        let end_us = seen.end_us;
        let windows = |length| Windows::of_rows(requests, attempts, end_us, length);
        thread::scope(|scope| {
            let summary = scope.spawn(|| run.summary());
            let points = scope.spawn(|| RequestPoints::from_rows(requests, end_us, seen.latencies_us));
            let kinds = seen.has_kinds.then(|| scope.spawn(|| KindTally::of_requests(requests)));
            let watched = windows(watched_length(end_us))?;
            Ok(Self {
                windows: if has_length(&watched, window) { None } else { Some(windows(window)?) },
                watched,
                summary: result(summary),
                kinds: kinds.map(result).unwrap_or_default(),
                points: result(points),
            })
        })
    }
}

/// Returns the result of a thread, or panics as it did.
fn result<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// The facts about all requests that must be known before the rest is measured.
struct Seen {
    /// The end of the run, as its summary has it: after the load, and after the last call.
    end_us: u64,
    /// The lowest and the highest positive latency.
    latencies_us: Option<(u64, u64)>,
    has_kinds: bool,
}

impl Seen {
    fn of_run(run: &RecordedRun) -> Self {
        let load_end_us = u64::try_from(run.duration.as_micros()).unwrap_or(u64::MAX);
        let start = || Self { end_us: load_end_us, latencies_us: None, has_kinds: false };
        let parts = run.rows.requests.fold(start, Self::add);
        parts.into_iter().fold(start(), Self::and)
    }

    fn add(&mut self, row: &RequestRow) {
        self.end_us = self.end_us.max(row.done_us.unwrap_or_default());
        if let Some(us) = row.latency_us.filter(|us| *us > 0) {
            self.latencies_us = Some(self.latencies_us.map_or((us, us), |(low, high)| (low.min(us), high.max(us))));
        }
        self.has_kinds |= row.kind.is_some();
    }

    fn and(self, other: Self) -> Self {
        let both = self.latencies_us.zip(other.latencies_us);
        let joined = both.map(|(one, two)| (one.0.min(two.0), one.1.max(two.1)));
        Self {
            end_us: self.end_us.max(other.end_us),
            latencies_us: joined.or(self.latencies_us).or(other.latencies_us),
            has_kinds: self.has_kinds || other.has_kinds,
        }
    }
}

/// Returns the length of the windows that are searched for faults: whole seconds, so many that there are not too many windows.
fn watched_length(end_us: u64) -> Duration {
    SECOND * u32::try_from(end_us.div_ceil(1_000_000).div_ceil(WATCHED_MAX)).unwrap_or(u32::MAX).max(1)
}

fn has_length(windows: &Windows, length: Duration) -> bool {
    Duration::from_secs_f64(windows.length_s) == length
}

/// Returns a note if `summary` is not the one that the run itself stored.
fn disagreement(run: &RecordedRun, summary: &Summary) -> Option<String> {
    let stored = run.stored.as_ref()?;
    // An older version may have measured differently. The rows are the evidence, so the report uses them.
    let is_same = if stored.lateness == Lateness::default() {
        // A version that measured no lateness: everything else can still be compared.
        let Summary { lateness, trusted, .. } = stored.clone();
        *stored == Summary { lateness, trusted, ..summary.clone() }
    } else {
        stored == summary
    };
    (!is_same).then(|| {
        let version = run.info.as_ref().map_or("another", |info| &info.version);
        format!(
            "summary.json, written by version {version}, differs from the metrics of the rows; this report uses \
             the rows"
        )
    })
}
