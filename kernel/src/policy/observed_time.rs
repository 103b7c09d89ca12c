//! A time that policies derive from a percentile of observed latencies: a timeout, a delay.
//!
//! ```text
//! FIXED ──(the percentile is known)──> OBSERVED ──(it is not known any more)──> FIXED
//! ```
//!
//! * FIXED: the time is that of the setting without adaptation.
//! * OBSERVED: it is `factor` times the percentile, within its bounds.
//!
//! Samples are the attempts that were sent. One that is OK counts with the time that it took. One that failed, or that was abandoned on its
//! way, counts only if it took as long as the percentile: failures that come fast say nothing of how long an answer takes, and what was cut
//! off late took at least that long. So a time that cuts off attempts grows if it cuts off too many.
//!
//! Each other value is an event, `limit_changed`, with the time from then on.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use super::{AttemptEnd, Ending, observed_latency::ObservedLatency};
use crate::{
    record::{Event, Recorder},
    settings::duration,
    status::Code,
    sync::lock,
    time::Instant,
};

/// The settings of a time that is observed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ObservedTimeSettings {
    /// The percentile of the latencies, in percent.
    pub(super) percentile: f64,
    /// The smallest number of samples that have a percentile.
    pub(super) minimum_samples: usize,
    /// The time for each unit of the percentile.
    pub(super) factor: f64,
    pub(super) min: Duration,
    /// The longest time, whatever `min` says.
    pub(super) max: Duration,
    /// The time while there is no percentile.
    pub(super) fixed: Duration,
    /// The unit of the time, which is rounded up to a multiple of it.
    pub(super) unit: Duration,
}

impl ObservedTimeSettings {
    fn time(&self, percentile: Option<Duration>) -> Duration {
        let Some(percentile) = percentile else { return self.fixed };
        // A product that is a whole number of units may be a little more in floating point.
        let units = (percentile.as_secs_f64() * self.factor / self.unit.as_secs_f64() - 1e-6).ceil();
        let nanos = (units as u64).saturating_mul(self.unit.as_nanos() as u64);
        Duration::from_nanos(nanos).max(self.min).min(self.max)
    }
}

/// The time with its state.
pub(crate) struct ObservedTime {
    recorder: Recorder,
    /// The name of the time in the record.
    name: &'static str,
    state: Mutex<State>,
}

struct State {
    settings: ObservedTimeSettings,
    latency: ObservedLatency,
    in_force: Duration,
}

impl ObservedTime {
    pub(super) fn new(
        recorder: &Recorder,
        name: &'static str,
        window: Duration,
        settings: ObservedTimeSettings,
    ) -> Self {
        let latency = ObservedLatency::new(window, settings.percentile, settings.minimum_samples);
        let state = State { settings, latency, in_force: settings.fixed };
        Self { recorder: recorder.clone(), name, state: Mutex::new(state) }
    }

    /// Goes on with other settings, and with what was observed.
    pub(super) fn change(&self, settings: ObservedTimeSettings, now: Instant) {
        let mut state = lock(&self.state);
        state.settings = settings;
        state.latency.change(settings.percentile, settings.minimum_samples);
        self.update(&mut state, now);
    }

    /// Returns the time that is in force.
    pub(super) fn in_force(&self, now: Instant) -> Duration {
        let mut state = lock(&self.state);
        if state.latency.advance(now) {
            self.update(&mut state, now);
        }
        state.in_force
    }

    /// Takes an attempt that has ended for a sample, if it is one.
    pub(super) fn observe(&self, end: &AttemptEnd) {
        if end.server.is_none() {
            return;
        }
        let mut state = lock(&self.state);
        let mut is_new = state.latency.advance(end.now);
        let is_ok = matches!(end.ending, Ending::Status(Code::Ok, _));
        if is_ok || state.latency.reaches(end.took) {
            is_new |= state.latency.add(end.took);
        }
        if is_new {
            self.update(&mut state, end.now);
        }
    }

