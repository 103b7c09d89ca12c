//! The alarms that the scores of a detector raise.

use std::time::Duration;

use super::{Call, Detector, DetectorName, Step, StepCollector, Usual};

/// The share of its threshold below which a score has to fall before an alarm ends.
const CALM: f64 = 0.7;

/// Number of steps in a row with such a score that end an alarm.
const CALM_STEPS: u32 = 2;

/// An alarm of a detector.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Alarm {
    /// The time at which it was raised, in microseconds since the run began: the end of the step that did.
    pub start_us: u64,
    /// The time at which it ended; null if it had not when the run ended.
    pub end_us: Option<u64>,
}

/// The effect of a step on the alarm of a detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmChange {
    /// An alarm is raised.
    Raised,
    /// The alarm ends.
    Ended,
}

/// A detector and what it has learned: gives every step a score.
///
/// No score counts until 30 steps were learned; until then it is 0.
#[derive(Debug)]
pub struct Scorer {
    detector: Box<dyn Detector>,
    usual: Usual,
}

impl Scorer {
    /// Creates the detector `name` for steps of this length.
    pub fn new(name: DetectorName, step: Duration) -> Self {
        let per_minute = 60.0 / step.as_secs_f64().max(1e-6);
        Self { detector: name.create(per_minute), usual: Usual::default() }
    }

    /// Consumes the next step and returns its score.
    pub fn score(&mut self, step: &Step) -> f64 {
        let score = self.detector.score(step, &self.usual);
        let counts = self.usual.is_known();
        self.usual.learn(step);
        if counts { score } else { 0.0 }
    }
}

/// The rule that makes alarms of scores: an alarm is raised by a score that reaches the threshold, and ends after two scores in a row that
/// are below 70 % of it.
#[derive(Debug, Clone)]
pub struct AlarmRule {
    threshold: f64,
    calm: u32,
    is_raised: bool,
}

impl AlarmRule {
    /// Creates the rule of a threshold, which is more than 0.
    pub fn new(threshold: f64) -> Self {
        Self { threshold, calm: 0, is_raised: false }
    }

    /// Consumes the score of the next step.
    pub fn take(&mut self, score: f64) -> Option<AlarmChange> {
        self.calm = if score < self.threshold * CALM { self.calm + 1 } else { 0 };
        let change = match self.is_raised {
            false if score >= self.threshold => Some(AlarmChange::Raised),
            true if self.calm >= CALM_STEPS => Some(AlarmChange::Ended),
            _ => None,
        };
        self.is_raised ^= change.is_some();
        change
    }

    /// Returns the alarms of a whole run: of its steps, the end and the score.
    pub fn alarms(mut self, scores: impl IntoIterator<Item = (u64, f64)>) -> Vec<Alarm> {
        let mut alarms: Vec<Alarm> = Vec::new();
        for (end_us, score) in scores {
            match (self.take(score), alarms.last_mut()) {
                (Some(AlarmChange::Raised), _) => alarms.push(Alarm { start_us: end_us, end_us: None }),
                (Some(AlarmChange::Ended), Some(last)) => last.end_us = Some(end_us),
                _ => {}
            }
        }
        alarms
    }
}

/// A detector that watches results while they come, with its threshold.
#[derive(Debug)]
pub struct Watch {
    name: DetectorName,
    scorer: Scorer,
    rule: AlarmRule,
    score: f64,
}

impl Watch {
    /// Creates a watch with the detector `name`, for steps of this length, with its own threshold.
    pub fn new(name: DetectorName, step: Duration) -> Self {
        Self { name, scorer: Scorer::new(name, step), rule: AlarmRule::new(name.threshold()), score: 0.0 }
    }

    /// Returns the name of the detector.
    pub fn name(&self) -> DetectorName {
        self.name
    }

    /// Returns the score of the last step in proportion to the threshold: an alarm is raised at 1.
    pub fn level(&self) -> f64 {
        self.score / self.rule.threshold
    }

    /// Returns whether there is an alarm now.
    pub fn is_raised(&self) -> bool {
        self.rule.is_raised
    }

    /// Consumes the next step.
    pub fn take(&mut self, step: &Step) -> Option<AlarmChange> {
        self.score = self.scorer.score(step);
        self.rule.take(self.score)
    }
}

