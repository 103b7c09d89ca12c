//! Recall, precision, delays and false alarms of a detector, with intervals of 95 %.

use kernel::{detect::Alarm, experiment::threshold::wilson_interval};
use serde::Serialize;

use super::{
    GRACE_US,
    incident::{EFFECTS, Incident, LARGE},
};

/// Microseconds in a day.
const DAY_US: f64 = 86_400e6;

/// A number of cases out of all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Share {
    pub(super) of: u64,
    pub(super) count: u64,
}

impl Share {
    fn add(&mut self, counts: bool) {
        self.of += 1;
        self.count += u64::from(counts);
    }

    /// Returns the share; `None` of no cases.
    pub(super) fn value(self) -> Option<f64> {
        (self.of > 0).then(|| self.count as f64 / self.of as f64)
    }

    /// Returns Wilson's interval of 95 %.
    pub(super) fn interval(self) -> [f64; 2] {
        wilson_interval(self.count, self.of).into()
    }
}

/// The alarms of a detector, counted against what is known.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Counts {
    /// Incidents by kind, effect and whether they were found.
    incidents: Vec<(String, f64, bool)>,
    /// Alarms that belong to an incident, of all.
    pub(super) alarms: Share,
    /// The delays from the start of an incident to its first alarm, in seconds.
    delays_s: Vec<f64>,
    /// The delays from the end of an incident to the end of its last alarm, in seconds.
    end_delays_s: Vec<f64>,
    /// False alarms.
    pub(super) false_alarms: u64,
    /// The time in which there was no incident, in microseconds.
    pub(super) calm_us: u64,
}

impl Counts {
    /// Adds the alarms of a run of this length.
    pub(super) fn add(&mut self, duration_us: u64, incidents: &[Incident], alarms: &[Alarm]) {
        let incident_us: u64 = incidents.iter().map(|incident| incident.end_us + GRACE_US - incident.start_us).sum();
        self.calm_us += duration_us.saturating_sub(incident_us);
        // An alarm that no incident has raised finds none, even if it is still there when one begins: a detector whose alarm never ends has
        // found nothing.
        let (right, wrong): (Vec<&Alarm>, Vec<&Alarm>) =
            alarms.iter().partition(|alarm| incidents.iter().any(|incident| incident.raises(alarm)));
        self.alarms.count += right.len() as u64;
        self.alarms.of += alarms.len() as u64;
        self.false_alarms += wrong.len() as u64;
        for incident in incidents {
            let own = || right.iter().filter(|alarm| incident.overlaps(alarm));
            self.incidents.push((incident.kind.clone(), incident.effect, own().next().is_some()));
            // The effect of a fault that is no incident for callers begins and ends at no time.
            if incident.effect < LARGE {
                continue;
            }
            let start_us = own().map(|alarm| alarm.start_us).min();
            self.delays_s.extend(start_us.map(|start_us| start_us.saturating_sub(incident.start_us) as f64 / 1e6));
            let end_us = own().map(|alarm| alarm.end_us.unwrap_or(duration_us)).max();
            self.end_delays_s.extend(end_us.map(|end_us| (end_us as f64 - incident.end_us as f64) / 1e6));
        }
    }

    /// Adds the counts of other runs.
    pub(super) fn merge(&mut self, other: Self) {
        self.incidents.extend(other.incidents);
        self.alarms = Share { of: self.alarms.of + other.alarms.of, count: self.alarms.count + other.alarms.count };
        self.delays_s.extend(other.delays_s);
        self.end_delays_s.extend(other.end_delays_s);
        self.false_alarms += other.false_alarms;
        self.calm_us += other.calm_us;
    }

    /// Returns how many of the incidents were found that `counts` by kind and effect.
    pub(super) fn recall(&self, counts: impl Fn(&str, f64) -> bool) -> Share {
        let mut share = Share::default();
        let incidents = self.incidents.iter().filter(|(kind, effect, _)| counts(kind, *effect));
        incidents.for_each(|(_, _, is_found)| share.add(*is_found));
        share
    }

    /// Returns how many incidents of which 5 % of a minute's calls or more were bad were found.
    pub(super) fn recall_of_large(&self) -> Share {
        self.recall(|_, effect| effect >= LARGE)
    }

    /// Returns the recall by effect, the largest first.
    pub(super) fn by_effect(&self) -> Vec<(String, Share)> {
        let mut most = f64::INFINITY;
        EFFECTS
            .iter()
            .map(|(least, name)| {
                let share = self.recall(|_, effect| (*least..most).contains(&effect));
                most = *least;
                ((*name).to_owned(), share)
            })
            .collect()
    }

