//! The processors of one machine, and how they are shared: a state machine without a clock.
//!
//! Work that wakes up runs at once if a processor is idle. Otherwise it takes the place of work that has run for a slice or longer without a
//! break, as a scheduler gives sleepers precedence; if there is none, it waits. While work waits, each processor changes to the
//! next after a slice. Next is what has the earliest virtual deadline: the virtual time at which it became ready or was last
//! interrupted, and a slice. That is the order of Linux's scheduler for tasks of equal weight (EEVDF), without its lags. Ready work waits
//! in one queue for all processors, as idle processors of Linux pull work from the busy ones.
//!
//! Processors share caches and memory: computations that run at the same time slow each other, by as much as was measured for each.

use std::{collections::BTreeMap, time::Duration};

use kernel::time::Instant;

use super::pauses::Pauses;
use crate::host_id::HostId;

/// The processors and the work that is ready.
#[derive(Debug)]
pub(super) struct Cores {
    cores: Vec<Core>,
    slice: Duration,
    pauses: Pauses,
    /// Work that waits for a processor, by virtual deadline in nanoseconds, then by number.
    waiting: BTreeMap<(u64, u64), Work>,
    /// Work of processes that are stopped.
    stopped: Vec<Work>,
    /// Processes that are stopped, by the number of their host.
    stopped_hosts: Vec<usize>,
    /// Virtual time in nanoseconds: it goes as fast as the work that is ready proceeds on average.
    virtual_now: f64,
    /// The instant for which the virtual time is known.
    counted_to: Instant,
    /// Number of pieces of work so far.
    count: u64,
}

/// One processor.
#[derive(Debug, Default)]
struct Core {
    running: Option<Running>,
    /// Number of the alarm that counts. Earlier ones are of work that has been interrupted since.
    alarm: u64,
}

impl Core {
    /// Returns the instant from which on the slice of its work counts; never without work.
    fn slice_since(&self) -> Instant {
        self.running.as_ref().map_or(Instant::NEVER, |running| running.slice_since)
    }
}

/// Work on a processor.
#[derive(Debug)]
struct Running {
    work: Work,
    /// The instant from which on it has run; later than now while the processor wakes up.
    since: Instant,
    /// The instant from which on its slice counts.
    slice_since: Instant,
    /// How long it takes to do what takes one unit of time alone, since then; 1 or more.
    pace: f64,
}

impl Running {
    /// Returns how long it takes from [`since`](Self::since) on, if what runs beside it stays the same.
    fn time(&self) -> Duration {
        // Rounded up, so that nothing is left of the work when its alarm comes.
        if self.pace > 1.0 { self.work.left.mul_f64(self.pace) + Duration::from_nanos(1) } else { self.work.left }
    }

    /// Returns how much of the work this time of a processor does.
    fn done_in(&self, time: Duration) -> Duration {
        if self.pace > 1.0 { time.div_f64(self.pace) } else { time }
    }
}

/// A piece of work.
#[derive(Debug)]
struct Work {
    number: u64,
    host: HostId,
    /// Processor time that is left.
    left: Duration,
    /// Virtual deadline in nanoseconds.
    deadline: u64,
    contention: f64,
}

/// What a piece of work needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Needs {
    /// Time of a processor.
    pub(super) time: Duration,
    /// Time that an idle processor takes to wake up for it.
    pub(super) wake_up: Duration,
    /// How much longer it takes, as a share of its time, for each other processor that runs work of which this is more than 0.
    pub(super) contention: f64,
}

/// An instant at which [`Cores::alarm`] has to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alarm {
    pub(super) at: Instant,
    /// The host whose work runs until then.
    pub(super) host: HostId,
    pub(super) core: usize,
    pub(super) number: u64,
}

