//! Each server's lane: how it really was, what the client believed of it, and what the client did about it.

use kernel::{
    record::{Event, EventRow, Records},
    scenario::{Affects, FaultName},
};

/// The lanes of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Lanes {
    /// In order of the servers' names.
    pub servers: Vec<Lane>,
    /// When the client gave up on a request, in seconds.
    pub given_up: Vec<f64>,
    pub end_s: f64,
}

/// What befell one server. Times are in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    pub server: String,
    /// From a crash until it listens again.
    pub down: Vec<Stretch>,
    pub frozen: Vec<Stretch>,
    /// Stretches in which its link is delayed, cut, lossy or narrow.
    pub link_impaired: Vec<Stretch>,
    /// Stretches in which it computes more slowly or fails calls.
    pub work_impaired: Vec<Stretch>,
    /// The client believes it unhealthy.
    pub unhealthy: Vec<Stretch>,
    /// An attempt on it failed.
    pub failures: Vec<f64>,
    /// A call was sent to it after an attempt on another server.
    pub failovers: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    pub from_s: f64,
    pub to_s: f64,
}

impl Lanes {
    pub(super) fn from_records(names: &[String], records: &Records, end_us: u64) -> Self {
        let events = &records.events;
        let lane = |server: &String| Lane::from_records(server, records, end_us);
        Self {
            servers: names.iter().map(lane).collect(),
            given_up: events.iter().filter(|row| row.event == Event::GiveUp).map(at).collect(),
            end_s: seconds(end_us),
        }
    }

    /// Whether there is anything to show.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }
}

impl Lane {
    fn from_records(server: &str, records: &Records, end_us: u64) -> Self {
        let concerning: Vec<&EventRow> =
            records.events.iter().filter(|row| row.target.as_deref() == Some(server) || row.source == server).collect();
        let moments = |event: Event| {
            let rows = concerning.iter().filter(move |row| row.event == event && row.target.as_deref() == Some(server));
            rows.map(|row| at(row)).collect::<Vec<f64>>()
        };
        let failed = |row: &&kernel::record::AttemptRow| row.server == server && row.status != kernel::status::Code::Ok;
        let mut failures = moments(Event::AttemptFailed);
        if failures.is_empty() {
            failures = records.attempts.iter().filter(failed).map(|row| seconds(row.end_us)).collect();
        }
        Self {
            server: server.to_owned(),
            down: stretches(&concerning, end_us, |row| match row.event {
                Event::FaultStart if row.cause.as_deref() == Some("crash") => Some(true),
                Event::Listening => Some(false),
                _ => None,
            }),
            frozen: fault_stretches(&concerning, end_us, |kind| kind == FaultName::Freeze),
            // A reset is over as soon as it has begun.
            link_impaired: fault_stretches(&concerning, end_us, |kind| {
                kind.affects() == Affects::Link && kind != FaultName::Reset
            }),
            work_impaired: fault_stretches(&concerning, end_us, |kind| kind.affects() == Affects::Work),
            unhealthy: stretches(&concerning, end_us, |row| match row.event {
                Event::Unhealthy => Some(true),
                Event::Healthy => Some(false),
                _ => None,
            }),
            failures,
            failovers: moments(Event::Failover),
        }
    }
}

/// Returns the stretches in which a fault of a wanted kind is active, fault by fault.
fn fault_stretches(rows: &[&EventRow], end_us: u64, is_wanted: impl Fn(FaultName) -> bool) -> Vec<Stretch> {
    let starts = rows.iter().filter(|row| {
        let kind = row.cause.as_deref().and_then(|cause| cause.parse().ok());
        row.event == Event::FaultStart && kind.is_some_and(&is_wanted)
    });
    let end = |start: &EventRow| {
        let ends = rows.iter().filter(|row| row.event == Event::FaultEnd && row.fault == start.fault);
        ends.map(|row| row.at_us).find(|at_us| *at_us >= start.at_us).unwrap_or(end_us)
    };
    starts.map(|start| Stretch { from_s: at(start), to_s: seconds(end(start)) }).collect()
}

/// From where `state` turns true to where it turns false, or to the end of the run.
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

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
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
        let mut records = Records::default();
        for (fault, kind) in ["slow", "errors", "delay", "reset", "freeze", "crash"].into_iter().enumerate() {
            let start = fault as u64;
            records.events.push(row(start, "fault_start", fault, kind));
            records.events.push(row(start + 2, "fault_end", fault, kind));
        }
        let lanes = Lanes::from_records(&["server-0".to_owned()], &records, 10_000_000);
        let starts = |stretches: &[Stretch]| stretches.iter().map(|stretch| stretch.from_s).collect::<Vec<_>>();
        let lane = &lanes.servers[0];
        assert_eq!(starts(&lane.work_impaired), [0.0, 1.0]);
        assert_eq!(starts(&lane.link_impaired), [2.0]);
        assert_eq!(starts(&lane.frozen), [4.0]);
        assert_eq!(starts(&lane.down), [5.0]);
    }
}
