//! The moments of the requests of one run, and the pauses of the machine in it.

use std::{collections::BTreeMap, time::Duration};

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

/// The load of a run without faults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::calibrate) struct Load {
    /// Requests per second.
    pub(in crate::calibrate) rate: u64,
    /// Length of the run.
    pub(in crate::calibrate) seconds: u64,
    /// The least time that a request holds its worker. The machine rests when the worker has computed its answer and waits for the end of
    /// that time.
    pub(in crate::calibrate) hold: Duration,
}

impl Load {
    pub(in crate::calibrate) const fn new(rate: u64, seconds: u64) -> Self {
        Self { rate, seconds, hold: Duration::ZERO }
    }

    /// Returns the same load on workers that a request holds for this time at least.
    pub(in crate::calibrate) const fn held_for(self, hold: Duration) -> Self {
        Self { hold, ..self }
    }
}

/// One request, in microseconds of the run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    /// Size of its input, such as `64x64`.
    pub(super) size: String,
    /// When it was intended to be sent, was sent, was taken by a worker, left the worker, and was answered.
    pub(super) moments: [f64; STAGES + 1],
    /// From when until when the machine has nothing to do for it, between its computing and the end of the time for which it holds its worker.
    pub(super) rest: Option<(f64, f64)>,
    /// True if the machine paused, or if its connection was new: it says nothing.
    pub(super) is_disturbed: bool,
    /// True if it shared the machine with another request: it is left out of all distributions but that of timers.
    pub(super) overlaps: bool,
    /// True if no other request was under way at its intended time.
    pub(super) finds_rest: bool,
    /// True if its timer alone was as late as after a pause. Such a request is disturbed, and a sample of timers.
    pub(super) is_late_alone: bool,
}

impl Path {
    /// Returns how long a stage took, in microseconds.
    pub(super) fn took(&self, stage: usize) -> f64 {
        self.moments[stage + 1] - self.moments[stage]
    }

    /// Returns whether its timer expired on a machine that had nothing else to do. What comes later does not change how late it is.
    fn has_timer(&self) -> bool {
        self.counts() || self.is_late_alone || (self.finds_rest && !self.is_disturbed)
    }

    /// Returns whether its times are those of a request that has the machine for itself.
    pub(super) fn counts(&self) -> bool {
        !self.is_disturbed && !self.overlaps
    }

    /// Returns the times in which the machine works for it: one, or two with a rest between them.
    fn busy(&self) -> impl Iterator<Item = (f64, f64)> + use<> {
        let (begin, end) = (self.moments[0], self.moments[STAGES]);
        let (first, second) = match self.rest {
            Some((from, until)) => ((begin, from), Some((until, end))),
            None => ((begin, end), None),
        };
        [first].into_iter().chain(second)
    }
}

/// A stage of a request that counts, whose time is that of the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MeasuredStage<'a> {
    pub(super) path: &'a Path,
    pub(super) stage: usize,
    /// Coldness of the machine at its beginning, from 0 to 1.
    pub(super) coldness: f64,
}

impl MeasuredStage<'_> {
    /// Returns how long it took, in microseconds.
    pub(super) fn took(&self) -> f64 {
        self.path.took(self.stage)
    }
}

/// How long the machine works in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct WorkingTime {
    /// In microseconds.
    pub(super) us: f64,
    /// Each time with the coldness, from 0 to 1, with which the machine began it as a factor.
    pub(super) cold_us: f64,
}

/// What happens at a moment of a run. At one moment it happens in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    /// A request is intended, on a machine that may rest.
    Intended { place: usize },
    /// The machine begins to work.
    Works,
    /// A later stage of a request begins.
    Begins { place: usize, stage: usize },
    /// The machine has nothing left to do.
    Rests,
}

/// A time in which something was held up, in microseconds.
#[derive(Debug, Clone, Copy)]
struct HeldUp {
    from: f64,
    until: f64,
    /// The place of the request, if it is the timer of one that finds the machine at rest, and nothing else.
    timer: Option<usize>,
}

/// The requests of one run at a constant rate, by intended time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RunPaths {
    pub(super) load: Load,
    pub(super) paths: Vec<Path>,
    /// Lengths of the pauses of the machine, in microseconds.
    pub(super) pauses: Vec<f64>,
    /// Processor time of all processes of the run, in microseconds.
    pub(super) processor_us: f64,
    /// What happens in the run, by time in microseconds.
    timeline: Vec<(f64, Happens)>,
}