impl Cores {
    /// Creates `count` idle processors.
    pub(super) fn new(count: usize, slice: Duration, pauses: Pauses) -> Self {
        Self {
            cores: (0..count).map(|_| Core::default()).collect(),
            slice,
            pauses,
            waiting: BTreeMap::new(),
            stopped: Vec::new(),
            stopped_hosts: Vec::new(),
            virtual_now: 0.0,
            counted_to: Instant::START,
            count: 0,
        }
    }

    /// Returns true if no processor has work.
    pub(super) fn are_idle(&self) -> bool {
        self.cores.iter().all(|core| core.running.is_none())
    }

    /// Notes the coldness with which the machine begins or began the work that becomes ready next.
    pub(super) fn set_coldness(&mut self, coldness: f64) {
        self.pauses.set_coldness(coldness);
    }

    /// Takes work of `host` that becomes ready at `now`. Adds the alarms that have to be set to `alarms`. Returns the number of the work.
    pub(super) fn ready(&mut self, now: Instant, host: HostId, needs: Needs, alarms: &mut Vec<Alarm>) -> u64 {
        let Needs { time, wake_up, contention } = needs;
        self.count_to(now);
        self.count += 1;
        let deadline = self.virtual_now as u64 + nanos(self.slice);
        let work = Work { number: self.count, host, left: time, deadline, contention };
        if self.stopped_hosts.contains(&host.number) {
            self.stopped.push(work);
        } else if let Some(idle) = self.cores.iter().position(|core| core.running.is_none()) {
            self.run(now + wake_up, idle, work, alarms);
        } else if let Some(place) = self.longest_running(now) {
            self.interrupt(now, place);
            self.run(now, place, work, alarms);
        } else {
            self.wait(work);
            self.set_slices(now, alarms);
        }
        self.set_paces(now, alarms);
        self.count
    }

    /// Makes work that is not complete yet take longer by `more`. Work that is complete stays so.
    pub(super) fn extend(&mut self, now: Instant, number: u64, more: Duration, alarms: &mut Vec<Alarm>) {
        let waiting = self.waiting.values_mut().chain(&mut self.stopped);
        if let Some(work) = waiting.into_iter().find(|work| work.number == number) {
            work.left += more;
            return;
        }
        let cores = self.cores.iter_mut().enumerate();
        let mut running = cores.filter_map(|(place, core)| Some((place, core.running.as_mut()?)));
        if let Some((place, running)) = running.find(|(_, running)| running.work.number == number) {
            running.work.left += more;
            self.set_alarm(now, place, alarms);
        }
    }

    /// Continues at the time of an alarm. Returns the number of the work that is complete, if it is.
    pub(super) fn alarm(&mut self, now: Instant, core: usize, number: u64, alarms: &mut Vec<Alarm>) -> Option<u64> {
        if self.cores[core].alarm != number {
            return None;
        }
        self.count_to(now);
        let mut work = self.take(now, core)?;
        let complete = work.left.is_zero().then_some(work.number);
        if complete.is_none() {
            // The slice is over.
            work.deadline += nanos(self.slice);
            self.wait(work);
        }
        self.run_next(now, core, alarms);
        self.set_paces(now, alarms);
        complete
    }

    /// Stops the work of `host`, as SIGSTOP does.
    pub(super) fn stop(&mut self, now: Instant, host: HostId, alarms: &mut Vec<Alarm>) {
        if !self.stopped_hosts.contains(&host.number) {
            self.stopped_hosts.push(host.number);
            let taken = self.take_all(now, host, alarms);
            self.stopped.extend(taken);
            self.set_paces(now, alarms);
        }
    }

    /// Lets the work of `host` continue, as SIGCONT does.
    pub(super) fn resume(&mut self, now: Instant, host: HostId, alarms: &mut Vec<Alarm>) {
        self.stopped_hosts.retain(|stopped| *stopped != host.number);
        let (ready, stopped) = std::mem::take(&mut self.stopped).into_iter().partition(|work| work.host == host);
        self.stopped = stopped;
        self.count_to(now);
        for work in Vec::from_iter::<Vec<Work>>(ready) {
            self.wait(work);
        }
        for core in 0..self.cores.len() {
            if self.cores[core].running.is_none() {
                self.run_next(now, core, alarms);
            }
        }
        self.set_slices(now, alarms);
        self.set_paces(now, alarms);
    }

