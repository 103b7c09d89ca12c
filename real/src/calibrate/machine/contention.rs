//! How much computations slow each other that run on several processors at the same time: they share caches and memory.

use super::{
    THREAD_SWITCH_US,
    paths::{RunPaths, SERVICE},
};

/// Shorter computations, in microseconds, are not compared: what else happens around them takes as long.
const COMPUTING_MIN_US: f64 = 500.0;

/// The fewest computations of a run that were alone, and that were not, for the two to be compared.
const SAMPLES_MIN: usize = 10;

/// The least time in which several computations ran at once, as a share of what all take alone.
const AT_ONCE_MIN: f64 = 0.05;

/// The largest contention.
const CONTENTION_MAX: f64 = 10.0;

/// Bisections of the range of contentions: to a thousandth.
const BISECTIONS: usize = 14;

/// What the computations of a run did.
struct Totals {
    /// The time that all of them would have taken alone, in microseconds.
    alone: f64,
    /// How many ran at once, the processors that were free for them, and for how long in microseconds.
    at_once: Vec<(usize, f64, f64)>,
}

/// Returns how much longer computations of this size take for each other processor that computes, too, as a share of their time alone; 0 if the
/// runs have too few of them to say so. `around_us` is the processor time of a call besides its computing.
///
/// While `n` processors compute, each does the work of `1 / (1 + c * (n - 1))` of its time. All work of a run together is what its computations
/// take alone: those that nothing else overlapped in the same run, as the memory of a virtual machine is faster at one time than at another.
pub(super) fn contention(cores: usize, runs: &[RunPaths], size: &str, around_us: f64) -> f64 {
    let of_size = runs.iter().filter(|run| run.has_only(size));
    let totals: Vec<_> = of_size.filter_map(|run| Totals::of_run(cores, run, around_us)).collect();
    if !more_is_done(&totals, 0.0) {
        // They are as fast as alone, or there is no run to say so.
        return 0.0;
    }
    let (mut low, mut high) = (0.0, CONTENTION_MAX);
    for _ in 0..BISECTIONS {
        let middle = (low + high) / 2.0;
        if more_is_done(&totals, middle) { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// Returns whether more would be done with this contention than there was to do.
fn more_is_done(totals: &[Totals], contention: f64) -> bool {
    let done: f64 = totals.iter().map(|totals| totals.done(contention)).sum();
    done > totals.iter().map(|totals| totals.alone).sum()
}

impl Totals {
    /// `None` if the run has too few computations that overlap others, or that do not, or too short ones.
    fn of_run(cores: usize, run: &RunPaths, around_us: f64) -> Option<Self> {
        let alone: Vec<_> = run.counted().map(|path| path.took(SERVICE)).collect();
        let mean = alone.iter().sum::<f64>() / alone.len().max(1) as f64;
        let overlapping = run.paths.iter().filter(|path| path.overlaps).count();
        if alone.len().min(overlapping) < SAMPLES_MIN || mean < COMPUTING_MIN_US {
            return None;
        }
        // What else a call takes is done beside the computations while a processor is free, and in their place if none is.
        let around = (around_us + THREAD_SWITCH_US) * 1e-6 * run.paths.len() as f64 / run.load.seconds as f64;
        let at_once = run.served_at_once().into_iter().map(|(served, time)| {
            let computing = served.min(cores);
            let free = if computing == cores { computing as f64 - around } else { computing as f64 };
            (computing, free, time)
        });
        let totals = Self { alone: mean * run.paths.len() as f64, at_once: at_once.collect() };
        let several: f64 = totals.at_once.iter().filter(|(computing, ..)| *computing > 1).map(|(.., time)| time).sum();
        (several >= AT_ONCE_MIN * totals.alone).then_some(totals)
    }

    /// The work that was done with this contention, in microseconds of computing alone.
    fn done(&self, contention: f64) -> f64 {
        let work = self
            .at_once
            .iter()
            .map(|(computing, free, time)| free * time / (1.0 + contention * computing.saturating_sub(1) as f64));
        work.sum()
    }
}
