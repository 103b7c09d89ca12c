//! Detectors compared over a set of runs with known faults.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use clap::Args;
use kernel::{
    cli::Failure,
    detect::{
        Alarm, AlarmRule, DetectorName, scores,
        set::{self, Half, SetRun},
    },
    json::pretty,
    scenario::duration,
    sync::{ignore_poison, lock},
    visible::Visible,
};

use super::{
    figures::Counts,
    incident::{Incident, incidents},
    program::Program,
    text,
};

/// The length of a step.
pub(super) const STEP: Duration = Duration::from_secs(10);

/// The thresholds that are tried for the curve of a detector, as multiples of its own.
const MULTIPLES: [f64; 13] = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0];

/// Arguments of `reports detect-bench`.
#[derive(Debug, Clone, Args)]
pub struct DetectBenchOptions {
    /// The set of runs with known faults, as `sim incidents` writes it.
    #[arg(value_name = "DIR")]
    pub set: PathBuf,

    /// The half of the set: `evaluation`, with which nothing was chosen, or `tuning`.
    #[arg(long, value_name = "HALF", default_value_t = Half::Evaluation)]
    pub half: Half,

    /// A program that detects, to compare with the built-in detectors; may be repeated. It reads results and writes alarms as JSON lines.
    #[arg(long, value_name = "COMMAND")]
    pub program: Vec<String>,

    /// The time that a program has for each run.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    pub program_timeout: Duration,

    /// Gives a built-in detector another threshold, such as cusum=6; may be repeated.
    #[arg(long, value_name = "DETECTOR=SCORE", value_parser = threshold)]
    pub threshold: Vec<(DetectorName, f64)>,

    /// Prints recall and false alarms at other thresholds of the built-in detectors, too.
    #[arg(long)]
    pub curve: bool,

    /// Prints the figures as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Parses the threshold of a detector.
fn threshold(text: &str) -> Result<(DetectorName, f64), String> {
    let (name, score) =
        text.split_once('=').ok_or_else(|| format!("write DETECTOR=SCORE, with one of {}", detector_names()))?;
    let name = name
        .parse()
        .map_err(|_| format!("there is no detector `{}`; there are {}", name.visible(), detector_names()))?;
    let score = score.parse().ok().filter(|score: &f64| score.is_finite() && *score > 0.0);
    Ok((name, score.ok_or("a threshold is a number over 0")?))
}

fn detector_names() -> String {
    DetectorName::all().map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

/// The results of a detector.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// Its name, or the command of a program.
    pub(super) name: String,
    /// The threshold; none of a program.
    pub(super) threshold: Option<f64>,
    pub(super) counts: Counts,
}

/// The figures of all detectors over a half of a set.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) half: Half,
    pub(super) runs: usize,
    pub(super) entries: Vec<Entry>,
    /// The same detectors with other thresholds.
    pub(super) curves: Vec<Entry>,
}

/// Compares the detectors, and returns what is printed.
pub(crate) fn bench(options: &DetectBenchOptions) -> Result<String, Failure> {
    let mut runs = set::runs(&options.set).map_err(Failure::wrong_input)?;
    runs.retain(|run| run.half == options.half);
    if runs.is_empty() {
        return Err(Failure::wrong_input(format!("the set has no run of the half `{}`", options.half)));
    }
    let variants = variants(&options.threshold, options.curve);
    let mut entries = count_built_in(&options.set, &runs, &variants)?;
    let curves = entries.split_off(DetectorName::all().count());
    for command in &options.program {
        entries.push(count_program(&options.set, &runs, command, options.program_timeout)?);
    }
    let bench = Bench { half: options.half, runs: runs.len(), entries, curves };
    Ok(if options.json { pretty(&text::json(&bench)) } else { text::report(&bench) })
}

/// Returns the detectors with their thresholds, `chosen` or their own, and then, for curves, with others.
fn variants(chosen: &[(DetectorName, f64)], with_curve: bool) -> Vec<(DetectorName, f64)> {
    let threshold = |name: DetectorName| {
        let chosen = chosen.iter().rev().find(|(of, _)| *of == name);
        chosen.map_or_else(|| name.threshold(), |(_, threshold)| *threshold)
    };
    let own = DetectorName::all().map(|name| (name, threshold(name)));
    let others = DetectorName::all().flat_map(|name| MULTIPLES.map(|multiple| (name, threshold(name) * multiple)));
    own.chain(others.filter(|_| with_curve)).collect()
}

/// A run with what is known of it.
struct KnownRun {
    duration_us: u64,
    incidents: Vec<Incident>,
}

impl KnownRun {
    fn count(&self, alarms: &[Alarm]) -> Counts {
        let mut counts = Counts::default();
        counts.add(self.duration_us, &self.incidents, alarms);
        counts
    }
}

/// Counts the alarms of the built-in detectors, on all processors.
fn count_built_in(place: &Path, runs: &[SetRun], variants: &[(DetectorName, f64)]) -> Result<Vec<Entry>, Failure> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let work = || {
        let mut counts = vec![Counts::default(); variants.len()];
        while let Some(run) = runs.get(next.fetch_add(1, Relaxed)) {
            match count_run(place, run, variants) {
                Ok(more) => counts.iter_mut().zip(more).for_each(|(counts, more)| counts.merge(more)),
                Err(error) => {
                    lock(&failure).get_or_insert(error);
                    break;
                }
            }
        }
        counts
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let counted: Vec<Vec<Counts>> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = others.into_iter().map(|thread| thread.join().expect("it does not panic"));
        std::iter::once(own).chain(others).collect()
    });
    if let Some(error) = ignore_poison(failure.into_inner()) {
        return Err(error);
    }
    let mut entries: Vec<Entry> = variants
        .iter()
        .map(|(name, threshold)| Entry {
            name: name.to_string(),
            threshold: Some(*threshold),
            counts: Counts::default(),
        })
        .collect();
    for counts in counted {
        entries.iter_mut().zip(counts).for_each(|(entry, counts)| entry.counts.merge(counts));
    }
    Ok(entries)
}

/// Returns the counts of every variant for one run.
fn count_run(place: &Path, run: &SetRun, variants: &[(DetectorName, f64)]) -> Result<Vec<Counts>, Failure> {
    let calls = set::calls(place, run.run).map_err(Failure::wrong_input)?;
    let known = KnownRun { duration_us: run.duration_us, incidents: incidents(run, &calls) };
    let scores = scores(STEP, calls, run.duration_us);
    let of = |name| scores.iter().find(|(of, _)| *of == name).map(|(_, scores)| scores.iter().copied());
    let alarms =
        |(name, threshold): &(DetectorName, f64)| AlarmRule::new(*threshold).alarms(of(*name).into_iter().flatten());
    Ok(variants.iter().map(|variant| known.count(&alarms(variant))).collect())
}

/// Counts the alarms of a program.
fn count_program(place: &Path, runs: &[SetRun], command: &str, timeout: Duration) -> Result<Entry, Failure> {
    let mut program = Program::start(command, timeout)?;
    let mut counts = Counts::default();
    for run in runs {
        let calls = set::calls(place, run.run).map_err(Failure::wrong_input)?;
        let known = KnownRun { duration_us: run.duration_us, incidents: incidents(run, &calls) };
        counts.merge(known.count(&program.alarms(run.run, &calls, run.duration_us)?));
    }
    Ok(Entry { name: command.to_owned(), threshold: None, counts })
}
