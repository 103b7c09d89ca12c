//! All detectors over the results of a run while it goes on.

use std::time::Duration;

use super::{AlarmChange, Call, DetectorName, Step, StepCollector, Watch};

/// An alarm that is raised or ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LiveAlarm {
    /// The end of the step that changed it, in microseconds since the run began.
    pub at_us: u64,
    /// The detector.
    pub detector: DetectorName,
    /// The change: the alarm is raised, or it ends.
    pub change: AlarmChange,
    /// The score in proportion to the threshold.
    pub level: f64,
}

/// All detectors, which watch the results of a run.
///
/// ```
/// use std::time::Duration;
/// use kernel::detect::{AlarmChange, Call, LiveWatches};
///
/// let mut watches = LiveWatches::new(Duration::from_secs(1));
/// let mut alarms = Vec::new();
/// for second in 0..60 {
///     for call in 0..50 {
///         let end_us = second * 1_000_000 + call * 20_000;
///         alarms.extend(watches.add(&Call { end_us, latency_us: 900, is_failure: second >= 40 }));
///     }
/// }
/// assert!(alarms.iter().all(|alarm| alarm.change == AlarmChange::Raised && alarm.at_us > 40_000_000));
/// assert!(alarms.len() >= 3, "{alarms:?}");
/// ```
#[derive(Debug)]
pub struct LiveWatches {
    collector: StepCollector,
    watches: Vec<Watch>,
}

impl LiveWatches {
    /// Creates the detectors for steps of this length, of which the first 30 are for learning.
    pub fn new(step: Duration) -> Self {
        let watches = DetectorName::all().map(|name| Watch::new(name, step)).collect();
        Self { collector: StepCollector::new(step), watches }
    }

    /// Consumes the end of a call, and returns the alarms that change.
    pub fn add(&mut self, call: &Call) -> Vec<LiveAlarm> {
        let steps = self.collector.add(call);
        self.take(&steps)
    }

    /// Consumes the time: without results a step ends all the same. Returns the alarms that change.
    pub fn advance(&mut self, now_us: u64) -> Vec<LiveAlarm> {
        let steps = self.collector.advance(now_us);
        self.take(&steps)
    }

    fn take(&mut self, steps: &[Step]) -> Vec<LiveAlarm> {
        let watches = &mut self.watches;
        let changes = steps.iter().flat_map(|step| {
            watches
                .iter_mut()
                .filter_map(|watch| {
                    let change = watch.take(step)?;
                    Some(LiveAlarm { at_us: step.end_us, detector: watch.name(), change, level: watch.level() })
                })
                .collect::<Vec<_>>()
        });
        changes.collect()
    }
}