    /// Drops the work of `host`, as SIGKILL does. Returns its numbers.
    pub(super) fn kill(&mut self, now: Instant, host: HostId, alarms: &mut Vec<Alarm>) -> Vec<u64> {
        self.stopped_hosts.retain(|stopped| *stopped != host.number);
        let mut dropped = self.take_all(now, host, alarms);
        dropped.extend(self.stopped.extract_if(.., |work| work.host == host));
        self.set_paces(now, alarms);
        dropped.into_iter().map(|work| work.number).collect()
    }

    /// Takes all work of `host` that is ready.
    fn take_all(&mut self, now: Instant, host: HostId, alarms: &mut Vec<Alarm>) -> Vec<Work> {
        self.count_to(now);
        let keys: Vec<_> = self.waiting.iter().filter(|(_, work)| work.host == host).map(|(key, _)| *key).collect();
        let mut taken: Vec<_> = keys.iter().filter_map(|key| self.waiting.remove(key)).collect();
        for core in 0..self.cores.len() {
            if self.cores[core].running.as_ref().is_some_and(|running| running.work.host == host) {
                taken.extend(self.take(now, core));
                self.run_next(now, core, alarms);
            }
        }
        taken.sort_by_key(|work| work.number);
        taken
    }

    /// Returns the processor whose work has run for the longest time, a slice at least.
    fn longest_running(&mut self, now: Instant) -> Option<usize> {
        let place = (0..self.cores.len()).min_by_key(|place| self.cores[*place].slice_since())?;
        let since = self.cores[place].slice_since();
        (self.pauses.running_time(since, now) >= self.slice).then_some(place)
    }

    /// Takes the work from a processor and adds it to what waits.
    fn interrupt(&mut self, now: Instant, core: usize) {
        if let Some(mut work) = self.take(now, core) {
            work.deadline = self.virtual_now as u64 + nanos(self.slice);
            self.wait(work);
        }
    }

    /// Takes the work from a processor, with the time that is left of it.
    fn take(&mut self, now: Instant, core: usize) -> Option<Work> {
        self.cores[core].alarm += 1;
        self.proceed(now, core);
        self.cores[core].running.take().map(|running| running.work)
    }

    /// Lets the work on a processor proceed to `now` at its present pace.
    fn proceed(&mut self, now: Instant, core: usize) {
        if let Some(running) = &mut self.cores[core].running {
            let done = running.done_in(self.pauses.running_time(running.since, now));
            running.work.left = running.work.left.saturating_sub(done);
            running.since = running.since.max(now);
        }
    }

    fn wait(&mut self, work: Work) {
        self.waiting.insert((work.deadline, work.number), work);
    }

    fn run_next(&mut self, now: Instant, core: usize, alarms: &mut Vec<Alarm>) {
        if let Some((_, work)) = self.waiting.pop_first() {
            self.run(now, core, work, alarms);
        }
    }

    fn run(&mut self, since: Instant, core: usize, work: Work, alarms: &mut Vec<Alarm>) {
        if self.are_idle() {
            self.pauses.begin_work(since);
        }
        self.cores[core].running = Some(Running { work, since, slice_since: since, pace: 1.0 });
        self.set_alarm(since, core, alarms);
    }

    /// Lets the computations on all processors proceed as those beside them allow.
    fn set_paces(&mut self, now: Instant, alarms: &mut Vec<Alarm>) {
        let running = self.cores.iter().filter_map(|core| core.running.as_ref());
        let contending = running.filter(|running| running.work.contention > 0.0).count();
        for core in 0..self.cores.len() {
            let Some(running) = &self.cores[core].running else { continue };
            if running.work.contention == 0.0 {
                continue;
            }
            let pace = 1.0 + running.work.contention * (contending - 1) as f64;
            if pace != running.pace {
                self.proceed(now, core);
                self.cores[core].running.iter_mut().for_each(|running| running.pace = pace);
                self.set_alarm(now, core, alarms);
            }
        }
    }

