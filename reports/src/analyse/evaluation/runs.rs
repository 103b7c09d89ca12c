//! How well episodes are found in runs of `sim`, whose events say which faults there were.
//!
//! `.ci/long detection` plays the runs, and the test below reads their folders: `$DETECTION_RUNS/CASE/RUN`.

use std::{
    collections::BTreeMap,
    env, fs,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use kernel::{
    measure::{Extent, FaultSummary, Summary, text::table::Align, text::table::TextTable},
    record::RequestRow,
};

use super::{bring_up_to_date, median, p95, shown};
use crate::{
    analyse::RunAnalysis,
    read::{self, Mapping},
    run::RecordedRun,
};

/// The share of a minute's calls that a fault costs at least, if it has to be found.
const COSTLY: f64 = 0.05;

/// The multiple of the p95 before a fault from which a call counts as slow.
const SLOW: f64 = 2.0;

/// The number of runs that are evaluated at least.
const RUNS_MIN: usize = 2_000;

/// The time that a fault is looked for at least, in seconds, as in a report.
const HOLD_S: f64 = 3.0;

/// The length of a window, in seconds, and so how exact an episode is.
const WINDOW_S: f64 = 1.0;

/// The results for runs of one case.
#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    faults: usize,
    /// The number of faults that have to be found, and how many of them are in an episode.
    costly: usize,
    found: usize,
    /// The number of episodes, and how many of them are at the time of no fault.
    episodes: usize,
    wrong: usize,
    /// How far the start and the end of an episode are off, in seconds, for costly faults.
    starts_s: Vec<f64>,
    ends_s: Vec<f64>,
}

impl Tally {
    fn count(&mut self, place: &Path) {
        let run = read::run(place, &Mapping::default()).unwrap();
        let summary = run.summary();
        let costs = costs(&run, &summary);
        let minute = summary.overall.requests as f64 * 60.0 / run.duration.as_secs_f64();
        let analysis = RunAnalysis::from_run(run, Duration::from_secs(1)).unwrap();
        self.runs += 1;
        self.faults += summary.faults.len();
        self.episodes += analysis.episodes.len();
        let times: Vec<Range<f64>> = summary.faults.iter().map(acts).collect();
        for episode in &analysis.episodes {
            let is_of_fault = times.iter().any(|time| episode.start_s <= time.end && episode.end_s >= time.start);
            if !is_of_fault {
                self.wrong += 1;
                println!("{} has an episode of no fault: {episode:?}", place.display());
            }
        }
        for (sighting, fault) in analysis.sightings.iter().zip(&summary.faults) {
            let cost = costs.get(&fault.index).copied().unwrap_or(0) as f64 / minute;
            if cost < COSTLY {
                continue;
            }
            self.costly += 1;
            let Some(episode) = sighting.episode else {
                println!("{}: {fault:?}, which costs {:.1} % of a minute, is not found", place.display(), cost * 100.0);
                continue;
            };
            self.found += 1;
            // Of faults that share an episode the first begins it, and the last ends it.
            let sharing = || analysis.sightings.iter().filter(|other| other.episode == Some(episode));
            if sharing().next().is_some_and(|first| first.fault == fault.index) {
                self.starts_s.extend(sighting.start_error_s.map(f64::abs));
            }
            if sharing().next_back().is_some_and(|last| last.fault == fault.index) {
                self.ends_s.extend(sighting.end_error_s.map(f64::abs));
            }
        }
    }

    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.faults += other.faults;
        self.costly += other.costly;
        self.found += other.found;
        self.episodes += other.episodes;
        self.wrong += other.wrong;
        self.starts_s.extend(&other.starts_s);
        self.ends_s.extend(&other.ends_s);
        self.starts_s.sort_by(f64::total_cmp);
        self.ends_s.sort_by(f64::total_cmp);
    }

    fn recall(&self) -> f64 {
        self.found as f64 / self.costly as f64
    }

    fn precision(&self) -> f64 {
        (self.episodes - self.wrong) as f64 / self.episodes as f64
    }

    fn row(&self, case: &str) -> Vec<String> {
        vec![
            case.to_owned(),
            self.runs.to_string(),
            self.faults.to_string(),
            self.costly.to_string(),
            self.found.to_string(),
            self.episodes.to_string(),
            self.wrong.to_string(),
            shown(self.starts_s.get(self.starts_s.len() / 2).copied()),
            shown(p95(&self.starts_s)),
            shown(self.ends_s.get(self.ends_s.len() / 2).copied()),
            shown(p95(&self.ends_s)),
        ]
    }
}

