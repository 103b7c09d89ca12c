//! The state of each server, the client's view of it, and the client's decisions.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{
    measure::seconds,
    record::{AttemptRow, Event, EventRow, Name},
    scenario::{Affects, FaultName},
    status::Code,
};

use crate::rows::RowTable;

/// The number of places along the time axis at which moments are distinguished. A plot has no more.
const PLACES: f64 = 400.0;

/// The lanes of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Lanes {
    /// The lanes of the servers, in order of their names.
    pub servers: Vec<Lane>,
    /// The times at which the client gave up on a request, in seconds: the first at each place of a plot.
    pub given_up: Vec<f64>,
    /// The end of the run, in seconds.
    pub end_s: f64,
}

/// The lane of one server. Times are in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// The name of the server.
    pub server: String,
    /// The stretches from a crash until the server listens again.
    pub down: Vec<Stretch>,
    /// The stretches in which its process is frozen.
    pub frozen: Vec<Stretch>,
    /// The stretches in which its link is delayed, cut, lossy or narrow.
    pub link_impaired: Vec<Stretch>,
    /// The stretches in which it computes more slowly or fails calls.
    pub work_impaired: Vec<Stretch>,
    /// The stretches in which the client considers it unhealthy.
    pub unhealthy: Vec<Stretch>,
    /// The times at which an attempt on it failed: the first at each place of a plot.
    pub failures: Vec<f64>,
    /// The times at which a call was sent to it after an attempt on another server: the first at each place of a plot.
    pub failovers: Vec<f64>,
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// The beginning, in seconds since the run began.
    pub from_s: f64,
    /// The end, in seconds since the run began; not before the beginning.
    pub to_s: f64,
}

/// The events that lanes show, of which there may be millions.
struct LaneEvents {
    end_us: u64,
    /// The events after which a server or the client's view of it is in another state.
    states: Vec<EventRow>,
    /// The moments of the client's decisions, by their kind and target.
    moments: BTreeMap<(Event, Option<Name>), Moments>,
}

/// Moments in the order in which they were found, the first at each place of a plot.
#[derive(Debug, Default)]
struct Moments {
    taken: BTreeSet<i64>,
    times_s: Vec<f64>,
}

impl Moments {
    fn add(&mut self, at_us: u64, end_us: u64) {
        let at_s = seconds(at_us);
        if self.taken.insert((at_s / seconds(end_us) * PLACES) as i64) {
            self.times_s.push(at_s);
        }
    }
}

impl LaneEvents {
    fn collect(events: &RowTable<EventRow>, end_us: u64) -> Self {
        let mut collected = Self { end_us, states: Vec::new(), moments: BTreeMap::new() };
        events.each(|row| match row.event {
            Event::FaultStart | Event::FaultEnd | Event::Listening | Event::Unhealthy | Event::Healthy => {
                collected.states.push(row.clone());
            }
            Event::GiveUp => collected.add(Event::GiveUp, None, row.at_us),
            Event::AttemptFailed | Event::Failover => collected.add(row.event, row.target.clone(), row.at_us),
            _ => {}
        });
        collected
    }

    fn add(&mut self, event: Event, target: Option<Name>, at_us: u64) {
        self.moments.entry((event, target)).or_default().add(at_us, self.end_us);
    }

    /// Returns the moments of one kind, with this target.
    fn times_s(&self, event: Event, target: Option<&str>) -> Vec<f64> {
        self.moments.get(&(event, target.map(Name::from))).map(|moments| moments.times_s.clone()).unwrap_or_default()
    }
}

impl Lanes {
    pub(super) fn from_rows(
        names: &[String],
        events: &RowTable<EventRow>,
        attempts: &RowTable<AttemptRow>,
        end_us: u64,
    ) -> Self {
        let events = LaneEvents::collect(events, end_us);
        let mut servers: Vec<Lane> = names.iter().map(|server| Lane::from_events(server, &events)).collect();
        // A run without events may still have attempts, which have their statuses.
        if servers.iter().any(|lane| lane.failures.is_empty()) {
            let mut failed = failed_attempts(attempts, end_us);
            for lane in servers.iter_mut().filter(|lane| lane.failures.is_empty()) {
                lane.failures = failed.remove(lane.server.as_str()).unwrap_or_default().times_s;
            }
        }
        Self { servers, given_up: events.times_s(Event::GiveUp, None), end_s: seconds(end_us) }
    }

    /// Returns true if there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }
}

