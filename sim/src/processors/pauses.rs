//! The pauses of a machine: times in which none of its processors runs, because the hypervisor gives them to others.

use std::{collections::VecDeque, time::Duration};

use kernel::{
    distribution::Distribution,
    entropy::{RandomStream, unit},
    time::Instant,
};
use serde::Deserialize;

/// How often a machine pauses, and for how long.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PauseTimes {
    /// Mean number of pauses in a second.
    pub(crate) per_second: f64,
    /// Length of a pause, in microseconds.
    pub(crate) us: Distribution,
}

/// The most pauses in a second that a calibration has.
pub(crate) const PAUSES_PER_SECOND_MAX: f64 = 1_000.0;

/// The pauses of a run, in order, drawn when they are needed. They do not overlap.
#[derive(Debug)]
pub(super) struct Pauses {
    /// `None` if the machine has no pauses.
    times: Option<(PauseTimes, RandomStream)>,
    /// Pauses that are not over yet, as far as they were asked for.
    known: VecDeque<(Instant, Instant)>,
}

impl Pauses {
    /// Draws pauses from `rng`; none at all without times.
    pub(super) fn new(times: Option<PauseTimes>, rng: RandomStream) -> Self {
        let times = times.filter(|times| times.per_second > 0.0).map(|times| (times, rng));
        Self { times, known: VecDeque::new() }
    }

    /// Forgets the pauses that are over at `now`. No one may ask for a time before.
    pub(super) fn forget_before(&mut self, now: Instant) {
        // The last one stays, as the next one is drawn from its end.
        while self.known.len() > 1 && self.known[0].1 <= now {
            self.known.pop_front();
        }
    }

    /// Returns when `work` that begins at `start` is done.
    pub(super) fn end_of(&mut self, start: Instant, work: Duration) -> Instant {
        let mut end = start + work;
        for place in 0.. {
            let Some((from, until)) = self.pause(place) else { break };
            if from >= end {
                break;
            }
            end += until.since(from.max(start));
        }
        end
    }

    /// Returns the time between `start` and `now` in which the machine did not pause.
    pub(super) fn running_time(&mut self, start: Instant, now: Instant) -> Duration {
        let mut time = now.since(start);
        for place in 0.. {
            let Some((from, until)) = self.pause(place) else { break };
            if from >= now {
                break;
            }
            time = time.saturating_sub(until.min(now).since(from.max(start)));
        }
        time
    }

    /// Returns a pause by its place among the known ones; draws it if it is the next one.
    fn pause(&mut self, place: usize) -> Option<(Instant, Instant)> {
        let (times, rng) = self.times.as_mut()?;
        if place == self.known.len() {
            let last = self.known.back().map_or(Instant::START, |(_, until)| *until);
            let seconds = -(1.0 - unit(rng)).ln() / times.per_second;
            let from = last + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            self.known.push_back((from, from + times.us.sample(rng)));
        }
        self.known.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use kernel::entropy::Entropy;

    use super::*;

    fn pauses(per_second: f64, ms: u64) -> Pauses {
        let us = Distribution::constant(Duration::from_millis(ms));
        Pauses::new(Some(PauseTimes { per_second, us }), Entropy::new(7).stream("test"))
    }

    #[test]
    fn a_machine_without_pauses_runs_all_the_time() {
        let mut none = Pauses::new(None, Entropy::new(7).stream("test"));
        let start = Instant::from_nanos(5);
        let end = none.end_of(start, Duration::from_secs(9));
        assert_eq!((end, none.running_time(start, end)), (start + Duration::from_secs(9), Duration::from_secs(9)));
    }

    #[test]
    fn work_takes_longer_by_the_pauses_in_it() {
        let mut pauses = pauses(10.0, 5);
        let work = Duration::from_secs(100);
        let end = pauses.end_of(Instant::START, work);
        let share = end.since(Instant::START + work).as_secs_f64() / 100.0;
        assert!((0.04..0.06).contains(&share), "ten pauses of 5 ms a second, and not {share}");
        assert_eq!(pauses.running_time(Instant::START, end), work);
    }

    #[test]
    fn forgotten_pauses_change_no_later_time() {
        let ends = [false, true].map(|forgets| {
            let mut pauses = pauses(50.0, 3);
            let mut now = Instant::START;
            (0..1_000).for_each(|_| {
                now = pauses.end_of(now, Duration::from_millis(7));
                if forgets {
                    pauses.forget_before(now);
                }
            });
            now
        });
        assert_eq!(ends[0], ends[1]);
    }

    #[test]
    fn work_that_begins_in_a_pause_waits_for_its_end() {
        let mut pauses = pauses(10.0, 5);
        let (from, until) = pauses.pause(0).unwrap();
        let inside = from + Duration::from_millis(2);
        assert_eq!(pauses.end_of(inside, Duration::from_micros(1)), until + Duration::from_micros(1));
        assert_eq!(pauses.running_time(inside, until), Duration::ZERO);
    }
}