impl RunPaths {
    /// Reads the rows of a run with this load. Requests with more than one attempt are left out. A run whose workers are held has to
    /// [`rest`](Self::rest) before it is used.
    pub(super) fn from_records(records: &Records, load: Load, processor_us: f64) -> Self {
        let opened = opened(records) as f64 + WARM_UP_US;
        let finished = finished(records);
        let of_row = |row: &RequestRow| {
            let moments = moments(row, *finished.get(&row.id)?)?.map(|micros| micros as f64);
            Some(Path {
                size: row.size.clone(),
                moments,
                rest: None,
                is_disturbed: moments[TO_SERVER] <= opened,
                overlaps: false,
                finds_rest: false,
                is_late_alone: false,
            })
        };
        let rows = records.requests.iter().filter(|row| row.status == Outcome::OK && row.attempts == 1);
        let mut paths: Vec<Path> = rows.filter_map(of_row).collect();
        paths.sort_by(|one, other| one.moments[LATE].total_cmp(&other.moments[LATE]));
        let mut run = Self::new(load, paths, processor_us);
        run.find_pauses();
        if !run.is_held() {
            run.leave_out_overlapping();
        }
        run
    }

    /// Creates a run of these requests, in the order of their intended times.
    pub(super) fn new(load: Load, paths: Vec<Path>, processor_us: f64) -> Self {
        let mut run = Self { load, paths, processor_us, ..Self::default() };
        let mut busy_until = f64::NEG_INFINITY;
        for path in &mut run.paths {
            path.finds_rest = path.moments[0] >= busy_until;
            busy_until = busy_until.max(path.moments[STAGES]);
        }
        run.set_timeline();
        run
    }

    /// Returns true if its workers are held for longer than they compute.
    pub(super) fn is_held(&self) -> bool {
        !self.load.hold.is_zero()
    }

    /// Lets the machine rest between the computing of each request and the end of the time for which it holds its worker. `computing` is
    /// how long requests of a size compute, in microseconds, as rows do not have it where workers are held; other sizes are left out.
    pub(super) fn rest(&mut self, computing: &BTreeMap<String, f64>) {
        let hold = self.load.hold.as_secs_f64() * 1e6;
        for path in &mut self.paths {
            let started = path.moments[SERVICE];
            let until = started + hold;
            let from = computing.get(&path.size).map(|computes| started + computes);
            path.is_disturbed |= from.is_none();
            path.rest = from.filter(|from| *from < until).map(|from| (from, until.min(path.moments[TO_CLIENT])));
        }
        self.leave_out_overlapping();
        self.set_timeline();
    }

    /// Returns the stages whose times are those of the machine: the service of a worker that is held takes as long as it was configured.
    pub(super) fn measured_stages(&self) -> impl Iterator<Item = usize> + use<> {
        let is_held = self.is_held();
        (0..STAGES).filter(move |stage| !(is_held && *stage == SERVICE))
    }

    /// Leaves out the requests that were under way at the same time as another one. Their stages contain what they waited for each other's
    /// processors and threads, which a simulation adds by itself: with those of large graphs, two thirds of a service time were such waits.
    fn leave_out_overlapping(&mut self) {
        let mut busy = Vec::with_capacity(self.paths.len());
        for (place, path) in self.paths.iter().enumerate() {
            busy.extend(path.busy().map(|(from, until)| (from, until, place)));
        }
        busy.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut busy_until = f64::NEG_INFINITY;
        // The place of the request that keeps the machine busy for the longest.
        let mut busy_with = 0;
        for (from, until, place) in busy {
            if from < busy_until {
                self.paths[busy_with].overlaps = true;
                self.paths[place].overlaps = true;
            }
            if until > busy_until {
                busy_until = until;
                busy_with = place;
            }
        }
    }

    /// Puts what happens in the run in the order of time.
    fn set_timeline(&mut self) {
        self.timeline.clear();
        for (place, path) in self.paths.iter().enumerate() {
            self.timeline.push((path.moments[0], Happens::Intended { place }));
            self.timeline.extend((1..STAGES).map(|stage| (path.moments[stage], Happens::Begins { place, stage })));
            let busy = path.busy().flat_map(|(from, until)| [(from, Happens::Works), (until, Happens::Rests)]);
            self.timeline.extend(busy);
        }
        self.timeline.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        // The machine works from the first of several requests to the last.
        let mut busy = 0;
        self.timeline.retain(|(_, happens)| match happens {
            Happens::Works => {
                busy += 1;
                busy == 1
            }
            Happens::Rests => {
                busy -= 1;
                busy == 0
            }
            Happens::Intended { .. } | Happens::Begins { .. } => true,
        });
    }

    /// Returns the requests that count.
    pub(super) fn counted(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().filter(|path| path.counts())
    }

    /// Returns whether all requests are of this size.
    pub(super) fn has_only(&self, size: &str) -> bool {
        self.paths.iter().all(|path| path.size == size)
    }

