//! The times of the host in the rows of one run.

use std::{collections::BTreeMap, time::Duration};

use kernel::{
    measure::stages,
    record::{Event, Records},
    status::Outcome,
};

/// Times of one run without faults, in microseconds. All processes of a run share one clock.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Observed {
    /// Time between the intended and the actual sending of a request.
    pub(super) client_late: Vec<f64>,
    /// Time that a connection took to open.
    pub(super) connect: Vec<f64>,
    /// Times of requests, by the size of their input, such as `64x64`.
    pub(super) by_size: BTreeMap<String, RequestPath>,
}

/// Times of the parts of a request's path, for requests of one size.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RequestPath {
    /// Time between the call and the start of its worker.
    pub(super) to_server: Vec<f64>,
    /// Time that the request occupied its worker, without the configured minimum.
    pub(super) held: Vec<f64>,
    /// Time between the end of the worker and the end of the call.
    pub(super) to_client: Vec<f64>,
}

impl Observed {
    /// Reads the times of a run whose servers occupy a worker for `service_time_min` at least.
    ///
    /// Requests with more than one attempt are left out, and those that were sent before all connections were open: they
    /// waited for a connection.
    pub(super) fn from_records(records: &Records, service_time_min: Duration) -> Self {
        let mut observed = Self { connect: connects(records), ..Self::default() };
        let opened = opened(records);
        let finished = finished(records);
        let min = service_time_min.as_secs_f64() * 1e6;
        for row in records.requests.iter().filter(|row| row.status == Outcome::OK && row.attempts == 1) {
            let Some(moments) = finished.get(&row.id).and_then(|finished| stages::moments(row, *finished)) else {
                continue;
            };
            let [_, sent, ..] = moments;
            if sent <= opened {
                continue;
            }
            let [late, to_server, held, to_client] =
                std::array::from_fn(|stage| micros(moments[stage + 1], moments[stage]));
            observed.client_late.push(late);
            let path = observed.by_size.entry(row.size.clone()).or_default();
            path.to_server.push(to_server);
            path.held.push((held - min).max(0.0));
            path.to_client.push(to_client);
        }
        observed
    }
}

/// Returns when a worker was done with each request, and for how long it had it, in microseconds.
pub(super) fn finished(records: &Records) -> BTreeMap<u64, (u64, u64)> {
    let finished = records.events.iter().filter(|row| row.event == Event::Finished);
    finished.filter_map(|row| Some((row.request?, (row.at_us, row.duration_us?)))).collect()
}

/// Returns when the last connection was open, in microseconds.
pub(super) fn opened(records: &Records) -> u64 {
    let ready = records.events.iter().filter(|row| row.event == Event::Ready);
    ready.map(|row| row.at_us).max().unwrap_or(0)
}

/// Returns how long the service of an app computed what, in microseconds, by its name and units.
pub(super) fn computing(records: &Records) -> BTreeMap<(String, u64), Vec<f64>> {
    let mut times: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for row in records.events.iter().filter(|row| row.event == Event::Computed) {
        // The units are behind the name.
        let named = row.cause.as_deref().and_then(|cause| cause.rsplit_once(' '));
        let Some((what, Ok(units))) = named.map(|(what, units)| (what, units.parse())) else { continue };
        let Some(time_us) = row.duration_us else { continue };
        times.entry((what.to_owned(), units)).or_default().push(time_us as f64);
    }
    times
}

/// Time between each `connecting` event and the next `ready` event of the same server.
fn connects(records: &Records) -> Vec<f64> {
    let mut begun = BTreeMap::new();
    let mut times = Vec::new();
    for row in &records.events {
        match row.event {
            Event::Connecting => {
                begun.insert(&row.target, row.at_us);
            }
            Event::Ready => times.extend(begun.remove(&row.target).map(|since| micros(row.at_us, since))),
            _ => {}
        }
    }
    times
}

/// Time between two rows. Each process rounds to whole microseconds, so that an effect can seem to precede its cause: 0 then.
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
            call: None,
            attempt: None,
            duration_us: None,
        }
    }

    /// A request that was intended at 1 s and sent 30 µs later; 200 µs after that a worker took it for 10,150 µs, and the
    /// response took 300 µs.
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
            kind: None,
            user: None,
            stream: None,
            size: "64x64".to_owned(),
        };
        let finished = EventRow { request: Some(7), duration_us: Some(10_150), ..event(1_010_380, Event::Finished) };
        let events = vec![event(100, Event::Connecting), event(450, Event::Ready), finished];
        Records { requests: vec![request], attempts: Vec::new(), events, calls: Vec::new() }
    }

    #[test]
    fn the_parts_of_a_request_s_path_are_computed_from_its_rows() {
        let observed = Observed::from_records(&records(1), Duration::from_millis(10));
        let path = RequestPath { to_server: vec![200.0], held: vec![150.0], to_client: vec![300.0] };
        assert_eq!((observed.client_late, observed.connect), (vec![30.0], vec![350.0]));
        assert_eq!(observed.by_size, BTreeMap::from([("64x64".to_owned(), path)]));
    }

    #[test]
    fn computations_are_grouped_by_name_and_units() {
        let computed = |cause: &str, us| EventRow {
            cause: Some(cause.to_owned()),
            duration_us: Some(us),
            ..event(1, Event::Computed)
        };
        let events =
            vec![computed("a price 3", 7), computed("a price 3", 9), computed("a price 4", 8), computed("x", 1)];
        let times = computing(&Records { events, ..Records::default() });
        let price = |units| ("a price".to_owned(), units);
        assert_eq!(times, BTreeMap::from([(price(3), vec![7.0, 9.0]), (price(4), vec![8.0])]));
    }

    #[test]
    fn a_request_that_was_retried_is_left_out() {
        assert!(Observed::from_records(&records(2), Duration::ZERO).by_size.is_empty());
    }

    #[test]
    fn a_request_that_waited_for_its_connection_is_left_out() {
        let mut records = records(1);
        records.events[1].at_us = 1_000_040;
        assert!(Observed::from_records(&records, Duration::ZERO).by_size.is_empty());
    }
}
