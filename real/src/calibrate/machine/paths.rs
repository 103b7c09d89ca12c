//! The moments of the requests of one run, and the pauses of the machine in it.

use std::collections::BTreeMap;

use kernel::{
    coldness::{Coldness, ColdnessRates},
    measure::stages::{STAGES, moments},
    record::{Records, RequestRow},
    status::Outcome,
    time::Instant,
};

use super::super::observed::{finished, opened};

/// The stages by their place.
pub(super) const LATE: usize = 0;
pub(super) const TO_SERVER: usize = 1;
pub(super) const SERVICE: usize = 2;
pub(super) const TO_CLIENT: usize = 3;

/// A stage that took this much longer than its median, in microseconds, was held up by a pause of the machine.
const PAUSE_MIN_US: f64 = 600.0;

/// Pauses that are closer to each other than this, in microseconds, are one.
const SAME_PAUSE_US: f64 = 100.0;

/// Requests in the first microseconds after the last connection was opened are left out: caches of the processes are empty.
const WARM_UP_US: f64 = 50_000.0;

/// One request, in microseconds of the run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    /// Size of its input, such as `64x64`.
    pub(super) size: String,
    /// When it was intended to be sent, was sent, was taken by a worker, left the worker, and was answered.
    pub(super) moments: [f64; STAGES + 1],
    /// False if it is left out of all distributions: the machine paused, its connection was new, or it shared the machine with another
    /// request.
    pub(super) counts: bool,
}

impl Path {
    /// Returns how long a stage took, in microseconds.
    pub(super) fn took(&self, stage: usize) -> f64 {
        self.moments[stage + 1] - self.moments[stage]
    }
}

/// The requests of one run at a constant rate, by intended time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RunPaths {
    /// Requests per second.
    pub(super) rate: u64,
    pub(super) paths: Vec<Path>,
    /// Lengths of the pauses of the machine, in microseconds.
    pub(super) pauses: Vec<f64>,
    /// Length of the run, in seconds.
    pub(super) seconds: f64,
    /// Processor time of all processes of the run, in microseconds.
    pub(super) processor_us: f64,
}

impl RunPaths {
    /// Reads the rows of a run at this rate. Requests with more than one attempt are left out.
    pub(super) fn from_records(records: &Records, rate: u64, seconds: f64, processor_us: f64) -> Self {
        let opened = opened(records) as f64 + WARM_UP_US;
        let finished = finished(records);
        let of_row = |row: &RequestRow| {
            let moments = moments(row, *finished.get(&row.id)?)?.map(|micros| micros as f64);
            Some(Path { size: row.size.clone(), moments, counts: moments[TO_SERVER] > opened })
        };
        let rows = records.requests.iter().filter(|row| row.status == Outcome::OK && row.attempts == 1);
        let mut paths: Vec<Path> = rows.filter_map(of_row).collect();
        paths.sort_by(|one, other| one.moments[LATE].total_cmp(&other.moments[LATE]));
        let mut run = Self { rate, paths, pauses: Vec::new(), seconds, processor_us };
        run.find_pauses();
        run.leave_out_overlapping();
        run
    }

    /// Leaves out the requests that were under way at the same time as another one. Their stages contain what they waited for each other's
    /// processors and threads, which a simulation adds by itself: with those of large graphs, two thirds of a service time were such waits.
    fn leave_out_overlapping(&mut self) {
        let mut busy_until = f64::NEG_INFINITY;
        // The place of the request that keeps the machine busy for the longest.
        let mut busy_with = 0;
        for place in 0..self.paths.len() {
            let Path { moments, .. } = self.paths[place];
            if moments[0] < busy_until {
                self.paths[busy_with].counts = false;
                self.paths[place].counts = false;
            }
            if moments[STAGES] > busy_until {
                busy_until = moments[STAGES];
                busy_with = place;
            }
        }
    }

    /// Returns the requests that count.
    pub(super) fn counted(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().filter(|path| path.counts)
    }

    /// Returns whether all requests are of this size.
    pub(super) fn has_only(&self, size: &str) -> bool {
        self.paths.iter().all(|path| path.size == size)
    }

    /// Finds the times in which stages were held up, and leaves out the requests that overlap them.
    fn find_pauses(&mut self) {
        let mut by_size: BTreeMap<&str, [Vec<f64>; STAGES]> = BTreeMap::new();
        for path in self.counted() {
            let times = by_size.entry(&path.size).or_default();
            (0..STAGES).for_each(|stage| times[stage].push(path.took(stage)));
        }
        let medians: BTreeMap<String, [f64; STAGES]> = by_size
            .into_iter()
            .map(|(size, times)| (size.to_owned(), times.map(|times| median(times).unwrap_or(0.0))))
            .collect();
        let held_up = self.counted().flat_map(|path| {
            let medians = &medians[&path.size];
            (0..STAGES).filter_map(|stage| {
                let is_held_up = path.took(stage) > medians[stage] + PAUSE_MIN_US;
                is_held_up.then(|| (path.moments[stage] + medians[stage], path.moments[stage + 1]))
            })
        });
        let mut held_up: Vec<(f64, f64)> = held_up.collect();
        held_up.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut pauses: Vec<(f64, f64)> = Vec::new();
        for (from, until) in held_up {
            match pauses.last_mut() {
                Some(last) if from <= last.1 + SAME_PAUSE_US => last.1 = last.1.max(until),
                _ => pauses.push((from, until)),
            }
        }
        for path in &mut self.paths {
            let from = path.moments[0];
            let until = path.moments[STAGES];
            // The first pause that ends after the request begins.
            let next = pauses.partition_point(|pause| pause.1 < from);
            path.counts &= pauses.get(next).is_none_or(|pause| pause.0 > until);
        }
        self.pauses = pauses.into_iter().map(|(from, until)| until - from).collect();
    }

    /// Returns the coldness of the machine at the beginning of each stage of each request, as the model has it: the machine works from the
    /// intended time of a request until it is answered.
    pub(super) fn coldness(&self, rates: ColdnessRates) -> Vec<[f64; STAGES]> {
        let mut machine = Coldness::new(rates);
        let mut busy_until = 0.0;
        let of_path = |path: &Path| {
            if path.moments[0] > busy_until {
                machine.end_work(instant(busy_until));
            }
            let at_rest = machine.at(instant(path.moments[0]));
            machine.begin_work(instant(path.moments[0]));
            busy_until = path.moments[STAGES].max(busy_until);
            let mut coldness = [at_rest; STAGES];
            for (stage, coldness) in coldness.iter_mut().enumerate().skip(1) {
                *coldness = machine.at(instant(path.moments[stage]));
            }
            coldness
        };
        self.paths.iter().map(of_path).collect()
    }
}

fn instant(micros: f64) -> Instant {
    Instant::from_nanos((micros * 1e3) as u64)
}

/// Returns the median, or `None` if there are no values.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
