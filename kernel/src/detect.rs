//! Detectors of anomalies: from the results of calls, as they come, to alarms.
//!
//! | module | contents |
//! | --- | --- |
//! | `step` | [`Step`]: the results of ten seconds, or of another length, and how they are collected |
//! | `usual` | [`Usual`]: what is usual for the service, learned while nothing is wrong |
//! | `burn_rate`, `cusum`, `change_point`, `seasonal`, `isolation_forest` | the detectors, a file each |
//! | `watch` | [`Scorer`], [`AlarmRule`] and, of both, [`Watch`]: from steps to scores, from scores to alarms |
//! | `live` | [`LiveWatches`]: all detectors over a run while it goes on |
//! | `set` | runs with known faults, with which detectors are compared |
//!
//! A detector sees what a caller sees, the end and the latency of each call, and neither the faults nor the servers. It gives every step
//! a score, the higher the more unusual; its threshold makes alarms of scores. Nothing here knows a clock: the same code watches a run of
//! processes while it goes on, and a recorded one.

mod burn_rate;
mod change_point;
mod cusum;
mod isolation_forest;
mod live;
mod seasonal;
pub mod set;
mod step;
mod usual;
mod watch;

use std::time::Duration;

use crate::scenario::duration;

pub use self::{
    live::{LiveAlarm, LiveWatches},
    step::{Call, LatencyBuckets, Step, StepCollector},
    usual::Usual,
    watch::{Alarm, AlarmChange, AlarmRule, Scorer, Watch, scores},
};

/// Parses the length of a step of detectors: 100 ms to an hour, as a scenario writes it.
///
/// # Errors
/// It is no duration, or shorter or longer than that; the message says which.
pub fn parse_step(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(step) if (Duration::from_millis(100)..=Duration::from_secs(3_600)).contains(&step) => Ok(step),
        Ok(_) => Err("a step is 100ms to 1h long".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::EnumIter, strum::Display, strum::EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum DetectorName {
    /// The rate at which an error budget is spent, over a long and a short window.
    BurnRate,
    /// A cumulative sum of the evidence that calls have become worse.
    Cusum,
    /// The probability that the share of bad calls has changed for the worse, from Bayesian online change points.
    ChangePoint,
    /// The deviation from what is usual at this time of the day.
    Seasonal,
    /// An isolation forest, which learns what steps look like.
    IsolationForest,
}

impl DetectorName {
    /// Returns all detectors, in the order in which reports list them.
    pub fn all() -> impl Iterator<Item = Self> {
        <Self as strum::IntoEnumIterator>::iter()
    }

    /// Returns the score from which on the detector raises an alarm, if no other is chosen.
    ///
    /// Each is the lowest of those tried that raised at most half a false alarm a day on the tuning half of the set of seed 1, as
    /// `reports detect-bench --half tuning --curve` prints it.
    pub const fn threshold(self) -> f64 {
        match self {
            Self::BurnRate => 3.2,
            Self::Cusum => 7.0,
            Self::ChangePoint => 0.5,
            Self::Seasonal => 1.25,
            Self::IsolationForest => 0.72,
        }
    }

    /// Creates the detector, for steps of which `per_minute` make a minute.
    fn create(self, per_minute: f64) -> Box<dyn Detector> {
        match self {
            Self::BurnRate => Box::new(burn_rate::BurnRate::new(per_minute)),
            Self::Cusum => Box::new(cusum::Cusum::default()),
            Self::ChangePoint => Box::new(change_point::ChangePoint::default()),
            Self::Seasonal => Box::new(seasonal::Seasonal::new(per_minute)),
            Self::IsolationForest => Box::new(isolation_forest::IsolationForest::default()),
        }
    }
}

/// Something that gives each step a score.
///
/// Scores of two detectors cannot be compared: each has a unit of its own.
trait Detector: std::fmt::Debug + Send {
    /// Consumes the next step, given what was usual before it, and returns its score; 0 if nothing can be said yet.
    fn score(&mut self, step: &Step, usual: &Usual) -> f64;
}
