//! What the rows of a run tell of the host.

use std::{collections::BTreeMap, time::Duration};

use kernel::{
    record::{Event, Records},
    status::Outcome,
};

/// Times of one run without faults, in microseconds. All processes of a run go by one clock.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Observed {
    /// From when a request was meant to be sent until it was.
    pub(super) client_late: Vec<f64>,
    /// From when a connection was wanted until there was one.
    pub(super) connect: Vec<f64>,
    /// By size, such as `64x64`.
    pub(super) by_size: BTreeMap<String, Way>,
}

/// The way of requests of one size.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Way {
    /// From when the call began until a worker began with it.
    pub(super) to_server: Vec<f64>,
    /// For how long it held the worker, beyond the least that the server was told to.
    pub(super) held: Vec<f64>,
    /// From when the worker was done until the call was.
    pub(super) to_client: Vec<f64>,
}

impl Observed {
    /// Of a run whose servers hold a worker for `service_time_min` at least. Requests that were not answered at once
    /// tell nothing; the first one of each connection waits for it, and tells of that.
    pub(super) fn of(records: &Records, service_time_min: Duration) -> Self {
        let mut observed = Self { connect: connects(records), ..Self::default() };
        let events = records.events.iter();
        let opened = events.filter(|row| row.event == Event::Ready).map(|row| row.at_us).max().unwrap_or(0);
        let finished: BTreeMap<u64, (u64, u64)> = records
            .events
            .iter()
            .filter(|row| row.event == Event::Finished)
            .filter_map(|row| Some((row.request?, (row.at_us, row.duration_us?))))
            .collect();
        let min = service_time_min.as_secs_f64() * 1e6;
        for row in records.requests.iter().filter(|row| row.status == Outcome::OK && row.attempts == 1) {
            let (Some(sent), Some(done)) = (row.sent_us, row.done_us) else { continue };
            let Some(&(end, held)) = finished.get(&row.id) else { continue };
            if sent <= opened {
                continue;
            }
            observed.client_late.push(micros(sent, row.intended_us));
            let way = observed.by_size.entry(row.size.clone()).or_default();
            way.to_server.push(micros(end.saturating_sub(held), sent));
            way.held.push((held as f64 - min).max(0.0));
            way.to_client.push(micros(done, end));
        }
        observed
    }
}

/// From each `connecting` to the `ready` of the same server after it.
fn connects(records: &Records) -> Vec<f64> {
    let mut begun = BTreeMap::new();
    let mut times = Vec::new();
    for row in &records.events {
        match row.event {
            Event::Connecting => drop(begun.insert(&row.target, row.at_us)),
            Event::Ready => times.extend(begun.remove(&row.target).map(|since| micros(row.at_us, since))),
            _ => {}
        }
    }
    times
}

/// From one time to another; rows of different processes round to whole microseconds each for itself.
fn micros(until: u64, since: u64) -> f64 {
    until.saturating_sub(since) as f64
}

#[cfg(test)]
mod tests {
    use kernel::record::{EventRow, RequestRow};

    use super::*;

    fn event(at_us: u64, event: Event) -> EventRow {
        EventRow {
            at_us,
            source: "client".into(),
            event,
            target: Some("server-0".into()),
            cause: None,
            fault: None,
            request: None,
            attempt: None,
            duration_us: None,
        }
    }

    /// Meant at 1 s, sent 30 µs later; a worker had it from 200 µs on for 10,150 µs; it ended 300 µs after that.
    fn records(attempts: u32) -> Records {
        let request = RequestRow {
            id: 7,
            intended_us: 1_000_000,
            sent_us: Some(1_000_030),
            done_us: Some(1_010_680),
            latency_us: Some(10_680),
            status: Outcome::OK,
            server: Some("server-0".into()),
            attempts,
            failovers: 0,
            hedges: 0,
            rejected: false,
            answer: None,
            size: "64x64".to_owned(),
        };
        let finished = EventRow { request: Some(7), duration_us: Some(10_150), ..event(1_010_380, Event::Finished) };
        let events = vec![event(100, Event::Connecting), event(450, Event::Ready), finished];
        Records { requests: vec![request], attempts: Vec::new(), events }
    }

    #[test]
    fn the_way_of_a_request_is_told_apart() {
        let observed = Observed::of(&records(1), Duration::from_millis(10));
        let way = Way { to_server: vec![200.0], held: vec![150.0], to_client: vec![300.0] };
        assert_eq!((observed.client_late, observed.connect), (vec![30.0], vec![350.0]));
        assert_eq!(observed.by_size, BTreeMap::from([("64x64".to_owned(), way)]));
    }

    #[test]
    fn what_was_retried_tells_nothing() {
        assert!(Observed::of(&records(2), Duration::ZERO).by_size.is_empty());
    }

    #[test]
    fn a_request_that_waited_for_its_connection_tells_nothing_of_the_way() {
        let mut records = records(1);
        records.events[1].at_us = 1_000_040;
        assert!(Observed::of(&records, Duration::ZERO).by_size.is_empty());
    }
}