    /// Computes the time again. The state is locked meanwhile, so that the record has the values in their order.
    fn update(&self, state: &mut MutexGuard<'_, State>, now: Instant) {
        let next = state.settings.time(state.latency.percentile());
        let before = std::mem::replace(&mut state.in_force, next);
        if next != before {
            let change = format!("{} from {} to {}", self.name, duration::text(before), duration::text(next));
            self.recorder.event_at(Event::LimitChanged, now).cause(change).duration(next).record();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{record::Records, world::SharedWorld};

    const MS: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Instant {
        Instant::START + MS * millis as u32
    }

    fn settings() -> ObservedTimeSettings {
        ObservedTimeSettings {
            percentile: 90.0,
            minimum_samples: 10,
            factor: 2.0,
            min: MS * 5,
            max: MS * 1_000,
            fixed: MS * 1_000,
            unit: MS,
        }
    }

    /// Returns the time, and the records that it writes to.
    fn time() -> (ObservedTime, Arc<Mutex<Records>>) {
        let records = Arc::<Mutex<Records>>::default();
        let world: SharedWorld = Arc::new(crate::policy::chain::tests::TickingWorld::default());
        let recorder = Recorder::new(world, "client", records.clone());
        (ObservedTime::new(&recorder, "attempt timeout", Duration::from_secs(10), settings()), records)
    }

    impl ObservedTime {
        fn ends(&self, count: usize, millis: u64, took: Duration, ending: Ending) {
            let now = at(millis);
            let end = AttemptEnd { server: Some(0), entered: now - took, now, took, ending };
            (0..count).for_each(|_| self.observe(&end));
        }
    }

    const OK: Ending = Ending::Status(Code::Ok, None);
    const LATE: Ending = Ending::Status(Code::DeadlineExceeded, None);

    #[test]
    fn it_is_fixed_until_there_are_enough_samples_and_again_when_they_have_left_the_window() {
        let (time, records) = time();
        time.ends(9, 2_000, MS * 20, OK);
        assert_eq!(time.in_force(at(2_000)), MS * 1_000);
        time.ends(1, 2_100, MS * 20, OK);
        assert_eq!(time.in_force(at(2_100)), MS * 41, "twice the upper end of the bucket, in whole milliseconds");
        assert_eq!(time.in_force(at(30_000)), MS * 1_000);
        let records = lock(&records);
        let events = records.events.iter().map(|row| (row.at_us, row.cause.as_deref().unwrap(), row.duration_us));
        assert_eq!(
            events.collect::<Vec<_>>(),
            [
                (2_100_000, "attempt timeout from 1s to 41ms", Some(41_000)),
                (30_000_000, "attempt timeout from 41ms to 1s", Some(1_000_000)),
            ]
        );
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let (time, _) = time();
        time.ends(10, 0, MS, OK);
        assert_eq!(time.in_force(at(0)), MS * 5);
        time.ends(1_000, 0, MS * 900, OK);
        assert_eq!(time.in_force(at(1_000)), MS * 1_000);
        time.change(ObservedTimeSettings { min: MS * 50, max: MS * 20, ..settings() }, at(1_000));
        assert_eq!(time.in_force(at(1_000)), MS * 20, "the longest time counts");
    }

    #[test]
    fn fast_failures_are_no_samples_and_what_is_cut_off_late_makes_it_grow() {
        let (time, _) = time();
        time.ends(20, 0, MS * 20, OK);
        time.ends(500, 10, MS / 10, Ending::Status(Code::Unavailable, None));
        assert_eq!(time.in_force(at(1_000)), MS * 41);
        // A tenth of the attempts may take longer; when more are cut off, they are what the percentile is of.
        time.ends(2, 1_100, MS * 41, LATE);
        assert_eq!(time.in_force(at(2_000)), MS * 41);
        time.ends(2, 2_100, MS * 41, LATE);
        assert_eq!(time.in_force(at(3_000)), MS * 84);
        time.ends(20, 3_100, MS * 84, Ending::Abandoned);
        assert!(time.in_force(at(4_000)) > MS * 160);
    }

    #[test]
    fn without_a_percentile_nothing_but_answers_counts() {
        let (time, _) = time();
        time.ends(100, 0, MS * 1_000, LATE);
        assert_eq!(time.in_force(at(1_000)), MS * 1_000);
    }

    #[test]
    fn an_attempt_that_was_not_sent_is_no_sample() {
        let (time, _) = time();
        let end = AttemptEnd { server: None, entered: at(0), now: at(0), took: Duration::ZERO, ending: OK };
        (0..50).for_each(|_| time.observe(&end));
        assert_eq!(time.in_force(at(0)), MS * 1_000);
    }
}
