//! A baseline by the time of the day, as Holt-Winters forecasts have it (Brutlag, "Aberrant Behavior Detection in Time Series for
//! Network Monitoring", LISA 2000).

use super::{Detector, Step, Usual};

/// Number of parts of a day, each of which has a baseline of its own.
const PARTS: usize = 24;

/// Minutes in a day.
const DAY_MINUTES: f64 = 1_440.0;

/// Weight of a new step in the baseline of its part of the day: half is forgotten after 4 h of steps of ten seconds.
const LEARNED: f64 = 0.0005;

/// Weight of a new step in the mean of the deviations: half is forgotten after two steps.
const SMOOTHED: f64 = 0.3;

/// The deviation from which on a step is not learned.
const UNUSUAL: f64 = 4.0;

/// Number of steps from which on the usual of a part of the day is known.
const KNOWN: f64 = 60.0;

/// The greatest deviation of one step that counts.
const MOST: f64 = 30.0;

/// The usual values in a part of the day.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    steps: f64,
    /// The usual number of calls that end in a step.
    calls: f64,
    /// The usual share of failures.
    failures: f64,
    /// The usual 90th percentile of latency, as a logarithm, and its usual absolute deviation.
    latency: f64,
    latency_deviation: f64,
}

impl Part {
    /// Returns the deviation of `step` from what is usual.
    fn deviation(&self, step: &Step) -> f64 {
        let calls = f64::from(step.calls);
        let expected = calls * self.failures.max(0.001);
        // One failure more than expected is no deviation, however rare they are: hence the 1.
        let failures = (f64::from(step.failures) - expected) / (expected + 1.0).sqrt();
        // A mean absolute deviation is 0.8 standard deviations; percentiles come from buckets that are 9 % apart.
        let latency = log_p90(step).map_or(0.0, |p90| (p90 - self.latency) / (self.latency_deviation * 1.25).max(0.1));
        // Arrivals at random vary by the root of their number; those that come with the hour vary more.
        let missing = (self.calls - calls) / (self.calls + (self.calls * 0.25).powi(2)).sqrt().max(1.0);
        failures.max(latency).max(missing)
    }

    fn learn(&mut self, step: &Step) {
        let Some(latency) = log_p90(step) else { return };
        self.steps += 1.0;
        let weight = LEARNED.max(1.0 / self.steps);
        let deviation = (latency - self.latency).abs();
        self.calls += (f64::from(step.calls) - self.calls) * weight;
        self.failures += (f64::from(step.failures) / f64::from(step.calls) - self.failures) * weight;
        self.latency += (latency - self.latency) * weight;
        if self.steps > 1.0 {
            self.latency_deviation += (deviation - self.latency_deviation) * weight;
        }
    }
}

fn log_p90(step: &Step) -> Option<f64> {
    step.latencies.quantile_us(0.9).map(f64::ln)
}

/// The deviation from what is usual at this time of the day, in standard deviations: the highest of the share of failures, of the 90th
/// percentile of latency, and of how many calls fewer ended. The mean of the last steps counts.
///
/// Until a part of the day has been seen for a while, the usual of all hours stands for it.
#[derive(Debug, Clone)]
pub(super) struct Seasonal {
    per_part: f64,
    steps: u64,
    parts: Vec<Part>,
    all: Part,
    smoothed: f64,
}

impl Seasonal {
    /// Creates the detector for steps of which `per_minute` make a minute.
    pub(super) fn new(per_minute: f64) -> Self {
        let per_part = (per_minute * DAY_MINUTES / PARTS as f64).max(1.0);
        Self { per_part, steps: 0, parts: vec![Part::default(); PARTS], all: Part::default(), smoothed: 0.0 }
    }
}

impl Detector for Seasonal {
    fn score(&mut self, step: &Step, _: &Usual) -> f64 {
        let part = &mut self.parts[(self.steps as f64 / self.per_part) as usize % PARTS];
        self.steps += 1;
        let known = if part.steps >= KNOWN { *part } else { self.all };
        let deviation = if known.steps > 1.0 { known.deviation(step) } else { 0.0 };
        if deviation < UNUSUAL {
            part.learn(step);
            self.all.learn(step);
        }
        // One step counts for no more than it takes to raise an alarm with the next one.
        self.smoothed += (deviation.clamp(0.0, MOST) - self.smoothed) * SMOOTHED;
        self.smoothed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{step::LatencyBuckets, usual::tests::step};

    /// Returns a step of ten seconds with this median.
    fn with_median(latency_us: u64) -> Step {
        let mut latencies = LatencyBuckets::default();
        (0..100).for_each(|_| latencies.add(latency_us));
        Step { end_us: 0, calls: 100, failures: 0, latencies }
    }

    #[test]
    fn what_comes_every_day_is_usual_and_the_same_at_another_hour_is_not() {
        let mut detector = Seasonal::new(6.0);
        let usual = Usual::default();
        let mut by_day = Vec::new();
        for day in 0..4 {
            let mut highest = 0.0_f64;
            for index in 0..8_640 {
                // Slow at night, in each of the first hours.
                let step = with_median(if index < 360 { 3_000 } else { 1_000 });
                let score = detector.score(&step, &usual);
                if index > 20 && (day, index) > (0, 400) {
                    highest = highest.max(score);
                }
            }
            by_day.push(highest);
        }
        assert!(by_day[3] < 1.0, "{by_day:?}");
        (0..720).for_each(|_| _ = detector.score(&with_median(1_000), &usual));
        let at_noon = (0..10).map(|_| detector.score(&with_median(3_000), &usual)).fold(0.0, f64::max);
        assert!(at_noon > 5.0, "{at_noon}");
    }

    #[test]
    fn a_service_that_falls_silent_deviates() {
        let usual = Usual::default();
        let mut detector = Seasonal::new(6.0);
        for _ in 0..200 {
            detector.score(&step(100, 0, 0), &usual);
        }
        let silent = (0..10).map(|_| detector.score(&step(0, 0, 0), &usual)).fold(0.0, f64::max);
        assert!(silent > 3.0, "{silent}");
    }
}