    /// Sets the alarms of slices, which count while work waits.
    fn set_slices(&mut self, now: Instant, alarms: &mut Vec<Alarm>) {
        if !self.waiting.is_empty() {
            (0..self.cores.len()).for_each(|core| self.set_alarm(now, core, alarms));
        }
    }

    /// Sets the alarm of a processor: the end of its work, or of its slice if other work waits.
    fn set_alarm(&mut self, now: Instant, core: usize, alarms: &mut Vec<Alarm>) {
        let Some(running) = &self.cores[core].running else { return };
        let host = running.work.host;
        let mut at = self.pauses.end_of(running.since, running.time());
        if !self.waiting.is_empty() {
            at = at.min(self.pauses.end_of(running.slice_since, self.slice));
        }
        self.cores[core].alarm += 1;
        alarms.push(Alarm { at: at.max(now), host, core, number: self.cores[core].alarm });
    }

    /// Moves the virtual time to `now`.
    fn count_to(&mut self, now: Instant) {
        let running = self.cores.iter().filter(|core| core.running.is_some()).count();
        let ready = running + self.waiting.len();
        if ready > 0 {
            self.virtual_now += nanos(now.since(self.counted_to)) as f64 * running as f64 / ready as f64;
        }
        self.counted_to = now;
        let begun = self.cores.iter().filter_map(|core| core.running.as_ref());
        let first = begun.map(|running| running.since.min(running.slice_since)).min().unwrap_or(now);
        self.pauses.forget_before(first.min(now));
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use kernel::entropy::Entropy;

    use super::*;

    const SLICE_US: u64 = 1_000;

    /// Processors with the alarms that they have set.
    struct Machine {
        cores: Cores,
        alarms: Vec<Alarm>,
        /// The number of each piece of work that is complete, and the time in microseconds.
        complete: Vec<(u64, u64)>,
    }

    impl Machine {
        fn new(cores: usize) -> Self {
            let pauses = Pauses::new(None, Entropy::new(1).stream("test"));
            let cores = Cores::new(cores, Duration::from_micros(SLICE_US), pauses);
            Self { cores, alarms: Vec::new(), complete: Vec::new() }
        }

        fn ready(&mut self, at: u64, host: usize, time: u64) -> u64 {
            self.ready_after_sleep(at, host, time, 0)
        }

        fn ready_after_sleep(&mut self, at: u64, host: usize, time: u64, wake_up: u64) -> u64 {
            self.ready_with(at, host, needs(time, wake_up, 0.0))
        }

        fn ready_with(&mut self, at: u64, host: usize, needs: Needs) -> u64 {
            self.play_until(at);
            self.cores.ready(instant(at), HostId::server(host), needs, &mut self.alarms)
        }

        /// Plays the alarms before and at this time.
        fn play_until(&mut self, micros: u64) {
            while let Some(next) = self.alarms.iter().map(|alarm| alarm.at).min().filter(|at| *at <= instant(micros)) {
                let place = self.alarms.iter().position(|alarm| alarm.at == next).unwrap();
                let Alarm { at, core, number, .. } = self.alarms.remove(place);
                if let Some(complete) = self.cores.alarm(at, core, number, &mut self.alarms) {
                    self.complete.push((complete, at.as_micros()));
                }
            }
        }

        fn all(mut self) -> Vec<(u64, u64)> {
            self.play_until(u64::MAX / 2_000);
            assert!(self.cores.are_idle() && self.cores.waiting.is_empty());
            self.complete
        }
    }

    fn needs(time: u64, wake_up: u64, contention: f64) -> Needs {
        let [time, wake_up] = [time, wake_up].map(Duration::from_micros);
        Needs { time, wake_up, contention }
    }

    fn instant(micros: u64) -> Instant {
        Instant::START + Duration::from_micros(micros)
    }

    #[test]
    fn computations_on_two_processors_slow_each_other() {
        let mut machine = Machine::new(2);
        machine.ready_with(0, 0, needs(1_000, 0, 0.5));
        // Half of the first one is done. From here on each takes as long again for a half of its time.
        machine.ready_with(500, 1, needs(1_000, 0, 1.0));
        // The first has 500 us left, which take 750; the second has then done 375 of 1,000.
        assert_eq!(machine.all(), [(1, 1_250), (2, 1_875)]);
    }

    #[test]
    fn work_without_contention_neither_slows_nor_is_slowed() {
        let mut machine = Machine::new(2);
        machine.ready_with(0, 0, needs(1_000, 0, 2.0));
        machine.ready(100, 1, 500);
        assert_eq!(machine.all(), [(2, 600), (1, 1_000)]);
    }

    #[test]
    fn a_computation_that_is_interrupted_keeps_what_is_left_of_it() {
        let mut machine = Machine::new(2);
        machine.ready_with(0, 0, needs(3_000, 0, 1.0));
        machine.ready_with(0, 1, needs(3_000, 0, 1.0));
        machine.play_until(2_000);
        machine.cores.stop(instant(2_000), HostId::server(1), &mut machine.alarms);
        // Each has 2,000 us left. The first one is alone now.
        machine.play_until(4_000);
        assert_eq!(machine.complete, [(1, 4_000)]);
        machine.cores.resume(instant(5_000), HostId::server(1), &mut machine.alarms);
        assert_eq!(machine.all(), [(1, 4_000), (2, 7_000)]);
    }

    #[test]
    fn more_computations_than_processors_take_turns_and_slow_each_other() {
        let mut machine = Machine::new(2);
        for host in 0..4 {
            machine.ready_with(0, host, needs(50_000, 0, 0.4));
        }
        let complete = machine.all();
        // 200 ms of work on two processors at 1.4 times the time.
        assert!(complete.iter().all(|(_, at)| (137_000..=140_010).contains(at)), "{complete:?}");
    }

    #[test]
    fn work_runs_at_once_on_an_idle_processor_that_wakes_up_for_it() {
        let mut machine = Machine::new(2);
        machine.ready_after_sleep(100, 0, 50, 200);
        machine.ready(120, 1, 50);
        assert_eq!(machine.all(), [(2, 170), (1, 350)]);
    }

    #[test]
    fn short_work_waits_for_its_turn_when_all_processors_are_busy() {
        let mut machine = Machine::new(2);
        for host in 0..4 {
            machine.ready(0, host, 100);
        }
        assert_eq!(machine.all(), [(1, 100), (2, 100), (3, 200), (4, 200)]);
    }

    #[test]
    fn work_that_wakes_up_takes_the_place_of_work_that_has_run_for_a_slice() {
        let mut machine = Machine::new(1);
        machine.ready(0, 0, 10_000);
        machine.ready(5_000, 1, 100);
        assert_eq!(machine.all(), [(2, 5_100), (1, 10_100)]);
    }

    #[test]
    fn work_that_has_just_begun_is_not_interrupted_before_its_slice_is_over() {
        let mut machine = Machine::new(1);
        machine.ready(0, 0, 10_000);
        machine.ready(400, 1, 100);
        assert_eq!(machine.all(), [(2, SLICE_US + 100), (1, 10_100)]);
    }

    #[test]
    fn processors_are_shared_equally_among_long_work() {
        let mut machine = Machine::new(2);
        for host in 0..4 {
            machine.ready(0, host, 100_000);
        }
        let complete = machine.all();
        assert_eq!(complete.len(), 4);
        assert!(complete.iter().all(|(_, at)| (197_000..=200_000).contains(at)), "{complete:?}");
    }

    #[test]
    fn work_that_waits_is_not_starved_by_work_that_wakes_up() {
        let mut machine = Machine::new(1);
        machine.ready(0, 0, 20_000);
        // Short work that needs half of the processor.
        for number in 0..100 {
            machine.ready(number * 1_000, 1, 500);
        }
        let complete = machine.all();
        let long = complete.iter().find(|(number, _)| *number == 1).unwrap().1;
        assert!((38_000..=42_000).contains(&long), "{long}");
    }

    #[test]
    fn stopped_work_keeps_the_time_that_is_left_of_it() {
        let mut machine = Machine::new(1);
        machine.ready(0, 0, 1_000);
        machine.ready(0, 1, 300);
        machine.play_until(400);
        machine.cores.stop(instant(400), HostId::server(0), &mut machine.alarms);
        let later = machine.ready(500, 0, 10);
        machine.play_until(5_000);
        assert_eq!(machine.complete, [(2, 700)]);
        machine.cores.resume(instant(5_000), HostId::server(0), &mut machine.alarms);
        assert_eq!(machine.all()[1..], [(1, 5_600), (later, 5_610)]);
    }

    #[test]
    fn killed_work_is_never_complete() {
        let mut machine = Machine::new(1);
        let numbers = [machine.ready(0, 0, 1_000), machine.ready(0, 1, 300), machine.ready(0, 0, 300)];
        machine.play_until(200);
        let dropped = machine.cores.kill(instant(200), HostId::server(0), &mut machine.alarms);
        assert_eq!(dropped, [numbers[0], numbers[2]]);
        assert_eq!(machine.all(), [(numbers[1], 500)]);
    }

    #[test]
    fn work_can_become_longer_until_it_is_complete() {
        let mut machine = Machine::new(1);
        let [running, waiting] = [machine.ready(0, 0, 100), machine.ready(0, 1, 100)];
        for number in [running, waiting] {
            machine.cores.extend(instant(0), number, Duration::from_micros(50), &mut machine.alarms);
        }
        machine.play_until(1_000);
        machine.cores.extend(instant(1_000), running, Duration::from_secs(1), &mut machine.alarms);
        assert_eq!(machine.all(), [(running, 150), (waiting, 300)]);
    }

    /// No time of a processor is lost or used twice, whatever happens.
    #[test]
    fn the_work_that_is_done_is_the_work_that_was_given() {
        for seed in 0..50 {
            let mut rng = Entropy::new(seed).stream("work");
            let mut draw = |until: u64| (kernel::entropy::unit(&mut rng) * until as f64) as u64;
            let count = 1 + draw(4) as usize;
            let mut machine = Machine::new(count);
            let mut at = 0;
            let mut given = 0;
            for _ in 0..200 {
                at += draw(400);
                let host = draw(3) as usize;
                match draw(12) {
                    0 => machine.cores_at(at, |cores, now, alarms| cores.stop(now, HostId::server(host), alarms)),
                    1 => machine.cores_at(at, |cores, now, alarms| cores.resume(now, HostId::server(host), alarms)),
                    _ => {
                        let time = draw(3_000);
                        given += time;
                        machine.ready(at, host, time);
                    }
                }
            }
            (0..3).for_each(|host| {
                machine.cores_at(at, |cores, now, alarms| cores.resume(now, HostId::server(host), alarms));
            });
            let complete = machine.all();
            let last = complete.iter().map(|(_, at)| *at).max().unwrap();
            assert!(last * count as u64 >= given, "{count} processors did {given} us of work by {last}");
            let mut numbers: Vec<_> = complete.iter().map(|(number, _)| *number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), complete.len(), "each once");
        }
    }

    impl Machine {
        fn cores_at(&mut self, at: u64, change: impl FnOnce(&mut Cores, Instant, &mut Vec<Alarm>)) {
            self.play_until(at);
            change(&mut self.cores, instant(at), &mut self.alarms);
        }
    }
}