impl Lane {
    fn from_events(server: &str, events: &LaneEvents) -> Self {
        let states = events.states.iter();
        let own: Vec<&EventRow> =
            states.filter(|row| row.target.as_deref() == Some(server) || row.source == *server).collect();
        let end_us = events.end_us;
        Self {
            server: server.to_owned(),
            down: stretches(&own, end_us, is_down),
            frozen: fault_stretches(&own, end_us, |kind| kind == FaultName::Freeze),
            // A reset ends as soon as it has begun. A connection whose handshakes fail is none.
            link_impaired: fault_stretches(&own, end_us, |kind| {
                matches!(kind.affects(), Affects::Link | Affects::Handshakes) && kind != FaultName::Reset
            }),
            work_impaired: fault_stretches(&own, end_us, |kind| kind.affects() == Affects::Work),
            unhealthy: stretches(&own, end_us, is_unhealthy),
            // Events have the time at which the client noticed the failure.
            failures: events.times_s(Event::AttemptFailed, Some(server)),
            failovers: events.times_s(Event::Failover, Some(server)),
        }
    }
}

/// Returns the ends of the attempts that failed, by server.
fn failed_attempts(attempts: &RowTable<AttemptRow>, end_us: u64) -> BTreeMap<String, Moments> {
    let mut failed: BTreeMap<String, Moments> = BTreeMap::new();
    attempts.each(|row| {
        if row.status != Code::Ok {
            failed.entry(row.server.as_str().to_owned()).or_default().add(row.end_us, end_us);
        }
    });
    failed
}

/// Returns whether the server is down from this event on; `None` if the event does not change it.
fn is_down(row: &EventRow) -> Option<bool> {
    match row.event {
        Event::FaultStart if matches!(row.cause.as_deref(), Some("crash" | "drain")) => Some(true),
        Event::Listening => Some(false),
        _ => None,
    }
}

/// Returns whether the client considers the server unhealthy from this event on; `None` if the event does not change it.
fn is_unhealthy(row: &EventRow) -> Option<bool> {
    match row.event {
        Event::Unhealthy => Some(true),
        Event::Healthy => Some(false),
        _ => None,
    }
}

/// Returns the stretches in which a fault of a wanted kind is active, fault by fault.
fn fault_stretches(rows: &[&EventRow], end_us: u64, is_wanted: impl Fn(FaultName) -> bool) -> Vec<Stretch> {
    let starts = rows.iter().filter(|row| {
        let kind = row.cause.as_deref().and_then(|cause| cause.parse().ok());
        row.event == Event::FaultStart && kind.is_some_and(&is_wanted)
    });
    starts.map(|start| Stretch { from_s: at(start), to_s: seconds(fault_end(start, rows, end_us)) }).collect()
}

/// Returns when the fault that began with `start` ended, in microseconds; the end of the run if it did not end.
fn fault_end(start: &EventRow, rows: &[&EventRow], end_us: u64) -> u64 {
    let ends = rows.iter().filter(|row| row.event == Event::FaultEnd && row.fault == start.fault);
    ends.map(|row| row.at_us).find(|at_us| *at_us >= start.at_us).unwrap_or(end_us)
}

/// Returns the stretches from where `state` becomes true to where it becomes false, or to the end of the run.
fn stretches(rows: &[&EventRow], end_us: u64, state: impl Fn(&EventRow) -> Option<bool>) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut since: Option<f64> = None;
    for row in rows {
        match (state(row), since) {
            (Some(true), None) => since = Some(at(row)),
            (Some(false), Some(from_s)) => {
                stretches.push(Stretch { from_s, to_s: at(row) });
                since = None;
            }
            _ => {}
        }
    }
    stretches.extend(since.map(|from_s| Stretch { from_s, to_s: seconds(end_us) }));
    stretches
}

fn at(row: &EventRow) -> f64 {
    seconds(row.at_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at_s: u64, event: &str, fault: usize, kind: &str) -> EventRow {
        let row = format!(
            r#"{{"at_us":{},"source":"nemesis","event":"{event}","target":"server-0","cause":"{kind}","fault":{fault}}}"#,
            at_s * 1_000_000
        );
        serde_json::from_str(&row).unwrap()
    }

    #[test]
    fn faults_of_the_link_and_of_the_work_are_bars_of_their_own() {
        let mut events = Vec::new();
        for (fault, kind) in ["slow", "errors", "delay", "reset", "freeze", "crash"].into_iter().enumerate() {
            let start = fault as u64;
            events.push(row(start, "fault_start", fault, kind));
            events.push(row(start + 2, "fault_end", fault, kind));
        }
        let lanes =
            Lanes::from_rows(&["server-0".to_owned()], &RowTable::from_rows(&events), &RowTable::default(), 10_000_000);
        let starts = |stretches: &[Stretch]| stretches.iter().map(|stretch| stretch.from_s).collect::<Vec<_>>();
        let lane = &lanes.servers[0];
        assert_eq!(starts(&lane.work_impaired), [0.0, 1.0]);
        assert_eq!(starts(&lane.link_impaired), [2.0]);
        assert_eq!(starts(&lane.frozen), [4.0]);
        assert_eq!(starts(&lane.down), [5.0]);
    }
}
