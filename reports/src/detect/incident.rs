//! The calls and incidents of a run of a set.

use kernel::detect::{Alarm, Call, set::SetRun};

use super::GRACE_US;

/// The time between two faults below which they are one incident: an alarm between them may belong to either.
const BETWEEN_US: u64 = GRACE_US;

/// The length of the windows that say how bad an incident was, and the distance of two of them.
const WINDOW_US: u64 = 60_000_000;
const EVERY_US: u64 = 10_000_000;

/// The time in which no fault has begun yet, and from which the usual latency is taken.
const USUAL_US: u64 = 300_000_000;

/// The classes of incidents by their effect: the lower bounds of the share of bad calls in their worst minute.
pub(super) const EFFECTS: [(f64, &str); 4] =
    [(0.2, "20 % and more"), (0.05, "5 to 20 %"), (0.01, "1 to 5 %"), (0.0, "less than 1 %")];

/// The share from which on an incident counts for the recall that is quoted first.
pub(super) const LARGE: f64 = 0.05;

/// One or more faults of a run that overlap, or nearly do.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Incident {
    /// The kind of its fault, or `several`.
    pub(super) kind: String,
    pub(super) start_us: u64,
    pub(super) end_us: u64,
    /// The share of the calls of its worst minute that failed or took more than twice the usual 99th percentile.
    pub(super) effect: f64,
}

impl Incident {
    /// Returns whether an alarm is raised by the incident: it begins during it, or within a minute after it.
    pub(super) fn raises(&self, alarm: &Alarm) -> bool {
        (self.start_us..=self.end_us + GRACE_US).contains(&alarm.start_us)
    }

    /// Returns whether there is an alarm during the incident, or within a minute after it.
    pub(super) fn overlaps(&self, alarm: &Alarm) -> bool {
        alarm.start_us <= self.end_us + GRACE_US && alarm.end_us.is_none_or(|end_us| end_us >= self.start_us)
    }
}

/// Returns the incidents of a run, whose `calls` are in the order of their ends.
pub(super) fn incidents(run: &SetRun, calls: &[Call]) -> Vec<Incident> {
    let mut incidents: Vec<Incident> = Vec::new();
    for fault in &run.faults {
        match incidents.last_mut() {
            Some(last) if fault.start_us <= last.end_us + BETWEEN_US => {
                last.end_us = last.end_us.max(fault.end_us);
                "several".clone_into(&mut last.kind);
            }
            _ => incidents.push(Incident {
                kind: fault.kind.clone(),
                start_us: fault.start_us,
                end_us: fault.end_us,
                effect: 0.0,
            }),
        }
    }
    let slow_us = 2 * usual_p99_us(calls);
    for incident in &mut incidents {
        incident.effect = worst_minute(incident, calls, slow_us);
    }
    incidents
}

/// Returns the 99th percentile of the latencies of the calls that succeeded before any fault; 0 without one.
fn usual_p99_us(calls: &[Call]) -> u64 {
    let usual = calls.iter().filter(|call| call.end_us < USUAL_US && !call.is_failure);
    let mut latencies: Vec<u64> = usual.map(|call| call.latency_us).collect();
    latencies.sort_unstable();
    let rank = (latencies.len() * 99).div_ceil(100);
    latencies.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// Returns the highest share of bad calls in a minute that overlaps the incident.
fn worst_minute(incident: &Incident, calls: &[Call], slow_us: u64) -> f64 {
    let first = incident.start_us.saturating_sub(WINDOW_US - EVERY_US);
    let windows = (first..=incident.end_us).step_by(EVERY_US as usize);
    let shares = windows.map(|start_us| {
        let from = calls.partition_point(|call| call.end_us < start_us);
        let to = calls.partition_point(|call| call.end_us < start_us + WINDOW_US);
        let bad = calls[from..to].iter().filter(|call| call.is_failure || call.latency_us > slow_us).count();
        bad as f64 / (to - from).max(1) as f64
    });
    shares.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use kernel::detect::set::{Half, SetFault};

    use super::*;

    const S: u64 = 1_000_000;

    fn set_run(faults: &[(&str, u64, u64)]) -> SetRun {
        let faults = faults.iter().map(|(kind, start, end)| SetFault {
            kind: (*kind).to_owned(),
            start_us: start * S,
            end_us: end * S,
        });
        SetRun {
            run: 0,
            half: Half::Tuning,
            seed: 0,
            duration_us: 900 * S,
            faults: faults.collect(),
            scenario: String::new(),
        }
    }

    /// Returns a call a second, each of 1 ms; those from 400 s to 430 s take `latency_us`.
    fn calls(latency_us: u64) -> Vec<Call> {
        (0..900)
            .map(|second| Call {
                end_us: second * S,
                latency_us: if (400..430).contains(&second) { latency_us } else { 1_000 },
                is_failure: false,
            })
            .collect()
    }

    #[test]
    fn faults_that_are_less_than_a_minute_apart_are_one_incident() {
        let run = set_run(&[("crash", 400, 420), ("errors", 470, 480), ("slow", 541, 560)]);
        let found: Vec<_> =
            incidents(&run, &calls(1_000)).into_iter().map(|i| (i.kind, i.start_us / S, i.end_us / S)).collect();
        assert_eq!(found, [("several".to_owned(), 400, 480), ("slow".to_owned(), 541, 560)]);
    }

    #[test]
    fn the_effect_is_the_share_of_bad_calls_in_the_worst_minute() {
        let run = set_run(&[("slow", 400, 430)]);
        assert_eq!(incidents(&run, &calls(2_001))[0].effect, 0.5);
        assert_eq!(incidents(&run, &calls(2_000))[0].effect, 0.0, "twice the usual is not more than that");
    }

    #[test]
    fn an_alarm_belongs_to_an_incident_until_a_minute_after_it() {
        let incident = &incidents(&set_run(&[("slow", 400, 430)]), &[])[0];
        let alarm = |start: u64, end: Option<u64>| Alarm { start_us: start * S, end_us: end.map(|end| end * S) };
        for (alarm, is_raised, overlaps) in [
            (alarm(410, Some(420)), true, true),
            (alarm(490, None), true, true),
            (alarm(491, None), false, false),
            (alarm(100, None), false, true),
            (alarm(300, Some(400)), false, true),
            (alarm(300, Some(399)), false, false),
        ] {
            assert_eq!((incident.raises(&alarm), incident.overlaps(&alarm)), (is_raised, overlaps), "{alarm:?}");
        }
    }
}
