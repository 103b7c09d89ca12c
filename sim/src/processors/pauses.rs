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
    /// True if pauses begin only while the machine works, as a hypervisor takes no processors from a machine that does not use them. Calibrations of an
    /// older form do not say so: theirs come at any time.
    #[serde(default)]
    pub(crate) while_working: bool,
    /// Mean number of pauses in a second, or in one in which the machine works.
    pub(crate) per_second: f64,
    /// The same for work that a machine begins that has slept for long. Between the two, the number is linear in the coldness with which it began.
    /// Calibrations of an older form have one number.
    pub(crate) per_second_cold: Option<f64>,
    /// Length of a pause, in microseconds.
    pub(crate) us: Distribution,
}

impl PauseTimes {
    /// Returns the mean number of pauses in a second of work that begins with this coldness.
    fn per_second_at(&self, coldness: f64) -> f64 {
        let cold = self.per_second_cold.unwrap_or(self.per_second);
        self.per_second + (cold - self.per_second) * coldness
    }

    /// Returns whether the machine pauses at all.
    fn are_any(&self) -> bool {
        [0.0, 1.0].iter().any(|coldness| self.per_second_at(*coldness) > 0.0)
    }

    /// Returns the first number of pauses in a second that is outside of its limits, if one is.
    pub(super) fn wrong_number(&self) -> Option<f64> {
        let numbers = [Some(self.per_second), self.per_second_cold].into_iter().flatten();
        numbers.into_iter().find(|number| !(0.0..=PAUSES_PER_SECOND_MAX).contains(number))
    }
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
    /// The time from which on the next pause is drawn.
    drawn_to: Instant,
    /// The coldness with which the machine began its work.
    coldness: f64,
    /// The coldness for which pauses are drawn.
    drawn_for: f64,
}

impl Pauses {
    /// Draws pauses from `rng`; none at all without times.
    pub(super) fn new(times: Option<PauseTimes>, rng: RandomStream) -> Self {
        let times = times.filter(PauseTimes::are_any).map(|times| (times, rng));
        Self { times, known: VecDeque::new(), drawn_to: Instant::START, coldness: 0.0, drawn_for: 0.0 }
    }

    /// Notes the coldness with which the machine begins the work that comes next.
    pub(super) fn set_coldness(&mut self, coldness: f64) {
        self.coldness = coldness;
    }

    /// Forgets the pauses that are over at `now`. No one may ask for a time before.
    pub(super) fn forget_before(&mut self, now: Instant) {
        while self.known.front().is_some_and(|(_, until)| *until <= now) {
            self.known.pop_front();
        }
    }

    /// Lets the machine begin to work at `now`, after it had nothing to do: pauses that would have begun before do not come, if they begin only
    /// while it works. No one may ask for a time before.
    pub(super) fn begin_work(&mut self, now: Instant) {
        if !self.times.as_ref().is_some_and(|(times, _)| times.while_working) {
            return;
        }
        while let Some((from, _)) = self.pause(0).filter(|(from, _)| *from < now) {
            self.known.pop_front();
            if self.known.is_empty() {
                // It takes no time from the next one.
                self.drawn_to = from;
            }
        }
        let differs = self.times.as_ref().is_some_and(|(times, _)| times.per_second_cold.is_some());
        if differs && self.coldness != self.drawn_for {
            // The time until the next pause does not depend on how long the machine has waited for it: it is drawn again, at the other rate.
            self.known.clear();
            self.drawn_to = now;
            self.drawn_for = self.coldness;
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
            let seconds = -(1.0 - unit(rng)).ln() / times.per_second_at(self.drawn_for);
            let from = self.drawn_to + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            self.drawn_to = from + times.us.sample(rng);
            self.known.push_back((from, self.drawn_to));
        }
        self.known.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use kernel::entropy::Entropy;

    use super::*;

    fn pauses(per_second: f64, ms: u64) -> Pauses {
        pauses_of(per_second, ms, false)
    }

    fn pauses_of(per_second: f64, ms: u64, while_working: bool) -> Pauses {
        let us = Distribution::constant(Duration::from_millis(ms));
        let times = PauseTimes { while_working, per_second, per_second_cold: None, us };
        Pauses::new(Some(times), Entropy::new(7).stream("test"))
    }

    /// The pauses in 20,000 pieces of work of 5 ms each, which begin every 20 ms.
    fn pauses_in_work(while_working: bool) -> f64 {
        let mut pauses = pauses_of(10.0, 2, while_working);
        let work = Duration::from_millis(5);
        let all = (0..20_000).map(|piece| {
            let start = Instant::START + Duration::from_millis(20) * piece;
            pauses.begin_work(start);
            let paused = pauses.end_of(start, work).since(start + work);
            pauses.forget_before(start + work + paused);
            paused.as_secs_f64() / 2e-3
        });
        all.sum()
    }

    #[test]
    fn pauses_begin_only_while_the_machine_works() {
        // Ten in each of 100 s of work.
        let only_then = pauses_in_work(true);
        assert!((only_then / 1_000.0 - 1.0).abs() < 0.1, "{only_then}");
        // Those that began before hold up work by what is left of them.
        let at_any_time = pauses_in_work(false);
        assert!((at_any_time / 1_200.0 - 1.0).abs() < 0.1, "{at_any_time}");
    }

    #[test]
    fn a_machine_that_slept_pauses_more_often() {
        let us = Distribution::constant(Duration::from_millis(2));
        let times = PauseTimes { while_working: true, per_second: 2.0, per_second_cold: Some(20.0), us };
        let mut pauses = Pauses::new(Some(times), Entropy::new(7).stream("test"));
        let work = Duration::from_millis(5);
        let mut found = [0.0; 2];
        for piece in 0..100_000 {
            let start = Instant::START + Duration::from_millis(50) * piece;
            let cold = piece as usize % 2;
            pauses.set_coldness(cold as f64 * 0.5);
            pauses.begin_work(start);
            let paused = pauses.end_of(start, work).since(start + work);
            pauses.forget_before(start + work + paused);
            found[cold] += paused.as_secs_f64() / 2e-3;
        }
        // 250 s of work each, with 2 and with 11 pauses in a second.
        assert!((found[0] / 500.0 - 1.0).abs() < 0.15 && (found[1] / 2_750.0 - 1.0).abs() < 0.1, "{found:?}");
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
