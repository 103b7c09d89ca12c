//! The arrival schedule: the times at which requests of the open loop are intended to be sent.

use std::time::Duration;

use super::{Trace, profile::Profile};
use crate::{
    entropy::{Entropy, TimedStream, unit},
    load::settings::{Arrivals, Load},
    time::Instant,
};

/// Iterator over the arrivals of a run, in order. It depends only on the load, the duration and the seed, so both worlds and all
/// variants of a scenario have the same schedule.
///
/// ```
/// use std::time::Duration;
/// use kernel::{entropy::Entropy, load::{Schedule, settings::Load}, time::Instant};
///
/// let schedule = Schedule::new(&Load::at(4.0), Duration::from_secs(1), Entropy::new(7));
/// let arrivals: Vec<_> = schedule.map(Instant::as_micros).collect();
/// assert_eq!(arrivals, [0, 250_000, 500_000, 750_000]);
/// ```
#[derive(Clone)]
pub struct Schedule {
    rate: Profile,
    end: Duration,
    arrivals: Arrivals,
    trace: Option<Trace>,
    rng: TimedStream,
    /// The index of the rate's segment that the last arrival was in.
    segment: usize,
    /// Number of arrivals so far.
    count: u64,
    /// The integral of the rate over the segments before that one.
    passed: f64,
    /// Time of the last Poisson arrival, in seconds since the start of the run.
    elapsed: f64,
}

impl Schedule {
    /// Creates the schedule of the arrivals from the start of the run to before `duration`.
    pub fn new(settings: &Load, duration: Duration, entropy: Entropy) -> Self {
        Self {
            rate: settings.rate_profile(),
            end: duration,
            arrivals: settings.arrivals,
            trace: settings.trace_us.clone(),
            rng: entropy.timed_stream_of("load.arrivals", &[]),
            segment: 0,
            count: 0,
            passed: 0.0,
            elapsed: 0.0,
        }
    }

    /// Continues with the rate of `load`, which is the same as before up to the time of the last arrival.
    #[cfg(any(feature = "service", test))]
    pub(crate) fn follow(&mut self, load: &Load) {
        self.rate = load.rate_profile();
        // A change that was heard of late has been in force when the last arrivals were drawn.
        let segments = self.rate.segments();
        while segments.get(self.segment).is_some_and(|segment| segment.end() <= self.elapsed) {
            self.segment += 1;
        }
    }

    /// Returns the time of the next arrival since the start of the run; `None` if there is none.
    fn next_time(&mut self) -> Option<Duration> {
        let seconds = match self.arrivals {
            Arrivals::Constant => self.next_constant(),
            Arrivals::Poisson => self.next_poisson(),
            Arrivals::Trace => return self.trace.as_ref()?.get(self.count),
        };
        seconds.map(nanos)
    }

    /// Returns the time at which the integral of the rate is the number of arrivals so far. While the rate is 0 there is no arrival,
    /// so that one that is due then comes as soon as the rate rises.
    fn next_constant(&mut self) -> Option<f64> {
        let count = self.count as f64;
        loop {
            let segment = self.rate.segments().get(self.segment)?;
            let area = segment.whole_area();
            if count - self.passed < area {
                return Some(segment.time_of_area(count - self.passed));
            }
            self.passed += area;
            self.segment += 1;
        }
    }

    /// Returns the time after which the integral of the rate has grown by an exponential variable of mean 1: a Poisson process
    /// whose rate changes, by the time-rescaling theorem.
    fn next_poisson(&mut self) -> Option<f64> {
        // The time to the next arrival belongs to the last one.
        let last = Instant::START + nanos(self.elapsed);
        // 1 - u is never 0, so the logarithm is finite.
        let mut rest = -(1.0 - unit(self.rng.at(last))).ln();
        loop {
            let segment = self.rate.segments().get(self.segment)?;
            match segment.time_after(self.elapsed, rest) {
                Ok(time) => {
                    self.elapsed = time;
                    return Some(time);
                }
                Err(left) => rest = left,
            }
            self.elapsed = segment.end();
            self.segment += 1;
        }
    }
}

/// Returns a time in seconds, rounded to a nanosecond.
fn nanos(seconds: f64) -> Duration {
    Duration::from_nanos((seconds * 1e9).round() as u64)
}

