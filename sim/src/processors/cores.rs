//! The processors of one machine, and how they are shared: a state machine without a clock.
//!
//! Work that wakes up runs at once if a processor is idle. Otherwise it takes the place of work that has run for a slice or longer without a
//! break, as a scheduler gives sleepers precedence; if there is none, it waits. While work waits, each processor changes to the
//! next after a slice. Next is what has the earliest virtual deadline: the virtual time at which it became ready or was last
//! interrupted, and a slice. That is the order of Linux's scheduler for tasks of equal weight (EEVDF), without its lags. Ready work waits
//! in one queue for all processors, as idle processors of Linux pull work from the busy ones.

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

/// Work on a processor.
#[derive(Debug)]
struct Running {
    work: Work,
    /// The instant from which on it has run; later than now while the processor wakes up.
    since: Instant,
    /// The instant from which on its slice counts.
    slice_since: Instant,
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

    /// Takes work of `host` that becomes ready at `now` and needs a processor for `time`; a processor that is idle wakes up for it, which
    /// takes `wake_up`. Adds the alarms that have to be set to `alarms`. Returns the number of the work.
    pub(super) fn ready(
        &mut self,
        now: Instant,
        host: HostId,
        time: Duration,
        wake_up: Duration,
        alarms: &mut Vec<Alarm>,
    ) -> u64 {
        self.count_to(now);
        self.count += 1;
        let work = Work { number: self.count, host, left: time, deadline: self.virtual_now as u64 + nanos(self.slice) };
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
        self.count
    }

    /// Makes work that is not complete yet take longer by `more`. Work that is complete stays so.
    pub(super) fn extend(&mut self, now: Instant, number: u64, more: Duration, alarms: &mut Vec<Alarm>) {
        let waiting = self.waiting.values_mut().chain(&mut self.stopped);
        if let Some(work) = waiting.into_iter().find(|work| work.number == number) {
            work.left += more;
            return;
        }
        let is_it = |core: &Core| core.running.as_ref().is_some_and(|running| running.work.number == number);
        if let Some(place) = self.cores.iter().position(is_it) {
            if let Some(running) = &mut self.cores[place].running {
                running.work.left += more;
            }
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
        complete
    }

    /// Stops the work of `host`, as SIGSTOP does.
    pub(super) fn stop(&mut self, now: Instant, host: HostId, alarms: &mut Vec<Alarm>) {
        if !self.stopped_hosts.contains(&host.number) {
            self.stopped_hosts.push(host.number);
            let taken = self.take_all(now, host, alarms);
            self.stopped.extend(taken);
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
    }

    /// Drops the work of `host`, as SIGKILL does. Returns its numbers.
    pub(super) fn kill(&mut self, now: Instant, host: HostId, alarms: &mut Vec<Alarm>) -> Vec<u64> {
        self.stopped_hosts.retain(|stopped| *stopped != host.number);
        let mut dropped = self.take_all(now, host, alarms);
        dropped.extend(self.stopped.extract_if(.., |work| work.host == host));
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
        let since = |core: &Core| core.running.as_ref().map_or(Instant::NEVER, |running| running.slice_since);
        let place = (0..self.cores.len()).min_by_key(|place| since(&self.cores[*place]))?;
        let since = since(&self.cores[place]);
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
        let Running { mut work, since, .. } = self.cores[core].running.take()?;
        work.left = work.left.saturating_sub(self.pauses.running_time(since, now));
        Some(work)
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
        self.cores[core].running = Some(Running { work, since, slice_since: since });
        self.set_alarm(since, core, alarms);
    }

    /// Sets the alarms of slices, which count while work waits.
    fn set_slices(&mut self, now: Instant, alarms: &mut Vec<Alarm>) {
        if !self.waiting.is_empty() {
            (0..self.cores.len()).for_each(|core| self.set_alarm(now, core, alarms));
        }
    }

    /// Sets the alarm of a processor: the end of its work, or of its slice if other work waits.
    fn set_alarm(&mut self, now: Instant, core: usize, alarms: &mut Vec<Alarm>) {
        let Some(Running { work, since, slice_since }) = &self.cores[core].running else { return };
        let host = work.host;
        let end = self.pauses.end_of(*since, work.left);
        let at = if self.waiting.is_empty() { end } else { end.min(self.pauses.end_of(*slice_since, self.slice)) };
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