/// Returns, for each detector, the end and the score of every step of a run, in which `calls` are in the order of their ends. The last step
/// counts if it is complete at `end_us`, the time in microseconds at which the run ended.
pub fn scores(
    length: Duration,
    calls: impl IntoIterator<Item = Call>,
    end_us: u64,
) -> Vec<(DetectorName, Vec<(u64, f64)>)> {
    let mut collector = StepCollector::new(length);
    let mut scorers: Vec<Scorer> = DetectorName::all().map(|name| Scorer::new(name, length)).collect();
    let mut scores: Vec<_> = DetectorName::all().map(|name| (name, Vec::new())).collect();
    let mut take = |steps: Vec<Step>| {
        for step in steps {
            for (scorer, (_, scores)) in scorers.iter_mut().zip(&mut scores) {
                scores.push((step.end_us, scorer.score(&step)));
            }
        }
    };
    calls.into_iter().for_each(|call| take(collector.add(&call)));
    take(collector.advance(end_us));
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(10);
    const S: u64 = 1_000_000;

    /// Returns ten calls a second for 20 minutes; from 600 s to 660 s all of them fail.
    fn calls_with_an_outage() -> Vec<Call> {
        (0..12_000_u64)
            .map(|i| {
                let is_failure = i % 500 == 0 || (6_000..6_600).contains(&i);
                Call { end_us: i * S / 10, latency_us: 900 + i % 7 * 100, is_failure }
            })
            .collect()
    }

    fn alarms(name: DetectorName, threshold: f64, calls: impl IntoIterator<Item = Call>, end_us: u64) -> Vec<Alarm> {
        let scores = scores(STEP, calls, end_us).into_iter().find(|(of, _)| *of == name);
        AlarmRule::new(threshold).alarms(scores.unwrap().1)
    }

    #[test]
    fn every_detector_finds_an_outage_and_nothing_else() {
        for name in DetectorName::all() {
            let alarms = alarms(name, name.threshold(), calls_with_an_outage(), 1_200 * S);
            let [alarm] = &*alarms else { panic!("{name}: {alarms:?}") };
            assert!((600 * S..=650 * S).contains(&alarm.start_us), "{name}: {alarm:?}");
            assert!((610 * S..=800 * S).contains(&alarm.end_us.unwrap()), "{name}: {alarm:?}");
        }
    }

    #[test]
    fn nothing_is_raised_without_calls_and_before_the_warm_up() {
        for name in DetectorName::all() {
            assert_eq!(alarms(name, name.threshold(), [], 86_400 * S), [], "{name}");
            let failing = (0..290).map(|i| Call { end_us: i * S, latency_us: 900, is_failure: i > 100 });
            assert_eq!(alarms(name, name.threshold(), failing, 290 * S), [], "{name}");
        }
    }

    #[test]
    fn a_live_watch_raises_what_a_recorded_run_has() {
        let mut watch = Watch::new(DetectorName::Cusum, STEP);
        let mut raised = Vec::new();
        let mut collector = StepCollector::new(STEP);
        for call in calls_with_an_outage() {
            for step in collector.add(&call) {
                raised.extend((watch.take(&step) == Some(AlarmChange::Raised)).then_some(step.end_us));
                assert_eq!(watch.is_raised(), watch.is_raised() && watch.level() > 0.0);
            }
        }
        let threshold = DetectorName::Cusum.threshold();
        let recorded = alarms(DetectorName::Cusum, threshold, calls_with_an_outage(), 1_200 * S);
        assert_eq!(raised, recorded.iter().map(|alarm| alarm.start_us).collect::<Vec<_>>());
    }

    #[test]
    fn an_alarm_that_has_not_ended_has_no_end() {
        let alarms = alarms(DetectorName::Cusum, 8.0, calls_with_an_outage().into_iter().take(6_500), 650 * S);
        assert_eq!(alarms.last().unwrap().end_us, None);
    }

    #[test]
    fn a_higher_threshold_is_reached_later_or_never() {
        let first = |threshold| {
            let found = alarms(DetectorName::Cusum, threshold, calls_with_an_outage(), 1_200 * S);
            found.first().map(|alarm| alarm.start_us)
        };
        assert!(first(2.0).unwrap() <= first(9.5).unwrap());
        assert_eq!(first(1_000.0), None);
    }

    #[test]
    fn an_alarm_ends_after_two_calm_scores_in_a_row() {
        let scores = [0.0, 1.0, 0.8, 0.6, 0.8, 0.6, 0.6, 0.9, 1.2];
        let alarms = AlarmRule::new(1.0).alarms((1..).zip(scores));
        assert_eq!(alarms, [Alarm { start_us: 2, end_us: Some(7) }, Alarm { start_us: 9, end_us: None }]);
    }
}