impl Iterator for Schedule {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        let at = self.next_time()?;
        self.count += 1;
        (at < self.end).then(|| Instant::START + at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::settings::{Shape, Stage};

    fn arrivals_of(load: &Load, seconds: u64, seed: u64) -> Vec<Instant> {
        Schedule::new(load, Duration::from_secs(seconds), Entropy::new(seed)).collect()
    }

    fn arrivals(rate: f64, arrivals: Arrivals, seconds: u64, seed: u64) -> Vec<Instant> {
        arrivals_of(&Load { arrivals, ..Load::at(rate) }, seconds, seed)
    }

    fn stage(seconds: u64, rate: f64, shape: Shape) -> Stage {
        Stage { duration: Duration::from_secs(seconds), rate: Some(rate), shape, ..Stage::default() }
    }

    /// Returns the times in milliseconds.
    fn millis(arrivals: &[Instant]) -> Vec<f64> {
        arrivals.iter().map(|at| at.as_nanos() as f64 / 1e6).collect()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_from_the_start_to_before_the_end() {
        let schedule = arrivals(5.0, Arrivals::Constant, 90, 1);
        assert_eq!(schedule.len(), 450);
        assert_eq!(schedule[0], Instant::START);
        assert_eq!(schedule[449], Instant::from_nanos(89_800_000_000));
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_an_exponential() {
        let schedule = arrivals(100.0, Arrivals::Poisson, 100, 1);
        assert!((9_700..10_300).contains(&schedule.len()), "{} arrivals", schedule.len());
        let gaps: Vec<_> = schedule.windows(2).map(|pair| pair[1].since(pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let variation = variance.sqrt() / mean;
        assert!((0.95..1.05).contains(&variation), "coefficient of variation {variation}, of an exponential 1");
    }

    #[test]
    fn the_seed_decides_poisson_arrivals() {
        assert_eq!(arrivals(5.0, Arrivals::Poisson, 10, 1), arrivals(5.0, Arrivals::Poisson, 10, 1));
        assert_ne!(arrivals(5.0, Arrivals::Poisson, 10, 1), arrivals(5.0, Arrivals::Poisson, 10, 2));
    }

    #[test]
    fn arrivals_of_a_ramp_are_the_inverse_of_the_integral_of_its_rate() {
        // From 0 to 2 in 4 s the integral is t * t / 4, so arrival i is at twice the root of i; then it is 2 per second.
        let load = Load { stage: vec![stage(4, 2.0, Shape::Ramp)], ..Load::at(0.0) };
        let roots = [0.0_f64, 1.0, 2.0, 3.0].map(|count| (2e9 * count.sqrt()).round() / 1e6);
        assert_eq!(millis(&arrivals_of(&load, 5, 1)), [&roots[..], &[4_000.0, 4_500.0]].concat());
    }

    #[test]
    fn a_step_takes_effect_at_once_and_the_last_rate_stays() {
        let load = Load { stage: vec![stage(1, 2.0, Shape::Step), stage(1, 4.0, Shape::Step)], ..Load::at(1.0) };
        let expected = [0.0, 500.0, 1_000.0, 1_250.0, 1_500.0, 1_750.0, 2_000.0, 2_250.0, 2_500.0, 2_750.0];
        assert_eq!(millis(&arrivals_of(&load, 3, 1)), expected);
    }

    #[test]
    fn nothing_arrives_while_the_rate_is_0_and_what_is_due_comes_when_it_rises() {
        let stages = vec![stage(1, 2.0, Shape::Step), stage(5, 0.0, Shape::Step), stage(1, 4.0, Shape::Step)];
        let load = Load { stage: stages, ..Load::at(0.0) };
        let schedule = millis(&arrivals_of(&load, 7, 1));
        assert_eq!(schedule, [0.0, 500.0, 6_000.0, 6_250.0, 6_500.0, 6_750.0]);
        let ended = Load { stage: vec![stage(1, 0.0, Shape::Step)], ..Load::at(9.0) };
        for kind in [Arrivals::Constant, Arrivals::Poisson] {
            assert_eq!(arrivals_of(&Load { arrivals: kind, ..ended.clone() }, 60, 1), []);
        }
    }

    /// Returns the load at 20 per second, with `rate` from 3 s on.
    fn changed(arrivals: Arrivals, rate: f64) -> Load {
        Load { arrivals, stage: vec![stage(3, 20.0, Shape::Step), stage(1, rate, Shape::Step)], ..Load::at(20.0) }
    }

    #[test]
    fn a_schedule_that_follows_another_rate_is_that_of_the_changed_load() {
        for kind in [Arrivals::Constant, Arrivals::Poisson] {
            for rate in [0.0, 5.0, 60.0] {
                let load = Load { arrivals: kind, ..Load::at(20.0) };
                let mut schedule = Schedule::new(&load, Duration::from_secs(9), Entropy::new(1));
                let at = Instant::START + Duration::from_secs(3);
                let mut arrivals = Vec::new();
                loop {
                    let before = schedule.clone();
                    let Some(next) = schedule.next().filter(|next| *next < at) else {
                        schedule = before;
                        break;
                    };
                    arrivals.push(next);
                }
                schedule.follow(&changed(kind, rate));
                arrivals.extend(schedule);
                assert_eq!(arrivals, arrivals_of(&changed(kind, rate), 9, 1), "{kind:?} {rate}");
            }
        }
    }

    #[test]
    fn a_change_that_is_heard_of_late_is_followed_from_its_time_on() {
        for kind in [Arrivals::Constant, Arrivals::Poisson] {
            let load = Load { arrivals: kind, ..Load::at(20.0) };
            let mut schedule = Schedule::new(&load, Duration::from_secs(9), Entropy::new(1));
            schedule.by_ref().take(80).for_each(drop);
            schedule.follow(&changed(kind, 60.0));
            let rest: Vec<_> = schedule.collect();
            let since = Instant::START + Duration::from_secs(3);
            assert!(rest[0] >= since && rest.is_sorted() && rest.len() > 200, "{kind:?}: {} arrivals", rest.len());
        }
    }

    #[test]
    fn a_trace_is_replayed_to_the_end_of_the_run() {
        let trace_us = Some(Trace::new(vec![0, 7, 7, 2_500_000, 3_000_000, 4_000_000]));
        let load = Load { arrivals: Arrivals::Trace, trace_us, ..Load::at(0.0) };
        assert_eq!(millis(&arrivals_of(&load, 3, 1)), [0.0, 0.007, 0.007, 2_500.0]);
        assert_eq!(load.requests(Duration::from_secs(3)), 4.0);
    }

    #[test]
    fn poisson_arrivals_of_a_ramp_have_its_integral() {
        // 0 to 200 per second in 100 s, then 200: 10,000 in the first 100 s, of which a quarter are in the first half.
        let ramp = Load { arrivals: Arrivals::Poisson, stage: vec![stage(100, 200.0, Shape::Ramp)], ..Load::at(0.0) };
        let schedule = arrivals_of(&ramp, 100, 1);
        // Five standard deviations, which are the roots of the means.
        assert!((9_500..=10_500).contains(&schedule.len()), "{}", schedule.len());
        let half = schedule.partition_point(|at| *at < Instant::from_nanos(50_000_000_000));
        assert!((2_250..=2_750).contains(&half), "{half}");
    }

    fn load() -> impl Strategy<Value = Load> {
        let rate = || prop_oneof![Just(0.0), 0.001..=300.0];
        let shape = prop_oneof![Just(Shape::Ramp), Just(Shape::Step)];
        let stage = (1..5_000_u64, proptest::option::of(rate()), shape).prop_map(|(millis, rate, shape)| Stage {
            duration: Duration::from_millis(millis),
            rate,
            shape,
            ..Stage::default()
        });
        (rate(), proptest::collection::vec(stage, 0..6)).prop_map(|(rate, stage)| Load { stage, ..Load::at(rate) })
    }

    proptest! {
        #[test]
        fn arrivals_ascend_and_are_as_many_as_the_integral_of_the_rate(load in load(), seed in any::<u64>()) {
            let requests = load.requests(Duration::from_secs(20));
            let constant = arrivals_of(&load, 20, seed);
            prop_assert!(constant.is_sorted());
            // One arrival may fall on the end itself.
            prop_assert!((constant.len() as f64 - requests).abs() <= 1.0 + 1e-6, "{} of {requests}", constant.len());
            let poisson = arrivals_of(&Load { arrivals: Arrivals::Poisson, ..load }, 20, seed);
            prop_assert!(poisson.is_sorted());
            // Six standard deviations, and what a Poisson variable of a small mean may be beyond them.
            prop_assert!((poisson.len() as f64 - requests).abs() <= 6.0 * requests.sqrt() + 12.0);
        }
    }
}