/// Returns the seconds in which an episode is of the fault: while it acts, and until the client has recovered.
fn acts(fault: &FaultSummary) -> Range<f64> {
    let start_s = fault.start_us as f64 / 1e6;
    let lifted_s = fault.lifted_us.map_or(f64::INFINITY, |us| us as f64 / 1e6);
    let recovered_s = start_s + fault.recovery_time_s.unwrap_or(0.0);
    start_s - WINDOW_S..lifted_s.max(recovered_s).max(start_s + HOLD_S) + WINDOW_S
}

/// Returns the number of calls that failed or were slow while each fault acted, by the index of the fault.
fn costs(run: &RecordedRun, summary: &Summary) -> BTreeMap<usize, u64> {
    let acting: Vec<(usize, Extent, f64)> = summary
        .faults
        .iter()
        .filter_map(|fault| {
            let name = format!("fault-{}", fault.index);
            let phase = summary.phases.iter().find(|phase| phase.phase == name)?;
            let slow_s = SLOW * fault.baseline_latency_p95_s.unwrap_or(f64::INFINITY);
            Some((fault.index, Extent::overlapping(phase.start_us..phase.end_us), slow_s))
        })
        .collect();
    let mut costs = BTreeMap::new();
    run.rows.requests.each(|row: &RequestRow| {
        for (fault, extent, slow_s) in &acting {
            let is_slow = row.latency_us.is_some_and(|us| us as f64 / 1e6 > *slow_s);
            if (is_slow || !row.status.is_success())
                && extent.holds(row.intended_us, row.done_us.unwrap_or(row.intended_us))
            {
                *costs.entry(*fault).or_default() += 1;
            }
        }
    });
    costs
}

/// Returns the folders in `folder`, in the order of their names.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut places: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    places.sort();
    places
}

/// `UPDATE_DOCS=1` brings the table up to date.
#[test]
#[ignore = "it needs the runs of .ci/long detection"]
fn the_table_of_two_thousand_runs_is_as_it_was_measured() {
    let runs = env::var_os("DETECTION_RUNS").expect("DETECTION_RUNS names the folder that .ci/long detection writes");
    let mut table = TextTable::new(&[
        ("case", Align::Left),
        ("runs", Align::Right),
        ("faults", Align::Right),
        ("costly", Align::Right),
        ("found", Align::Right),
        ("episodes", Align::Right),
        ("of no fault", Align::Right),
        ("start off by", Align::Right),
        ("p95", Align::Right),
        ("end off by", Align::Right),
        ("p95", Align::Right),
    ]);
    let mut all = Tally::default();
    for case in folders(Path::new(&runs)) {
        let mut tally = Tally::default();
        folders(&case).iter().for_each(|place| tally.count(place));
        let mut sorted = Tally::default();
        sorted.add(&tally);
        table.row(sorted.row(&case.file_name().unwrap_or_default().to_string_lossy()));
        all.add(&tally);
    }
    table.row(all.row("all"));
    let text = format!(
        "Episodes found in the request log of {} runs of sim, against the faults in their events\n\n\
         A case is the kind of up to two drawn faults and the requests per second, with 1.25 % of all calls failing where it says\n\
         steady, or a file of scenarios. A fault is costly if {} % of a minute's calls fail, or take more than twice the p95 before\n\
         it. Starts and ends are off by their medians.\n\n\
         recall     {:.3}  (costly faults that are in an episode)\n\
         precision  {:.3}  (episodes at the time of a fault, or until its recovery)\n\n{}",
        all.runs,
        COSTLY * 100.0,
        all.recall(),
        all.precision(),
        table.render()
    );
    println!("{text}");
    assert!(all.runs >= RUNS_MIN, "{} runs are too few", all.runs);
    assert!(all.recall() >= 0.95 && all.precision() >= 0.95 && median(&all.starts_s) <= 2.0);
    bring_up_to_date("detection_runs.txt", &text);
}