    /// Returns for how long this many requests were served at once, in microseconds.
    pub(super) fn served_at_once(&self) -> BTreeMap<usize, f64> {
        let mut changes = Vec::with_capacity(2 * self.paths.len());
        for path in &self.paths {
            changes.extend([(path.moments[SERVICE], true), (path.moments[TO_CLIENT], false)]);
        }
        changes.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut times = BTreeMap::new();
        let mut served = 0_usize;
        let mut since = 0.0;
        for (at, begins) in changes {
            *times.entry(served).or_default() += at - since;
            since = at;
            // One that takes no time at all may end before it begins.
            served = if begins { served + 1 } else { served.saturating_sub(1) };
        }
        times
    }

    /// Returns how long the machine works in the run.
    pub(super) fn working(&self, rates: ColdnessRates) -> WorkingTime {
        let mut machine = Coldness::new(rates);
        let mut working = WorkingTime::default();
        let mut since = 0.0;
        for (at, happens) in &self.timeline {
            let now = instant(*at);
            match happens {
                Happens::Works => {
                    machine.begin_work(now);
                    since = *at;
                }
                Happens::Rests => {
                    working.us += at - since;
                    working.cold_us += (at - since) * machine.slept(now);
                    machine.end_work(now);
                }
                Happens::Intended { .. } | Happens::Begins { .. } => {}
            }
        }
        working
    }

    /// Returns how late the timers of requests were that found the machine at rest, as pairs (coldness, microseconds).
    pub(super) fn timers(&self, rates: ColdnessRates) -> impl Iterator<Item = (f64, f64)> {
        let timers = self.paths.iter().zip(self.coldness(rates)).filter(|(path, _)| path.has_timer());
        timers.map(|(path, coldness)| (coldness[LATE], path.took(LATE)))
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
        let held_up = self.paths.iter().enumerate().filter(|(_, path)| path.counts()).flat_map(|(place, path)| {
            let medians = &medians[&path.size];
            // Long computations differ by more than a pause is long, and more so if they slow each other.
            let stages = (0..STAGES).filter(|stage| *stage != SERVICE || medians[SERVICE] < PAUSE_MIN_US);
            stages.filter_map(move |stage| {
                let is_held_up = path.took(stage) > medians[stage] + PAUSE_MIN_US;
                is_held_up.then(|| HeldUp {
                    from: path.moments[stage] + medians[stage],
                    until: path.moments[stage + 1],
                    timer: (stage == LATE && path.finds_rest).then_some(place),
                })
            })
        });
        let mut held_up: Vec<HeldUp> = held_up.collect();
        held_up.sort_by(|one, other| one.from.total_cmp(&other.from));
        let mut pauses: Vec<HeldUp> = Vec::new();
        for one in held_up {
            match pauses.last_mut() {
                Some(last) if one.from <= last.until + SAME_PAUSE_US => {
                    *last = HeldUp { from: last.from, until: last.until.max(one.until), timer: None };
                }
                _ => pauses.push(one),
            }
        }
        for path in &mut self.paths {
            let from = path.moments[0];
            let until = path.moments[STAGES];
            // The first pause that ends after the request begins.
            let next = pauses.partition_point(|pause| pause.until < from);
            path.is_disturbed |= pauses.get(next).is_some_and(|pause| pause.from <= until);
        }
        // A processor that was halted is not there at once when the hypervisor has given it to another machine. That is a property of timers, and no pause
        // of a machine that works.
        pauses.iter().filter_map(|pause| pause.timer).for_each(|place| self.paths[place].is_late_alone = true);
        self.pauses =
            pauses.into_iter().filter(|pause| pause.timer.is_none()).map(|pause| pause.until - pause.from).collect();
    }

    /// Returns the measured stages of the requests that count, each with the coldness that the machine has at its beginning by a model of these rates.
    pub(super) fn stages(&self, rates: ColdnessRates) -> impl Iterator<Item = MeasuredStage<'_>> {
        let counted = self.paths.iter().zip(self.coldness(rates)).filter(|(path, _)| path.counts());
        counted.flat_map(move |(path, coldness)| {
            self.measured_stages().map(move |stage| MeasuredStage { path, stage, coldness: coldness[stage] })
        })
    }

    /// Returns the coldness of the machine at the beginning of each stage of each request, as the model has it: the machine works from the
    /// intended time of a request until it is answered, without its [`rest`](Path::rest).
    pub(super) fn coldness(&self, rates: ColdnessRates) -> Vec<[f64; STAGES]> {
        let mut machine = Coldness::new(rates);
        let mut coldness = vec![[0.0; STAGES]; self.paths.len()];
        for (at, happens) in &self.timeline {
            let now = instant(*at);
            match *happens {
                Happens::Intended { place } => coldness[place][LATE] = machine.at(now),
                Happens::Begins { place, stage: TO_SERVER } => coldness[place][TO_SERVER] = machine.of_server(now),
                Happens::Begins { place, stage } => coldness[place][stage] = machine.at(now),
                Happens::Works => machine.begin_work(now),
                Happens::Rests => machine.end_work(now),
            }
        }
        coldness
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