    /// Returns the recall of large incidents by kind, in the order of their names.
    pub(super) fn by_kind(&self) -> Vec<(String, Share)> {
        let mut kinds: Vec<&String> = self.incidents.iter().map(|(kind, ..)| kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.into_iter().map(|kind| (kind.clone(), self.recall(|of, effect| of == kind && effect >= LARGE))).collect()
    }

    /// Returns the false alarms a day; `None` without any time.
    pub(super) fn false_a_day(&self) -> Option<f64> {
        (self.calm_us > 0).then(|| self.false_alarms as f64 / (self.calm_us as f64 / DAY_US))
    }

    /// Returns an interval of 95 % of the false alarms a day, if they come at random (Byar's approximation of the exact one).
    pub(super) fn false_a_day_interval(&self) -> [f64; 2] {
        let days = (self.calm_us as f64 / DAY_US).max(f64::MIN_POSITIVE);
        let count = self.false_alarms as f64;
        let low = if count > 0.0 { byar_bound(count, -1.96) } else { 0.0 };
        [low, byar_bound(count + 1.0, 1.96)].map(|bound| bound / days)
    }

    /// Returns the median and the 90th percentile of the delays of starts, in seconds; `None` if nothing was found.
    pub(super) fn delays_s(&self) -> Option<[f64; 2]> {
        quantiles(&self.delays_s)
    }

    /// Returns the same of the delays of ends.
    pub(super) fn end_delays_s(&self) -> Option<[f64; 2]> {
        quantiles(&self.end_delays_s)
    }
}

/// Returns a bound of the expected number of events that come at random, of which there were `count`, `z` standard deviations away.
fn byar_bound(count: f64, z: f64) -> f64 {
    let root = 1.0 - 1.0 / (9.0 * count) + z / (3.0 * count.sqrt());
    count * root.powi(3)
}

fn quantiles(values: &[f64]) -> Option<[f64; 2]> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Some([at(50)?, at(90)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    fn incident(start: u64, effect: f64) -> Incident {
        Incident { kind: "crash".into(), start_us: start * S, end_us: (start + 40) * S, effect }
    }

    fn alarm(start: u64, end: u64) -> Alarm {
        Alarm { start_us: start * S, end_us: Some(end * S) }
    }

    #[test]
    fn alarms_are_counted_against_incidents() {
        let mut counts = Counts::default();
        let incidents = [incident(400, 0.3), incident(600, 0.1), incident(800, 0.001)];
        counts.add(1_000 * S, &incidents, &[alarm(50, 60), alarm(420, 430), alarm(435, 470)]);
        assert_eq!(counts.recall_of_large(), Share { of: 2, count: 1 });
        assert_eq!(counts.by_effect().iter().map(|(_, share)| share.of).collect::<Vec<_>>(), [1, 1, 0, 1]);
        assert_eq!((counts.alarms, counts.false_alarms), (Share { of: 3, count: 2 }, 1));
        assert_eq!((counts.delays_s(), counts.end_delays_s()), (Some([20.0, 20.0]), Some([30.0, 30.0])));
        assert_eq!(counts.calm_us, 700 * S);
    }

    #[test]
    fn an_alarm_that_began_before_any_incident_finds_none_and_one_of_the_incident_before_does() {
        let mut counts = Counts::default();
        counts.add(1_000 * S, &[incident(400, 0.3)], &[alarm(50, 900)]);
        assert_eq!((counts.recall_of_large(), counts.false_alarms), (Share { of: 1, count: 0 }, 1));
        counts.add(1_000 * S, &[incident(400, 0.3), incident(600, 0.3)], &[alarm(410, 900)]);
        assert_eq!((counts.recall_of_large(), counts.false_alarms), (Share { of: 3, count: 2 }, 1));
    }

    #[test]
    fn false_alarms_are_of_the_time_without_incidents() {
        let mut counts = Counts::default();
        counts.add(2 * 86_400 * S, &[], &[alarm(50, 60), alarm(90, 100), alarm(200, 210), alarm(300, 310)]);
        assert_eq!(counts.false_a_day(), Some(2.0));
        // The exact interval of 4 events is 1.09 to 10.24.
        let [low, high] = counts.false_a_day_interval();
        assert!((low - 0.545).abs() < 0.01 && (high - 5.12).abs() < 0.02, "{low} {high}");
    }

    #[test]
    fn no_false_alarm_still_has_an_upper_bound() {
        let mut counts = Counts::default();
        counts.add(86_400 * S, &[], &[]);
        let [low, high] = counts.false_a_day_interval();
        // The exact bound is 3.69.
        assert!(low == 0.0 && (high - 3.69).abs() < 0.3, "{high}");
    }
}
